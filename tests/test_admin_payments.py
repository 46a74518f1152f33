"""What admins look up about payments, and decide about money that nothing else could decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from models import (
    Alert,
    AuditLog,
    MessageChannel,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    RequestKind,
    Ticket,
    TicketStatus,
)
from services import settlement
from tests.later import Safaricom
from tests.scripted_daraja import REVERSAL, STATUS, scripted_daraja
from tests.support import Maker, changed_settings, failure, new_receipt, success, together
from tests.waiting import wait_until
from utils import clock
from utils.database import transaction

Call = Callable[..., TestResponse]


@pytest.fixture
def safaricom(app: Flask) -> Iterator[Safaricom]:
    with scripted_daraja(app) as scripted:
        yield Safaricom(app, scripted)


@pytest.fixture
def ask(app: Flask, make: Maker) -> Call:
    """GET as an admin."""
    headers = make.headers(make.admin())
    return lambda path, **query: app.test_client().get(path, query_string=query, headers=headers)


@pytest.fixture
def tell(app: Flask, make: Maker) -> Call:
    """POST as an admin."""
    headers = make.headers(make.admin())
    return lambda path, **body: app.test_client().post(path, json=body, headers=headers)


def ids(answer: TestResponse) -> list[int]:
    assert answer.status_code == 200, answer.json
    return [one["id"] for one in answer.json or []]


def change(make: Maker, payment: Payment, **values: Any) -> None:
    with make.app.app_context(), transaction() as session:
        session.execute(update(Payment).where(Payment.id == payment.id).values(**values))


def read(make: Maker, payment: Payment) -> Payment:
    [found] = [one for one in make.rows(Payment) if one.id == payment.id]
    return found


# ── The list ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_payments_are_listed_newest_first_with_their_orders_and_masked_numbers(make: Maker, ask: Call) -> None:
    order = make.paid_order()
    waiting = make.suspense(250)
    lost, paid = ask("/admin/payments").json
    assert (paid["id"], paid["status"], paid["receipt"]) == (order.payments[0].id, "paid", order.receipt)
    assert paid["order"] == {"id": order.id, "order_id": order.reference, "status": "paid", "total_amount": 500}
    assert paid["phone"] == f"{order.phone[:6]}***{order.phone[-3:]}"
    assert paid["paid_through"] == "stk_callback"
    assert (lost["id"], lost["order"], lost["phone"], lost["payer"]) == (waiting.id, None, None, "254799***111")
    assert (lost["method"], lost["typed_reference"], lost["amount"]) == ("paybill", "KANISA", 250)


def test_payments_are_found_by_what_people_know_of_them(make: Maker, ask: Call) -> None:
    order = make.paid_order(make.attendee(phone="254712345678"))
    [payment] = order.payments
    make.paid_order()
    by_hand = make.suspense()
    assert ids(ask("/admin/payments", status="quarantined")) == [by_hand.id]
    assert ids(ask("/admin/payments", receipt=f" {order.receipt} ".lower())) == [payment.id]
    for phone in ("0712345678", "0712 345 678", "+254 712 345 678", "712345678"):
        assert ids(ask("/admin/payments", phone=phone)) == [payment.id]
    assert ids(ask("/admin/payments", phone="0799000111")) == [by_hand.id]
    for name in (order.reference, order.reference.lower(), f"{order.reference[:4]} {order.reference[4:]}", order.id):
        assert ids(ask("/admin/payments", order=name)) == [payment.id]
    for nothing in ({"order": "KANISA"}, {"order": 9**18}, {"order": "9" * 50}, {"receipt": new_receipt()}):
        assert ids(ask("/admin/payments", **nothing)) == []
    assert len(ids(ask("/admin/payments", receipt="", phone="", order=""))) == 3


def test_days_are_nairobis_and_meant_to_their_end(make: Maker, ask: Call) -> None:
    payment = make.suspense()
    # A quarter to midnight in Nairobi, still afternoon of the same day in Greenwich.
    change(make, payment, created_at=datetime(2026, 3, 1, 20, 45, tzinfo=timezone.utc))
    for found in (
        {"from": "2026-03-01", "to": "2026-03-01"},
        {"to": "2026-03-01T23:45:59"},
        {"from": "2026-03-01T23:45"},
    ):
        assert ids(ask("/admin/payments", **found)) == [payment.id]
    for missed in ({"from": "2026-03-02"}, {"to": "2026-02-28"}, {"to": "2026-03-01T23:44"}):
        assert ids(ask("/admin/payments", **missed)) == []


@pytest.mark.parametrize(
    "query",
    [{"status": "lost"}, {"receipt": "short"}, {"phone": "12"}, {"from": "yesterday"}, {"x": "1"}, {"page": "0"}],
)
def test_what_makes_no_sense_is_refused(ask: Call, query: dict[str, str]) -> None:
    assert ask("/admin/payments", **query).status_code == 422


def test_the_list_is_paged(make: Maker, ask: Call) -> None:
    waiting = [make.suspense() for _ in range(3)]
    answer = ask("/admin/payments", per_page=2, page=2)
    assert (ids(answer), answer.headers["X-Total-Count"]) == ([waiting[0].id], "3")


# ── The story ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payments_story_is_told_in_order(make: Maker, ask: Call, tell: Call, safaricom: Safaricom) -> None:
    order = make.paid_order()
    [payment] = order.payments
    assert tell(f"/orders/{order.id}/refund").status_code == 200
    safaricom.work()
    safaricom.tell(REVERSAL)
    told = ask(f"/admin/payments/{payment.id}").json
    assert (told["id"], told["receipt"], told["refunded"]) == (payment.id, order.receipt, 500)
    story = told["story"]
    assert [line["at"] for line in story] == sorted(line["at"] for line in story)
    told_by = [(line["kind"], line["what"]) for line in story if line["kind"] != "audit"]
    assert told_by == [
        ("message", "stk_callback"),
        ("refund", "reversal"),
        ("request", "reversal"),
        ("message", "result"),
    ]
    done = [line["what"] for line in story if line["kind"] == "audit"]
    assert {"order_placed", "payment_received", "order_refund_started", "refund_started", "refund_done"} <= set(done)
    [asked_for] = [line for line in story if line["what"] == "order_refund_started"]
    assert asked_for["user_id"] is not None
    assert [line["status"] for line in story if line["kind"] == "message"] == ["Settle", "GoneBack"]


def test_a_story_shows_nobodys_number(make: Maker, ask: Call) -> None:
    order, token = make.order(make.attendee(phone="254712345678"))
    body = success(500).replace(b'"Balance"', b'"Balance"}, {"Name": "PhoneNumber", "Value": 254712345678')
    body = body.replace(b"{", b'{"CheckoutRequestID": "ws_CO_24112026101500123712345678", "Other": "0722000111", ', 1)
    make.deliver(token, body)
    told = ask(f"/admin/payments/{order.payments[0].id}")
    assert told.status_code == 200
    assert "712345678" not in told.text
    assert "0722000111" not in told.text
    [message] = [line for line in told.json["story"] if line["kind"] == "message"]
    for masked in ("254712***678", "ws_CO_24112026101500123712***678", "0722***111"):
        assert masked in message["text"]


def test_a_story_shows_bytes_that_are_no_text_and_cuts_what_is_long(make: Maker, ask: Call) -> None:
    order, token = make.order()
    make.deliver(token, b"\xff\x00" + b"x" * 60_000)
    [message] = [
        line for line in ask(f"/admin/payments/{order.payments[0].id}").json["story"] if line["kind"] == "message"
    ]
    assert message["text"].startswith("\ufffd\x00xxx")
    assert len(message["text"]) == 4_000


def test_a_long_story_ends_with_the_present(make: Maker, ask: Call) -> None:
    order, _ = make.order()
    [payment] = order.payments
    with make.app.app_context(), transaction():
        for number in range(600):
            settlement.store(payment.id, MessageChannel.STK_QUERY, f"answer {number}".encode())
    story = ask(f"/admin/payments/{payment.id}").json["story"]
    assert (len(story), story[-1]["text"]) == (500, "answer 599")


def test_there_is_no_story_of_a_payment_that_does_not_exist(ask: Call) -> None:
    assert ask("/admin/payments/999").status_code == 404


# ── Asking again ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_without_receipt_is_asked_about_at_once(make: Maker, tell: Call, safaricom: Safaricom) -> None:
    order, token = make.order()
    make.deliver(token, failure(checkout="ws_CO_1"))
    [payment] = order.payments
    answer = tell(f"/admin/payments/{payment.id}/recheck")
    assert (answer.status_code, answer.json["id"]) == (202, payment.id)
    next_query_at = read(make, payment).next_query_at
    assert next_query_at is not None
    assert next_query_at <= clock.now()
    assert safaricom.sent(STATUS) == []
    assert [line.action for line in make.rows(AuditLog)][-1] == "payment_rechecked"


def test_a_payment_with_a_receipt_is_asked_about_by_it(make: Maker, tell: Call, safaricom: Safaricom) -> None:
    order = make.paid_order()
    [payment] = order.payments
    assert tell(f"/admin/payments/{payment.id}/recheck").status_code == 202
    [sent] = safaricom.sent(STATUS)
    assert sent["TransactionID"] == order.receipt
    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=500, ReceiptNo=order.receipt)
    assert read(make, payment).status is PaymentStatus.PAID
    assert make.status(order.id) is OrderStatus.PAID


def test_money_that_mpesa_took_back_ends_its_tickets_and_is_told_of(
    make: Maker, ask: Call, tell: Call, safaricom: Safaricom
) -> None:
    order = make.paid_order(quantity=2)
    [payment] = order.payments
    used = order.tickets[0]
    with make.app.app_context(), transaction() as session:
        session.get_one(Ticket, used.id).status = TicketStatus.USED
    tell(f"/admin/payments/{payment.id}/recheck")
    safaricom.tell(STATUS, TransactionStatus="Reversed", Amount=1000, ReceiptNo=order.receipt)
    assert read(make, payment).status is PaymentStatus.REVERSED
    assert [ticket.status for ticket in make.tickets()] == [TicketStatus.USED, TicketStatus.VOID]
    assert make.status(order.id) is OrderStatus.REFUNDED
    assert make.rows(Refund) == []
    assert [alert.kind for alert in make.rows(Alert)] == ["payment_reversed"]
    [waiting] = ask("/admin/suspense").json
    assert (waiting["id"], waiting["status"], waiting["order"]["id"]) == (payment.id, "reversed", order.id)


def test_what_cannot_be_asked_about_is_looked_for_in_the_list(make: Maker, tell: Call, safaricom: Safaricom) -> None:
    order, _ = make.order()
    assert tell(f"/admin/payments/{order.payments[0].id}/recheck").status_code == 202
    assert make.rows(MpesaRequest) == []
    assert tell("/admin/payments/999/recheck").status_code == 404


def test_without_an_initiator_the_prompt_itself_is_asked_about(
    app: Flask, make: Maker, tell: Call, safaricom: Safaricom
) -> None:
    order, token = make.order()
    make.deliver(token, success(500, new_receipt(), checkout="ws_CO_1"))
    with changed_settings(app, MPESA_INITIATOR_NAME=""):
        assert tell(f"/admin/payments/{order.payments[0].id}/recheck").status_code == 202
    assert read(make, order.payments[0]).next_query_at is not None
    assert safaricom.sent(STATUS) == []


# ── Attaching ─────────────────────────────────────────────────────────────────────────────────────────────────────


def unpaid(make: Maker) -> Order:
    order, token = make.order()
    make.deliver(token, failure())
    return order


@pytest.mark.parametrize("name", ["reference", "typed reference", "id", "id as text"])
def test_money_in_suspense_is_attached_to_an_order_and_pays_it(make: Maker, ask: Call, tell: Call, name: str) -> None:
    order, payment = unpaid(make), make.suspense()
    named = {
        "reference": order.reference,
        "typed reference": order.reference.lower(),
        "id": order.id,
        "id as text": str(order.id),
    }[name]
    assert ids(ask("/admin/suspense")) == [payment.id]
    answer = tell(f"/admin/payments/{payment.id}/attach", order=named)
    assert (answer.status_code, answer.json["status"], answer.json["order"]["status"]) == (200, "paid", "paid")
    paid = make.read_order(order.id)
    assert (len(paid.tickets), paid.receipt) == (1, payment.receipt)
    assert ids(ask("/admin/suspense")) == []
    [line] = [line for line in make.rows(AuditLog) if line.action == "payment_attached"]
    assert (line.user_id is not None, line.details["order"]) == (True, order.id)
    again = tell(f"/admin/payments/{payment.id}/attach", order=named)
    assert (again.status_code, again.json["code"]) == (409, "not_in_quarantine")


def test_only_the_right_money_is_attached(make: Maker, tell: Call) -> None:
    order, payment = unpaid(make), make.suspense(499)
    address = f"/admin/payments/{payment.id}/attach"
    assert tell(address, order=order.reference).json["code"] == "amount_differs"
    assert tell(address, order="KANISA").status_code == 404
    assert tell(address, order=9999).status_code == 404
    assert tell("/admin/payments/999/attach", order=order.id).status_code == 404
    for body in ({}, {"order": ""}, {"order": None}, {"order": True}, {"order": [1]}):
        assert tell(address, **body).status_code == 422
    paid = make.paid_order()
    answer = tell(f"/admin/payments/{paid.payments[0].id}/attach", order=order.id)
    assert answer.json["code"] == "not_in_quarantine"
    assert make.status(order.id) is OrderStatus.PENDING


def test_money_attached_to_an_order_that_is_paid_goes_back(make: Maker, tell: Call, safaricom: Safaricom) -> None:
    order, payment = make.paid_order(), make.suspense()
    assert tell(f"/admin/payments/{payment.id}/attach", order=order.id).status_code == 200
    [refund] = make.rows(Refund)
    assert (refund.payment_id, refund.reason) == (payment.id, "paid_twice")
    safaricom.work()
    assert safaricom.sent(REVERSAL)[0]["TransactionID"] == payment.receipt


def test_money_attached_to_two_orders_at_once_pays_one(make: Maker, tell: Call) -> None:
    orders, payment = [unpaid(make), unpaid(make)], make.suspense()
    address = f"/admin/payments/{payment.id}/attach"
    answers = together(*[lambda order=order: tell(address, order=order.id) for order in orders])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(make.tickets()) == 1


# ── Sending back ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_money_in_suspense_is_sent_back(make: Maker, ask: Call, tell: Call, safaricom: Safaricom) -> None:
    payment = make.suspense(250)
    address = f"/admin/payments/{payment.id}/refund"
    assert (tell(address).json["refunded"], tell(address).json["code"]) == (250, "not_in_quarantine")
    assert ids(ask("/admin/suspense")) == []
    safaricom.work()
    [sent] = safaricom.sent(REVERSAL)
    assert (sent["TransactionID"], sent["Amount"]) == (payment.receipt, 250)
    safaricom.tell(REVERSAL)
    [refund] = ask("/admin/refunds", status="done").json
    assert (refund["payment_id"], refund["order"], refund["reason"]) == (payment.id, None, "quarantined")
    assert (refund["payment_receipt"], refund["receipt"]) == (payment.receipt, "SG632NMUAB")
    assert ask("/admin/refunds", status="requested").json == []


def test_money_asked_back_many_times_at_once_goes_back_once(make: Maker, tell: Call) -> None:
    payment = make.suspense()
    answers = together(*[lambda: tell(f"/admin/payments/{payment.id}/refund")] * 5)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 4
    assert len(make.rows(Refund)) == 1


def test_money_attached_and_sent_back_at_once_does_one_of_both(make: Maker, tell: Call) -> None:
    order, payment = unpaid(make), make.suspense()
    answers = together(
        lambda: tell(f"/admin/payments/{payment.id}/refund"),
        lambda: tell(f"/admin/payments/{payment.id}/attach", order=order.id),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len(make.rows(Refund)) + len(make.tickets()) == 1


def test_only_quarantined_money_with_a_receipt_is_sent_back_by_this(make: Maker, tell: Call) -> None:
    paid = make.paid_order()
    assert tell(f"/admin/payments/{paid.payments[0].id}/refund").json["code"] == "not_in_quarantine"
    assert tell("/admin/payments/999/refund").status_code == 404
    payment = make.suspense()
    order, token = make.order()
    make.deliver(token, success(499, "nonsense"))
    [odd] = make.payments(order.id)
    assert odd.status is PaymentStatus.QUARANTINED
    assert tell(f"/admin/payments/{odd.id}/refund").json["code"] == "receipt_unknown"
    assert read(make, payment).refunded_kes == 0


def test_suspense_is_listed_longest_waiting_first_with_reasons(make: Maker, ask: Call) -> None:
    first = make.suspense()
    order, token = make.order()
    make.deliver(token, success(499, new_receipt()))
    make.paid_order()
    waiting = ask("/admin/suspense").json
    assert [one["id"] for one in waiting] == [first.id, order.payments[0].id]
    assert [one["note"] for one in waiting] == ["its reference names no order", "the amount is KES 499.0, not 500"]
    assert waiting[1]["order"]["id"] == order.id


def test_money_whose_receipt_or_amount_is_not_certain_is_not_attached(make: Maker, tell: Call) -> None:
    """A prompt's amount is what we asked for; what came of it may have been another, or have been counted already."""
    order, token = make.order()
    make.deliver(token, success(1, "UKN00000ZZ"))
    [payment] = make.payments(order.id)
    address = f"/admin/payments/{payment.id}/attach"
    assert tell(address, order=order.id).json["code"] == "amount_unconfirmed"
    change(make, payment, receipt=None)
    assert tell(address, order=order.id).json["code"] == "receipt_unknown"
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])
    change(make, payment, receipt="UKN00000ZZ", reconciled_at=clock.now())
    assert tell(address, order=order.id).status_code == 200
    assert make.status(order.id) is OrderStatus.PAID


