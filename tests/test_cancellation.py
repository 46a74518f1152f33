"""Calling an event off: final, places given back, paid orders owed a refund."""

from __future__ import annotations

import threading

import pytest
from flask.testing import FlaskClient

from models import Event, OrderStatus, User
from services import refunds
from tests.support import Maker, cart, new_receipt, success
from utils import clock


def cancel(client: FlaskClient, make: Maker, event_id: int, *, by: User | None = None) -> None:
    answer = client.post(f"/events/{event_id}/cancel", headers=make.headers(by or make.admin()))
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert answer.json["message"] == "The event has been cancelled."


def refund_all(make: Maker) -> int:
    """The worker's part of it; returns how many orders it refunded."""
    with make.app.app_context():
        return refunds.refund_cancelled_events()


def test_a_cancelled_event_is_gone_from_the_catalogue(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    cancel(client, make, event.id, by=event.organizer)
    assert client.get("/events").json == []
    assert client.get("/my-events", headers=make.headers(event.organizer)).json[0]["status"] == "cancelled"


def test_an_admin_can_cancel_too(client: FlaskClient, make: Maker) -> None:
    event, admin = make.event(), make.admin()
    cancel(client, make, event.id, by=admin)
    seen = client.get(f"/events/{event.id}", headers=make.headers(admin)).json
    assert seen["status"] == "cancelled"


def test_nobody_else_cancels(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    address = f"/events/{event.id}/cancel"
    assert client.post(address).status_code == 401
    assert client.post(address, headers=make.headers(make.attendee())).status_code == 403
    assert client.post(address, headers=make.headers(make.organizer())).status_code == 404
    assert client.get(f"/events/{event.id}").json["status"] == "approved"


@pytest.mark.parametrize("body", [{}, None])
def test_the_body_may_be_empty_or_missing(client: FlaskClient, make: Maker, body: object) -> None:
    event = make.event()
    sent = {} if body is None else {"json": body}
    assert client.post(f"/events/{event.id}/cancel", headers=make.headers(event.organizer), **sent).status_code == 200


def test_open_orders_are_cancelled_and_their_places_given_back(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    regular, vip = make.ticket_type(event), make.ticket_type(event, name="VIP", price=900)
    first, _ = make.order(make.attendee(), regular, quantity=2)
    second, _ = make.order(make.attendee(), vip, quantity=3)
    assert (make.read_ticket_type(regular.id).held, make.read_ticket_type(vip.id).held) == (2, 3)
    cancel(client, make, event.id)
    assert (make.status(first.id), make.status(second.id)) == (OrderStatus.CANCELLED, OrderStatus.CANCELLED)
    assert make.read_order(first.id).cancelled_at is not None
    assert (make.read_ticket_type(regular.id).held, make.read_ticket_type(vip.id).held) == (0, 0)


def test_a_hold_that_ended_unnoticed_is_given_back_as_well(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    make.order(make.attendee(), ticket_type)
    with clock.set_to(clock.ahead(hours=1)):
        cancel(client, make, ticket_type.event_id)
    assert make.read_ticket_type(ticket_type.id).held == 0


def test_paid_orders_are_due_a_refund_that_admins_see(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    buyer = make.attendee()
    paid = make.paid_order(buyer, ticket_type, quantity=2)
    make.order(make.attendee(), ticket_type)
    cancel(client, make, ticket_type.event_id)
    assert refund_all(make) == 1

    [due] = client.get("/admin/orders?status=refund_due", headers=make.headers(make.admin())).json
    assert (due["id"], due["status"], due["total_amount"]) == (paid.id, "refund_due", 1000)
    assert due["refund_reason"] == "event_cancelled"
    assert due["mpesa_receipt"] == paid.receipt
    seen = client.get(f"/orders/{paid.id}", headers=make.headers(buyer)).json
    assert (seen["status"], seen["refund_reason"], len(seen["tickets"])) == ("refund_due", "event_cancelled", 2)
    assert {ticket["status"] for ticket in seen["tickets"]} == {"void"}


def test_only_admins_see_everybodys_orders(client: FlaskClient, make: Maker) -> None:
    make.paid_order()
    assert client.get("/admin/orders").status_code == 401
    for user in (make.attendee(), make.organizer()):
        assert client.get("/admin/orders", headers=make.headers(user)).status_code == 403
    assert client.get("/admin/orders?status=lost", headers=make.headers(make.admin())).status_code == 422


def test_free_orders_stay_as_they_are(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale(price=0)
    order, _ = make.order(make.attendee(), ticket_type)
    cancel(client, make, ticket_type.event_id)
    assert refund_all(make) == 0
    assert make.status(order.id) is OrderStatus.PAID
    assert client.get("/admin/orders?status=refund_due", headers=make.headers(make.admin())).json == []


def test_cancelling_twice_does_it_once(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    paid = make.paid_order(make.attendee(), ticket_type)
    make.order(make.attendee(), ticket_type)
    cancel(client, make, ticket_type.event_id)
    assert refund_all(make) == 1
    cancel(client, make, ticket_type.event_id)
    assert refund_all(make) == 0
    assert make.status(paid.id) is OrderStatus.REFUND_DUE
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (1, 0)


def test_cancelling_from_many_threads_does_it_once(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, _ = make.order(make.attendee(), ticket_type, quantity=3)
    headers = make.headers(make.admin())
    statuses: list[int] = []

    def call() -> None:
        address = f"/events/{ticket_type.event_id}/cancel"
        statuses.append(make.app.test_client().post(address, headers=headers).status_code)

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 6
    assert make.status(order.id) is OrderStatus.CANCELLED
    assert make.read_ticket_type(ticket_type.id).held == 0


def test_money_that_comes_after_the_cancellation_is_due_a_refund(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(make.attendee(), ticket_type)
    cancel(client, make, ticket_type.event_id)
    make.deliver(token, success(order.total_kes, new_receipt()))
    assert make.status(order.id) is OrderStatus.REFUND_DUE
    assert make.tickets() == []
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (0, 0)


def test_nothing_is_sold_for_a_cancelled_event(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    cancel(client, make, ticket_type.event_id)
    answer = client.post("/orders", json=cart((ticket_type, 1)), headers=make.headers(make.attendee()))
    assert (answer.status_code, answer.json["code"]) == (409, "not_on_sale")
    assert answer.json["message"] == "This event has been cancelled."


@pytest.fixture
def cancelled(client: FlaskClient, make: Maker) -> Event:
    event = make.event()
    make.ticket_type(event)
    cancel(client, make, event.id)
    return event


def test_a_cancelled_event_takes_no_ticket_types(client: FlaskClient, make: Maker, cancelled: Event) -> None:
    headers = make.headers(cancelled.organizer)
    address = f"/events/{cancelled.id}/tickets"
    [shown] = client.get(address, headers=headers).json
    new = {"type": "VIP", "price": 100, "quantity": 1}
    for answer in (
        client.post(address, json=new, headers=headers),
        client.patch(f"{address}/{shown['id']}", json={"price": 1}, headers=headers),
        client.delete(f"{address}/{shown['id']}", headers=headers),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "event_cancelled")


def test_ticket_holders_keep_seeing_a_cancelled_event(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    holder = make.attendee()
    make.paid_order(holder, ticket_type)
    cancel(client, make, ticket_type.event_id)
    refund_all(make)
    headers = make.headers(holder)
    assert client.get(f"/events/{ticket_type.event_id}", headers=headers).json["status"] == "cancelled"
    seen = client.get(f"/profile/my-upcoming-events/{ticket_type.event_id}", headers=headers).json
    assert (seen["event"]["status"], len(seen["tickets"])) == ("cancelled", 1)
    assert len(client.get("/my-tickets", headers=headers).json) == 1
