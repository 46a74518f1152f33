"""The ledger: one SQLite file with all that must outlive the process, money above all.

Whatever changes is committed, and on the disk, before it is answered or posted. So a process that is killed finds
everything in its place when it is started on the same file again. Only access tokens are forgotten.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]

#: Columns named `at` or `…_at` are ISO 8601 in East Africa Time. The shop's account is the wallet of its shortcode.
SCHEMA = """
CREATE TABLE IF NOT EXISTS wallets (phone TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
CREATE TABLE IF NOT EXISTS transactions (
    receipt TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('stk', 'c2b', 'b2c', 'reversal')),
    phone TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0), reference TEXT, checkout_request_id TEXT,
    originator_conversation_id TEXT, conversation_id TEXT, original_receipt TEXT, at TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS paid_once ON transactions (checkout_request_id);
CREATE UNIQUE INDEX IF NOT EXISTS reversed_once ON transactions (original_receipt);
CREATE INDEX IF NOT EXISTS of_phone ON transactions (phone);
CREATE TABLE IF NOT EXISTS prompts (
    checkout_request_id TEXT PRIMARY KEY, merchant_request_id TEXT NOT NULL, phone TEXT NOT NULL,
    amount INTEGER NOT NULL, reference TEXT NOT NULL, description TEXT NOT NULL, callback_url TEXT NOT NULL,
    row TEXT NOT NULL, pushed_at TEXT NOT NULL, is_answered INTEGER NOT NULL DEFAULT 0, result INTEGER,
    ended_at TEXT, receipt TEXT, queries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS on_phone ON prompts (phone);
CREATE TABLE IF NOT EXISTS requests (
    conversation_id TEXT PRIMARY KEY, originator_conversation_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    path TEXT NOT NULL, fields TEXT NOT NULL, is_authorised INTEGER NOT NULL, at TEXT NOT NULL,
    result TEXT, receipt TEXT);
CREATE TABLE IF NOT EXISTS agenda (
    id INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, action TEXT NOT NULL, details TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_due ON agenda (due, id);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, url TEXT NOT NULL,
    body TEXT NOT NULL, at TEXT NOT NULL, times_left INTEGER NOT NULL, status INTEGER, error TEXT);
CREATE INDEX IF NOT EXISTS of_subject ON deliveries (subject);
CREATE TABLE IF NOT EXISTS scripts (
    id INTEGER PRIMARY KEY, field TEXT NOT NULL, value TEXT NOT NULL, row TEXT NOT NULL, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL, delay REAL NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
TABLES = (
    *("wallets", "transactions", "prompts", "requests", "agenda"),
    *("deliveries", "scripts", "faults", "counters", "facts"),
)


class Store:
    """One connection that threads take in turn. `on_change` is called after each commit that changed something."""

    def __init__(self, path: str, on_change: Callable[[], None]) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.row_factory = lambda cursor, row: dict(
            zip((column[0] for column in cursor.description), row, strict=True)
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(SCHEMA)
        self._on_change = on_change
        self._lock = threading.RLock()
        self._is_open = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. One inside another is part of it."""
        with self._lock:
            if self._is_open:
                yield
                return
            changes = self._connection.total_changes
            self._connection.execute("BEGIN IMMEDIATE")
            self._is_open = True
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._is_open = False
        if self._connection.total_changes != changes:
            self._on_change()

    def run(self, statement: str, *values: Any) -> int:
        """Change something; how many rows it changed."""
        with self.transaction():
            return self._connection.execute(statement, values).rowcount

    def insert(self, table: str, **values: Any) -> int:
        """The new row's id."""
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        with self.transaction():
            cursor = self._connection.execute(
                f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608, the names are ours
                tuple(values.values()),
            )
            return cursor.lastrowid or 0

    def rows(self, query: str, *values: Any) -> list[Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> Row | None:
        """The first, if any."""
        with self._lock:
            found: Row | None = self._connection.execute(query, values).fetchone()
            return found

    def count(self, name: str) -> int:
        """How often it has been counted, this time included."""
        with self.transaction():
            self.run("INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1", name)
            found = self.row("SELECT count FROM counters WHERE name = ?", name)
        return int(found["count"]) if found else 0

    def fact(self, name: str, default: Any = None) -> Any:
        found = self.row("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(found["value"]) if found else default

    def note(self, name: str, value: Any) -> None:
        self.run("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, json.dumps(value))

    def forget(self) -> None:
        """Everything."""
        with self.transaction():
            for table in TABLES:
                self.run(f"DELETE FROM {table}")  # noqa: S608, the names are ours
