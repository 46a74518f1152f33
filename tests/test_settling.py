"""From stored messages to verdicts: what is tried again, asked about once more, and told to a person."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.event import listen, remove

from models import Alert, AuditLog, MessageChannel, MpesaLine, Order, OrderStatus, Payment, PaymentStatus, Refund
from services import locks, paybill, prompts, pulls, queries, refunds, settlement
from services.judge import AWAITS_RECEIPTS
from tests.scripted_daraja import PUSH, QUERY, Seen, query_result, scripted_daraja
from tests.support import Maker, cart, changed_settings, failure, new_receipt, success
from tests.waiting import wait_until
from utils import clock
from utils.database import db, do_last, transaction
from utils.mpesa_reports import MoneyIn


def change(make: Maker, payment: Payment, **values: object) -> None:
    with make.app.app_context(), transaction() as session:
        session.execute(update(Payment).where(Payment.id == payment.id).values(**values))


def list_money(make: Maker, order: Order, receipt: str, *, payer: str | None = None) -> None:
    """M-PESA's list shows money that names the order."""
    money = MoneyIn(receipt, Decimal(order.total_kes), order.reference, at=clock.now(), payer=payer)
    with make.app.app_context(), transaction():
        paybill.settle_money(money, channel=MessageChannel.PULL, received_at=clock.now())


def alerts_of(make: Maker, kind: str) -> list[str]:
    return [alert.message for alert in make.rows(Alert) if alert.kind == kind]


def test_the_row_that_buyers_wait_for_is_locked_last(app: Flask, make: Maker) -> None:
    order, token = make.order()
    with app.app_context():
        message_id = settlement.receive_callback(token=token, body=success(500), remote_address="127.0.0.1")
        written: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if not statement.lstrip().startswith("SELECT"):
                written.append(" ".join(statement.split()[:2]))

        listen(db.engine, "before_cursor_execute", note)
        try:
            assert settlement.settle_message(message_id)
        finally:
            remove(db.engine, "before_cursor_execute", note)
    assert written[-1] == "UPDATE ticket_types"
    assert written.count("UPDATE ticket_types") == 1
    assert {"INSERT INTO", "UPDATE orders", "UPDATE payments", "UPDATE mpesa_messages"} <= {*written}
    assert make.status(order.id) is OrderStatus.PAID


def test_what_is_to_be_done_last_needs_a_transaction_to_be_last_of(app: Flask) -> None:
    done: list[str] = []

    def fail() -> None:
        do_last(lambda: done.append("never"))
        raise ZeroDivisionError

    with app.app_context():
        with transaction():
            do_last(lambda: done.append("last"))
            done.append("first")
        assert done == ["first", "last"]
        with pytest.raises(KeyError):
            do_last(lambda: done.append("never"))
        with pytest.raises(ZeroDivisionError), transaction():
            fail()
        with transaction():
            pass
    assert done == ["first", "last"]


# ── What cannot be settled ────────────────────────────────────────────────────────────────────────────────────────


