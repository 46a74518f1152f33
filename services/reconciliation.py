"""The report of a day: money without an order, orders without money, money that does not get back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import joinedload

from models import (
    AuditLog,
    MpesaLine,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
)
from services import alerts
from services.pulls import is_missing, read_pulled_until
from utils import clock
from utils.database import db, transaction

log = logging.getLogger(__name__)

#: The daily report is made from this hour of Nairobi on.
_REPORT_HOUR = 6
#: Rows of each list of a report.
#: Named one by one, since an index finds what a column is, not what it is not.
_NOT_DONE = tuple(status for status in RefundStatus if status is not RefundStatus.DONE)
_MOST_ROWS = 500


@dataclass(frozen=True)
class OrderWithoutMoney:
    """An order that counts as paid, and what there is to show for it. `why` is "no_payment", "no_receipt" or
    "not_listed"."""

    order: Order
    payment: Payment | None
    why: str

    @property
    def payment_id(self) -> int | None:
        return self.payment.id if self.payment else None

    @property
    def receipt(self) -> str | None:
        return self.payment.receipt if self.payment else None

    @property
    def paid_at(self) -> datetime | None:
        return self.payment.paid_at if self.payment else self.order.paid_at


@dataclass(frozen=True)
class Reconciliation:
    """What of a day's money does not add up, as far as is known now."""

    day: date
    #: Up to when M-PESA's list has been read.
    pulled_until: datetime | None
    #: Money that was counted as received that day, and money that went back that day.
    in_kes: int
    back_kes: int
    money_without_order: Sequence[Payment]
    orders_without_money: Sequence[OrderWithoutMoney]
    #: Refunds that are open for more than a day.
    open_refunds: Sequence[Refund]
    #: Lists of which only the first rows are shown.
    cut_short: Sequence[str]

    @property
    def is_clean(self) -> bool:
        return not (self.money_without_order or self.orders_without_money or self.open_refunds)


def yesterday() -> date:
    """By the calendar of Nairobi."""
    return clock.now().astimezone(clock.NAIROBI).date() - timedelta(days=1)


def report(day: date) -> Reconciliation:
    """One day of Nairobi, from midnight to midnight."""
    start = clock.to_utc(datetime.combine(day, time()))
    end = start + timedelta(days=1)
    pulled_until = read_pulled_until()
    unpaid = [
        *(
            OrderWithoutMoney(payment.order, payment, "not_listed" if payment.receipt else "no_receipt")
            for payment in _rows(_unproven_payments(start, end, pulled_until))
            if payment.order is not None
        ),
        *(OrderWithoutMoney(order, None, "no_payment") for order in _rows(_orders_without_payment(start, end))),
    ]
    lists: dict[str, Sequence[Any]] = {
        "money_without_order": _rows(_money_without_order(start, end)),
        "orders_without_money": unpaid,
        "open_refunds": _rows(_open_refunds(end)),
    }
    return Reconciliation(
        day=day,
        pulled_until=pulled_until,
        in_kes=_sum_in(start, end),
        back_kes=_sum_back(start, end),
        cut_short=[name for name, rows in lists.items() if len(rows) > _MOST_ROWS],
        **{name: rows[:_MOST_ROWS] for name, rows in lists.items()},
    )


def _rows(query: Select[tuple[Any]]) -> Sequence[Any]:
    return db.session.scalars(query.limit(_MOST_ROWS + 1)).all()


def _money_without_order(start: datetime, end: datetime) -> Select[tuple[Payment]]:
    """Money that waits for a person. What is on its way back, or went back, is not waiting."""
    has_no_order = and_(Payment.order_id.is_(None), Payment.status == PaymentStatus.PAID)
    return (
        select(Payment)
        .where(
            Payment.created_at >= start,
            Payment.created_at < end,
            or_(Payment.status == PaymentStatus.QUARANTINED, has_no_order),
            Payment.refunded_kes < Payment.amount_kes,
        )
        .options(joinedload(Payment.order))
        .order_by(Payment.id)
    )


