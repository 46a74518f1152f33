"""Sends refunds to M-PESA, and asks what became of them.

Nothing is sent again because of silence: M-PESA is asked for the status first. What is sent again cannot be done twice:
a payment is reversed once, and a payout keeps its id, which Daraja takes once, until M-PESA itself says that it failed.
"""

from __future__ import annotations

import logging
import uuid

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import selectinload

from config import settings
from models import (
    MessageChannel,
    MpesaMessage,
    MpesaRequest,
    Order,
    PaymentStatus,
    Refund,
    RefundMethod,
    RefundStatus,
    RequestKind,
    RequestStatus,
)
from services import alerts, ledger, locks, paybill
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
#: One that could not be looked after is left alone for so long.
_PAUSE_AFTER_FAULT = 60
#: What an admin is told of a refund nothing was heard of.
_SILENT = {
    RefundMethod.REVERSAL: "M-PESA did not say what became of it. A retry is safe: it undoes a payment only once.",
    RefundMethod.B2C: (
        "M-PESA did not say what became of it. A retry is safe: it carries the same id, which M-PESA pays only once."
        " Before you send it by hand, look in M-PESA's portal whether it has arrived."
    ),
}


def look_after_refunds() -> int:
    """Send the refunds that are due, and ask about those M-PESA is silent about; returns how many there were.

    Each is written down and goes out before the next is taken, so that a process that dies leaves one in doubt, and
    one that cannot be looked after holds up no other.
    """
    with transaction() as session:
        due = session.scalars(
            select(Refund.id)
            .where(Refund.next_look_at <= clock.now())
            .order_by(Refund.next_look_at, Refund.id)
            .limit(_REFUNDS_AT_ONCE)
        ).all()
    return sum(_try_to_look_after(refund_id) for refund_id in due)


def _try_to_look_after(refund_id: int) -> bool:
    try:
        return _look_after(refund_id)
    except Exception:  # the job edge
        log.exception("refund %s could not be looked after", refund_id)
        _put_off(refund_id)
        return False


def _look_after(refund_id: int) -> bool:
    """False when another worker has it, or had it."""
    with transaction() as session:
        refund = session.scalar(
            select(Refund)
            .where(Refund.id == refund_id, Refund.next_look_at <= clock.now())
            .with_for_update(skip_locked=True, of=Refund)
            .options(selectinload(Refund.payment))
            .execution_options(populate_existing=True)
        )
        if refund is None:
            return False
        is_needless = refund.status is RefundStatus.REQUESTED and refund.payment.status is PaymentStatus.REVERSED
        question = None if is_needless else _next_question(refund)
    if is_needless:
        _drop(refund_id)
    if question is not None:
        send(question)
    return True


def _put_off(refund_id: int) -> None:
    """Unless its next look was written down before things went wrong."""
    with transaction() as session:
        session.execute(
            update(Refund)
            .where(Refund.id == refund_id, Refund.next_look_at <= clock.now())
            .values(next_look_at=clock.ahead(seconds=_PAUSE_AFTER_FAULT))
            .execution_options(synchronize_session=False)
        )


def _drop(refund_id: int) -> None:
    """M-PESA took the payment back while this was to be sent again. Locks the order first, as everything does."""
    with transaction() as session:
        order_id = session.scalar(select(Refund.order_id).where(Refund.id == refund_id))
        order = locks.lock_order(order_id) if order_id is not None else None
        refund = session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)
        if refund.status is RefundStatus.REQUESTED:
            ledger.drop_refund(order, refund)


def _next_question(refund: Refund) -> Question | None:
    if refund.status is RefundStatus.SENT:
        return _ask_about(refund)
    if refund.payment.receipt is None and refund.method is RefundMethod.REVERSAL:
        _wait_for_receipt(refund)
        return None
    refund.move_to(RefundStatus.SENT)
    refund.sent_at, refund.looks = refund.sent_at or clock.now(), 0
    refund.next_look_at = clock.ahead(seconds=settings.QUERY_PAUSES_SECONDS[0])
    if refund.method is RefundMethod.REVERSAL:
        return open_question(
            RequestKind.REVERSAL, refund=refund, receipt=refund.payment.receipt, amount_kes=refund.amount_kes
        )
    id_in_use = _payout_id_in_use(refund)
    return open_question(
        RequestKind.B2C,
        refund=refund,
        amount_kes=refund.amount_kes,
        phone=refund.payment.phone or "",
        originator_conversation_id=None if id_in_use else str(uuid.uuid4()),
        earlier_id=id_in_use,
    )


