"""Orders as people see them: one's own, everybody's, one by its poll id."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, func, or_, select, union
from sqlalchemy.orm import joinedload, selectinload

from config import settings
from models import OPEN_PAYMENTS, Order, OrderItem, OrderStatus, Payment, PaymentStatus, Ticket, User
from services import limits
from utils import clock, references
from utils.database import db
from utils.errors import NotFound
from utils.prepared import Prepared, given


def list_orders(*, actor: User) -> Select[tuple[Order]]:
    """The actor's own orders, newest first."""
    return whole_orders().where(Order.buyer_id == actor.id).order_by(Order.id.desc())


def list_all_orders(*, status: OrderStatus | None, needs_attention: bool) -> Select[tuple[Order]]:
    """Everybody's orders, newest first, for admins; those that need attention have money somebody must look after."""
    orders = whole_orders().order_by(Order.id.desc())
    if status is not None:
        orders = orders.where(_is_now(status))
    if needs_attention:
        orders = orders.where(Order.id.in_(_needing_attention()))
    return orders


def _needing_attention() -> CompoundSelect[tuple[int | None]]:
    """SQL for their ids, each kind of them through an index of its own."""
    due = select(Order.id).where(Order.status == OrderStatus.REFUND_DUE)
    noted = select(Payment.order_id).where(Payment.note.is_not(None))
    unheard_of = select(Payment.order_id).where(
        Payment.status.in_(OPEN_PAYMENTS), Payment.created_at < clock.ago(hours=settings.QUERY_FOR_HOURS)
    )
    return union(due, noted, unheard_of)


def _is_now(status: OrderStatus) -> ColumnElement[bool]:
    """SQL for `Order.current_status`."""
    has_ended = and_(Order.status == OrderStatus.PENDING, Order.expires_at <= clock.now())
    if status is OrderStatus.PENDING:
        return and_(Order.status == status, Order.expires_at > clock.now())
    return or_(Order.status == status, has_ended) if status is OrderStatus.EXPIRED else Order.status == status


def get_order(*, actor: User, order_id: int) -> Order:
    """The actor's own order, or anybody's for an admin. Raises NotFound."""
    query = whole_orders().where(Order.id == order_id).execution_options(populate_existing=True)
    order = db.session.scalar(query)
    if order is None or (order.buyer_id != actor.id and not actor.is_admin):
        raise NotFound("There is no such order.")
    return order


def named_by(text: str) -> Select[tuple[Order]]:
    """The order with this reference, or with this id; a reference of digits alone comes first."""
    named = Order.reference == references.normalise(text)
    if (order_id := references.id_in(text)) is not None:
        return select(Order).where(or_(named, Order.id == order_id)).order_by(named.desc())
    return select(Order).where(named)


def find_own_order(*, actor: User, name: str) -> int:
    """The id of the actor's order of this reference or id. Raises NotFound."""
    own = named_by(name).where(Order.buyer_id == actor.id).with_only_columns(Order.id).limit(1)
    order_id = db.session.scalar(own)
    if order_id is None:
        raise NotFound("There is no such order.")
    return order_id


def queue_position(order: Order) -> int | None:
    """How many prompts, its own included, go out until its own does; None when none of its prompts waits. Needs
    `payments`."""
    waiting = next((one for one in order.payments if one.status is PaymentStatus.QUEUED), None)
    if waiting is None:
        return None
    before = Payment.push_at.is_not(None) if waiting.push_at is None else Payment.push_at < waiting.push_at
    count = db.session.scalar(select(func.count()).where(Payment.status == PaymentStatus.QUEUED, before))
    return 1 + (count or 0)


def whole_orders() -> Select[tuple[Order]]:
    """Orders with all that an answer shows of them."""
    return select(Order).options(
        joinedload(Order.event),
        selectinload(Order.items).joinedload(OrderItem.ticket_type),
        selectinload(Order.payments),
        selectinload(Order.refunds),
        selectinload(Order.tickets).joinedload(Ticket.ticket_type),
    )


@dataclass(frozen=True)
class Poll:
    """How an order stands, in the two words its poller knows: paid or over. None of both: ask again later."""

    is_paid: bool
    is_over: bool


_HAS_TICKETS = frozenset({OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED})


def poll_order(poll_id: str) -> Poll:
    """Whether the order is paid, or is over as far as its buyer can tell. Late money may still pay it.

    How often one id is asked about is counted, which is all that this writes. Raises NotFound, TooManyAttempts.
    """
    row = _POLLED.row(poll_id=poll_id)
    if row is None:
        raise NotFound("There is no such payment.")
    limits.spend("payment_check", poll_id)
    status, expires_at, latest = row
    if status != OrderStatus.PENDING.value:
        is_paid = OrderStatus(status) in _HAS_TICKETS
        return Poll(is_paid, is_over=not is_paid)
    has_failed = latest in (PaymentStatus.FAILED.value, PaymentStatus.REFUSED.value)
    return Poll(is_paid=False, is_over=has_failed or expires_at <= clock.now())


_LATEST_PAYMENT = (
    select(Payment.status)
    .where(Payment.order_id == Order.id)
    .order_by(Payment.id.desc())
    .limit(1)
    .correlate(Order)
    .scalar_subquery()
)
_POLLED = Prepared(select(Order.status, Order.expires_at, _LATEST_PAYMENT).where(Order.poll_id == given("poll_id")))


def get_sold_order(order_id: int) -> Order:
    """An order as the organizer of its event may see it; whether that is who asks is the caller's to check."""
    query = whole_orders().where(Order.id == order_id).execution_options(populate_existing=True)
    return db.session.scalars(query).one()
