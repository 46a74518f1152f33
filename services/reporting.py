"""How sales stand and where they come from, over all events. What counts as sold: `services.revenue`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, DateTime, Subquery, and_, cast, func, literal, select, text

from models import Event, EventStatus, Order, OrderStatus, Ticket, TicketType, User
from services.revenue import COUNTS, GROSS, NET
from utils import clock
from utils.database import db

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
    # Of these each has a ticket that counts: when the last one ends, its order leaves them.
    paid = (
        select(func.count()).select_from(Order).where(Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED]))
    )
    sold = select(func.count().filter(COUNTS), NET, GROSS).select_from(Ticket).subquery()
    row = db.session.execute(
        select(
            select(func.count()).select_from(User).scalar_subquery(),
            select(func.count()).select_from(Event).scalar_subquery(),
            select(func.count()).select_from(Event).where(is_active).scalar_subquery(),
            select(func.count()).select_from(Event).where(Event.status == EventStatus.PENDING).scalar_subquery(),
            paid.scalar_subquery(),
            *sold.c,
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
    months = [(year, month) for month in range(1, 13)] + [(year + 1, 1)]
    starts = [clock.to_utc(datetime(*one, 1, tzinfo=clock.NAIROBI)) for one in months]
    month = func.width_bucket(Ticket.issued_at, literal(starts[:-1], ARRAY(DateTime(timezone=True))))
    is_within = (Ticket.issued_at >= starts[0], Ticket.issued_at < starts[-1])
    sold = select(month, func.count()).where(COUNTS, *is_within).group_by(text("1"))
    by_number = {int(number): count for number, count in db.session.execute(sold)}
    return [MonthSales(name, by_number.get(number, 0)) for number, name in enumerate(_MONTHS, start=1)]


def read_revenue_by_type(limit: int) -> list[TypeRevenue]:
    """Of ticket types of a name, whatever its case and its event; most revenue first."""
    sold = _sold_by_type()
    name, revenue, tickets = func.min(TicketType.name), _whole_sum(sold.c.revenue), _whole_sum(sold.c.tickets)
    named = select(name, revenue, tickets).join(sold, sold.c.id == TicketType.id).group_by(func.lower(TicketType.name))
    return [TypeRevenue(*row) for row in db.session.execute(named.order_by(revenue.desc(), name).limit(limit))]


def read_top_events(limit: int) -> list[EventRevenue]:
    """The events that brought most, most first; none that brought nothing."""
    sold = _sold_by_type()
    event_id, revenue, tickets = TicketType.event_id, _whole_sum(sold.c.revenue), _whole_sum(sold.c.tickets)
    best = select(event_id, revenue.label("revenue"), tickets.label("tickets")).join(sold, sold.c.id == TicketType.id)
    best = best.group_by(event_id).having(revenue > 0).order_by(revenue.desc(), event_id).limit(limit)
    top = best.subquery("top")
    named = select(Event.id, Event.title, top.c.revenue, top.c.tickets).join(top, top.c.event_id == Event.id)
    return [EventRevenue(*row) for row in db.session.execute(named.order_by(top.c.revenue.desc(), Event.id))]


def _sold_by_type() -> Subquery:
    """SQL for what tickets that count come to, by the id of their type, before anything is joined to so many rows."""
    sold = select(Ticket.ticket_type_id.label("id"), NET.label("revenue"), func.count().label("tickets"))
    return sold.where(COUNTS).group_by(Ticket.ticket_type_id).subquery("sold")


def _whole_sum(column: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(func.sum(column), BigInteger)


def read_top_categories(limit: int) -> list[CategoryCount]:
    """The categories with most approved events, whatever their case; most first."""
    name, count = func.min(Event.category), func.count()
    approved = select(name, count).where(Event.status == EventStatus.APPROVED).group_by(func.lower(Event.category))
    return [CategoryCount(*row) for row in db.session.execute(approved.order_by(count.desc(), name).limit(limit))]
