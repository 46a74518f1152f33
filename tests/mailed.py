"""Links in e-mails, as tests follow them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import tasks
from models import Notification, NotificationKind
from services import letters
from tests.support import Maker, changed_settings

ANSWER_RESETS = next(task for task in tasks.TASKS if task.name == "answer who forgot a password")


@contextmanager
def mail_set_up(app: Flask, **more: Any) -> Iterator[None]:
    """E-mails are written, and nobody carries them."""
    with changed_settings(app, MAIL_URL="smtp://127.0.0.1:9", MAIL_FROM="tickets@ticksy.example.com", **more):
        yield


def told(make: Maker, kind: NotificationKind) -> list[Notification]:
    return [one for one in make.rows(Notification) if one.kind is kind]


def links(make: Maker, kind: NotificationKind) -> list[str]:
    """The paths of the links in e-mails of a kind, oldest first."""
    return [_link_in(make, message) for message in told(make, kind)]


def _link_in(make: Maker, message: Notification) -> str:
    with make.app.app_context():
        text = letters.render(message).text
    [url] = re.findall(r"http\S+/[0-9a-f]{32}\b", text)
    return str(url).removeprefix(make.app.extensions["settings"].PUBLIC_URL)


def secret_of(link: str) -> str:
    return link.rsplit("/", 1)[1]


def forgot(client: FlaskClient, email: str) -> TestResponse:
    return client.post("/password/forgot", json={"email": email})


def ask_for_reset(make: Maker, email: str) -> str:
    """The link that somebody who forgot the password gets."""
    assert forgot(make.app.test_client(), email).status_code == 202
    assert tasks.run_once(make.app, ANSWER_RESETS) == 1
    return links(make, NotificationKind.PASSWORD_RESET)[-1]
