"""The one clock. Instants are aware UTC inside, Nairobi's wall clock towards people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

NAIROBI = ZoneInfo("Africa/Nairobi")

_set_to: ContextVar[datetime | None] = ContextVar("clock", default=None)


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return _set_to.get() or datetime.now(timezone.utc)


@contextmanager
def set_to(instant: datetime) -> Iterator[None]:
    """Let `now()` stand at `instant` within the block: demo data has a past, tests have midnights."""
    token = _set_to.set(to_utc(instant))
    try:
        yield
    finally:
        _set_to.reset(token)


def today() -> date:
    """By the calendar of Nairobi."""
    return now().astimezone(NAIROBI).date()


def ago(**parts: float) -> datetime:
    """`ago(hours=1)` is the instant an hour before now."""
    return now() - timedelta(**parts)


def ahead(**parts: float) -> datetime:
    """`ahead(minutes=10)` is the instant ten minutes from now."""
    return now() + timedelta(**parts)


def last_time_at(hour: int) -> datetime:
    """The instant at which the clocks of Nairobi showed this hour last."""
    instant = now().astimezone(NAIROBI)
    today = instant.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today <= instant else today - timedelta(days=1)


def to_utc(moment: datetime) -> datetime:
    """Aware UTC; a time without zone is Nairobi's, since that is what a form in Kenya means by 18:00.

    Raises OverflowError at the very ends of the calendar.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=NAIROBI)
    return moment.astimezone(timezone.utc)


@lru_cache(maxsize=10_000)
def to_nairobi(instant: datetime) -> str:
    """ISO 8601 with `+03:00`, whole seconds: what every answer carries."""
    return instant.astimezone(NAIROBI).isoformat(timespec="seconds")
