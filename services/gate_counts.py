"""How many are in: an event's gates as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from models import Direction, Scan, ScanResult, Ticket, TicketStatus, TicketType
from services import gate, gate_passes
from services.gate_passes import Gatekeeper
from utils import clock
from utils.database import db

_IS_IN = Ticket.status == TicketStatus.USED
_WENT_IN, _WENT_OUT = Scan.direction == Direction.IN, Scan.direction == Direction.OUT


@dataclass(frozen=True)
class TypeCount:
    """Tickets of one type that are good; of them those whose holder came in, and those who went out again since."""

    id: int
    name: str
    tickets: int
    entered: int
    left: int

    @property
    def inside(self) -> int:
        return self.entered - self.left


@dataclass(frozen=True)
class GateCount:
    """How often somebody went through a gate; `gate` is None where no scan said which. `double_entries` are those
    found there."""

    gate: str | None
    entered: int
    left: int
    refused: int
    double_entries: int


@dataclass(frozen=True)
class MinuteCount:
    minute: datetime
    entered: int
    left: int


@dataclass(frozen=True)
class Counts:
    ticket_types: Sequence[TypeCount]
    gates: Sequence[GateCount]
    #: Of the last hour, those in which somebody went through a gate.
    minutes: Sequence[MinuteCount]

    @property
    def tickets(self) -> int:
        return sum(one.tickets for one in self.ticket_types)

    @property
    def entered(self) -> int:
        return sum(one.entered for one in self.ticket_types)

    @property
    def left(self) -> int:
        return sum(one.left for one in self.ticket_types)

    @property
    def inside(self) -> int:
        return self.entered - self.left

    @property
    def double_entries(self) -> int:
        return sum(one.double_entries for one in self.gates)


def read_counts(*, actor: Gatekeeper, event_id: int) -> Counts:
    """Of an event at whose gates the actor works. Raises NotFound."""
    event = gate_passes.find_post(actor, event_id).event
    return Counts(_by_type(event.id), _by_gate(event.id), _by_minute(event.id))


def _by_type(event_id: int) -> list[TypeCount]:
    rows = db.session.execute(
        select(
            TicketType.id,
            TicketType.name,
            func.count(Ticket.id).filter(Ticket.status != TicketStatus.VOID),
            func.count(Ticket.id).filter(_IS_IN),
            func.count(Ticket.id).filter(_IS_IN, Ticket.left_at.is_not(None)),
        )
        .outerjoin(Ticket, Ticket.ticket_type_id == TicketType.id)
        .where(TicketType.event_id == event_id)
        .group_by(TicketType.id)
        .order_by(TicketType.price_kes, TicketType.id)
    )
    return [TypeCount(*row) for row in rows.tuples()]


def _by_gate(event_id: int) -> list[GateCount]:
    is_refused = Scan.result.not_in([ScanResult.OK, ScanResult.UNDONE])
    rows = db.session.execute(
        select(
            Scan.gate,
            func.count(Scan.id).filter(_WENT_IN, gate.counts()),
            func.count(Scan.id).filter(_WENT_OUT, gate.counts()),
            func.count(Scan.id).filter(is_refused),
            func.count(Scan.id).filter(Scan.is_conflict),
        )
        .where(Scan.event_id == event_id)
        .group_by(Scan.gate)
        .order_by(Scan.gate.asc().nulls_last())
    )
    return [GateCount(*row) for row in rows.tuples()]


def _by_minute(event_id: int) -> list[MinuteCount]:
    minute = func.date_trunc("minute", Scan.scanned_at)
    rows = db.session.execute(
        select(minute, func.count(Scan.id).filter(_WENT_IN), func.count(Scan.id).filter(_WENT_OUT))
        .where(Scan.event_id == event_id, Scan.scanned_at > clock.ago(hours=1), gate.counts())
        .group_by(minute)
        .order_by(minute)
    )
    return [MinuteCount(*row) for row in rows.tuples()]
