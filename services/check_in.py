"""Checking in by hand, from the list of attendees: who holds a ticket goes in, once. `services.gate` moves it."""

from __future__ import annotations

from dataclasses import dataclass

from models import Direction, EventStatus, Scan, ScanResult, Ticket, TicketStatus, User
from services import audit, gate
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

    The hours of the gates do not bind an organizer. Raises NotFound for a ticket of somebody else's event, TicketVoid,
    Conflict for a cancelled event.
    """
    with transaction():
        ticket = _lock_ticket(actor, ticket_id)
        event = ticket.ticket_type.event
        if event.status is EventStatus.CANCELLED:
            raise Conflict("This event has been cancelled.", code="event_cancelled")
        now = clock.now()
        scan = Scan(event_id=event.id, ticket=ticket, direction=Direction.IN, scanned_at=now, **gate.by(actor))
        gate.pass_gate(scan, ticket, gate.entries_of([ticket])[ticket.id], allows_reentry=event.allows_reentry)
        db.session.add(scan)
        if scan.result is not ScanResult.OK:
            return Outcome(ticket, _already_in(ticket), is_changed=False)
        audit.record(actor, "ticket_checked_in", ticket, code=ticket.code)
    return Outcome(ticket, f"{_holder(ticket)} is checked in.", is_changed=True)


def check_out(*, actor: User, ticket_id: int) -> Outcome:
    """Take a check-in back, as if it had not been. Raises NotFound, TicketVoid."""
    with transaction():
        ticket = _lock_ticket(actor, ticket_id)
        if ticket.status is TicketStatus.VALID:
            return Outcome(ticket, f"{_holder(ticket)} is not checked in.", is_changed=False)
        was_in_since = ticket.checked_in_at
        moves = gate.moves_of([ticket.id])
        gate.take_back(actor, ticket, moves, count=len(moves))
        audit.record(
            actor,
            "ticket_checked_out",
            ticket,
            code=ticket.code,
            checked_in_at=was_in_since and clock.to_nairobi(was_in_since),
        )
    return Outcome(ticket, f"The check-in of {_holder(ticket)} is undone.", is_changed=True)


def _lock_ticket(actor: User, ticket_id: int) -> Ticket:
    ticket = gate.lock_ticket(ticket_id)
    if not ticket.ticket_type.event.is_run_by(actor):
        raise NotFound("There is no such ticket.")
    if ticket.status is TicketStatus.VOID:
        raise TicketVoid
    return ticket


def _holder(ticket: Ticket) -> str:
    return f"{ticket.first_name} {ticket.last_name}"


def _already_in(ticket: Ticket) -> str:
    if ticket.checked_in_at is None:
        return f"{_holder(ticket)} was checked in already."
    since = ticket.checked_in_at.astimezone(clock.NAIROBI)
    return f"{_holder(ticket)} was checked in already, on {since:%d.%m.%Y at %H:%M}."
