"""Ticket types: what an event has on sale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload, with_expression

from models import Event, EventStatus, OrderItem, TicketType, User
from services import audit, events, stock
from utils.database import db, transaction, violated
from utils.errors import Conflict, Invalid, NotFound, TicksyError


class TicketTypeExists(Conflict):
    code, message = "ticket_type_exists", "This event has a ticket type of that name already."


class LimitsOutOfOrder(Invalid):
    message = "The least per order must not be more than the most."


class SalesOutOfOrder(Invalid):
    message = "Sales must start before they end."


_BROKEN_RULES: dict[str | None, type[TicksyError]] = {
    "one_ticket_type_of_a_name": TicketTypeExists,
    "order_limits_in_order": LimitsOutOfOrder,
    "sales_start_before_they_end": SalesOutOfOrder,
}


def list_ticket_types(*, actor: User | None, event_id: int) -> Sequence[TicketType]:
    """Of an event the actor may see, cheapest first. Raises NotFound."""
    return events.get_event(actor=actor, event_id=event_id).ticket_types


def add_ticket_type(*, actor: User, event_id: int, facts: dict[str, Any]) -> TicketType:
    """Put another ticket type on sale; `facts` are columns of TicketType. Raises NotFound, Conflict, Invalid."""
    try:
        with transaction() as session:
            event = _lock_open_event(actor, event_id)
            ticket_type = TicketType(event_id=event.id, **facts)
            session.add(ticket_type)
            session.flush()
            audit.record(actor, "ticket_type_added", ticket_type, name=ticket_type.name)
    except IntegrityError as error:
        raise _broken_rule(error) from None
    return _get(event_id, ticket_type.id)


def update_ticket_type(*, actor: User, event_id: int, ticket_type_id: int, changes: dict[str, Any]) -> TicketType:
    """Change what is on sale; orders keep the price they were placed at.

    Raises NotFound, Invalid, Conflict when the quantity would fall below what is sold and held.
    """
    try:
        with transaction():
            _lock_open_event(actor, event_id)
            # Orders are locked before ticket types: first let go of the holds whose time is over.
            freed = stock.expire_ended_orders(of_types=[ticket_type_id])
            stock.release(freed)
            ticket_type = _lock(event_id, ticket_type_id, key_share=True)
            taken = ticket_type.sold + ticket_type.held
            if changes.get("quantity", taken) < taken:
                raise Conflict(
                    f"{taken} tickets are sold or held: the quantity cannot be less.", code="quantity_too_low"
                )
            for name, value in changes.items():
                setattr(ticket_type, name, value)
            audit.record(actor, "ticket_type_updated", ticket_type, changed=sorted(changes))
    except IntegrityError as error:
        raise _broken_rule(error) from None
    return _get(event_id, ticket_type_id)


def delete_ticket_type(*, actor: User, event_id: int, ticket_type_id: int) -> None:
    """Take back a ticket type nobody ever ordered. Raises NotFound, Conflict."""
    with transaction() as session:
        _lock_open_event(actor, event_id)
        ticket_type = _lock(event_id, ticket_type_id)
        if session.scalar(select(OrderItem.id).where(OrderItem.ticket_type_id == ticket_type_id).limit(1)):
            raise Conflict(
                "There are orders for this ticket type. Set its quantity to what is sold instead.",
                code="ticket_type_has_orders",
            )
        audit.record(actor, "ticket_type_deleted", ticket_type, name=ticket_type.name)
        session.delete(ticket_type)


def _lock_open_event(actor: User, event_id: int) -> Event:
    event = events.lock_own_event(actor=actor, event_id=event_id)
    if event.status is EventStatus.CANCELLED:
        raise Conflict("This event has been cancelled.", code="event_cancelled")
    return event


def _lock(event_id: int, ticket_type_id: int, *, key_share: bool = False) -> TicketType:
    """Locked until the transaction ends; with `key_share`, orders that only refer to the row may still be written."""
    ticket_type = db.session.scalar(
        select(TicketType)
        .where(TicketType.id == ticket_type_id, TicketType.event_id == event_id)
        .with_for_update(key_share=key_share)
        .execution_options(populate_existing=True)
    )
    if ticket_type is None:
        raise NotFound("There is no such ticket type.")
    return ticket_type


def _get(event_id: int, ticket_type_id: int) -> TicketType:
    query = (
        select(TicketType)
        .where(TicketType.id == ticket_type_id, TicketType.event_id == event_id)
        .options(
            joinedload(TicketType.event),
            with_expression(TicketType.held_by_ended, stock.held_by_ended_orders()),
        )
        .execution_options(populate_existing=True)
    )
    return db.session.scalars(query).one()


def _broken_rule(error: IntegrityError) -> Exception:
    broken = _BROKEN_RULES.get(violated(error))
    return broken() if broken else error
