"""Scans: what is held up at a gate, and what becomes of it.

A ticket's row is locked while it is decided, those of a batch in the order of their ids: of any number of scans at
once, at any gates, one lets its holder in, and no two batches wait for each other. `docs/gate.md` has all reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, Text, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import contains_eager, joinedload
from sqlalchemy.orm.attributes import set_committed_value

from models import (
    Direction,
    Event,
    EventStatus,
    GatePass,
    Scan,
    ScanResult,
    SupersededCode,
    Ticket,
    TicketStatus,
    TicketType,
)
from services import gate, gate_passes, ticket_keys
from services.gate_passes import Gatekeeper, Post
from utils import clock, references, security, ticket_token
from utils.database import db, transaction, violated
from utils.errors import Conflict, Forbidden, NotFound
from utils.prepared import Prepared, given

#: A scan that arrives later than this after it was made is taken for one that its device decided without network.
OFFLINE_AFTER = timedelta(minutes=1)
#: The first may find out that a nonce is known after all; and of two uploads of one batch at the same moment, the
#: second finds the first one's scans when it tries again.
_TRIES = 4

_SENTENCES = {
    ScanResult.ALREADY_OUT: "{holder} is out already.",
    ScanResult.NOT_IN: "{holder} has not come in.",
    ScanResult.VOID: "This ticket is not valid any more.",
    ScanResult.REFUNDED: "This ticket is not valid any more: its money has been given back.",
    ScanResult.WRONG_EVENT: "This ticket is for another event.",
    ScanResult.WRONG_GATE: "This gate pass is for other gates.",
    ScanResult.NOT_YET: "It is too early: the gates of this event are not open yet.",
    ScanResult.TOO_LATE: "It is too late: the gates of this event are closed.",
    ScanResult.BAD_SIGNATURE: "This is a forged or damaged ticket.",
    ScanResult.SUPERSEDED: "This ticket has been issued anew: only its newest QR code, and code, count.",
    ScanResult.UNKNOWN: "This is no ticket of this event.",
    ScanResult.EVENT_CANCELLED: "This event has been cancelled.",
    ScanResult.UNDONE: "The scan of {holder} is taken back.",
}


class NothingToUndo(Conflict):
    code, message = "nothing_to_undo", "This scan let nobody in or out: there is nothing to take back."


class ScannedSince(Conflict):
    code, message = "scanned_since", "This ticket has been scanned since: please take that back first."


@dataclass(frozen=True)
class Presented:
    """One scan as a device sends it: a `token` out of a QR code, or a `code` that was typed."""

    nonce: str
    token: str | None = None
    code: str | None = None
    direction: Direction = Direction.IN
    #: By the device's clock; now, when it does not say.
    scanned_at: datetime | None = None
    gate: str | None = None
    device: str | None = None
    #: Whether the device let its holder in without asking; judged by the time it took to arrive, when it does not say.
    is_offline: bool | None = None


@dataclass(frozen=True)
class Answered:
    """A scan, and a sentence about it for who stands at the gate. Its ticket is loaded, with its type."""

    scan: Scan

    @property
    def holder(self) -> str | None:
        ticket = self.scan.ticket
        return f"{ticket.first_name} {ticket.last_name}" if ticket else None

    @property
    def ticket_type(self) -> str | None:
        return self.scan.ticket.ticket_type.name if self.scan.ticket else None

    @property
    def message(self) -> str:
        scan = self.scan
        if scan.result is ScanResult.OK:
            return f"{self.holder} may go in." if scan.direction is Direction.IN else f"{self.holder} is out."
        if scan.result is ScanResult.ALREADY_IN:
            return f"{self.holder} was in already{_since(scan.used_at, scan.used_gate)}."
        return _SENTENCES[scan.result].format(holder=self.holder)


def _since(used_at: datetime | None, gate: str | None) -> str:
    when = f", since {used_at.astimezone(clock.NAIROBI):%d.%m.%Y at %H:%M}" if used_at else ""
    return when + (f", through {gate}" if gate else "")


# ── Recording ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Reading:
    """A scan, and what was read on the ticket: its id and rotation, its code, or why it is none."""

    presented: Presented
    ticket_id: int | None = None
    rotation: int | None = None
    code: str | None = None
    refusal: ScanResult | None = None

    @property
    def name(self) -> int | str | None:
        return self.ticket_id or self.code


def record_scans(*, actor: Gatekeeper, event_id: int | None, scans: Sequence[Presented]) -> list[Answered]:
    """Settle scans in the order in which they were made, and keep them all; answers are in the order of `scans`.

    One whose nonce the event has seen is answered as it was then, and changes nothing. Raises NotFound, Invalid.
    """
    post = gate_passes.find_post(actor, event_id)
    readings = [_read(one, post) for one in scans]
    for tries_left in reversed(range(_TRIES)):
        try:
            with transaction():
                settled = _settle(actor, post.event, readings, is_first=tries_left == _TRIES - 1)
            return [Answered(settled[one.nonce]) for one in scans]
        except IntegrityError as error:
            if violated(error) != "one_scan_of_a_nonce" or not tries_left:
                raise
    raise AssertionError("unreachable")


def _read(one: Presented, post: Post) -> _Reading:
    if one.token is None:
        return _Reading(one, code=references.grouped(one.code or ""))
    token = one.token.strip()
    try:
        facts = ticket_token.read(token)
        if facts.event_id != post.event.id:
            return _Reading(one, refusal=ScanResult.WRONG_EVENT)
        ticket_token.verify(token, post.keys)
    except ticket_token.NotAToken:
        return _Reading(one, refusal=ScanResult.UNKNOWN)
    except ticket_token.BadSignature:
        return _Reading(one, refusal=ScanResult.BAD_SIGNATURE)
    return _Reading(one, ticket_id=facts.ticket_id, rotation=facts.rotation)


def _settle(actor: Gatekeeper, event: Event, readings: Sequence[_Reading], *, is_first: bool) -> dict[str, Scan]:
    """The scan of each nonce; new ones are written."""
    now = clock.now()
    tickets = _lock_tickets(event, readings)
    # A ticket nobody came in with has hardly been scanned before; should it have been, the constraint says so.
    is_likely_new = is_first and all(
        one.name in tickets and tickets[one.name].status is TicketStatus.VALID for one in readings
    )
    # Read after the locks: whoever held them may have sent the same.
    settled = {} if is_likely_new else _seen_before(event, [one.presented.nonce for one in readings])
    strange = {one.code for one in readings if one.code and one.code not in tickets}
    superseded = _tickets_before(event, strange)
    entries = gate.entries_of([*tickets.values(), *superseded.values()])
    others = _codes_of_others(strange - superseded.keys())
    new = []
    for reading in sorted(readings, key=lambda one: (_time(one.presented, now), one.presented.nonce)):
        presented = reading.presented
        if presented.nonce in settled:
            continue
        earlier = superseded.get(reading.code) if reading.code else None
        ticket = tickets.get(reading.name, earlier) if reading.name else None
        scan = Scan(
            event_id=event.id,
            ticket_id=ticket.id if ticket else None,
            presented_hash=None if ticket else security.hash_secret(presented.token or presented.code or "")[:16],
            gate=_gate(actor, presented.gate),
            device=presented.device,
            nonce=presented.nonce,
            direction=presented.direction,
            scanned_at=_time(presented, now),
            received_at=now,
            is_conflict=False,
            **gate.by(actor),
        )
        set_committed_value(scan, "ticket", ticket)
        refusal = _check_gate(actor, scan) or reading.refusal
        if refusal is None and ticket is None:
            refusal = ScanResult.WRONG_EVENT if reading.code in others else ScanResult.UNKNOWN
        if ticket is None or refusal is not None:
            scan.result = refusal or ScanResult.UNKNOWN
        else:
            refusal = ScanResult.SUPERSEDED if earlier else _check_ticket(ticket, reading.rotation)
            refusal = refusal or _check_event(event, scan.scanned_at)
            is_offline = presented.is_offline
            if is_offline is None:
                is_offline = now - scan.scanned_at > OFFLINE_AFTER
            gate.pass_gate(
                scan,
                ticket,
                entries[ticket.id],
                allows_reentry=event.allows_reentry,
                is_offline=is_offline,
                refusal=refusal,
            )
        new.append(scan)
        settled[presented.nonce] = scan
    if new:
        gate.keep(new, dict.fromkeys(tickets.values()))
    return settled


def _time(presented: Presented, now: datetime) -> datetime:
    return min(presented.scanned_at or now, now)


def _gate(actor: Gatekeeper, gate: str | None) -> str | None:
    """Written as on the pass; that of a pass for one gate, where the scan does not say."""
    if not isinstance(actor, GatePass) or not actor.gates:
        return gate
    if gate is None:
        return actor.gates[0] if len(actor.gates) == 1 else None
    return next((one for one in actor.gates if one.casefold() == gate.casefold()), gate)


def _check_gate(actor: Gatekeeper, scan: Scan) -> ScanResult | None:
    if isinstance(actor, GatePass) and actor.gates and scan.gate not in actor.gates:
        return ScanResult.WRONG_GATE
    return None


def _check_ticket(ticket: Ticket, rotation: int | None) -> ScanResult | None:
    if rotation is not None and rotation < ticket.rotation:
        return ScanResult.SUPERSEDED
    if ticket.status is TicketStatus.VOID:
        return ScanResult.REFUNDED if ticket.refund_id is not None else ScanResult.VOID
    return None


def _check_event(event: Event, at: datetime) -> ScanResult | None:
    """By the event as it is now: a token says when it was when the token was made."""
    if event.status is EventStatus.CANCELLED:
        return ScanResult.EVENT_CANCELLED
    opens_at, closes_at = ticket_keys.opening_hours(event)
    if at < opens_at:
        return ScanResult.NOT_YET
    return ScanResult.TOO_LATE if at >= closes_at else None


# ── Taking back ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Undone:
    """The scan that was taken back. `is_changed` is False when it was so already."""

    answered: Answered
    is_changed: bool

    @property
    def message(self) -> str:
        return f"The scan of {self.answered.holder} is taken back."


def undo_scan(*, actor: Gatekeeper, scan_id: int) -> Undone:
    """Put the scan's ticket back to where it was before it. Twice is fine.

    Raises NotFound, Forbidden for a pass that did not make it, NothingToUndo, ScannedSince.
    """
    with transaction():
        scan = db.session.scalar(select(Scan).where(Scan.id == scan_id).options(joinedload(Scan.event)))
        if scan is None or not _works_at(actor, scan.event):
            raise NotFound("There is no such scan.")
        if isinstance(actor, GatePass) and scan.gate_pass_id != actor.id:
            raise Forbidden("This was not scanned with this gate pass. Please ask the organizer.", code="not_your_scan")
        if scan.result is not ScanResult.OK or scan.ticket_id is None:
            raise NothingToUndo
        scan.ticket = ticket = gate.lock_ticket(scan.ticket_id)
        if db.session.scalar(select(Scan.id).where(Scan.undoes_id == scan.id)) is not None:
            return Undone(Answered(scan), is_changed=False)
        if ticket.status is TicketStatus.VOID:
            raise NothingToUndo
        moves = gate.moves_of([ticket.id])
        if moves[-1].id != scan.id:
            raise ScannedSince
        gate.take_back(actor, ticket, moves, count=1)
    return Undone(Answered(scan), is_changed=True)


def _works_at(actor: Gatekeeper, event: Event) -> bool:
    return event.id == actor.event_id if isinstance(actor, GatePass) else event.is_run_by(actor)


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _lock_tickets(event: Event, readings: Sequence[_Reading]) -> dict[int | str, Ticket]:
    """Those of the event, by id and by code."""
    ids = {one.ticket_id for one in readings if one.ticket_id is not None}
    codes = {one.code for one in readings if one.code}
    tickets = gate.lock_tickets(event.id, ids=ids, codes=codes)
    return {name: ticket for ticket in tickets for name in (ticket.id, ticket.code)}


def _seen_before(event: Event, nonces: Collection[str]) -> dict[str, Scan]:
    ids = [row[0] for row in _KNOWN.rows(event_id=event.id, nonces=list(nonces))]
    if not ids:
        return {}
    seen = db.session.scalars(
        select(Scan).where(Scan.id.in_(ids)).options(joinedload(Scan.ticket).joinedload(Ticket.ticket_type))
    )
    return {one.nonce: one for one in seen if one.nonce is not None}


_KNOWN = Prepared(
    select(Scan.id).where(
        Scan.event_id == given("event_id"), Scan.nonce == func.any(given("nonces", type_=ARRAY(Text)))
    )
)


def _tickets_before(event: Event, codes: Collection[str]) -> dict[str, Ticket]:
    """By codes that they had before they were issued anew. Not locked: by these nothing is moved."""
    if not codes:
        return {}
    rows = db.session.execute(
        select(SupersededCode.code, Ticket)
        .join(Ticket, Ticket.id == SupersededCode.ticket_id)
        .join(Ticket.ticket_type)
        .where(SupersededCode.code.in_(codes), TicketType.event_id == event.id)
        .options(contains_eager(Ticket.ticket_type))
    )
    return dict(rows.tuples().all())


def _codes_of_others(codes: Collection[str]) -> Collection[str]:
    """Those that tickets of other events have."""
    return set(db.session.scalars(select(Ticket.code).where(Ticket.code.in_(codes)))) if codes else ()
