"""What M-PESA says of a payment, and what that does to its order.

What Safaricom sends is stored first; the stored row is the job. Whoever takes it, the web process right after its
answer or the worker, judges it under the order's row lock and applies the verdict in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import selectinload

from config import settings
from models import (
    OPEN_PAYMENTS,
    EventStatus,
    MessageChannel,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
)
from services import admission, audit, stock
from services.judge import (
    FOREIGN_IDS,
    AddReceipt,
    Ask,
    Fail,
    Ignore,
    Quarantine,
    Settle,
    StayOver,
    StayUnknown,
    Suspect,
    Verdict,
    judge,
)
from utils import clock
from utils.database import db, transaction
from utils.errors import NotFound
from utils.mpesa_reports import Outcome, Report, read_callback, read_query_answer
from utils.security import hash_secret

log = logging.getLogger(__name__)

#: Keeps this advisory lock apart from others.
_LOCK_RECEIPT = 2
_MESSAGES_AT_ONCE = 200

# ── Receiving what Safaricom sends ────────────────────────────────────────────────────────────────────────────────


def receive_callback(*, token: str, body: bytes, remote_address: str | None) -> int:
    """Store a callback posted to a payment's secret address; returns the message's id, to be settled next.

    Raises NotFound for a token that is not ours.
    """
    with transaction() as session:
        payment_id = session.scalar(select(Payment.id).where(Payment.callback_token_hash == hash_secret(token)))
        if payment_id is None:
            raise NotFound
        return store(payment_id, MessageChannel.STK_CALLBACK, body, remote_address=remote_address)


def receive_hint(*, body: bytes, remote_address: str | None) -> int | None:
    """Take a post to the public callback address for what it is worth: a reason to ask about the payment it names.

    Returns the stored message's id, or None when it names no payment of ours or one that was asked about just now.
    """
    checkout_request_id = read_callback(body).checkout_request_id
    if checkout_request_id is None:
        return None
    with transaction() as session:
        payment_id = session.scalar(
            update(Payment)
            .where(
                Payment.checkout_request_id == checkout_request_id,
                Payment.status.not_in([PaymentStatus.PAID, PaymentStatus.QUARANTINED]),
                or_(
                    Payment.hinted_at.is_(None),
                    Payment.hinted_at <= clock.ago(seconds=settings.HINT_PAUSE_SECONDS),
                ),
            )
            .values(hinted_at=clock.now())
            .returning(Payment.id)
        )
        if payment_id is None:
            return None
        return store(payment_id, MessageChannel.STK_HINT, body, remote_address=remote_address)


def store(
    payment_id: int,
    channel: MessageChannel,
    body: bytes,
    *,
    remote_address: str | None = None,
    http_status: int | None = None,
) -> int:
    """Add a message to the inbox, in the caller's transaction; returns its id."""
    message = MpesaMessage(
        payment_id=payment_id,
        channel=channel,
        body=body,
        remote_address=remote_address,
        http_status=http_status,
    )
    db.session.add(message)
    db.session.flush()
    return message.id


# ── Settling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def settle_message(message_id: int) -> bool:
    """Judge one stored message and apply the verdict. False when somebody else has it, or had it."""
    with transaction() as session:
        message = session.scalar(
            select(MpesaMessage)
            .where(MpesaMessage.id == message_id, MpesaMessage.settled_at.is_(None))
            .with_for_update(skip_locked=True)
        )
        if message is None:
            return False
        order_id = session.scalar(select(Payment.order_id).where(Payment.id == message.payment_id))
        order = lock_order(order_id or 0)
        payment = order.payment(message.payment_id)
        report = _read(message)
        verdict = judge(payment, order.payments, message.channel, report)
        if message.channel is not MessageChannel.STK_HINT and not isinstance(verdict, Suspect):
            verdict = _learn_ids(payment, report) or verdict
        verdict = _apply(verdict, order, payment, message, report)
        message.settled_at = clock.now()
        message.verdict = _in_words(verdict)
    log.info("message %s about payment %s: %s", message_id, payment.id, message.verdict)
    return True


def settle_waiting_messages() -> int:
    """Settle what no process has got round to; returns how many were. One that cannot be holds up no other."""
    settled, last_id = 0, 0
    while waiting := _waiting_after(last_id):
        settled += sum(try_to_settle(message_id) for message_id in waiting)
        last_id = waiting[-1]
    return settled


def _waiting_after(message_id: int) -> Sequence[int]:
    with transaction() as session:
        return session.scalars(
            select(MpesaMessage.id)
            .where(MpesaMessage.settled_at.is_(None), MpesaMessage.id > message_id)
            .order_by(MpesaMessage.id)
            .limit(_MESSAGES_AT_ONCE)
        ).all()


def try_to_settle(message_id: int) -> bool:
    """`settle_message` for one of many: what it raises is logged, and the message waits for its next try."""
    try:
        return settle_message(message_id)
    except Exception:  # the callback edge: the message stays, its next try is the worker's next look
        log.exception("message %s could not be settled", message_id)
        return False


def lock_order(order_id: int) -> Order:
    """The order with its items, payments and event, its row locked until the transaction ends. Raises NotFound."""
    order = db.session.scalar(
        select(Order)
        .where(Order.id == order_id)
        .with_for_update(key_share=True)
        .options(
            selectinload(Order.items),
            selectinload(Order.payments),
            selectinload(Order.event),
        )
        .execution_options(populate_existing=True)
    )
    if order is None:
        raise NotFound("There is no such order.")
    return order


