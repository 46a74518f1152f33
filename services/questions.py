"""Questions to Daraja whose answers are posted later: reversals, payouts, and what became of a transaction.

Each is written down with its ids and the secret of its result address before it goes out. That takes
two short transactions with the network between them: `open_question` in the caller's, then `send`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import select, update

from models import MpesaMessage, MpesaRequest, Refund, RefundStatus, RequestKind, RequestStatus
from services import ledger
from services.judge import TooEarly
from utils import clock
from utils.database import db, transaction
from utils.mpesa import Refused, RequestOutcome, Taken, daraja
from utils.security import hash_secret, new_secret

log = logging.getLogger(__name__)

REMARKS = "Ticksy refund"
#: Codes after which nothing was done and the same may be tried again by itself, after a pause.
_AGAIN = frozenset({"no_token", "unreachable", "throttled", "edge_blocked", "500.003.02", "500.003.03", "429"})
_PAUSE_AFTER_REFUSAL = 30
_EARLY = TooEarly.__name__
#: The refusal of a payout that went out once more, under the id of an earlier request, says nothing of that one.
_SENT_BEFORE = (
    " It was sent before, and M-PESA did not say what became of that: before you send it by hand, look in its portal."
)


@dataclass(frozen=True)
class Question:
    """A request that is written down and has still to go out. The token exists only here and in Safaricom's hands."""

    request_id: int
    kind: RequestKind
    token: str
    receipt: str | None = None
    amount_kes: int = 0
    phone: str = ""
    originator_conversation_id: str | None = None


def open_question(
    kind: RequestKind,
    *,
    refund: Refund | None = None,
    receipt: str | None = None,
    amount_kes: int = 0,
    phone: str = "",
    originator_conversation_id: str | None = None,
    earlier_id: str | None = None,
) -> Question:
    """Write a question down, in the caller's transaction.

    `originator_conversation_id` is the id we give it; `earlier_id` is an earlier request's, which it asks about, or
    sends once more.
    """
    token = new_secret()
    request = MpesaRequest(
        kind=kind,
        refund_id=refund.id if refund else None,
        receipt=receipt,
        result_token_hash=hash_secret(token),
        originator_conversation_id=originator_conversation_id,
    )
    db.session.add(request)
    db.session.flush()
    return Question(request.id, kind, token, receipt, amount_kes, phone, originator_conversation_id or earlier_id)


def send(question: Question) -> None:
    """Ask Daraja and write down whether it took the question. Never call it inside a transaction."""
    outcome = _ask(question)
    with transaction() as session:
        refund_id = session.scalar(select(MpesaRequest.refund_id).where(MpesaRequest.id == question.request_id))
        refund = session.get(Refund, refund_id, with_for_update=True) if refund_id is not None else None
        request = session.get_one(MpesaRequest, question.request_id, with_for_update=True)
        _note(request, refund, outcome)
    log.info("request %s (%s): %s", question.request_id, question.kind.value, type(outcome).__name__)


def _ask(question: Question) -> RequestOutcome:
    if question.kind is RequestKind.REVERSAL:
        return daraja.reverse(
            receipt=question.receipt or "",
            amount_kes=question.amount_kes,
            result_token=question.token,
            remarks=REMARKS,
        )
    if question.kind is RequestKind.B2C:
        return daraja.pay_out(
            originator_conversation_id=question.originator_conversation_id or "",
            phone=question.phone,
            amount_kes=question.amount_kes,
            result_token=question.token,
            remarks=REMARKS,
        )
    if question.receipt is not None:
        return daraja.ask_status(receipt=question.receipt, result_token=question.token)
    return daraja.ask_status(
        originator_conversation_id=question.originator_conversation_id, result_token=question.token
    )


def _note(request: MpesaRequest, refund: Refund | None, outcome: RequestOutcome) -> None:
    if isinstance(outcome, Taken):
        request.conversation_id = outcome.conversation_id
        if request.status is RequestStatus.SENDING:
            request.status = RequestStatus.SENT
        if request.kind is RequestKind.REVERSAL:  # of all others it may be an earlier request's
            request.originator_conversation_id = outcome.originator_conversation_id
        _judge_early_results_again(request)
        return
    if request.status is not RequestStatus.SENDING:
        return
    request.status = RequestStatus.REFUSED if isinstance(outcome, Refused) else RequestStatus.UNKNOWN
    is_sending = request.kind is not RequestKind.STATUS
    if refund is None or not is_sending or refund.status is not RefundStatus.SENT:
        return
    if isinstance(outcome, Refused):
        if outcome.code in _AGAIN:
            refund.move_to(RefundStatus.REQUESTED)
            refund.next_look_at = clock.ahead(seconds=_PAUSE_AFTER_REFUSAL)
        else:
            reason = f"M-PESA refused it: {outcome.code}."
            if request.kind is RequestKind.B2C and request.originator_conversation_id is None:
                reason += _SENT_BEFORE
            ledger.fail_refund(refund, code=outcome.code, reason=reason)


def _judge_early_results_again(request: MpesaRequest) -> None:
    db.session.execute(
        update(MpesaMessage)
        .where(MpesaMessage.request_id == request.id, MpesaMessage.verdict.startswith(_EARLY))
        .values(settled_at=None, verdict=None)
        .execution_options(synchronize_session=False)
    )
