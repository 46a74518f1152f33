"""Tickets: what one person holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import contains_eager, selectinload

from models import Event, Order, Ticket, TicketStatus, TicketType, User
from utils import clock
from utils.database import db
from utils.errors import NotFound
from utils.security import new_code

#: Twelve characters of five bits.
_CODE_LENGTH, _CODE_GROUP = 12, 4


def issue_tickets(order: Order) -> list[Ticket]:
    """One ticket for each place of a paid order; needs its `items`. Part of the transaction that pays it."""
    tickets = [
        Ticket(
            order_id=order.id,
            ticket_type_id=item.ticket_type_id,
            code=new_code(_CODE_LENGTH, group=_CODE_GROUP),
            price_kes=item.unit_price_kes,
            **attendee,
        )
        for item in order.items
        for attendee in item.attendees
    ]
    db.session.add_all(tickets)
    return tickets


def list_tickets(*, actor: User) -> Select[tuple[Ticket]]:
    """The actor's tickets, newest first, with type, event, order and its payments."""
    return (
        select(Ticket)
        .join(Ticket.order)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Order.buyer_id == actor.id)
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
class Attendance:
    """One event as its ticket holder sees it. `order` is the latest of `orders`."""

    event: Event
    orders: Sequence[Order]
    tickets: Sequence[Ticket]

    @property
    def order(self) -> Order:
        return self.orders[-1]

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
        .options(selectinload(Order.payments), selectinload(Order.tickets).joinedload(Ticket.ticket_type))
        .order_by(Order.id)
    ).all()
    return Attendance(event, orders, [ticket for order in orders for ticket in order.tickets])


def holds_ticket(*, user: User, event_id: int, statuses: Sequence[TicketStatus] = tuple(TicketStatus)) -> bool:
    """Whether the user bought a ticket for the event that is in one of `statuses`."""
    query = _tickets_of(user).where(Order.event_id == event_id, Ticket.status.in_(statuses))
    return bool(db.session.scalar(select(query.exists())))


def _attended(actor: User, when: ColumnElement[bool]) -> Select[tuple[Event]]:
    return select(Event).where(when, is_held_by(actor))


def is_held_by(user: User) -> ColumnElement[bool]:
    """SQL, about Event: whether the user bought a ticket for it."""
    return _tickets_of(user).where(Order.event_id == Event.id).exists()


def _tickets_of(user: User) -> Select[tuple[int]]:
    return select(Ticket.id).join(Ticket.order).where(Order.buyer_id == user.id)
