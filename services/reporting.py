"""What was sold and what it brought. Nothing but settled money is in any figure.

A ticket is issued when its order's money has come, and counts from then on (`Order.paid_at`) until its money starts on
its way back (`ENDED_AT`). Prices of all tickets that were issued are the gross; of those that ended, the refunds; of
those that count, the net, which is what revenue means everywhere.

Money that never became tickets is in none of them: it came too late, twice, or for nothing we know, and goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, and_, case, cast, func, select, text

from models import (
    AuditLog,
    Event,
    EventStatus,
    Order,
    OrderStatus,
    Payment,
    Ticket,
    TicketStatus,
    TicketType,
    User,
)
from utils import clock
from utils.database import db

#: SQL, of tickets joined with their orders: whether a ticket counts. One that was used stays used when M-PESA takes
#: its order's money back by itself, and counts no more.
COUNTS = and_(
    Ticket.status.in_([TicketStatus.VALID, TicketStatus.USED]),
    Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED]),
)
_taken_back_at = (
    select(func.max(AuditLog.created_at))
    .join(Payment, Payment.id == AuditLog.target_id)
    .where(Payment.order_id == Order.id, AuditLog.target_type == "payment", AuditLog.action == "payment_reversed")
    .correlate(Order)
    .scalar_subquery()
)
#: SQL, of the same: since when a ticket counts no more; null while it does.
ENDED_AT = func.coalesce(Ticket.voided_at, case((Order.status == OrderStatus.REFUNDED, _taken_back_at)))
#: SQL: whole shillings of the tickets at hand.
REVENUE = cast(func.coalesce(func.sum(Ticket.price_kes), 0), BigInteger)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def counted(*columns: Any) -> Select[Any]:
    """A query of tickets that count, joined with their orders, types and events."""
    return (
        select(*columns)
        .select_from(Ticket)
        .join(Ticket.order)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(COUNTS)
    )


# ── In one number ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Summary:
    """How things stand. Money in whole shillings; `revenue_kes` is gross less refunds."""

    users: int
    events: int
    #: Approved and not over.
    active_events: int
    pending_events: int
    orders: int
    tickets: int
    gross_kes: int
    revenue_kes: int

    @property
    def refunded_kes(self) -> int:
        return self.gross_kes - self.revenue_kes


def summarise() -> Summary:
    """Of all there is at this moment."""
    is_active = and_(Event.status == EventStatus.APPROVED, Event.ends_at > clock.now())
    sold = counted(func.count(func.distinct(Ticket.order_id)), func.count(), REVENUE).subquery()
    row = db.session.execute(
        select(
            select(func.count()).select_from(User).scalar_subquery(),
            select(func.count()).select_from(Event).scalar_subquery(),
            select(func.count()).select_from(Event).where(is_active).scalar_subquery(),
            select(func.count()).select_from(Event).where(Event.status == EventStatus.PENDING).scalar_subquery(),
            *(select(column).scalar_subquery() for column in sold.c),
            select(REVENUE).select_from(Ticket).scalar_subquery(),
        )
    ).one()
    users, events, active, pending, orders, tickets, revenue, gross = map(int, row)
    return Summary(users, events, active, pending, orders, tickets, gross_kes=gross, revenue_kes=revenue)


# ── By something ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class MonthSales:
    month: str
    #: Tickets.
    sales: int


@dataclass(frozen=True)
class TypeRevenue:
    type: str
    revenue_kes: int
    tickets: int


@dataclass(frozen=True)
class EventRevenue:
    event_id: int
    title: str
    revenue_kes: int
    tickets: int


@dataclass(frozen=True)
class CategoryCount:
    category: str
    #: Events.
    count: int


def read_sales_by_month(year: int | None) -> list[MonthSales]:
    """Tickets sold in each month of a year of Nairobi, the present one if it is None, by when they were paid."""
    year = year or clock.now().astimezone(clock.NAIROBI).year
    start, end = (clock.to_utc(datetime(one, 1, 1, tzinfo=clock.NAIROBI)) for one in (year, year + 1))
    month = func.extract("month", func.timezone(clock.NAIROBI.key, Order.paid_at))
    sold = counted(month, func.count()).where(Order.paid_at >= start, Order.paid_at < end).group_by(text("1"))
    by_number = {int(number): count for number, count in db.session.execute(sold)}
    return [MonthSales(name, by_number.get(number, 0)) for number, name in enumerate(_MONTHS, start=1)]


def read_revenue_by_type(limit: int) -> list[TypeRevenue]:
    """Of ticket types of a name, whatever its case and its event; most revenue first."""
    name = func.min(TicketType.name)
    sold = counted(name, REVENUE, func.count()).group_by(func.lower(TicketType.name))
    return [TypeRevenue(*row) for row in db.session.execute(sold.order_by(REVENUE.desc(), name).limit(limit))]


def read_top_events(limit: int) -> list[EventRevenue]:
    """The events that brought most, most first; none that brought nothing."""
    sold = counted(Event.id, Event.title, REVENUE, func.count()).group_by(Event.id).having(REVENUE > 0)
    return [EventRevenue(*row) for row in db.session.execute(sold.order_by(REVENUE.desc(), Event.id).limit(limit))]


def read_top_categories(limit: int) -> list[CategoryCount]:
    """The categories with most approved events, whatever their case; most first."""
    name, count = func.min(Event.category), func.count()
    approved = select(name, count).where(Event.status == EventStatus.APPROVED).group_by(func.lower(Event.category))
    return [CategoryCount(*row) for row in db.session.execute(approved.order_by(count.desc(), name).limit(limit))]
