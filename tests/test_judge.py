"""What a message means: the pure judge, by table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from models import (
    PAYMENT_MOVES,
    MessageChannel,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    RequestKind,
)
from services.judge import (
    AWAITS_RECEIPTS,
    AddReceipt,
    Adopt,
    Ask,
    Confirmed,
    Fail,
    GoneBack,
    Ignore,
    NotGoneBack,
    Open,
    OpenQuarantined,
    OpenSurplus,
    Quarantine,
    SendAgain,
    Settle,
    StayOver,
    StayUnknown,
    Surplus,
    Suspect,
    TakenBack,
    TooEarly,
    Verdict,
    judge,
    judge_money,
    judge_result,
)
from utils import clock
from utils.mpesa_codes import NOT_CARRIED_OUT
from utils.mpesa_reports import FAILURES, MoneyIn, Outcome, Report, Result, ResultOutcome

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
        takes_its_receipt = (status, channel, report) == (QUARANTINED, CALLBACK, COMPLETE)
        yield status, channel, report, AddReceipt if takes_its_receipt else Ignore
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
def test_a_second_payment_of_an_order_waits_until_both_receipts_are_known(
    status: PaymentStatus, channel: MessageChannel, report: Report
) -> None:
    payment, paid = a_payment(status), a_payment(PAID, payment_id=2)
    assert judge(payment, [paid, payment], channel, report) == Quarantine(AWAITS_RECEIPTS)
    paid.receipt = "UKN0000AAA"
    verdict = judge(payment, [paid, payment], channel, report)
    assert verdict == (Surplus(RECEIPT) if report is COMPLETE else Quarantine(AWAITS_RECEIPTS))


def test_a_prompt_that_adopted_a_receipt_has_one_of_its_own_as_well() -> None:
    payment = a_payment(PAID, receipt="UKN0000AAA")
    payment.typed_reference = "ABCDEFGHJK"
    assert judge(payment, [payment], CALLBACK, COMPLETE) == Surplus(RECEIPT)


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
MOVES = {Settle: PAID, Surplus: PAID, Fail: FAILED, StayUnknown: UNKNOWN, Quarantine: QUARANTINED}


def test_no_verdict_asks_for_a_forbidden_move() -> None:
    reports = [COMPLETE, BARE, CANCELLED, IN_FLIGHT, UNPUBLISHED, UNREADABLE]
    reports.append(Report(Outcome.PAID, "0", amount=Decimal(1), receipt=RECEIPT))
    # Of a queued prompt nobody can speak: nothing was sent.
    sent = [status for status in PaymentStatus if status is not PaymentStatus.QUEUED]
    for status, channel, report in product(sent, MessageChannel, reports):
        target = MOVES.get(type(verdict_on(status, channel, report)))
        assert target is None or target is status or target in PAYMENT_MOVES[status]


# ── Money that came by itself ─────────────────────────────────────────────────────────────────────────────────────

MONEY = MoneyIn(RECEIPT, Decimal(500), "ABCDEFGHJK", at=clock.now())


def an_order(*payments: Payment) -> Order:
    return Order(id=1, total_kes=500, reference="ABCDEFGHJK", status=OrderStatus.PENDING, payments=list(payments))


def a_sent(status: PaymentStatus, **facts: Any) -> Payment:
    payment = a_payment(status, **facts)
    payment.method, payment.created_at = PaymentMethod.PROMPT, clock.ago(seconds=30)
    return payment


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, OpenQuarantined("its reference names no order")),
        (an_order(), Open()),
        (an_order(a_sent(PROMPTED)), Adopt(1)),
        (an_order(a_sent(UNKNOWN)), Adopt(1)),
        (an_order(a_sent(FAILED)), Open()),
        (an_order(a_sent(PAID)), Adopt(1)),
        (an_order(a_sent(PAID, receipt="UKN0000AAA")), OpenSurplus()),
        (an_order(a_sent(PAID, receipt="UKN0000AAA"), a_sent(QUARANTINED, payment_id=2)), Adopt(2)),
        (an_order(a_sent(PAID, receipt="UKN0000AAA"), a_sent(PROMPTED, payment_id=2)), OpenSurplus()),
    ],
)
def test_what_confirmed_money_is(order: Order | None, expected: object) -> None:
    assert judge_money(order, None, MONEY) == expected


def test_money_known_by_its_receipt_is_one_payment() -> None:
    known = a_payment(PAID, receipt=RECEIPT)
    assert judge_money(an_order(), known, MONEY) == Ignore("known")
    other = MoneyIn(RECEIPT, Decimal(400), "ABCDEFGHJK")
    assert isinstance(judge_money(an_order(), known, other), Suspect)


@pytest.mark.parametrize("amount", ["499", "500.5", "1000"])
def test_money_of_another_amount_waits_for_a_person(amount: str) -> None:
    money = MoneyIn(RECEIPT, Decimal(amount), "ABCDEFGHJK")
    assert isinstance(judge_money(an_order(), None, money), OpenQuarantined)


def test_a_prompt_does_not_adopt_money_from_before_it() -> None:
    early = MoneyIn(RECEIPT, Decimal(500), "ABCDEFGHJK", at=clock.ago(hours=4))
    assert judge_money(an_order(a_sent(PROMPTED)), None, early) == Open()


# ── Results ───────────────────────────────────────────────────────────────────────────────────────────────────────


def a_request(kind: RequestKind, **facts: Any) -> MpesaRequest:
    return MpesaRequest(**{"id": 1, "kind": kind, "conversation_id": "AG_1"} | facts)


def a_result(outcome: ResultOutcome = ResultOutcome.DONE, **facts: Any) -> Result:
    code = {"DONE": "0", "FAILED": "1"}.get(outcome.name, "7777")
    return Result(outcome, **{"code": code, "conversation_id": "AG_1"} | facts)


DONE, NOT_DONE = ResultOutcome.DONE, ResultOutcome.FAILED


@pytest.mark.parametrize("kind", [RequestKind.REVERSAL, RequestKind.B2C])
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (a_result(transaction_id=RECEIPT), GoneBack(RECEIPT)),
        (a_result(code="R000001"), GoneBack(None)),
        (a_result(NOT_DONE, text="No money."), NotGoneBack("1", "No money.")),
        (a_result(ResultOutcome.UNKNOWN), Ask("a code nobody has published")),
        (a_result(ResultOutcome.WAITING), Ask("no result")),
        (a_result(ResultOutcome.UNREADABLE), Ask("no result")),
        (a_result(conversation_id="AG_2"), Suspect("the conversation is another one")),
        (a_result(conversation_id=None), Suspect("the conversation is another one")),
    ],
)
def test_what_the_result_of_a_refund_means(kind: RequestKind, result: Result, expected: object) -> None:
    assert judge_result(a_request(kind), Refund(looks=0), result) == expected


def test_a_result_before_the_answer_to_its_request_waits_for_that() -> None:
    request = a_request(RequestKind.REVERSAL, conversation_id=None)
    assert judge_result(request, Refund(looks=0), a_result()) == TooEarly()


def test_giving_up_says_nothing_of_what_became_of_it() -> None:
    assert isinstance(judge_result(a_request(RequestKind.B2C), Refund(looks=0), a_result(), is_timeout=True), Ask)


@pytest.mark.parametrize(
    ("receipt", "looks", "result", "expected"),
    [
        (RECEIPT, 1, a_result(transaction_status="Reversed"), GoneBack),
        (RECEIPT, 1, a_result(transaction_status="Completed"), Ask),
        (RECEIPT, 6, a_result(transaction_status="Completed"), SendAgain),
        (RECEIPT, 9, a_result(NOT_DONE), Ask),
        (None, 1, a_result(transaction_status="Completed", receipt=RECEIPT), GoneBack),
        (None, 1, a_result(transaction_status="Declined"), NotGoneBack),
        (None, 1, a_result(NOT_DONE), Ask),
        (None, 7, a_result(NOT_DONE, code="R000002"), Ask),
        (None, 8, a_result(NOT_DONE, code="R000002"), SendAgain),
        (RECEIPT, 99, a_result(NOT_DONE, code="R000002"), Ask),
    ],
)
def test_what_the_status_of_a_refund_means(receipt: str | None, looks: int, result: Result, expected: type) -> None:
    request = a_request(RequestKind.STATUS, receipt=receipt)
    assert type(judge_result(request, Refund(looks=looks), result)) is expected


@pytest.mark.parametrize("code", sorted(NOT_CARRIED_OUT - {"R000002"}))
def test_a_question_that_fails_says_nothing_of_the_payout_it_asks_about(code: str) -> None:
    """An initiator who may not ask, say, was not told that nothing was paid."""
    request = a_request(RequestKind.STATUS)
    assert judge_result(request, Refund(looks=99), a_result(NOT_DONE, code=code)) == Ask("not known yet")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            a_result(transaction_status="Completed", amount=Decimal(500), receipt=RECEIPT),
            Confirmed(RECEIPT, Decimal(500)),
        ),
        (a_result(transaction_status="Completed", receipt=RECEIPT), Ask("without amount")),
        (a_result(transaction_status="Reversed", receipt=RECEIPT), TakenBack(RECEIPT)),
        (a_result(transaction_status="Authorized", receipt=RECEIPT), Ask("not confirmed")),
        (a_result(NOT_DONE, transaction_status="Completed"), Ask("not confirmed")),
        (
            a_result(transaction_status="Completed", amount=Decimal(500), receipt="UKN0000AAA"),
            Suspect("the receipt is another one"),
        ),
    ],
)
def test_what_the_status_of_a_payment_means(result: Result, expected: object) -> None:
    assert judge_result(a_request(RequestKind.STATUS, receipt=RECEIPT), None, result) == expected
