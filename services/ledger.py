"""Money in and money back: what a verdict does to a payment, its order, its tickets and their places.

Everything here runs under the order's row lock, inside the caller's transaction, and moves stock last.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from config import settings
from models import (
    EventStatus,
    MessageChannel,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    RefundMethod,
    RefundStatus,
    RequestKind,
    RequestStatus,
    Ticket,
    TicketStatus,
    User,
)
from services import admission, alerts, audit, occasions, stock
from services.judge import AWAITS_RECEIPTS
from utils import clock
from utils import phone as phones
from utils.database import db

log = logging.getLogger(__name__)

#: States that only money leads to: more of it goes back.
_HAD_MONEY = frozenset({OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED, OrderStatus.REFUND_DUE, OrderStatus.REFUNDED})
#: What an admin is told of a refund.
TAKEN_BACK = "M-PESA took the whole payment back itself."
_SEND_NO_MORE = f"{TAKEN_BACK} Do not send this any more; look in its portal whether it was sent."
#: Daraja pays out no less (portal, "B2C").
B2C_LEAST_KES = 10


# ── Money in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def receive_money(order: Order, payment: Payment, *, channel: MessageChannel, received_at: datetime) -> None:
    """The payment's money came, and pays the order, or goes back. `received_at` is when we were first told."""
    if order.status in _HAD_MONEY:
        receive_surplus(payment, channel=channel)
        return
    _count_as_paid(payment, channel)
    audit.record(None, "payment_received", payment, receipt=payment.receipt, amount_kes=payment.amount_kes)
    refusal = _turn_into_tickets(order, received_at=received_at)
    if refusal is None:
        order.move_to(OrderStatus.PAID)
        order.paid_at = payment.paid_at
        tickets = admission.issue_tickets(order)
        audit.record(None, "order_paid", order, receipt=payment.receipt)
        occasions.tell_order_paid(order, tickets)
    else:
        order.move_to(OrderStatus.REFUND_DUE)
        order.refund_reason = refusal
        audit.record(None, "order_refund_due", order, reason=refusal, receipt=payment.receipt)
        start_refund(payment, payment.amount_kes, reason=refusal)
    release_doubles(order)


def receive_surplus(payment: Payment, *, channel: MessageChannel) -> None:
    """The payment's money came for an order that was paid already, under another receipt: it goes back."""
    _count_as_paid(payment, channel)
    audit.record(None, "payment_received", payment, receipt=payment.receipt, amount_kes=payment.amount_kes)
    start_refund(payment, payment.amount_kes - payment.refunded_kes, reason="paid_twice")


def open_paybill_payment(
    order: Order | None,
    *,
    receipt: str,
    amount_kes: int,
    status: PaymentStatus = PaymentStatus.QUARANTINED,
    typed_reference: str | None = None,
    payer: str | None = None,
    moved_at: datetime | None = None,
) -> Payment:
    """Write down money that is no prompt's. The receipt must be locked, and nobody's."""
    payment = Payment(
        order_id=order.id if order else None,
        method=PaymentMethod.PAYBILL,
        amount_kes=amount_kes,
        receipt=receipt,
        typed_reference=typed_reference,
        payer=payer,
        moved_at=moved_at,
        status=status,
        refunded_kes=0,
    )
    db.session.add(payment)
    db.session.flush()
    if order is not None:
        db.session.refresh(order, ["payments"])
    return payment


def quarantine(payment: Payment, reason: str) -> None:
    """Keep the payment's money for a person to look at."""
    if payment.status is not PaymentStatus.QUARANTINED:
        payment.move_to(PaymentStatus.QUARANTINED)
    payment.note = reason
    payment.next_query_at = None
    audit.record(None, "payment_quarantined", payment, reason=reason, receipt=payment.receipt)
    alerts.raise_alert("payment_quarantined", f"Payment {payment.id} is in quarantine: {reason}.", target=payment)


def release_doubles(order: Order) -> None:
    """Send second payments back that waited for the receipts of both, now that those are known."""
    paid = order.evidence
    if paid is None or paid.receipt is None:
        return
    for payment in order.payments:
        if awaits_receipts(payment) and payment.receipt is not None:
            receive_surplus(payment, channel=payment.paid_through or MessageChannel.STK_QUERY)


def awaits_receipts(payment: Payment) -> bool:
    """Whether it seems to be a second payment of its order, and nothing else is wrong with it."""
    return payment.status is PaymentStatus.QUARANTINED and payment.note == AWAITS_RECEIPTS


def count_once(payment: Payment, receipt: str) -> None:
    """What M-PESA said of this prompt is the money of another payment of its order, which has the receipt: end it."""
    payment.move_to(PaymentStatus.FAILED)
    payment.note, payment.next_query_at = None, None
    payment.result_text = "This money has been counted under its receipt."
    audit.record(None, "payment_counted_once", payment, receipt=receipt)


