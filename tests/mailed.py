"""Links in e-mails, as tests follow them."""

from __future__ import annotations

import base64
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
from utils import sealing

ANSWER_RESETS = next(task for task in tasks.TASKS if task.name == "answer who forgot a password")


@contextmanager
def mail_set_up(app: Flask, **more: Any) -> Iterator[None]:
    """E-mails are written, and nobody carries them."""
    with changed_settings(app, MAIL_URL="smtp://127.0.0.1:9", MAIL_FROM="tickets@ticksy.example.com", **more):
        yield


def account_facts(app: Flask) -> dict[str, Any]:
    """What e-mails about an account are made of: a link that is nobody's among it."""
    key = app.extensions["settings"].SECRET_KEY
    sealed = sealing.seal(b"0f4c1c7b5f0e4a8e9d9b1f2a3c4d5e6f", key=key, purpose="one-time token", beside=b"1")
    return {
        "token_id": 1,
        "purpose": "reset_password",
        "sealed": base64.b64encode(sealed).decode(),
        "at": "2030-12-31T18:00:00+03:00",
        "new_address": f"{'a' * 60}@{'b' * 60}.example.co.ke",
    }


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
