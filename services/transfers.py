"""Transfers: a ticket goes from who holds it to somebody else, who accepts it at an address that is sent to them.

Until then nothing changes, so a mistyped number loses no ticket. With it, all that the sender has of the ticket ends.
Every step holds the lock of the ticket's row: accepting, withdrawing, scanning and refunding come one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import contains_eager

from models import Event, EventStatus, NotificationChannel, Order, Ticket, TicketStatus, TicketType, Transfer, User
from models import TransferStatus as Status
from services import admission, audit, events, gate, holders, notifications, occasions
from services.check_in import TicketVoid
from services.holders import EventCancelled, HeldTicket
from services.possession import Possession, by_login
from utils import clock, signing, ticket_address
from utils.database import db, transaction
from utils.errors import Conflict, Invalid, NotFound

#: How often a ticket may change hands: enough for friends and families, too little for a trade.
MOST_TRANSFERS = 3
#: Offers of one ticket, whatever became of them: each writes to somebody who may never have heard of us.
MOST_OFFERS = 10


class TicketUsed(Conflict):
    code, message = "ticket_used", "This ticket was used at the gate: it cannot be passed on."


class TransfersClosed(Conflict):
    code, message = "transfers_closed", "It is too late: tickets of this event cannot be passed on any more."


class TooManyTransfers(Conflict):
    code = "too_many_transfers"
    message = f"This ticket has changed hands {MOST_TRANSFERS} times: it cannot be passed on again."


class TooManyOffers(Conflict):
    code = "too_many_offers"
    message = f"This ticket has been offered {MOST_OFFERS} times: it cannot be offered again."


class OfferOpen(Conflict):
    code = "offer_open"
    message = "This ticket is on its way to somebody already. Please take that back first."


class OfferAccepted(Conflict):
    code, message = "offer_accepted", "This ticket has been accepted: the link works once."


class OfferWithdrawn(Conflict):
    code, message = "offer_withdrawn", "The sender has taken this ticket back."


class ChannelOff(Conflict):
    code, message = "channel_off", "Messages of this kind cannot be sent at the moment. Please try the other kind."


class NotPassedOn(Conflict):
    code = "not_passed_on"
    message = "Nobody passed this ticket on to you: about its money, please ask the event's organizer."


#: What keeps a ticket from being passed on.
REFUSALS = (TicketVoid, TicketUsed, EventCancelled, TransfersClosed, TooManyTransfers)
_ENDED = {Status.ACCEPTED: OfferAccepted, Status.WITHDRAWN: OfferWithdrawn}


# ── The sender ────────────────────────────────────────────────────────────────────────────────────────────────────


def offer(
    possession: Possession,
    *,
    email: str | None,
    phone: str | None,
    first_name: str | None = None,
    last_name: str | None = None,
) -> Transfer:
    """Send somebody the address that accepts the ticket, to an e-mail address or else to a number.

    Raises what `Possession.lock` does, REFUSALS, OfferOpen, TooManyOffers, ChannelOff.
    """
    with transaction() as session:
        ticket = possession.lock()
        if refusal := _why_not(ticket):
            raise refusal
        made = session.scalars(select(Transfer.status).where(Transfer.ticket_id == ticket.id)).all()
        if Status.OFFERED in made:
            raise OfferOpen
        if len(made) >= MOST_OFFERS:
            raise TooManyOffers
        if not notifications.is_set_up(NotificationChannel.EMAIL if email else NotificationChannel.SMS):
            raise ChannelOff
        sender = possession.holder or ticket
        transfer = Transfer(
            ticket=ticket,
            from_id=ticket.holder_id,
            from_name=f"{sender.first_name} {sender.last_name}",
            from_email=sender.email,
            from_phone=sender.phone,
            to_email=email,
            to_phone=None if email else phone,
            first_name=first_name,
            last_name=last_name,
        )
        session.add(transfer)
        session.flush()
        audit.record(possession.holder, "ticket_offered", ticket, transfer=transfer.id)
        occasions.tell_transfer_offered(transfer, ticket)
    return transfer


def get_offer(*, actor: User, code: str) -> Transfer:
    """The offer of the actor's ticket that waits for its receiver. Raises NotFound."""
    return _find_offer(by_login(actor, code).ticket_id)


def waiting_offer(held: HeldTicket) -> Transfer | None:
    """The same, of a ticket that somebody has the page of."""
    return db.session.scalar(_offers(held.ticket.id))


def withdraw(possession: Possession) -> Transfer:
    """Take the offer back. Raises what `Possession.lock` does, NotFound when none waits any more."""
    with transaction():
        ticket = possession.lock()
        transfer = _find_offer(ticket.id)
        _end(transfer, Status.WITHDRAWN)
        audit.record(possession.holder, "ticket_offer_withdrawn", ticket, transfer=transfer.id)
    return transfer


def end_offer(ticket: Ticket) -> None:
    """Withdraw what waits, if any, of a ticket that is locked."""
    waiting = db.session.scalar(_offers(ticket.id))
    if waiting is not None:
        _end(waiting, Status.WITHDRAWN)


def set_refund_agreement(possession: Possession, *, agrees: bool) -> HeldTicket:
    """Whether who was passed a ticket on agrees that its money goes back to its buyer; without it, it does not.

    Raises what `Possession.lock` does, NotPassedOn, TicketVoid.
    """
    with transaction():
        ticket = possession.lock()
        if ticket.status is TicketStatus.VOID:
            raise TicketVoid
        if ticket.passed_on_at is None:
            raise NotPassedOn
        if agrees is not (ticket.refund_agreed_at is not None):
            ticket.refund_agreed_at = clock.now() if agrees else None
            audit.record(possession.holder, "ticket_refund_agreed" if agrees else "ticket_refund_not_agreed", ticket)
    return holders.show(ticket.id)


