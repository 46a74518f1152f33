"""The page of caught mail: what it shows, and that a message can do nothing to who looks at it."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.handlers import Mailbox
from flask.testing import FlaskClient

from development.mail_catcher.page import create_app

HOSTILE = "<script>alert(1)</script>"


def put(folder: Path, subject: str, html: str = "<p>Karibu</p>") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ticksy <tickets@ticksy.example.com>", "njeri@x.co.ke", subject
    message.set_content(f"Karibu {HOSTILE}")
    message.add_alternative(html, subtype="html")
    message.add_attachment(b"%PDF-1.7 ", maintype="application", subtype="pdf", filename="tickets.pdf")
    Mailbox(folder).handle_message(message)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


@pytest.fixture
def client(folder: Path) -> FlaskClient:
    return create_app(folder).test_client()


def test_nothing_was_caught_yet(client: FlaskClient) -> None:
    assert "Nothing yet" in client.get("/").text
    assert client.get("/messages.json").json == []
    assert client.get("/1.nothing/html").status_code == 404


def test_messages_are_listed_newest_first_with_their_files(client: FlaskClient, folder: Path) -> None:
    for number in range(12):
        put(folder, f"Ticket {number}")
    listed = client.get("/messages.json").json
    assert [one["subject"] for one in listed] == [f"Ticket {number}" for number in reversed(range(12))]
    assert {tuple(one["files"]) for one in listed} == {("tickets.pdf",)}
    assert client.get(f"/{listed[0]['name']}/files/0").data == b"%PDF-1.7 "
    assert client.get(f"/{listed[0]['name']}/files/1").status_code == 404


def test_a_hostile_message_runs_nothing(client: FlaskClient, folder: Path) -> None:
    put(folder, HOSTILE, html=HOSTILE)
    [one] = client.get("/messages.json").json
    for path in ("/", f"/{one['name']}"):
        assert "<script>" not in client.get(path).text
    shown = client.get(f"/{one['name']}/html")
    assert shown.text.strip() == HOSTILE
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    source = client.get(f"/{one['name']}/source")
    assert source.mimetype == "text/plain"
    assert b"Subject: " in source.data


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "%2e%2e%2fnew", ".", "1.x/files/99999999999999999999"])
def test_a_name_that_is_no_message_is_not_found(client: FlaskClient, folder: Path, name: str) -> None:
    put(folder, "Karibu")
    assert client.get(f"/{name}").status_code == 404
