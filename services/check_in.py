"""Checking in: who holds a ticket goes in, once. The one place that moves tickets between valid and used."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import contains_eager

from models import EventStatus, Ticket, TicketStatus, TicketType, User
from services import audit
from utils import clock
from utils.database import db, transaction
from utils.errors import Conflict, NotFound


class TicketVoid(Conflict):
    code, message = "ticket_void", "This ticket is not valid any more: its money has been given back."


@dataclass(frozen=True)
class Outcome:
    """The ticket as it is now, with its type, and a sentence for who stands at the gate."""

    ticket: Ticket
    message: str
    #: False when it was so already.
    is_changed: bool


def check_in(*, actor: User, ticket_id: int) -> Outcome:
    """Let the ticket's holder in. Of any number at once, one changes the ticket; the others are told it was used.

    Raises NotFound for a ticket of somebody else's event, TicketVoid, Conflict for a cancelled event.
    """
    with transaction():
        ticket = _lock_ticket(actor, ticket_id)
        if ticket.status is TicketStatus.VOID:
            raise TicketVoid
        if ticket.ticket_type.event.status is EventStatus.CANCELLED:
            raise Conflict("This event has been cancelled.", code="event_cancelled")
        if ticket.status is TicketStatus.USED:
            return Outcome(ticket, _already_in(ticket), is_changed=False)
        ticket.status, ticket.checked_in_at = TicketStatus.USED, clock.now()
        audit.record(actor, "ticket_checked_in", ticket, code=ticket.code)
    return Outcome(ticket, f"{_holder(ticket)} is checked in.", is_changed=True)


def check_out(*, actor: User, ticket_id: int) -> Outcome:
    """Take a check-in back, as if it had not been. Raises NotFound, TicketVoid."""
    with transaction():
        ticket = _lock_ticket(actor, ticket_id)
        if ticket.status is TicketStatus.VOID:
            raise TicketVoid
        if ticket.status is TicketStatus.VALID:
            return Outcome(ticket, f"{_holder(ticket)} is not checked in.", is_changed=False)
        was_in_since = ticket.checked_in_at
        ticket.status, ticket.checked_in_at = TicketStatus.VALID, None
        audit.record(
            actor,
            "ticket_checked_out",
            ticket,
            code=ticket.code,
            checked_in_at=was_in_since and clock.to_nairobi(was_in_since),
        )
    return Outcome(ticket, f"The check-in of {_holder(ticket)} is undone.", is_changed=True)


def _lock_ticket(actor: User, ticket_id: int) -> Ticket:
    """The ticket's row alone is locked: gates of one event do not wait for each other, nor for those who buy."""
    ticket = db.session.scalar(
        select(Ticket)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Ticket.id == ticket_id)
        .options(contains_eager(Ticket.ticket_type).contains_eager(TicketType.event))
        .with_for_update(key_share=True, of=Ticket)
        .execution_options(populate_existing=True)
    )
    if ticket is None or not ticket.ticket_type.event.is_run_by(actor):
        raise NotFound("There is no such ticket.")
    return ticket


def _holder(ticket: Ticket) -> str:
    return f"{ticket.first_name} {ticket.last_name}"


def _already_in(ticket: Ticket) -> str:
    if ticket.checked_in_at is None:
        return f"{_holder(ticket)} was checked in already."
    since = ticket.checked_in_at.astimezone(clock.NAIROBI)
    return f"{_holder(ticket)} was checked in already, on {since:%d.%m.%Y at %H:%M}."
