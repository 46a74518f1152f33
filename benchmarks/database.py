"""The PostgreSQL of a run: its own, with all the care for what is committed that production has."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import make_url

from benchmarks import cores
from benchmarks.processes import Failed
from utils import postgres

_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def start(folder: Path) -> postgres.EmbeddedPostgres:
    """Beside what is measured. It ends with the calling thread, if not before."""
    with cores.on_core(cores.MEASURED):
        return postgres.start(
            folder / "data", database="ticksy", options={"max_connections": "200"}, die_with_parent=True
        )


def rows(url: str, query: str, values: Any = None) -> list[dict[str, Any]]:
    """Run a statement and commit it; its rows, if it has any."""
    with closing(psycopg2.connect(plain(url))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []


def plain(url: str) -> str:
    """For libpq and its programs."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def create(url: str, name: str) -> str:
    """Another empty database on the same server; its address."""
    with closing(psycopg2.connect(plain(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def check_durability(url: str) -> dict[str, str]:
    """What keeps a committed booking through a crash is on, or there is no benchmark. Raises Failed."""
    found = {name: str(rows(url, f"SHOW {name}")[0][name]) for name in _DURABLE}
    if set(found.values()) != {"on"}:
        raise Failed(f"PostgreSQL does not keep what is committed: {found}")
    return found
