"""Prompts: whether an order may put one on a phone, and for how long its tickets are held for the answer.

Paying is two short transactions with the network between them: `open_prompt` writes the prompt down in the caller's,
`pushes.send_prompt` pushes it and writes down the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import BigInteger, Text, func, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from config import settings
from models import OPEN_PAYMENTS, Order, OrderStatus, Payment, PaymentMethod, PaymentStatus
from services import line
from utils import clock
from utils.database import db
from utils.errors import Conflict, TooManyRequests, Unavailable
from utils.prepared import Prepared, given
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
    payment, token = new_prompt(order)
    db.session.flush()  # the one live prompt of an order gives way before the next one comes
    payment.order_id = order.id
    db.session.add(payment)
    db.session.flush()
    return Prompt.of(order, payment, token, is_queued=payment.is_queued)


def new_prompt(order: Order) -> tuple[Payment, str]:
    """A prompt for the order, which may be one that is still to be written, and the secret of its callback address.

    The caller writes it. Raises BuyerBusy, PhoneBusy, PromptCooldown, PushQueueFull.
    """
    _check_limits(order)
    token, now = new_secret(), clock.now()
    is_queued = settings.MPESA_MAX_PUSHES_PER_SECOND > 0
    payment = Payment(
        phone=order.phone,
        amount_kes=order.total_kes,
        callback_token_hash=hash_secret(token),
        status=PaymentStatus.QUEUED if is_queued else PaymentStatus.SUBMITTING,
        created_at=now,
    )
    if not is_queued:
        send_at(order, payment, now)
    return payment, token


def _may_be_shown(payment: Payment) -> bool:
    """Whether its prompt may be on the phone, or come there yet."""
    if payment.status not in OPEN_PAYMENTS or payment.superseded_at is not None:
        return False
    shown_at = payment.pushed_at or payment.created_at
    return payment.is_queued or clock.now() < shown_at + timedelta(seconds=settings.PROMPT_SECONDS)


def _check_limits(order: Order) -> None:
    """Nobody makes many phones ring, or uses up the pace of all pushes: every prompt of a buyer counts, whatever became
    of it. Nobody's phone is made to ring all day, whoever types its number, nor twice at once for one amount.

    The locks have tries for several orders count one another: each holds only its own order's. Raises BuyerBusy,
    PhoneBusy, PromptCooldown, PushQueueFull.
    """
    _LOCKS.rows(buyer_id=order.buyer_id, phone=order.phone)
    since = clock.ago(hours=1)
    of_buyer, created, amounts, shown, waits = _limits().rows(
        buyer_id=order.buyer_id,
        phone=order.phone,
        since=since,
        skip=settings.PROMPTS_PER_BUYER_AND_HOUR - 1,
        most=settings.PROMPTS_PER_PHONE_AND_HOUR,
    )[0]
    if of_buyer is not None:
        raise BuyerBusy(retry_after=_whole_seconds((of_buyer - since).total_seconds()))
    recent = list(zip(created or [], amounts or [], shown or [], strict=True))
    if len(recent) == settings.PROMPTS_PER_PHONE_AND_HOUR:
        raise PhoneBusy(retry_after=_whole_seconds((recent[-1][0] - since).total_seconds()))
    _check_cooldown([shown_at for _, amount_kes, shown_at in recent if amount_kes == order.total_kes])
    waits = max(0.0, waits or 0) if settings.MPESA_MAX_PUSHES_PER_SECOND else 0
    if waits > settings.PUSH_QUEUE_SECONDS:
        raise PushQueueFull(retry_after=_whole_seconds(waits - settings.PUSH_QUEUE_SECONDS))


#: One after the other: a row's columns are worked out in their order.
_LOCKS = Prepared(
    select(
        func.pg_advisory_xact_lock(_LOCK_BUYER, func.hashint8(given("buyer_id", type_=BigInteger()))),
        func.pg_advisory_xact_lock(_LOCK_PHONE, func.hashtext(given("phone", type_=Text()))),
    )
)


@cache
def _limits() -> Prepared:
    """The buyer's prompt that is one too many, the phone's of the last hour with when they are shown, the queue."""
    of_buyer = (
        select(Payment.created_at)
        .join(Order, Order.id == Payment.order_id)
        .where(
            Order.buyer_id == given("buyer_id"),
            Payment.method == PaymentMethod.PROMPT,
            Payment.created_at > given("since"),
        )
        .order_by(Payment.created_at.desc())
        .offset(given("skip"))
        .limit(1)
        .scalar_subquery()
    )
    of_phone = (
        select(
            Payment.created_at,
            Payment.amount_kes,
            func.coalesce(Payment.pushed_at, Payment.push_at, Payment.created_at).label("shown_at"),
        )
        .join(Order, Order.id == Payment.order_id)
        .where(
            Payment.phone == given("phone"),
            Payment.created_at > given("since"),
            Payment.status != PaymentStatus.REFUSED,
            # What was still queued when its order ended will not be sent.
            or_(Payment.status != PaymentStatus.QUEUED, Order.status == OrderStatus.PENDING),
        )
        .order_by(Payment.created_at.desc())
        .limit(given("most"))
        .subquery()
    )
    latest = of_phone.c.created_at.desc()
    return Prepared(
        select(
            of_buyer,
            *(func.array_agg(aggregate_order_by(one, latest)) for one in of_phone.c),
            line.seconds_until_free(),
        )
    )


def _check_cooldown(shown: Sequence[datetime]) -> None:
    if not shown:
        return
    seconds = (max(shown) + timedelta(seconds=settings.PROMPT_SECONDS) - clock.now()).total_seconds()
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
