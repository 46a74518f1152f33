"""Prompts: put one on a phone, and ask what became of it.

Paying is two short transactions with the network between them: `open_prompt` writes the prompt down in the caller's,
`send_prompt` pushes it and writes down the answer. No transaction is open while Safaricom is being waited for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from config import settings
from models import OPEN_PAYMENTS, MessageChannel, Order, Payment, PaymentStatus
from services import settlement
from utils import clock
from utils.database import db, transaction
from utils.errors import Conflict, TooManyRequests, Unavailable
from utils.mpesa import Accepted, PushOutcome, Refused, daraja
from utils.security import hash_secret, new_secret

log = logging.getLogger(__name__)

#: Shown on the phone beside the reference; Daraja allows 13 characters.
DESCRIPTION = "Ticksy"
#: Keeps this advisory lock apart from others.
_LOCK_PHONE = 1
_QUERIES_AT_ONCE = 20
#: Refused ones included, which cost the buyer nothing but Daraja its patience.
_PUSHES_PER_ORDER = 10


class PromptPending(Conflict):
    code, message = "prompt_pending", "A payment request is on the phone already. Please answer it there."


class PaymentUnderReview(Conflict):
    code, message = (
        "payment_under_review",
        "A payment for this order came in and is being looked at. Please do not pay again.",
    )


class NoPromptsLeft(Conflict):
    code, message = "no_prompts_left", "This order has used up its payment requests. Please order again."


class PhoneBusy(TooManyRequests):
    code, message = (
        "too_many_prompts",
        "This phone was sent too many payment requests. Please try again later.",
    )


class MpesaUnavailable(Unavailable):
    code, retry_after = "mpesa_unavailable", 5
    message = "M-PESA did not take the payment request. Your tickets are held: please try again in a moment."


@dataclass(frozen=True)
class Prompt:
    """A payment whose push has still to go out. The token exists only here and in Safaricom's hands."""

    payment_id: int
    order_id: int
    phone: str
    amount_kes: int
    reference: str
    token: str


# ── Sending a prompt ──────────────────────────────────────────────────────────────────────────────────────────────


def open_prompt(order: Order) -> Prompt:
    """Write down a new prompt for an open order, before anything is sent. Needs `payments`, and the order locked.

    An unanswered prompt gives way once it cannot be on the phone any more; it stays watched, and its money counts.
    Raises PromptPending, PaymentUnderReview, NoPromptsLeft, PhoneBusy.
    """
    for payment in order.payments:
        if payment.status is PaymentStatus.QUARANTINED:
            raise PaymentUnderReview
        if payment.is_live(for_seconds=settings.PROMPT_SECONDS):
            raise PromptPending
        if payment.status in OPEN_PAYMENTS and payment.superseded_at is None:
            payment.superseded_at = clock.now()
    if order.prompts_used >= settings.PROMPTS_PER_ORDER or len(order.payments) >= _PUSHES_PER_ORDER:
        raise NoPromptsLeft
    _check_phone(order.phone)
    db.session.flush()  # the one live prompt of an order gives way before the next one comes
    token = new_secret()
    payment = Payment(
        order_id=order.id,
        phone=order.phone,
        amount_kes=order.total_kes,
        callback_token_hash=hash_secret(token),
    )
    db.session.add(payment)
    db.session.flush()
    return Prompt(payment.id, order.id, order.phone, order.total_kes, order.reference, token)


def send_prompt(prompt: Prompt) -> None:
    """Push the prompt and write down what Daraja answered. Never call it inside a transaction.

    Returns when a prompt exists or may exist. Raises MpesaUnavailable when it is certain that none does.
    """
    outcome = daraja.push(
        phone=prompt.phone,
        amount_kes=prompt.amount_kes,
        reference=prompt.reference,
        description=DESCRIPTION,
        callback_token=prompt.token,
    )
    with transaction():
        order = settlement.lock_order(prompt.order_id)
        _note_push(order.payment(prompt.payment_id), outcome)
    if isinstance(outcome, Refused):
        log.warning("push for payment %s refused: %s", prompt.payment_id, outcome.code)
        raise MpesaUnavailable


