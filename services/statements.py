"""M-PESA's statement, exported by a person from its portal, beside what we have written down.

It reaches back further than M-PESA's list of transactions, and is settled as that is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from models import MessageChannel, Order, Payment, PaymentStatus, Refund, RefundMethod, RefundStatus
from services import inbox, settlement
from utils import clock, references
from utils.database import db, transaction
from utils.mpesa_reports import MoneyIn
from utils.statement import StatementLine, store_line

_RECEIPTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Difference:
    """One thing that the statement and we do not agree on, in a sentence. `receipt` is "" where none is known."""

    receipt: str
    text: str


def find_differences(lines: Sequence[StatementLine]) -> list[Difference]:
    """What the statement has and we have not, has otherwise, or has not; in this order."""
    payments = _read_payments(
        [line.receipt for line in lines] + [line.reverses for line in lines if line.reverses is not None]
    )
    paid_in = {line.receipt for line in lines if line.paid_in > 0}
    found = [difference for line in lines for difference in _compare(line, payments.get(line.receipt))]
    found += [difference for line in lines for difference in _compare_reversal(line, payments, paid_in)]
    span = _span(lines)
    return found + list(_find_unlisted(lines, *span)) if span is not None else found


def _read_payments(receipts: Sequence[str]) -> dict[str, Payment]:
    payments: dict[str, Payment] = {}
    for start in range(0, len(receipts), _RECEIPTS_AT_ONCE):
        some = receipts[start : start + _RECEIPTS_AT_ONCE]
        query = select(Payment).where(Payment.receipt.in_(some)).options(selectinload(Payment.refunds))
        payments |= {payment.receipt or "": payment for payment in db.session.scalars(query)}
    return payments


def _compare(line: StatementLine, payment: Payment | None) -> Iterator[Difference]:
    money = line.money
    if money is None or money.is_reversal:
        return
    if payment is None:
        at = clock.to_nairobi(line.at) if line.at else "an unreadable time"
        account = line.account or "none"
        yield Difference(line.receipt, f"in the statement, not ours: KES {money.amount} at {at}, account {account}")
    elif payment.amount_kes != money.amount:
        amounts = f"KES {money.amount} in the statement, KES {payment.amount_kes} here"
        yield Difference(line.receipt, f"the amount differs: {amounts} (payment {payment.id})")


def _compare_reversal(
    line: StatementLine, payments: dict[str, Payment], paid_in: Collection[str]
) -> Iterator[Difference]:
    if line.reverses is None:
        return
    payment = payments.get(line.reverses)
    if payment is not None:
        if not _is_taken_back(payment):
            open_refunds = [one.status.value for one in _whole_refunds(payment)]
            here = f"its refund here is {open_refunds[-1]}" if open_refunds else "not here"
            yield Difference(line.reverses, f"reversed in the statement, {here} (payment {payment.id})")
    elif line.reverses not in paid_in:
        yield Difference(line.receipt, f"a reversal in the statement, of nothing we know: KES {line.withdrawn}")


def _is_taken_back(payment: Payment) -> bool:
    refunds = _whole_refunds(payment)
    return payment.status is PaymentStatus.REVERSED or any(one.status is RefundStatus.DONE for one in refunds)


def _whole_refunds(payment: Payment) -> list[Refund]:
    return [refund for refund in payment.refunds if refund.amount_kes == payment.amount_kes]


def _span(lines: Sequence[StatementLine]) -> tuple[datetime, datetime] | None:
    times = [line.at for line in lines if line.at is not None]
    return (min(times), max(times)) if times else None


# ── What the statement does not have ──────────────────────────────────────────────────────────────────────────────


def _find_unlisted(lines: Sequence[StatementLine], first: datetime, last: datetime) -> Iterator[Difference]:
    """Only what was begun and ended within the statement's span is sure to belong into it."""
    listed = {line.receipt for line in lines}
    reversed_ = {line.reverses for line in lines if line.reverses is not None}
    accounts = {references.normalise(line.account) for line in lines if line.account}
    for payment in _payments_within(first, last):
        name = f"payment {payment.id}, KES {payment.amount_kes}, paid {clock.to_nairobi(_paid_at(payment))}"
        if payment.receipt is None:
            if payment.order is None or payment.order.reference not in accounts:
                yield Difference("", f"ours, without a receipt, and its order is not in the statement: {name}")
        elif payment.receipt not in listed:
            yield Difference(payment.receipt, f"ours, not in the statement: {name}")
        elif payment.status is PaymentStatus.REVERSED and payment.receipt not in reversed_:
            yield Difference(payment.receipt, f"reversed here, not in the statement: {name}")
    for refund in _refunds_within(first, last):
        is_there = refund.receipt in listed
        if refund.method is RefundMethod.REVERSAL:
            is_there = is_there or refund.payment.receipt in reversed_
        if not is_there:
            name = f"refund {refund.id}, KES {refund.amount_kes}, {refund.method.value}"
            yield Difference(refund.receipt or refund.payment.receipt or "", f"refunded here, not there: {name}")


def _paid_at(payment: Payment) -> datetime:
    return payment.paid_at or payment.created_at


def _payments_within(first: datetime, last: datetime) -> Iterable[Payment]:
    return db.session.scalars(
        select(Payment)
        .where(
            Payment.created_at >= first,
            func.coalesce(Payment.paid_at, Payment.created_at) <= last,
            Payment.status.in_([PaymentStatus.PAID, PaymentStatus.QUARANTINED, PaymentStatus.REVERSED]),
        )
        .options(selectinload(Payment.order).load_only(Order.reference))
        .order_by(Payment.id)
    )


def _refunds_within(first: datetime, last: datetime) -> Iterable[Refund]:
    return db.session.scalars(
        select(Refund)
        .where(Refund.created_at >= first, Refund.done_at <= last, Refund.status == RefundStatus.DONE)
        .options(selectinload(Refund.payment))
        .order_by(Refund.id)
    )


# ── Taking it in ──────────────────────────────────────────────────────────────────────────────────────────────────


def take_in(lines: Sequence[StatementLine]) -> int:
    """Store and settle every line that tells something new; returns how many did. Money comes before it goes back.

    A line that only confirms what we know is new too, as long as nothing has confirmed it.
    """
    told = [money for line in lines if (money := line.money) is not None]
    with transaction():  # nothing stays open while each line is settled by itself
        payments = _read_payments([money.reverses or money.receipt for money in told])
    paid_in = {money.receipt for money in told if not money.is_reversal}
    news = [money for money in told if _is_news(money, payments.get(money.reverses or money.receipt), paid_in)]
    for money in sorted(news, key=lambda one: one.is_reversal):
        with transaction():
            message_id = inbox.store(None, MessageChannel.STATEMENT, store_line(money), receipt=money.receipt)
        settlement.try_to_settle(message_id)
    return len(news)


def _is_news(money: MoneyIn, payment: Payment | None, paid_in: Collection[str]) -> bool:
    if money.is_reversal:
        return money.reverses in paid_in if payment is None else not _is_taken_back(payment)
    return payment is None or payment.amount_kes != money.amount or payment.reconciled_at is None
