"""Who gets money back, how much of it, and which tickets end by it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload

from models import (
    Event,
    EventStatus,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    Ticket,
    TicketStatus,
    User,
)
from services import alerts, audit, events, ledger, locks, occasions, orders, paybill, stock
from utils import clock
from utils.database import db, transaction
from utils.errors import Conflict, Forbidden, Invalid, NotFound

log = logging.getLogger(__name__)

_ORDERS_AT_ONCE = 50
_PAID = (OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED)
#: Orders with money to give back, should their event be cancelled. Free ones stay as they are.
_IS_OWED = (Order.status.in_(_PAID), Order.total_kes > 0)


class PassedOn(Conflict):
    code = "passed_on"
    message = (
        "One of these tickets was passed on: its money goes back only if its present holder agrees, or the event is"
        " cancelled. Please name the others."
    )


class AlreadyUsed(Conflict):
    code, message = "already_used", "A ticket that was used at the gate is not refunded."


# ── An order, or some of its tickets ──────────────────────────────────────────────────────────────────────────────


def refund_order(*, actor: User, order_id: int, ticket_ids: Sequence[int] | None) -> Order:
    """Start giving money back: for some tickets, or for all that are left (None).

    An organizer may do so within the event's refund policy; an admin always, used tickets included. Whoever was passed
    a ticket on is not deprived of it by either. Raises NotFound, Forbidden, Conflict, Invalid, AlreadyUsed, PassedOn.
    """
    with transaction():
        order = locks.lock_order(order_id)
        if not order.event.is_run_by(actor):
            raise NotFound("There is no such order.")
        _check_policy(actor, order.event)
        if order.status not in _PAID:
            raise Conflict("Only an order that is paid can be refunded.", code="order_not_paid")
        tickets = _choose(order, ticket_ids)
        if not actor.is_admin and any(ticket.status is TicketStatus.USED for ticket in tickets):
            raise AlreadyUsed
        if order.event.status is not EventStatus.CANCELLED and any(_is_kept(ticket) for ticket in tickets):
            raise PassedOn
        freed = _refund_tickets(order, tickets, reason="requested", actor=actor)
        stock.unsell(freed)
    return orders.get_order(actor=actor, order_id=order_id) if actor.is_admin else orders.get_sold_order(order_id)


def _check_policy(actor: User, event: Event) -> None:
    if actor.is_admin:
        return
    if event.refund_until_hours is None:
        raise Forbidden("This event gives no refunds. An admin may make an exception.", code="no_refunds")
    if clock.now() > event.starts_at - timedelta(hours=event.refund_until_hours):
        raise Forbidden("It is too late for refunds of this event. An admin may make an exception.", code="too_late")


def _is_kept(ticket: Ticket) -> bool:
    """Whether somebody else than its buyer has it, and wants to."""
    return ticket.passed_on_at is not None and ticket.refund_agreed_at is None


def _choose(order: Order, ticket_ids: Sequence[int] | None) -> list[Ticket]:
    live = db.session.scalars(
        select(Ticket)
        .where(Ticket.order_id == order.id)
        .order_by(Ticket.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if ticket_ids is None:
        return [ticket for ticket in live if ticket.status is not TicketStatus.VOID]
    chosen = [ticket for ticket in live if ticket.id in set(ticket_ids)]
    if len(chosen) < len(set(ticket_ids)):
        raise Invalid("One of these tickets is not of this order.", code="ticket_not_in_order")
    if any(ticket.status is TicketStatus.VOID for ticket in chosen):
        raise Conflict("One of these tickets has been refunded already.", code="already_refunded")
    return chosen


def _refund_tickets(order: Order, tickets: Sequence[Ticket], *, reason: str, actor: User | None) -> Counter[int]:
    """End the tickets and start their money's way back, in the caller's transaction; returns the places freed."""
    if not tickets:
        raise Conflict("No ticket of this order is left to refund.", code="already_refunded")
    amount_kes = sum(ticket.price_kes for ticket in tickets)
    refund = None
    if amount_kes > 0:
        payment = order.evidence
        if payment is None or payment.amount_kes - payment.refunded_kes < amount_kes:
            raise Conflict("There is no payment left to give back from.", code="nothing_to_refund")
        refund = ledger.start_refund(payment, amount_kes, reason=reason, requested_by=actor)
    freed = ledger.void_tickets(order, tickets, refund)
    occasions.tell_tickets_ended(order, tickets, is_reversed=False)
    left = select(Ticket.id).where(Ticket.order_id == order.id, Ticket.status != TicketStatus.VOID)
    if db.session.scalar(left.limit(1)) is None:
        # What was left may be free tickets of an order whose money has arrived back already.
        order.move_to(OrderStatus.REFUND_DUE if ledger.has_open_refunds(order) else OrderStatus.REFUNDED)
        order.refund_reason = reason
    elif order.status is OrderStatus.PAID:
        order.move_to(OrderStatus.PARTLY_REFUNDED)
        order.refund_reason = reason
    audit.record(actor, "order_refund_started", order, tickets=[one.id for one in tickets], amount_kes=amount_kes)
    db.session.flush()
    return freed


# ── A cancelled event ─────────────────────────────────────────────────────────────────────────────────────────────


def refund_cancelled_events() -> int:
    """Start the refunds of orders whose event was cancelled; returns how many. Each order is a transaction of its
    own, so it goes on where it was, whenever it was stopped. One that cannot be refunded holds up no other."""
    started = 0
    for event_id in _cancelled_events_that_owe():
        last_id = 0
        while waiting := _waiting_after(last_id, event_id=event_id):
            started += sum(_try_to_refund_cancelled(order_id) for order_id in waiting)
            last_id = waiting[-1]
    return started


def _cancelled_events_that_owe() -> Sequence[int]:
    owed = select(Order.id).where(Order.event_id == Event.id, *_IS_OWED)
    with transaction() as session:
        return session.scalars(
            select(Event.id).where(Event.status == EventStatus.CANCELLED, owed.exists()).order_by(Event.id)
        ).all()


def _waiting_after(order_id: int, *, event_id: int) -> Sequence[int]:
    with transaction() as session:
        return session.scalars(
            select(Order.id)
            .where(Order.event_id == event_id, *_IS_OWED, Order.id > order_id)
            .order_by(Order.id)
            .limit(_ORDERS_AT_ONCE)
        ).all()


def _try_to_refund_cancelled(order_id: int) -> bool:
    try:
        return _refund_cancelled(order_id)
    except Conflict as refusal:
        with transaction() as session:
            sentence = f"Order {order_id} of a cancelled event cannot be refunded: {refusal.message}"
            order = session.get_one(Order, order_id)
            alerts.raise_alert("refund_impossible", sentence, target=order, once_per_hours=24)
        return False


def _refund_cancelled(order_id: int) -> bool:
    with transaction():
        order = locks.lock_order(order_id)
        if order.status not in _PAID or order.event.status is not EventStatus.CANCELLED:
            return False
        tickets = _choose(order, None)
        stock.unsell(_refund_tickets(order, tickets, reason="event_cancelled", actor=None))
    return True


@dataclass(frozen=True)
class Progress:
    """How far the refunds of an event are: counted, and in shillings."""

    #: Orders of a cancelled event whose refund has not been started yet.
    waiting: int
    #: Refunds; of them, those that have arrived, and those a person has to look after.
    started: int
    done: int
    failed: int
    amount_kes: int
    done_kes: int


def get_progress(*, actor: User, event_id: int) -> Progress:
    """Of the actor's event, or any for an admin. Raises NotFound."""
    event = events.get_event(actor=actor, event_id=event_id)
    if not event.is_run_by(actor):
        raise NotFound("There is no such event.")
    waiting = db.session.scalar(select(func.count()).select_from(Order).where(Order.event_id == event_id, *_IS_OWED))
    is_done = Refund.status == RefundStatus.DONE
    is_failed = Refund.status.in_([RefundStatus.FAILED, RefundStatus.BY_HAND])
    row = db.session.execute(
        select(
            func.count(),
            func.count().filter(is_done),
            func.count().filter(is_failed),
            func.coalesce(func.sum(Refund.amount_kes), 0),
            func.coalesce(func.sum(Refund.amount_kes).filter(is_done), 0),
        )
        .join(Order, Order.id == Refund.order_id)
        .where(Order.event_id == event_id)
    ).one()
    started, done, failed, amount, amount_done = (int(value) for value in row)
    is_off = event.status is EventStatus.CANCELLED
    return Progress(int(waiting or 0) if is_off else 0, started, done, failed, amount, amount_done)


