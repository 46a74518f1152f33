"""Very many who order at once: some wait their turn here, where it costs nothing; the rest are told to come again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from config import settings
from utils import turns
from utils.errors import Unavailable

#: So many of a process's buyers are in PostgreSQL at once, and so long the others wait for their turn: more who wait
#: for one row make it slower for all.
_AT_ONCE, _PATIENCE_SECONDS = 4, 8
#: As much of WEB_THREADS may serve buyers, most of whom wait for Daraja. Streams may have half of them; what is left is
#: for callbacks, polls and the catalogue.
_SHARE_OF_BUYERS = 0.375
#: So long those who find no room are told to stay away: not all for as long, or they would all come back at once.
_COME_AGAIN_SECONDS = (3, 8)


class Crowded(Unavailable):
    code, message = "crowded", "Very many people are ordering at this moment. Please try again in a few seconds."

    def __init__(self) -> None:
        super().__init__(retry_after=random.randint(*_COME_AGAIN_SECONDS))  # noqa: S311  # no secret


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


_buyers, _turnstile = _Room(), threading.BoundedSemaphore(_AT_ONCE)


def look_for_room() -> None:
    """Before anything is done for somebody who will find none: that should cost nothing. Raises Crowded."""
    if _buyers.is_full(settings.WEB_THREADS * _SHARE_OF_BUYERS):
        raise Crowded


@contextmanager
def room_for_others() -> Iterator[None]:
    """Around all that an order takes, Daraja's time included. Raises Crowded, at once."""
    if not _buyers.enter(settings.WEB_THREADS * _SHARE_OF_BUYERS):
        raise Crowded
    try:
        yield
    finally:
        _buyers.leave()


@contextmanager
def few_at_once() -> Iterator[None]:
    """Around what an order takes of PostgreSQL. Raises Crowded, after a while."""
    with turns.step_aside():
        is_in = _turnstile.acquire(timeout=_PATIENCE_SECONDS)
    if not is_in:
        raise Crowded
    try:
        yield
    finally:
        _turnstile.release()
