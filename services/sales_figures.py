"""Figures of an organizer's own events; of all of them for an admin. What counts as sold: `services.revenue`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from sqlalchemy import ColumnElement, Date, Select, cast, func, select
from sqlalchemy.orm import with_expression

from models import Event, EventStatus, Order, Ticket, TicketStatus, TicketType, User
from services import stock
from services.revenue import GROSS, REFUNDED, Period
from utils import clock
from utils.database import db
from utils.pagination import Page, paginate

_LIVE = func.count(Ticket.id).filter(Ticket.status != TicketStatus.VOID)
_CHECKED_IN = func.count(Ticket.id).filter(Ticket.status == TicketStatus.USED)


@dataclass(frozen=True)
class Revenue:
    """Whole shillings."""

    gross_kes: int = 0
    refunded_kes: int = 0

    @property
    def net_kes(self) -> int:
        return self.gross_kes - self.refunded_kes

    def __add__(self, other: Revenue) -> Revenue:
        return Revenue(self.gross_kes + other.gross_kes, self.refunded_kes + other.refunded_kes)


# ── Overview ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Overview:
    """Of the tickets sold in `period`: what they brought, what of it went back since, how many are still good, and how
    many of these are in. `orders` are those they came from; `upcoming_events` have nothing to do with the period.
    """

    period: Period
    revenue: Revenue
    tickets_sold: int
    checked_in: int
    orders: int
    upcoming_events: int


def get_overview(*, actor: User, period: Period) -> Overview:
    """Of one's own events."""
    gross, refunded, sold, checked_in = db.session.execute(
        select(GROSS, REFUNDED, _LIVE, _CHECKED_IN)
        .select_from(Ticket)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(*_is_own(actor), *period.has(Ticket.issued_at))
    ).one()
    orders = select(func.count()).select_from(Order).join(Order.event)
    orders = orders.where(*_is_own(actor), *period.has(Order.paid_at))
    upcoming = select(func.count(Event.id)).where(
        *_is_own(actor), Event.status == EventStatus.APPROVED, Event.starts_at > clock.now()
    )
    return Overview(
        period,
        Revenue(gross, refunded),
        sold,
        checked_in,
        orders=db.session.scalar(orders) or 0,
        upcoming_events=db.session.scalar(upcoming) or 0,
    )


def _is_own(actor: User) -> list[ColumnElement[bool]]:
    return [] if actor.is_admin else [Event.organizer_id == actor.id]


# ── Statistics ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Places:
    """Places of one ticket type or of several, as they are now."""

    quantity: int
    sold: int
    #: For orders that are open at this moment.
    held: int
    #: Tickets that are not void; fewer than `sold` where places came back too late to be sold again.
    tickets: int
    checked_in: int
    revenue: Revenue

    @property
    def available(self) -> int:
        return self.quantity - self.sold - self.held

    @property
    def sell_through(self) -> float | None:
        return _share(self.sold, self.quantity)

    @property
    def check_in_rate(self) -> float | None:
        return _share(self.checked_in, self.tickets)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


@dataclass(frozen=True)
class TypeStats(_Places):
    """One ticket type."""

    id: int
    name: str
    price_kes: int


@dataclass(frozen=True)
class DayStats:
    """Tickets sold on one day of Nairobi and what they brought, whatever became of them since."""

    day: date
    tickets: int
    gross_kes: int


@dataclass(frozen=True)
class EventStats(_Places):
    """One event, all its ticket types together, and each."""

    event: Event
    ticket_types: Sequence[TypeStats]
    days: Sequence[DayStats] = field(default_factory=list)


def list_stats(*, actor: User, period: Period, number: int, size: int) -> Page:
    """EventStats of one's own events, latest start first. Sales per day are of `period`; all else is as of now."""
    own = select(Event).where(*_is_own(actor)).order_by(Event.starts_at.desc(), Event.id.desc())
    page = paginate(own, number=number, size=size)
    ids = [event.id for event in page.rows]
    types, days = _types_of(ids), _days_of(ids, period)
    return replace(page, rows=[_add_up(event, types[event.id], days[event.id]) for event in page.rows])


def _types_of(event_ids: Sequence[int]) -> Mapping[int, list[TypeStats]]:
    """By event id, cheapest first."""
    tickets = {
        type_id: (int(live), int(checked_in), Revenue(int(gross), int(refunded)))
        for type_id, live, checked_in, gross, refunded in db.session.execute(
            select(Ticket.ticket_type_id, _LIVE, _CHECKED_IN, GROSS, REFUNDED)
            .where(Ticket.ticket_type_id.in_(_ids_of_types(event_ids)))
            .group_by(Ticket.ticket_type_id)
        ).tuples()
    }
    found: defaultdict[int, list[TypeStats]] = defaultdict(list)
    for one in db.session.scalars(
        select(TicketType)
        .where(TicketType.event_id.in_(event_ids))
        .options(with_expression(TicketType.held_by_ended, stock.held_by_ended_orders()))
        .order_by(TicketType.price_kes, TicketType.id)
        .execution_options(populate_existing=True)
    ):
        live, checked_in, revenue = tickets.get(one.id, (0, 0, Revenue()))
        held = one.held - one.held_by_ended
        places = _Places(one.quantity, one.sold, held, live, checked_in, revenue)
        found[one.event_id].append(TypeStats(**vars(places), id=one.id, name=one.name, price_kes=one.price_kes))
    return found


def _ids_of_types(event_ids: Sequence[int]) -> Select[tuple[int]]:
    return select(TicketType.id).where(TicketType.event_id.in_(event_ids))


def _days_of(event_ids: Sequence[int], period: Period) -> Mapping[int, list[DayStats]]:
    """By event id, earliest first; days without sales are left out."""
    day = cast(func.timezone(clock.NAIROBI.key, Ticket.issued_at), Date)
    found: defaultdict[int, list[DayStats]] = defaultdict(list)
    for event_id, sold_on, count, gross in db.session.execute(
        select(TicketType.event_id, day, func.count(Ticket.id), GROSS)
        .join(Ticket.ticket_type)
        .where(TicketType.event_id.in_(event_ids), *period.has(Ticket.issued_at))
        .group_by(TicketType.event_id, day)
        .order_by(day)
    ).tuples():
        found[event_id].append(DayStats(sold_on, int(count), int(gross)))
    return found


def _add_up(event: Event, types: Sequence[TypeStats], days: Sequence[DayStats]) -> EventStats:
    return EventStats(
        quantity=sum(one.quantity for one in types),
        sold=sum(one.sold for one in types),
        held=sum(one.held for one in types),
        tickets=sum(one.tickets for one in types),
        checked_in=sum(one.checked_in for one in types),
        revenue=sum((one.revenue for one in types), Revenue()),
        event=event,
        ticket_types=types,
        days=days,
    )
