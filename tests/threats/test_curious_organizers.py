"""A curious organizer: somebody who may see much wants to see more, or to leave no trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import flask_restful

import resources
from models import AuditLog, Event, User
from resources.base import Resource
from services import accounts, exports
from tests.threats.field import Field, attack
from utils import clock, signing
from utils.database import db, transaction
from utils.security import hash_password


@attack(
    "Another organizer's attendees, figures, passes, refunds",
    without=lambda field: field.replace(Event, "is_run_by", lambda *_: True),
)
def test_what_is_another_organizers_is_not_there(field: Field) -> bool:
    event, curious = field.make.event(), field.make.organizer()
    paths = (
        *(f"/organizer/events/{event.id}/{what}" for what in ("attendees", "gate", "gate-passes", "transfers")),
        *(f"/events/{event.id}/{what}" for what in ("refunds", "attendees/export")),
    )
    return any(field.get(path, curious).status_code == 200 for path in paths)


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LINK = "A link to a file that was passed on"


def _link(field: Field) -> tuple[Event, User, str]:
    """An event, its organizer, and a link to its attendees."""
    organizer = field.make.organizer()
    event = field.make.event(organizer)
    path = f"/events/{event.id}/attendees/export-link"
    made = field.client.post(path, json={"format": "csv"}, headers=field.make.headers(organizer))
    assert made.status_code == 201
    parts = urlsplit(made.json["url"])
    return event, organizer, f"{parts.path}?{parts.query}"


def _opens(field: Field, link: str) -> bool:
    return field.client.get(link, buffered=True).status_code == 200


@attack(LINK, without=lambda field: field.replace(exports, "LINK_SECONDS", 10**6))
def test_a_link_ends_after_five_minutes(field: Field) -> bool:
    _, _, link = _link(field)
    assert _opens(field, link)
    with clock.set_to(clock.ahead(minutes=5, seconds=1)):
        return _opens(field, link)


class _Whatever:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def _ask_not_what_for(field: Field) -> None:
    verify = signing.verify

    def verify_its_maker(purpose: str, token: str) -> tuple[Any, ...]:
        maker, *_, password = verify(purpose, token)
        return maker, _Whatever(), _Whatever(), password

    field.replace(signing, "verify", verify_its_maker)


@attack(LINK, without=_ask_not_what_for)
def test_a_link_opens_one_file_of_one_event(field: Field) -> bool:
    event, organizer, link = _link(field)
    other = field.make.event(organizer)
    changed = link.replace(f"/events/{event.id}/", f"/events/{other.id}/"), link.replace("format=csv", "format=xlsx")
    return any(_opens(field, one) for one in changed)


def _believe_the_link(field: Field) -> None:
    field.replace(accounts, "authenticate", lambda user_id: db.session.get_one(User, user_id))


@attack(LINK, without=_believe_the_link)
def test_a_link_ends_with_a_ban(field: Field) -> bool:
    _, organizer, link = _link(field)
    field.make.ban(organizer)
    return _opens(field, link)


@attack(LINK, without=lambda field: field.replace(signing, "is_fingerprint", lambda *_: True))
def test_a_link_ends_with_a_password(field: Field) -> bool:
    _, organizer, link = _link(field)
    with field.app.app_context(), transaction() as session:
        session.get_one(User, organizer.id).password_hash = hash_password("kahawa-chungu-41")
    return _opens(field, link)


@attack(LINK, without=lambda field: field.replace(Event, "is_run_by", lambda *_: True))
def test_a_link_ends_when_the_event_is_somebody_elses(field: Field) -> bool:
    event, _, link = _link(field)
    other = field.make.organizer()
    with field.app.app_context(), transaction() as session:
        session.get_one(Event, event.id).organizer_id = other.id
    return _opens(field, link)


@attack(
    "Taking data away unnoticed", without=lambda field: field.replace(exports.audit, "record", lambda *_, **__: None)
)
def test_no_data_is_taken_away_unnoticed(field: Field) -> bool:
    event, organizer, link = _link(field)
    assert _opens(field, link)
    assert field.get(f"/events/{event.id}/attendees/export?format=xlsx", organizer).status_code == 200
    lines = [line for line in field.make.rows(AuditLog) if line.action == "attendees_exported"]
    return [line.target_id for line in lines].count(event.id) < 2


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Forgotten(Resource):
    def get(self) -> dict[str, str]:
        return {"secret": "told to anybody"}


@attack(
    "A forgotten check on a new address",
    without=lambda field: field.replace(Resource, "dispatch_request", flask_restful.Resource.dispatch_request),
)
def test_an_address_that_nobody_declared_answers_nobody(field: Field) -> bool:
    field.replace(resources, "URLS", [*resources.URLS, (_Forgotten, ["/forgotten"])])
    answer = field.start().get("/forgotten")
    field.replace(resources, "URLS", resources.URLS[:-1])
    return "told to anybody" in answer.text
