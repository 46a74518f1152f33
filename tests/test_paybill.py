"""Money paid by hand to our Paybill: asked about before it moves, confirmed by M-PESA, never by who posts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from models import (
    Alert,
    MessageChannel,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    TicketType,
)
from services import booking, paybill
from tests.daraja.process import Simulator
from tests.later import Safaricom
from tests.scripted_daraja import REVERSAL, STATUS, scripted_daraja
from tests.support import Maker, cart, changed_settings, failure, new_receipt, success, together
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction
from utils.mpesa import daraja

ACCEPTED = {"ResultCode": "0", "ResultDesc": "Accepted"}
ACKNOWLEDGED = {"ResultCode": 0, "ResultDesc": "Accepted"}


def rejected(code: str) -> dict[str, str]:
    return {"ResultCode": code, "ResultDesc": "Rejected"}


@pytest.fixture
def safaricom(app: Flask) -> Iterator[Safaricom]:
    with scripted_daraja(app) as scripted:
        yield Safaricom(app, scripted)


@pytest.fixture
def order(make: Maker) -> Order:
    """Open, its only prompt failed, for one ticket of 500."""
    return unpaid(make)


def unpaid(make: Maker, ticket_type: TicketType | None = None) -> Order:
    order, token = make.order(make.attendee(), ticket_type)
    make.deliver(token, failure())
    return order


def address(app: Flask, kind: str) -> str:
    return f"/api/payment/c2b/{app.extensions['settings'].MPESA_C2B_SECRET}/{kind}"


def told(reference: object, amount: object = "500.00", receipt: str = "RKL51ZDR4F") -> dict[str, object]:
    """What Safaricom tells of a payment by hand."""
    return {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": f"{clock.now().astimezone(clock.NAIROBI):%Y%m%d%H%M%S}",
        "TransAmount": amount,
        "BusinessShortCode": "174379",
        "BillRefNumber": reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "25.00",
        "ThirdPartyTransID": "",
        "MSISDN": "2547 ***** 126",
        "FirstName": "NICHOLAS",
        "MiddleName": "",
        "LastName": "",
    }


def validate(app: Flask, body: object) -> Any:
    answer = app.test_client().post(address(app, "validation"), json=body)
    assert answer.status_code == 200
    return answer.json


def confirm(app: Flask, body: object) -> None:
    answer = app.test_client().post(address(app, "confirmation"), json=body)
    assert (answer.status_code, answer.json) == (200, ACKNOWLEDGED)


def ask_again(app: Flask) -> None:
    """The worker's look at confirmations, all of them due."""
    with app.app_context():
        with transaction() as session:
            session.execute(
                update(MpesaMessage).where(MpesaMessage.next_try_at.is_not(None)).values(next_try_at=clock.now())
            )
        paybill.ask_about_confirmations()


def asked(safaricom: Safaricom, count: int = 1) -> None:
    """Wait until M-PESA has been asked so often what a transaction is."""
    wait_until(lambda: len(safaricom.sent(STATUS)) == count)


def pay(safaricom: Safaricom, reference: str, *, amount: float = 500, receipt: str | None = None) -> str:
    """A payment by hand that M-PESA tells of and confirms; returns its receipt."""
    receipt = receipt or new_receipt()
    before = len(safaricom.sent(STATUS))
    confirm(safaricom.app, told(reference, f"{amount:.2f}", receipt))
    asked(safaricom, before + 1)
    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=amount, ReceiptNo=receipt)
    return receipt


# ── Before money moves ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("amount", ["500.00", "500", 500, 500.0])
def test_a_payment_of_an_open_order_is_welcome(app: Flask, order: Order, amount: object) -> None:
    assert validate(app, told(order.reference, amount)) == ACCEPTED


@pytest.mark.parametrize(
    "typed", ["1OV7K3QPM2", "10v7k3qpm2", " 10V7 K3QP M2 ", "1ov7-k3qp-m2", "lOu7k3qpm2", "I0U7K3QPM2", "10.v7.k3qpm2"]
)
def test_a_reference_is_understood_as_people_type_it(app: Flask, order: Order, typed: str) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(Order).where(Order.id == order.id).values(reference="10V7K3QPM2"))
    assert validate(app, told(typed)) == ACCEPTED


@pytest.mark.parametrize("amount", ["499.00", "501", "500.50", "5,00", "", None, "NaN", "1e999", True, [500]])
def test_another_amount_is_refused(app: Flask, order: Order, amount: object) -> None:
    assert validate(app, told(order.reference, amount)) == rejected("C2B00013")


