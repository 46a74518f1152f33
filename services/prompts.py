"""Prompts: put one on a phone.

Paying is two short transactions with the network between them: `open_prompt` writes the prompt down in the caller's,
`send_prompt` pushes it and writes down the answer. No transaction is open while Safaricom is being waited for.

With a limit on pushes a prompt is queued first. Nothing has been sent then, and whoever takes it up, its own process
or a worker, gives it its turn under its order's lock; from then on it is never pushed again, whatever becomes of it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, Select, and_, func, or_, select, update

from config import settings
from models import OPEN_PAYMENTS, Order, OrderStatus, Payment, PaymentMethod, PaymentStatus
from services import alerts, line, settlement
from utils import clock, money
from utils.database import db, transaction
from utils.errors import Conflict, TooManyRequests, Unavailable
from utils.mpesa import Accepted, PushOutcome, Refused, daraja
from utils.security import hash_secret, new_secret

log = logging.getLogger(__name__)

#: Shown on the phone beside the reference; Daraja allows 13 characters.
DESCRIPTION = "Ticksy"
#: Result codes of ours, for pushes that were not tried.
NOT_SENT, RESTING = "not_sent", "resting"
_ORDER_OVER = "It was not sent, since the order was over."
#: Keep these advisory locks apart from others.
_LOCK_PHONE, _LOCK_BUYER = 1, 4
#: Refused ones included, which cost the buyer nothing but Daraja its patience.
_PUSHES_PER_ORDER = 10
#: A turn that comes within so long is waited for where it was taken; a later one is left to the worker.
_WORTH_WAITING_SECONDS = 2
#: A turn that was missed by more is lost, and another one taken: else what piled up would go out all at once.
_MISSED_SECONDS = 0.5
#: A prompt without a turn for so long has lost its process.
_ABANDONED_SECONDS = 30


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
    #: Whether it has to take its turn first.
    is_queued: bool


# ── Opening a prompt ──────────────────────────────────────────────────────────────────────────────────────────────


def open_prompt(order: Order) -> Prompt:
    """Write down a new prompt for an open order, before anything is sent. Needs `payments`, and the order locked.

    An unanswered prompt gives way once it cannot be on the phone any more; it stays watched, and its money counts.
    Raises PromptPending, PaymentUnderReview, NoPromptsLeft, BuyerBusy, PhoneBusy, PromptCooldown, PushQueueFull.
    """
    for payment in order.payments:
        if payment.is_under_review:
            raise PaymentUnderReview
        if _may_be_shown(payment):
            raise PromptPending("Your payment request is on its way to the phone." if _is_queued(payment) else None)
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
        _send_at(order, payment, clock.now())
    db.session.flush()
    return _prompt(order, payment, token, is_queued=is_queued)


def _prompt(order: Order, payment: Payment, token: str, *, is_queued: bool) -> Prompt:
    return Prompt(payment.id, order.id, order.phone, order.total_kes, order.reference, token, is_queued)


def _is_queued(payment: Payment) -> bool:
    return payment.status is PaymentStatus.QUEUED


def _may_be_shown(payment: Payment) -> bool:
    """Whether its prompt may be on the phone, or come there yet."""
    if payment.status not in OPEN_PAYMENTS or payment.superseded_at is not None:
        return False
    shown_at = payment.pushed_at or payment.created_at
    return _is_queued(payment) or clock.now() < shown_at + timedelta(seconds=settings.PROMPT_SECONDS)


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


# ── Sending it ────────────────────────────────────────────────────────────────────────────────────────────────────


def send_prompt(prompt: Prompt) -> None:
    """Push the prompt and write down what Daraja answered. Never call it inside a transaction.

    Returns when a prompt exists or may exist, or waits in the queue, or its order is over. Raises MpesaUnavailable
    when it is certain that none does.
    """
    wait_seconds = _start_queued(prompt) if prompt.is_queued else _start_now(prompt)
    if wait_seconds is not None:
        time.sleep(wait_seconds)
        _push(prompt)


def _start_now(prompt: Prompt) -> float | None:
    """As `_start_queued`, without a turn."""
    with transaction():
        order = settlement.lock_order(prompt.order_id)
        payment = order.payment(prompt.payment_id)
        if payment.status is not PaymentStatus.SUBMITTING or payment.superseded_at is not None:
            return None  # we were so slow that it was thought lost
        if order.is_open and line.may_push(line.rest_seconds()):
            return 0
        payment.pushed_at = None
        if not order.is_open:
            _refuse(payment, NOT_SENT, _ORDER_OVER)
            return None
        _refuse(payment, RESTING, MpesaUnavailable.message)
    raise _unavailable(order)


def _start_queued(prompt: Prompt) -> float | None:
    """Seconds until its turn; None when there is nothing to push here. Raises MpesaUnavailable."""
    with transaction():
        order = settlement.lock_order(prompt.order_id)
        payment = order.payment(prompt.payment_id)
        if not _is_queued(payment) or payment.push_at is not None:
            return None  # a worker thought that we had died
        wait_seconds = _take_up(order, payment)
    if payment.result_code == RESTING:
        raise _unavailable(order)
    return wait_seconds


def send_queued_prompt() -> int:
    """Push the queued prompt whose turn comes next, waiting for it if it comes within moments; returns how many
    prompts were looked after, one or none. Run it in several threads, so that a slow Daraja does not slow the pace."""
    with transaction() as session:
        found = session.execute(_next_queued()).one_or_none()
        if found is None:
            return 0
        order = settlement.lock_order(found.order_id)
        payment = order.payment(found.id)
        wait_seconds = _take_up(order, payment) if _is_queued(payment) else None
        if wait_seconds is None:
            return 1
        # The first secret left with its process, and nothing was sent with it.
        token = new_secret()
        payment.callback_token_hash = hash_secret(token)
    prompt = _prompt(order, payment, token, is_queued=True)
    time.sleep(wait_seconds)
    with suppress(MpesaUnavailable):  # nobody waits to be told: it is written down
        _push(prompt)
    return 1


def _next_queued() -> Select[tuple[int, int]]:
    """Locks the order, since that is locked before its payments everywhere; one that is locked is passed over."""
    has_turn = Payment.push_at <= clock.ahead(seconds=_WORTH_WAITING_SECONDS)
    is_abandoned = and_(Payment.push_at.is_(None), Payment.created_at < clock.ago(seconds=_ABANDONED_SECONDS))
    return (
        select(Payment.id, Order.id.label("order_id"))
        .join(Order, Order.id == Payment.order_id)
        .where(Payment.status == PaymentStatus.QUEUED, or_(has_turn, is_abandoned))
        .order_by(func.coalesce(Payment.push_at, Payment.created_at), Payment.id)
        .limit(1)
        .with_for_update(of=Order, key_share=True, skip_locked=True)
    )


def _take_up(order: Order, payment: Payment) -> float | None:
    """Seconds until the queued prompt is to be pushed, by the caller and nobody else. None: its turn comes later, or
    it is refused. Needs the order locked."""
    if not order.is_open:
        _refuse(payment, NOT_SENT, _ORDER_OVER)
        return None
    turn = _turn(payment)
    if turn.rest_seconds is None or turn.rest_seconds <= 0:
        if turn.wait_seconds > _WORTH_WAITING_SECONDS:
            payment.push_at = clock.ahead(seconds=turn.wait_seconds)
            _extend_hold(order, payment.push_at)
            return None
        if line.may_push(turn.rest_seconds):
            payment.move_to(PaymentStatus.SUBMITTING)
            _send_at(order, payment, clock.ahead(seconds=turn.wait_seconds))
            return turn.wait_seconds
    _refuse(payment, RESTING, MpesaUnavailable.message)
    return None


def _turn(payment: Payment) -> line.Turn:
    """The turn it has, unless that has been missed; else a new one."""
    if payment.push_at is not None:
        wait_seconds = (payment.push_at - clock.now()).total_seconds()
        if wait_seconds > -_MISSED_SECONDS:
            return line.Turn(max(0.0, wait_seconds), line.rest_seconds())
    if not settings.MPESA_MAX_PUSHES_PER_SECOND:  # there was a limit when it was queued
        return line.Turn(0, line.rest_seconds())
    return line.take_turn()


def _push(prompt: Prompt) -> None:
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
        line.note(outcome)
    if isinstance(outcome, Refused):
        log.warning("push for payment %s refused: %s", prompt.payment_id, outcome.code)
        raise _unavailable(order)


def _note_push(payment: Payment, outcome: PushOutcome) -> None:
    """The callback may have been quicker than the push's answer: then only what is missing is filled in."""
    is_first_news = payment.status in (PaymentStatus.SUBMITTING, PaymentStatus.UNKNOWN) and not payment.result_code
    if isinstance(outcome, Accepted):
        if payment.checkout_request_id not in (None, outcome.checkout_request_id):
            _tell_of_foreign_ids(payment)
        payment.merchant_request_id = payment.merchant_request_id or outcome.merchant_request_id
        payment.checkout_request_id = payment.checkout_request_id or outcome.checkout_request_id
        if payment.status is PaymentStatus.SUBMITTING:
            payment.move_to(PaymentStatus.PROMPTED)
        if payment.status in OPEN_PAYMENTS:
            payment.next_query_at = clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0])
    elif isinstance(outcome, Refused) and is_first_news:
        _refuse(payment, outcome.code, MpesaUnavailable.message)
    elif payment.status is PaymentStatus.SUBMITTING:
        payment.move_to(PaymentStatus.UNKNOWN)


