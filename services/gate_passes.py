"""Gate passes: people without an account who work at the gates of one event, and what they may do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import contains_eager, with_expression

from config import settings
from models import Event, GatePass, Scan, User
from services import audit, events, ticket_keys
from utils import clock
from utils.database import db, transaction
from utils.errors import Invalid, NotFound, Unauthenticated
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
        _with_event()
        .where(GatePass.event_id == event_id)
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
    """The pass with this secret, with its event. Raises GatePassUnknown, GatePassRevoked, GatePassExpired."""
    gate_pass = db.session.scalar(_with_event().where(GatePass.secret_hash == hash_secret(secret)))
    if gate_pass is None:
        raise GatePassUnknown
    if gate_pass.revoked_at is not None:
        raise GatePassRevoked
    if ends_at(gate_pass) <= clock.now():
        raise GatePassExpired
    return gate_pass


def find_event(actor: Gatekeeper, event_id: int | None) -> Event:
    """The event at whose gates the actor works: a pass has one, everybody else has to say which.

    Raises NotFound, Invalid.
    """
    if isinstance(actor, GatePass):
        if event_id not in (None, actor.event_id):
            raise NotFound("This gate pass is for another event.")
        return actor.event
    if event_id is None:
        told = "event_id is missing."
        raise Invalid(told, errors=[{"field": "event_id", "message": told}])
    return events.get_own_event(actor=actor, event_id=event_id)


def ends_at(gate_pass: GatePass) -> datetime:
    """Needs `event`."""
    return gate_pass.expires_at or ticket_keys.opening_hours(gate_pass.event)[1]


def _with_event() -> Select[tuple[GatePass]]:
    return (
        select(GatePass)
        .join(GatePass.event)
        .options(contains_eager(GatePass.event))
        .execution_options(populate_existing=True)
    )
