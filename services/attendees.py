"""Attendees: who comes to an event, for its organizer."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import contains_eager, load_only

from models import Ticket, TicketStatus, TicketType, User
from services import events
from utils.database import db
from utils.pagination import Page, paginate


@dataclass(frozen=True)
class Search:
    """Whom to look for; every part may be missing."""

    words: str | None = None
    #: A name, whatever the case.
    ticket_type: str | None = None
    is_checked_in: bool | None = None


def list_attendees(*, actor: User, event_id: int, search: Search, number: int | None, size: int) -> Page:
    """Tickets of the actor's event that are not void, oldest first; all of them when `number` is None.

    Raises NotFound.
    """
    events.get_own_event(actor=actor, event_id=event_id)
    tickets = _tickets(event_id, search)
    if number is not None:
        return paginate(tickets, number=number, size=size)
    rows = db.session.scalars(tickets).all()
    return Page(rows, 1, max(1, len(rows)), len(rows))


def _tickets(event_id: int, search: Search) -> Select[tuple[Ticket]]:
    query = (
        select(Ticket)
        .join(Ticket.ticket_type)
        .where(TicketType.event_id == event_id, Ticket.status != TicketStatus.VOID)
        .options(contains_eager(Ticket.ticket_type).options(load_only(TicketType.name)))
        .order_by(Ticket.id)
    )
    if search.words is not None:
        query = query.where(_has(search.words))
    if search.ticket_type is not None:
        query = query.where(func.lower(TicketType.name) == search.ticket_type.lower())
    if search.is_checked_in is not None:
        query = query.where((Ticket.status == TicketStatus.USED) == search.is_checked_in)
    return query


def _has(words: str) -> ColumnElement[bool]:
    """Whether name, e-mail address, number or code of a ticket have this in them, as people at a gate type it."""
    digits = "".join(char for char in words if char.isdecimal()).removeprefix("0")
    found = [
        func.concat(Ticket.first_name, " ", Ticket.last_name).icontains(words, autoescape=True),
        Ticket.email.icontains(words, autoescape=True),
        Ticket.code.icontains(words, autoescape=True),
        func.replace(Ticket.code, "-", "").icontains(words.replace("-", "").replace(" ", ""), autoescape=True),
    ]
    if digits and not any(char.isalpha() for char in words):
        found.append(Ticket.phone.contains(digits, autoescape=True))
    return or_(*found)
