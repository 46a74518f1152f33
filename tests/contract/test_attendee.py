"""Calls of those who buy, as the frontend makes them: checkout, poll, one's orders, one's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models import TicketType, User
from tests.contract.frontend import Browser, assert_reads, one_of, picture, when
from tests.support import Maker, failure, new_receipt, success
from tests.waiting import wait_until
from utils import clock

Browse = Callable[[User], Browser]
#: The simulator's buyer of this number pays; this one presses cancel.
PAYS, CANCELS = "254700000000", "254700000001"


def cart(browser: Browser, ticket_type: TicketType, quantity: int, pays_from: str, **attendee: str) -> dict[str, Any]:
    """What the checkout form posts: the row of the ticket list, one attendee for each place, nothing checked."""
    rows = browser.read(f"/events/{ticket_type.event_id}/tickets")
    row = next(one for one in rows if one["id"] == ticket_type.id)
    empty = {"first_name": "", "last_name": "", "email": "", "phone": ""}
    one = {"ticket_id": row["id"], "ticket_type": row["type"]} | empty | attendee
    return {
        "phone": pays_from,
        "tickets": [{"ticket_id": row["id"], "quantity": quantity, "attendees": [one] * quantity}],
    }


# ── 6: POST /orders ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_organizer", [False, True])
def test_row_6_checkout_with_empty_attendees(browser: Browse, make: Maker, is_organizer: bool) -> None:
    page = browser(make.organizer() if is_organizer else make.attendee())
    answer = page.axios("POST", "/orders", json=cart(page, make.on_sale(), 2, PAYS))
    assert 200 <= answer.status_code < 300
    assert_reads(answer.json, {"checkoutRequestID": str})


def test_row_6_checkout_with_the_attendee_filled_in(browser: Browse, make: Maker) -> None:
    page = browser(make.attendee())
    filled = {"first_name": "Otieno", "last_name": "Ouma", "email": "otieno@my-mail.com", "phone": "+44 20 7946 0000"}
    answer = page.axios("POST", "/orders", json=cart(page, make.on_sale(), 1, PAYS, **filled))
    assert_reads(answer.json, {"checkoutRequestID": str})


def test_row_6_a_refused_order_is_an_error(browser: Browse, make: Maker) -> None:
    page = browser(make.attendee())
    assert page.axios("POST", "/orders", json=cart(page, make.on_sale(quantity=1), 2, PAYS)).status_code == 409


# ── 7: GET /payments/check/… ──────────────────────────────────────────────────────────────────────────────────────


def check_out(page: Browser, ticket_type: TicketType, phone: str) -> tuple[str, int]:
    """The id to poll with, and the order's."""
    answer = page.axios("POST", "/orders", json=cart(page, ticket_type, 1, phone))
    return answer.json["checkoutRequestID"], answer.json["orderId"]


@pytest.mark.parametrize(("phone", "code"), [(PAYS, "0"), (CANCELS, "1032")])
def test_row_7_polling_ends_with_paid_or_over(browser: Browse, make: Maker, phone: str, code: str) -> None:
    page = browser(make.attendee())
    poll_id, _ = check_out(page, make.on_sale(), phone)
    ended = wait_until(lambda: page.fetch(f"/payments/check/{poll_id}").json["data"].get("ResultCode"))
    assert ended == code  # a string: a number would match neither


def test_row_7_while_nobody_knows_there_is_no_result(visitor: Browser, make: Maker) -> None:
    order, _ = make.order()
    answer = visitor.fetch(f"/payments/check/{order.poll_id}")
    assert (answer.status_code, answer.json) == (200, {"data": {}})


def test_row_7_a_free_order_is_paid_at_the_first_poll(browser: Browse, make: Maker) -> None:
    page = browser(make.attendee())
    poll_id, _ = check_out(page, make.on_sale(price=0), PAYS)
    assert page.fetch(f"/payments/check/{poll_id}").json["data"]["ResultCode"] == "0"


@pytest.mark.parametrize("poll_id", ["null", "undefined", "0" * 32])
def test_row_7_an_id_of_nothing_is_answered_in_json(visitor: Browser, poll_id: str) -> None:
    assert visitor.fetch(f"/payments/check/{poll_id}").status_code == 404


# ── 8: GET /orders/… ──────────────────────────────────────────────────────────────────────────────────────────────

ORDER_STATUS = one_of("pending", "paid", "failed", "expired", "cancelled", "refund_due", "refunded", "partly_refunded")


def test_row_8_order(browser: Browse, make: Maker) -> None:
    user = make.attendee()
    paid, (pending, _) = make.paid_order(user), make.order(user, quantity=2)
    page = browser(user)
    shape = {"id": int, "total_amount": int, "status": ORDER_STATUS, "mpesa_receipt": str | None}
    for order, status, total in ((paid, "paid", 500), (pending, "pending", 1000)):
        shown = page.read(f"/orders/{order.id}")
        assert_reads(shown, shape)
        assert (shown["id"], shown["total_amount"], shown["status"]) == (order.id, total, status)
        assert shown["mpesa_receipt"] == order.receipt


