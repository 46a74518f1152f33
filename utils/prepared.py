"""SQL that SQLAlchemy writes once and PostgreSQL plans once: either costs more than running it.

For what is asked hundreds of times a second. What comes back are plain rows, with text where models have an enum.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg2
from sqlalchemy import bindparam, inspect
from sqlalchemy.dialects.postgresql import psycopg2 as psycopg2_dialect
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.base import Executable
from sqlalchemy.types import NullType

from utils.database import Base, db, is_connected

_DIALECT: Dialect = psycopg2_dialect.dialect()  # type: ignore[no-untyped-call]

_PLACE, _LENGTH = re.compile(r"%\((\w+)\)s"), re.compile(r"\(\d+\)")
#: Of connections' `info`: the statements they know, and since when.
_KNOWN = "statements"
#: A plan is right for tables as large as they were when it was made, and an on-sale fills them within minutes.
_PLAN_SECONDS = 60.0
_numbers = itertools.count(1)

_Row = TypeVar("_Row", bound=Base)

#: A value that is given each time the statement runs. Give it the type of what it is compared with, if that is not
#: told by the comparison.
given = bindparam


class Prepared:
    """A statement with named values left open, as `given("event_id")`; a list is `func.any(given(…))`.

    `is_planned_once` is for the few statements of which there will never be more: each connection keeps their plans.
    With the name of a pool, `of`, it runs alone on a connection of that, never in the session's transaction.
    """

    def __init__(self, statement: Executable, *, is_planned_once: bool = True, of: str | None = None) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        self._sql = str(compiled)
        self._converters = {}
        self._fixed: dict[str, Any] = {}
        types = {}
        for bound, name in compiled.bind_names.items():
            types[name] = _type_of(bound)
            convert = bound.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if bound.required:
                if convert is not None:
                    self._converters[name] = convert
            else:
                self._fixed[name] = bound.effective_value if convert is None else convert(bound.effective_value)

        numbers = {name: number for number, name in enumerate(types, 1)}
        self._is_planned_once, self._pool = is_planned_once, of
        self._name = f"ticksy_{next(_numbers)}"
        body = _PLACE.sub(lambda found: f"${numbers[found[1]]}", self._sql).replace("%%", "%")
        declared, filled = ", ".join(types.values()), ", ".join(f"%({name})s" for name in types)
        self._prepare = f"PREPARE {self._name}{f' ({declared})' if types else ''} AS {body}"
        self._execute = f"EXECUTE {self._name}{f' ({filled})' if types else ''}"

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """All rows, as tuples. In the session's transaction where there is one; else alone, in autocommit."""
        for name, convert in self._converters.items():
            values[name] = convert(values[name])
        values = self._fixed | values
        if self._pool is None and is_connected():  # nobody takes two
            connection = db.session.connection()
            return self._run(db.engine, connection.connection, values, connection.invalidate)
        engine = db.engines[self._pool]
        try:
            pooled = engine.raw_connection()
        except psycopg2.Error as error:
            raise _as_sqlalchemys(error) from error
        dbapi: Any = pooled.dbapi_connection
        try:
            dbapi.autocommit = True
            return self._run(engine, pooled, values, pooled.invalidate)
        finally:
            if not dbapi.closed:
                dbapi.autocommit = False
            pooled.close()

    def _run(
        self,
        engine: Engine,
        pooled: PoolProxiedConnection,
        values: dict[str, Any],
        invalidate: Callable[[BaseException], None],
    ) -> list[tuple[Any, ...]]:
        """Raises SQLAlchemy's errors."""
        dbapi: Any = pooled.dbapi_connection
        try:
            with dbapi.cursor() as cursor:
                # Whoever watches the engine's statements sees these, too.
                for listener in engine.dispatch.before_cursor_execute:
                    listener(None, cursor, self._sql, values, None, False)
                if self._is_planned_once:
                    self._make_known(cursor, pooled.info.setdefault(_KNOWN, {}))
                cursor.execute(self._execute if self._is_planned_once else self._sql, values)
                rows: list[tuple[Any, ...]] = cursor.fetchall()
        except psycopg2.Error as error:
            if dbapi.closed:
                invalidate(error)
            raise _as_sqlalchemys(error) from error
        return rows

    def _make_known(self, cursor: Any, known: dict[str, float]) -> None:
        """To the connection, which knows some statements since those moments."""
        now, since = time.monotonic(), known.get(self._name)
        if since is not None and now - since < _PLAN_SECONDS:
            return
        if since is not None:
            cursor.execute(f"DEALLOCATE {self._name}")
            del known[self._name]
        cursor.execute(self._prepare)
        known[self._name] = now

    def row(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        rows = self.rows(**values)
        return rows[0] if rows else None


def _type_of(bound: Any) -> str:
    """PostgreSQL's name of what a place takes; without lengths, which columns see to."""
    if isinstance(bound.type, NullType):
        return "unknown"
    return _LENGTH.sub("", _DIALECT.type_compiler_instance.process(bound.type))


def as_read(kind: type[_Row], facts: Mapping[str, Any]) -> _Row:
    """An object as if a session had read it, of which it is no part: to construct one sets each attribute by itself."""
    instance: Any = inspect(kind).class_manager.new_instance()
    instance.__dict__.update(facts)
    return instance  # type: ignore[no-any-return]


def _as_sqlalchemys(error: psycopg2.Error) -> BaseException:
    return DBAPIError.instance(  # type: ignore[no-any-return]
        "", None, error, psycopg2.Error, hide_parameters=True
    )
