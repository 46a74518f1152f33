"""What people choose to hear, with a login or by one click in an e-mail."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import AuditLog, Notification, NotificationKind, User
from services import notifications, preferences
from services.notifications import Message
from tests.support import Maker, changed_settings
from utils import signing
from utils.database import transaction


def address(app: Flask, user: User, kind: NotificationKind = NotificationKind.EVENT_REMINDER) -> str:
    with app.app_context():
        url = preferences.unsubscribe_url(user_id=user.id, kind=kind)
    return url.removeprefix(app.extensions["settings"].PUBLIC_URL)


def test_everybody_hears_all_until_they_choose(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.attendee())
    path = "/profile/me/notifications"
    assert client.get(path, headers=headers).json == {"event_reminder": True, "review_invitation": True}
    changed = client.put(path, json={"event_reminder": False}, headers=headers)
    assert (changed.status_code, changed.json) == (200, {"event_reminder": False, "review_invitation": True})
    assert client.put(path, json={}, headers=headers).json == changed.json
    assert client.get(path, headers=headers).json == changed.json
    again = client.put(path, json={"event_reminder": True, "review_invitation": False}, headers=headers)
    assert again.json == {"event_reminder": True, "review_invitation": False}
    assert [line.details for line in make.rows(AuditLog) if line.action == "notifications_chosen"] == [
        {"muted": ["event_reminder"]},
        {"muted": ["review_invitation"]},
    ]


@pytest.mark.parametrize("body", [{"order_paid": False}, {"event_reminder": "perhaps"}, {"event_reminder": 1}, []])
def test_what_is_about_ones_own_orders_cannot_be_chosen(client: FlaskClient, make: Maker, body: object) -> None:
    answer = client.put("/profile/me/notifications", json=body, headers=make.headers(make.attendee()))
    assert answer.status_code == 422


def test_looking_at_the_page_ends_nothing_and_its_button_does(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    page = client.get(address(app, user))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert re.search(r'<form method="post"><button>', page.text)
    assert make.rows(User)[0].muted_notifications == []
    for _ in range(2):
        done = client.post(address(app, user))
        assert (done.status_code, "You will not get these any more" in done.text) == (200, True)
    assert make.rows(User)[0].muted_notifications == ["event_reminder"]
    assert len([line for line in make.rows(AuditLog) if line.action == "notifications_chosen"]) == 1


def test_one_click_ends_one_kind_and_leaves_the_others(app: Flask, client: FlaskClient, make: Maker) -> None:
    """As mail programs send it (RFC 8058): a form, without cookies or a login."""
    user = make.attendee()
    for kind in (NotificationKind.REVIEW_INVITATION, NotificationKind.EVENT_REMINDER):
        answer = client.post(address(app, user, kind), data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    assert make.rows(User)[0].muted_notifications == ["event_reminder", "review_invitation"]


def test_the_page_is_nobody_elses_business(app: Flask, client: FlaskClient, make: Maker) -> None:
    headers = client.get(address(app, make.attendee())).headers
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (headers["Referrer-Policy"], headers["X-Robots-Tag"]) == ("no-referrer", "noindex")
    assert headers["Cache-Control"] == "no-store"


def test_an_address_that_was_not_signed_here_for_this_does_nothing(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    user = make.attendee()
    good = address(app, user)
    with app.app_context():
        other = signing.sign("calendar", (user.id, "event_reminder"), expires_at=None)
        nobody = signing.sign("unsubscribe", (999_999, "event_reminder"), expires_at=None)
        nothing = signing.sign("unsubscribe", (user.id, "order_paid"), expires_at=None)
    for token in (other, nothing, "x" * 40, good.rsplit("/", 1)[1][:-1] + "A", "short"):
        for call in (client.get, client.post):
            assert call(f"/unsubscribe/{token}").status_code == 404, token
    assert client.post(f"/unsubscribe/{nobody}").status_code == 404
    assert make.rows(User)[0].muted_notifications == []


def test_who_is_not_to_hear_it_is_not_told(app: Flask, make: Maker) -> None:
    user = make.attendee()
    app.test_client().post(address(app, user))
    [muted] = make.rows(User)
    with app.app_context(), changed_settings(app, MAIL_URL="smtp://127.0.0.1:9"), transaction():
        notifications.queue(NotificationKind.EVENT_REMINDER, [Message(muted, "event 1", {})])
    assert make.rows(Notification) == []