def _read(message: MpesaMessage) -> Report:
    if message.channel is MessageChannel.STK_QUERY:
        return read_query_answer(message.body)
    return read_callback(message.body)


def _learn_ids(payment: Payment, report: Report) -> Suspect | None:
    """A message that came to the payment's own address tells its ids, if the push's answer was lost.

    From then on Daraja can be asked about it. Ids that belong to another payment make the message suspect.
    """
    checkout_request_id = report.checkout_request_id
    if payment.checkout_request_id is not None or checkout_request_id is None:
        return None
    if db.session.scalar(select(Payment.id).where(Payment.checkout_request_id == checkout_request_id)):
        return Suspect(FOREIGN_IDS)
    payment.checkout_request_id = checkout_request_id
    payment.merchant_request_id = payment.merchant_request_id or report.merchant_request_id
    if payment.status in OPEN_PAYMENTS:
        payment.next_query_at = clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0])
    return None


def _apply(verdict: Verdict, order: Order, payment: Payment, message: MpesaMessage, report: Report) -> Verdict:
    """Carry the verdict out; returns the one that was, since a receipt may turn out to be another payment's."""
    receipt = verdict.receipt if isinstance(verdict, Settle | AddReceipt) else None
    if receipt and not _claim_receipt(payment, receipt):
        verdict = _taken(payment, receipt)
    match verdict:
        case Settle():
            _receive_money(order, payment, message)
        case Fail(code, text):
            _end_prompt(order, payment, code, text)
        case StayUnknown(code):
            if payment.status is not PaymentStatus.UNKNOWN:
                payment.move_to(PaymentStatus.UNKNOWN)
            payment.result_code = code
        case Quarantine(reason):
            _quarantine(payment, report, reason)
        case Suspect(reason):
            _suspect(payment, message, reason)
        case Ask():
            _ask_now(payment, message, report)
        case StayOver():
            payment.next_query_at = None
        case AddReceipt() | Ignore():
            pass
    return verdict


def _quarantine(payment: Payment, report: Report, reason: str) -> None:
    payment.move_to(PaymentStatus.QUARANTINED)
    payment.note = reason
    payment.next_query_at = None
    if report.receipt is not None and payment.receipt is None:
        _claim_receipt(payment, report.receipt)
    audit.record(None, "payment_quarantined", payment, reason=reason, receipt=report.receipt)
    log.error("payment %s quarantined: %s", payment.id, reason)


def _suspect(payment: Payment, message: MpesaMessage, reason: str) -> None:
    payment.note = f"A message was not believed: {reason}."
    audit.record(None, "message_suspected", payment, reason=reason)
    log.error("message %s about payment %s is suspect: %s", message.id, payment.id, reason)
    _ask_now(payment, message)


def _claim_receipt(payment: Payment, receipt: str) -> bool:
    """Write the receipt unless another payment has it; of two at once, one waits for the other to decide."""
    db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_RECEIPT, func.hashtext(receipt))))
    if db.session.scalar(select(Payment.id).where(Payment.receipt == receipt, Payment.id != payment.id)):
        return False
    payment.receipt = receipt
    return True


def _taken(payment: Payment, receipt: str) -> Verdict:
    reason = f"the receipt {receipt} belongs to another payment"
    return Suspect(reason) if payment.status is PaymentStatus.PAID else Quarantine(reason)


def _receive_money(order: Order, payment: Payment, message: MpesaMessage) -> None:
    payment.move_to(PaymentStatus.PAID)
    payment.paid_at = clock.now()
    payment.paid_through = message.channel
    payment.result_code, payment.result_text, payment.next_query_at = "0", "Paid.", None
    payment.note = None
    audit.record(None, "payment_received", payment, receipt=payment.receipt, amount_kes=payment.amount_kes)
    refusal = _turn_into_tickets(order, received_at=message.received_at)
    if refusal is None:
        order.move_to(OrderStatus.PAID)
        order.paid_at = payment.paid_at
        admission.issue_tickets(order)
        audit.record(None, "order_paid", order, receipt=payment.receipt)
    else:
        order.move_to(OrderStatus.REFUND_DUE)
        order.refund_reason = refusal
        audit.record(None, "order_refund_due", order, reason=refusal, receipt=payment.receipt)


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


def _end_prompt(order: Order, payment: Payment, code: str, text: str) -> None:
    """A prompt failed. The order stays open for another one, unless this was the last it may have."""
    payment.move_to(PaymentStatus.FAILED)
    payment.result_code, payment.result_text, payment.next_query_at = code, text, None
    may_still_pay = any(one.status in OPEN_PAYMENTS for one in order.payments)
    if order.status is OrderStatus.PENDING and not may_still_pay and order.prompts_used >= settings.PROMPTS_PER_ORDER:
        order.move_to(OrderStatus.FAILED)
        audit.record(None, "order_failed", order, code=code)
        db.session.flush()
        stock.release(order.wanted)


def _ask_now(payment: Payment, message: MpesaMessage, report: Report | None = None) -> None:
    """Have the worker ask at once; an answer that settles nothing is asked for again at its time, not at once."""
    if payment.checkout_request_id is None:
        if report is not None and report.outcome is Outcome.PAID:
            payment.note = "A success came that M-PESA cannot be asked about: look it up in its portal."
    elif message.channel is not MessageChannel.STK_QUERY:
        payment.next_query_at = clock.now()


def _in_words(verdict: Verdict) -> str:
    detail = getattr(verdict, "reason", None) or getattr(verdict, "code", None)
    name = type(verdict).__name__
    return f"{name}: {detail}" if detail else name
