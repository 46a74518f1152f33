"""The small tools: phones, the clock, codes and passwords, the log, pages."""

from __future__ import annotations

import io
import json
import logging
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import User
from tests.support import Maker
from utils import clock, logger, phone, security

# ── Phones ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("0712345678", "254712345678"),
        ("712345678", "254712345678"),
        ("254712345678", "254712345678"),
        ("+254712345678", "254712345678"),
        ("+254 712 345 678", "254712345678"),
        ("254 712 345678", "254712345678"),
        ("0712 345 678", "254712345678"),
        ("0712-345-678", "254712345678"),
        ("0712\u2013345\u2013678", "254712345678"),
        ("(0712) 345678", "254712345678"),
        ("0712.345.678", "254712345678"),
        ("+254 (0) 712 345 678", "254712345678"),
        ("+2540712345678", "254712345678"),
        (" 0712345678\n", "254712345678"),
        ("\u202a+254 712 345 678\u202c", "254712345678"),
        ("0712\xa0345\xa0678", "254712345678"),
        ("0110345678", "254110345678"),
        ("0799999999", "254799999999"),
    ],
)
def test_a_number_has_one_form_however_typed(typed: str, stored: str) -> None:
    assert phone.parse(typed) == stored
    assert phone.parse(stored) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "", " ", "0", "abc", "07123", "071234567", "07123456789", "0202345678", "0800723253", "999", "*144#",
        "+255712345678", "+44 7911 123456", "0712ABCDEF", "O712345678", "call 0712345678", "0712345678 ext 5",
        "0712345678;ext=5", "0712345678/0713345678", "0712345678, 0713345678", "0712345678#", "tel:0712345678",
        "+254712345678;phone-context=+254", "0712\x00345678", "\ud800", "254712345678" * 2, "9" * 5_000, "+",
    ],
)  # fmt: skip
def test_what_is_no_kenyan_mobile_number_has_no_form(typed: str) -> None:
    with pytest.raises(ValueError, match=re.escape("Please give a Kenyan mobile number such as 0712 345 678.")):
        phone.parse(typed)


def test_a_masked_number_is_known_to_its_owner_alone() -> None:
    assert phone.mask("254712345678") == "254712***678"


# ── The clock ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("moment", "utc"),
    [
        ("2030-01-01T00:00:00", "2029-12-31T21:00:00+00:00"),
        ("2030-01-01T02:59:59", "2029-12-31T23:59:59+00:00"),
        ("2030-01-01T03:00:00", "2030-01-01T00:00:00+00:00"),
        ("2030-06-01T18:00:00", "2030-06-01T15:00:00+00:00"),
        ("2030-01-01T00:00:00+03:00", "2029-12-31T21:00:00+00:00"),
        ("2030-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"),
        ("2030-01-01T00:00:00-08:00", "2030-01-01T08:00:00+00:00"),
    ],
)
def test_a_time_without_zone_is_nairobis(moment: str, utc: str) -> None:
    assert clock.to_utc(datetime.fromisoformat(moment)).isoformat() == utc


@pytest.mark.parametrize(
    ("instant", "told"),
    [
        ("2029-12-31T20:59:59+00:00", "2029-12-31T23:59:59+03:00"),
        ("2029-12-31T21:00:00+00:00", "2030-01-01T00:00:00+03:00"),
        ("2030-01-01T00:00:00+00:00", "2030-01-01T03:00:00+03:00"),
        ("2030-07-01T12:00:00.999999+00:00", "2030-07-01T15:00:00+03:00"),
        ("2030-07-01T12:00:00-05:00", "2030-07-01T20:00:00+03:00"),
    ],
)
def test_people_are_told_nairobis_time_with_its_offset(instant: str, told: str) -> None:
    assert clock.to_nairobi(datetime.fromisoformat(instant)) == told


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().tzinfo is timezone.utc
    assert clock.ago(hours=1) < clock.now() < clock.ahead(minutes=1)


def test_the_clock_can_be_set_and_runs_again_afterwards() -> None:
    midnight = datetime(2030, 1, 1, tzinfo=clock.NAIROBI)
    with clock.set_to(midnight):
        assert clock.now() == midnight
        assert clock.ahead(minutes=10) - midnight == timedelta(minutes=10)
        with clock.set_to(midnight + timedelta(days=1)):
            assert clock.to_nairobi(clock.now()) == "2030-01-02T00:00:00+03:00"
        assert clock.now() == midnight
    assert clock.now() != midnight


def test_no_answer_tells_a_time_in_utc(client: FlaskClient, make: Maker) -> None:
    """Whatever the frontend prints is Nairobi's wall clock."""
    organizer = make.organizer()
    make.ticket_type(make.event(organizer), sales_end_at=clock.ahead(days=1))
    found = client.get("/my-events", headers=make.headers(organizer)).text + client.get("/events/1").text
    times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]+)"', found)
    assert len(times) >= 7
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\+03:00", one) for one in times), times


