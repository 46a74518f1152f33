"""Keys that tickets are signed with: each event has a pair of its own, made when its first ticket is shown.

The private key is sealed with SECRET_KEY before it is stored. Should that be lost, what it signed stays valid,
since the public key is plain; the event gets another pair for what is signed from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from config import settings
from models import Event, Ticket, TicketKey
from utils import sealing, ticket_token
from utils.database import db, transaction

_PURPOSE = "ticket-keys"
#: How long before an event's start, and after its end, its tickets let people in.
OPENS_BEFORE, CLOSES_AFTER = timedelta(hours=12), timedelta(hours=6)


def make_token(ticket: Ticket, event: Event) -> str:
    """What the ticket's QR code holds, from what is known of its event now."""
    return make_tokens([ticket], event)[0]


def make_tokens(tickets: Sequence[Ticket], event: Event) -> list[str]:
    """The same of several tickets of one event."""
    key = signing_key(event.id)
    # An event may be planned for a time that no token can tell.
    opens_at, closes_at = (min(one, ticket_token.LAST_INSTANT) for one in opening_hours(event))
    return [
        ticket_token.sign(
            ticket_token.Facts(
                event_id=event.id,
                ticket_id=ticket.id,
                ticket_type_id=ticket.ticket_type_id,
                valid_from=opens_at,
                valid_until=closes_at,
                rotation=ticket.rotation,
            ),
            key,
        )
        for ticket in tickets
    ]


def opening_hours(event: Event) -> tuple[datetime, datetime]:
    """From when, and until when, the event's gates let people in."""
    return event.starts_at - OPENS_BEFORE, event.ends_at + CLOSES_AFTER


def public_keys(event_id: int) -> list[Ed25519PublicKey]:
    """The newest first."""
    return [Ed25519PublicKey.from_public_bytes(key.public_key) for key in _read(event_id)]


def signing_key(event_id: int) -> Ed25519PrivateKey:
    """The event's newest private key; made now where it has none that can be opened."""
    kept = _read(event_id)
    if kept and (key := _open(kept[0])) is not None:
        return key
    with transaction() as session:
        # Of two at once, one waits here and finds the other's.
        session.execute(select(Event.id).where(Event.id == event_id).with_for_update(key_share=True))
        kept = _read(event_id)
        if kept and (key := _open(kept[0])) is not None:
            return key
        key = Ed25519PrivateKey.generate()
        public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        session.add(TicketKey(event_id=event_id, public_key=public_key, sealed_private_key=_seal(key, public_key)))
    return key


def _read(event_id: int) -> Sequence[TicketKey]:
    return db.session.scalars(
        select(TicketKey).where(TicketKey.event_id == event_id).order_by(TicketKey.id.desc())
    ).all()


# ── Sealing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _seal(key: Ed25519PrivateKey, public_key: bytes) -> bytes:
    return sealing.seal(key.private_bytes_raw(), key=settings.SECRET_KEY, purpose=_PURPOSE, beside=public_key)


def _open(kept: TicketKey) -> Ed25519PrivateKey | None:
    """None when it was sealed with a SECRET_KEY that is neither the one of now nor one of before."""
    try:
        plain = sealing.unseal(
            kept.sealed_private_key, keys=settings.secret_keys, purpose=_PURPOSE, beside=kept.public_key
        )
    except sealing.CannotOpen:
        return None
    return Ed25519PrivateKey.from_private_bytes(plain)
