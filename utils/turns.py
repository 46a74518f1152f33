"""A few of a process's requests at a time are worked on; the others wait where it costs nothing.

Threads that want the interpreter hinder each other: with a hundred of them each would wait for all the others at every
step, a statement within a transaction as well, and callbacks among them. Who waits for another machine steps aside.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from utils.database import is_in_transaction
from utils.errors import Unavailable

#: One works while the others are at PostgreSQL; so long the next wait.
_AT_ONCE, _PATIENCE_SECONDS = 8, 10
_free = queue.SimpleQueue[None]()
for _ in range(_AT_ONCE):
    _free.put(None)
_mine = threading.local()


@contextmanager
def take_turn() -> Iterator[None]:
    """Raises Unavailable, after a while."""
    try:
        _free.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        raise Unavailable(code="busy") from None
    _mine.is_here = True
    try:
        yield
    finally:
        _mine.is_here = False
        _free.put(None)


@contextmanager
def step_aside() -> Iterator[None]:
    """Let others work while this thread waits for what is not PostgreSQL. In a transaction it keeps its turn: those who
    wait for what that has locked might have all others."""
    if not getattr(_mine, "is_here", False) or is_in_transaction():
        yield
        return
    _free.put(None)
    try:
        yield
    finally:
        _free.get()