def test_row_8_the_confirmation_pages_null_for_a_token_is_401(visitor: Browser, make: Maker) -> None:
    visitor.user = {"access_token": "null"}
    assert visitor.axios("GET", f"/orders/{make.paid_order().id}").status_code == 401


# ── 9 to 12: one's events ─────────────────────────────────────────────────────────────────────────────────────────

MY_EVENT = {"id": int, "title": str, "start_time": when, "end_time": when, "location": str, "image_url": picture}
MY_EVENT_DETAIL = {
    "event": {"title": str, "description": str, "start_time": when, "end_time": when, "location": str},
    "tickets": [{"id": str, "type": str, "price": int, "quantity": int}],
    "total_amount": int,
    "order": {"order_id": str, "created_at": when, "mpesa_receipt": str},
}


@pytest.fixture
def guest(make: Maker) -> User:
    return make.attendee()


def buy(make: Maker, guest: User, *, is_past: bool) -> tuple[int, list[str]]:
    """The event's id, and the codes of two tickets for it."""
    with clock.set_to(clock.ago(days=30) if is_past else clock.now()):
        order = make.paid_order(guest, make.on_sale(name="VIP", price=1500), quantity=2)
    return order.event_id, [ticket.code for ticket in order.tickets]


@pytest.mark.parametrize(("row", "is_past"), [("9: my-upcoming-events", False), ("11: my-past-events", True)])
def test_rows_9_and_11_my_events(browser: Browse, make: Maker, guest: User, row: str, is_past: bool) -> None:
    bought = {when_past: buy(make, guest, is_past=when_past) for when_past in (True, False)}
    listed = browser(guest).read(f"/profile/{row.split()[1]}")
    assert_reads(listed, [MY_EVENT])
    assert [one["id"] for one in listed] == [bought[is_past][0]]


@pytest.mark.parametrize(("row", "is_past"), [("10: my-upcoming-events", False), ("12: my-past-events", True)])
def test_rows_10_and_12_my_event(browser: Browse, make: Maker, guest: User, row: str, is_past: bool) -> None:
    event_id, codes = buy(make, guest, is_past=is_past)
    shown = browser(guest).read(f"/profile/{row.split()[1]}/{event_id}")
    assert_reads(shown, MY_EVENT_DETAIL)
    # The page prints "#CODE • VIP", one line for each.
    assert [(one["id"], one["type"], one["quantity"]) for one in shown["tickets"]] == [
        (code, "VIP", 1) for code in codes
    ]
    assert shown["total_amount"] == sum(one["price"] * one["quantity"] for one in shown["tickets"]) == 3000


@pytest.mark.parametrize("when_", ["upcoming", "past"])
def test_rows_10_and_12_without_a_ticket_there_is_a_sentence(
    browser: Browse, make: Maker, guest: User, when_: str
) -> None:
    assert browser(guest).axios("GET", f"/profile/my-{when_}-events/{make.event().id}").status_code == 404


# ── Addresses that the pages do not call, but know ────────────────────────────────────────────────────────────────


def test_orders_have_what_the_history_names(browser: Browse, make: Maker, guest: User) -> None:
    paid, (failed, token) = make.paid_order(guest), make.order(guest, quantity=2)
    make.deliver(token, failure())
    listed = browser(guest).read("/orders")
    shape = {
        "id": int,
        "order_id": str,
        "status": ORDER_STATUS,
        "total_amount": int,
        "mpesa_receipt": str | None,
        "created_at": when,
    }
    assert_reads(listed, [shape])
    assert [(one["id"], one["mpesa_receipt"]) for one in listed] == [(failed.id, None), (paid.id, paid.receipt)]


def test_saved_events_and_reviews_as_the_old_addresses_named_them(browser: Browse, make: Maker, guest: User) -> None:
    page = browser(guest)
    event = make.event(starts_at=clock.ahead(hours=1))
    order, token = make.order(guest, make.ticket_type(event))
    make.deliver(token, success(order.total_kes, new_receipt()))
    assert_reads(page.axios("POST", f"/events/{event.id}/save").json, {"message": str})
    saved = {"id": int, "title": str, "location": str, "start_time": when, "status": str, "image_url": picture}
    assert_reads(page.read("/my-saved-events"), [{"event": saved}])
    with clock.set_to(clock.ahead(hours=2)):
        assert page.axios("POST", f"/events/{event.id}/review", json={"rating": 5}).status_code == 201
    assert [one["rating"] for one in page.read(f"/events/{event.id}/reviews")] == [5]