def test_admins_are_told_once_of_a_message_that_cannot_be_settled(
    app: Flask, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, token = make.order()

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    with app.app_context():
        message_id = settlement.receive_callback(token=token, body=success(500), remote_address="127.0.0.1")
        with monkeypatch.context() as patched:
            patched.setattr(settlement, "_settle_about_prompt", fail)
            for tries in range(1, 8):
                assert not settlement.try_to_settle(message_id)
                assert len(alerts_of(make, "message_unsettled")) == (tries >= 5)
        assert settlement.try_to_settle(message_id)
    assert make.status(order.id) is OrderStatus.PAID


# ── What is asked once more ───────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_that_failed_is_asked_about_once_more_and_a_lost_success_is_found(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(1037, checkout="ws_CO_1"))
    assert make.payments(order.id)[0].status is PaymentStatus.FAILED
    with scripted_daraja(app) as daraja, app.app_context():
        daraja.queries = [query_result("0", "ws_CO_1")]
        assert queries.query_due_payments() == 0
        with clock.set_to(clock.ahead(seconds=121)):
            assert queries.query_due_payments() == 1
        assert daraja.count(QUERY) == 1
    assert make.status(order.id) is OrderStatus.PAID


def test_a_callback_from_elsewhere_teaches_what_to_ask_about_and_no_more(app: Flask, make: Maker) -> None:
    order, token = make.order()
    with changed_settings(app, MPESA_CALLBACK_ADDRESSES=["196.201.214.200"]):
        make.deliver(token, success(500, "UKN00000AA", checkout="ws_CO_7"))
    [payment] = make.payments(order.id)
    assert (payment.status, payment.checkout_request_id) == (PaymentStatus.SUBMITTING, "ws_CO_7")
    assert payment.next_query_at is not None
    assert make.tickets() == []


# ── What nobody hears of ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_unheard_of_since_yesterday_is_for_a_person(app: Flask, make: Maker) -> None:
    order, _ = make.order()
    [payment] = make.payments(order.id)
    change(make, payment, status=PaymentStatus.UNKNOWN)
    with app.app_context():
        assert queries.note_unheard_prompts() == 0
        with clock.set_to(clock.ahead(hours=25)):
            assert [queries.note_unheard_prompts() for _ in range(2)] == [1, 0]
    assert "M-PESA never said" in (make.payments(order.id)[0].note or "")
    assert len(alerts_of(make, "payment_silent")) == 1
    change(make, payment, note=None, seen_at=clock.now())
    with app.app_context(), clock.set_to(clock.ahead(hours=26)):
        assert queries.note_unheard_prompts() == 0


def test_a_message_that_is_not_believed_is_told_to_admins(make: Maker) -> None:
    order, token = make.order()
    change(make, order.payments[0], checkout_request_id="ws_CO_1")
    make.deliver(token, success(500, "UKN00000AA", checkout="ws_CO_2"))
    assert len(alerts_of(make, "message_suspected")) == 1
    assert make.status(order.id) is OrderStatus.PENDING


def test_a_callback_that_overtakes_the_push_and_names_another_prompt_is_told_to_admins(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    def post(seen: Seen) -> None:
        if seen.path == PUSH:
            app.test_client().post(
                urlsplit(seen.body["CallBackURL"]).path, data=success(500, "UKN00000AA", checkout="ws_CO_foreign")
            )
            wait_until(lambda: make.messages()[0].settled_at)

    with scripted_daraja(app) as daraja:
        daraja.before_answering = post
        answer = client.post("/orders", json=cart((make.on_sale(price=500), 1)), headers=make.headers(make.attendee()))
    [payment] = make.payments(answer.json["orderId"])
    assert "names another prompt" in (payment.note or "")
    assert len(alerts_of(make, "message_suspected")) == 1


# ── Second payments, and what only seems to be one ────────────────────────────────────────────────────────────────


def _prompted_twice(make: Maker) -> tuple[Order, Payment, Payment]:
    """An order whose first prompt nobody answered, and which got another."""
    with clock.set_to(clock.ago(minutes=3)):
        order, _ = make.order()
    with make.app.app_context(), transaction():
        prompts.open_prompt(locks.lock_order(order.id))
    first, second = make.payments(order.id)
    return order, first, second


def test_listed_money_is_that_of_the_prompt_that_was_on_the_phone_last(make: Maker) -> None:
    order, _first, second = _prompted_twice(make)
    list_money(make, order, "UKN00000AB")
    assert [one.receipt for one in make.payments(order.id)] == [None, "UKN00000AB"]
    make.settle_query(second.id, b'{"ResultCode": "0"}')
    assert [one.status for one in make.payments(order.id)] == [PaymentStatus.SUBMITTING, PaymentStatus.PAID]
    assert make.rows(Refund) == []


def _seems_paid_twice(make: Maker) -> tuple[Order, Payment]:
    """The second prompt adopted the money of the first, of which a query then says that it was paid."""
    order, first, _second = _prompted_twice(make)
    list_money(make, order, "UKN00000AB")
    make.settle_query(first.id, b'{"ResultCode": "0"}')
    [seeming] = [one for one in make.payments(order.id) if one.id == first.id]
    assert (seeming.status, seeming.note) == (PaymentStatus.QUARANTINED, AWAITS_RECEIPTS)
    return order, seeming


def _read_list_until(make: Maker, **ahead: float) -> None:
    with make.app.app_context(), transaction() as session:
        session.merge(MpesaLine(id=1, pulled_until=clock.ahead(**ahead)))


def test_a_second_payment_that_the_list_does_not_show_was_none(app: Flask, make: Maker) -> None:
    order, seeming = _seems_paid_twice(make)
    _read_list_until(make, minutes=30)
    with app.app_context():
        assert pulls.close_counted() == 0
    _read_list_until(make, minutes=61)
    with app.app_context():
        assert [pulls.close_counted() for _ in range(2)] == [1, 0]
    [closed] = [one for one in make.payments(order.id) if one.id == seeming.id]
    assert (closed.status, closed.note, closed.refunded_kes) == (PaymentStatus.FAILED, None, 0)
    assert (make.status(order.id), len(make.tickets()), make.rows(Refund)) == (OrderStatus.PAID, 1, [])
    assert "payment_counted_once" in [line.action for line in make.rows(AuditLog)]


def test_a_second_payment_whose_callback_names_the_first_ones_receipt_was_none(app: Flask, make: Maker) -> None:
    with clock.set_to(clock.ago(minutes=3)):
        order, token = make.order()
    make.deliver(token, failure(1037, checkout="ws_CO_1"))  # M-PESA took it back a moment later: the buyer had paid
    list_money(make, order, "UKN00000AB")
    [prompt, _paybill] = make.payments(order.id)
    make.settle_query(prompt.id, b'{"ResultCode": "0"}')
    assert make.payments(order.id)[0].note == AWAITS_RECEIPTS
    make.deliver(token, success(order.total_kes, "UKN00000AB", checkout="ws_CO_1"))
    [prompt, paybill] = make.payments(order.id)
    assert (prompt.status, prompt.note, prompt.receipt) == (PaymentStatus.FAILED, None, None)
    assert (paybill.status, paybill.receipt) == (PaymentStatus.PAID, "UKN00000AB")
    assert (make.status(order.id), len(make.tickets()), make.rows(Refund)) == (OrderStatus.PAID, 1, [])
    assert "payment_counted_once" in [line.action for line in make.rows(AuditLog)]
    assert alerts_of(make, "message_suspected") == []


def test_a_second_payment_whose_callback_names_another_orders_receipt_stays_for_a_person(make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(1037, checkout="ws_CO_1"))
    list_money(make, order, "UKN00000AB")
    make.settle_query(make.payments(order.id)[0].id, b'{"ResultCode": "0"}')
    other = make.paid_order()
    make.deliver(token, success(order.total_kes, other.receipt, checkout="ws_CO_1"))
    [seeming, _paybill] = make.payments(order.id)
    assert (seeming.status, seeming.receipt) == (PaymentStatus.QUARANTINED, None)
    assert "belongs to another payment" in (seeming.note or "")
    assert len(alerts_of(make, "message_suspected")) == 1
    assert make.read_order(other.id).receipt == other.receipt


def test_a_second_payment_whose_receipt_turns_up_after_all_goes_back(app: Flask, make: Maker) -> None:
    order, _seeming = _seems_paid_twice(make)
    _read_list_until(make, minutes=61)
    with app.app_context():
        pulls.close_counted()
    list_money(make, order, "UKN00000AC")
    [refund] = make.rows(Refund)
    assert (refund.amount_kes, refund.reason) == (order.total_kes, "paid_twice")
    assert (make.status(order.id), len(make.tickets())) == (OrderStatus.PAID, 1)


def test_a_second_payment_that_the_list_does_show_goes_back(app: Flask, make: Maker) -> None:
    order, seeming = _seems_paid_twice(make)
    list_money(make, order, "UKN00000AC")
    _read_list_until(make, minutes=61)
    with app.app_context():
        assert pulls.close_counted() == 0
    [refund] = make.rows(Refund)
    assert (refund.payment_id, refund.reason) == (seeming.id, "paid_twice")


# ── Whose phone a part of it goes to ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("payer", "method"), [("254799000111", "by_hand"), ("2547 ***** 111", "by_hand"), (None, "by_hand"), ("own", "b2c")]
)
def test_a_part_of_money_that_somebody_else_paid_by_hand_never_goes_to_the_prompted_phone(
    app: Flask, make: Maker, payer: str | None, method: str
) -> None:
    """The prompt went to a number somebody mistyped; then the Paybill was paid."""
    order, _ = make.order(quantity=2)
    list_money(make, order, new_receipt(), payer=order.phone if payer == "own" else payer)
    tickets = make.tickets()
    with app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=[tickets[0].id])
    [refund] = make.rows(Refund)
    assert (refund.amount_kes, refund.method.value) == (500, method)
