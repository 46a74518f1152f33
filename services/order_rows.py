"""Writes a new order, and all that comes with it, in one statement: whoever waits behind it waits for one, not for ten.

The rows come as JSON and become rows of their tables in PostgreSQL; every column is written, as its model says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any

from sqlalchemy import CTE, Text, column, func, insert, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSON, JSONB

from models import AuditLog, Order, OrderItem, Payment, Ticket
from utils.database import Base
from utils.prepared import Prepared, given


def write(
    order: Order, *, lines: Sequence[AuditLog], tickets: Sequence[Ticket] = (), payment: Payment | None = None
) -> None:
    """Insert an order with its items, the `lines` of the audit log about it, and its tickets or its prompt.

    All are given their ids. None of them is of the session.
    """
    others: dict[str, Sequence[Base]] = {"items": order.items, "lines": lines}
    if payment is not None:
        others["payments"] = [payment]
    if tickets:
        others["tickets"] = tickets
    values = {name: _to_json(rows) for name, rows in others.items()}
    row = _statement(frozenset(others)).row(orders=_to_json([order]), **values)
    assert row is not None  # an INSERT of one row returns one
    order.id = row[0]
    for item in order.items:
        item.order_id = order.id
    for ticket in tickets:
        ticket.order_id, ticket.id = order.id, row[1][ticket.code]
    if payment is not None:
        payment.order_id, payment.id = order.id, row[1]["payment"]


_KINDS: dict[str, type[Base]] = {"items": OrderItem, "lines": AuditLog, "payments": Payment, "tickets": Ticket}
#: Where a row names its order.
_NAMED_BY = {"items": "order_id", "lines": "target_id", "payments": "order_id", "tickets": "order_id"}


@cache
def _statement(names: frozenset[str]) -> Prepared:
    placed = _insertion(Order, "orders").returning(Order.id).cte("placed")
    written = {
        name: _insertion(_KINDS[name], name, placed=placed).returning(_KINDS[name]).cte(f"new_{name}")
        for name in sorted(names)
    }
    ids: Any = sql_cast(None, JSON)
    if "tickets" in names:
        made = written["tickets"]
        ids = select(func.json_object_agg(made.c.code, made.c.id)).scalar_subquery()
    elif "payments" in names:
        ids = select(func.json_build_object("payment", written["payments"].c.id)).scalar_subquery()
    return Prepared(select(placed.c.id, ids).add_cte(*written.values()))


def _insertion(kind: type[Base], name: str, *, placed: CTE | None = None) -> Any:
    columns = _written(kind)
    rows = (
        func.jsonb_to_recordset(sql_cast(given(name, type_=Text()), JSONB))
        .table_valued(*(column(one.name, one.type) for one in columns), name=f"given_{name}")
        .render_derived(with_types=True)
    )
    values = [
        placed.c.id if placed is not None and one.name == _NAMED_BY[name] else rows.c[one.name] for one in columns
    ]
    source = select(*values) if placed is None else select(*values).select_from(rows, placed)
    return insert(kind).from_select([one.name for one in columns], source, include_defaults=False)


def _to_json(rows: Iterable[Base]) -> str:
    return json.dumps([_values(row) for row in rows], default=_plain)


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
