"""What users of the frontend suffered from an earlier backend, and do not any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from flask import Flask

from models import EventStatus, User
from tests.contract.frontend import Browser
from tests.contract.test_attendee import PAYS, cart
from tests.pictures import picture, upload
from tests.scripted_daraja import Reply, scripted_daraja
from tests.support import Maker, failure
from tests.test_access import bad_authorization
from tests.waiting import wait_until
from utils import clock

Browse = Callable[[User], Browser]


@pytest.fixture
def guest(make: Maker) -> User:
    return make.attendee()


def test_an_order_that_was_paid_is_paid_its_tickets_issued_its_places_sold(
    browser: Browse, make: Maker, guest: User
) -> None:
    page, ticket_type = browser(guest), make.on_sale(name="VIP", quantity=5)
    order = page.axios("POST", "/orders", json=cart(page, ticket_type, 2, PAYS)).json
    wait_until(
        lambda: page.fetch(f"/payments/check/{order['checkoutRequestID']}").json["data"].get("ResultCode") == "0"
    )
    assert page.read(f"/orders/{order['orderId']}")["status"] == "paid"
    assert len(page.read("/my-tickets")) == 2
    [shown] = page.read(f"/events/{ticket_type.event_id}/tickets")
    assert (shown["sold"], shown["available"]) == (2, 3)


@pytest.mark.parametrize("code", [1032, 1, 2001, 1037, "1", "2001"])
def test_polling_ends_whatever_the_payment_failed_of(visitor: Browser, make: Maker, code: int | str) -> None:
    order, token = make.order()
    make.deliver(token, failure(code))
    assert visitor.fetch(f"/payments/check/{order.poll_id}").json["data"]["ResultCode"] == "1032"


def test_an_order_whose_prompt_was_refused_is_an_error_and_not_polled(
    app: Flask, browser: Browse, make: Maker, guest: User
) -> None:
    with scripted_daraja(app) as daraja:
        daraja.pushes = [Reply.error("400.002.02", 400)]
        page = browser(guest)
        answer = page.axios("POST", "/orders", json=cart(page, make.on_sale(), 1, PAYS))
    assert answer.status_code == 503
    assert "checkoutRequestID" not in answer.json


def test_signing_up_logs_in(visitor: Browser) -> None:
    body = {"first_name": "Akinyi", "last_name": "Otieno", "role": "attendee", "email": "akinyi@example.co.ke"}
    answer = visitor.axios("POST", "/signup", json=body | {"phone": "0712345678", "password": "ugali-na-samaki"})
    assert answer.json["access_token"]
    assert (answer.json["user"]["first_name"], answer.json["user"]["role"]) == ("Akinyi", "attendee")


def test_an_event_counts_who_comes(visitor: Browser, make: Maker) -> None:
    order = make.paid_order(quantity=3)
    assert visitor.read(f"/events/{order.event_id}")["attendee_count"] == 3


@pytest.mark.parametrize("days", [0, 30])
def test_ones_events_have_an_end(browser: Browse, make: Maker, guest: User, days: int) -> None:
    with clock.set_to(clock.ago(days=days)):
        make.paid_order(guest)
    [event] = browser(guest).read(f"/profile/my-{'past' if days else 'upcoming'}-events")
    assert datetime.fromisoformat(event["end_time"]) > datetime.fromisoformat(event["start_time"])


@pytest.mark.parametrize("days", [0, 30])
def test_a_ticket_shows_its_code_and_the_receipt_what_was_paid(
    browser: Browse, make: Maker, guest: User, days: int
) -> None:
    with clock.set_to(clock.ago(days=days)):
        order = make.paid_order(guest)
    shown = browser(guest).read(f"/profile/my-{'past' if days else 'upcoming'}-events/{order.event_id}")
    assert [one["id"] for one in shown["tickets"]] == [make.tickets()[0].code]
    assert (shown["order"]["order_id"], shown["order"]["mpesa_receipt"]) == (order.reference, order.receipt)


def test_an_admin_sees_what_there_is_to_decide_about(browser: Browse, make: Maker) -> None:
    organizer = make.organizer(first_name="Wanjiru")
    event = make.event(organizer, status=EventStatus.PENDING)
    form = {"image": upload(picture())}
    browser(organizer).axios("PUT", f"/events/{event.id}", form=form)
    [shown] = browser(make.admin()).read("/admin/pending")
    assert shown["image_url"].startswith("http")
    assert (shown["description"], shown["tags"]) == (event.description, event.tags)
    assert shown["organizer"]["first_name"] == "Wanjiru"


def test_the_stored_user_has_the_nested_copy_that_two_pages_read(browser: Browse, guest: User) -> None:
    stored = browser(guest).user
    assert stored is not None
    own = {name: stored[name] for name in ("id", "first_name", "last_name", "email", "phone")}
    assert {name: stored["user"][name] for name in own} == own


def test_editing_does_not_move_an_event(browser: Browse, make: Maker) -> None:
    organizer = make.organizer()
    page = browser(organizer)
    event = make.event(organizer, status=EventStatus.REJECTED)
    [before] = page.read("/my-events")
    for _ in range(3):
        sent = datetime.fromisoformat(page.read("/my-events")[0]["start_time"]).astimezone(tz=clock.now().tzinfo)
        form = {"start_time": sent.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        assert page.axios("PUT", f"/events/{event.id}", form=form).status_code == 200
    [after] = page.read("/my-events")
    assert (after["start_time"], after["end_time"]) == (before["start_time"], before["end_time"])


def test_who_has_not_paid_has_no_event_and_no_say(browser: Browse, make: Maker, guest: User) -> None:
    ticket_type = make.ticket_type(make.event(starts_at=clock.ahead(hours=1)))
    make.order(guest, ticket_type)
    failed, token = make.order(guest, ticket_type, quantity=2)
    make.deliver(token, failure())
    page, event_id = browser(guest), failed.event_id
    assert page.read("/profile/my-upcoming-events") == []
    assert page.axios("GET", f"/profile/my-upcoming-events/{event_id}").status_code == 404
    with clock.set_to(clock.ahead(hours=2)):
        assert page.axios("POST", f"/events/{event_id}/review", json={"rating": 1}).status_code == 403
    with clock.set_to(clock.ahead(days=1)):
        assert page.read("/profile/my-past-events") == []


def test_an_event_in_progress_is_still_to_come(browser: Browse, make: Maker, guest: User) -> None:
    event = make.event(starts_at=clock.ahead(hours=1), ends_at=clock.ahead(hours=5))
    make.paid_order(guest, make.ticket_type(event))
    page = browser(guest)
    with clock.set_to(clock.ahead(hours=3)):
        assert [one["id"] for one in page.read("/profile/my-upcoming-events")] == [event.id]
        assert page.read("/profile/my-past-events") == []


@pytest.mark.parametrize(("minutes", "is_listed"), [(59, True), (61, True), (299, True), (301, False)])
def test_an_event_is_listed_to_its_end_to_the_minute(
    visitor: Browser, make: Maker, minutes: int, is_listed: bool
) -> None:
    make.event(starts_at=clock.ahead(hours=1), ends_at=clock.ahead(hours=5))
    with clock.set_to(clock.ahead(minutes=minutes)):
        assert bool(visitor.read("/events")) is is_listed


def test_a_token_that_is_missing_bad_or_old_is_401(app: Flask, visitor: Browser, guest: User) -> None:
    assert visitor.axios("GET", "/my-events").status_code == 401
    for kind, value in bad_authorization(app, guest).items():
        if value.startswith("Bearer ") and value.isascii():
            visitor.user = {"access_token": value.removeprefix("Bearer ")}
            assert visitor.axios("GET", "/my-events").status_code == 401, kind


@pytest.mark.parametrize("email", ["john_doe@example.co.ke", "a+b@example.co.ke", "a@my-mail.com"])
def test_a_valid_address_signs_up_and_is_taken_by_the_profile(
    visitor: Browser, browser: Browse, make: Maker, email: str
) -> None:
    body = {"first_name": "A", "last_name": "B", "role": "attendee", "email": email, "phone": "0712345678"}
    assert visitor.axios("POST", "/signup", json=body | {"password": "ugali-na-samaki"}).status_code == 201
    other = email.replace("@", "2@")
    page = browser(make.attendee())
    assert page.axios("PUT", "/profile/me", json={"email": other}).status_code == 200
    assert page.read("/profile/me")["email"] == other


def test_a_picture_needs_no_account_anywhere(browser: Browse, visitor: Browser, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer)
    form = {"image": upload(picture())}
    answer = browser(organizer).axios("PUT", f"/events/{event.id}", form=form)
    path = answer.json["image_url"].split("/", 3)[3]
    with visitor.client.get(f"/{path}") as shown:
        assert (shown.status_code, shown.mimetype) == (200, "image/webp")
