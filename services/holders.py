"""Holders: what somebody gets for a ticket of theirs. Its code to scan, its page, the sheets to print.

The code that people can read opens nothing here, since organizers have lists of them: it takes the login of who holds
the ticket, or the address of its page.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import contains_eager

from models import Event, EventStatus, Order, SupersededCode, Ticket, TicketStatus, TicketType, User
from services import ticket_keys
from services.check_in import TicketVoid
from utils import clock, references, signing, ticket_address
from utils.database import db
from utils.errors import Conflict, NotFound

#: Tickets that are printed into one file; each takes some milliseconds.
MOST_SHEETS = 100
#: What ends within so many hours is one night out, whatever the date.
_NIGHT = timedelta(hours=18)


class TicketSuperseded(Conflict):
    code = "ticket_superseded"
    message = "This ticket has been issued anew. What is valid is the newer one, at an address of its own."


class EventCancelled(Conflict):
    code, message = "event_cancelled", "This event has been cancelled: its tickets let nobody in."


class NoTickets(Conflict):
    code, message = "no_tickets", "This order has no tickets: it has not been paid."


class PassedOn(Conflict):
    code, message = "passed_on", "The tickets of this order were passed on: who got them has them."


class TooManyTickets(Conflict):
    code = "too_many_tickets"
    message = f"More than {MOST_SHEETS} tickets do not go into one file. Please open them one by one."


class Standing(enum.Enum):
    """What a ticket is worth at the door."""

    VALID = "valid"
    USED = "used"
    VOID = "void"
    #: Looked at by an address or a code of before it was issued anew: it may be somebody else's now.
    SUPERSEDED = "superseded"
    EVENT_CANCELLED = "event_cancelled"


_REFUSALS: dict[Standing, type[Conflict]] = {
    Standing.VOID: TicketVoid,
    Standing.SUPERSEDED: TicketSuperseded,
    Standing.EVENT_CANCELLED: EventCancelled,
}


@dataclass(frozen=True)
class HeldTicket:
    """A ticket before its holder's eyes, with its type, event and order."""

    ticket: Ticket
    standing: Standing
    #: What its QR code holds; None when it lets nobody in.
    token: str | None

    @property
    def event(self) -> Event:
        return self.ticket.ticket_type.event

    @property
    def holder(self) -> str:
        return f"{self.ticket.first_name} {self.ticket.last_name}"

    @property
    def order(self) -> str | None:
        """The reference of its order, which is its buyer's to know."""
        return None if self.ticket.passed_on_at else self.ticket.order.reference

    @property
    def is_managed_here(self) -> bool:
        """Whether its page is all that its holder has of it: others log in to pass it on."""
        return self.standing in (Standing.VALID, Standing.USED) and self.ticket.holder_id is None

    @property
    def day(self) -> str:
        return _day(self.event.starts_at)

    @property
    def hours(self) -> str:
        """On Nairobi's clock."""
        starts_at, ends_at = _local(self.event.starts_at), _local(self.event.ends_at)
        if ends_at - starts_at <= _NIGHT:
            return f"{starts_at:%H:%M} to {ends_at:%H:%M}"
        return f"{starts_at:%H:%M} until {_day(ends_at)}, {ends_at:%H:%M}"

    @property
    def checked_in(self) -> str | None:
        """When its holder went in."""
        if self.ticket.checked_in_at is None:
            return None
        return f"{_local(self.ticket.checked_in_at):%H:%M} on {_day(self.ticket.checked_in_at)}"

    @property
    def map_url(self) -> str:
        return f"https://www.google.com/maps/search/?api=1&query={quote(self.event.location, safe='')}"

    @property
    def has_calendar(self) -> bool:
        """Whether the event's calendar file is there for everybody."""
        return self.event.status is EventStatus.APPROVED or self.event.cancelled_in_public


@dataclass(frozen=True)
class Sheets:
    """Tickets to print, as a PDF; `name` goes without extension."""

    name: str
    pdf: bytes


@dataclass(frozen=True)
class Checked:
    """What is told to anybody who has a code. Of one that is no ticket's it is not even the standing."""

    standing: Standing | None = None
    event_title: str | None = None
    ticket_type: str | None = None

    @property
    def status(self) -> str:
        return self.standing.value if self.standing else "unknown"


def get_ticket(*, actor: User, code: str) -> HeldTicket:
    """The actor's ticket with this code, however it is typed. Raises NotFound."""
    query = _tickets().where(Ticket.code == references.grouped(code), Ticket.holder_id == actor.id)
    ticket = db.session.scalar(query)
    if ticket is None:
        raise NotFound("There is no such ticket.")
    return _hold([ticket])[0]


def show(ticket_id: int) -> HeldTicket:
    """The ticket as it is now, for who is known to hold it."""
    query = _tickets().where(Ticket.id == ticket_id).execution_options(populate_existing=True)
    return _hold([db.session.scalars(query).one()])[0]


