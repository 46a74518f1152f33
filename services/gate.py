"""The gate: the one place that moves tickets in and out. Who calls it has locked the ticket, and keeps the scan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Text, and_, func, or_, select, update
from sqlalchemy.orm import aliased, contains_eager

from models import Direction, GatePass, Scan, ScanResult, Ticket, TicketStatus, TicketType
from services.gate_passes import Gatekeeper
from utils import clock
from utils.database import db
from utils.errors import NotFound
from utils.json_rows import insertion, rows_given, to_json
from utils.prepared import Prepared, as_read, given


def lock_ticket(ticket_id: int) -> Ticket:
    """With its type and event. Raises NotFound."""
    ticket = db.session.scalar(
        select(Ticket)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Ticket.id == ticket_id)
        .options(contains_eager(Ticket.ticket_type, TicketType.event))
        .with_for_update(key_share=True, of=Ticket)
        .execution_options(populate_existing=True)
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    return ticket


#: As much of a ticket as a scan is decided by and its answer shows.
_FACTS = (
    *("id", "ticket_type_id", "code", "rotation", "status", "checked_in_at", "left_at", "refund_id"),
    *("first_name", "last_name"),
)
_NAMED = (
    select(*(getattr(Ticket, name) for name in _FACTS), TicketType.name)
    .join(TicketType, TicketType.id == Ticket.ticket_type_id)
    .where(
        TicketType.event_id == given("event_id"),
        or_(
            Ticket.id == func.any(given("ids", type_=ARRAY(BigInteger))),
            Ticket.code == func.any(given("codes", type_=ARRAY(Text))),
        ),
    )
    .order_by(Ticket.id)
)
_LOCK = Prepared(_NAMED.with_for_update(key_share=True, of=Ticket))


def lock_tickets(event_id: int, *, ids: Collection[int], codes: Collection[str]) -> list[Ticket]:
    """An event's tickets by id or code, with their types, in the order of ids, in which all who lock several do it.

    The tickets' rows alone are locked: gates of one event do not wait for each other, nor for those who buy. They are
    not of the session: `keep` writes what becomes of them.
    """
    if not ids and not codes:
        return []
    return [_ticket_of(*row) for row in _LOCK.rows(event_id=event_id, ids=list(ids), codes=list(codes))]


def _ticket_of(*row: object) -> Ticket:
    facts = dict(zip(_FACTS, row, strict=False))
    ticket_type = as_read(TicketType, {"id": facts["ticket_type_id"], "name": row[-1]})
    return as_read(Ticket, facts | {"status": TicketStatus(facts["status"]), "ticket_type": ticket_type})


def pass_gate(
    scan: Scan,
    ticket: Ticket,
    entries: list[Scan],
    *,
    allows_reentry: bool,
    is_offline: bool = False,
    refusal: ScanResult | None = None,
) -> None:
    """Decide a scan, and move its ticket by it; unless there is a `refusal` already.

    `entries` are the scans that let its holder in, oldest first; one more when this one does. `is_offline`: the device
    has let its holder in already, without asking.
    """
    last = entries[-1] if entries else None
    scan.result = refusal or _move(ticket, scan, last, allows_reentry=allows_reentry, is_offline=is_offline)
    if scan.result is ScanResult.OK and scan.direction is Direction.IN:
        entries.append(scan)
    first = entries[0] if entries else None
    scan.used_at, scan.used_gate = (first.scanned_at, first.gate) if first else (ticket.checked_in_at, None)
    # One device that reads a ticket twice has let nobody in twice: it knew.
    is_of_another = last is None or last.device is None or last.device != scan.device
    scan.is_conflict = scan.result is ScanResult.ALREADY_IN and is_offline and is_of_another


def _move(ticket: Ticket, scan: Scan, last: Scan | None, *, allows_reentry: bool, is_offline: bool) -> ScanResult:
    """What a device decided by itself counts for when it was, not for when it is told."""
    at = scan.scanned_at
    if scan.direction is Direction.OUT:
        entered_at = last.scanned_at if last else ticket.checked_in_at
        if not ticket.is_checked_in or (is_offline and entered_at is not None and at < entered_at):
            return ScanResult.NOT_IN
        if ticket.left_at is not None:
            return ScanResult.ALREADY_OUT
        ticket.left_at = at
        return ScanResult.OK
    if not ticket.is_checked_in:
        ticket.status, ticket.checked_in_at, ticket.left_at = TicketStatus.USED, at, None
        return ScanResult.OK
    if ticket.left_at is None or not allows_reentry or (is_offline and at < ticket.left_at):
        return ScanResult.ALREADY_IN
    ticket.left_at = None
    return ScanResult.OK


def keep(scans: Sequence[Scan], tickets: Iterable[Ticket]) -> None:
    """Write scans, which are given their ids, and where they left their `tickets`, in one statement.

    None of them is of the session; the tickets are locked. Raises IntegrityError where the event knows a nonce.
    """
    moved = {scan.ticket_id for scan in scans if scan.result is ScanResult.OK}
    changed = [ticket for ticket in tickets if ticket.id in moved]
    for ticket in changed:
        ticket.changed_at = clock.now()
    rows = _keeping().rows(
        scans=to_json(scans), tickets=to_json(changed, _MOVED), ids=[ticket.id for ticket in changed]
    )
    ids = {nonce: scan_id for scan_id, nonce in rows}
    for scan in scans:
        scan.id = ids[scan.nonce]


#: What a scan changes of a ticket.
_MOVED = ("id", "status", "checked_in_at", "left_at", "changed_at")


@cache
def _keeping() -> Prepared:
    tickets = rows_given("tickets", [Ticket.__table__.c[name] for name in _MOVED])
    moving = (
        update(Ticket)
        # The ids once more, since PostgreSQL does not know how few rows there are in JSON.
        .where(Ticket.id == tickets.c.id, Ticket.id == func.any(given("ids", type_=ARRAY(BigInteger))))
        .values({name: tickets.c[name] for name in _MOVED if name != "id"})
        .returning(Ticket.id)
        .cte("moved")
    )
    kept = insertion(Scan, "scans").returning(Scan.id, Scan.nonce).cte("kept")
    return Prepared(select(kept.c.id, kept.c.nonce).add_cte(moving))


# ── Taking back ───────────────────────────────────────────────────────────────────────────────────────────────────


def take_back(actor: Gatekeeper, ticket: Ticket, moves: Sequence[Scan], *, count: int) -> None:
    """Put a ticket back to where it was before the last `count` of `moves`, which are all scans that count."""
    kept, undone = moves[: len(moves) - count], moves[len(moves) - count :]
    last = kept[-1] if kept else None
    if last is None:
        ticket.status, ticket.checked_in_at = TicketStatus.VALID, None
    ticket.left_at = last.scanned_at if last and last.direction is Direction.OUT else None
    db.session.add_all(
        Scan(
            event_id=one.event_id,
            ticket_id=one.ticket_id,
            gate=one.gate,
            direction=one.direction,
            result=ScanResult.UNDONE,
            undoes_id=one.id,
            **by(actor),
        )
        for one in undone
    )


def by(actor: Gatekeeper) -> dict[str, int]:
    """Who scans, as columns of Scan."""
    return {"gate_pass_id" if isinstance(actor, GatePass) else "user_id": actor.id}


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def moves_of(ticket_ids: Collection[int]) -> Sequence[Scan]:
    """Scans of these tickets that count, oldest first."""
    return [
        as_read(Scan, dict(zip(_MOVE, row, strict=False)) | {"direction": Direction(row[-1])})
        for row in _moves().rows(ticket_ids=list(ticket_ids))
    ]


#: As much of a scan as others are decided by, or taken back.
_MOVE = ("id", "event_id", "ticket_id", "gate", "device", "scanned_at")


@cache
def _moves() -> Prepared:
    return Prepared(
        select(*(getattr(Scan, name) for name in _MOVE), Scan.direction)
        .where(Scan.ticket_id == func.any(given("ticket_ids", type_=ARRAY(BigInteger))), counts())
        .order_by(Scan.id)
    )


def entries_of(tickets: Collection[Ticket]) -> dict[int, list[Scan]]:
    """The scans that let the holder of each of these tickets in, oldest first."""
    entries: dict[int, list[Scan]] = {one.id: [] for one in tickets}
    # Of one that is valid, none count: nobody came in, or that was taken back.
    used = {one.id for one in tickets if one.status is not TicketStatus.VALID}
    for move in moves_of(used) if used else ():
        if move.direction is Direction.IN and move.ticket_id is not None:
            entries[move.ticket_id].append(move)
    return entries


def counts() -> ColumnElement[bool]:
    """SQL, about Scan: it moved its ticket and was not taken back."""
    undoing = aliased(Scan)
    is_undone = select(undoing.id).where(undoing.undoes_id == Scan.id).exists()
    return and_(Scan.result == ScanResult.OK, ~is_undone)