# ── Codes, secrets, passwords ─────────────────────────────────────────────────────────────────────────────────────


def test_a_code_is_made_of_characters_that_cannot_be_confused() -> None:
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{10}", security.new_code(10))
    assert re.fullmatch("(?:[0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}", security.new_code(12, group=4))
    assert len({security.new_code(12) for _ in range(1_000)}) == 1_000
    assert set("".join(security.new_code(12) for _ in range(1_000))) == set(security.CROCKFORD)


def test_a_secret_survives_any_gateway_and_is_kept_as_its_hash() -> None:
    secret = security.new_secret()
    assert re.fullmatch("[0-9a-f]{32}", secret)
    assert secret.encode() not in security.hash_secret(secret)
    assert security.hash_secret(secret) == security.hash_secret(secret) != security.hash_secret(security.new_secret())


def test_the_owners_own_words_make_no_password() -> None:
    known = ["Nyokabi", "Wainaina", "nyokabi@example.co.ke", "254712345678"]
    for password in ("nyokabi@example.co.ke", "254712345678", "NyokabiWainaina", "wainaina1"):
        with pytest.raises(ValueError, match="too easy"):
            security.check_password(password, known=known)
    security.check_password("maziwa-lala-2026", known=known)


def test_the_cost_of_a_password_is_the_settings(app: Flask) -> None:
    with app.app_context():
        assert security.hash_password("maziwa-lala-2026").startswith("$2b$04$")


def test_nobody_has_a_password(app: Flask) -> None:
    with app.app_context():
        assert not security.password_matches("maziwa-lala-2026", None)
        assert not security.password_matches("", None)


# ── The log ───────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET = "0123456789abcdef" * 2
#: As `signing.sign` makes them.
SIGNED = "WzE3MzI0ODAwMDAsMV0." + "aB3-_" * 8 + "xyz"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("pushed to 254712345678", "pushed to 254712***678"),
        ("pushed to +254712345678.", "pushed to +254712***678."),
        ("'0712345678'", "'0712***678'"),
        ("phone=%2B254712345678&a=1", "phone=%2B254712***678&a=1"),
        ("PhoneNumber_254112345678_x", "PhoneNumber_254112***678_x"),
        ('{"Value": 254712345678}', '{"Value": 254712***678}'),
        ("254712345678,254733345679", "254712***678,254733***679"),
        (f"/api/payment/callback/{SECRET}", "/api/payment/callback/<secret>"),
        (f"token_{SECRET}", "token_<secret>"),
        ("secret 00254712345678" + "c" * 18, "secret <secret>"),
        ("order 1254712345678", "order 1254712345678"),
        ("2026-11-23 21:30:00 20261123213000", "2026-11-23 21:30:00 20261123213000"),
        ("ws_CO_191220191020363925", "ws_CO_191220191020363925"),
        ("nothing to hide", "nothing to hide"),
        ("+254 712 345 678, 0712-345-678", "+254 712***678, 0712***678"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer <secret>"),
        ("{'Authorization': 'Gate " + SECRET + "'}", "{'Authorization': 'Gate <secret>'}"),
        ("sent Bearer abcdefghijklmnop", "sent Bearer <secret>"),
        ("GET /calendar?token=short&format=ics", "GET /calendar?token=<secret>&format=ics"),
        ('{"password": "maziwa", "new_password":"lala"}', '{"password": "<secret>", "new_password":"<secret>"}'),
        (f"GET /t/{SIGNED}/qr.svg", "GET /t/<secret>/qr.svg"),
        (f"GET /calendar/{SIGNED}.ics", "GET /calendar/<secret>.ics"),
        (f"GET /gate#{SECRET}", "GET /gate#<secret>"),
        ("reset/" + "aB3-_" * 8 + "xyz", "reset/<secret>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x_y-z", "<secret>"),
        ("QR " + "A7" * 74 + "B", "QR <secret>"),
        ("ticket TK7P-4M2Q-9XWD", "ticket <secret>"),
        ("$2b$12$" + "a" * 53, "<secret>"),
        ("a gate closed, tokens: 5", "a gate closed, tokens: 5"),
    ],
)
def test_a_log_line_names_nobodys_phone_or_secret(said: str, kept: str) -> None:
    assert logger.redact(said) == kept