def _count_as_paid(payment: Payment, channel: MessageChannel) -> None:
    payment.move_to(PaymentStatus.PAID)
    payment.paid_at = clock.now()
    payment.paid_through = channel
    payment.result_code, payment.result_text, payment.next_query_at = "0", "Paid.", None
    payment.note = None


def _turn_into_tickets(order: Order, *, received_at: datetime) -> str | None:
    """Move the order's places to sold; or leave them free and say why its money cannot become tickets."""
    held = order.status is OrderStatus.PENDING
    if held and received_at < order.expires_at:
        refusal = "event_cancelled" if order.event.status is EventStatus.CANCELLED else None
    else:
        refusal = _refuse_late_money(order)
    if refusal is not None:
        if held:
            stock.release(order.wanted)
        return refusal
    if held:
        stock.sell_held(order.wanted)
        return None
    try:
        with db.session.begin_nested():
            stock.sell(order.wanted)
    except stock.SoldOut:
        return "sold_out"
    return None


def _refuse_late_money(order: Order) -> str | None:
    if order.event.status is EventStatus.CANCELLED:  # first, since that has cancelled its orders as well
        return "event_cancelled"
    if order.status is OrderStatus.CANCELLED:
        return "order_cancelled"
    if order.event.status is not EventStatus.APPROVED:
        return f"event_{order.event.status.value}"
    if order.event.is_over:
        return "event_over"
    again = select(Order.id).where(
        Order.buyer_id == order.buyer_id,
        Order.cart == order.cart,
        Order.id != order.id,
        Order.status == OrderStatus.PAID,
        Order.paid_at > order.created_at,
    )
    return "bought_again" if db.session.scalar(again.limit(1)) else None


# ── Money back ────────────────────────────────────────────────────────────────────────────────────────────────────


def start_refund(payment: Payment, amount_kes: int, *, reason: str, requested_by: User | None = None) -> Refund:
    """Decide that so much of a payment goes back. It is sent by the worker, once its receipt is known.

    A whole payment is reversed, so that it goes to whoever paid it; a part is paid out to the number our own prompt
    went to; anything else is for a person to send.
    """
    method = _method(payment, amount_kes)
    is_by_hand = method is RefundMethod.BY_HAND
    payment.refunded_kes += amount_kes
    refund = Refund(
        payment_id=payment.id,
        order_id=payment.order_id,
        amount_kes=amount_kes,
        method=method,
        reason=reason,
        requested_by_id=requested_by.id if requested_by else None,
        status=RefundStatus.BY_HAND if is_by_hand else RefundStatus.REQUESTED,
        next_look_at=None if is_by_hand else clock.now(),
    )
    db.session.add(refund)
    db.session.flush()
    audit.record(requested_by, "refund_started", refund, payment=payment.id, amount_kes=amount_kes, reason=reason)
    occasions.tell_refund_started(refund)
    if is_by_hand:
        alerts.raise_alert("refund_by_hand", f"Refund {refund.id} has to be sent by hand.", target=refund)
    return refund


def _method(payment: Payment, amount_kes: int) -> RefundMethod:
    if not settings.MPESA_INITIATOR_NAME:
        return RefundMethod.BY_HAND
    if amount_kes == payment.amount_kes:
        return RefundMethod.REVERSAL
    if _is_from_its_phone(payment) and amount_kes >= B2C_LEAST_KES:
        return RefundMethod.B2C
    return RefundMethod.BY_HAND


def _is_from_its_phone(payment: Payment) -> bool:
    """Whether the phone that was prompted is certainly the one that paid: M-PESA said so of the prompt itself, or named
    the payer. A prompt can also have adopted money that somebody else paid by hand."""
    is_answered = payment.paid_through in (MessageChannel.STK_CALLBACK, MessageChannel.STK_QUERY)
    return payment.phone is not None and (is_answered or phones.is_told(payment.payer, payment.phone))


def void_tickets(order: Order, tickets: Sequence[Ticket], refund: Refund | None) -> Counter[int]:
    """End tickets for good; returns the places that become free by it, still to be given back.

    Places of an event that is cancelled or has started are nobody's any more.
    """
    for ticket in tickets:
        ticket.status, ticket.voided_at = TicketStatus.VOID, clock.now()
        ticket.refund_id = refund.id if refund else None
    db.session.flush()
    if order.event.status is EventStatus.CANCELLED or order.event.has_started:
        return Counter()
    return Counter(ticket.ticket_type_id for ticket in tickets)


