"""Very many who order at once: some wait their turn here, where it costs nothing; the rest are told to come again."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from config import settings
from utils import turns
from utils.errors import Unavailable

#: As much of WEB_THREADS may serve buyers, most of whom wait for Daraja. Streams may have a third of them; what is left
#: is for callbacks, polls and the catalogue. Of the buyers so many may wait for their first turn, about a second each:
#: whoever would wait longer is better off coming again.
_SHARE_OF_BUYERS, _SHARE_OF_WAITING = 1 / 2, 1 / 12
#: Seconds that those who find no room are told to stay away, at least and at most.
_SOONEST, _LATEST = 3, 120
#: How many are asked back for each that can be let in, since not all come; and what is thought of a process that has
#: let in nobody yet, in buyers a second.
_ASKED_BACK, _LEAST_PACE = 1.5, 10.0
_LATELY_SECONDS = 10


class Appointments:
    """One after the other those who found no room are asked back, as fast as buyers are let in.

    All of them after a few seconds would be the same crowd again, and again: its refusals would take the time of those
    who were let in, and who has come often would still not be before who has just come.
    """

    def __init__(self) -> None:
        self._let_in: deque[float] = deque(maxlen=400)
        self._next, self._lock = 0.0, threading.Lock()

    def note_let_in(self) -> None:
        self._let_in.append(time.monotonic())

    def make(self) -> int:
        """Seconds from now."""
        now = time.monotonic()
        with self._lock:
            following = self._next + 1 / (_ASKED_BACK * self._pace(now))
            # However many are turned away, the row ends: it is soon forgotten when they were no buyers.
            self._next = min(max(following, now + _SOONEST), now + _LATEST)
            return math.ceil(self._next - now)

    def _pace(self, now: float) -> float:
        """Buyers a second, of late."""
        while self._let_in and self._let_in[0] < now - _LATELY_SECONDS:
            self._let_in.popleft()
        return max(len(self._let_in) / max(now - self._let_in[0], 1.0), _LEAST_PACE) if self._let_in else _LEAST_PACE


_appointments = Appointments()


def come_again() -> int:
    """After so many seconds."""
    return _appointments.make()


class Crowded(Unavailable):
    code, message = "crowded", "Very many people are ordering at this moment. Please try again in a little while."

    def __init__(self) -> None:
        super().__init__(retry_after=come_again())


class _Room:
    """Counts who is in it."""

    def __init__(self) -> None:
        self._count, self._lock = 0, threading.Lock()

    def is_full(self, most: float) -> bool:
        return self._count >= most

    def enter(self, most: float) -> bool:
        with self._lock:
            has_room = self._count < most
            self._count += has_room
        return has_room

    def leave(self) -> None:
        with self._lock:
            self._count -= 1


_buyers = _Room()


def is_crowded(threads: int) -> bool:
    """Whether who comes now would find no room, of so many threads: to be asked before anything is done for them."""
    return _is_row_long(threads) or _buyers.is_full(threads * _SHARE_OF_BUYERS)


@contextmanager
def room_for_others() -> Iterator[None]:
    """Around all that an order takes, Daraja's time included. Raises Crowded, at once."""
    threads = settings.WEB_THREADS
    if _is_row_long(threads) or not _buyers.enter(threads * _SHARE_OF_BUYERS):
        raise Crowded
    _appointments.note_let_in()
    try:
        yield
    finally:
        _buyers.leave()


def _is_row_long(threads: int) -> bool:
    return turns.buyers_waiting() >= threads * _SHARE_OF_WAITING
