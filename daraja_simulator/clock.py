"""The simulator's time, and what is to happen at which moment of it."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

log = logging.getLogger(__name__)

#: East Africa Time has no daylight saving, so a fixed offset needs no zone database.
EAST_AFRICA = timezone(timedelta(hours=3))

Action = Callable[[], None]


class Clock:
    """Real time plus an offset, with one thread that runs each action when its moment has come."""

    def __init__(self, speed: float = 1) -> None:
        self._speed = speed
        self._offset = timedelta()
        #: A heap; the count keeps actions of the same moment in order.
        self._agenda: list[tuple[datetime, int, Action]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()

    def start(self) -> None:
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def now(self) -> datetime:
        """The present moment, aware, in East Africa Time."""
        return datetime.now(EAST_AFRICA) + self._offset

    @property
    def offset_seconds(self) -> float:
        return self._offset.total_seconds()

    def scaled(self, seconds: float) -> timedelta:
        """How long a delay of so many seconds takes at this simulator's speed."""
        return timedelta(seconds=seconds / self._speed)

    def at(self, moment: datetime, action: Action) -> None:
        """Run `action` at `moment`, or at once when that is past. Actions share a thread: none may block."""
        with self._changed:
            heapq.heappush(self._agenda, (moment, next(self._count), action))
            self._changed.notify()

    def advance(self, seconds: float) -> None:
        """Move the clock forward. What becomes due by it runs at once, in order."""
        with self._changed:
            self._offset += timedelta(seconds=seconds)
            self._changed.notify()

    def reset(self) -> None:
        """Back to real time, with nothing on the agenda."""
        with self._changed:
            self._offset = timedelta()
            self._agenda.clear()

    def _run(self) -> None:
        while True:
            action = self._next()
            try:
                action()
            except Exception:
                # One faulty action must not stop time for all others.
                log.exception("an action of the clock failed")

    def _next(self) -> Action:
        with self._changed:
            while True:
                if not self._agenda:
                    self._changed.wait()
                    continue
                remaining = (self._agenda[0][0] - self.now()).total_seconds()
                if remaining <= 0:
                    return heapq.heappop(self._agenda)[2]
                self._changed.wait(remaining)
