"""Very many who order at once: some wait their turn here, where it costs nothing; the rest are told to come again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from config import settings
from utils import turns
from utils.errors import Unavailable

#: As much of WEB_THREADS may serve buyers, most of whom wait for Daraja. Streams may have a third of them; what is left
#: is for callbacks, polls and the catalogue. Of the buyers so many may wait for their first turn, about a second each:
#: whoever would wait longer is better off coming again.
_SHARE_OF_BUYERS, _SHARE_OF_WAITING = 1 / 2, 1 / 12
#: So long those who find no room are told to stay away: not all for as long, or they would all come back at once.
_COME_AGAIN_SECONDS = (3, 8)


def come_again() -> int:
    """After so many seconds."""
    return random.randint(*_COME_AGAIN_SECONDS)  # noqa: S311  # no secret


class Crowded(Unavailable):
    code, message = "crowded", "Very many people are ordering at this moment. Please try again in a few seconds."

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
    try:
        yield
    finally:
        _buyers.leave()


def _is_row_long(threads: int) -> bool:
    return turns.buyers_waiting() >= threads * _SHARE_OF_WAITING
