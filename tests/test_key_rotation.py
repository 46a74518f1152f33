"""SECRET_KEY changes: what the one before signed goes on working while it is among SECRET_KEYS_OLD, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from app import create_app
from models import Event, User
from services import exports, ticket_keys
from tests.support import PASSWORD, Maker
from utils import clock, signing, ticket_token
from utils.database import db

OLD, NEW = "before-0123456789-abcdefghijklmnop", "after-zyxwvu-9876543210-mlkjihgfedcba"
OTHER = "another-5647382910-qpwoeiruty-alskd"

Start = Callable[..., Flask]


@pytest.fixture
def start(settings: config.Settings) -> Iterator[Start]:
    """Ticksy with this key and these of before."""
    apps: list[Flask] = []

    def start(key: str, *old: str) -> Flask:
        apps.append(create_app(settings.model_copy(update={"SECRET_KEY": key, "SECRET_KEYS_OLD": list(old)})))
        return apps[-1]

    yield start
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def token_of(app: Flask, user: User) -> str:
    answer = app.test_client().post("/login", json={"email": user.email, "password": PASSWORD})
    return str(answer.json["access_token"])


def is_logged_in(app: Flask, token: str) -> bool:
    client: FlaskClient = app.test_client()
    return client.get("/profile/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_nobody_is_logged_out_by_a_new_key(make: Maker, start: Start) -> None:
    user = make.attendee()
    token = token_of(start(OLD), user)
    after = start(NEW, OLD)
    assert is_logged_in(after, token)
    assert is_logged_in(after, token_of(after, user))


def test_once_the_old_key_is_gone_what_it_signed_is_worth_nothing(make: Maker, start: Start) -> None:
    token = token_of(start(OLD), make.attendee())
    assert not is_logged_in(start(NEW), token)
    assert not is_logged_in(start(NEW, OTHER), token)


def test_nothing_new_is_signed_with_the_old_key(make: Maker, start: Start) -> None:
    user, during = make.attendee(), start(NEW, OLD)
    token = token_of(during, user)
    with during.app_context():
        address = signing.sign("calendar", (1,), expires_at=None)
    finished = start(NEW)
    assert is_logged_in(finished, token)
    with finished.app_context():
        assert signing.verify("calendar", address) == (1,)


def test_a_token_cannot_choose_a_key_it_was_not_signed_with(make: Maker, start: Start) -> None:
    user, during = make.attendee(), start(NEW, OLD)
    claims = jwt.decode(token_of(during, user), NEW, algorithms=["HS256"])
    kids = [jwt.get_unverified_header(token_of(start(key), user))["kid"] for key in (OLD, NEW)]
    assert len(set(kids)) == 2
    for key in (OTHER, kids[0] * 5):
        for kid in (*kids, "", "x"):
            forged = jwt.encode(claims, key, algorithm="HS256", headers={"kid": kid})
            assert not is_logged_in(during, forged)
    # One without a name, as was issued before keys had names, is of the key of now.
    assert is_logged_in(during, jwt.encode(claims, NEW, algorithm="HS256"))


def test_signed_addresses_of_before_still_work_and_still_end(start: Start) -> None:
    with start(OLD).app_context():
        lasting = signing.sign("calendar", (7, 1), expires_at=None)
        passing = signing.sign("calendar", (7, 1), expires_at=clock.ahead(minutes=5))
    with start(NEW, OTHER, OLD).app_context():
        assert signing.verify("calendar", lasting) == signing.verify("calendar", passing) == (7, 1)
        with pytest.raises(signing.NotSigned):
            signing.verify("unsubscribe", lasting)
        with clock.set_to(clock.now() + timedelta(minutes=6)), pytest.raises(signing.Expired):
            signing.verify("calendar", passing)
    with start(NEW).app_context(), pytest.raises(signing.NotSigned):
        signing.verify("calendar", lasting)


def test_a_link_to_a_file_still_works_after_the_key_changed(make: Maker, start: Start) -> None:
    organizer = make.organizer()
    event: Event = make.event(organizer)
    with start(OLD).app_context():
        path = exports.make_link(actor=organizer, event_id=event.id, file_format="csv").url.split("/", 3)[3]
    assert start(NEW, OLD).test_client().get(f"/{path}", buffered=True).status_code == 200
    assert start(NEW).test_client().get(f"/{path}", buffered=True).status_code in (401, 403, 404)


def test_an_events_tickets_are_signed_with_the_same_pair_after_the_key_changed(make: Maker, start: Start) -> None:
    order = make.paid_order()
    event_id = order.event_id
    with start(OLD).app_context():
        before = ticket_keys.signing_key(event_id).public_key().public_bytes_raw()
        shown = ticket_keys.make_token(order.tickets[0], db.session.get_one(Event, event_id))
    with start(NEW, OLD).app_context():
        assert ticket_keys.signing_key(event_id).public_key().public_bytes_raw() == before
    with start(NEW).app_context():  # the old key is lost: another pair, and the old one still verifies
        assert ticket_keys.signing_key(event_id).public_key().public_bytes_raw() != before
        assert ticket_token.verify(shown, ticket_keys.public_keys(event_id)).ticket_id == order.tickets[0].id
