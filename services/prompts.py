"""Prompts: whether an order may put one on a phone, and for how long its tickets are held for the answer.

Paying is two short transactions with the network between them: `open_prompt` writes the prompt down in the caller's,
`pushes.send_prompt` pushes it and writes down the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, func, or_, select

from config import settings
from models import OPEN_PAYMENTS, Order, OrderStatus, Payment, PaymentMethod, PaymentStatus
from services import line
from utils import clock
from utils.database import db
from utils.errors import Conflict, TooManyRequests, Unavailable
from utils.security import hash_secret, new_secret

#: Keep these advisory locks apart from others.
_LOCK_PHONE, _LOCK_BUYER = 1, 4
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


class BuyerBusy(TooManyRequests):
    code, message = (
        "too_many_prompts",
        "You have asked for too many payment requests. Please try again later.",
    )


class PromptCooldown(TooManyRequests):
    """Daraja fails a second payment of one amount by one phone within two minutes (portal, result code 17)."""

    code = "prompt_cooldown"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"M-PESA takes the same amount from the same phone again only after a while. Please try again in {seconds}"
            f" {'second' if seconds == 1 else 'seconds'}.",
            retry_after=seconds,
        )


class PushQueueFull(Unavailable):
    code, message = "push_queue_full", "Very many people are paying at this moment. Please try again in a little while."


@dataclass(frozen=True)
class Prompt:
    """A payment whose push has still to go out. The token exists only here and in Safaricom's hands."""

    payment_id: int
    order_id: int
    phone: str
    amount_kes: int
    reference: str
    token: str
    #: Whether it has to take its turn first.
    is_queued: bool

    @classmethod
    def of(cls, order: Order, payment: Payment, token: str, *, is_queued: bool) -> Prompt:
        return cls(payment.id, order.id, order.phone, order.total_kes, order.reference, token, is_queued)


def open_prompt(order: Order) -> Prompt:
    """Write down a new prompt for an open order, before anything is sent. Needs `payments`, and the order locked.

    An unanswered prompt gives way once it cannot be on the phone any more; it stays watched, and its money counts.
    Raises PromptPending, PaymentUnderReview, NoPromptsLeft, BuyerBusy, PhoneBusy, PromptCooldown, PushQueueFull.
    """
    for payment in order.payments:
        if payment.is_under_review:
            raise PaymentUnderReview
        if _may_be_shown(payment):
            raise PromptPending("Your payment request is on its way to the phone." if payment.is_queued else None)
        if payment.status in OPEN_PAYMENTS and payment.superseded_at is None:
            payment.superseded_at = clock.now()
    if order.prompts_used >= settings.PROMPTS_PER_ORDER or len(order.payments) >= _PUSHES_PER_ORDER:
        raise NoPromptsLeft
    _check_buyer(order.buyer_id)
    _check_phone(order.phone, order.total_kes)
    waits = line.queue_seconds()
    if waits > settings.PUSH_QUEUE_SECONDS:
        raise PushQueueFull(retry_after=_whole_seconds(waits - settings.PUSH_QUEUE_SECONDS))
    db.session.flush()  # the one live prompt of an order gives way before the next one comes
    token = new_secret()
    is_queued = settings.MPESA_MAX_PUSHES_PER_SECOND > 0
    payment = Payment(
        order_id=order.id,
        phone=order.phone,
        amount_kes=order.total_kes,
        callback_token_hash=hash_secret(token),
        status=PaymentStatus.QUEUED if is_queued else PaymentStatus.SUBMITTING,
    )
    db.session.add(payment)
    if not is_queued:
        send_at(order, payment, clock.now())
    db.session.flush()
    return Prompt.of(order, payment, token, is_queued=is_queued)


def _may_be_shown(payment: Payment) -> bool:
    """Whether its prompt may be on the phone, or come there yet."""
    if payment.status not in OPEN_PAYMENTS or payment.superseded_at is not None:
        return False
    shown_at = payment.pushed_at or payment.created_at
    return payment.is_queued or clock.now() < shown_at + timedelta(seconds=settings.PROMPT_SECONDS)


