"""Asks Daraja about payments that nobody has heard of for a while."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import select

from config import settings
from models import OPEN_PAYMENTS, MessageChannel, Payment, PaymentStatus
from services import settlement
from utils import background, clock
from utils.database import transaction
from utils.mpesa import daraja

log = logging.getLogger(__name__)

#: The sweep asks no faster, however many payments are silent: pushes matter more to Daraja's patience.
QUERIES_PER_SECOND = 20
_THREADS = 8


def query_due_payments() -> int:
    """Ask Daraja about payments nobody has heard of for a while; returns how many were asked about.

    The next time is written before the question goes out, so that several workers do not ask twice.
    """
    started = time.monotonic()
    with transaction() as session:
        due = session.scalars(
            select(Payment)
            .where(Payment.next_query_at <= clock.now())
            .order_by(Payment.next_query_at)
            .limit(QUERIES_PER_SECOND)
            .with_for_update(skip_locked=True)
        ).all()
        for payment in due:
            payment.queries += 1
            payment.next_query_at = _next_query_at(payment)
        to_ask = [(payment.id, payment.checkout_request_id) for payment in due if payment.checkout_request_id]
    background.in_threads(_ask_about, to_ask, threads=_THREADS)
    if len(due) == QUERIES_PER_SECOND:
        time.sleep(max(0.0, started + 1 - time.monotonic()))
    return len(to_ask)


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
        payment.note = payment.note or "M-PESA never said what became of this: look it up in its portal."
        log.error("payment %s: gave up asking M-PESA", payment.id)
    return None