def take_back(order: Order | None, payment: Payment, *, channel: MessageChannel) -> None:
    """M-PESA reversed the payment without us: its unused tickets end, their places are free, a person is told."""
    payment.move_to(PaymentStatus.REVERSED)
    payment.note = "M-PESA took this money back without us."
    audit.record(None, "payment_reversed", payment, receipt=payment.receipt, channel=channel.value)
    alerts.raise_alert("payment_reversed", f"M-PESA reversed payment {payment.id} without us.", target=payment)
    _stop_refunds(order, payment)
    if order is None or order.status not in (OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED):
        return
    if any(one.amount_kes > one.refunded_kes for one in order.payments if one.status is PaymentStatus.PAID):
        return
    tickets = db.session.scalars(
        select(Ticket)
        .where(Ticket.order_id == order.id, Ticket.status != TicketStatus.VOID)
        .order_by(Ticket.id)
        .with_for_update()  # one that is used at the gate at this moment stays used
        .execution_options(populate_existing=True)
    ).all()
    for ticket in tickets:
        if ticket.status is TicketStatus.USED:
            ticket.taken_back_at = clock.now()
    unused = [one for one in tickets if one.status is TicketStatus.VALID]
    freed = void_tickets(order, unused, None)
    occasions.tell_tickets_ended(order, unused, is_reversed=True)
    order.move_to(OrderStatus.REFUNDED)
    order.refund_reason = "reversed_by_mpesa"
    db.session.flush()
    stock.unsell(freed)


def _stop_refunds(order: Order | None, payment: Payment) -> None:
    """Parts of a payment that M-PESA has taken back as a whole: what was not sent must not be any more, and of what
    was, or may have been, a person is told."""
    undone = db.session.scalars(
        select(Refund)
        .where(Refund.payment_id == payment.id, Refund.status != RefundStatus.DONE)
        .order_by(Refund.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    for refund in undone:
        if refund.status is RefundStatus.REQUESTED:
            drop_refund(order, refund)
            continue
        _tell_of_both(refund)
        if refund.status is not RefundStatus.SENT:  # what becomes of that, M-PESA will say
            refund.note = _SEND_NO_MORE


def drop_refund(order: Order | None, refund: Refund) -> None:
    """A refund that waits to be sent, of a payment that M-PESA has taken back as a whole: its money went back by that,
    so it is done, but without `done_at`, since it did not go out itself."""
    in_doubt = select(MpesaRequest.id).where(
        MpesaRequest.refund_id == refund.id,
        MpesaRequest.kind != RequestKind.STATUS,
        MpesaRequest.status.not_in([RequestStatus.REFUSED, RequestStatus.ANSWERED]),
    )
    if db.session.scalar(in_doubt.limit(1)) is not None:  # an earlier try may have arrived
        _tell_of_both(refund)
    refund.move_to(RefundStatus.DONE)
    refund.next_look_at, refund.note = None, TAKEN_BACK
    audit.record(None, "refund_dropped", refund, reason=TAKEN_BACK)
    occasions.tell_refund_done(refund)
    _close_order(order)


def _tell_of_both(refund: Refund) -> None:
    sentence = (
        f"M-PESA reversed payment {refund.payment_id} as a whole, while refund {refund.id} of KES {refund.amount_kes}"
        f" of it was {refund.status.value}: look in its portal whether too much went back."
    )
    alerts.raise_alert("refund_of_reversed", sentence, target=refund, once_per_hours=24)


def finish_refund(order: Order | None, refund: Refund, *, receipt: str | None) -> None:
    """The refund has arrived. Its order is refunded once all that was due back is."""
    refund.move_to(RefundStatus.DONE)
    refund.done_at, refund.next_look_at, refund.note = clock.now(), None, None
    refund.receipt = receipt or refund.receipt
    audit.record(None, "refund_done", refund, receipt=receipt)
    occasions.tell_refund_done(refund)
    _close_order(order)


def _close_order(order: Order | None) -> None:
    if order is not None and order.status is OrderStatus.REFUND_DUE and not has_open_refunds(order):
        order.move_to(OrderStatus.REFUNDED)


def has_open_refunds(order: Order) -> bool:
    """Whether money of the order is still on its way back."""
    db.session.flush()
    undone = select(Refund.id).where(Refund.order_id == order.id, Refund.status != RefundStatus.DONE)
    return db.session.scalar(undone.limit(1)) is not None


def fail_refund(refund: Refund, *, code: str, reason: str) -> None:
    """The refund did not go through: it waits for a person, and its tickets stay void."""
    refund.move_to(RefundStatus.FAILED)
    if db.session.scalar(select(Payment.status).where(Payment.id == refund.payment_id)) is PaymentStatus.REVERSED:
        reason = f"{reason} {_SEND_NO_MORE}"
    refund.result_code, refund.note, refund.next_look_at = code, reason, None
    audit.record(None, "refund_failed", refund, code=code, reason=reason)
    alerts.raise_alert("refund_failed", f"Refund {refund.id} failed: {reason}", target=refund)
