"""How often something may be tried, counted in PostgreSQL: alike for all processes and machines, and after a restart.

What is spent comes back evenly over time, so a counter is one instant: when all of it will have come back. Trying is
one statement, which either moves that instant or, where too little has come back, writes nothing. It is committed by
itself, before the work that it is about: that this fails, or is never finished, takes nothing back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from config import settings
from models import Counter
from utils import clock, signing
from utils.database import is_in_transaction, transaction
from utils.errors import TooManyRequests

_REMOVED_AT_ONCE = 1_000


class TooManyAttempts(TooManyRequests):
    code, message = "too_many_attempts", "Too many tries. Please wait a little, then try again."


@dataclass(frozen=True)
class Limit:
    """So many times at once; and all of them have come back, one by one, after so many seconds."""

    times: int
    seconds: float

    @property
    def pause(self) -> timedelta:
        return timedelta(seconds=self.seconds / self.times)

    @property
    def whole(self) -> timedelta:
        return self.pause * self.times


#: What each purpose is about stands where it is spent.
LIMITS = {
    # Of an account, from one network, or from all devices that have a token of it. Only failures are left to count.
    "login": Limit(10, 3600),
    # Of an account, from all networks together that it was never logged in from.
    "login_elsewhere": Limit(30, 12 * 3600),
    # Of an e-mail address, whether there is an account or not.
    "reset": Limit(3, 3600),
    # Of a poll id. The frontend asks every 12.5 seconds.
    "payment_check": Limit(60, 60),
}


def spend(purpose: str, *subject: str | int) -> None:
    """Count one try of `purpose` (a key of LIMITS) by or about `subject`. Never inside a transaction, whose end in an
    error would forget it.

    Raises TooManyAttempts, which costs nothing: who is refused waits no longer for having asked.
    """
    if not settings.RATELIMIT_ENABLED:
        return
    if is_in_transaction():
        raise RuntimeError("a try is counted before the transaction that it is about")
    limit, row = LIMITS[purpose], {"purpose": purpose, "subject_hash": _hash(purpose, subject)}
    now = clock.now()
    with transaction() as session:
        first = insert(Counter).values(**row, ends_at=now + limit.pause)
        later = func.greatest(Counter.ends_at, now) + limit.pause
        # No wait for the disk: a crash of the database may forget the tries of its last moment.
        hurry = func.set_config("synchronous_commit", "off", True)
        is_counted = session.scalar(
            first.on_conflict_do_update(
                index_elements=[Counter.purpose, Counter.subject_hash],
                set_={"ends_at": later},
                where=later <= now + limit.whole,
            ).returning(hurry)
        )
        if is_counted is not None:
            return
        ends_at = session.scalar(select(Counter.ends_at).where(_is(purpose, subject)))
    seconds = ((ends_at or now) + limit.pause - now - limit.whole).total_seconds()
    raise _refusal(max(1, math.ceil(seconds)))


def _refusal(seconds: int) -> TooManyAttempts:
    minutes = math.ceil(seconds / 60)
    wait = f"{minutes} minutes" if minutes > 1 else "a minute"
    return TooManyAttempts(f"Too many tries. Please try again in {wait}.", retry_after=seconds)


def give_back(purpose: str, *subject: str | int) -> None:
    """One try was none of those that are meant."""
    if settings.RATELIMIT_ENABLED:
        with transaction() as session:
            earlier = Counter.ends_at - LIMITS[purpose].pause
            session.execute(
                update(Counter).where(_is(purpose, subject)).values(ends_at=earlier), execution_options=_OFF
            )


def forget(purpose: str, *subject: str | int) -> None:
    """As if nothing had been tried."""
    if settings.RATELIMIT_ENABLED:
        with transaction() as session:
            session.execute(delete(Counter).where(_is(purpose, subject)), execution_options=_OFF)


# ── What is remembered for a time ─────────────────────────────────────────────────────────────────────────────────


def remember(purpose: str, *subject: str | int, days: int) -> None:
    """That it happened, for so many days from now."""
    if settings.RATELIMIT_ENABLED:
        ends_at = clock.ahead(days=days)
        with transaction() as session:
            row = insert(Counter).values(purpose=purpose, subject_hash=_hash(purpose, subject), ends_at=ends_at)
            known = [Counter.purpose, Counter.subject_hash]
            session.execute(row.on_conflict_do_update(index_elements=known, set_={"ends_at": ends_at}))


def is_remembered(purpose: str, *subject: str | int) -> bool:
    if not settings.RATELIMIT_ENABLED:
        return False
    with transaction() as session:
        found = select(Counter.ends_at).where(_is(purpose, subject), Counter.ends_at > clock.now())
        return session.scalar(found) is not None


def remove_ended() -> int:
    """Remove rows that mean nothing any more; returns how many."""
    ended = (
        select(Counter.purpose, Counter.subject_hash)
        .where(Counter.ends_at <= clock.now())
        .order_by(Counter.ends_at)
        .limit(_REMOVED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with transaction() as session:
        removed = delete(Counter).where(tuple_(Counter.purpose, Counter.subject_hash).in_(ended))
        return len(session.scalars(removed.returning(Counter.purpose), execution_options=_OFF).all())


_OFF = {"synchronize_session": False}


def _is(purpose: str, subject: tuple[str | int, ...]) -> ColumnElement[bool]:
    return and_(Counter.purpose == purpose, Counter.subject_hash == _hash(purpose, subject))


def _hash(purpose: str, subject: tuple[str | int, ...]) -> bytes:
    return signing.blind(f"counters/{purpose}", "\n".join(str(part) for part in subject))
