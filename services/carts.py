"""What a buyer wants, as it is at the moment, and what he has ordered of it already: read in one statement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

from sqlalchemy import ARRAY, BigInteger, and_, func, or_, select

from models import Event, EventStatus, Order, OrderStatus, TicketType, User
from services import stock
from utils import clock
from utils.prepared import Prepared, as_read, given

#: The same free cart again within this time is the same tap on the button.
_DOUBLE_TAP_SECONDS = 60


@dataclass(frozen=True)
class Cart:
    """What is wanted as it is at the moment, and what the buyer has ordered already."""

    ticket_types: list[TicketType]
    #: The buyer's order of the same cart that is still open; or, since a free one never is, was placed just now.
    same_order_id: int | None
    #: The buyer's orders for the event that are still open.
    open_orders: int


def read_cart(actor: User, phone: str, wanted: Counter[int]) -> Cart:
    rows = _statement().rows(
        ids=list(wanted),
        buyer_id=actor.id,
        phone=phone,
        cart=describe(wanted),
        now=clock.now(),
        just_now=clock.ago(seconds=_DOUBLE_TAP_SECONDS),
    )
    events: dict[int, Event] = {}
    ticket_types = []
    for row in rows:
        facts = dict(zip(_EVENT_FACTS, row[3:], strict=False))
        event = events.get(facts["id"])
        if event is None:
            event = events[facts["id"]] = as_read(Event, facts | {"status": EventStatus(facts["status"])})
        of_type = dict(zip(_TYPE_FACTS, row[3 + len(_EVENT_FACTS) :], strict=True))
        ticket_types.append(as_read(TicketType, of_type | {"held_by_ended": row[2], "event": event}))
    same_order_id, open_orders = (rows[0][0], rows[0][1]) if rows else (None, 0)
    return Cart(ticket_types, same_order_id, open_orders)


#: As much of an event and a ticket type as a sale is decided by and its answer shows.
_EVENT_FACTS = ("id", "title", "location", "starts_at", "ends_at", "image", "status")
_TYPE_FACTS = tuple(column.name for column in TicketType.__table__.columns)


@cache
def _statement() -> Prepared:
    is_open = and_(Order.status == OrderStatus.PENDING, Order.expires_at > given("now"))
    is_just_given = and_(Order.status == OrderStatus.PAID, Order.total_kes == 0, Order.created_at > given("just_now"))
    same = (
        select(Order.id)
        .where(
            Order.buyer_id == given("buyer_id"),
            Order.phone == given("phone"),
            Order.cart == given("cart"),
            or_(is_open, is_just_given),
        )
        .order_by(Order.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    open_orders = (
        select(func.count())
        .where(Order.buyer_id == given("buyer_id"), Order.event_id == Event.id, is_open)
        .correlate(Event)
        .scalar_subquery()
    )
    return Prepared(
        select(
            *(same, open_orders, stock.held_by_ended_orders(given("now"))),
            *(getattr(Event, name) for name in _EVENT_FACTS),
            *TicketType.__table__.columns,
        )
        .join(Event, Event.id == TicketType.event_id)
        .where(TicketType.id == func.any(given("ids", type_=ARRAY(BigInteger))))
        .order_by(TicketType.id)
    )


def describe(wanted: Counter[int]) -> str:
    return ",".join(f"{ticket_type_id}x{count}" for ticket_type_id, count in sorted(wanted.items()))
