"""Asks Daraja about payments that nobody has heard of for a while."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from sqlalchemy import exists, select

from config import settings
from models import OPEN_PAYMENTS, MessageChannel, MpesaMessage, Payment, PaymentStatus
from services import alerts, line, settlement
from utils import background, clock
from utils.database import transaction
from utils.mpesa import daraja

#: The workers ask no faster, all together and however many payments are silent: pushes matter more to Daraja's
#: patience.
QUERIES_PER_SECOND = 20
_THREADS = 8


def query_due_payments() -> int:
    """Ask Daraja about payments nobody has heard of for a while; returns how many were asked about.

    The next time is written before the question goes out, so that several workers do not ask twice. Where an answer has
    come that nobody has got round to, which is at the busiest times, a question would only be more to do.
    """
    wait_seconds = 0.0
    is_told = exists().where(
        MpesaMessage.payment_id == Payment.id, MpesaMessage.settled_at.is_(None), MpesaMessage.tries == 0
    )
    with transaction() as session:
        due = session.scalars(
            select(Payment)
            .where(Payment.next_query_at <= clock.now(), ~is_told)
            .order_by(Payment.next_query_at)
            .limit(QUERIES_PER_SECOND)
            .with_for_update(skip_locked=True)
        ).all()
        for payment in due:
            payment.queries += 1
            payment.next_query_at = _next_query_at(payment)
        to_ask = [(payment.id, payment.checkout_request_id) for payment in due if payment.checkout_request_id]
        if to_ask:
            wait_seconds = line.reserve_queries(len(to_ask), per_second=QUERIES_PER_SECOND)
    time.sleep(wait_seconds)
    background.in_threads(_ask_about, to_ask, threads=_THREADS)
    return len(to_ask)


def note_unheard_prompts() -> int:
    """Have a person look for prompts nobody has heard of since yesterday, and that M-PESA cannot be asked about, the
    push's answer being lost; returns how many. With M-PESA's list at hand, `pulls` has ended them long before."""
    with transaction() as session:
        unheard = session.scalars(
            select(Payment)
            .where(
                Payment.status == PaymentStatus.UNKNOWN,
                Payment.checkout_request_id.is_(None),
                Payment.note.is_(None),
                Payment.seen_at.is_(None),
                Payment.created_at < clock.ago(hours=settings.QUERY_FOR_HOURS),
                Payment.created_at > clock.ago(hours=settings.QUERY_FOR_HOURS + 24),
            )
            .with_for_update(skip_locked=True)
        ).all()
        for payment in unheard:
            _give_up(payment)
    return len(unheard)


def _give_up(payment: Payment) -> None:
    payment.note = payment.note or "M-PESA never said what became of this: look it up in its portal."
    alerts.raise_alert("payment_silent", f"Payment {payment.id}: {payment.note}", target=payment)


def _ask_about(payment_id: int, checkout_request_id: str) -> None:
    answer = daraja.query(checkout_request_id)
    if answer is None:
        return
    with transaction():
        message_id = settlement.store(payment_id, MessageChannel.STK_QUERY, answer.body, http_status=answer.status)
    settlement.try_to_settle(message_id)


def _next_query_at(payment: Payment) -> datetime | None:
    """Once there is a reason to ask, also about a prompt that seemed over, it is asked until M-PESA has answered."""
    if payment.status in (PaymentStatus.PAID, PaymentStatus.QUARANTINED, PaymentStatus.REVERSED):
        return None
    pauses = settings.QUERY_PAUSES_SECONDS
    next_at = clock.ahead(seconds=pauses[min(payment.queries, len(pauses) - 1)])
    if next_at < payment.created_at + timedelta(hours=settings.QUERY_FOR_HOURS):
        return next_at
    if payment.status in OPEN_PAYMENTS:
        _give_up(payment)
    return None
