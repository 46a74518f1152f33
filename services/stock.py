"""Moves places between free, held and sold. Nothing else writes `sold` and `held`.

A move is one conditional UPDATE per ticket type, always in id order, so that two of them never wait for each other in a
circle. The row is locked from its UPDATE to the commit, so callers move stock last.

Orders are locked before ticket types, everywhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, ScalarSelect, cast, func, or_, select, update

from models import Order, OrderItem, OrderStatus, TicketType
from services import audit, occasions
from utils import clock
from utils.database import db, do_last, transaction
from utils.errors import Conflict
from utils.prepared import Prepared, given

#: Ended orders the worker tidies up in one go.
_EXPIRE_AT_ONCE = 500


class SoldOut(Conflict):
    code, message = "sold_out", "There are not enough tickets left."


class NoRoom(Exception):
    """At this moment; there may be places to free."""


def held_by_ended_orders(now: Any = None) -> ScalarSelect[int]:
    """SQL for the places a ticket type counts as held although their order's time is over.

    For `with_expression(TicketType.held_by_ended, …)`: it makes `available` true at the moment of the answer without
    anybody having written that those orders have expired. `now` stands for the moment in SQL that is written once.

    Few are over and still open; PostgreSQL, which thinks that ticket types are ordered alike, would begin at all orders
    of the one that everybody wants. OFFSET 0 keeps it off.
    """
    ended = (
        select(Order.id)
        .where(
            Order.event_id == TicketType.event_id,
            Order.status == OrderStatus.PENDING,
            Order.expires_at <= (clock.now() if now is None else now),
        )
        .correlate(TicketType)
        .offset(0)
        .subquery("ended")
    )
    return (
        select(cast(func.coalesce(func.sum(OrderItem.quantity), 0), BigInteger))
        .join(ended, ended.c.id == OrderItem.order_id)
        .where(OrderItem.ticket_type_id == TicketType.id)
        .correlate(TicketType)
        .scalar_subquery()
    )


def take(wanted: Mapping[int, int], *, is_sold: bool) -> None:
    """Take places by ticket type id, all or none: held for an order, or straight to sold. Part of an order's placing.

    Raises NoRoom: the caller then rolls its transaction back, frees what has ended, and tries once more.
    """
    for ticket_type_id, count in sorted(wanted.items()):
        _move(ticket_type_id, held=0 if is_sold else count, sold=count if is_sold else 0)


def free_ended(ticket_type_ids: Iterable[int]) -> None:
    """Give back what orders hold whose time is over."""
    with transaction():
        release(expire_ended_orders(of_types=ticket_type_ids, at_most=None))


def sell(wanted: Mapping[int, int]) -> None:
    """Take places that nobody holds straight to sold, all or none, for an order that is paid late.

    Raises SoldOut; the caller then rolls back, at least to before it.
    """
    try:
        # A savepoint, so that failing lets go of every row before orders are locked: of those moved already, and of
        # the one that was waited for in vain, which PostgreSQL keeps locked although it was not changed.
        with db.session.begin_nested():
            _sell_all(wanted, freed={})
    except NoRoom:
        # Once more even if there is nothing to free: somebody else may be freeing it, whom the UPDATE then waits for.
        freed = expire_ended_orders(of_types=wanted, at_most=None)
        try:
            _sell_all(wanted, freed)
        except NoRoom:
            raise SoldOut from None


def _sell_all(wanted: Mapping[int, int], freed: Mapping[int, int]) -> None:
    for ticket_type_id in sorted({*wanted, *freed}):
        _move(ticket_type_id, held=-freed.get(ticket_type_id, 0), sold=wanted.get(ticket_type_id, 0))


def sell_held(held: Mapping[int, int]) -> None:
    """Turn an open order's held places into sold ones, last of all in the transaction: buyers wait for these rows."""

    def move() -> None:
        for ticket_type_id, count in sorted(held.items()):
            _move(ticket_type_id, held=-count, sold=count)

    do_last(move)


