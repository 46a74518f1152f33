"""What a device at a gate takes along: enough to recognise an event's tickets without a network, and nobody's name."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Select, select, tuple_

from models import Event, GatePass, SupersededCode, Ticket, TicketStatus, TicketType
from services import gate_passes, ticket_keys
from services.gate_passes import Gatekeeper
from utils import clock, references
from utils.database import db

#: Tickets of one page.
PAGE_ROWS = 5_000
#: A change is stamped before it is committed, and no transaction may take so long: what is newer is told once more.
_OVERLAP = timedelta(minutes=1)
_CODE_HASH_BYTES = 10


@dataclass(frozen=True)
class Manifest:
    event: Event
    #: Of who reads it, if it is one.
    gate_pass: GatePass | None
    opens_at: datetime
    closes_at: datetime
    #: Ed25519, 32 bytes each in base64, the newest first.
    keys: Sequence[str]
    ticket_types: Sequence[TicketType]
    #: Ticket id, rotation, state, ticket type id, `hash_code`.
    tickets: Sequence[tuple[int, int, str, int, str]]
    #: Ticket id and `hash_code` of codes that these tickets had before they were issued anew.
    superseded: Sequence[tuple[int, str]]
    #: To be sent as `since` next time: that of the first page, on all of its pages.
    cursor: str
    next_page: str | None


def read_manifest(*, actor: Gatekeeper, event_id: int | None, since: str | None, page: str | None) -> Manifest:
    """All tickets of an event, or those that changed `since` an earlier cursor. Raises NotFound, Invalid."""
    # Before anything is read: what changes from now on is told next time.
    cursor, after = _start() if page is None else _read_page(page)
    post = gate_passes.find_post(actor, event_id)
    event = post.event
    opens_at, closes_at = ticket_keys.opening_hours(event)
    types = db.session.scalars(
        select(TicketType).where(TicketType.event_id == event.id).order_by(TicketType.price_kes, TicketType.id)
    ).all()
    rows = db.session.execute(_tickets([one.id for one in types], since, after)).all()
    next_page = None
    if len(rows) > PAGE_ROWS:
        rows = rows[:PAGE_ROWS]
        next_page = f"{cursor}-{rows[-1].ticket_type_id}-{rows[-1].id}"
    return Manifest(
        event=event,
        gate_pass=actor if isinstance(actor, GatePass) else None,
        opens_at=opens_at,
        closes_at=closes_at,
        keys=[base64.b64encode(key.public_bytes_raw()).decode() for key in post.keys],
        ticket_types=types,
        tickets=[
            (one.id, one.rotation, _state(one), one.ticket_type_id, hash_code(event.id, one.code)) for one in rows
        ],
        superseded=_superseded(event.id, [one.id for one in rows if one.rotation > 1]),
        cursor=cursor,
        next_page=next_page,
    )


def hash_code(event_id: int, code: str) -> str:
    """What a typed code is looked up by: the beginning of SHA-256 over `<event id>:<code without dashes>`, base64url
    without padding."""
    digest = hashlib.sha256(f"{event_id}:{references.normalise(code)}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:_CODE_HASH_BYTES]).decode().rstrip("=")


def _start() -> tuple[str, tuple[int, int]]:
    return str(int((clock.now() - _OVERLAP).timestamp() * 1000)), (0, 0)


def _read_page(page: str) -> tuple[str, tuple[int, int]]:
    cursor, type_id, ticket_id = page.split("-")
    return cursor, (int(type_id), int(ticket_id))


def _tickets(type_ids: Sequence[int], since: str | None, after: tuple[int, int]) -> Select[Any]:
    """In the order of an index, one more than a page has."""
    query = (
        select(Ticket.id, Ticket.rotation, Ticket.status, Ticket.left_at, Ticket.refund_id)
        .add_columns(Ticket.ticket_type_id, Ticket.code)
        .where(Ticket.ticket_type_id.in_(type_ids), tuple_(Ticket.ticket_type_id, Ticket.id) > after)
        .order_by(Ticket.ticket_type_id, Ticket.id)
        .limit(PAGE_ROWS + 1)
    )
    if since is None:
        return query
    return query.where(Ticket.changed_at >= datetime.fromtimestamp(int(since) / 1000, timezone.utc))


def _superseded(event_id: int, ticket_ids: Sequence[int]) -> list[tuple[int, str]]:
    if not ticket_ids:
        return []
    rows = db.session.execute(
        select(SupersededCode.ticket_id, SupersededCode.code)
        .where(SupersededCode.ticket_id.in_(ticket_ids))
        .order_by(SupersededCode.ticket_id, SupersededCode.id)
    )
    return [(ticket_id, hash_code(event_id, code)) for ticket_id, code in rows.tuples()]


def _state(ticket: Any) -> str:
    if ticket.status is TicketStatus.VOID:
        return "refunded" if ticket.refund_id is not None else "void"
    if ticket.status is TicketStatus.VALID:
        return "valid"
    return "in" if ticket.left_at is None else "out"
