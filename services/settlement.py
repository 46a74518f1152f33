"""What M-PESA says of a payment, and what that does to its order.

What Safaricom sends is stored first; the stored row is the job. Whoever takes it, the web process right after its
answer or the worker, judges it under the order's row lock and applies the verdict in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import or_, select, update

from config import settings
from models import (
    OPEN_PAYMENTS,
    MessageChannel,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
)
from services import alerts, audit, ledger, locks, occasions, paybill, payouts, stock
from services.inbox import receive_callback, receive_hint, store
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
    Surplus,
    Suspect,
    Verdict,
    judge,
)
from utils import clock
from utils.database import db, transaction
from utils.mpesa_reports import Outcome, Report, read_callback, read_query_answer, receipt_of
from utils.prepared import Prepared, given

__all__ = ["receive_callback", "receive_hint", "store"]

log = logging.getLogger(__name__)

_COUNTED = "counted under its receipt"
_MESSAGES_AT_ONCE = 200
#: A message that could not be settled is tried again after so many seconds, the last pause repeated; from then on
#: admins are told, since it may be money.
_PAUSES_SECONDS = (1, 5, 30, 120, 600)
#: What is settled by asking M-PESA first, in `services.paybill`.
_ASKED_ABOUT = (MessageChannel.C2B,)

_NOTE_SETTLED = Prepared(
    update(MpesaMessage)
    .where(MpesaMessage.id == given("message_id"))
    .values(settled_at=given("settled_at"), verdict=given("verdict"))
    .returning(MpesaMessage.id)
)

# ── Settling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def settle_message(message_id: int) -> bool:
    """Judge one stored message and apply the verdict. False when somebody else has it, or had it."""
    lines: list[int] = []
    with transaction() as session:
        found = session.execute(
            select(MpesaMessage, Payment.order_id)
            .outerjoin(Payment, Payment.id == MpesaMessage.payment_id)
            .where(MpesaMessage.id == message_id, MpesaMessage.settled_at.is_(None))
            .with_for_update(of=MpesaMessage, skip_locked=True)
        ).one_or_none()
        if found is None:
            return False
        message, order_id = found
        if message.channel in (MessageChannel.RESULT, MessageChannel.TIMEOUT):
            verdict: object = payouts.settle_result(message)
        elif message.channel in (MessageChannel.PULL, MessageChannel.STATEMENT):
            verdict, lines = paybill.settle_listed(message)
        else:
            verdict = _settle_about_prompt(message, order_id or 0)
        _NOTE_SETTLED.rows(message_id=message_id, settled_at=clock.now(), verdict=in_words(verdict))
    log.info("message %s: %s", message_id, in_words(verdict))
    for line_id in lines:
        try_to_settle(line_id)
    return True


def _settle_about_prompt(message: MpesaMessage, order_id: int) -> Verdict:
    order = locks.lock_order(order_id)
    payment = order.payment(message.payment_id or 0)
    report = _read(message)
    verdict = judge(payment, order.payments, message.channel, report)
    if not isinstance(verdict, Suspect):
        verdict = _learn_ids(payment, report) or verdict
    return _apply(verdict, order, payment, message, report)


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
            .where(
                MpesaMessage.settled_at.is_(None),
                MpesaMessage.id > message_id,
                MpesaMessage.channel.not_in(_ASKED_ABOUT),
                or_(MpesaMessage.next_try_at.is_(None), MpesaMessage.next_try_at <= clock.now()),
            )
            .order_by(MpesaMessage.id)
            .limit(_MESSAGES_AT_ONCE)
        ).all()


def try_to_settle(message_id: int) -> bool:
    """`settle_message` for one of many: what it raises is logged, and the message waits for its next try."""
    try:
        return settle_message(message_id)
    except Exception:  # the callback edge: the message stays, the worker tries it again
        log.exception("message %s could not be settled", message_id)
        _put_off(message_id)
        return False


def _put_off(message_id: int) -> None:
    with transaction() as session:
        message = session.get(MpesaMessage, message_id, with_for_update={"skip_locked": True})
        if message is not None and message.settled_at is None:
            pause = _PAUSES_SECONDS[min(message.tries, len(_PAUSES_SECONDS) - 1)]
            message.tries += 1
            message.next_try_at = clock.ahead(seconds=pause)
            if message.tries >= len(_PAUSES_SECONDS):
                sentence = f"Message {message.id} of M-PESA cannot be settled: the log says why."
                alerts.raise_alert("message_unsettled", sentence, target=message, once_per_hours=24)


def _read(message: MpesaMessage) -> Report:
    if message.channel is MessageChannel.STK_QUERY:
        return read_query_answer(message.body)
    return read_callback(message.body)


def _learn_ids(payment: Payment, report: Report) -> Suspect | None:
    """A message that came to the payment's own address tells its ids, if the push's answer was lost.

    From then on Daraja can be asked about it, which is all that follows from one that came from elsewhere than
    Safaricom. Ids that belong to another payment make the message suspect.
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
    match verdict:
        case Settle(receipt):
            verdict = _settle(order, payment, message, receipt or _receipt_told_before(payment))
        case AddReceipt(receipt):
            verdict = _add_receipt(order, payment, message, receipt)
        case Surplus(receipt):
            verdict = _settle_surplus(order, payment, message, receipt)
        case Fail(code, text):
            end_prompt(order, payment, code, text)
            if message.channel is MessageChannel.STK_CALLBACK and payment.checkout_request_id is not None:
                # Asked once more: a success may follow, whose callback may be lost.
                payment.next_query_at = clock.ahead(seconds=settings.PROMPT_SECONDS)
        case StayUnknown(code):
            if payment.status is not PaymentStatus.UNKNOWN:
                payment.move_to(PaymentStatus.UNKNOWN)
            payment.result_code = code
        case Quarantine(reason):
            _quarantine(payment, message, report, reason)
        case Suspect(reason):
            _suspect(payment, message, reason)
        case Ask():
            message.receipt = receipt_of(report.receipt)
            _ask_now(payment, message, report)
        case StayOver():
            payment.next_query_at = None
    return verdict