def release(held: Mapping[int, int]) -> None:
    """Give an open order's held places back."""
    for ticket_type_id, count in sorted(held.items()):
        _move(ticket_type_id, held=-count)


def unsell(sold: Mapping[int, int]) -> None:
    """Give the places of tickets that are void back to whoever comes next."""
    for ticket_type_id, count in sorted(sold.items()):
        _move(ticket_type_id, sold=-count)


def expire_ended_orders(
    *, of_types: Iterable[int] | None = None, at_most: int | None = _EXPIRE_AT_ONCE
) -> Counter[int]:
    """Mark orders whose time is over as expired and return the places they held, still to be given back.

    Rows somebody else is working on are passed over: whoever has them decides their fate.
    """
    ended = (
        select(Order.id)
        .where(Order.status == OrderStatus.PENDING, Order.expires_at <= clock.now())
        .order_by(Order.expires_at, Order.id)
        .limit(at_most)
        .with_for_update(skip_locked=True)
    )
    if of_types is not None:
        ended = ended.where(
            select(OrderItem.id)
            .where(OrderItem.order_id == Order.id, OrderItem.ticket_type_id.in_(list(of_types)))
            .exists()
        )
    ids = db.session.scalars(ended).all()
    if not ids:
        return Counter()
    db.session.execute(
        update(Order).where(Order.id.in_(ids)).values(status=OrderStatus.EXPIRED),
        execution_options={"synchronize_session": "fetch"},
    )
    audit.record_all(None, "order_expired", Order, ids)
    occasions.tell_orders_ended(ids)
    freed = (
        select(OrderItem.ticket_type_id, func.sum(OrderItem.quantity))
        .where(OrderItem.order_id.in_(ids))
        .group_by(OrderItem.ticket_type_id)
    )
    return Counter({type_id: int(places) for type_id, places in db.session.execute(freed).tuples()})


def _move(ticket_type_id: int, *, held: int = 0, sold: int = 0) -> None:
    """One conditional UPDATE. The condition, not the CHECK behind it, is what keeps two buyers off one place."""
    db.session.flush()
    if _MOVE.row(ticket_type_id=ticket_type_id, to_held=held, to_sold=sold, more=held + sold) is None:
        raise NoRoom


_MOVE = Prepared(
    update(TicketType)
    .where(
        TicketType.id == given("ticket_type_id"),
        or_(
            given("more", type_=BigInteger) <= 0,
            TicketType.sold + TicketType.held + given("more", type_=BigInteger) <= TicketType.quantity,
        ),
    )
    .values(held=TicketType.held + given("to_held"), sold=TicketType.sold + given("to_sold"))
    .returning(TicketType.id)
)


def sold_out_if_hopeless(ticket_types: Iterable[TicketType], wanted: Mapping[int, int]) -> None:
    """Say "sold out" from what was read already, before anything is written or locked. Needs `held_by_ended`."""
    short = [one for one in ticket_types if one.available < wanted[one.id]]
    if short:
        if len(_short_until) >= _MOST_SHORT:
            _short_until.clear()
        _short_until.update(dict.fromkeys((one.id for one in short), time.monotonic() + _SHORT_SECONDS))
        raise SoldOut(_describe(short))


def was_short(wanted: Mapping[int, int]) -> bool:
    """Whether there was too little of something a moment ago, as far as this process knows: worth a look first."""
    now = time.monotonic()
    return any(_short_until.get(one, 0) > now for one in wanted)


#: By ticket type id. There may be as many of them as anybody asks for.
_short_until: dict[int, float] = {}
_SHORT_SECONDS, _MOST_SHORT = 2, 10_000


def _describe(short: list[TicketType]) -> str:
    first = short[0]
    if first.available <= 0:
        return f"{first.name} is sold out."
    return f"Only {first.available} {first.name} {'ticket is' if first.available == 1 else 'tickets are'} left."
