"""How sales stand and where they come from, over all events. What counts as sold: `services.revenue`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select, text

from models import Event, EventStatus, Order, Ticket, TicketType, User
from services.revenue import COUNTS, GROSS, NET
from utils import clock
from utils.database import db

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
    sold = counted(func.count(func.distinct(Ticket.order_id)), func.count(), NET).subquery()
    row = db.session.execute(
        select(
            select(func.count()).select_from(User).scalar_subquery(),
            select(func.count()).select_from(Event).scalar_subquery(),
            select(func.count()).select_from(Event).where(is_active).scalar_subquery(),
            select(func.count()).select_from(Event).where(Event.status == EventStatus.PENDING).scalar_subquery(),
            *(select(column).scalar_subquery() for column in sold.c),
            select(GROSS).select_from(Ticket).scalar_subquery(),
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
    sold = counted(name, NET, func.count()).group_by(func.lower(TicketType.name))
    return [TypeRevenue(*row) for row in db.session.execute(sold.order_by(NET.desc(), name).limit(limit))]


def read_top_events(limit: int) -> list[EventRevenue]:
    """The events that brought most, most first; none that brought nothing."""
    sold = counted(Event.id, Event.title, NET, func.count()).group_by(Event.id).having(NET > 0)
    return [EventRevenue(*row) for row in db.session.execute(sold.order_by(NET.desc(), Event.id).limit(limit))]


def read_top_categories(limit: int) -> list[CategoryCount]:
    """The categories with most approved events, whatever their case; most first."""
    name, count = func.min(Event.category), func.count()
    approved = select(name, count).where(Event.status == EventStatus.APPROVED).group_by(func.lower(Event.category))
    return [CategoryCount(*row) for row in db.session.execute(approved.order_by(count.desc(), name).limit(limit))]