def test_what_needs_nothing_more_is_taken_off_the_suspense_list(make: Maker, ask: Call, tell: Call) -> None:
    order, waiting = make.paid_order(), make.suspense()
    [payment] = order.payments
    change(make, payment, note="A message was not believed.")
    assert ids(ask("/admin/suspense")) == [payment.id, waiting.id]
    assert tell(f"/admin/payments/{payment.id}/seen").json["note"] is None
    assert ids(ask("/admin/suspense")) == [waiting.id]
    refused = tell(f"/admin/payments/{waiting.id}/seen")
    assert (refused.status_code, refused.json["code"]) == (409, "in_quarantine")
    assert tell("/admin/payments/999/seen").status_code == 404
    [line] = [line for line in make.rows(AuditLog) if line.action == "payment_seen"]
    assert (line.target_id, line.details) == (payment.id, {"note": "A message was not believed."})


# ── Refunds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_refund_is_retried_or_sent_by_hand(make: Maker, ask: Call, tell: Call) -> None:
    first, second = make.failed_refund(), make.failed_refund()
    assert ids(ask("/admin/refunds", status="refund_failed")) == [second.id, first.id]
    assert ids(ask("/admin/refunds")) == [second.id, first.id]
    assert tell(f"/admin/refunds/{first.id}/retry").json["status"] == "requested"
    address = f"/admin/refunds/{second.id}/by-hand"
    for receipt in ("", "SG632NMUA", "SG632NMUAB1", "SG632NMU-B", None, 5):
        assert tell(address, receipt=receipt).status_code == 422
    answer = tell(address, receipt="sg632nmuab")
    assert (answer.json["status"], answer.json["receipt"]) == ("done", "SG632NMUAB")
    assert make.status(second.order_id or 0) is OrderStatus.REFUNDED
    assert tell(address, receipt="SG632NMUAB").json["code"] == "refund_not_by_hand"
    assert tell(f"/admin/refunds/{second.id}/retry").json["code"] == "refund_not_failed"
    done = {line.action: line.user_id for line in make.rows(AuditLog)}
    assert done["refund_retried"] is not None
    assert done["refund_sent_by_hand"] is not None


def test_a_refund_that_does_not_exist_is_not_found(ask: Call, tell: Call) -> None:
    assert tell("/admin/refunds/999/retry").status_code == 404
    assert tell("/admin/refunds/999/by-hand", receipt="SG632NMUAB").status_code == 404
    assert ask("/admin/refunds", status="lost").status_code == 422


def test_a_refund_retried_and_sent_by_hand_at_once_does_one_of_both(make: Maker, tell: Call) -> None:
    refund = make.failed_refund()
    answers = together(
        lambda: tell(f"/admin/refunds/{refund.id}/retry"),
        lambda: tell(f"/admin/refunds/{refund.id}/by-hand", receipt="SG632NMUAB"),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    [one] = make.rows(Refund)
    assert one.status in (RefundStatus.DONE, RefundStatus.REQUESTED)


def test_a_question_about_a_payment_is_written_down(make: Maker, tell: Call, safaricom: Safaricom) -> None:
    payment = make.suspense()
    tell(f"/admin/payments/{payment.id}/recheck")
    [request] = make.rows(MpesaRequest)
    assert (request.kind, request.receipt) == (RequestKind.STATUS, payment.receipt)
    wait_until(lambda: make.rows(MpesaRequest)[0].conversation_id)
