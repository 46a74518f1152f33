"""Rows of a model as JSON, which become rows again in PostgreSQL: any number of them is one value of one statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import Insert, TableValuedAlias, Text, column, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB

from utils.database import Base
from utils.prepared import given


def to_json(rows: Iterable[Base], names: Iterable[str] | None = None) -> str:
    """Columns of these names; or all but the key, as the rows say them, or else as their model does."""
    if names is None:
        values = [_values(row) for row in rows]
    else:
        values = [{name: getattr(row, name) for name in names} for row in rows]
    return json.dumps(values, default=_plain)


def rows_given(name: str, columns: Iterable[Any]) -> TableValuedAlias:
    """What a statement is `given` as JSON under this name, as a table of these columns."""
    return (
        func.jsonb_to_recordset(sql_cast(given(name, type_=Text()), JSONB))
        .table_valued(*(column(one.name, one.type) for one in columns), name=f"given_{name}")
        .render_derived(with_types=True)
    )


def insertion(kind: type[Base], name: str, *, instead: Mapping[str, Any] = {}) -> Insert:
    """An INSERT of rows `given` as JSON, in their order; some columns are taken from another table `instead`."""
    columns = _written(kind)
    rows = rows_given(name, columns)
    source = select(*(instead.get(one.name, rows.c[one.name]) for one in columns)).select_from(
        rows, *{one.table for one in instead.values()}
    )
    return insert(kind).from_select([one.name for one in columns], source, include_defaults=False)


def _values(row: Base) -> dict[str, Any]:
    """By column; what was left out is what the model says."""
    facts = row.__dict__
    return {one.name: facts[one.name] if one.name in facts else _default(one) for one in _written(type(row))}


def _default(one: Any) -> Any:
    default: Any = one.default
    if default is None:
        return None
    return default.arg(None) if default.is_callable else default.arg


@cache
def _written(kind: type[Base]) -> list[Any]:
    return [one for one in kind.__table__.columns if not one.primary_key and one.computed is None]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")
