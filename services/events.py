"""Events: publish, change, find and call off."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, cast, func, or_, select, true, update
from sqlalchemy.orm import immediateload, joinedload, selectinload, with_expression

from config import settings
from models import Event, EventStatus, Order, OrderItem, OrderStatus, Review, TicketType, User
from models.catalogue import EventRules
from services import admission, audit, occasions, stock
from utils import clock, images
from utils.database import db, transaction
from utils.errors import Conflict, Invalid, NotFound

#: A change of an approved event that needs no admin: it ends at another time, by so much at most.
HARMLESS = timedelta(days=1)
#: Others: they concern those alone who have bought already. Refunds can only become kinder to them.
_HARMLESS_FACTS = frozenset({"refund_until_hours", "transfer_until_hours", "allows_reentry"})
#: Policies that people bought under, in hours before the start, and what they are about.
_POLICIES = {"refund_until_hours": "refunds", "transfer_until_hours": "passing tickets on"}


# ── Finding ───────────────────────────────────────────────────────────────────────────────────────────────────────


def list_my_events(*, actor: User) -> Select[tuple[Event]]:
    """The actor's own events in any state, soonest first."""
    return _with_tickets().where(Event.organizer_id == actor.id).order_by(Event.starts_at, Event.id)


def list_pending_events() -> Select[tuple[Event]]:
    """Events that wait for an admin, longest waiting first."""
    return _with_tickets().where(Event.status == EventStatus.PENDING).order_by(Event.created_at, Event.id)


def get_event(*, actor: User | None, event_id: int) -> Event:
    """An event as the actor may see it, with organizer and ticket types. Raises NotFound.

    Everybody sees what is approved; its owner and admins see it always; who holds a ticket keeps seeing it.
    """
    query = _with_tickets().where(Event.id == event_id).execution_options(populate_existing=True)
    event = db.session.scalar(query)
    if event is None or not may_see(actor, event):
        raise NotFound("There is no such event.")
    return event


def may_see(actor: User | None, event: EventRules) -> bool:
    if event.status is EventStatus.APPROVED or event.is_run_by(actor):
        return True
    return actor is not None and admission.holds_ticket(user=actor, event_id=event.id)


def is_visible_to(actor: User) -> ColumnElement[bool]:
    """SQL, about Event, for what `get_event` would find."""
    if actor.is_admin:
        return true()
    return or_(Event.status == EventStatus.APPROVED, Event.organizer_id == actor.id, admission.is_held_by(actor))


def _with_tickets() -> Select[tuple[Event]]:
    """Events with organizer, ticket types, and what their reviews come to."""
    rating = select(cast(func.round(func.avg(Review.rating), 1), Float)).where(Review.event_id == Event.id)
    review_count = select(func.count()).where(Review.event_id == Event.id)
    return select(Event).options(
        joinedload(Event.organizer),
        with_expression(Event.rating, rating.correlate(Event).scalar_subquery()),
        with_expression(Event.review_count, review_count.correlate(Event).scalar_subquery()),
        selectinload(Event.ticket_types).options(
            # The event is at hand: no query, but a reference that keeps it with its ticket types.
            immediateload(TicketType.event),
            with_expression(TicketType.held_by_ended, stock.held_by_ended_orders()),
        ),
    )


# ── Publishing ────────────────────────────────────────────────────────────────────────────────────────────────────


def create_event(*, actor: User, facts: dict[str, Any], image: bytes | None) -> Event:
    """A new event, waiting for an admin. `facts` are columns of Event by name; `image` is the file as it came.

    Raises Invalid for times in the wrong order or in the past, images.BadImage.
    """
    _check_times(facts["starts_at"], facts["ends_at"], is_new_start=True)
    with images.stored(image, settings.UPLOAD_DIR) as name, transaction() as session:
        event = Event(organizer_id=actor.id, image=name, **facts)
        session.add(event)
        session.flush()
        audit.record(actor, "event_created", event, title=event.title)
    return get_event(actor=actor, event_id=event.id)


def update_event(*, actor: User, event_id: int, changes: dict[str, Any], image: bytes | None) -> Event:
    """Change an event of one's own; all but what is HARMLESS sends it back to an admin.

    Raises NotFound, Conflict for a cancelled event or a stricter policy, Invalid, images.BadImage.
    """
    get_own_event(actor=actor, event_id=event_id)  # before a picture is decoded for somebody who may not
    old_image = None
    with images.stored(image, settings.UPLOAD_DIR) as name, transaction():
        event = lock_own_event(actor=actor, event_id=event_id)
        if event.status is EventStatus.CANCELLED:
            raise Conflict("A cancelled event cannot be changed.", code="event_cancelled")
        if event.is_over:
            raise Conflict("This event is over: it cannot be changed any more.", code="event_over")
        changes = {key: value for key, value in changes.items() if getattr(event, key) != value}
        _check_times(
            changes.get("starts_at", event.starts_at),
            changes.get("ends_at", event.ends_at),
            is_new_start="starts_at" in changes,
        )
        for policy in _POLICIES.keys() & changes.keys():
            _check_policy(event, policy, changes[policy])
        if name is not None:
            old_image, changes["image"] = event.image, name
        needs_admin = not _is_harmless(event, changes)
        was_at, was_in = event.starts_at, event.location
        for key, value in changes.items():
            setattr(event, key, value)
        if event.status is EventStatus.REJECTED or (event.status is EventStatus.APPROVED and needs_admin):
            event.move_to(EventStatus.PENDING)
            event.rejection_reason = None
        if changes:
            audit.record(actor, "event_updated", event, changed=sorted(changes), status=event.status.value)
        if event.starts_at != was_at:
            event.reminded_at = None
        if changes.keys() & {"starts_at", "location"}:
            occasions.tell_event_changed(event, was_at=was_at, was_in=was_in)
    if old_image is not None:
        images.remove(old_image, settings.UPLOAD_DIR)
    return get_event(actor=actor, event_id=event_id)