def _check_buyer(buyer_id: int) -> None:
    """Nobody makes many phones ring, or uses up the pace of all pushes: every prompt counts, whatever became of it.

    The lock has tries for several of a buyer's orders count one another: each holds only its own order's. Raises
    BuyerBusy.
    """
    db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_BUYER, func.hashint8(buyer_id))))
    since = clock.ago(hours=1)
    oldest_that_counts = db.session.scalar(
        select(Payment.created_at)
        .join(Order, Order.id == Payment.order_id)
        .where(Order.buyer_id == buyer_id, Payment.method == PaymentMethod.PROMPT, Payment.created_at > since)
        .order_by(Payment.created_at.desc())
        .offset(settings.PROMPTS_PER_BUYER_AND_HOUR - 1)
        .limit(1)
    )
    if oldest_that_counts is not None:
        raise BuyerBusy(retry_after=_whole_seconds((oldest_that_counts - since).total_seconds()))


def _check_phone(phone: str, amount_kes: int) -> None:
    """Nobody's phone is made to ring all day, whoever types its number, nor twice at once for one amount.

    Raises PhoneBusy, PromptCooldown.
    """
    db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_PHONE, func.hashtext(phone))))
    since = clock.ago(hours=1)
    recent = db.session.execute(
        select(
            Payment.created_at,
            Payment.amount_kes,
            func.coalesce(Payment.pushed_at, Payment.push_at, Payment.created_at).label("shown_at"),
        )
        .join(Order, Order.id == Payment.order_id)
        .where(
            Payment.phone == phone,
            Payment.created_at > since,
            Payment.status != PaymentStatus.REFUSED,
            # What was still queued when its order ended will not be sent.
            or_(Payment.status != PaymentStatus.QUEUED, Order.status == OrderStatus.PENDING),
        )
        .order_by(Payment.created_at.desc())
        .limit(settings.PROMPTS_PER_PHONE_AND_HOUR)
    ).all()
    if len(recent) == settings.PROMPTS_PER_PHONE_AND_HOUR:
        raise PhoneBusy(retry_after=_whole_seconds((recent[-1].created_at - since).total_seconds()))
    _check_cooldown(recent, amount_kes)


def _check_cooldown(recent: Sequence[Row[tuple[datetime, int, datetime]]], amount_kes: int) -> None:
    shown = max((one.shown_at for one in recent if one.amount_kes == amount_kes), default=None)
    if shown is None:
        return
    seconds = (shown + timedelta(seconds=settings.PROMPT_SECONDS) - clock.now()).total_seconds()
    if seconds > 0:
        raise PromptCooldown(_whole_seconds(seconds))


def _whole_seconds(seconds: float) -> int:
    return max(1, math.ceil(seconds))


# ── The hold of an order with a prompt ────────────────────────────────────────────────────────────────────────────


def send_at(order: Order, payment: Payment, instant: datetime) -> None:
    payment.pushed_at = instant
    extend_hold(order, instant)


def extend_hold(order: Order, shown_at: datetime) -> None:
    """Leave time to answer a prompt that comes at `shown_at`, within limits that prompts cannot move."""
    if not order.is_open:
        return
    longest = timedelta(minutes=settings.HOLD_MINUTES + settings.HOLD_EXTENSION_MINUTES)
    last = order.created_at + longest + _time_in_queue(order)
    order.expires_at = max(order.expires_at, min(shown_at + timedelta(minutes=settings.PROMPT_GRACE_MINUTES), last))


def _time_in_queue(order: Order) -> timedelta:
    """How long its prompts waited for their turns: our doing, not the buyer's."""
    waits = ((one.pushed_at or one.push_at or one.created_at) - one.created_at for one in order.payments)
    return sum(waits, timedelta())
