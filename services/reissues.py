"""Reissue: for a lost phone, a ticket gets another QR code, another code and another address; the old ones end."""

from __future__ import annotations

from models import AccountStatus, EventStatus, Ticket, TicketStatus, User
from services import admission, audit, gate, holders, notifications, occasions, transfers
from services.check_in import TicketVoid
from services.holders import EventCancelled, HeldTicket
from services.possession import Possession
from utils import phone as phones
from utils.database import db, transaction
from utils.errors import Conflict, NotFound

#: How often one ticket is issued anew, transfers included: each time somebody is written to.
MOST_ISSUES = 10


class EventOver(Conflict):
    code, message = "event_over", "This event is over: its tickets are not issued anew."


class TooManyIssues(Conflict):
    code = "too_many_issues"
    message = f"This ticket has been issued anew {MOST_ISSUES} times: that is all. The organizer can let its holder in."


#: What keeps a ticket from being issued anew.
REFUSALS = (TicketVoid, EventCancelled, EventOver, TooManyIssues)


def reissue(possession: Possession) -> HeldTicket:
    """For who is logged in; the new address is also sent. Raises what `Possession.lock` does, REFUSALS."""
    with transaction():
        ticket = possession.lock()
        _reissue(ticket, possession.holder)
    return holders.show(ticket.id)


def reissue_by_message(possession: Possession) -> str:
    """For who has the page alone: the new address goes to its holder and nobody else, since the page may be in the
    hands of who found the phone. Returns where, masked. Raises what `reissue` does, ChannelOff.
    """
    with transaction():
        ticket = possession.lock()
        _check_is_reached(ticket)
        _reissue(ticket, None)
    return _mask(ticket)


def reissue_for_holder(*, actor: User, ticket_id: int) -> Ticket:
    """By the organizer of its event or an admin, for a holder who lost it; only the holder is told the address.

    Raises NotFound, REFUSALS, ChannelOff.
    """
    with transaction():
        ticket = gate.lock_ticket(ticket_id)
        if not ticket.ticket_type.event.is_run_by(actor):
            raise NotFound("There is no such ticket.")
        _check_is_reached(ticket)
        _reissue(ticket, actor)
    return ticket


def _reissue(ticket: Ticket, actor: User | None) -> None:
    event = ticket.ticket_type.event
    if ticket.status is TicketStatus.VOID:
        raise TicketVoid
    if event.status is EventStatus.CANCELLED:
        raise EventCancelled
    if event.is_over:
        raise EventOver
    if ticket.rotation > MOST_ISSUES:
        raise TooManyIssues
    transfers.end_offer(ticket)  # whoever has what ends now may have made it
    admission.issue_anew(ticket)
    audit.record(actor, "ticket_reissued", ticket, rotation=ticket.rotation)
    occasions.tell_ticket_reissued(ticket)


def _check_is_reached(ticket: Ticket) -> None:
    """Who has an account sees the ticket there; who has none, or none any more, would never learn its new address."""
    if ticket.holder_id is None:
        is_reached = notifications.channel_to(notifications.Contact(ticket.email, ticket.phone)) is not None
    else:
        is_reached = db.session.get_one(User, ticket.holder_id).status is not AccountStatus.DELETED
    if not is_reached:
        raise transfers.ChannelOff("No message can be sent to this ticket's holder at the moment.")


def _mask(ticket: Ticket) -> str:
    if not ticket.email:
        return phones.mask(ticket.phone)
    name, _, domain = ticket.email.partition("@")
    return f"{name[0]}***@{domain}"
