"""A live feed: one thread of a process learns what changed and hands it to any number of readers.

PostgreSQL says which keys have changed (LISTEN); the thread reads the present states of those that somebody follows,
all at once, and puts each into its readers' boxes. A box holds one state, the latest: a slow reader misses some in
between, holds nobody up, and takes no memory. The thread starts with the first reader and ends with the last one.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import psycopg2
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("ticksy.live")

#: A reader is given so many seconds at most without a sign of life: one who is gone is noticed when it is written to.
HEARTBEAT_SECONDS = 5.0
#: How often all that is followed is read anew, whatever was announced: nobody may be there to announce.
_LOOK_SECONDS = 5.0
#: After a lost connection.
_RETRY_SECONDS = 0.5

_State = TypeVar("_State")


class Full(Exception):
    """There are as many readers as there may be."""


class Reader(Generic[_State]):
    """Who follows one key, as an iterator of states; None is a sign of life. Ends when it is told to, or in time."""

    def __init__(self, feed: Feed[_State], key: int, *, seconds: float) -> None:
        self.key = key
        self._ends_at = time.monotonic() + seconds
        self._feed = feed
        self._filled = threading.Event()
        self._box: _State | None = None
        self._is_over = False

    def __iter__(self) -> Iterator[_State | None]:
        while (left := self._ends_at - time.monotonic()) > 0:
            is_filled = self._filled.wait(min(left, HEARTBEAT_SECONDS))
            if self._is_over:
                return
            self._filled.clear()
            yield self._box if is_filled else None

    def put(self, state: _State) -> None:
        self._box = state
        self._filled.set()

    def end(self) -> None:
        self._is_over = True
        self._filled.set()

    def close(self) -> None:
        """Give the place among the readers back. Doing it twice is fine."""
        self.end()
        self._feed.leave(self)


class Feed(Generic[_State]):
    """What is announced at a PostgreSQL `channel`: ids with blanks between, or nothing for "look at everything".

    `read` gives the states of the keys that there are; `connect` a connection of the feed's own, in autocommit. Both
    are called in the feed's thread.
    """

    def __init__(
        self,
        *,
        channel: str,
        connect: Callable[[], Connection],
        read: Callable[[Collection[int]], Mapping[int, _State]],
    ) -> None:
        self._channel, self._connect, self._read = channel, connect, read
        self._lock = threading.Lock()
        #: Weak, so that one whose answer was dropped without being closed is gone as well.
        self._readers: WeakSet[Reader[_State]] = WeakSet()
        self._is_running = self._is_ended = False
        self._wake, self._wake_end = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_end, False)

    @property
    def count(self) -> int:
        return len(self._readers)

    def follow(self, key: int, *, most: int, seconds: float) -> Reader[_State]:
        """A new reader of what is read from now on, for so many seconds. Raises Full at `most` readers."""
        reader = Reader(self, key, seconds=seconds)
        with self._lock:
            if len(self._readers) >= most:
                raise Full
            self._readers.add(reader)
            if self._is_ended:
                reader.end()
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name=f"live {self._channel}", daemon=True).start()
        self._look_soon()
        return reader

    def leave(self, reader: Reader[_State]) -> None:
        with self._lock:
            self._readers.discard(reader)

    def end(self) -> None:
        """End every reader, and whoever comes later: the process stops."""
        self._is_ended = True
        for reader in list(self._readers):
            reader.end()

    def _look_soon(self) -> None:
        with suppress(BlockingIOError):  # it has been told often enough
            os.write(self._wake_end, b".")

    # ── In the feed's thread

    def _run(self) -> None:
        is_away = False
        while self._goes_on():
            try:
                with closing(self._connect()) as connection:
                    is_away = False
                    self._listen(connection)
                return
            except (SQLAlchemyError, psycopg2.Error, OSError) as error:
                if not is_away:
                    log.warning("live feed: %s; connecting again", type(error).__name__)
                is_away = True
            except Exception:
                log.exception("live feed failed; beginning again")
            time.sleep(_RETRY_SECONDS)

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running = bool(self._readers)
            return self._is_running

    def _listen(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"LISTEN {self._channel}")
        postgres: Any = connection.connection.dbapi_connection
        self._look()  # what was announced while nobody listened is lost
        looked_at = time.monotonic()
        while self._goes_on():
            due_in = looked_at + _LOOK_SECONDS - time.monotonic()
            ready, _, _ = select.select([postgres, self._wake], [], [], max(0.0, due_in))
            postgres.poll()
            told = [notice.payload for notice in postgres.notifies]
            postgres.notifies.clear()
            is_woken = self._wake in ready and bool(os.read(self._wake, 65_536))
            if is_woken or "" in told or looked_at + _LOOK_SECONDS <= time.monotonic():
                looked_at = time.monotonic()
                self._look()
            elif told:
                self._look({int(key) for payload in told for key in payload.split()})

    def _look(self, keys: Collection[int] | None = None) -> None:
        """Read what is followed, of these keys, and put it into its readers' boxes."""
        with self._lock:
            readers = [reader for reader in self._readers if keys is None or reader.key in keys]
        if not readers:
            return
        # Those who came before this, alone: what is read now is newer than what they had seen when they came.
        states = self._read({reader.key for reader in readers})
        for reader in readers:
            if reader.key in states:
                reader.put(states[reader.key])
            else:
                reader.end()
