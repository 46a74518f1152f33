"""What a message means: the pure judge, by table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product

import pytest

from models import PAYMENT_MOVES, MessageChannel, Payment, PaymentStatus
from services.judge import (
    AddReceipt,
    Ask,
    Fail,
    Ignore,
    Quarantine,
    Settle,
    StayOver,
    StayUnknown,
    Suspect,
    Verdict,
    judge,
)
from utils.mpesa_reports import FAILURES, Outcome, Report

CALLBACK, HINT, QUERY = MessageChannel.STK_CALLBACK, MessageChannel.STK_HINT, MessageChannel.STK_QUERY
SUBMITTING, PROMPTED, UNKNOWN = PaymentStatus.SUBMITTING, PaymentStatus.PROMPTED, PaymentStatus.UNKNOWN
REFUSED, FAILED = PaymentStatus.REFUSED, PaymentStatus.FAILED
PAID, QUARANTINED = PaymentStatus.PAID, PaymentStatus.QUARANTINED
OPEN = (SUBMITTING, PROMPTED, UNKNOWN)
OVER = (REFUSED, FAILED)

RECEIPT = "UKN7RT61SV"
COMPLETE = Report(Outcome.PAID, "0", amount=Decimal(500), receipt=RECEIPT)
BARE = Report(Outcome.PAID, "0")
CANCELLED = Report(Outcome.FAILED, "1032")
IN_FLIGHT = Report(Outcome.WAITING, "4999")
UNPUBLISHED = Report(Outcome.UNKNOWN, "7777")
UNREADABLE = Report(Outcome.UNREADABLE)


def a_payment(status: PaymentStatus, *, receipt: str | None = None, payment_id: int = 1) -> Payment:
    return Payment(
        id=payment_id,
        status=status,
        amount_kes=500,
        checkout_request_id="ws_CO_1",
        merchant_request_id="merchant-1",
        receipt=receipt,
    )


def verdict_on(status: PaymentStatus, channel: MessageChannel, report: Report) -> Verdict:
    payment = a_payment(status, receipt=RECEIPT if status is PAID else None)
    return judge(payment, [payment], channel, report)


def _rows() -> Iterator[tuple[PaymentStatus, MessageChannel, Report, type]]:
    for status, channel in product(OPEN + OVER, (CALLBACK, QUERY)):
        yield status, channel, COMPLETE, Settle
        yield status, channel, BARE, Settle if channel is QUERY else Ask
        yield status, channel, UNREADABLE, Ask
        yield status, channel, IN_FLIGHT, Ignore
    for status, channel in product(OPEN, (CALLBACK, QUERY)):
        yield status, channel, CANCELLED, Fail
        yield status, channel, UNPUBLISHED, StayUnknown
    for status in OVER:
        yield status, CALLBACK, CANCELLED, Ignore
        yield status, QUERY, CANCELLED, StayOver
        yield status, CALLBACK, UNPUBLISHED, Ignore
        yield status, QUERY, UNPUBLISHED, Ignore
    for status, channel, report in product(
        (PAID, QUARANTINED), (CALLBACK, QUERY), (COMPLETE, BARE, CANCELLED, IN_FLIGHT, UNPUBLISHED, UNREADABLE)
    ):
        yield status, channel, report, Ignore
    for status, report in product(PaymentStatus, (COMPLETE, BARE, CANCELLED, UNPUBLISHED, UNREADABLE)):
        yield status, HINT, report, Ask


@pytest.mark.parametrize(("status", "channel", "report", "expected"), list(_rows()))
def test_what_each_message_means_for_each_payment(
    status: PaymentStatus, channel: MessageChannel, report: Report, expected: type
) -> None:
    assert type(verdict_on(status, channel, report)) is expected


def test_a_verdict_carries_what_is_to_be_written() -> None:
    assert verdict_on(PROMPTED, CALLBACK, COMPLETE) == Settle(RECEIPT)
    assert verdict_on(PROMPTED, QUERY, BARE) == Settle(None)
    assert verdict_on(PROMPTED, CALLBACK, CANCELLED) == Fail("1032", FAILURES["1032"])
    assert verdict_on(PROMPTED, CALLBACK, UNPUBLISHED) == StayUnknown("7777")


@pytest.mark.parametrize("amount", ["499", "501", "500.01", "0", "-500", "1E+9999"])
@pytest.mark.parametrize("status", OPEN + OVER)
def test_another_amount_is_quarantined(status: PaymentStatus, amount: str) -> None:
    report = Report(Outcome.PAID, "0", amount=Decimal(amount), receipt=RECEIPT)
    assert isinstance(verdict_on(status, CALLBACK, report), Quarantine)


@pytest.mark.parametrize("amount", ["500", "500.0", "5E+2"])
def test_an_amount_is_compared_as_a_number(amount: str) -> None:
    report = Report(Outcome.PAID, "0", amount=Decimal(amount), receipt=RECEIPT)
    assert verdict_on(PROMPTED, CALLBACK, report) == Settle(RECEIPT)


@pytest.mark.parametrize("receipt", ["", "SHORT", "lowercase1", "UKN7RT61SVX", "UKN7RT61S!", "ЖЖЖЖЖЖЖЖЖЖ"])
def test_what_is_no_receipt_is_asked_about(receipt: str) -> None:
    report = Report(Outcome.PAID, "0", amount=Decimal(500), receipt=receipt)
    assert isinstance(verdict_on(PROMPTED, CALLBACK, report), Ask)


@pytest.mark.parametrize("status", [*OPEN, *OVER, PAID])
@pytest.mark.parametrize("outcome", [Outcome.PAID, Outcome.FAILED, Outcome.UNKNOWN, Outcome.WAITING])
@pytest.mark.parametrize(
    "ids", [{"checkout_request_id": "ws_CO_2"}, {"checkout_request_id": "ws_CO_1", "merchant_request_id": "merchant-2"}]
)
def test_other_ids_are_suspect(status: PaymentStatus, outcome: Outcome, ids: dict[str, str]) -> None:
    report = Report(outcome, "0", amount=Decimal(500), receipt=RECEIPT, **ids)
    assert isinstance(verdict_on(status, CALLBACK, report), Suspect)


def test_ids_we_never_learned_cannot_be_contradicted() -> None:
    payment = a_payment(UNKNOWN)
    payment.checkout_request_id = payment.merchant_request_id = None
    report = Report(
        Outcome.PAID,
        "0",
        checkout_request_id="ws_CO_9",
        merchant_request_id="merchant-9",
        amount=Decimal(500),
        receipt=RECEIPT,
    )
    assert judge(payment, [payment], CALLBACK, report) == Settle(RECEIPT)


@pytest.mark.parametrize(("channel", "report"), [(CALLBACK, COMPLETE), (QUERY, BARE)])
@pytest.mark.parametrize("status", OPEN + OVER)
def test_a_second_payment_of_an_order_is_quarantined(
    status: PaymentStatus, channel: MessageChannel, report: Report
) -> None:
    payment, paid = a_payment(status), a_payment(PAID, payment_id=2)
    assert isinstance(judge(payment, [paid, payment], channel, report), Quarantine)


@pytest.mark.parametrize("sibling", [status for status in PaymentStatus if status is not PAID])
def test_an_unpaid_sibling_is_in_nobodys_way(sibling: PaymentStatus) -> None:
    payment = a_payment(PROMPTED)
    assert judge(payment, [a_payment(sibling, payment_id=2), payment], CALLBACK, COMPLETE) == Settle(RECEIPT)


@pytest.mark.parametrize(
    ("known", "report", "expected"),
    [
        (None, COMPLETE, AddReceipt(RECEIPT)),
        (None, Report(Outcome.PAID, "0", receipt=RECEIPT), Ignore("a receipt without amount")),
        (None, BARE, Ignore("paid already")),
        (RECEIPT, COMPLETE, Ignore("paid already")),
        ("UKN0000AAA", COMPLETE, Suspect(f"a second receipt, {RECEIPT}, for one prompt")),
        (None, Report(Outcome.PAID, "0", amount=Decimal(1), receipt=RECEIPT), Suspect("the amount is KES 1, not 500")),
    ],
)
def test_a_paid_payment_takes_a_receipt_it_lacks_and_nothing_else(
    known: str | None, report: Report, expected: Verdict
) -> None:
    payment = a_payment(PAID, receipt=known)
    assert judge(payment, [payment], CALLBACK, report) == expected


#: Where a verdict takes a payment.
MOVES = {Settle: PAID, Fail: FAILED, StayUnknown: UNKNOWN, Quarantine: QUARANTINED}


def test_no_verdict_asks_for_a_forbidden_move() -> None:
    reports = [COMPLETE, BARE, CANCELLED, IN_FLIGHT, UNPUBLISHED, UNREADABLE]
    reports.append(Report(Outcome.PAID, "0", amount=Decimal(1), receipt=RECEIPT))
    for status, channel, report in product(PaymentStatus, MessageChannel, reports):
        target = MOVES.get(type(verdict_on(status, channel, report)))
        assert target is None or target is status or target in PAYMENT_MOVES[status]