@pytest.mark.parametrize("reference", ["KANISA", "---", "Ω", "x" * 90, 12345])
def test_a_reference_of_no_order_is_refused(app: Flask, order: Order, reference: object) -> None:
    assert validate(app, told(reference)) == rejected("C2B00012")


def test_an_order_that_is_over_takes_no_payment(app: Flask, make: Maker) -> None:
    expired = unpaid(make)
    with clock.set_to(expired.expires_at):
        assert validate(app, told(expired.reference)) == rejected("C2B00012")
    paid = make.paid_order()
    assert validate(app, told(paid.reference)) == rejected("C2B00012")
    cancelled, _ = make.order(buyer := make.attendee())
    with app.app_context():
        booking.cancel_order(actor=buyer, order_id=cancelled.id)
    assert validate(app, told(cancelled.reference)) == rejected("C2B00012")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"x"', b"\xff\xfe", b'{"BillRefNumber": null}', b"[" * 9000])
def test_a_question_that_cannot_be_read_is_refused(app: Flask, body: bytes) -> None:
    answer = app.test_client().post(address(app, "validation"), data=body)
    assert (answer.status_code, answer.json) == (200, rejected("C2B00016"))


def test_a_rush_of_buyers_keeps_no_payment_waiting(app: Flask, order: Order) -> None:
    """Safaricom waits for eight seconds; then it lets in whatever money comes, or none."""
    with app.app_context(), ExitStack() as taken:
        for _ in range(app.extensions["settings"].DATABASE_POOL):
            taken.enter_context(db.engine.connect())
        assert validate(app, told(order.reference)) == ACCEPTED
        assert validate(app, told(order.reference, 499)) == rejected("C2B00013")


@pytest.mark.parametrize("kind", ["validation", "confirmation"])
def test_only_who_knows_the_secret_is_heard(app: Flask, client: FlaskClient, order: Order, kind: str) -> None:
    body = told(order.reference)
    assert client.post(f"/api/payment/c2b/{'0' * 32}/{kind}", json=body).status_code == 404
    assert client.post(f"/api/payment/c2b/{kind}", json=body).status_code == 404
    right = address(app, kind)
    assert client.get(right).status_code == 405
    assert client.post(right, data=b" " * 70_000).status_code == 413
    with changed_settings(app, MPESA_C2B_SECRET=""):
        assert client.post(right, json=body).status_code == 404


# ── Confirmed by M-PESA ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_confirmation_alone_settles_nothing_and_mpesas_answer_does(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom
) -> None:
    confirm(app, told(order.reference))
    asked(safaricom)
    assert safaricom.sent(STATUS)[0]["TransactionID"] == "RKL51ZDR4F"
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])

    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=500.0, ReceiptNo="RKL51ZDR4F")
    paid = make.read_order(order.id)
    assert (paid.status, len(paid.tickets), paid.receipt) == (OrderStatus.PAID, 1, "RKL51ZDR4F")
    by_hand = paid.payments[-1]
    assert (by_hand.method, by_hand.status) == (PaymentMethod.PAYBILL, PaymentStatus.PAID)
    assert (by_hand.typed_reference, by_hand.payer) == (order.reference, "2547 ***** 126")
    assert {message.settled_at is not None for message in make.messages()} == {True}


def test_the_buyer_sees_money_paid_by_hand_on_the_order(
    app: Flask, client: FlaskClient, make: Maker, safaricom: Safaricom
) -> None:
    buyer = make.attendee()
    order, token = make.order(buyer)
    make.deliver(token, failure())
    receipt = pay(safaricom, order.reference)
    seen = client.get(f"/orders/{order.id}", headers=make.headers(buyer)).json
    assert (seen["status"], seen["mpesa_receipt"], seen["payments"][-1]["phone"]) == ("paid", receipt, None)


def test_what_mpesa_says_of_the_amount_counts(app: Flask, make: Maker, order: Order, safaricom: Safaricom) -> None:
    confirm(app, told(order.reference, "500.00"))
    asked(safaricom)
    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=5.0, ReceiptNo="RKL51ZDR4F")
    assert make.status(order.id) is OrderStatus.PENDING
    kept = make.payments(order.id)[-1]
    assert (kept.status, kept.amount_kes, kept.note) == (PaymentStatus.QUARANTINED, 5, "the amount is KES 5.0, not 500")


