"""Exports: the people who come to an event, as a table to take away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from config import settings
from models import Event, Order, Payment, PaymentStatus, Role, Ticket, TicketStatus, TicketType, User
from services import accounts, audit
from utils import clock, signing
from utils.database import db, transaction
from utils.errors import Forbidden, NotFound, Unauthenticated

HEADER = (
    "Ticket code",
    "First name",
    "Last name",
    "E-mail",
    "Phone",
    "Ticket type",
    "Price (KES)",
    "Order",
    "M-PESA receipt",
    "Bought at",
    "Checked in",
    "Checked in at",
)
#: How long an address to download from works.
LINK_SECONDS = 300
_LINK = "attendee export"
#: Tickets read by one statement.
_CHUNK = 2_000
_DIALLED = re.compile(r"254\d{9}")


class LinkInvalid(Unauthenticated):
    code, message = "link_invalid", "This address does not work. Please start the download again."


class LinkExpired(LinkInvalid):
    code, message = "link_expired", "This address has expired. Please start the download again."


@dataclass(frozen=True)
class Table:
    """What a file is made of. `rows` are read while it is written."""

    name: str
    header: Sequence[str]
    rows: Iterator[Sequence[object]]


@dataclass(frozen=True)
class Link:
    url: str
    expires_at: datetime


def export_attendees(*, actor: User, event_id: int, file_format: str, by_link: bool = False) -> Table:
    """Who holds a ticket of one's own event; what was given back is left out. Raises NotFound."""
    with transaction():
        event = _own_event(actor, event_id)
        audit.record(actor, "attendees_exported", event, format=file_format, by_link=by_link)
    return Table(f"{event.title} attendees", HEADER, _read_attendees(event_id))


def make_link(*, actor: User, event_id: int, file_format: str) -> Link:
    """An address for a browser, which sends no token: for this event and format, and LINK_SECONDS. Raises NotFound."""
    event = _own_event(actor, event_id)
    expires_at = clock.ahead(seconds=LINK_SECONDS).replace(microsecond=0)
    subject = (actor.id, event.id, file_format, signing.fingerprint(actor.password_hash))
    token = signing.sign(_LINK, subject, expires_at=expires_at)
    url = f"{settings.PUBLIC_URL}/events/{event.id}/attendees/export/{token}?format={file_format}"
    return Link(url, expires_at)


def export_by_link(*, event_id: int, file_format: str, token: str) -> Table:
    """What `export_attendees` gives the maker of the link, if it still may be given to them.

    Raises LinkInvalid, LinkExpired, AccountBanned, Forbidden, NotFound.
    """
    try:
        maker_id, *what, password = signing.verify(_LINK, token)
    except signing.Expired:
        raise LinkExpired from None
    except signing.NotSigned:
        raise LinkInvalid from None
    if what != [event_id, file_format]:
        raise LinkInvalid
    maker = accounts.authenticate(int(maker_id))
    if not signing.is_fingerprint(password, maker.password_hash):
        raise LinkInvalid
    if maker.role is Role.ATTENDEE:
        raise Forbidden("Only admins and organizers can do this.")
    return export_attendees(actor=maker, event_id=event_id, file_format=file_format, by_link=True)


def _own_event(actor: User, event_id: int) -> Event:
    event = db.session.scalar(select(Event).where(Event.id == event_id))
    if event is None or not event.is_run_by(actor):
        raise NotFound("There is no such event.")
    return event


def _read_attendees(event_id: int) -> Iterator[Sequence[object]]:
    """Rows under HEADER, by ticket type, in the order they were bought.

    Read in pieces by key, each on a connection that goes back at once: a cursor of the database would hold one of the
    few connections of the process, and its snapshot, for as long as somebody's download takes. So what is bought
    meanwhile may be in it, and no row is in it twice or missing.
    """
    with db.engine.connect() as connection:
        types = select(TicketType.id).where(TicketType.event_id == event_id).order_by(TicketType.id)
        type_ids = connection.scalars(types).all()
    for type_id in type_ids:
        last_id, chunk = 0, None
        while chunk is None or len(chunk) == _CHUNK:
            with db.engine.connect() as connection:
                chunk = connection.execute(_attendees_after(type_id, last_id)).all()
            for ticket_id, *cells in chunk:
                yield _row(*cells)
                last_id = ticket_id


def _attendees_after(type_id: int, last_id: int) -> Select[Any]:
    # As Order.evidence finds it.
    receipt = (
        select(Payment.receipt)
        .where(Payment.order_id == Order.id, Payment.status == PaymentStatus.PAID)
        .order_by(func.coalesce(Payment.paid_at, Payment.created_at), Payment.id)
        .limit(1)
        .correlate(Order)
        .scalar_subquery()
    )
    return (
        select(
            Ticket.id,
            Ticket.code,
            Ticket.first_name,
            Ticket.last_name,
            Ticket.email,
            Ticket.phone,
            TicketType.name,
            Ticket.price_kes,
            Order.reference,
            receipt,
            Ticket.issued_at,
            Ticket.checked_in_at,
        )
        .join(Ticket.order)
        .join(Ticket.ticket_type)
        .where(Ticket.ticket_type_id == type_id, Ticket.id > last_id, Ticket.status != TicketStatus.VOID)
        .order_by(Ticket.id)
        .limit(_CHUNK)
    )


def _row(*cells: Any) -> Sequence[object]:
    code, first_name, last_name, email, phone, ticket_type, price_kes, order, receipt, bought_at, checked_in_at = cells
    whose = (code, first_name, last_name, email, _dialled(phone))
    return (*whose, ticket_type, price_kes, order, receipt, bought_at, checked_in_at is not None, checked_in_at)


def _dialled(phone: str) -> str:
    """With its plus, as every phone and gateway takes it."""
    return f"+{phone}" if _DIALLED.fullmatch(phone) else phone
