"""Orders over HTTP: what they hold, what they refuse, how they end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from models import EventStatus, OrderStatus, PaymentStatus, TicketType, User
from services import booking, events
from tests.daraja.process import Simulator
from tests.scripted_daraja import PUSH, Reply, ScriptedDaraja, scripted_daraja
from tests.support import (
    Maker,
    bearer,
    cart,
    failure,
    failure_answer,
    new_receipt,
    success,
    together,
)
from tests.waiting import wait_until
from utils import clock

#: Its owner pays after a quarter of an hour only: within a test the prompt stays unanswered.
SLOW = "254700000020"


@pytest.fixture
def daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    """Accepts every push, and nobody ever answers a prompt."""
    with scripted_daraja(app) as daraja:
        yield daraja


class Buyer:
    """Somebody with a browser."""

    def __init__(self, client: FlaskClient, user: User) -> None:
        self.client, self.user = client, user
        self.headers = bearer(client.application, user)

    def order(self, *lines: tuple[TicketType, int], phone: str | None = None) -> TestResponse:
        return self.client.post("/orders", json=cart(*lines, phone=phone or self.user.phone), headers=self.headers)

    def pay(self, order_id: int) -> TestResponse:
        return self.client.post(f"/orders/{order_id}/pay", headers=self.headers)

    def cancel(self, order_id: int) -> TestResponse:
        return self.client.delete(f"/orders/{order_id}", headers=self.headers)

    def read(self, order_id: int) -> TestResponse:
        return self.client.get(f"/orders/{order_id}", headers=self.headers)

    def poll(self, answer: TestResponse) -> dict[str, str]:
        return self.client.get(f"/payments/check/{answer.json['checkoutRequestID']}").json["data"]

    def available(self, ticket_type: TicketType) -> int:
        listed = self.client.get(f"/events/{ticket_type.event_id}/tickets").json
        return next(one["available"] for one in listed if one["id"] == ticket_type.id)


@pytest.fixture
def new_buyer(client: FlaskClient, make: Maker) -> Callable[..., Buyer]:
    return lambda **facts: Buyer(client, make.attendee(**facts))


@pytest.fixture
def buyer(new_buyer: Callable[..., Buyer]) -> Buyer:
    return new_buyer()


def places(make: Maker, ticket_type: TicketType) -> tuple[int, int]:
    """Sold and held."""
    row = make.read_ticket_type(ticket_type.id)
    return row.sold, row.held


def assert_nothing_happened(make: Maker, client: FlaskClient, *ticket_types: TicketType) -> None:
    admin = make.headers(make.admin())
    assert client.get("/admin/orders", headers=admin).json == []
    for one in ticket_types:
        assert places(make, one) == (0, 0)


# ── What goes in and what comes out ───────────────────────────────────────────────────────────────────────────────


def test_an_order_in_the_frontends_format_holds_its_places(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    regular = make.on_sale(price=500)
    vip = make.ticket_type(regular.event, name="VIP", price=1500)
    attendee = {"ticket_id": regular.id, "ticket_type": "Regular"} | {
        "first_name": "Achieng",
        "last_name": "",
        "email": "",
        "phone": "",
    }
    answer = client.post(
        "/orders",
        json={
            "phone": SLOW,
            "tickets": [
                {"ticket_id": regular.id, "quantity": 1, "attendees": [attendee]},
                {"ticket_id": vip.id, "quantity": 2, "attendees": [attendee | {"ticket_type": "VIP"}] * 2},
            ],
        },
        headers=buyer.headers,
    )
    assert answer.status_code == 201
    assert answer.json.keys() == {"orderId", "checkoutRequestID", "customerMessage", "message", "order"}
    order = answer.json["order"]
    assert type(answer.json["orderId"]) is int
    assert answer.json["orderId"] == order["id"]
    assert re.fullmatch(r"[A-Z0-9]{1,12}", order["order_id"])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.json["checkoutRequestID"])
    assert answer.json["customerMessage"] == answer.json["message"]
    assert "PIN" in answer.json["message"]
    assert (order["status"], order["total_amount"], order["mpesa_receipt"]) == ("pending", 3500, None)
    assert order["event"]["id"] == regular.event_id
    assert order["tickets"] == []
    assert order["items"] == [
        {"ticket_id": regular.id, "type": "Regular", "price": 500, "quantity": 1},
        {"ticket_id": vip.id, "type": "VIP", "price": 1500, "quantity": 2},
    ]
    [payment] = order["payments"]
    assert (payment["status"], payment["amount"], payment["phone"]) == ("prompted", 3500, "254700***020")
    assert (places(make, regular), places(make, vip)) == ((0, 1), (0, 2))


def test_the_prompt_shows_amount_and_reference(make: Maker, buyer: Buyer, simulator: Simulator) -> None:
    order = buyer.order((make.on_sale(price=700), 2), phone=SLOW).json["order"]
    [prompt] = simulator.prompts()
    assert (prompt["phone"], prompt["amount"], prompt["reference"]) == (SLOW, 1400, order["order_id"])


def test_without_a_phone_the_prompt_goes_to_the_buyers(client: FlaskClient, make: Maker, simulator: Simulator) -> None:
    user = make.attendee(phone=SLOW)
    assert client.post("/orders", json=cart((make.on_sale(), 1)), headers=make.headers(user)).status_code == 201
    assert simulator.prompts()[0]["phone"] == SLOW


def test_darajas_ids_are_in_no_answer(client: FlaskClient, make: Maker, buyer: Buyer, simulator: Simulator) -> None:
    first = buyer.order((make.on_sale(), 1), phone=SLOW)
    order_id, poll_id = first.json["orderId"], first.json["checkoutRequestID"]
    [prompt] = simulator.prompts()
    admin = make.headers(make.admin())
    answers = [
        first,
        buyer.order((make.read_ticket_type(first.json["order"]["items"][0]["ticket_id"]), 1), phone=SLOW),
        buyer.pay(order_id),
        buyer.read(order_id),
        client.get("/orders", headers=buyer.headers),
        client.get("/admin/orders", headers=admin),
        client.get(f"/payments/check/{poll_id}"),
        buyer.cancel(order_id),
    ]
    for answer in answers:
        assert prompt["checkout_request_id"] not in answer.text
        assert prompt["merchant_request_id"] not in answer.text


NJERI = {"first_name": "Njeri", "last_name": "Maina", "email": "njeri@example.co.ke", "phone": "254711000111"}
OTHER = {"first_name": "Ali", "last_name": "Hassan", "email": "ali@example.co.ke", "phone": "254722333444"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{"first_name": "", "last_name": "", "email": "", "phone": ""}], [NJERI]),
        ([{"first_name": "  ", "last_name": None}], [NJERI]),
        ([{"first_name": "Ali"}], [NJERI | {"first_name": "Ali"}]),
        ([OTHER | {"phone": "0722 333 444"}], [OTHER]),
        ([{"phone": "+44 20 7946 0000"}], [NJERI | {"phone": "+44 20 7946 0000"}]),
        ([OTHER, {}], [OTHER, NJERI]),
        ([OTHER], [OTHER, NJERI, NJERI]),
        ([], [NJERI, NJERI]),
    ],
)
def test_what_is_left_empty_about_attendees_is_the_buyers_own(
    client: FlaskClient,
    make: Maker,
    new_buyer: Callable[..., Buyer],
    given: list[dict[str, Any]],
    expected: list[dict[str, str]],
) -> None:
    ticket_type = make.on_sale(price=0)
    line = {"ticket_id": ticket_type.id, "quantity": len(expected), "attendees": given}
    answer = client.post("/orders", json={"phone": "", "tickets": [line]}, headers=new_buyer(**NJERI).headers)
    assert answer.status_code == 201
    held = [{name: ticket[f"attendee_{name}"] for name in NJERI} for ticket in answer.json["order"]["tickets"]]
    assert held == expected


def test_lines_of_one_type_are_one_item(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale(price=0)
    lines = [
        {"ticket_id": ticket_type.id, "quantity": 1, "attendees": [{"first_name": "Ali"}]},
        {"ticket_id": str(ticket_type.id), "quantity": "2", "attendees": [{"first_name": "Zawadi"}]},
    ]
    order = client.post("/orders", json={"tickets": lines}, headers=buyer.headers).json["order"]
    assert [item["quantity"] for item in order["items"]] == [3]
    names = [ticket["attendee_first_name"] for ticket in order["tickets"]]
    assert names == ["Ali", "Zawadi", buyer.user.first_name]
    assert places(make, ticket_type) == (3, 0)


ONE = {"ticket_id": 1, "quantity": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"tickets": [ONE | {"attendees": [{}, {}]}]},
        {"tickets": []},
        {},
        {"tickets": [ONE | {"quantity": 0}]},
        {"tickets": [ONE | {"quantity": -1}]},
        {"tickets": [ONE | {"quantity": 1.5}]},
        {"tickets": [ONE | {"quantity": True}]},
        {"tickets": [ONE | {"quantity": 10**30}]},
        {"tickets": [ONE | {"ticket_id": "VIP"}]},
        {"tickets": [ONE] * 51},
        {"tickets": [ONE], "phone": "+44 20 7946 0000"},
        {"tickets": [ONE], "price": 1},
        {"tickets": [ONE | {"attendees": [{"email": "nobody"}]}]},
        {"tickets": [ONE | {"attendees": [{"first_name": "A\0"}]}]},
    ],
)
def test_an_order_that_makes_no_sense_is_422(client: FlaskClient, make: Maker, buyer: Buyer, body: Any) -> None:
    answer = client.post("/orders", json=body, headers=buyer.headers)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert_nothing_happened(make, client)


def test_nobody_orders_without_logging_in(client: FlaskClient, make: Maker) -> None:
    ticket_type = make.on_sale()
    assert client.post("/orders", json=cart((ticket_type, 1))).status_code == 401
    assert_nothing_happened(make, client, ticket_type)


# ── Refusals ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("taken", "wanted", "sentence"),
    [
        (10, 1, "Regular is sold out."),
        (8, 3, "Only 2 Regular tickets are left."),
        (9, 2, "Only 1 Regular ticket is left."),
    ],
)
def test_sold_out_says_what_is_left(make: Maker, buyer: Buyer, taken: int, wanted: int, sentence: str) -> None:
    ticket_type = make.on_sale(quantity=10)
    make.order(ticket_type=ticket_type, quantity=taken)
    answer = buyer.order((ticket_type, wanted))
    assert (answer.status_code, answer.json) == (409, {"message": sentence, "code": "sold_out"})
    assert places(make, ticket_type) == (0, taken)


def test_what_is_plainly_gone_takes_no_lock_the_second_time_and_is_sold_as_soon_as_it_is_back(
    make: Maker, new_buyer: Callable[..., Buyer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket_type = make.on_sale(price=500, quantity=1)
    holder, late = new_buyer(), new_buyer()
    first = holder.order((ticket_type, 1))
    assert first.status_code == 201
    assert late.order((ticket_type, 1)).json["code"] == "sold_out"
    with monkeypatch.context() as patched:
        patched.setattr(booking, "_place", None)
        assert late.order((ticket_type, 1)).json == {"message": "Regular is sold out.", "code": "sold_out"}
    again = holder.order((ticket_type, 1))
    assert (again.status_code, again.json["order"]["id"]) == (200, first.json["order"]["id"])
    assert holder.cancel(first.json["order"]["id"]).status_code == 200
    assert late.order((ticket_type, 1)).status_code == 201
    assert places(make, ticket_type) == (0, 1)


def test_when_one_type_is_sold_out_nothing_of_the_other_is_held(
    client: FlaskClient, make: Maker, buyer: Buyer, simulator: Simulator
) -> None:
    many = make.on_sale(quantity=10)
    few = make.ticket_type(many.event, name="VIP", quantity=1)
    assert buyer.order((many, 2), (few, 2)).json["code"] == "sold_out"
    assert_nothing_happened(make, client, many, few)
    assert simulator.prompts() == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (EventStatus.PENDING, "not on sale"),
        (EventStatus.REJECTED, "not on sale"),
        (EventStatus.CANCELLED, "has been cancelled"),
    ],
)
def test_only_an_approved_events_tickets_are_on_sale(
    client: FlaskClient, make: Maker, buyer: Buyer, status: EventStatus, sentence: str
) -> None:
    event = make.event(status=EventStatus.PENDING if status is EventStatus.CANCELLED else status)
    ticket_type = make.ticket_type(event)
    if status is EventStatus.CANCELLED:
        with client.application.app_context():
            events.cancel_event(actor=event.organizer, event_id=event.id)
    answer = buyer.order((ticket_type, 1))
    assert (answer.status_code, answer.json["code"]) == (409, "not_on_sale")
    assert sentence in answer.json["message"]
    assert_nothing_happened(make, client, ticket_type)


SALES_WINDOW = {
    "sales_start_at": clock.ahead(days=1),
    "sales_end_at": clock.ahead(days=2),
}


@pytest.mark.parametrize(
    ("days", "window", "is_sold"),
    [
        (0, {}, True),
        (0.5, SALES_WINDOW, False),
        (1.5, SALES_WINDOW, True),
        (2.5, SALES_WINDOW, False),
        (7.01, {}, False),
        (30, {}, False),
    ],
)
def test_tickets_are_sold_within_their_sales_window_and_before_the_event_starts(
    app: Flask, make: Maker, days: float, window: dict[str, Any], is_sold: bool
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale(**window)
    with app.app_context(), clock.set_to(clock.ahead(days=days)):
        lines = [booking.Line(ticket_type.id, 1)]
        if is_sold:
            booking.place_order(actor=buyer, phone=buyer.phone, lines=lines)
        else:
            with pytest.raises(booking.NotOnSale):
                booking.place_order(actor=buyer, phone=buyer.phone, lines=lines)
    assert places(make, ticket_type) == (0, 1 if is_sold else 0)


@pytest.mark.parametrize(
    ("facts", "wanted", "code"),
    [
        ({"max_per_order": 4}, 5, "over_limit"),
        ({"min_per_order": 2}, 1, "under_minimum"),
        ({"price": 125_001}, 2, "amount_over_limit"),
    ],
)
def test_an_order_outside_its_limits_is_refused(
    client: FlaskClient, make: Maker, buyer: Buyer, facts: dict[str, Any], wanted: int, code: str
) -> None:
    ticket_type = make.on_sale(**facts)
    answer = buyer.order((ticket_type, wanted))
    assert (answer.status_code, answer.json["code"]) == (409, code)
    assert_nothing_happened(make, client, ticket_type)


def test_an_order_of_exactly_what_mpesa_carries_is_taken(make: Maker, buyer: Buyer) -> None:
    assert buyer.order((make.on_sale(price=125_000), 2), phone=SLOW).status_code == 201


def test_limits_count_all_lines_of_a_type_together(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale(max_per_order=4)
    assert buyer.order((ticket_type, 3), (ticket_type, 2)).json["code"] == "over_limit"
    assert_nothing_happened(make, client, ticket_type)


def test_one_order_is_for_one_event(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    one, other = make.on_sale(), make.on_sale()
    answer = buyer.order((one, 1), (other, 1))
    assert (answer.status_code, answer.json["code"]) == (422, "several_events")
    assert_nothing_happened(make, client, one, other)


def test_a_ticket_type_that_does_not_exist_is_404(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale()
    line = {"ticket_id": ticket_type.id + 1, "quantity": 1}
    answer = client.post("/orders", json={"tickets": [line]}, headers=buyer.headers)
    assert (answer.status_code, answer.json["code"]) == (404, "ticket_type_not_found")


def test_a_buyer_has_at_most_two_open_orders_for_an_event(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale()
    assert [buyer.order((ticket_type, count)).status_code for count in (1, 2)] == [201, 201]
    third = buyer.order((ticket_type, 3))
    assert (third.status_code, third.json["code"]) == (409, "too_many_open_orders")
    assert places(make, ticket_type) == (0, 3)
    assert buyer.order((make.on_sale(price=700), 1)).status_code == 201
    assert buyer.cancel(make.read_order(1).id).status_code == 200
    assert buyer.order((ticket_type, 3)).status_code == 201


def test_a_phone_is_sent_five_prompts_an_hour_whoever_asks(
    daraja: ScriptedDaraja, make: Maker, new_buyer: Callable[..., Buyer]
) -> None:
    ticket_type = make.on_sale(quantity=30)
    for count in range(1, 6):
        assert new_buyer().order((ticket_type, count), phone=SLOW).status_code == 201
    sixth = new_buyer()
    refused = sixth.order((ticket_type, 6), phone=SLOW)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_prompts")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert (daraja.count(PUSH), places(make, ticket_type)) == (5, (0, 15))
    assert sixth.order((ticket_type, 1), phone="254700000099").status_code == 201
    with clock.set_to(clock.ahead(minutes=61)):
        assert new_buyer().order((ticket_type, 1), phone=SLOW).status_code == 201


def test_five_prompts_an_hour_hold_when_ten_ask_at_once(daraja: ScriptedDaraja, make: Maker, app: Flask) -> None:
    ticket_type = make.on_sale(quantity=100)
    requests = [(make.headers(make.attendee()), cart((ticket_type, count), phone=SLOW)) for count in range(1, 11)]
    answers = together(
        *(
            lambda headers=headers, body=body: app.test_client().post("/orders", json=body, headers=headers)
            for headers, body in requests
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 5
    taken = sum(count for count, answer in enumerate(answers, 1) if answer.status_code == 201)
    assert places(make, ticket_type) == (0, taken)


# ── A push that Daraja refuses ────────────────────────────────────────────────────────────────────────────────────


def test_daraja_is_not_asked_for_ever_for_one_order(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    daraja.pushes = [Reply.error("500.001.1001")]
    ticket_type = make.on_sale()
    for _ in range(10):
        assert buyer.order((ticket_type, 1)).status_code == 503
    given_up = buyer.order((ticket_type, 1))
    assert (given_up.status_code, given_up.json["order"]["status"]) == (200, "pending")
    assert "failed" in given_up.json["message"]
    assert buyer.poll(given_up)["ResultCode"] == "1032"
    assert buyer.pay(given_up.json["orderId"]).json["code"] == "no_prompts_left"
    assert daraja.count(PUSH) == 10


def test_a_refused_push_is_503_and_the_order_keeps_its_hold(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale()
    daraja.pushes = [Reply.error("400.002.02", 400)]
    refused = buyer.order((ticket_type, 2))
    assert (refused.status_code, refused.json["code"]) == (503, "mpesa_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    [order] = buyer.client.get("/orders", headers=buyer.headers).json
    assert (order["status"], order["payments"][0]["status"]) == ("pending", "refused")
    assert places(make, ticket_type) == (0, 2)

    daraja.pushes = []
    again = buyer.order((ticket_type, 2))
    assert (again.status_code, again.json["orderId"]) == (200, order["id"])
    assert [one["status"] for one in again.json["order"]["payments"]] == ["refused", "prompted"]
    assert (daraja.count(PUSH), places(make, ticket_type)) == (2, (0, 2))


def test_after_a_refused_push_paying_tries_again(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    daraja.pushes = [Reply.error("500.001.1001"), Reply.error("500.001.1001")]
    buyer.order((make.on_sale(), 1))
    order = make.read_order(1)
    assert buyer.pay(order.id).status_code == 503
    daraja.pushes = []
    answer = buyer.pay(order.id)
    assert (answer.status_code, answer.json["checkoutRequestID"]) == (200, order.poll_id)


def test_a_phone_with_another_prompt_on_it_is_refused_by_daraja(
    make: Maker, new_buyer: Callable[..., Buyer], simulator: Simulator
) -> None:
    ticket_type = make.on_sale()
    assert new_buyer().order((ticket_type, 1), phone=SLOW).status_code == 201
    second = new_buyer()
    assert second.order((ticket_type, 2), phone=SLOW).json["code"] == "mpesa_unavailable"
    simulator.answer(simulator.prompts()[0]["checkout_request_id"], "cancel")
    assert second.order((ticket_type, 2), phone=SLOW).status_code == 200
    assert places(make, ticket_type) == (0, 3)


def test_refused_pushes_count_neither_for_the_order_nor_for_the_phone(
    daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    daraja.pushes = [Reply.error("500.001.1001")]
    ticket_type = make.on_sale()
    for _ in range(7):
        assert buyer.order((ticket_type, 1)).status_code == 503
    daraja.pushes = []
    assert buyer.order((ticket_type, 1)).status_code == 200
    assert len(make.read_order(1).payments) == 8


# ── Free orders ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_free_order_is_paid_at_once_without_mpesa(make: Maker, buyer: Buyer, simulator: Simulator) -> None:
    ticket_type = make.on_sale(price=0, quantity=3)
    answer = buyer.order((ticket_type, 2))
    assert (answer.status_code, answer.json["message"]) == (201, "Your tickets are ready.")
    order = answer.json["order"]
    assert (order["status"], order["total_amount"], order["payments"]) == ("paid", 0, [])
    assert len(order["tickets"]) == 2
    assert buyer.poll(answer)["ResultCode"] == "0"
    assert (places(make, ticket_type), simulator.prompts()) == ((2, 0), [])
    assert buyer.order((ticket_type, 3)).json["code"] == "sold_out"
    assert buyer.pay(order["id"]).json["code"] == "already_paid"


def test_a_second_tap_on_a_free_order_is_the_same_order(make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale(price=0)
    first, second = buyer.order((ticket_type, 2)), buyer.order((ticket_type, 2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json["orderId"] == second.json["orderId"]
    assert places(make, ticket_type) == (2, 0)
    with clock.set_to(clock.ahead(minutes=2)):
        assert buyer.order((ticket_type, 2)).json["orderId"] != first.json["orderId"]


def test_free_and_paid_tickets_in_one_order_are_one_payment(make: Maker, buyer: Buyer) -> None:
    free = make.on_sale(price=0)
    vip = make.ticket_type(free.event, name="VIP", price=900)
    order = buyer.order((free, 1), (vip, 1), phone=SLOW).json["order"]
    assert (order["status"], order["total_amount"]) == ("pending", 900)
    assert (places(make, free), places(make, vip)) == ((0, 1), (0, 1))


# ── The same cart again ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_cart_again_is_the_same_order_without_another_prompt(
    client: FlaskClient, daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    regular = make.on_sale()
    vip = make.ticket_type(regular.event, name="VIP")
    first = buyer.order((regular, 2), (vip, 1))
    again = buyer.order((vip, 1), (regular, 1), (regular, 1))
    assert (first.status_code, again.status_code) == (201, 200)
    for name in ("orderId", "checkoutRequestID"):
        assert again.json[name] == first.json[name]
    assert (daraja.count(PUSH), places(make, regular), places(make, vip)) == (1, (0, 2), (0, 1))
    assert len(client.get("/orders", headers=buyer.headers).json) == 1


def test_the_same_cart_after_a_failed_prompt_brings_a_new_one_and_takes_the_new_names(
    client: FlaskClient, daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(buyer.user, ticket_type)
    make.deliver(token, failure(1032))
    line = {"ticket_id": ticket_type.id, "quantity": 1, "attendees": [{"first_name": "Zawadi"}]}
    body = {"phone": buyer.user.phone, "tickets": [line]}
    with clock.set_to(clock.ahead(seconds=121)):
        again = client.post("/orders", json=body, headers=buyer.headers)
    assert (again.status_code, again.json["orderId"]) == (200, order.id)
    assert [one["status"] for one in again.json["order"]["payments"]] == ["failed", "prompted"]
    assert make.read_order(order.id).items[0].attendees[0]["first_name"] == "Zawadi"
    assert (daraja.count(PUSH), places(make, ticket_type)) == (1, (0, 1))


@pytest.mark.parametrize(("quantity", "phone"), [(2, None), (1, "254700000099")])
def test_another_cart_or_another_phone_is_another_order(
    daraja: ScriptedDaraja, make: Maker, buyer: Buyer, quantity: int, phone: str | None
) -> None:
    ticket_type = make.on_sale()
    first = buyer.order((ticket_type, 1))
    other = buyer.order((ticket_type, quantity), phone=phone)
    assert other.status_code == 201
    assert other.json["orderId"] != first.json["orderId"]


@pytest.mark.parametrize("how", ["cancelled", "paid", "ended"])
def test_the_same_cart_after_its_order_is_over_is_a_new_order(
    daraja: ScriptedDaraja, make: Maker, buyer: Buyer, how: str
) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(buyer.user, ticket_type)
    if how == "cancelled":
        buyer.cancel(order.id)
    elif how == "paid":
        make.deliver(token, success(order.total_kes))
    with clock.set_to(clock.ahead(minutes=11 if how == "ended" else 2.1)):
        again = buyer.order((ticket_type, 1))
    assert again.status_code == 201
    assert again.json["orderId"] != order.id


def test_somebody_elses_equal_cart_is_another_order(
    daraja: ScriptedDaraja, make: Maker, new_buyer: Callable[..., Buyer]
) -> None:
    ticket_type = make.on_sale()
    assert new_buyer().order((ticket_type, 1), phone=SLOW).status_code == 201
    with clock.set_to(clock.ahead(seconds=121)):
        assert new_buyer().order((ticket_type, 1), phone=SLOW).status_code == 201


def test_a_double_tap_makes_one_order_and_one_prompt(
    app: Flask, daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    ticket_type = make.on_sale()
    body = cart((ticket_type, 1), phone=buyer.user.phone)
    tap = lambda: app.test_client().post("/orders", json=body, headers=buyer.headers)  # noqa: E731
    answers = together(*[tap] * 6)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json["checkoutRequestID"] for answer in answers}) == 1
    assert (daraja.count(PUSH), places(make, ticket_type)) == (1, (0, 1))


# ── Paying again ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_paying_while_a_prompt_is_on_the_phone_is_refused(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    order_id = buyer.order((make.on_sale(), 1)).json["orderId"]
    answer = buyer.pay(order_id)
    assert (answer.status_code, answer.json["code"]) == (409, "prompt_pending")
    assert daraja.count(PUSH) == 1


def test_an_unanswered_prompt_gives_way_after_its_time_and_its_money_still_counts(
    daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(buyer.user, ticket_type)
    with clock.set_to(clock.ahead(seconds=119)):
        assert buyer.pay(order.id).json["code"] == "prompt_pending"
    with clock.set_to(clock.ahead(seconds=121)):
        answer = buyer.pay(order.id)
    assert (answer.status_code, answer.json["checkoutRequestID"]) == (200, order.poll_id)
    old, new = make.payments(order.id)
    assert old.superseded_at is not None
    assert (old.status, new.status) == (PaymentStatus.SUBMITTING, PaymentStatus.PROMPTED)

    make.deliver(token, success(order.total_kes))
    assert make.status(order.id) is OrderStatus.PAID
    assert (buyer.poll(answer)["ResultCode"], places(make, ticket_type)) == ("0", (1, 0))


def test_an_order_gets_three_prompts(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    order_id = buyer.order((make.on_sale(), 1)).json["orderId"]
    for minutes, status in ((2.1, 200), (4.2, 200), (6.3, 409)):
        with clock.set_to(clock.ahead(minutes=minutes)):
            answer = buyer.pay(order_id)
        assert answer.status_code == status
    assert answer.json["code"] == "no_prompts_left"
    assert daraja.count(PUSH) == 3


def test_the_same_cart_without_prompts_left_is_the_same_order_without_a_prompt(
    daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    """An unanswered prompt still keeps the order open after the last one failed."""
    ticket_type = make.on_sale()
    first = buyer.order((ticket_type, 1))
    for minutes in (3, 6):
        with clock.set_to(clock.ahead(minutes=minutes)):
            assert buyer.pay(first.json["orderId"]).status_code == 200
    last = make.payments(first.json["orderId"])[-1]
    make.settle_query(last.id, failure_answer(1032))
    again = buyer.order((ticket_type, 1))
    assert (again.status_code, again.json["orderId"]) == (200, first.json["orderId"])
    assert daraja.count(PUSH) == 3
    assert buyer.poll(again)["ResultCode"] == "1032"


def test_the_name_of_what_is_not_published_is_told_nobody(make: Maker, buyer: Buyer) -> None:
    secret = make.ticket_type(make.event(status=EventStatus.PENDING), name="Secret Headliner")
    answer = buyer.order((secret, 1))
    assert (answer.status_code, answer.json["code"]) == (409, "not_on_sale")
    assert "Secret" not in answer.get_data(as_text=True)


def test_the_third_failed_prompt_ends_the_order_and_frees_its_places(app: Flask, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale(quantity=1)
    order, token = make.order(buyer.user, ticket_type)
    for seconds, held in ((121, 1), (242, 1), (363, 0)):
        make.deliver(token, failure(2001))
        assert places(make, ticket_type) == (0, held)
        if held:
            with clock.set_to(clock.ahead(seconds=seconds)):
                token = make.order(buyer.user, ticket_type)[1]
    assert make.status(order.id) is OrderStatus.FAILED
    assert buyer.pay(order.id).json["code"] == "order_not_open"
    assert make.order(ticket_type=ticket_type)[0].status is OrderStatus.PENDING


def test_nothing_is_paid_after_the_hold(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    order_id = buyer.order((make.on_sale(), 1)).json["orderId"]
    with clock.set_to(clock.ahead(minutes=10, seconds=1)):
        answer = buyer.pay(order_id)
    assert (answer.status_code, answer.json["code"]) == (409, "order_not_open")
    assert daraja.count(PUSH) == 1


def test_an_order_with_money_under_review_gets_no_new_prompt(make: Maker, buyer: Buyer) -> None:
    order, token = make.order(buyer.user)
    make.deliver(token, success(order.total_kes - 1))
    assert buyer.pay(order.id).json["code"] == "payment_under_review"


# ── Letting go ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cancelling_frees_the_places_at_once_and_twice_is_fine(make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale(quantity=2)
    order, _ = make.order(buyer.user, ticket_type, quantity=2)
    for _ in range(2):
        answer = buyer.cancel(order.id)
        assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
        assert places(make, ticket_type) == (0, 0)
    assert buyer.available(ticket_type) == 2
    assert buyer.pay(order.id).json["code"] == "order_not_open"
    assert make.order(ticket_type=ticket_type, quantity=2)[0].status is OrderStatus.PENDING


def test_a_paid_order_cannot_be_cancelled(make: Maker, buyer: Buyer) -> None:
    order = make.paid_order(buyer.user)
    answer = buyer.cancel(order.id)
    assert (answer.status_code, answer.json["code"]) == (409, "order_not_open")
    assert make.status(order.id) is OrderStatus.PAID


def test_cancelling_and_paying_at_once_ends_in_one_of_both(app: Flask, make: Maker, buyer: Buyer) -> None:
    for number in range(5):
        ticket_type = make.on_sale(price=500 + number, quantity=1)
        order, token = make.order(buyer.user, ticket_type)
        together(
            lambda order=order: app.test_client().delete(f"/orders/{order.id}", headers=buyer.headers),
            lambda order=order, token=token: make.deliver(token, success(order.total_kes, new_receipt())),
        )
        read = make.read_order(order.id)
        sold = {OrderStatus.PAID: 1, OrderStatus.REFUND_DUE: 0}[read.status]
        assert (places(make, ticket_type), len(read.tickets)) == ((sold, 0), sold)


# ── When the hold ends ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ended_hold_reads_as_expired_and_its_places_as_free_without_a_write(
    client: FlaskClient, make: Maker, buyer: Buyer
) -> None:
    ticket_type = make.on_sale(quantity=3)
    order, _ = make.order(buyer.user, ticket_type, quantity=2)
    assert (buyer.read(order.id).json["status"], buyer.available(ticket_type)) == ("pending", 1)
    with clock.set_to(clock.ahead(minutes=10, seconds=1)):
        assert (buyer.read(order.id).json["status"], buyer.available(ticket_type)) == ("expired", 3)
        assert client.get("/orders", headers=buyer.headers).json[0]["status"] == "expired"
        assert client.get(f"/payments/check/{order.poll_id}").json["data"]["ResultCode"] == "1032"
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.PENDING, (0, 2))


def test_a_new_buyer_gets_the_places_of_ended_holds_in_the_same_request(
    daraja: ScriptedDaraja, make: Maker, new_buyer: Callable[..., Buyer]
) -> None:
    ticket_type = make.on_sale(quantity=4)
    ended = [make.order(ticket_type=ticket_type, quantity=2)[0] for _ in range(2)]
    with clock.set_to(clock.ahead(minutes=11)):
        assert new_buyer().order((ticket_type, 3)).status_code == 201
        assert new_buyer().order((ticket_type, 2)).json["code"] == "sold_out"
        assert new_buyer().order((ticket_type, 1)).status_code == 201
    assert [make.status(order.id) for order in ended] == [OrderStatus.EXPIRED] * 2
    assert places(make, ticket_type) == (0, 4)


def test_ended_holds_of_several_types_are_given_back_whole(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    one = make.on_sale(name="One", quantity=2)
    two = make.ticket_type(one.event, name="Two", quantity=2)
    three = make.ticket_type(one.event, name="Three", quantity=2)
    across, _ = make.place(make.attendee(), (one, 2), (three, 2))
    within, _ = make.place(make.attendee(), (two, 2))
    paid = make.paid_order(ticket_type=make.ticket_type(one.event, name="Four", quantity=1))
    with clock.set_to(clock.ahead(minutes=11)):
        assert buyer.order((one, 1), (two, 2)).status_code == 201
    assert [make.status(order.id) for order in (across, within)] == [OrderStatus.EXPIRED] * 2
    assert [places(make, one) for one in (one, two, three)] == [(0, 1), (0, 2), (0, 0)]
    assert make.status(paid.id) is OrderStatus.PAID


def test_free_tickets_too_take_the_places_of_ended_holds(make: Maker, buyer: Buyer) -> None:
    free = make.on_sale(price=0, quantity=1)
    vip = make.ticket_type(free.event, name="VIP", price=10)
    make.place(make.attendee(), (free, 1), (vip, 1))
    assert buyer.order((free, 1)).json["code"] == "sold_out"
    with clock.set_to(clock.ahead(minutes=11)):
        assert buyer.order((free, 1)).status_code == 201
    assert (places(make, free), places(make, vip)) == ((1, 0), (0, 0))


def test_ended_orders_do_not_count_as_open(daraja: ScriptedDaraja, make: Maker, buyer: Buyer) -> None:
    ticket_type = make.on_sale()
    for count in (1, 2):
        make.order(buyer.user, ticket_type, quantity=count)
    with clock.set_to(clock.ahead(minutes=11)):
        assert buyer.order((ticket_type, 3)).status_code == 201


def test_buyers_at_once_never_get_more_than_there_is(app: Flask, daraja: ScriptedDaraja, make: Maker) -> None:
    one = make.on_sale(name="One", quantity=3)
    two = make.ticket_type(one.event, name="Two", quantity=3)
    with clock.set_to(clock.ago(minutes=11)):
        make.place(make.attendee(), (one, 2), (two, 1))
        make.place(make.attendee(), (two, 2))
    carts = [cart((one, 1), (two, 1)), cart((two, 1), (one, 1)), cart((one, 1)), cart((two, 1))] * 3
    requests = [(make.headers(make.attendee()), body) for body in carts]
    answers = together(
        *(
            lambda headers=headers, body=body: app.test_client().post("/orders", json=body, headers=headers)
            for headers, body in requests
        )
    )
    assert {answer.status_code for answer in answers} == {201, 409}
    placed = [make.read_order(answer.json["orderId"]) for answer in answers if answer.status_code == 201]
    for ticket_type in (one, two):
        held = sum(order.wanted.get(ticket_type.id, 0) for order in placed)
        assert places(make, ticket_type) == (0, held)
        assert held <= 3


def test_a_buyer_who_waited_in_vain_takes_ended_holds_without_a_deadlock(
    database_url: str, app: Flask, daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    one = make.on_sale(name="One", quantity=2)
    two = make.ticket_type(one.event, name="Two", quantity=2)
    with clock.set_to(clock.ago(minutes=11)):
        make.place(make.attendee(), (one, 1), (two, 1))
    hold = "UPDATE ticket_types SET held = held + 1 WHERE id = %s"
    with connected(database_url) as quick, connected(database_url) as slow, connected(database_url) as watcher:
        slow.execute(hold, [one.id])
        quick.execute(hold, [two.id])
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: app.test_client().post("/orders", json=cart((two, 1)), headers=buyer.headers))
            wait_until(lambda: is_anyone_waiting(watcher))
            quick.execute("COMMIT")
            # It now finds no room, marks the ended order expired and wants to give both its types back.
            wait_until(lambda: is_anyone_waiting(watcher, for_transaction_of=slow))
            slow.execute("SELECT 1 FROM ticket_types WHERE id = %s FOR NO KEY UPDATE", [two.id])
            slow.execute("COMMIT")
            assert waiting.result(timeout=10).status_code == 201
    assert (places(make, one), places(make, two)) == ((0, 1), (0, 2))


@contextmanager
def connected(database_url: str) -> Iterator[psycopg2.extensions.cursor]:
    """A transaction of somebody else's."""
    connection = psycopg2.connect(make_url(database_url).set(drivername="postgresql").render_as_string(False))
    try:
        yield connection.cursor()
    finally:
        connection.close()