def _payout_id_in_use(refund: Refund) -> str | None:
    """The id that the payout was last sent under, unless it is over: M-PESA said of every request it took under that
    id that it failed. Only then nothing can come of the id any more, and a new one cannot pay a second time."""
    id_in_use: str | None = None
    taken: list[RequestStatus] = []
    sent = select(MpesaRequest.originator_conversation_id, MpesaRequest.conversation_id, MpesaRequest.status).where(
        *_payouts_of(refund)
    )
    for own_id, conversation_id, status in db.session.execute(sent.order_by(MpesaRequest.id)).tuples():
        if own_id is not None:  # those that follow without one went out under this one
            id_in_use, taken = own_id, []
        if conversation_id is not None:
            taken.append(status)
    # What was answered and not done has failed.
    is_over = bool(taken) and all(status is RequestStatus.ANSWERED for status in taken)
    return None if is_over else id_in_use


def _payouts_of(refund: Refund) -> tuple[ColumnElement[bool], ...]:
    return MpesaRequest.refund_id == refund.id, MpesaRequest.kind == RequestKind.B2C


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
    if refund.sent_at is not None and refund.sent_at < clock.ago(hours=_ASK_FOR_HOURS):
        ledger.fail_refund(refund, code="silent", reason=_SILENT[refund.method])
        return None
    if refund.method is RefundMethod.REVERSAL:
        return open_question(RequestKind.STATUS, refund=refund, receipt=refund.payment.receipt)
    sent_as = db.session.scalar(
        select(MpesaRequest.originator_conversation_id)
        .where(*_payouts_of(refund), MpesaRequest.originator_conversation_id.is_not(None))
        .order_by(MpesaRequest.id.desc())
        .limit(1)
    )
    return open_question(RequestKind.STATUS, refund=refund, earlier_id=sent_as)


# ── Results ───────────────────────────────────────────────────────────────────────────────────────────────────────


def settle_result(message: MpesaMessage) -> ResultVerdict:
    """What a message to a request's secret address does, in the caller's transaction."""
    order, refund, request = _lock(message)
    result = read_result(message.body)
    verdict = judge_result(request, refund, result, is_timeout=message.channel is MessageChannel.TIMEOUT)
    if not isinstance(verdict, TooEarly | Ask | Suspect):
        request.status, request.answered_at = RequestStatus.ANSWERED, clock.now()
    if isinstance(verdict, Suspect):
        sentence = f"A result of request {request.id} ({request.kind.value}) was not believed: {verdict.reason}."
        alerts.raise_alert("result_suspect", sentence, target=refund, once_per_hours=24)
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
    order = locks.lock_order(order_id) if order_id is not None else None
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
        case NotGoneBack(code, reason) if is_sent and _is_of_present_try(request, refund):
            ledger.fail_refund(refund, code=code, reason=reason)
        case SendAgain() if is_sent:
            refund.move_to(RefundStatus.REQUESTED)
            refund.next_look_at = clock.now()
        case Suspect() if is_sent:
            _look_now(refund, request)
        case Ask() if is_sent and message.channel is MessageChannel.TIMEOUT:
            _look_now(refund, request)
        case _:
            pass


def _look_now(refund: Refund, request: MpesaRequest) -> None:
    """Except for what came of asking itself: asked again at once, it would be asked again and again."""
    if request.kind is not RequestKind.STATUS:
        refund.next_look_at = clock.now()


def _is_of_present_try(request: MpesaRequest, refund: Refund) -> bool:
    """Whether it carries out, or asks about, the present try: an older one's failure says nothing of this one.

    A payout sent once more under its id, and not taken, is no other try.
    """
    newer = select(MpesaRequest.id).where(
        MpesaRequest.refund_id == refund.id,
        MpesaRequest.kind != RequestKind.STATUS,
        MpesaRequest.id > request.id,
        or_(
            MpesaRequest.kind == RequestKind.REVERSAL,
            MpesaRequest.originator_conversation_id.is_not(None),
            MpesaRequest.conversation_id.is_not(None),
        ),
    )
    return db.session.scalar(newer.limit(1)) is None
