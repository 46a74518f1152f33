"""Calls that need no login, as the frontend makes them: signing up, logging in, the catalogue, reviews."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from models import Event, Role, User
from tests.contract.frontend import EVENT, PERSON, Browser, assert_reads, one_of, when
from tests.pictures import picture, upload
from tests.support import PASSWORD, Maker
from tests.test_access import bad_authorization
from utils import clock

USER = {
    "id": int,
    "role": one_of("attendee", "organizer", "admin"),
    "first_name": str,
    "last_name": str,
    "email": str,
    "phone": str,
    "status": one_of("active", "banned"),
}
#: The stored user is flat, but two pages read `user.user`.
SESSION = {"access_token": str, "user": USER | {"user": USER}}

Browse = Callable[[User], Browser]


@pytest.fixture(params=["nobody", "logged in", "expired token", "null"])
def anyone(request: pytest.FixtureRequest, app: Flask, visitor: Browser, browser: Browse, make: Maker) -> Browser:
    """Whoever opens a public page: the token they send with it may be good, old or none."""
    if request.param == "logged in":
        return browser(make.attendee())
    user = make.attendee()
    if request.param == "expired token":
        visitor.user = {"access_token": bad_authorization(app, user)["expired"].removeprefix("Bearer ")}
    if request.param == "null":
        visitor.user = {"access_token": "null"}
    return visitor


@pytest.fixture
def event(make: Maker) -> Event:
    """With a picture, two ticket types, a sale and a review; it is in progress."""
    organizer = make.organizer()
    event = make.event(organizer, starts_at=clock.ahead(hours=1))
    form = {"image": upload(picture())}
    client = make.app.test_client()
    client.put(f"/events/{event.id}", data=form, headers=make.headers(organizer))
    client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=make.headers(make.admin()))
    guest = make.attendee()
    make.paid_order(guest, make.ticket_type(event, name="VIP", price=1500), quantity=2)
    make.ticket_type(event, name="Regular")
    with clock.set_to(clock.ahead(hours=2)):
        body = {"rating": 4, "comment": "Poa sana"}
        client.post(f"/events/{event.id}/review", json=body, headers=make.headers(guest))
    return event


# ── 1: POST /login ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", Role)
def test_row_1_login(anyone: Browser, make: Maker, role: Role) -> None:
    user = make.user(role)
    answer = anyone.axios("POST", "/login", json={"email": user.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert_reads(answer.json, SESSION)
    stored = json.loads(json.dumps({"access_token": answer.json["access_token"], **answer.json["user"]}))
    assert (stored["id"], stored["role"], stored["user"]["id"]) == (user.id, role.value, user.id)
    anyone.user = stored
    assert anyone.read("/profile/me")["email"] == user.email


def test_row_1_a_failed_login_is_an_error_with_a_sentence(anyone: Browser, make: Maker) -> None:
    user, banned = make.attendee(), make.attendee()
    make.ban(banned)
    for email, password in (
        (user.email, "wrong"),
        ("nobody@example.co.ke", PASSWORD),
        (banned.email, PASSWORD),
        ("", ""),
    ):
        assert anyone.axios("POST", "/login", json={"email": email, "password": password}).status_code >= 400


# ── 2: POST /signup ───────────────────────────────────────────────────────────────────────────────────────────────


def form(**changes: str) -> dict[str, str]:
    return {
        "first_name": "Akinyi",
        "last_name": "Otieno",
        "role": "attendee",
        "email": "akinyi_o+tickets@my-mail.co.ke",
        "phone": "0712345678",
        "password": "ugali-na-samaki",
    } | changes


@pytest.mark.parametrize("role", ["attendee", "organizer"])
def test_row_2_signup(anyone: Browser, role: str) -> None:
    answer = anyone.axios("POST", "/signup", json=form(role=role))
    assert answer.status_code == 201
    assert_reads(answer.json, SESSION)
    assert answer.json["user"]["role"] == role
    anyone.user = {"access_token": answer.json["access_token"], **answer.json["user"]}
    assert anyone.read("/profile/me")["id"] == anyone.user["id"]


@pytest.mark.parametrize(
    "changes",
    [{"email": ""}, {"email": "a@b"}, {"phone": "12"}, {"password": "1234"}, {"first_name": ""}, {"role": "admin"}],
)
def test_row_2_a_refused_signup_shows_its_sentence(anyone: Browser, changes: dict[str, str]) -> None:
    answer = anyone.axios("POST", "/signup", json=form(**changes))
    assert 400 <= answer.status_code < 500


# ── 3 to 5 and 13: the catalogue and reviews ──────────────────────────────────────────────────────────────────────


def test_row_3_events(anyone: Browser, event: Event) -> None:
    listed = anyone.read("/events")
    assert_reads(listed, [EVENT | {"organizer": PERSON}])
    [shown] = listed
    assert shown["image_url"].startswith("http")
    assert "jazz" in f"{shown['title']} {shown['description']}".lower()
    assert shown["tags"].split(",") == ["jazz", "live"]


def test_row_3_without_events_the_list_is_bare_and_empty(anyone: Browser) -> None:
    assert anyone.read("/events") == []


TICKET = {"id": int, "type": str, "price": int}


def test_row_4_event(anyone: Browser, event: Event) -> None:
    shown = anyone.read(f"/events/{event.id}")
    assert_reads(shown, EVENT | {"attendee_count": int, "tickets": [TICKET | {"quantity": int, "sold": int}]})
    assert shown["attendee_count"] == 2
    assert {one["type"]: one["sold"] for one in shown["tickets"]} == {"VIP": 2, "Regular": 0}


def test_row_4_no_event(anyone: Browser) -> None:
    assert anyone.axios("GET", "/events/4711").status_code == 404


def test_row_5_tickets(anyone: Browser, event: Event) -> None:
    listed = anyone.read(f"/events/{event.id}/tickets")
    assert_reads(listed, [TICKET])
    assert [(one["type"], one["price"]) for one in listed] == [("Regular", 500), ("VIP", 1500)]


REVIEW: dict[str, Any] = {
    "id": int,
    "rating": int,
    "comment": str | None,
    "created_at": when,
    "attendee": PERSON | {"id": int},
}


def test_row_13_reviews(anyone: Browser, event: Event) -> None:
    listed = anyone.read(f"/events/{event.id}/reviews")
    assert_reads(listed, [REVIEW])
    assert [(one["rating"], one["comment"]) for one in listed] == [(4, "Poa sana")]


def test_row_13_an_event_without_reviews_has_an_empty_list(anyone: Browser, make: Maker) -> None:
    assert anyone.read(f"/events/{make.event().id}/reviews") == []