def _settle(order: Order, payment: Payment, message: MpesaMessage, receipt: str | None) -> Verdict:
    if receipt is not None and not locks.claim_receipt(payment, receipt):
        return _yield_receipt(order, payment, receipt)
    ledger.receive_money(order, payment, channel=message.channel, received_at=message.received_at)
    return Settle(receipt)


def _add_receipt(order: Order, payment: Payment, message: MpesaMessage, receipt: str) -> Verdict:
    if not locks.claim_receipt(payment, receipt):
        if ledger.awaits_receipts(payment) and _is_of_order(receipt, order):
            # It seemed to be a second payment, and is the first one.
            ledger.count_once(payment, receipt)
            return Ignore(_COUNTED)
        reason = f"the receipt {receipt} belongs to another payment"
        _suspect(payment, message, reason)
        return Suspect(reason)
    payment.paid_through = message.channel
    ledger.release_doubles(order)
    return AddReceipt(receipt)


def _settle_surplus(order: Order, payment: Payment, message: MpesaMessage, receipt: str) -> Verdict:
    owner = locks.lock_receipt(receipt)
    if owner is not None and owner.id != payment.id:
        return _yield_receipt(order, payment, receipt)
    if payment.status is PaymentStatus.PAID:  # the receipt it has was somebody's money paid by hand
        surplus = ledger.open_paybill_payment(
            order, receipt=receipt, amount_kes=payment.amount_kes, payer=payment.phone
        )
    else:
        surplus = payment
        payment.receipt = receipt
    ledger.receive_surplus(surplus, channel=message.channel)
    return Surplus(receipt)


def _yield_receipt(order: Order, payment: Payment, receipt: str) -> Verdict:
    """Another payment has the receipt: of this order, then it is the same money; or of another, which is odd."""
    if _is_of_order(receipt, order):
        if payment.status in OPEN_PAYMENTS:
            ledger.count_once(payment, receipt)
        payment.next_query_at = None
        return Ignore(_COUNTED)
    reason = f"the receipt {receipt} belongs to another payment"
    if payment.status is PaymentStatus.PAID:
        payment.note = f"A message was not believed: {reason}."
        return Suspect(reason)
    ledger.quarantine(payment, reason)
    return Quarantine(reason)


def _is_of_order(receipt: str, order: Order) -> bool:
    return any(one.receipt == receipt for one in order.payments)


def _quarantine(payment: Payment, message: MpesaMessage, report: Report, reason: str) -> None:
    receipt = receipt_of(report.receipt)
    if receipt is not None and payment.receipt is None:
        locks.claim_receipt(payment, receipt)
    payment.paid_through = message.channel
    ledger.quarantine(payment, reason)


def _receipt_told_before(payment: Payment) -> str | None:
    """The receipt that an incomplete callback of this payment brought, now that a query agrees with it."""
    return db.session.scalar(
        select(MpesaMessage.receipt)
        .where(
            MpesaMessage.payment_id == payment.id,
            MpesaMessage.channel == MessageChannel.STK_CALLBACK,
            MpesaMessage.receipt.is_not(None),
        )
        .order_by(MpesaMessage.id)
        .limit(1)
    )


def _suspect(payment: Payment, message: MpesaMessage, reason: str) -> None:
    payment.note = f"A message was not believed: {reason}."
    audit.record(None, "message_suspected", payment, reason=reason)
    sentence = f"A message about payment {payment.id} was not believed: {reason}."
    alerts.raise_alert("message_suspected", sentence, target=payment, once_per_hours=24)
    _ask_now(payment, message)


def end_prompt(order: Order, payment: Payment, code: str, text: str) -> None:
    """A prompt failed. The order, locked by the caller, stays open for another one, unless this was its last."""
    payment.move_to(PaymentStatus.FAILED)
    payment.result_code, payment.result_text, payment.next_query_at = code, text, None
    may_still_pay = any(one.status in OPEN_PAYMENTS for one in order.payments)
    if order.status is OrderStatus.PENDING and not may_still_pay and order.prompts_used >= settings.PROMPTS_PER_ORDER:
        order.move_to(OrderStatus.FAILED)
        audit.record(None, "order_failed", order, code=code)
        db.session.flush()
        occasions.tell_orders_ended([order.id])
        stock.release(order.wanted)
    elif order.status is OrderStatus.EXPIRED:  # it was not certain yet then
        occasions.tell_orders_ended([order.id])


def _ask_now(payment: Payment, message: MpesaMessage, report: Report | None = None) -> None:
    """Have the worker ask at once; an answer that settles nothing is asked for again at its time, not at once."""
    if payment.checkout_request_id is None:
        if report is not None and report.outcome is Outcome.PAID:
            payment.note = "A success came that M-PESA cannot be asked about: look it up in its portal."
            alerts.raise_alert("payment_unconfirmed", f"Payment {payment.id}: {payment.note}", target=payment)
    elif message.channel is not MessageChannel.STK_QUERY:
        payment.next_query_at = clock.now()


def in_words(verdict: object) -> str:
    """A verdict's name, and its reason, code or receipt: what the inbox keeps of it."""
    if isinstance(verdict, str):
        return verdict
    detail = getattr(verdict, "reason", None) or getattr(verdict, "code", None)
    name = type(verdict).__name__
    return f"{name}: {detail}" if detail else name