def is_anyone_waiting(watcher: Any, *, for_transaction_of: Any = None) -> bool:
    blocker = for_transaction_of.connection.info.backend_pid if for_transaction_of else None
    watcher.execute(
        "SELECT true FROM pg_stat_activity, pg_blocking_pids(pid) AS blockers"
        " WHERE datname = current_database() AND cardinality(blockers) > 0"
        " AND (%(pid)s IS NULL OR %(pid)s = ANY (blockers)) LIMIT 1",
        {"pid": blocker},
    )
    found = watcher.fetchone() is not None
    watcher.connection.rollback()
    return found


# ── Whose orders ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_sees_their_own_orders_and_admins_see_all(
    client: FlaskClient, make: Maker, new_buyer: Callable[..., Buyer]
) -> None:
    mine, other = new_buyer(), new_buyer()
    ticket_type = make.on_sale(price=0)
    first = mine.order((ticket_type, 1)).json["orderId"]
    second = mine.order((ticket_type, 2)).json["orderId"]
    theirs = other.order((ticket_type, 1)).json["orderId"]
    admin = make.headers(make.admin())
    assert [one["id"] for one in client.get("/orders", headers=mine.headers).json] == [second, first]
    assert client.get("/orders", headers=admin).json == []
    assert [one["id"] for one in client.get("/admin/orders", headers=admin).json] == [theirs, second, first]
    assert client.get(f"/orders/{theirs}", headers=admin).json["id"] == theirs
    assert mine.read(theirs).status_code == 404
    assert client.get("/admin/orders", headers=mine.headers).status_code == 403
    assert client.get("/orders").status_code == client.get(f"/orders/{first}").status_code == 401


