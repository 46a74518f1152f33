"""Payments: from what Safaricom says to what becomes of orders, places, tickets and money."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from structlog.stdlib import ProcessorFormatter

from models import (
    AuditLog,
    Event,
    EventStatus,
    MessageChannel,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundMethod,
    TicketType,
    User,
)
from services import booking, events, locks, moderation, prompts, queries, settlement
from tests.scripted_daraja import PUSH, QUERY, TOKEN, Reply, query_result, scripted_daraja
from tests.support import (
    Maker,
    cart,
    failure,
    new_receipt,
    success,
    together,
)
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction
from utils.security import hash_secret, new_secret

PHONE = "254700000099"


def places(make: Maker, ticket_type: TicketType) -> tuple[int, int]:
    """Sold and held."""
    row = make.read_ticket_type(ticket_type.id)
    return row.sold, row.held


def ask(app: Flask) -> int:
    """What the worker does about silent payments."""
    with app.app_context():
        return queries.query_due_payments()


def poll(client: FlaskClient, poll_id: str) -> dict[str, str]:
    answer = client.get(f"/payments/check/{poll_id}")
    assert answer.status_code == 200
    return answer.json["data"]


def change(app: Flask, model: Any, row_id: int, **values: Any) -> None:
    """Bring a row about that other requests would."""
    with app.app_context(), transaction() as session:
        session.execute(update(model).where(model.id == row_id).values(**values))


# ── Messages at a payment's own address ───────────────────────────────────────────────────────────────────────────


def test_the_same_success_again_changes_nothing(make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type, quantity=2)
    body = success(order.total_kes, "UKN0000AAA")
    assert make.deliver(token, body) == "Settle"
    codes = {ticket.code for ticket in make.tickets()}
    for _ in range(3):
        assert make.deliver(token, body) == "Ignore: paid already"
    assert ({ticket.code for ticket in make.tickets()}, places(make, ticket_type)) == (codes, (2, 0))


def test_twenty_callbacks_at_once_issue_the_tickets_once(make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type, quantity=2)
    body = success(order.total_kes)
    verdicts = together(*[lambda: make.deliver(token, body)] * 20)
    assert verdicts.count("Settle") == 1
    assert (len(make.tickets()), places(make, ticket_type)) == (2, (2, 0))


def test_one_message_settled_by_many_at_once_is_settled_once(app: Flask, make: Maker) -> None:
    order, token = make.order(quantity=2)
    with app.app_context():
        message_id = settlement.receive_callback(token=token, body=success(order.total_kes), remote_address=None)

    def settle() -> None:
        with app.app_context():
            settlement.settle_message(message_id)

    together(*[settle] * 8)
    assert (make.status(order.id), len(make.tickets())) == (OrderStatus.PAID, 2)


def test_a_failure_after_success_changes_nothing(make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, success(order.total_kes))
    assert make.deliver(token, failure(1032)) == "Ignore: paid already"
    assert (make.status(order.id), make.payments(order.id)[0].result_code) == (OrderStatus.PAID, "0")


def test_a_success_after_failure_pays(make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type)
    assert make.deliver(token, failure(1037)) == "Fail: 1037"
    assert make.deliver(token, success(order.total_kes)) == "Settle"
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.PAID, (1, 0))


def test_an_amount_that_no_payment_can_have_is_no_amount(make: Maker) -> None:
    order, token = make.order()
    assert make.deliver(token, success(1e300)) == "Ask: a success without amount or receipt"
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])


@pytest.mark.parametrize("amount", [1, 499, 499.99, 500.5, 501, 1000, 0, -500])
def test_another_amount_is_quarantined(app: Flask, make: Maker, amount: float) -> None:
    ticket_type = make.on_sale(price=500)
    order, token = make.order(ticket_type=ticket_type)
    assert make.deliver(token, success(amount)).startswith("Quarantine: the amount is KES ")
    [payment] = make.payments(order.id)
    assert (payment.status, payment.receipt) == (PaymentStatus.QUARANTINED, "UKN7RT61SV")
    assert str(order.total_kes) in (payment.note or "")
    assert (make.status(order.id), make.tickets(), places(make, ticket_type)) == (OrderStatus.PENDING, [], (0, 1))
    assert make.deliver(token, success(500)) == "Ignore: in quarantine"
    with app.app_context():
        assert db.session.scalar(select(func.count()).where(AuditLog.action == "payment_quarantined")) == 1


@pytest.mark.parametrize("foreign", [{"checkout": "ws_CO_other"}, {"merchant": "other"}])
@pytest.mark.parametrize("body", [success, None], ids=["success", "failure"])
def test_other_ids_are_suspect_and_make_us_ask(app: Flask, make: Maker, foreign: dict[str, str], body: Any) -> None:
    order, token = make.order()
    [payment] = order.payments
    change(app, Payment, payment.id, checkout_request_id="ws_CO_ours", merchant_request_id="ours")
    sent = success(order.total_kes, **foreign) if body else failure(1032, **foreign)
    assert make.deliver(token, sent).startswith("Suspect: ")
    [payment] = make.payments(order.id)
    assert (payment.status, payment.receipt) == (PaymentStatus.SUBMITTING, None)
    assert (payment.checkout_request_id, payment.merchant_request_id) == ("ws_CO_ours", "ours")
    assert payment.next_query_at <= clock.now()
    assert make.status(order.id) is OrderStatus.PENDING


def test_the_ids_of_another_payment_are_suspect_even_if_we_have_none_of_our_own(app: Flask, make: Maker) -> None:
    other, _ = make.order()
    change(app, Payment, other.payments[0].id, checkout_request_id="ws_CO_other")
    order, token = make.order()
    assert make.deliver(token, success(order.total_kes, checkout="ws_CO_other")).startswith("Suspect: ")
    assert make.payments(order.id)[0].status is PaymentStatus.SUBMITTING
    assert make.tickets() == []


@pytest.mark.parametrize(
    ("amount", "receipt"), [(None, "UKN0000AAA"), (500, None), (500, "not a receipt"), (None, None)]
)
def test_a_success_without_amount_or_receipt_makes_us_ask_and_the_answer_settles(
    app: Flask, make: Maker, amount: int | None, receipt: str | None
) -> None:
    order, token = make.order(ticket_type=make.on_sale(price=500))
    assert make.deliver(token, success(amount, receipt, checkout="ws_CO_1")).startswith("Ask: ")
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("0", "ws_CO_1")]
        assert ask(app) == 1
        assert daraja.requests(QUERY)[0].body["CheckoutRequestID"] == "ws_CO_1"
    assert make.status(order.id) is OrderStatus.PAID
    brought = receipt if receipt == "UKN0000AAA" else None
    assert make.payments(order.id)[0].receipt == brought, "what it brought, now that M-PESA agrees"

    final = brought or "UKN0000BBB"
    verdict = make.deliver(token, success(500, final, checkout="ws_CO_1"))
    assert verdict == ("Ignore: paid already" if brought else "AddReceipt")
    assert make.read_order(order.id).receipt == final
    assert make.deliver(token, success(500, "UKN0000CCC", checkout="ws_CO_1")).startswith("Suspect: a second receipt")
    assert (make.read_order(order.id).receipt, len(make.tickets())) == (final, 1)


def test_a_prompt_that_seemed_over_is_asked_about_until_mpesa_answers(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(1037, checkout="ws_CO_1"))
    make.deliver(token, success(None, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        daraja.queries = [Reply.error("500.001.1001"), Reply(403, b"<html>"), query_result("0", "ws_CO_1")]
        wait_until(lambda: ask(app) and make.status(order.id) is OrderStatus.PAID)
        assert daraja.count(QUERY) == 3


def test_a_prompt_that_was_over_is_asked_about_no_more_once_mpesa_says_so(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(1037, checkout="ws_CO_1"))
    make.deliver(token, success(None, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("1037", "ws_CO_1")]
        assert ask(app) == 1
    [payment] = make.payments(order.id)
    assert (payment.status, payment.next_query_at) == (PaymentStatus.FAILED, None)


def test_an_unknown_code_after_a_lost_push_is_asked_about(app: Flask, make: Maker) -> None:
    order, token = make.order()
    assert make.deliver(token, failure(7777, checkout="ws_CO_1")) == "StayUnknown: 7777"
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("0", "ws_CO_1")]
        wait_until(lambda: ask(app))
    assert make.status(order.id) is OrderStatus.PAID


ENVELOPE = {"Body": {"stkCallback": {}}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"0",
        b'"success"',
        b"{}",
        b"[" * 20_000,
        b'{"Body": []}',
        b'{"Body": {"stkCallback": [0]}}',
        json.dumps(ENVELOPE).encode(),
        b'{"Body": {"stkCallback": {"ResultCode": null}}}',
        b'{"Body": {"stkCallback": {"ResultCode": true}}}',
        b'{"Body": {"stkCallback": {"ResultCode": 0.5}}}',
        b'{"Body": {"stkCallback": {"ResultCode": ' + b"9" * 5000 + b"}}}",
        b'{"Body": {"stkCallback": {"ResultCode": {"a": 1}}}}',
    ],
)
def test_what_cannot_be_read_changes_nothing(make: Maker, body: bytes) -> None:
    order, token = make.order()
    assert make.deliver(token, body) == "Ask: unreadable"
    assert (make.status(order.id), make.payments(order.id)[0].status) == (OrderStatus.PENDING, PaymentStatus.SUBMITTING)
    make.deliver(token, success(order.total_kes))
    assert make.deliver(token, body) == "Ignore: unreadable"
    assert make.status(order.id) is OrderStatus.PAID


def _success_of(code: Any, *items: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"Body": {"stkCallback": {"ResultCode": code, "CallbackMetadata": {"Item": items}} | more}}
    ).encode()


AMOUNT, RECEIPT = {"Name": "Amount", "Value": 500}, {"Name": "MpesaReceiptNumber", "Value": "UKN7RT61SV"}
MASKED = {"Name": "PhoneNumber", "Value": "2547 ***** 126"}


@pytest.mark.parametrize(
    "body",
    [
        _success_of("0", {"Name": "Amount", "Value": "500.00"}, RECEIPT),
        _success_of(0, MASKED, RECEIPT, {"Name": "Balance"}, AMOUNT),
        _success_of(0, {"Name": "Balance", "Value": "{Amount={BasicAmount=1.00}}"}, AMOUNT, RECEIPT),
        _success_of(0, {}, {"Value": 7}, {"Name": None, "Value": 7}, AMOUNT, RECEIPT),
        _success_of(0, AMOUNT, RECEIPT, Padding="x" * 60_000),
        _success_of(0, AMOUNT, RECEIPT, ResultDesc=None, CheckoutRequestID=None, MerchantRequestID=7),
    ],
    ids=["numbers as text", "reordered", "odd balance", "odd items", "huge", "odd fields"],
)
def test_a_success_is_read_by_name_whatever_surrounds_it(make: Maker, body: bytes) -> None:
    order, token = make.order(ticket_type=make.on_sale(price=500))
    assert make.deliver(token, body) == "Settle"
    assert make.read_order(order.id).receipt == "UKN7RT61SV"


# ── One receipt, one payment ──────────────────────────────────────────────────────────────────────────────────────


def test_one_receipt_for_two_orders_pays_the_first_only(make: Maker) -> None:
    ticket_type = make.on_sale()
    first, first_token = make.order(ticket_type=ticket_type)
    second, second_token = make.order(ticket_type=ticket_type)
    body = success(first.total_kes, "UKN0000AAA")
    assert make.deliver(first_token, body) == "Settle"
    assert make.deliver(second_token, body).startswith("Quarantine: the receipt UKN0000AAA")
    assert [make.status(one.id) for one in (first, second)] == [OrderStatus.PAID, OrderStatus.PENDING]
    assert make.payments(second.id)[0].status is PaymentStatus.QUARANTINED
    assert (len(make.tickets()), places(make, ticket_type)) == (1, (1, 1))


def test_one_receipt_for_two_orders_at_once_pays_one_and_aborts_none(make: Maker) -> None:
    for number in range(5):
        ticket_type = make.on_sale()
        orders = [make.order(ticket_type=ticket_type) for _ in range(2)]
        body = success(500, f"UKN000{number}AAA")
        verdicts = together(*(partial(make.deliver, token, body) for _, token in orders))
        assert sorted(verdict.partition(":")[0] for verdict in verdicts) == ["Quarantine", "Settle"]
        assert places(make, ticket_type) == (1, 1)


def test_a_late_receipt_of_another_payment_is_suspect_and_the_order_stays_paid(app: Flask, make: Maker) -> None:
    first = make.paid_order()
    order, token = make.order()
    change(app, Payment, order.payments[0].id, checkout_request_id="ws_CO_1", next_query_at=clock.now())
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("0", "ws_CO_1")]
        ask(app)
    assert make.deliver(token, success(order.total_kes, first.receipt)).startswith("Suspect: the receipt")
    assert (make.status(order.id), make.read_order(order.id).receipt) == (OrderStatus.PAID, None)


def _second_prompt(app: Flask, order: Order) -> str:
    with app.app_context(), clock.set_to(clock.ahead(seconds=121)), transaction():
        return prompts.open_prompt(locks.lock_order(order.id)).token


def test_a_second_payment_of_one_order_goes_back_by_itself(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, first = make.order(ticket_type=ticket_type)
    second = _second_prompt(app, order)
    assert make.deliver(second, success(order.total_kes, new_receipt())) == "Settle"
    assert make.deliver(first, success(order.total_kes, new_receipt())) == "Surplus"
    assert make.status(order.id) is OrderStatus.PAID
    paid = make.payments(order.id)
    assert [(one.status, one.refunded_kes) for one in paid] == [
        (PaymentStatus.PAID, order.total_kes),
        (PaymentStatus.PAID, 0),
    ]
    [refund] = make.rows(Refund)
    assert (refund.payment_id, refund.method, refund.reason) == (paid[0].id, RefundMethod.REVERSAL, "paid_twice")
    assert (len(make.tickets()), places(make, ticket_type)) == (1, (1, 0))


def test_a_second_payment_waits_until_the_receipts_of_both_are_known(app: Flask, make: Maker) -> None:
    """The first is known from a query, which tells no receipt: both messages could be of one payment."""
    order, first = make.order(ticket_type=make.on_sale(price=500))
    make.deliver(first, success(None, None, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("0", "ws_CO_1")]
        assert ask(app) == 1
    second = _second_prompt_of_paid(app, order)
    assert make.deliver(second, success(500, "UKN0000BBB")).startswith("Quarantine: a second payment")
    assert make.rows(Refund) == []

    assert make.deliver(first, success(500, "UKN0000AAA", checkout="ws_CO_1")) == "AddReceipt"
    [refund] = make.rows(Refund)
    assert (refund.payment_id, refund.reason) == (make.payments(order.id)[1].id, "paid_twice")
    assert make.read_order(order.id).receipt == "UKN0000AAA"


def _second_prompt_of_paid(app: Flask, order: Order) -> str:
    """As if it had gone out before the first was known to be paid."""
    with app.app_context(), transaction() as session:
        token = new_secret()
        session.add(
            Payment(
                order_id=order.id,
                phone=order.phone,
                amount_kes=order.total_kes,
                callback_token_hash=hash_secret(token),
                status=PaymentStatus.PROMPTED,
            )
        )
    return token


# ── Late money ────────────────────────────────────────────────────────────────────────────────────────────────────


def _run_out(make: Maker, app: Flask, order: Order, token: str) -> str:
    """The hold ends and is written down, as the worker does."""
    change(app, Order, order.id, expires_at=clock.ago(seconds=1), status=OrderStatus.EXPIRED)
    for item in order.items:
        change(app, TicketType, item.ticket_type_id, held=TicketType.held - item.quantity)
    return token


def _run_out_unnoticed(make: Maker, app: Flask, order: Order, token: str) -> str:
    change(app, Order, order.id, expires_at=clock.ago(seconds=1))
    return token


def _fail_thrice(make: Maker, app: Flask, order: Order, token: str) -> str:
    last = token
    for attempt in range(3):
        make.deliver(last, failure(1037))
        if attempt < 2:
            with app.app_context(), clock.set_to(clock.ahead(seconds=121 * (attempt + 1))), transaction():
                last = prompts.open_prompt(locks.lock_order(order.id)).token
    assert make.status(order.id) is OrderStatus.FAILED
    return last


def _cancel(make: Maker, app: Flask, order: Order, token: str) -> str:
    with app.app_context():
        booking.cancel_order(actor=db.session.get_one(User, order.buyer_id), order_id=order.id)
    return token


End = Callable[[Maker, Flask, Order, str], str]
LATE = pytest.mark.parametrize("end", [_run_out, _run_out_unnoticed, _fail_thrice])


@LATE
def test_late_money_becomes_tickets_while_places_are_free(app: Flask, make: Maker, end: End) -> None:
    ticket_type = make.on_sale(quantity=2)
    order, token = make.order(ticket_type=ticket_type, quantity=2)
    token = end(make, app, order, token)
    assert make.deliver(token, success(order.total_kes)) == "Settle"
    assert (make.status(order.id), len(make.tickets())) == (OrderStatus.PAID, 2)
    assert places(make, ticket_type) == (2, 0)


def _sell_out(make: Maker, app: Flask, order: Order) -> None:
    types = [item.ticket_type_id for item in order.items]
    for one in types:
        change(app, TicketType, one, quantity=TicketType.sold + TicketType.held)


def _event(**values: Any) -> Callable[[Maker, Flask, Order], None]:
    return lambda make, app, order: change(app, Event, order.event_id, **values)


def _call_off(make: Maker, app: Flask, order: Order) -> None:
    with app.app_context():
        events.cancel_event(actor=make.admin(), event_id=order.event_id)


def _reject(make: Maker, app: Flask, order: Order) -> None:
    with app.app_context():
        moderation.decide_event(actor=make.admin(), event_id=order.event_id, is_approved=False, reason="No permit")


def _edit(make: Maker, app: Flask, order: Order) -> None:
    with app.app_context():
        events.update_event(actor=make.admin(), event_id=order.event_id, changes={"title": "Another title"}, image=None)


def _buy_again(make: Maker, app: Flask, order: Order) -> None:
    with app.app_context():
        buyer = db.session.get_one(User, order.buyer_id)
        ticket_type = db.session.get_one(TicketType, order.items[0].ticket_type_id)
    with clock.set_to(clock.ahead(seconds=363)):
        make.paid_order(buyer, ticket_type)


@pytest.mark.parametrize("end", [_run_out, _run_out_unnoticed, _fail_thrice])
@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (_call_off, "event_cancelled"),
        (_reject, "event_rejected"),
        (_edit, "event_pending"),
        (_event(starts_at=clock.ago(hours=5), ends_at=clock.ago(hours=1)), "event_over"),
        (_buy_again, "bought_again"),
    ],
)
def test_late_money_that_cannot_become_tickets_is_due_back(
    app: Flask, client: FlaskClient, make: Maker, end: End, meanwhile: Any, reason: str
) -> None:
    ticket_type = make.on_sale(quantity=3)
    order, token = make.order(ticket_type=ticket_type)
    token = end(make, app, order, token)
    meanwhile(make, app, order)
    assert make.deliver(token, success(order.total_kes, "UKN0000ZZZ")) == "Settle"
    read = make.read_order(order.id)
    assert (read.status, read.refund_reason, read.tickets) == (OrderStatus.REFUND_DUE, reason, [])
    assert (read.receipt, poll(client, order.poll_id)["ResultCode"]) == ("UKN0000ZZZ", "1032")
    assert places(make, ticket_type) == (1 if reason == "bought_again" else 0, 0)
    due = client.get("/admin/orders?status=refund_due", headers=make.headers(make.admin())).json
    assert [(one["id"], one["refund_reason"]) for one in due] == [(order.id, reason)]
    assert make.deliver(token, success(order.total_kes, "UKN0000ZZZ")) == "Ignore: paid already"


@pytest.mark.parametrize("end", [_run_out, _fail_thrice])
def test_late_money_for_places_that_are_gone_is_due_back(app: Flask, make: Maker, end: End) -> None:
    one = make.on_sale(quantity=1)
    two = make.ticket_type(one.event, name="VIP", quantity=1)
    order, token = make.place(make.attendee(), (one, 1), (two, 1))
    token = end(make, app, order, token)
    make.paid_order(ticket_type=two)
    make.deliver(token, success(order.total_kes, new_receipt()))
    read = make.read_order(order.id)
    assert (read.status, read.refund_reason, read.tickets) == (OrderStatus.REFUND_DUE, "sold_out", [])
    assert (places(make, one), places(make, two)) == ((0, 0), (1, 0))


def test_late_money_takes_the_places_of_ended_holds(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale(quantity=1)
    order, token = make.order(ticket_type=ticket_type)
    _run_out(make, app, order, token)
    other, _ = make.order(ticket_type=ticket_type)
    _run_out_unnoticed(make, app, other, "")
    make.deliver(token, success(order.total_kes))
    assert [make.status(one.id) for one in (order, other)] == [OrderStatus.PAID, OrderStatus.EXPIRED]
    assert places(make, ticket_type) == (1, 0)


def test_money_for_an_order_its_buyer_cancelled_is_due_back(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type)
    _cancel(make, app, order, token)
    make.deliver(token, success(order.total_kes))
    read = make.read_order(order.id)
    assert (read.status, read.refund_reason) == (OrderStatus.REFUND_DUE, "order_cancelled")
    assert (make.tickets(), places(make, ticket_type)) == ([], (0, 0))


def test_an_event_cancelled_while_an_order_is_open_makes_its_money_due_back(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type)
    _call_off(make, app, order)
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.CANCELLED, (0, 0))
    make.deliver(token, success(order.total_kes))
    read = make.read_order(order.id)
    assert (read.status, read.refund_reason) == (OrderStatus.REFUND_DUE, "event_cancelled")
    assert (make.tickets(), places(make, ticket_type)) == ([], (0, 0))


def test_an_order_placed_in_the_moment_of_the_cancellation_is_due_back(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, token = make.order(ticket_type=ticket_type)
    change(app, Event, order.event_id, status=EventStatus.CANCELLED)
    make.deliver(token, success(order.total_kes))
    read = make.read_order(order.id)
    assert (read.status, read.refund_reason) == (OrderStatus.REFUND_DUE, "event_cancelled")
    assert (make.tickets(), places(make, ticket_type)) == ([], (0, 0))


def test_an_open_order_may_still_be_paid_while_its_event_is_pending_again(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    order, token = make.order(buyer, ticket_type)
    make.deliver(token, failure())
    _edit(make, app, order)
    with scripted_daraja(app), clock.set_to(clock.ahead(seconds=121)):
        assert client.post(f"/orders/{order.id}/pay", headers=make.headers(buyer)).status_code == 200
    make.deliver(token, success(order.total_kes))
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.PAID, (1, 0))


def test_late_money_for_an_older_equal_order_counts_while_the_newer_one_is_unpaid(app: Flask, make: Maker) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    old, token = make.order(buyer, ticket_type)
    _run_out(make, app, old, token)
    with clock.set_to(clock.ahead(seconds=121)):
        new, _ = make.order(buyer, ticket_type)
    make.deliver(token, success(old.total_kes))
    assert [make.status(one.id) for one in (old, new)] == [OrderStatus.PAID, OrderStatus.PENDING]
    assert places(make, ticket_type) == (1, 1)


def test_an_order_stays_open_while_an_older_prompt_may_still_be_paid(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, first = make.order(ticket_type=ticket_type)
    for seconds in (121, 242):
        with clock.set_to(clock.ahead(seconds=seconds)):
            with app.app_context(), transaction():
                token = prompts.open_prompt(locks.lock_order(order.id)).token
            make.deliver(token, failure(1032))
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.PENDING, (0, 1))
    make.deliver(first, failure(1037))
    assert (make.status(order.id), places(make, ticket_type)) == (OrderStatus.FAILED, (0, 0))


# ── The callback route ────────────────────────────────────────────────────────────────────────────────────────────

ACCEPTED = {"ResultCode": 0, "ResultDesc": "Accepted"}
CALLBACK = "/api/payment/callback"


def test_a_callback_is_kept_byte_for_byte_and_answered_at_once(client: FlaskClient, make: Maker) -> None:
    order, token = make.order()
    body = b'\r\n{ "Body" :\t{"stkCallback": {"ResultCode": 1032}}, "\xc3\xa9": "\\u0000" }  \n'
    answer = client.post(f"{CALLBACK}/{token}", data=body, content_type="application/json;charset=UTF-8")
    assert (answer.status_code, answer.json) == (200, ACCEPTED)
    [message] = make.messages()
    assert (message.body, message.payment_id) == (body, order.payments[0].id)
    assert (message.channel, message.remote_address) == (MessageChannel.STK_CALLBACK, "127.0.0.1")
    wait_until(lambda: make.messages()[0].verdict == "Fail: 1032")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", None), (b"{", "application/json"), (b"a=b", "application/x-www-form-urlencoded"), (b"x", "text/plain")],
)
def test_a_callback_is_accepted_whatever_its_body(
    client: FlaskClient, make: Maker, body: bytes, content_type: str | None
) -> None:
    _, token = make.order()
    answer = client.post(f"{CALLBACK}/{token}", data=body, content_type=content_type)
    assert (answer.status_code, answer.json) == (200, ACCEPTED)
    assert make.messages()[0].body == body
    wait_until(lambda: make.messages()[0].settled_at)


@pytest.mark.parametrize("token", ["0" * 32, "0" * 31, "A" * 32, "not-a-token", "0" * 32 + "/stk", "%00"])
def test_a_token_that_is_not_ours_is_404_and_stores_nothing(client: FlaskClient, make: Maker, token: str) -> None:
    order, _ = make.order()
    assert client.post(f"{CALLBACK}/{token}", data=success(order.total_kes)).status_code == 404
    assert make.messages() == []


def test_the_callback_takes_posts_only_and_64_kilobytes_at_most(client: FlaskClient, make: Maker) -> None:
    _, token = make.order()
    for path in (f"{CALLBACK}/{token}", CALLBACK, "/payments/callback"):
        assert client.get(path).status_code == 405
        assert client.post(path, data=b"x" * (64 * 1024 + 1)).status_code == 413
    assert make.messages() == []
    assert client.post(f"{CALLBACK}/{token}", data=b"x" * 64 * 1024).status_code == 200
    wait_until(lambda: make.messages()[0].settled_at)


def test_a_hint_is_never_believed(client: FlaskClient, app: Flask, make: Maker) -> None:
    for path in (CALLBACK, "/payments/callback"):
        order, _ = make.order()
        ids = {"checkout": f"ws_CO_{order.id}", "merchant": "ours"}
        change(app, Payment, order.payments[0].id, checkout_request_id=ids["checkout"], merchant_request_id="ours")
        answer = client.post(path, data=success(order.total_kes, new_receipt(), **ids))
        assert (answer.status_code, answer.json) == (200, ACCEPTED)
        wait_until(lambda: make.messages()[-1].settled_at)
        assert make.messages()[-1].verdict.startswith("Ask: ")
        [payment] = make.payments(order.id)
        assert (payment.status, payment.receipt, make.status(order.id)) == (
            PaymentStatus.SUBMITTING,
            None,
            OrderStatus.PENDING,
        )
        assert payment.next_query_at <= clock.now()
    assert make.tickets() == []


def test_hints_make_us_ask_once_in_ten_seconds(client: FlaskClient, app: Flask, make: Maker) -> None:
    order, _ = make.order()
    change(app, Payment, order.payments[0].id, checkout_request_id="ws_CO_1")
    hint = failure(1032, checkout="ws_CO_1")
    for _ in range(5):
        assert client.post(CALLBACK, data=hint).status_code == 200
    assert len(make.messages()) == 1
    wait_until(lambda: make.messages()[0].settled_at)
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("0", "ws_CO_1")]
        assert ask(app) == 1
        assert daraja.count(QUERY) == 1
    assert make.status(order.id) is OrderStatus.PAID
    with clock.set_to(clock.ahead(seconds=11)):
        client.post(CALLBACK, data=hint)
    assert {message.channel.value for message in make.messages()} == {"stk_hint", "stk_query"}
    assert len(make.messages()) == 2


def test_a_second_hint_counts_after_the_pause(client: FlaskClient, app: Flask, make: Maker) -> None:
    order, _ = make.order()
    change(app, Payment, order.payments[0].id, checkout_request_id="ws_CO_1")
    for seconds, stored in ((0, 1), (9, 1), (11, 2)):
        with clock.set_to(clock.ahead(seconds=seconds)):
            client.post(CALLBACK, data=failure(1032, checkout="ws_CO_1"))
        assert len(make.messages()) == stored
    wait_until(lambda: all(message.settled_at for message in make.messages()))


@pytest.mark.parametrize("body", [failure(0, checkout="ws_CO_nobody"), failure(0), b"", b"[]", b"\xff"])
def test_a_hint_about_nothing_of_ours_stores_nothing(client: FlaskClient, make: Maker, body: bytes) -> None:
    make.order()
    assert client.post(CALLBACK, data=body).json == ACCEPTED
    assert make.messages() == []


def test_neither_secret_nor_phone_is_in_the_log_or_in_the_table(
    app: Flask, client: FlaskClient, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted_daraja(app) as daraja:
        body, headers = cart((make.on_sale(), 1), phone=PHONE), make.headers(make.attendee())
        order_id = client.post("/orders", json=body, headers=headers).json["orderId"]
        [push] = daraja.requests(PUSH)
        address = push.body["CallBackURL"]
        token = address.rpartition("/")[2]
        assert address == f"{app.extensions['settings'].CALLBACK_URL}/{token}"
        daraja.queries = [Reply.error("404.001.03", 404)]
        change(app, Payment, make.payments(order_id)[0].id, next_query_at=clock.now())
        ask(app)
    client.post(f"{CALLBACK}/{token}", data=success(499))
    wait_until(lambda: all(message.settled_at for message in make.messages()))
    formats = [one.format for one in logging.getLogger().handlers if isinstance(one.formatter, ProcessorFormatter)]
    assert formats
    written = "\n".join(write(record) for write in formats for record in caplog.records)
    assert "quarantined" in written
    assert token not in written
    assert PHONE not in written
    with app.app_context():
        [row] = db.session.execute(select(Payment.__table__)).mappings()
        assert len(row["callback_token_hash"]) == 32
        assert not any(token in str(value) for value in row.values())


def test_no_connection_is_held_while_daraja_is_waited_for(app: Flask, client: FlaskClient, make: Maker) -> None:
    with scripted_daraja(app) as daraja:
        out: dict[str, int] = {}
        with app.app_context():
            pool = db.engine.pool
        daraja.before_answering = lambda seen: out.update({seen.path: pool.checkedout()})
        headers = make.headers(make.attendee())
        order_id = client.post("/orders", json=cart((make.on_sale(), 1)), headers=headers).json["orderId"]
        assert out == {TOKEN: 0, PUSH: 0}

        out.clear()
        with clock.set_to(clock.ahead(seconds=121)):
            assert client.post(f"/orders/{order_id}/pay", headers=headers).status_code == 200
        assert out == {PUSH: 0}

        first, second = make.payments(order_id)
        change(app, Payment, first.id, next_query_at=None)
        change(app, Payment, second.id, next_query_at=clock.now())
        assert ask(app) == 1
        assert out == {PUSH: 0, QUERY: 0}


# ── Polling ───────────────────────────────────────────────────────────────────────────────────────────────────────

_ANY_OPEN = {
    PaymentStatus.SUBMITTING: None,
    PaymentStatus.PROMPTED: None,
    PaymentStatus.UNKNOWN: None,
    PaymentStatus.QUARANTINED: None,
    PaymentStatus.FAILED: "1032",
    PaymentStatus.REFUSED: "1032",
}


@pytest.mark.parametrize(
    ("status", "latest", "code"),
    [(OrderStatus.PENDING, latest, code) for latest, code in _ANY_OPEN.items()]
    + [
        (OrderStatus.PAID, PaymentStatus.PAID, "0"),
        (OrderStatus.PARTLY_REFUNDED, PaymentStatus.PAID, "0"),
        (OrderStatus.REFUND_DUE, PaymentStatus.PAID, "1032"),
        (OrderStatus.REFUNDED, PaymentStatus.PAID, "1032"),
        (OrderStatus.FAILED, PaymentStatus.FAILED, "1032"),
        (OrderStatus.EXPIRED, PaymentStatus.PROMPTED, "1032"),
        (OrderStatus.CANCELLED, PaymentStatus.PROMPTED, "1032"),
    ],
)
def test_polling_tells_how_the_order_stands(
    app: Flask, client: FlaskClient, make: Maker, status: OrderStatus, latest: PaymentStatus, code: str | None
) -> None:
    order, _ = make.order()
    change(app, Payment, order.payments[0].id, status=latest)
    change(app, Order, order.id, status=status)
    answer = client.get(f"/payments/check/{order.poll_id}", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json.keys() == {"data"}
    assert answer.json["data"].get("ResultCode") == code
    assert answer.json["data"].keys() == ({"ResultCode", "ResultDesc"} if code else set())
    with clock.set_to(clock.ahead(minutes=11)):
        assert poll(client, order.poll_id)["ResultCode"] == (code or "1032")


def test_polling_goes_by_the_latest_prompt(app: Flask, client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    order, token = make.order(buyer)
    make.deliver(token, failure())
    assert poll(client, order.poll_id)["ResultCode"] == "1032"
    with scripted_daraja(app), clock.set_to(clock.ahead(seconds=121)):
        client.post(f"/orders/{order.id}/pay", headers=make.headers(buyer))
    assert poll(client, order.poll_id) == {}


def test_late_money_turns_the_poll_to_paid(app: Flask, client: FlaskClient, make: Maker) -> None:
    order, token = make.order()
    _run_out(make, app, order, token)
    assert poll(client, order.poll_id)["ResultCode"] == "1032"
    make.deliver(token, success(order.total_kes))
    assert poll(client, order.poll_id)["ResultCode"] == "0"


def test_a_poll_id_comes_with_a_lost_push_and_the_same_cart_sends_no_second_one(
    client: FlaskClient, make: Maker
) -> None:
    with scripted_daraja(client.application) as daraja:
        daraja.pushes = [Reply(502, b"<html>Bad gateway</html>")]
        body, headers = cart((make.on_sale(), 1), phone=PHONE), make.headers(make.attendee())
        first, again = (client.post("/orders", json=body, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json["checkoutRequestID"] == again.json["checkoutRequestID"]
        assert daraja.count(PUSH) == 1


@pytest.mark.parametrize("poll_id", ["0" * 32, "null", "undefined", "ws_CO_191220191020363925", "1"])
def test_an_unknown_poll_id_is_404(client: FlaskClient, make: Maker, poll_id: str) -> None:
    make.order()
    answer = client.get(f"/payments/check/{poll_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