def delete_event(*, actor: User, event_id: int) -> None:
    """Delete an event nobody ever ordered tickets for: money could still come for any order.

    Raises NotFound, Conflict.
    """
    with transaction() as session:
        event = lock_own_event(actor=actor, event_id=event_id)
        if _has_orders(event_id):
            raise Conflict("This event has orders. Cancel it instead of deleting it.", code="event_has_orders")
        audit.record(actor, "event_deleted", event, title=event.title)
        session.delete(event)
        image = event.image
    if image is not None:
        images.remove(image, settings.UPLOAD_DIR)


def _has_orders(event_id: int) -> bool:
    """Whether anybody ever ordered; until the transaction ends nobody can."""
    # Locks out orders that are just being placed: they refer to the ticket types.
    db.session.execute(
        select(TicketType.id).where(TicketType.event_id == event_id).order_by(TicketType.id).with_for_update()
    )
    return db.session.scalar(select(Order.id).where(Order.event_id == event_id).limit(1)) is not None


def _check_policy(event: Event, policy: str, hours: int | None) -> None:
    """Who bought under one policy is not left with a stricter one. Raises Conflict."""
    before = getattr(event, policy)
    is_kinder = hours is not None and (before is None or hours < before)
    if not is_kinder and _has_orders(event.id):
        sentence = f"This event has orders: {_POLICIES[policy]} may be made easier now, but not harder."
        raise Conflict(sentence, code=f"{policy.partition('_')[0]}_policy_fixed")


def cancel_event(*, actor: User, event_id: int) -> Event:
    """Call an event off, for good: sales end, open orders are closed, paid ones are refunded by the worker.

    Doing it twice is fine. Money that arrives for a closed order later becomes a refund as well. Raises NotFound.
    """
    with transaction() as session:
        event = lock_own_event(actor=actor, event_id=event_id)
        if event.status is not EventStatus.CANCELLED:
            event.move_to(EventStatus.CANCELLED)
            session.flush()
            _lock_unpaid_orders(event_id)
            freed = _close_open_orders(actor, event_id)
            audit.record(actor, "event_cancelled", event, paid_orders=_count_paid_orders(event_id))
            occasions.tell_event_cancelled(event)
            session.flush()
            stock.release(freed)
    return get_event(actor=actor, event_id=event_id)


def _lock_unpaid_orders(event_id: int) -> None:
    """Wait for money that is being settled at this moment: it read the event before this transaction changed it.

    What is paid after that wait is seen by the statements that follow; what is settled later sees the change.
    """
    unpaid = (OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.EXPIRED)
    db.session.execute(
        select(Order.id)
        .where(Order.event_id == event_id, Order.status.in_(unpaid))
        .order_by(Order.id)
        .with_for_update(key_share=True)
    )


def _close_open_orders(actor: User, event_id: int) -> dict[int, int]:
    """Cancel what is still open; returns the places to give back, by ticket type id."""
    closed = db.session.scalars(
        update(Order)
        .where(Order.event_id == event_id, Order.status == OrderStatus.PENDING)
        .values(status=OrderStatus.CANCELLED, cancelled_at=clock.now())
        .returning(Order.id)
        .execution_options(synchronize_session=False)
    ).all()
    audit.record_all(actor, "order_cancelled", Order, closed, reason="event_cancelled")
    places = (
        select(OrderItem.ticket_type_id, func.sum(OrderItem.quantity))
        .where(OrderItem.order_id.in_(closed))
        .group_by(OrderItem.ticket_type_id)
    )
    return {type_id: int(count) for type_id, count in db.session.execute(places).tuples()}


def _count_paid_orders(event_id: int) -> int:
    """Those whose money goes back; free ones have none."""
    paid = select(func.count()).where(
        Order.event_id == event_id,
        Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED]),
        Order.total_kes > 0,
    )
    return int(db.session.scalar(paid) or 0)


# ── Shared with other services ────────────────────────────────────────────────────────────────────────────────────


def lock_own_event(*, actor: User, event_id: int) -> Event:
    """The event, locked until the transaction ends, if it is the actor's or the actor is an admin. Raises NotFound."""
    event = db.session.scalar(
        select(Event)
        .where(Event.id == event_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if event is None or not event.is_run_by(actor):
        raise NotFound("There is no such event.")
    return event


def get_own_event(*, actor: User, event_id: int) -> Event:
    """The event, without any of its relationships, if it is the actor's or the actor is an admin. Raises NotFound."""
    event = db.session.scalar(select(Event).where(Event.id == event_id))
    if event is None or not event.is_run_by(actor):
        raise NotFound("There is no such event.")
    return event


def _is_harmless(event: Event, changes: dict[str, Any]) -> bool:
    if not changes.keys() - _HARMLESS_FACTS <= {"ends_at"}:
        return False
    ends_at: datetime = changes.get("ends_at", event.ends_at)
    return abs(ends_at - event.ends_at) <= HARMLESS


def _check_times(starts_at: datetime, ends_at: datetime, *, is_new_start: bool) -> None:
    if starts_at >= ends_at:
        raise Invalid("The event must start before it ends.", code="ends_before_start")
    if is_new_start and starts_at <= clock.now():
        raise Invalid("The event must start in the future.", code="starts_in_the_past")