def open_ticket(address: str) -> HeldTicket:
    """The ticket of this page. Raises NotFound."""
    try:
        ticket_id, rotation = ticket_address.read(address)
    except signing.NotSigned:
        raise NotFound("There is no ticket at this address. Please check that it is complete.") from None
    ticket = db.session.scalar(_tickets().where(Ticket.id == ticket_id))
    if ticket is None:
        raise NotFound("There is no ticket at this address.")
    if ticket.rotation != rotation:
        return HeldTicket(ticket, Standing.SUPERSEDED, token=None)
    return _hold([ticket])[0]


def show_token(held: HeldTicket) -> str:
    """What its QR code holds. Raises TicketVoid, TicketSuperseded, EventCancelled."""
    if held.token is None:
        raise _REFUSALS[held.standing]
    return held.token


def print_ticket(held: HeldTicket) -> Sheets:
    """Raises TicketVoid, TicketSuperseded, EventCancelled."""
    show_token(held)
    return _print(f"{held.event.title} {held.ticket.code}", [held])


def print_order(*, actor: User, order_id: int) -> Sheets:
    """All that is good of the actor's order, and that he still holds.

    Raises NotFound, NoTickets, PassedOn, TooManyTickets, TicketVoid, EventCancelled.
    """
    own = select(Order).where(Order.id == order_id, Order.buyer_id == actor.id)
    order = db.session.scalar(own)
    if order is None:
        raise NotFound("There is no such order.")
    held_still = _tickets().where(Ticket.order_id == order_id, Ticket.holder_id == actor.id)
    tickets = db.session.scalars(held_still.order_by(Ticket.id).limit(MOST_SHEETS + 1)).all()
    if not tickets:
        any_at_all = db.session.scalar(select(Ticket.id).where(Ticket.order_id == order_id).limit(1))
        raise PassedOn if any_at_all else NoTickets
    if len(tickets) > MOST_SHEETS:
        raise TooManyTickets
    held = _hold(tickets)
    good = [one for one in held if one.token]
    if not good:
        show_token(held[0])
    return _print(f"{held[0].event.title} {order.reference}", good)


def check_code(code: str) -> Checked:
    """Whether a ticket is still good, whosever it is."""
    typed = references.grouped(code)
    superseded = select(SupersededCode.ticket_id).where(SupersededCode.code == typed).scalar_subquery()
    row = db.session.execute(
        select(Ticket.code, Ticket.status, Event.status, Event.title, TicketType.name)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(or_(Ticket.code == typed, Ticket.id == superseded))
    ).one_or_none()
    if row is None:
        return Checked()
    newest, status, event_status, title, ticket_type = row
    standing = _standing(status, event_status) if newest == typed else Standing.SUPERSEDED
    return Checked(standing, title, ticket_type)


def _tickets() -> Select[tuple[Ticket]]:
    return (
        select(Ticket)
        .join(Ticket.order)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .options(
            contains_eager(Ticket.order),
            contains_eager(Ticket.ticket_type).contains_eager(TicketType.event),
        )
    )


def _hold(tickets: Sequence[Ticket]) -> list[HeldTicket]:
    """Tickets of one event, as they are now."""
    event = tickets[0].ticket_type.event
    standings = [_standing(ticket.status, event.status) for ticket in tickets]
    good = [ticket for ticket, standing in zip(tickets, standings, strict=True) if standing not in _REFUSALS]
    tokens = dict(zip((one.id for one in good), ticket_keys.make_tokens(good, event), strict=True)) if good else {}
    return [
        HeldTicket(ticket, standing, tokens.get(ticket.id)) for ticket, standing in zip(tickets, standings, strict=True)
    ]


def _standing(status: TicketStatus, event_status: EventStatus) -> Standing:
    if status is not TicketStatus.VOID and event_status is EventStatus.CANCELLED:
        return Standing.EVENT_CANCELLED
    return Standing(status.value)


def _print(name: str, held: Sequence[HeldTicket]) -> Sheets:
    from utils import ticket_sheet  # noqa: PLC0415  # with all there is to fonts, for who prints

    sheets = [
        ticket_sheet.Sheet(
            title=one.event.title,
            place=one.event.location,
            map_url=one.map_url,
            day=one.day,
            hours=one.hours,
            holder=one.holder,
            ticket_type=one.ticket.ticket_type.name,
            code=one.ticket.code,
            order=one.order,
            token=show_token(one),
            terms=_terms(one.event),
        )
        for one in held
    ]
    return Sheets(name, ticket_sheet.write(sheets))


def _terms(event: Event) -> list[str]:
    return [
        "It lets one person in, once: whoever shows the code first. Keep it to yourself, and post no picture of it.",
        "Paper or phone, either will do. Have it ready at the door, a phone with its screen bright.",
        _refund_terms(event),
    ]


def _refund_terms(event: Event) -> str:
    hours = event.refund_until_hours
    if hours is None:
        return "The organizer gives no refunds. If the event is cancelled, what was paid goes back."
    until = _local(event.starts_at - timedelta(hours=hours))
    return (
        f"Refunds are up to the organizer, until {_day(until)}, {until:%H:%M}."
        " If the event is cancelled, what was paid goes back."
    )


def _day(moment: datetime) -> str:
    local = _local(moment)
    return f"{local:%A}, {local.day} {local:%B %Y}"


def _local(moment: datetime) -> datetime:
    return moment.astimezone(clock.NAIROBI)
