"""Connections to the database, shared by the threads of a process."""

from __future__ import annotations

import queue

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import queue as sqla_queue


class _Stack(sqla_queue.QueueCommon[ConnectionPoolEntry]):
    """The connections that are free, the last one given back on top: it knows the most plans.

    Who waits for one waits outside of Python. At SQLAlchemy's own queue hundreds of threads take turns with a lock in
    Python, each turn as long as the interpreter takes to go round.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = True) -> None:
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self._free: list[ConnectionPoolEntry] = []
        self._told = queue.SimpleQueue[None]()

    def put(self, item: ConnectionPoolEntry, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002  # never full
        self._free.append(item)
        self._told.put(None)

    def put_nowait(self, item: ConnectionPoolEntry) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> ConnectionPoolEntry:
        try:
            self._told.get(block, timeout)
        except queue.Empty:
            raise sqla_queue.Empty from None
        return self._free.pop()

    def get_nowait(self) -> ConnectionPoolEntry:
        return self.get(block=False)

    def qsize(self) -> int:
        return len(self._free)

    def empty(self) -> bool:
        return not self._free

    def full(self) -> bool:
        return len(self._free) >= self.maxsize


class ConnectionPool(QueuePool):
    """SQLAlchemy's own in all else."""

    _queue_class = _Stack