@pytest.mark.parametrize(
    "result",
    [
        {"code": 1},
        {"TransactionStatus": "Declined", "Amount": 500},
        {"TransactionStatus": "Completed"},
        {"TransactionStatus": "Completed", "Amount": 500, "ReceiptNo": "RKL51ZDR4G"},
    ],
    ids=["not found", "declined", "no amount", "another receipt"],
)
def test_what_mpesa_does_not_confirm_settles_nothing(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom, result: dict[str, Any]
) -> None:
    confirm(app, told(order.reference))
    asked(safaricom)
    safaricom.tell(STATUS, **result)
    assert (make.status(order.id), len(make.rows(Payment))) == (OrderStatus.PENDING, 1)
    # Asked again, and given up after two days, with a word to a person.
    ask_again(app)
    asked(safaricom, 2)
    with clock.set_to(clock.ahead(hours=49)):
        ask_again(app)
    assert len(safaricom.sent(STATUS)) == 2
    assert "confirmation_unconfirmed" in [alert.kind for alert in make.rows(Alert)]


def test_the_same_confirmation_many_times_at_once_is_one_payment(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom
) -> None:
    together(*[lambda: confirm(app, told(order.reference))] * 5)
    wait_until(lambda: len(safaricom.sent(STATUS)) == 5)
    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=500.0, ReceiptNo="RKL51ZDR4F")
    assert make.status(order.id) is OrderStatus.PAID
    assert len(make.tickets()) == 1
    assert len(make.payments(order.id)) == 2
    ask_again(app)
    wait_until(lambda: all(message.settled_at for message in make.messages()))


@pytest.mark.parametrize("body", [b"", b"{", b'{"TransID": "short", "TransAmount": "5"}', b"\xff" * 60_000])
def test_a_confirmation_that_cannot_be_read_is_kept_and_asked_nothing(
    app: Flask, make: Maker, safaricom: Safaricom, body: bytes
) -> None:
    answer = app.test_client().post(address(app, "confirmation"), data=body)
    assert (answer.status_code, answer.json) == (200, ACKNOWLEDGED)
    wait_until(lambda: make.messages()[0].settled_at)
    [message] = make.messages()
    assert (message.body, message.verdict) == (body, "Ignore: unreadable")
    assert safaricom.sent(STATUS) == []


# ── Forged ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_somebody_elses_receipt_that_is_known_gains_nothing(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom
) -> None:
    victim = make.paid_order()
    assert victim.receipt is not None
    confirm(app, told(order.reference, receipt=victim.receipt))
    wait_until(lambda: make.messages()[-1].settled_at)
    assert make.messages()[-1].verdict == "Ignore: known"
    assert safaricom.sent(STATUS) == []
    assert (make.status(order.id), len(make.payments(victim.id))) == (OrderStatus.PENDING, 1)


def test_a_real_receipt_told_with_two_references_waits_for_the_list_of_transactions(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom
) -> None:
    """Somebody saw the victim's receipt and was quick; M-PESA's status of it names no reference."""
    victim = unpaid(make)
    confirm(app, told(order.reference))
    asked(safaricom)
    confirm(app, told(victim.reference))
    asked(safaricom, 2)
    safaricom.tell(STATUS, TransactionStatus="Completed", Amount=500.0, ReceiptNo="RKL51ZDR4F")
    assert (make.status(order.id), make.status(victim.id)) == (OrderStatus.PENDING, OrderStatus.PENDING)


def test_a_confirmation_from_an_address_that_is_not_safaricoms_is_not_even_asked_about(
    app: Flask, make: Maker, order: Order, safaricom: Safaricom
) -> None:
    with changed_settings(app, MPESA_CALLBACK_ADDRESSES=["196.201.214.200"]):
        confirm(app, told(order.reference))
        wait_until(lambda: make.messages()[-1].tries == 1)
        assert safaricom.sent(STATUS) == []
    assert make.status(order.id) is OrderStatus.PENDING


# ── One payment, or two ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_callback_and_a_confirmation_with_one_receipt_are_one_payment(
    app: Flask, make: Maker, safaricom: Safaricom
) -> None:
    order, token = make.order()
    make.deliver(token, success(500, "RKL51ZDR4F"))
    confirm(app, told(order.reference))
    wait_until(lambda: make.messages()[-1].settled_at)
    paid = make.read_order(order.id)
    assert (paid.status, len(paid.payments), len(paid.tickets)) == (OrderStatus.PAID, 1, 1)
    assert make.rows(Refund) == []


def test_a_confirmation_makes_up_for_a_lost_callback_and_the_callback_may_still_come(
    make: Maker, safaricom: Safaricom
) -> None:
    order, token = make.order()
    receipt = pay(safaricom, order.reference)
    assert (make.status(order.id), make.read_order(order.id).receipt) == (OrderStatus.PAID, receipt)
    make.deliver(token, success(500, receipt))
    paid = make.read_order(order.id)
    assert (len(paid.payments), len(paid.tickets)) == (1, 1)
    assert make.rows(Refund) == []


