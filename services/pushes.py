"""Pushes: send the prompts that were opened.

No transaction is open while Safaricom is being waited for.

With a limit on pushes a prompt is queued first. Nothing has been sent then, and whoever takes it up, its own process
or a worker, gives it its turn under its order's lock; from then on it is never pushed again, whatever becomes of it.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from sqlalchemy import Select, and_, func, or_, select, update

from config import settings
from models import OPEN_PAYMENTS, MpesaLine, Order, Payment, PaymentStatus
from services import alerts, line, locks
from services.prompts import Prompt, extend_hold, send_at
from utils import clock, money, turns
from utils.database import transaction
from utils.errors import Unavailable
from utils.mpesa import Accepted, PushOutcome, Refused, daraja
from utils.prepared import Prepared, given
from utils.security import hash_secret, new_secret

log = logging.getLogger(__name__)

#: Shown on the phone beside the reference; Daraja allows 13 characters.
DESCRIPTION = "Ticksy"
#: Result codes of ours, for pushes that were not tried.
NOT_SENT, RESTING = "not_sent", "resting"
_ORDER_OVER = "It was not sent, since the order was over."
#: A turn that comes within so long is waited for where it was taken; a later one is left to the worker.
_WORTH_WAITING_SECONDS = 2
#: A turn that was missed by more is lost, and another one taken: else what piled up would go out all at once.
_MISSED_SECONDS = 0.5
#: A prompt without a turn for so long has lost its process.
_ABANDONED_SECONDS = 30


class MpesaUnavailable(Unavailable):
    code, retry_after = "mpesa_unavailable", 5
    message = "M-PESA did not take the payment request. Your tickets are held: please try again in a moment."


def send_prompt(prompt: Prompt, *, at_once: bool = False) -> bool:
    """Push the prompt and write down what Daraja answered. Never call it inside a transaction.

    Returns when a prompt exists or may exist, or waits in the queue, or its order is over; and whether all that became
    of it is that Daraja took it. Raises MpesaUnavailable when it is certain that none exists. `at_once`: the prompt was
    written just now, so whether it may still be pushed is not asked again.
    """
    if prompt.is_queued:
        wait_seconds = _start_queued(prompt)
    elif at_once and not _is_resting():
        wait_seconds = 0
    else:
        wait_seconds = _start_now(prompt)
    if wait_seconds is None:
        return False
    if wait_seconds:
        with turns.step_aside():
            time.sleep(wait_seconds)
    return _push(prompt) and not prompt.is_queued


def _is_resting() -> bool:
    return line.rest_seconds() is not None


def _start_now(prompt: Prompt) -> float | None:
    """As `_start_queued`, without a turn."""
    with transaction():
        order = locks.lock_order(prompt.order_id)
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
        order = locks.lock_order(prompt.order_id)
        payment = order.payment(prompt.payment_id)
        if not payment.is_queued or payment.push_at is not None:
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
        order = locks.lock_order(found.order_id)
        payment = order.payment(found.id)
        wait_seconds = _take_up(order, payment) if payment.is_queued else None
        if wait_seconds is None:
            return 1
        # The first secret left with its process, and nothing was sent with it.
        token = new_secret()
        payment.callback_token_hash = hash_secret(token)
    prompt = Prompt.of(order, payment, token, is_queued=True)
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
            extend_hold(order, payment.push_at)
            return None
        if line.may_push(turn.rest_seconds):
            payment.move_to(PaymentStatus.SUBMITTING)
            send_at(order, payment, clock.ahead(seconds=turn.wait_seconds))
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


def _push(prompt: Prompt) -> bool:
    """Whether Daraja took it and nothing else has become known of it yet."""
    outcome = daraja.push(
        phone=prompt.phone,
        amount_kes=prompt.amount_kes,
        reference=prompt.reference,
        description=DESCRIPTION,
        callback_token=prompt.token,
    )
    with transaction():
        if isinstance(outcome, Accepted) and _note_first_news(prompt, outcome):
            return True
        order = locks.lock_order(prompt.order_id)
        _note_push(order.payment(prompt.payment_id), outcome)
        line.note(outcome)
    if isinstance(outcome, Refused):
        log.warning("push for payment %s refused: %s", prompt.payment_id, outcome.code)
        raise _unavailable(order)
    return False


def _note_first_news(prompt: Prompt, outcome: Accepted) -> bool:
    """What `_note_push` writes where all goes well, which is nearly always, in one statement; whether it did.

    It waits for the order's lock before it looks at the payment.
    """
    row = _FIRST_NEWS.row(
        to_order=prompt.order_id,
        to_payment=prompt.payment_id,
        merchant=outcome.merchant_request_id,
        checkout=outcome.checkout_request_id,
        query_at=clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0]),
    )
    return row is not None


_LOCKED = select(Order.id).where(Order.id == given("to_order")).with_for_update(key_share=True).cte("locked")
_FIRST_NEWS = Prepared(
    update(Payment)
    .where(
        Payment.order_id == _LOCKED.c.id,
        Payment.id == given("to_payment"),
        Payment.status == PaymentStatus.SUBMITTING,
        Payment.checkout_request_id.is_(None),
        Payment.result_code.is_(None),
        # After failures the breaker's count has to be put back.
        ~select(MpesaLine.id).where(MpesaLine.failures > 0).exists(),
    )
    .values(
        status=PaymentStatus.PROMPTED,
        merchant_request_id=given("merchant"),
        checkout_request_id=given("checkout"),
        next_query_at=given("query_at"),
    )
    .returning(Payment.id)
)


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
