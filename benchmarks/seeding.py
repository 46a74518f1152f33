"""Fills a database with years of events and orders in the proportions of a busy platform: most of it over and settled,
a little of it open, one event with far more orders than any other."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import make_url

from utils.database import Base

_STEPS = Path(__file__).with_suffix(".sql").read_text().split("-- Step: ")[1:]
#: The admin, the first organizer (who runs the first event), and the event most orders are for.
ADMIN_ID, ORGANIZER_ID, HOT_EVENT_ID = 1, 2, 1


def fill(url: str, *, events: int, orders: int, tell: Callable[[str], None] = lambda _: None) -> None:
    """Fill the migrated, empty database at `url`, as its superuser; it is vacuumed and analysed afterwards.

    Foreign keys hold by construction and are not looked up row by row, which takes longer than all else; a test
    compares them. Every other constraint is checked as ever. `tell` is given a line for each step.
    """
    sizes = {
        "events": events,
        "orders": orders,
        "organizers": max(2, events // 20),
        "buyers": max(20, orders // 4),
        "open_orders": min(max(5, orders // 500), 500),
    }
    connection = psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("SET LOCAL work_mem = '256MB'")
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
            indexes = _drop_indexes(cursor)
            for step in _STEPS:
                began = time.perf_counter()
                name, statements = step.split("\n", 1)
                cursor.execute(statements, sizes)
                tell(f"{name}: {time.perf_counter() - began:.1f} s")
            began = time.perf_counter()
            for statement in indexes:
                cursor.execute(statement)
            tell(f"indexes: {time.perf_counter() - began:.1f} s")
            _move_sequences(cursor)
        connection.autocommit = True
        with connection.cursor() as cursor:
            began = time.perf_counter()
            cursor.execute("VACUUM (ANALYZE)")
            tell(f"vacuum and analyse: {time.perf_counter() - began:.1f} s")
    finally:
        connection.close()


def _drop_indexes(cursor: psycopg2.extensions.cursor) -> list[str]:
    """All but the primary keys and what a foreign key refers to: to fill them row by row takes longer than to make
    them of all rows at once. What makes them again."""
    cursor.execute(_CONSTRAINTS)
    constraints = cursor.fetchall()
    for table, name, _ in constraints:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    cursor.execute(_INDEXES)
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    added = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in constraints]
    return [definition for _, definition in indexes] + added


_CONSTRAINTS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(own.oid) FROM pg_constraint AS own
WHERE contype = 'u' AND connamespace = 'public'::regnamespace AND conrelid <> 'saved_events'::regclass
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conindid = own.conindid)"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"""


def _move_sequences(cursor: psycopg2.extensions.cursor) -> None:
    """Past the ids that were given by hand."""
    for table in Base.metadata.sorted_tables:
        if "id" in table.columns and table.name not in ("mpesa_access", "mpesa_line"):
            name = sql.Identifier(table.name)
            newest = sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {}").format(name)
            cursor.execute(newest, [table.name])


if __name__ == "__main__":
    fill(sys.argv[1], events=int(sys.argv[2]), orders=int(sys.argv[3]), tell=print)
