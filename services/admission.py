"""Tickets: what one person holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import contains_eager, selectinload

from models import Event, Order, SupersededCode, Ticket, TicketStatus, TicketType, User
from utils import clock
from utils.database import db
from utils.errors import NotFound
from utils.security import new_code

#: Twelve characters of five bits.
_CODE_LENGTH, _CODE_GROUP = 12, 4


def issue_tickets(order: Order) -> list[Ticket]:
    """One ticket for each place of an order paid just now; needs its `items`. Part of the transaction that pays it."""
    tickets = make_tickets(order)
    db.session.add_all(tickets)
    return tickets


def make_tickets(order: Order) -> list[Ticket]:
    """The same, for the caller to write."""
    return [
        Ticket(
            order_id=order.id,
            ticket_type_id=item.ticket_type_id,
            code=_new_code(),
            price_kes=item.unit_price_kes,
            holder_id=order.buyer_id,
            status=TicketStatus.VALID,
            issued_at=order.paid_at,
            **attendee,
        )
        for item in order.items
        for attendee in item.attendees
    ]


def issue_anew(ticket: Ticket) -> None:
    """End its QR code, its code and the address of its page, and give it others. The caller has locked it."""
    db.session.add(SupersededCode(ticket_id=ticket.id, code=ticket.code))
    ticket.code, ticket.rotation = _new_code(), ticket.rotation + 1


def _new_code() -> str:
    return new_code(_CODE_LENGTH, group=_CODE_GROUP)


def list_tickets(*, actor: User) -> Select[tuple[Ticket]]:
    """The tickets that the actor holds, newest first, with type, event, order and its payments."""
    return (
        select(Ticket)
        .join(Ticket.order)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Ticket.holder_id == actor.id)
        .options(
            contains_eager(Ticket.order).selectinload(Order.payments),
            contains_eager(Ticket.ticket_type).contains_eager(TicketType.event),
        )
        .order_by(Ticket.id.desc())
    )


def list_upcoming_events(*, actor: User) -> Select[tuple[Event]]:
    """Events the actor holds tickets for that are not over, soonest first."""
    return _attended(actor, Event.ends_at > clock.now()).order_by(Event.starts_at, Event.id)


def list_past_events(*, actor: User) -> Select[tuple[Event]]:
    """Events the actor held tickets for that are over, latest first."""
    return _attended(actor, Event.ends_at <= clock.now()).order_by(Event.starts_at.desc(), Event.id.desc())


@dataclass(frozen=True)
class NoOrder:
    """Stands where an order is looked for."""

    created_at: datetime
    reference: None = None
    receipt: None = None
    total_kes: int = 0


@dataclass(frozen=True)
class Attendance:
    """One event as its ticket holder sees it: the tickets he holds, and the orders he placed for it."""

    event: Event
    orders: Sequence[Order]
    tickets: Sequence[Ticket]

    @property
    def order(self) -> Order | NoOrder:
        """The latest of them; who was passed a ticket on has none."""
        return self.orders[-1] if self.orders else NoOrder(self.tickets[-1].issued_at)

    @property
    def total_kes(self) -> int:
        return sum(order.total_kes for order in self.orders)


def get_attendance(*, actor: User, event_id: int, is_over: bool) -> Attendance:
    """The actor's tickets for an event that is over, or is not. Raises NotFound.

    It does not ask whether the event is public: who holds a ticket keeps seeing what it is for.
    """
    event = db.session.scalar(_attended(actor, Event.id == event_id))
    if event is None or event.is_over is not is_over:
        raise NotFound("You hold no tickets for this event.")
    orders = db.session.scalars(
        select(Order)
        .where(Order.buyer_id == actor.id, Order.event_id == event_id, Order.id.in_(select(Ticket.order_id)))
        .options(selectinload(Order.payments))
        .order_by(Order.id)
    ).all()
    tickets = db.session.scalars(
        select(Ticket)
        .join(Ticket.ticket_type)
        .where(Ticket.holder_id == actor.id, TicketType.event_id == event_id)
        .options(contains_eager(Ticket.ticket_type))
        .order_by(Ticket.order_id, Ticket.id)
    ).all()
    return Attendance(event, orders, tickets)


def holds_ticket(*, user: User, event_id: int, statuses: Sequence[TicketStatus] = tuple(TicketStatus)) -> bool:
    """Whether the user holds a ticket for the event that is in one of `statuses`."""
    query = held_by(user).where(TicketType.event_id == event_id, Ticket.status.in_(statuses))
    return bool(db.session.scalar(select(query.exists())))


def _attended(actor: User, when: ColumnElement[bool]) -> Select[tuple[Event]]:
    return select(Event).where(when, is_held_by(actor))


def is_held_by(user: User) -> ColumnElement[bool]:
    """SQL, about Event: whether the user holds a ticket for it."""
    return held_by(user).where(TicketType.event_id == Event.id).exists()


def held_by(user: User) -> Select[tuple[int]]:
    """Ids of the tickets that the user holds, joined with their types."""
    return select(Ticket.id).join(Ticket.ticket_type).where(Ticket.holder_id == user.id)
