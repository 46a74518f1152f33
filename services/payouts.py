"""Sends refunds to M-PESA, and asks what became of them.

Nothing is sent again because of silence: M-PESA is asked for the status first.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from config import settings
from models import (
    MessageChannel,
    MpesaMessage,
    MpesaRequest,
    Order,
    Refund,
    RefundMethod,
    RefundStatus,
    RequestKind,
    RequestStatus,
)
from services import alerts, ledger, paybill
from services.judge import (
    Ask,
    Confirmed,
    GoneBack,
    Ignore,
    NotGoneBack,
    ResultVerdict,
    SendAgain,
    Suspect,
    TakenBack,
    TooEarly,
    judge_result,
)
from services.questions import Question, open_question, send
from utils import clock
from utils.database import db, transaction
from utils.mpesa_reports import read_result

log = logging.getLogger(__name__)

_REFUNDS_AT_ONCE = 10
_ASK_FOR_HOURS = 48


def look_after_refunds() -> int:
    """Send the refunds that are due, and ask about those M-PESA is silent about; returns how many there were."""
    with transaction() as session:
        due = session.scalars(
            select(Refund)
            .where(Refund.next_look_at <= clock.now())
            .order_by(Refund.next_look_at)
            .limit(_REFUNDS_AT_ONCE)
            .with_for_update(skip_locked=True, of=Refund)
            .options(selectinload(Refund.payment))
        ).all()
        questions = [question for refund in due if (question := _next_question(refund)) is not None]
    for question in questions:
        send(question)
    return len(due)


def _next_question(refund: Refund) -> Question | None:
    if refund.status is RefundStatus.SENT:
        return _ask_about(refund)
    if refund.payment.receipt is None and refund.method is RefundMethod.REVERSAL:
        _wait_for_receipt(refund)
        return None
    refund.move_to(RefundStatus.SENT)
    refund.sent_at, refund.looks = clock.now(), 0
    refund.next_look_at = clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0])
    if refund.method is RefundMethod.REVERSAL:
        return open_question(
            RequestKind.REVERSAL, refund=refund, receipt=refund.payment.receipt, amount_kes=refund.amount_kes
        )
    return open_question(
        RequestKind.B2C,
        refund=refund,
        amount_kes=refund.amount_kes,
        phone=refund.payment.phone or "",
        originator_conversation_id=str(uuid.uuid4()),
    )


def _wait_for_receipt(refund: Refund) -> None:
    """A payment known from a query alone has no receipt yet: the list of transactions will bring it."""
    refund.next_look_at = clock.ahead(seconds=60)
    if refund.created_at < clock.ago(hours=_ASK_FOR_HOURS) and refund.note is None:
        refund.note = "The receipt of the payment is not known: look it up in M-PESA's portal."
        alerts.raise_alert("refund_without_receipt", f"Refund {refund.id} waits for a receipt.", target=refund)
    paybill.pull_soon()


def _ask_about(refund: Refund) -> Question | None:
    pauses = settings.QUERY_PAUSES_SECONDS
    refund.looks += 1
    refund.next_look_at = clock.ahead(seconds=pauses[min(refund.looks, len(pauses) - 1)])
    if refund.sent_at is not None and refund.sent_at < clock.now() - timedelta(hours=_ASK_FOR_HOURS):
        ledger.fail_refund(refund, code="silent", reason="M-PESA never said what became of it: look in its portal.")
        return None
    if refund.method is RefundMethod.REVERSAL:
        return open_question(RequestKind.STATUS, refund=refund, receipt=refund.payment.receipt)
    sent_as = db.session.scalar(
        select(MpesaRequest.originator_conversation_id)
        .where(MpesaRequest.refund_id == refund.id, MpesaRequest.kind == RequestKind.B2C)
        .order_by(MpesaRequest.id.desc())
        .limit(1)
    )
    return open_question(RequestKind.STATUS, refund=refund, about=sent_as)


# ── Results ───────────────────────────────────────────────────────────────────────────────────────────────────────


def settle_result(message: MpesaMessage) -> ResultVerdict:
    """What a message to a request's secret address does, in the caller's transaction."""
    order, refund, request = _lock(message)
    result = read_result(message.body)
    verdict = judge_result(request, refund, result, is_timeout=message.channel is MessageChannel.TIMEOUT)
    if not isinstance(verdict, TooEarly | Ask | Suspect):
        request.status, request.answered_at = RequestStatus.ANSWERED, clock.now()
    if isinstance(verdict, Suspect):
        log.error("message %s to request %s is suspect: %s", message.id, request.id, verdict.reason)
    if refund is None:
        _apply_to_payment(verdict)
    elif refund.status is RefundStatus.DONE:
        return Ignore("gone back already")
    else:
        _apply_to_refund(verdict, order, refund, request, message)
    return verdict


def _lock(message: MpesaMessage) -> tuple[Order | None, Refund | None, MpesaRequest]:
    """What a result is about: the order first, then its refund, then the request."""
    refund_id = db.session.scalar(select(MpesaRequest.refund_id).where(MpesaRequest.id == message.request_id))
    order_id = db.session.scalar(select(Refund.order_id).where(Refund.id == refund_id))
    order = ledger.lock_order(order_id) if order_id is not None else None
    refund = None
    if refund_id is not None:
        refund = db.session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)
    request = db.session.get_one(MpesaRequest, message.request_id, with_for_update=True, populate_existing=True)
    return order, refund, request


def _apply_to_payment(verdict: ResultVerdict) -> None:
    match verdict:
        case Confirmed(receipt, amount):
            paybill.settle_confirmed(receipt, amount, channel=MessageChannel.C2B)
        case TakenBack(receipt):
            paybill.take_back(receipt, channel=MessageChannel.RESULT)
        case _:
            pass


def _apply_to_refund(
    verdict: ResultVerdict, order: Order | None, refund: Refund, request: MpesaRequest, message: MpesaMessage
) -> None:
    is_sent = refund.status is RefundStatus.SENT
    match verdict:
        case GoneBack(receipt):
            ledger.finish_refund(order, refund, receipt=receipt)
        case NotGoneBack(code, reason) if is_sent and _is_latest(request, refund):
            ledger.fail_refund(refund, code=code, reason=reason)
        case SendAgain() if is_sent:
            refund.move_to(RefundStatus.REQUESTED)
            refund.next_look_at = clock.now()
        case Suspect():
            _look_now(refund)
        case Ask() if message.channel is MessageChannel.TIMEOUT:
            _look_now(refund)
        case _:
            pass


def _look_now(refund: Refund) -> None:
    if refund.status is RefundStatus.SENT:
        refund.next_look_at = clock.now()


def _is_latest(request: MpesaRequest, refund: Refund) -> bool:
    """Whether it carries out, or asks about, the present try: an older one's failure says nothing of this one."""
    newer = select(MpesaRequest.id).where(
        MpesaRequest.refund_id == refund.id,
        MpesaRequest.kind != RequestKind.STATUS,
        MpesaRequest.id > request.id,
    )
    return db.session.scalar(newer.limit(1)) is None