def test_a_second_payment_under_another_receipt_goes_back(make: Maker, safaricom: Safaricom) -> None:
    order, token = make.order()
    make.deliver(token, success(500, "RKL51ZDR4F"))
    second = pay(safaricom, order.reference)
    [refund] = make.rows(Refund)
    assert (refund.amount_kes, refund.reason) == (500, "paid_twice")
    paid = make.read_order(order.id)
    assert (paid.status, paid.receipt, len(paid.tickets)) == (OrderStatus.PAID, "RKL51ZDR4F", 1)
    safaricom.work()
    assert [sent["TransactionID"] for sent in safaricom.sent(REVERSAL)] == [second]
    safaricom.tell(REVERSAL)
    assert make.status(order.id) is OrderStatus.PAID


def test_money_for_a_cancelled_order_goes_back(app: Flask, make: Maker, safaricom: Safaricom) -> None:
    buyer = make.attendee()
    order, token = make.order(buyer)
    make.deliver(token, failure())
    with app.app_context():
        booking.cancel_order(actor=buyer, order_id=order.id)
    receipt = pay(safaricom, order.reference)
    assert make.status(order.id) is OrderStatus.REFUND_DUE
    safaricom.work()
    assert [sent["TransactionID"] for sent in safaricom.sent(REVERSAL)] == [receipt]


def test_money_after_the_hold_still_becomes_tickets(make: Maker, safaricom: Safaricom) -> None:
    with clock.set_to(clock.ago(hours=1)):
        order = unpaid(make)
    pay(safaricom, order.reference)
    assert make.status(order.id) is OrderStatus.PAID


@pytest.mark.parametrize("reference", ["KANISA", "", "x" * 200])
def test_money_that_names_no_order_is_kept_for_a_person(make: Maker, safaricom: Safaricom, reference: str) -> None:
    pay(safaricom, reference, amount=250)
    [payment] = make.rows(Payment)
    assert (payment.order_id, payment.status, payment.amount_kes) == (None, PaymentStatus.QUARANTINED, 250)
    assert payment.note == "its reference names no order"
    assert "payment_quarantined" in [alert.kind for alert in make.rows(Alert)]


# ── With the simulator ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def paybill_open(app: Flask, simulator: Simulator) -> Simulator:
    """The simulator, told where to ask and tell."""
    base = app.extensions["settings"].PUBLIC_URL
    with app.app_context():
        answer = daraja.register_c2b(
            confirmation_url=base + address(app, "confirmation"), validation_url=base + address(app, "validation")
        )
    assert answer is not None
    assert json.loads(answer.body)["ResponseCode"] == "0"
    return simulator


def test_paying_by_hand_pays_the_order(make: Maker, order: Order, paybill_open: Simulator) -> None:
    receipt = paybill_open.pay_bill("254712345678", 500, order.reference.lower())
    wait_until(lambda: make.status(order.id) is OrderStatus.PAID)
    paid = make.read_order(order.id)
    assert (paid.receipt, len(paid.tickets)) == (receipt, 1)


def test_a_wrong_payment_by_hand_is_refused_before_money_moves(
    make: Maker, order: Order, paybill_open: Simulator
) -> None:
    assert paybill_open.pay_bill("254712345678", 499, order.reference) is None
    assert paybill_open.pay_bill("254712345678", 500, "KANISA") is None
    assert paybill_open.ledger() == []
    assert make.status(order.id) is OrderStatus.PENDING


def test_a_forged_confirmation_of_money_that_does_not_exist_gains_nothing(
    app: Flask, make: Maker, order: Order, paybill_open: Simulator
) -> None:
    url = app.extensions["settings"].PUBLIC_URL + address(app, "confirmation")
    assert paybill_open.forge(url, told(order.reference)) == 200
    wait_until(lambda: [one for one in make.messages() if one.channel is MessageChannel.RESULT and one.settled_at])
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])


def test_a_prompt_told_of_twice_is_one_payment(
    app: Flask, client: FlaskClient, make: Maker, paybill_open: Simulator
) -> None:
    body = cart((make.on_sale(), 1), phone="254700000033")
    order_id = client.post("/orders", json=body, headers=make.headers(make.attendee())).json["orderId"]
    wait_until(lambda: make.status(order_id) is OrderStatus.PAID)
    wait_until(lambda: [one for one in make.messages() if one.channel is MessageChannel.C2B])

    def all_settled() -> bool:
        ask_again(app)
        return all(message.settled_at for message in make.messages())

    wait_until(all_settled)
    paid = make.read_order(order_id)
    assert (len(paid.payments), len(paid.tickets), make.rows(Refund)) == (1, 1, [])
    with app.app_context():
        assert db.session.query(Payment).count() == 1