# ── The receiver ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Offer:
    """What whoever has the address of an offer sees; `refusal` says why it cannot be accepted."""

    transfer: Transfer
    refusal: Conflict | None

    @property
    def status(self) -> str:
        """`open`, or the code of the refusal."""
        return self.refusal.code if self.refusal else "open"

    @property
    def message(self) -> str:
        if self.refusal:
            return self.refusal.message
        return f"{self.transfer.from_name} would like to give you a ticket."

    @property
    def event(self) -> Event:
        return self.transfer.ticket.ticket_type.event

    @property
    def ticket_type(self) -> str:
        return self.transfer.ticket.ticket_type.name

    @property
    def when(self) -> str:
        held = HeldTicket(self.transfer.ticket, holders.Standing.VALID, token=None)
        return f"{held.day}, {held.hours}"


def read_offer(address: str) -> Offer:
    """Raises NotFound."""
    transfer = db.session.scalar(
        select(Transfer)
        .join(Transfer.ticket)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Transfer.id == _read(address))
        .options(
            contains_eager(Transfer.ticket).contains_eager(Ticket.ticket_type).contains_eager(TicketType.event),
        )
        .execution_options(populate_existing=True)
    )
    if transfer is None:
        raise NotFound("There is no ticket at this address.")
    ended = _ENDED.get(transfer.status)
    return Offer(transfer, ended() if ended else _why_not(transfer.ticket))


def accept(address: str, *, actor: User | None, first_name: str | None, last_name: str | None) -> HeldTicket:
    """Take the ticket over: into the actor's account, or without one. All that the sender has of it ends.

    Raises NotFound, OfferAccepted, OfferWithdrawn, REFUSALS, Invalid without a name.
    """
    with transaction() as session:
        transfer = session.get(Transfer, _read(address))
        if transfer is None:
            raise NotFound("There is no ticket at this address.")
        ticket = gate.lock_ticket(transfer.ticket_id)
        session.refresh(transfer)  # whoever held the lock may have ended it
        if ended := _ENDED.get(transfer.status):
            raise ended
        if refusal := _why_not(ticket):
            raise refusal
        transfer.first_name = first_name or transfer.first_name or (actor.first_name if actor else None)
        transfer.last_name = last_name or transfer.last_name or (actor.last_name if actor else None)
        if transfer.first_name is None or transfer.last_name is None:
            raise Invalid("Please give your first and your last name.", code="name_missing")
        _end(transfer, Status.ACCEPTED)
        transfer.to_id = actor.id if actor else None
        _hand_over(ticket, transfer, actor)
        audit.record(actor, "ticket_passed_on", ticket, transfer=transfer.id)
        session.flush()
        occasions.tell_transfer_accepted(transfer, ticket)
    return holders.show(ticket.id)


def _hand_over(ticket: Ticket, transfer: Transfer, receiver: User | None) -> None:
    admission.issue_anew(ticket)
    buyer_id = db.session.scalar(select(Order.buyer_id).where(Order.id == ticket.order_id))
    is_back = receiver is not None and receiver.id == buyer_id
    ticket.passed_on_at, ticket.refund_agreed_at = None if is_back else clock.now(), None
    ticket.holder_id = receiver.id if receiver else None
    ticket.first_name, ticket.last_name = transfer.first_name or "", transfer.last_name or ""
    ticket.email = transfer.to_email or (receiver.email if receiver else "")
    ticket.phone = transfer.to_phone or (receiver.phone if receiver else "")


# ── The chain ─────────────────────────────────────────────────────────────────────────────────────────────────────


def list_transfers(*, actor: User, event_id: int) -> Select[tuple[Transfer]]:
    """Of the actor's event, newest first, with tickets and their types. Raises NotFound."""
    events.get_own_event(actor=actor, event_id=event_id)
    return (
        select(Transfer)
        .join(Transfer.ticket)
        .join(Ticket.ticket_type)
        .where(TicketType.event_id == event_id)
        .options(contains_eager(Transfer.ticket).contains_eager(Ticket.ticket_type))
        .order_by(Transfer.id.desc())
    )


# ── Both ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _why_not(ticket: Ticket) -> Conflict | None:
    """What keeps the ticket from being passed on; needs its type and event."""
    event = ticket.ticket_type.event
    if ticket.status is TicketStatus.VOID:
        return TicketVoid()
    if event.status is EventStatus.CANCELLED:
        return EventCancelled()
    if ticket.status is TicketStatus.USED:
        return TicketUsed()
    if event.transfer_until_hours is None:
        return TransfersClosed("The organizer does not let tickets of this event be passed on.")
    if clock.now() >= event.starts_at - timedelta(hours=event.transfer_until_hours):
        return TransfersClosed()
    accepted = select(func.count()).where(Transfer.ticket_id == ticket.id, Transfer.status == Status.ACCEPTED)
    return TooManyTransfers() if (db.session.scalar(accepted) or 0) >= MOST_TRANSFERS else None


def _offers(ticket_id: int) -> Select[tuple[Transfer]]:
    return select(Transfer).where(Transfer.ticket_id == ticket_id, Transfer.status == Status.OFFERED)


def _find_offer(ticket_id: int) -> Transfer:
    transfer = db.session.scalar(_offers(ticket_id))
    if transfer is None:
        raise NotFound("This ticket is not on its way to anybody.", code="no_offer")
    return transfer


def _end(transfer: Transfer, status: Status) -> None:
    transfer.status, transfer.ended_at = status, clock.now()


def _read(address: str) -> int:
    try:
        return ticket_address.read_offer(address)
    except signing.NotSigned:
        raise NotFound("There is no ticket at this address. Please check that it is complete.") from None
