"""Tickets people hold, and the pages of the events they are for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from models import Event, OrderStatus, User
from tests.support import Maker, failure
from utils import clock

UPCOMING, PAST = "/profile/my-upcoming-events", "/profile/my-past-events"


@pytest.fixture
def buyer(make: Maker) -> User:
    return make.attendee()


@pytest.fixture
def as_buyer(make: Maker, buyer: User) -> dict[str, str]:
    return make.headers(buyer)


# ── My tickets ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_my_tickets_say_what_they_are_for(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    vip = make.ticket_type(make.event(title="Jazz"), name="VIP")
    order = make.paid_order(buyer, vip)
    [ticket] = client.get("/my-tickets", headers=as_buyer).json
    assert ticket.keys() == {
        *("id", "ticket_code", "type", "status", "checked_in_at", "issued_at", "order_id", "event"),
        *("price", "mpesa_receipt", "page_url", "received_at"),
        *("attendee_first_name", "attendee_last_name", "attendee_email", "attendee_phone"),
    }
    assert (ticket["type"], ticket["status"], ticket["order_id"]) == ("VIP", "valid", order.reference)
    assert (ticket["price"], ticket["mpesa_receipt"]) == (500, order.receipt)
    assert ticket["event"]["title"] == "Jazz"
    assert (ticket["attendee_last_name"], ticket["attendee_phone"]) == (buyer.last_name, buyer.phone)


def test_every_ticket_has_a_code_of_its_own_that_people_can_type(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    ticket_type = make.on_sale()
    make.paid_order(buyer, ticket_type, quantity=5)
    make.paid_order(make.attendee(), ticket_type, quantity=3)
    codes = [ticket["ticket_code"] for ticket in client.get("/my-tickets", headers=as_buyer).json]
    assert len(codes) == 5
    assert len({ticket.code for ticket in make.tickets()}) == 8
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code) for code in codes)


def test_my_tickets_are_mine_newest_first_and_paged(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    make.paid_order()
    make.paid_order(buyer, quantity=2)
    make.paid_order(buyer)
    ids = [ticket["id"] for ticket in client.get("/my-tickets", headers=as_buyer).json]
    assert ids == sorted(ids, reverse=True)
    answer = client.get("/my-tickets?per_page=2&page=2", headers=as_buyer)
    assert ([ticket["id"] for ticket in answer.json], answer.headers["X-Total-Count"]) == (ids[2:], "3")


@pytest.mark.parametrize("address", ["/my-tickets", UPCOMING, PAST, f"{UPCOMING}/1", f"{PAST}/1"])
def test_these_pages_need_a_login(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code == 401


# ── Upcoming and past ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_has_what_the_page_reads(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    event = make.event()
    make.paid_order(buyer, make.ticket_type(event), quantity=3)
    assert client.get(UPCOMING, headers=as_buyer).json == [
        {
            "id": event.id,
            "title": event.title,
            "start_time": clock.to_nairobi(event.starts_at),
            "end_time": clock.to_nairobi(event.ends_at),
            "location": event.location,
            "image_url": None,
            "status": "approved",
        }
    ]
    assert client.get(PAST, headers=as_buyer).json == []


def test_the_detail_has_what_the_page_and_the_receipt_read(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    event = make.event()
    order = make.paid_order(buyer, make.ticket_type(event, price=750), quantity=2)
    seen = client.get(f"{UPCOMING}/{event.id}", headers=as_buyer).json
    assert seen.keys() == {"event", "tickets", "total_amount", "order", "orders"}
    shown = {name: seen["event"][name] for name in ("title", "description", "start_time", "end_time", "location")}
    assert shown == {
        "title": event.title,
        "description": event.description,
        "start_time": clock.to_nairobi(event.starts_at),
        "end_time": clock.to_nairobi(event.ends_at),
        "location": event.location,
    }
    assert seen["tickets"] == [
        {"id": ticket.code, "type": "Regular", "price": 750, "quantity": 1, "status": "valid"}
        for ticket in make.tickets()
    ]
    assert seen["total_amount"] == 1500
    assert seen["order"] == {
        "order_id": order.reference,
        "created_at": clock.to_nairobi(order.created_at),
        "mpesa_receipt": order.receipt,
        "total_amount": 1500,
    }


def test_an_event_is_upcoming_until_it_ends(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    event = make.event()
    make.paid_order(buyer, make.ticket_type(event))
    for moment, is_over in (
        (event.starts_at - timedelta(hours=1), False),
        (event.starts_at + timedelta(hours=1), False),
        (event.ends_at - timedelta(seconds=1), False),
        (event.ends_at, True),
    ):
        with clock.set_to(moment):
            assert len(client.get(UPCOMING, headers=as_buyer).json) == (0 if is_over else 1)
            assert len(client.get(PAST, headers=as_buyer).json) == (1 if is_over else 0)
            assert client.get(f"{UPCOMING}/{event.id}", headers=as_buyer).status_code == (404 if is_over else 200)
            assert client.get(f"{PAST}/{event.id}", headers=as_buyer).status_code == (200 if is_over else 404)


def test_upcoming_is_soonest_first_and_past_latest_first(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    ids = []
    for days in (3, 1, 2):
        event = make.event(starts_at=clock.ahead(days=days))
        make.paid_order(buyer, make.ticket_type(event, price=500 + days))
        ids.append(event.id)
    third, first, second = ids
    assert [event["id"] for event in client.get(UPCOMING, headers=as_buyer).json] == [first, second, third]
    with clock.set_to(clock.ahead(days=9)):
        assert [event["id"] for event in client.get(PAST, headers=as_buyer).json] == [third, second, first]


def test_several_orders_for_one_event_are_one_event(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    event = make.event()
    first = make.paid_order(buyer, make.ticket_type(event, price=500), quantity=2)
    second = make.paid_order(buyer, make.ticket_type(event, name="VIP", price=900))
    free, _ = make.order(buyer, make.ticket_type(event, name="Child", price=0))
    assert len(client.get(UPCOMING, headers=as_buyer).json) == 1
    seen = client.get(f"{UPCOMING}/{event.id}", headers=as_buyer).json
    assert [ticket["type"] for ticket in seen["tickets"]] == ["Regular", "Regular", "VIP", "Child"]
    assert seen["total_amount"] == 1900
    assert [order["order_id"] for order in seen["orders"]] == [first.reference, second.reference, free.reference]
    assert seen["order"] == seen["orders"][-1]
    assert (seen["order"]["mpesa_receipt"], seen["orders"][0]["mpesa_receipt"]) == (None, first.receipt)


def test_unpaid_orders_appear_nowhere(client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]) -> None:
    event = make.event()
    ticket_type = make.ticket_type(event)
    _, token = make.order(buyer, ticket_type)
    make.deliver(token, failure())
    cancelled, _ = make.order(buyer, ticket_type, quantity=2)
    client.delete(f"/orders/{cancelled.id}", headers=as_buyer)
    make.order(buyer, ticket_type, quantity=3)
    assert make.status(cancelled.id) is OrderStatus.CANCELLED
    for moment in (clock.now(), event.ends_at):
        with clock.set_to(moment):
            for address in ("/my-tickets", UPCOMING, PAST):
                assert client.get(address, headers=as_buyer).json == []
            for address in (UPCOMING, PAST):
                assert client.get(f"{address}/{event.id}", headers=as_buyer).status_code == 404


def test_an_unpaid_order_beside_a_paid_one_counts_for_nothing(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    event = make.event()
    ticket_type = make.ticket_type(event)
    make.paid_order(buyer, ticket_type)
    make.order(buyer, ticket_type, quantity=4)
    seen = client.get(f"{UPCOMING}/{event.id}", headers=as_buyer).json
    assert (len(seen["tickets"]), seen["total_amount"], len(seen["orders"])) == (1, 500, 1)


@pytest.fixture
def somebody_elses(make: Maker) -> Event:
    event = make.event()
    make.paid_order(make.attendee(), make.ticket_type(event))
    return event


@pytest.mark.parametrize("is_over", [False, True])
def test_somebody_elses_event_is_not_found(
    client: FlaskClient, make: Maker, as_buyer: dict[str, str], somebody_elses: Event, is_over: bool
) -> None:
    others = (as_buyer, make.headers(somebody_elses.organizer), make.headers(make.admin()))
    with clock.set_to(somebody_elses.ends_at if is_over else clock.now()):
        for headers in others:
            for address in (UPCOMING, PAST):
                answer = client.get(f"{address}/{somebody_elses.id}", headers=headers)
                assert (answer.status_code, answer.json["code"]) == (404, "not_found")
                assert client.get(address, headers=headers).json == []


def test_organizers_buy_tickets_too(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    make.paid_order(organizer)
    headers = make.headers(organizer)
    assert len(client.get(UPCOMING, headers=headers).json) == 1
    assert len(client.get("/my-tickets", headers=headers).json) == 1