@contextmanager
def log_as_the_app_does(*, is_json: bool = False, secrets: Sequence[str] = ()) -> Iterator[io.StringIO]:
    """What is logged meanwhile, as it would stand on standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        logger.configure("INFO", is_json=is_json, secrets=secrets)
        handler = root.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        written = io.StringIO()
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            handler.setStream(file)
            yield written
            file.seek(0)
            written.write(file.read())
    finally:
        root.handlers = handlers
        root.setLevel(level)


def test_arguments_and_tracebacks_are_masked_too() -> None:
    with log_as_the_app_does() as log:
        try:
            raise ValueError("no such phone: 254712345678")
        except ValueError:
            logging.getLogger("ticksy.test").exception("pushing to %s at %s", "0712345678", {"token": SECRET})
    written = log.getvalue()
    assert "0712***678" in written
    assert "no such phone: 254712***678" in written
    assert "345678" not in written
    assert SECRET not in written


def test_what_the_settings_keep_secret_is_masked_wherever_it_stands() -> None:
    with log_as_the_app_does(secrets=["hush", "hush-hush", "no"]) as log:
        logging.getLogger("ticksy.test").warning("no: hush-hush")
    assert "no: <secret>" in log.getvalue()  # what is very short would be found everywhere
    with log_as_the_app_does() as log:
        logging.getLogger("ticksy.test").warning("hush-hush")
    assert "hush-hush" in log.getvalue()


def test_a_long_text_is_masked_in_no_time() -> None:
    for text in ("a" * 200_000, "token" * 40_000, "A1b-" * 50_000, "0712 " * 40_000, "x." * 100_000):
        started = time.perf_counter()
        logger.redact(text)
        assert time.perf_counter() - started < 2, text[:10]


def test_a_request_is_logged_by_its_rule_with_its_id(client: FlaskClient) -> None:
    with log_as_the_app_does() as log:
        answer = client.get(f"/payments/check/{SECRET}?token={SECRET}")
    [line] = log.getvalue().splitlines()
    for told in (answer.headers["X-Request-Id"], "GET", "/payments/check/<secret:poll_id>", "404"):
        assert told in line
    assert SECRET not in line


def test_programs_read_a_line_as_an_object(client: FlaskClient) -> None:
    with log_as_the_app_does(is_json=True) as log:
        answer = client.get(f"/payments/check/{SECRET}")
        try:
            raise ValueError("no such phone: 254712345678")
        except ValueError:
            logging.getLogger("ticksy.test").exception("a\nb")
    request, fault = (json.loads(line) for line in log.getvalue().splitlines())
    assert request["timestamp"].endswith("Z")
    del request["timestamp"], request["milliseconds"]
    assert request == {
        "event": "request",
        "level": "info",
        "logger": "ticksy.http",
        "request_id": answer.headers["X-Request-Id"],
        "method": "GET",
        "route": "/payments/check/<secret:poll_id>",
        "status": 404,
        "address": "127.0.0.1",
    }
    assert (fault["event"], fault["level"]) == ("a\nb", "error")
    assert "no such phone: 254712***678" in fault["exception"]


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def organizer(make: Maker) -> User:
    """Runs five events."""
    organizer = make.organizer()
    for number in range(5):
        make.event(organizer, title=f"Event {number}", starts_at=clock.ahead(days=number + 1))
    return organizer


def link(address: str, **pages: int) -> str:
    return ", ".join(f'<{address}page={page}&per_page=2>; rel="{name}"' for name, page in pages.items())


@pytest.mark.parametrize(
    ("page", "titles", "links"),
    [
        (1, ["Event 0", "Event 1"], {"next": 2, "last": 3}),
        (2, ["Event 2", "Event 3"], {"first": 1, "prev": 1, "next": 3, "last": 3}),
        (3, ["Event 4"], {"first": 1, "prev": 2}),
        (4, [], {"first": 1, "prev": 3, "last": 3}),
        (9, [], {"first": 1, "last": 3}),
    ],
)
def test_a_page_names_its_neighbours_and_the_total(
    client: FlaskClient, organizer: User, page: int, titles: list[str], links: dict[str, int]
) -> None:
    answer = client.get(f"/events?page={page}&per_page=2")
    assert [event["title"] for event in answer.json] == titles
    assert answer.headers["X-Total-Count"] == "5"
    assert answer.headers["Link"] == link("/events?", **links)


def test_one_page_has_no_neighbours(client: FlaskClient, organizer: User) -> None:
    for query in ("", "?per_page=5", "?per_page=1000", "?page=1"):
        answer = client.get(f"/events{query}")
        assert len(answer.json) == 5
        assert answer.headers["X-Total-Count"] == "5"
        assert "Link" not in answer.headers


def test_an_empty_list_is_one_empty_page(client: FlaskClient) -> None:
    answer = client.get("/events")
    assert (answer.json, answer.headers["X-Total-Count"]) == ([], "0")
    assert "Link" not in answer.headers


def test_a_link_keeps_the_other_parameters(client: FlaskClient, organizer: User) -> None:
    answer = client.get("/events", query_string={"location": "Alchemist, Nairobi", "per_page": 2, "page": 3})
    address = "/events?location=Alchemist%2C+Nairobi&"
    assert answer.headers["Link"] == link(address, first=1, prev=2)


def test_the_pages_together_are_the_list(client: FlaskClient, organizer: User) -> None:
    titles: list[str] = []
    address = "/events?per_page=2"
    while address:
        answer = client.get(address)
        titles += [event["title"] for event in answer.json]
        following = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        address = following[1] if following else ""
    assert titles == [f"Event {number}" for number in range(5)]
