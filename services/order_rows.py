"""Writes a new order, and all that comes with it, in one statement: who waits behind it waits for one, not for ten."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import cast as sql_cast
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import JSON

from models import AuditLog, Order, OrderItem, Payment, Ticket
from utils.database import Base
from utils.json_rows import insertion, to_json
from utils.prepared import Prepared


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
    values = {name: to_json(rows) for name, rows in others.items()}
    row = _statement(frozenset(others)).row(orders=to_json([order]), **values)
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
    placed = insertion(Order, "orders").returning(Order.id).cte("placed")
    written = {
        name: insertion(_KINDS[name], name, instead={_NAMED_BY[name]: placed.c.id})
        .returning(_KINDS[name])
        .cte(f"new_{name}")
        for name in sorted(names)
    }
    ids: Any = sql_cast(None, JSON)
    if "tickets" in names:
        made = written["tickets"]
        ids = select(func.json_object_agg(made.c.code, made.c.id)).scalar_subquery()
    elif "payments" in names:
        ids = select(func.json_build_object("payment", written["payments"].c.id)).scalar_subquery()
    return Prepared(select(placed.c.id, ids).add_cte(*written.values()))
