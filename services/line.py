"""The line to Daraja that all processes share: how fast pushes go out, and whether any go out at all.

It is one row, read and written by the database's clock, since the clocks of several machines differ. Its lock lasts
from the statement to the commit, so it is taken last, and in short transactions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Float, ScalarSelect, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute

from config import settings
from models import MpesaLine
from utils.database import db
from utils.mpesa import PushOutcome, Refused, Unknown
from utils.prepared import Prepared

#: After so many pushes in a row that Daraja failed to take, none is tried for so long.
_FAILURES_UNTIL_REST = 5
_REST = timedelta(seconds=30)
#: Refusals that tell of Daraja's state and not of the prompt.
_DOWN = frozenset({"unreachable", "no_token", "edge_blocked", "429"})
_BUSY = "500.003."


@dataclass(frozen=True)
class Turn:
    """When a push may go out."""

    wait_seconds: float
    #: As `rest_seconds` tells.
    rest_seconds: float | None


def _now() -> ColumnElement[datetime]:
    """The moment of the statement; PostgreSQL's `now()` is that of the transaction."""
    return func.clock_timestamp(type_=DateTime(timezone=True))


def _seconds_until(instant: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    return func.date_part("epoch", instant - _now())


# ── The pace ──────────────────────────────────────────────────────────────────────────────────────────────────────


def seconds_until_free() -> ScalarSelect[float]:
    """SQL for how long a push that joins now has to wait for its turn; below 0, or nothing at all, is not."""
    return select(cast(_seconds_until(MpesaLine.next_push_at), Float)).scalar_subquery()


def take_turn() -> Turn:
    """Take the next free turn, in the caller's transaction. Needs a limit. While pushes rest none is used up."""
    step = timedelta(seconds=1 / settings.MPESA_MAX_PUSHES_PER_SECOND)
    is_resting = MpesaLine.rests_until > _now()
    following = case((is_resting, MpesaLine.next_push_at), else_=func.greatest(MpesaLine.next_push_at, _now()) + step)
    wait, rest = db.session.execute(
        insert(MpesaLine)
        .values(id=1, next_push_at=_now() + step)
        .on_conflict_do_update(index_elements=[MpesaLine.id], set_={"next_push_at": following})
        .returning(_seconds_until(MpesaLine.next_push_at - step), _seconds_until(MpesaLine.rests_until))
    ).one()
    return Turn(max(0.0, float(wait)), None if rest is None else float(rest))


def reserve_queries(count: int, *, per_second: float) -> float:
    """Take so many questions out of the budget that all workers share; returns the seconds until they may be asked."""
    step = timedelta(seconds=count / per_second)
    wait = db.session.scalar(
        insert(MpesaLine)
        .values(id=1, next_push_at=_now(), next_sweep_at=_now() + step)
        .on_conflict_do_update(
            index_elements=[MpesaLine.id],
            # GREATEST passes over NULL.
            set_={"next_sweep_at": func.greatest(MpesaLine.next_sweep_at, _now()) + step},
        )
        .returning(_seconds_until(MpesaLine.next_sweep_at - step))
    )
    return max(0.0, float(wait or 0))


# ── The breaker ───────────────────────────────────────────────────────────────────────────────────────────────────


def rest_seconds() -> float | None:
    """None while pushes go out; more than 0 while they rest; at most 0 when the rest is over and one may be tried."""
    row = _REST_SECONDS.row()
    return None if row is None or row[0] is None else float(row[0])


_REST_SECONDS = Prepared(select(_seconds_until(MpesaLine.rests_until)))


def may_push(rest: float | None) -> bool:
    """Whether a push may be tried, given `rest_seconds`. After a rest one of all that ask is told so, until it is
    known how that one went."""
    if rest is None:
        return True
    if rest > 0:
        return False
    won = db.session.scalar(
        update(MpesaLine)
        .where(MpesaLine.id == 1, MpesaLine.rests_until <= _now())
        .values(rests_until=_now() + _REST)
        .returning(MpesaLine.id)
        .execution_options(synchronize_session=False)
    )
    return won is not None


def note(outcome: PushOutcome) -> None:
    """Count what a push came to. When all is well this changes no row."""
    if not _tells_of_trouble(outcome):
        db.session.execute(
            update(MpesaLine)
            .where(MpesaLine.id == 1, MpesaLine.failures > 0)
            .values(failures=0, rests_until=None)
            .execution_options(synchronize_session=False)
        )
        return
    is_enough = MpesaLine.failures + 1 >= _FAILURES_UNTIL_REST
    db.session.execute(
        insert(MpesaLine)
        .values(id=1, failures=1, next_push_at=_now())
        .on_conflict_do_update(
            index_elements=[MpesaLine.id],
            set_={
                "failures": MpesaLine.failures + 1,
                "rests_until": case((is_enough, _now() + _REST), else_=MpesaLine.rests_until),
            },
        )
    )


def _tells_of_trouble(outcome: PushOutcome) -> bool:
    if isinstance(outcome, Refused):
        return outcome.code in _DOWN or outcome.code.startswith(_BUSY)
    return isinstance(outcome, Unknown)
