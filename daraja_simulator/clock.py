"""The simulator's time, and what is to happen at which moment of it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from daraja_simulator.store import Store

log = logging.getLogger(__name__)

#: East Africa Time has no daylight saving, so a fixed offset needs no zone database.
EAST_AFRICA = timezone(timedelta(hours=3))

#: What an action leaves to be done after its changes have been committed.
Afterwards = Callable[[], None] | None


class Clock:
    """Real time plus an offset."""

    def __init__(self, speed: float = 1) -> None:
        self._speed = speed
        self.offset_seconds = 0.0

    def now(self) -> datetime:
        """The present moment, aware, in East Africa Time."""
        return datetime.now(EAST_AFRICA) + timedelta(seconds=self.offset_seconds)

    def scaled(self, seconds: float) -> timedelta:
        """How long a delay of so many seconds takes at this simulator's speed."""
        return timedelta(seconds=seconds / self._speed)

    def after(self, seconds: float) -> datetime:
        """The moment when a delay that begins now is over."""
        return self.now() + self.scaled(seconds)


class Agenda:
    """What is planned, in the ledger; with one thread that does each thing when its moment has come.

    An action runs in the transaction that strikes it off, so it happens once, whenever the process is killed.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.actions: dict[str, Callable[..., Afterwards]] = {}
        self._store: Store | None = None
        self._changed = threading.Condition()
        self._has_news = False

    def open(self, store: Store) -> None:
        self._store = store

    def start(self) -> None:
        """What became due while no process was running happens at once."""
        threading.Thread(target=self._run, name="agenda", daemon=True).start()

    def at(self, moment: datetime, action: str, **details: Any) -> None:
        """Plan one of `actions`, which share a thread: none may block. Past moments are due at once."""
        assert self._store is not None
        self._store.insert("agenda", due=moment.timestamp(), action=action, details=json.dumps(details))

    def planned(self) -> int:
        """How many things are to be done yet."""
        assert self._store is not None
        found = self._store.row("SELECT count(*) AS count FROM agenda")
        return int(found["count"]) if found else 0

    def look(self) -> None:
        """Something may have become due."""
        with self._changed:
            self._has_news = True
            self._changed.notify()

    def _run(self) -> None:
        assert self._store is not None
        while True:
            with self._changed:
                self._has_news = False
            seconds = self._do_next(self._store)
            if seconds != 0:
                with self._changed:
                    self._changed.wait_for(lambda: self._has_news, seconds)

    def _do_next(self, store: Store) -> float | None:
        """Do what is due first. Returns 0, or the seconds to wait; None is until there is news."""
        with store.transaction():
            planned = store.row("SELECT * FROM agenda ORDER BY due, id LIMIT 1")
            if planned is None:
                return None
            remaining = float(planned["due"]) - self.clock.now().timestamp()
            if remaining > 0:
                return remaining
            strike = ("DELETE FROM agenda WHERE id = ?", planned["id"])
        try:
            with store.transaction():
                # Nothing but a reset can have come between.
                is_left = store.run(*strike)
                afterwards = self.actions[planned["action"]](**json.loads(planned["details"])) if is_left else None
            if afterwards is not None:
                afterwards()
        except Exception:
            # One faulty action must not stop time for all others.
            log.exception("%s failed", planned["action"])
            store.run(*strike)
        return 0
