"""A few of a process's requests at a time are worked on; the others wait where it costs nothing.

Threads that want the interpreter hinder each other: with a hundred of them each would wait for all the others at every
step, a statement within a transaction as well, and callbacks among them. Who waits for another machine steps aside.

Buyers wait in a row of their own: however many there are, the next who only reads or polls waits for none of them. So
do those who come back from Daraja: what they have begun ends before more is begun.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from utils.database import is_in_transaction
from utils.errors import Unavailable

#: Of each row one works while the others are at PostgreSQL; so long the next wait. More buyers would only queue there,
#: for the one row that all of them want.
_AT_ONCE, _PATIENCE_SECONDS = 2, 10
_Row = queue.SimpleQueue[None]


def _row() -> _Row:
    free = _Row()
    for _ in range(_AT_ONCE):
        free.put(None)
    return free


_buyers, _back, _others = _row(), _row(), _row()
#: Threads of buyers who have not had a turn yet.
_waiting: set[int] = set()
_mine = threading.local()


def buyers_waiting() -> int:
    return len(_waiting)


@contextmanager
def take_turn(*, is_buyer: bool = False) -> Iterator[None]:
    """Raises Unavailable, after a while."""
    row = _buyers if is_buyer else _others
    if is_buyer:
        _waiting.add(threading.get_ident())
    try:
        row.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        raise Unavailable(code="busy") from None
    finally:
        _waiting.discard(threading.get_ident())
    before, _mine.row = getattr(_mine, "row", None), row
    try:
        yield
    finally:
        _mine.row.put(None)
        _mine.row = before


@contextmanager
def step_aside() -> Iterator[None]:
    """Let others work while this thread waits for what is not PostgreSQL. In a transaction it keeps its turn: those who
    wait for what that has locked might have all others."""
    row: _Row | None = getattr(_mine, "row", None)
    if row is None or is_in_transaction():
        yield
        return
    row.put(None)
    try:
        yield
    finally:
        _mine.row = _back if row is _buyers else row
        _mine.row.get()