def _note_push(payment: Payment, outcome: PushOutcome) -> None:
    """The callback may have been quicker than the push's answer: then only what is missing is filled in."""
    is_first_news = payment.status in (PaymentStatus.SUBMITTING, PaymentStatus.UNKNOWN) and not payment.result_code
    if isinstance(outcome, Accepted):
        payment.merchant_request_id = payment.merchant_request_id or outcome.merchant_request_id
        payment.checkout_request_id = payment.checkout_request_id or outcome.checkout_request_id
        if payment.status is PaymentStatus.SUBMITTING:
            payment.move_to(PaymentStatus.PROMPTED)
        if payment.status in OPEN_PAYMENTS:
            payment.next_query_at = clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0])
    elif isinstance(outcome, Refused) and is_first_news:
        payment.move_to(PaymentStatus.REFUSED)
        payment.result_code = outcome.code
        payment.result_text = MpesaUnavailable.message
    elif payment.status is PaymentStatus.SUBMITTING:
        payment.move_to(PaymentStatus.UNKNOWN)


def _check_phone(phone: str) -> None:
    """Nobody's phone is made to ring all day, whoever types its number. Raises PhoneBusy."""
    db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_PHONE, func.hashtext(phone))))
    since = clock.ago(hours=1)
    recent = db.session.scalars(
        select(Payment.created_at)
        .where(Payment.phone == phone, Payment.created_at > since, Payment.status != PaymentStatus.REFUSED)
        .order_by(Payment.created_at.desc())
        .limit(settings.PROMPTS_PER_PHONE_AND_HOUR)
    ).all()
    if len(recent) == settings.PROMPTS_PER_PHONE_AND_HOUR:
        raise PhoneBusy(retry_after=max(1, int((recent[-1] - since).total_seconds())))


# ── Asking about silent payments ──────────────────────────────────────────────────────────────────────────────────


def query_due_payments() -> int:
    """Ask Daraja about payments nobody has heard of for a while; returns how many were asked about.

    The next time is written before the question goes out, so that several workers do not ask twice.
    """
    with transaction() as session:
        due = session.scalars(
            select(Payment)
            .where(Payment.next_query_at <= clock.now())
            .order_by(Payment.next_query_at)
            .limit(_QUERIES_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for payment in due:
            payment.queries += 1
            payment.next_query_at = _next_query_at(payment)
        to_ask = [(payment.id, payment.checkout_request_id) for payment in due if payment.checkout_request_id]
    for payment_id, checkout_request_id in to_ask:
        answer = daraja.query(checkout_request_id)
        if answer is None:
            continue
        with transaction():
            message_id = settlement.store(payment_id, MessageChannel.STK_QUERY, answer.body, http_status=answer.status)
        settlement.try_to_settle(message_id)
    return len(to_ask)


def _next_query_at(payment: Payment) -> datetime | None:
    """Once there is a reason to ask, also about a prompt that seemed over, it is asked until M-PESA has answered."""
    if payment.status in (PaymentStatus.PAID, PaymentStatus.QUARANTINED):
        return None
    pauses = settings.QUERY_PAUSES_SECONDS
    next_at = clock.ahead(seconds=pauses[min(payment.queries, len(pauses) - 1)])
    if next_at < payment.created_at + timedelta(hours=settings.QUERY_FOR_HOURS):
        return next_at
    if payment.status in OPEN_PAYMENTS:
        payment.note = payment.note or "M-PESA never said what became of this: look it up in its portal."
        log.error("payment %s: gave up asking M-PESA", payment.id)
    return None


def mark_lost_prompts() -> int:
    """Call a push unknown whose sender never came back to say how it went; returns how many there were."""
    longest = 4 * (settings.MPESA_CONNECT_SECONDS + settings.MPESA_ANSWER_SECONDS)
    with transaction() as session:
        lost = session.scalars(
            update(Payment)
            .where(Payment.status == PaymentStatus.SUBMITTING, Payment.created_at < clock.ago(seconds=longest))
            .values(status=PaymentStatus.UNKNOWN)
            .returning(Payment.id)
        ).all()
    return len(lost)