# ── What a person does ────────────────────────────────────────────────────────────────────────────────────────────


def list_refunds(*, status: RefundStatus | None) -> Select[tuple[Refund]]:
    """Every refund, newest first, with its payment."""
    refunds = select(Refund).options(joinedload(Refund.payment)).order_by(Refund.id.desc())
    return refunds if status is None else refunds.where(Refund.status == status)


def retry_refund(*, actor: User, refund_id: int) -> Refund:
    """Send a refund that failed once more, a payout in doubt under the id it had. Its tickets stay void. Raises
    NotFound, Conflict."""
    with transaction():
        refund = _lock_refund(refund_id)
        if refund.status is not RefundStatus.FAILED:
            raise Conflict("Only a refund that failed can be tried again.", code="refund_not_failed")
        if refund.payment.status is PaymentStatus.REVERSED:  # found to be so later, it is dropped before it is sent
            raise Conflict(f"{ledger.TAKEN_BACK} Nothing of it is left to send.", code="payment_reversed")
        refund.move_to(RefundStatus.REQUESTED)
        refund.next_look_at, refund.note, refund.result_code, refund.sent_at = clock.now(), None, None, None
        audit.record(actor, "refund_retried", refund)
    return refund


def note_sent_by_hand(*, actor: User, refund_id: int, receipt: str) -> Refund:
    """Write down that a person has sent the money, with M-PESA's receipt of it. Raises NotFound, Conflict."""
    with transaction():
        order_id = db.session.scalar(select(Refund.order_id).where(Refund.id == refund_id))
        order = locks.lock_order(order_id) if order_id is not None else None
        refund = _lock_refund(refund_id)
        if refund.status not in (RefundStatus.FAILED, RefundStatus.BY_HAND):
            raise Conflict("This refund is not waiting for a person.", code="refund_not_by_hand")
        audit.record(actor, "refund_sent_by_hand", refund, receipt=receipt)
        ledger.finish_refund(order, refund, receipt=receipt)
    return refund


def _lock_refund(refund_id: int) -> Refund:
    refund = db.session.scalar(
        select(Refund)
        .where(Refund.id == refund_id)
        .with_for_update(of=Refund)
        .options(joinedload(Refund.payment))
        .execution_options(populate_existing=True)
    )
    if refund is None:
        raise NotFound("There is no such refund.")
    return refund


def refund_payment(*, actor: User, payment_id: int) -> Payment:
    """Send money in quarantine back to whoever paid it. Raises NotFound, Conflict."""
    with transaction():
        _order, payment = paybill.lock_payment(payment_id)
        if payment is None:
            raise NotFound("There is no such payment.")
        if payment.status is not PaymentStatus.QUARANTINED or payment.refunded_kes > 0:
            raise Conflict("Only money in quarantine can be sent back this way.", code="not_in_quarantine")
        if payment.receipt is None:
            raise Conflict("Its receipt is not known yet: without it M-PESA cannot undo it.", code="receipt_unknown")
        ledger.start_refund(payment, payment.amount_kes, reason="quarantined", requested_by=actor)
        payment.note = None
    return payment
