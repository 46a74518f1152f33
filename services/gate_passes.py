"""Gate passes: people without an account who work at the gates of one event, and what they may do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Select, func, select
from sqlalchemy.orm import with_expression

from config import settings
from models import Event, EventStatus, GatePass, Scan, TicketKey, User
from services import audit, events, ticket_keys
from utils import clock
from utils.database import transaction
from utils.errors import Invalid, NotFound, Unauthenticated
from utils.prepared import Prepared, as_read, given
from utils.security import hash_secret, new_secret

#: Who works at a gate: an organizer or admin, or the holder of a pass.
Gatekeeper = User | GatePass


class GatePassUnknown(Unauthenticated):
    code, message = "gate_pass_unknown", "This gate pass is not known. Please ask the organizer for another one."


class GatePassRevoked(Unauthenticated):
    code, message = "gate_pass_revoked", "This gate pass has been taken back. Please ask the organizer for another one."


class GatePassExpired(Unauthenticated):
    code, message = "gate_pass_expired", "This gate pass has expired. Please ask the organizer for another one."


@dataclass(frozen=True)
class NewPass:
    """A pass with its secret, which is shown this once."""

    gate_pass: GatePass
    secret: str

    @property
    def link(self) -> str:
        """The secret is in the fragment, which browsers send to no server. It fits a QR code as it is."""
        return f"{settings.PUBLIC_URL}/gate#{self.secret}"


def make_pass(*, actor: User, event_id: int, name: str, gates: Sequence[str], expires_at: datetime | None) -> NewPass:
    """For one's own event. Without `gates` it works at all of them, without `expires_at` until they close.

    Raises NotFound, Invalid.
    """
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid("The pass must expire in the future.", code="expires_in_the_past")
    secret = new_secret()
    with transaction() as session:
        event = events.get_own_event(actor=actor, event_id=event_id)
        gate_pass = GatePass(
            event=event,
            made_by_id=actor.id,
            name=name,
            gates=list(dict.fromkeys(gates)),
            secret_hash=hash_secret(secret),
            expires_at=expires_at,
        )
        session.add(gate_pass)
        session.flush()
        audit.record(actor, "gate_pass_made", gate_pass, event=event.id, name=name)
    return NewPass(gate_pass, secret)


def list_passes(*, actor: User, event_id: int) -> Select[tuple[GatePass]]:
    """Those of one's own event, newest first, with when each scanned last. Raises NotFound."""
    events.get_own_event(actor=actor, event_id=event_id)
    last_used = select(func.max(Scan.received_at)).where(Scan.gate_pass_id == GatePass.id).correlate(GatePass)
    return (
        select(GatePass)
        .where(GatePass.event_id == event_id)
        .execution_options(populate_existing=True)
        .options(with_expression(GatePass.last_used_at, last_used.scalar_subquery()))
        .order_by(GatePass.id.desc())
    )


def revoke_pass(*, actor: User, event_id: int, pass_id: int) -> None:
    """It opens nothing from now on; twice is fine. Raises NotFound."""
    with transaction() as session:
        events.get_own_event(actor=actor, event_id=event_id)
        gate_pass = session.scalar(
            select(GatePass)
            .where(GatePass.id == pass_id, GatePass.event_id == event_id)
            .with_for_update(key_share=True)
        )
        if gate_pass is None:
            raise NotFound("There is no such gate pass.")
        if gate_pass.revoked_at is None:
            gate_pass.revoked_at = clock.now()
            audit.record(actor, "gate_pass_revoked", gate_pass, event=event_id, name=gate_pass.name)


def authenticate(secret: str) -> GatePass:
    """The pass with this secret, with its event's hours. Raises GatePassUnknown, GatePassRevoked, GatePassExpired."""
    row = _PASS.row(secret_hash=hash_secret(secret))
    if row is None:
        raise GatePassUnknown
    *values, starts_at, ends = row
    facts = dict(zip(_PASS_COLUMNS, values, strict=True))
    event = as_read(Event, {"id": facts["event_id"], "starts_at": starts_at, "ends_at": ends})
    gate_pass = as_read(GatePass, facts | {"event": event})
    if gate_pass.revoked_at is not None:
        raise GatePassRevoked
    if ends_at(gate_pass) <= clock.now():
        raise GatePassExpired
    return gate_pass


_PASS_COLUMNS = [column.name for column in GatePass.__table__.columns]
_PASS = Prepared(
    select(*GatePass.__table__.columns, Event.starts_at, Event.ends_at)
    .join(Event, Event.id == GatePass.event_id)
    .where(GatePass.secret_hash == given("secret_hash"))
)


@dataclass(frozen=True)
class Post:
    """Where somebody works: the event, as much of it as is asked at its gates, and what verifies its tickets."""

    event: Event
    #: The newest first.
    keys: Sequence[Ed25519PublicKey]


def find_post(actor: Gatekeeper, event_id: int | None) -> Post:
    """A pass has one event, everybody else has to say at which of theirs. Raises NotFound, Invalid."""
    if isinstance(actor, GatePass):
        if event_id not in (None, actor.event_id):
            raise NotFound("This gate pass is for another event.")
        return _read_post(actor.event_id)
    if event_id is None:
        told = "event_id is missing."
        raise Invalid(told, errors=[{"field": "event_id", "message": told}])
    post = _read_post(event_id)
    if not post.event.is_run_by(actor):
        raise NotFound("There is no such event.")
    return post


def _read_post(event_id: int) -> Post:
    """Whoever asks. Raises NotFound."""
    rows = _POST.rows(event_id=event_id)
    if not rows:
        raise NotFound("There is no such event.")
    facts = dict(zip(_EVENT_FACTS, rows[0], strict=False))
    event = as_read(Event, facts | {"status": EventStatus(facts["status"])})
    return Post(event, [Ed25519PublicKey.from_public_bytes(bytes(row[-1])) for row in rows if row[-1] is not None])


_EVENT_FACTS = ("id", "organizer_id", "title", "status", "starts_at", "ends_at", "allows_reentry")
_POST = Prepared(
    select(*(getattr(Event, name) for name in _EVENT_FACTS), TicketKey.public_key)
    .outerjoin(TicketKey, TicketKey.event_id == Event.id)
    .where(Event.id == given("event_id"))
    .order_by(TicketKey.id.desc())
)


def ends_at(gate_pass: GatePass) -> datetime:
    """Needs `event`."""
    return gate_pass.expires_at or ticket_keys.opening_hours(gate_pass.event)[1]
