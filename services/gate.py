"""The gate: the one place that moves tickets in and out. Who calls it has locked the ticket, and keeps the scan."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import aliased, contains_eager

from models import Direction, GatePass, Scan, ScanResult, Ticket, TicketStatus, TicketType
from services.gate_passes import Gatekeeper
from utils.database import db
from utils.errors import NotFound


def lock_ticket(ticket_id: int) -> Ticket:
    """With its type and event. Raises NotFound."""
    ticket = db.session.scalar(
        lock_tickets()
        .join(TicketType.event)
        .where(Ticket.id == ticket_id)
        .options(contains_eager(Ticket.ticket_type, TicketType.event))
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    return ticket


def lock_tickets() -> Select[tuple[Ticket]]:
    """With their types, in the order of ids, in which all who lock several do it.

    The tickets' rows alone are locked: gates of one event do not wait for each other, nor for those who buy.
    """
    return (
        select(Ticket)
        .join(Ticket.ticket_type)
        .options(contains_eager(Ticket.ticket_type))
        .order_by(Ticket.id)
        .with_for_update(key_share=True, of=Ticket)
        .execution_options(populate_existing=True)
    )


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
    return db.session.scalars(select(Scan).where(Scan.ticket_id.in_(ticket_ids), counts()).order_by(Scan.id)).all()


def entries_of(ticket_ids: Collection[int]) -> dict[int, list[Scan]]:
    """The scans that let the holder of each of these tickets in, oldest first."""
    entries: dict[int, list[Scan]] = {one: [] for one in ticket_ids}
    for move in moves_of(ticket_ids) if ticket_ids else ():
        if move.direction is Direction.IN and move.ticket_id is not None:
            entries[move.ticket_id].append(move)
    return entries


def counts() -> ColumnElement[bool]:
    """SQL, about Scan: it moved its ticket and was not taken back."""
    undoing = aliased(Scan)
    is_undone = select(undoing.id).where(undoing.undoes_id == Scan.id).exists()
    return and_(Scan.result == ScanResult.OK, ~is_undone)