def _tell_of_foreign_ids(payment: Payment) -> None:
    """What came to its secret address before the push was answered named another prompt than the answer does."""
    payment.note = "A message came before the push's answer and names another prompt: compare it with M-PESA's portal."
    alerts.raise_alert("message_suspected", f"Payment {payment.id}: {payment.note}", target=payment)


def _refuse(payment: Payment, code: str, text: str) -> None:
    payment.move_to(PaymentStatus.REFUSED)
    payment.result_code, payment.result_text = code, text


def _unavailable(order: Order) -> MpesaUnavailable:
    """The order stands: its buyer is told what else can be done while it does."""
    number = settings.paybill_number
    if number is None or not order.is_open:
        return MpesaUnavailable()
    return MpesaUnavailable(
        "M-PESA did not take the payment request. Your tickets are held: please try again in a moment, or pay"
        f" {money.in_words(order.total_kes)} to Paybill {number}, account {order.reference}, before"
        f" {order.expires_at.astimezone(clock.NAIROBI):%H:%M}."
    )


# ── The hold of an order with a prompt ────────────────────────────────────────────────────────────────────────────


def _send_at(order: Order, payment: Payment, instant: datetime) -> None:
    payment.pushed_at = instant
    _extend_hold(order, instant)


def _extend_hold(order: Order, shown_at: datetime) -> None:
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


# ── Pushes that were lost ─────────────────────────────────────────────────────────────────────────────────────────


def mark_lost_prompts() -> int:
    """Call a push unknown whose sender never came back to say how it went; returns how many there were."""
    longest = 4 * (settings.MPESA_CONNECT_SECONDS + settings.MPESA_ANSWER_SECONDS)
    sent_at = func.coalesce(Payment.pushed_at, Payment.created_at)
    with transaction() as session:
        lost = session.scalars(
            update(Payment)
            .where(Payment.status == PaymentStatus.SUBMITTING, sent_at < clock.ago(seconds=longest))
            .values(status=PaymentStatus.UNKNOWN)
            .returning(Payment.id)
        ).all()
    return len(lost)