def test_nobody_pays_or_cancels_somebody_elses_order(
    client: FlaskClient, daraja: ScriptedDaraja, make: Maker, buyer: Buyer
) -> None:
    order, token = make.order()
    make.deliver(token, failure())
    admin = Buyer(client, make.admin())
    for somebody in (buyer, admin):
        assert somebody.pay(order.id).status_code == 404
        assert somebody.cancel(order.id).status_code == 404
    assert (make.status(order.id), daraja.count(PUSH)) == (OrderStatus.PENDING, 0)


def test_organizers_buy_tickets_as_attendees_do(client: FlaskClient, make: Maker) -> None:
    organizer = Buyer(client, make.organizer())
    assert organizer.order((make.on_sale(price=0), 1)).status_code == 201


def test_an_order_keeps_the_price_it_was_placed_at(client: FlaskClient, make: Maker, buyer: Buyer) -> None:
    organizer = make.organizer()
    ticket_type = make.ticket_type(make.event(organizer), price=500)
    order, token = make.order(buyer.user, ticket_type)
    path = f"/events/{ticket_type.event_id}/tickets/{ticket_type.id}"
    assert client.patch(path, json={"price": 900}, headers=make.headers(organizer)).status_code == 200
    make.deliver(token, success(500))
    read = buyer.read(order.id).json
    assert (read["status"], read["total_amount"], read["items"][0]["price"]) == ("paid", 500, 500)


def test_the_hold_lasts_as_long_as_the_answer_says(make: Maker, buyer: Buyer) -> None:
    order, _ = make.order(buyer.user)
    assert order.expires_at - order.created_at == pytest.approx(timedelta(minutes=10), abs=timedelta(seconds=2))
    read = buyer.read(order.id).json
    assert read["expires_at"] == clock.to_nairobi(order.expires_at)
