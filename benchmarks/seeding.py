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
            for step in _STEPS:
                began = time.perf_counter()
                name, statements = step.split("\n", 1)
                cursor.execute(statements, sizes)
                tell(f"{name}: {time.perf_counter() - began:.1f} s")
            _move_sequences(cursor)
        connection.autocommit = True
        with connection.cursor() as cursor:
            began = time.perf_counter()
            cursor.execute("VACUUM (ANALYZE)")
            tell(f"vacuum and analyse: {time.perf_counter() - began:.1f} s")
    finally:
        connection.close()


def _move_sequences(cursor: psycopg2.extensions.cursor) -> None:
    """Past the ids that were given by hand."""
    for table in Base.metadata.sorted_tables:
        if "id" in table.columns and table.name not in ("mpesa_access", "mpesa_line"):
            name = sql.Identifier(table.name)
            newest = sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {}").format(name)
            cursor.execute(newest, [table.name])


if __name__ == "__main__":
    fill(sys.argv[1], events=int(sys.argv[2]), orders=int(sys.argv[3]), tell=print)
