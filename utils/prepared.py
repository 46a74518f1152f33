"""SQL that SQLAlchemy writes once and psycopg2 sends from then on: to build a statement costs more than to run it.

For what is asked hundreds of times a second. What comes back are plain rows, with text where models have an enum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import psycopg2 as psycopg2_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable

from utils.database import db, is_connected

_DIALECT: Dialect = psycopg2_dialect.dialect()  # type: ignore[no-untyped-call]

#: A value that is given each time the statement runs. Give it the type of what it is compared with, if that is not
#: told by the comparison.
given = bindparam


class Prepared:
    """A statement with named values left open, as `given("event_id")`; a list is `func.any(given(…))`."""

    def __init__(self, statement: Executable) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        self._sql = str(compiled)
        self._converters = {}
        self._fixed: dict[str, Any] = {}
        for bound, name in compiled.bind_names.items():
            convert = bound.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if bound.required:
                if convert is not None:
                    self._converters[name] = convert
            else:
                self._fixed[name] = bound.effective_value if convert is None else convert(bound.effective_value)

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """All rows, as tuples. In the session's transaction where there is one; else alone, in autocommit."""
        for name, convert in self._converters.items():
            values[name] = convert(values[name])
        values = self._fixed | values
        with _cursor() as cursor:
            _tell(cursor, self._sql, values)
            cursor.execute(self._sql, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def row(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        rows = self.rows(**values)
        return rows[0] if rows else None


@contextmanager
def _cursor() -> Iterator[Any]:
    """Of the session's connection where it has one: nobody takes two. Raises SQLAlchemy's errors."""
    if is_connected():
        connection = db.session.connection()
        with _translated(connection.connection.dbapi_connection, connection.invalidate) as cursor:
            yield cursor
        return
    try:
        pooled = db.engine.raw_connection()
    except psycopg2.Error as error:
        raise _as_sqlalchemys(error) from error
    dbapi: Any = pooled.dbapi_connection
    try:
        dbapi.autocommit = True
        with _translated(dbapi, pooled.invalidate) as cursor:
            yield cursor
    finally:
        if not dbapi.closed:
            dbapi.autocommit = False
        pooled.close()


@contextmanager
def _translated(dbapi: Any, invalidate: Callable[[BaseException], None]) -> Iterator[Any]:
    try:
        with dbapi.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        if dbapi.closed:
            invalidate(error)
        raise _as_sqlalchemys(error) from error


def _as_sqlalchemys(error: psycopg2.Error) -> BaseException:
    return DBAPIError.instance(  # type: ignore[no-any-return]
        "", None, error, psycopg2.Error, hide_parameters=True
    )


def _tell(cursor: Any, sql: str, values: dict[str, Any]) -> None:
    """Whoever watches the engine's statements sees these, too."""
    for listener in db.engine.dispatch.before_cursor_execute:
        listener(None, cursor, sql, values, None, False)