def _unproven_payments(start: datetime, end: datetime, pulled_until: datetime | None) -> Select[tuple[Payment]]:
    return (
        select(Payment)
        .where(Payment.paid_at >= start, Payment.paid_at < end, Payment.order_id.is_not(None), is_missing(pulled_until))
        .options(joinedload(Payment.order))
        .order_by(Payment.paid_at, Payment.id)
    )


def _orders_without_payment(start: datetime, end: datetime) -> Select[tuple[Order]]:
    """Should never be."""
    its_money = select(Payment.id).where(Payment.order_id == Order.id, Payment.status == PaymentStatus.PAID)
    return (
        select(Order)
        .where(
            Order.paid_at >= start,
            Order.paid_at < end,
            Order.total_kes > 0,
            Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED]),
            ~its_money.exists(),
        )
        .order_by(Order.id)
    )


def _open_refunds(end: datetime) -> Select[tuple[Refund]]:
    return (
        select(Refund)
        .where(Refund.status.in_(_NOT_DONE), Refund.created_at < min(end, clock.ago(days=1)))
        .options(joinedload(Refund.payment))
        .order_by(Refund.id)
    )


def _sum_in(start: datetime, end: datetime) -> int:
    """Money in quarantine counts from when we wrote it down, since it has not been counted as paid."""
    was_counted = and_(
        Payment.status.in_([PaymentStatus.PAID, PaymentStatus.REVERSED]),
        Payment.paid_at >= start,
        Payment.paid_at < end,
    )
    is_kept = and_(Payment.status == PaymentStatus.QUARANTINED, Payment.created_at >= start, Payment.created_at < end)
    return int(db.session.scalar(select(func.sum(Payment.amount_kes)).where(or_(was_counted, is_kept))) or 0)


def _sum_back(start: datetime, end: datetime) -> int:
    """What we sent back, and what M-PESA took back by itself."""
    sent = select(func.sum(Refund.amount_kes)).where(Refund.done_at >= start, Refund.done_at < end)
    taken = (
        select(func.sum(Payment.amount_kes))
        .join(AuditLog, and_(AuditLog.target_id == Payment.id, AuditLog.target_type == "payment"))
        .where(AuditLog.action == "payment_reversed", AuditLog.created_at >= start, AuditLog.created_at < end)
    )
    return int(db.session.scalar(sent) or 0) + int(db.session.scalar(taken) or 0)


def report_yesterday() -> int:
    """Make the report of the day before once every morning, and tell if anything in it is open; returns 1 if made."""
    due_since = clock.last_time_at(_REPORT_HOUR)
    is_made = select(MpesaLine.id).where(MpesaLine.id == 1, MpesaLine.reported_at >= due_since)
    if db.session.scalar(is_made) is not None:
        return 0
    made = report(due_since.date() - timedelta(days=1))
    with transaction() as session:
        # Last, and for a moment only: this row is also the pace of all pushes.
        if session.scalar(_note_report(due_since)) is None:
            return 0
        if not made.is_clean:
            alerts.raise_alert("reconciliation", _summarise(made))
    log.info("%s", _summarise(made))
    return 1


def _note_report(due_since: datetime) -> Any:
    now = clock.now()
    return (
        insert(MpesaLine)
        .values(id=1, next_push_at=func.now(), reported_at=now)
        .on_conflict_do_update(
            index_elements=[MpesaLine.id],
            set_={"reported_at": now},
            where=or_(MpesaLine.reported_at.is_(None), MpesaLine.reported_at < due_since),
        )
        .returning(MpesaLine.id)
    )


def _summarise(made: Reconciliation) -> str:
    return (
        f"Reconciliation of {made.day}: KES {made.in_kes} in, KES {made.back_kes} back,"
        f" {len(made.money_without_order)} payments without an order,"
        f" {len(made.orders_without_money)} orders without money,"
        f" {len(made.open_refunds)} refunds open for more than a day."
    )
