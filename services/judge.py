"""What a message about money means for an order. No input or output here: facts in, a verdict out.

The rules, in order of weight:
- Money that came stays come: nothing after a success can undo it.
- Only M-PESA's word makes a payment paid: a complete callback at the payment's secret address, or its answer to our
  own question about that payment's id.
- A code nobody has published decides nothing.
- A payment is a receipt: messages with the same receipt tell of one payment, only two different receipts are two.
- What does not fit (ids, amount, receipt) is never guessed at: it is kept for a person to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from models import MessageChannel, MpesaRequest, Order, Payment, PaymentMethod, PaymentStatus, Refund, RequestKind
from utils.mpesa_codes import FAILURES, NOT_KNOWN
from utils.mpesa_reports import MoneyIn, Outcome, Report, Result, ResultOutcome, receipt_of

FOREIGN_IDS = "the ids are those of another payment"
#: A second payment cannot go back before it is certain that it is one.
AWAITS_RECEIPTS = "a second payment of this order, as it seems: waits until the receipts of both are known"
#: By so much M-PESA's times may be behind ours: its list ends them in a Z that may mean Nairobi or Greenwich.
_CLOCKS_APART = timedelta(hours=3, minutes=2)
#: Looks at a refund that M-PESA has not carried out before it is sent again. Neither kind can be done twice by that: a
#: payment is reversed once, and a payout goes out under the id it had, which Daraja takes once.
_LOOKS_UNTIL_REVERSED_AGAIN, _LOOKS_UNTIL_PAID_OUT_AGAIN = 6, 8


@dataclass(frozen=True)
class Settle:
    """Money came for this payment. `receipt` is None when M-PESA's answer did not carry it."""

    receipt: str | None


@dataclass(frozen=True)
class AddReceipt:
    """The payment is known to be paid; this is its receipt."""

    receipt: str


@dataclass(frozen=True)
class Surplus:
    """Money came a second time for an order, under a receipt of its own: it goes back."""

    receipt: str


@dataclass(frozen=True)
class Fail:
    """The prompt ended without money."""

    code: str
    text: str


@dataclass(frozen=True)
class StayOver:
    """M-PESA confirms, being asked, that the prompt ended without money: nothing is left to ask."""


@dataclass(frozen=True)
class StayUnknown:
    """The code decides nothing: keep asking, never call it failed."""

    code: str


@dataclass(frozen=True)
class Ask:
    """Not conclusive: ask M-PESA about this payment now."""

    reason: str


@dataclass(frozen=True)
class Quarantine:
    """Money came that does not fit the payment: nothing more happens to it until a person has looked."""

    reason: str


@dataclass(frozen=True)
class Suspect:
    """The message does not fit the payment: keep it for a person, believe none of it, ask M-PESA instead."""

    reason: str


@dataclass(frozen=True)
class Ignore:
    """Nothing new."""

    reason: str


Verdict = Settle | AddReceipt | Surplus | Fail | StayOver | StayUnknown | Ask | Quarantine | Suspect | Ignore


def judge(payment: Payment, siblings: Sequence[Payment], channel: MessageChannel, report: Report) -> Verdict:
    """The meaning of `report`, which came through `channel` about `payment`; `siblings` are its order's payments."""
    if channel is MessageChannel.STK_HINT:
        return Ask("somebody claims to know more")
    if payment.status is PaymentStatus.QUARANTINED:
        return _judge_quarantined(payment, channel, report)
    if payment.status is PaymentStatus.REVERSED:
        return Ignore("M-PESA took the money back")
    if report.outcome is Outcome.UNREADABLE:
        return _ask_unless_paid(payment, "unreadable")
    if _is_foreign(payment, report):
        return Suspect(FOREIGN_IDS)
    if report.outcome is Outcome.PAID:
        return _judge_success(payment, siblings, channel, report)
    if payment.status is PaymentStatus.PAID:
        return Ignore("paid already")
    if report.outcome is Outcome.WAITING:
        return Ignore("still in progress")
    if payment.status in (PaymentStatus.FAILED, PaymentStatus.REFUSED):
        is_confirmed = channel is MessageChannel.STK_QUERY and report.outcome is Outcome.FAILED
        return StayOver() if is_confirmed else Ignore("over already")
    code = report.code or ""
    return Fail(code, FAILURES[code]) if report.outcome is Outcome.FAILED else StayUnknown(code)


def _judge_success(payment: Payment, siblings: Sequence[Payment], channel: MessageChannel, report: Report) -> Verdict:
    receipt = receipt_of(report.receipt)
    fits = report.amount is None or report.amount == Decimal(payment.amount_kes)
    misfit = f"the amount is KES {report.amount}, not {payment.amount_kes}"
    if payment.status is PaymentStatus.PAID:
        return _judge_repeated_success(payment, receipt, report) if fits else Suspect(misfit)
    if not fits:
        return Quarantine(misfit)
    if channel is MessageChannel.STK_CALLBACK and (receipt is None or report.amount is None):
        return Ask("a success without amount or receipt")
    paid = [other for other in siblings if other is not payment and other.status is PaymentStatus.PAID]
    if not paid:
        return Settle(receipt)
    if receipt is None or any(other.receipt is None for other in paid):
        return Quarantine(AWAITS_RECEIPTS)
    return Surplus(receipt)


def _judge_repeated_success(payment: Payment, receipt: str | None, report: Report) -> Verdict:
    if receipt is None or receipt == payment.receipt:
        return Ignore("paid already")
    if report.amount is None:
        return Ignore("a receipt without amount")
    if payment.receipt is None:
        return AddReceipt(receipt)
    if payment.typed_reference is None:
        return Suspect(f"a second receipt, {receipt}, for one prompt")
    # What it has, it adopted from money that came by itself; this is its own.
    return Surplus(receipt)


def _judge_quarantined(payment: Payment, channel: MessageChannel, report: Report) -> Verdict:
    """All that is wanted of it any more is its receipt."""
    receipt = receipt_of(report.receipt)
    is_its_own = channel is MessageChannel.STK_CALLBACK and report.outcome is Outcome.PAID
    if not is_its_own or receipt is None or payment.receipt is not None or _is_foreign(payment, report):
        return Ignore("in quarantine")
    return AddReceipt(receipt) if report.amount == Decimal(payment.amount_kes) else Ignore("in quarantine")


def _is_foreign(payment: Payment, report: Report) -> bool:
    """Whether the message names other ids than the payment's. Ids we never learned cannot be contradicted."""
    pairs = (
        (payment.checkout_request_id, report.checkout_request_id),
        (payment.merchant_request_id, report.merchant_request_id),
    )
    return any(ours and theirs and ours != theirs for ours, theirs in pairs)


def _ask_unless_paid(payment: Payment, reason: str) -> Verdict:
    return Ignore(reason) if payment.status is PaymentStatus.PAID else Ask(reason)


# ── Money that came by itself ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Adopt:
    """It is the money of this prompt, paid or about to be; `payment_id` is the prompt's."""

    payment_id: int


@dataclass(frozen=True)
class Open:
    """It is a payment of its own, and pays the order."""


@dataclass(frozen=True)
class OpenSurplus:
    """It is a payment of its own, of an order that is paid already: it goes back."""


@dataclass(frozen=True)
class OpenQuarantined:
    """It is a payment of its own that does not fit, or names no order: a person has to look."""

    reason: str


MoneyVerdict = Adopt | Open | OpenSurplus | OpenQuarantined | Suspect | Ignore


def judge_money(order: Order | None, known: Payment | None, money: MoneyIn) -> MoneyVerdict:
    """What one transaction on our shortcode means, as M-PESA itself confirmed it.

    `order` is the one its reference names, with its payments; `known` is the payment that has its receipt.
    """
    if known is not None:
        return Ignore("known") if money.amount == known.amount_kes else Suspect(f"the amount is KES {money.amount}")
    if order is None:
        return OpenQuarantined("its reference names no order")
    if money.amount != order.total_kes:
        return OpenQuarantined(f"the amount is KES {money.amount}, not {order.total_kes}")
    paid = [one for one in order.payments if one.status is PaymentStatus.PAID]
    prompt = _prompt_it_fits(order.payments, money, is_paid=bool(paid))
    if prompt is not None:
        return Adopt(prompt.id)
    if not paid:
        return Open()
    return OpenQuarantined(AWAITS_RECEIPTS) if any(one.receipt is None for one in paid) else OpenSurplus()


def _prompt_it_fits(payments: Sequence[Payment], money: MoneyIn, *, is_paid: bool) -> Payment | None:
    """The prompt without receipt that this money may be of: one known as paid before one that is still open, and of
    several the one that was on the phone last."""
    fitting = [
        one
        for one in reversed(payments)
        if one.method is PaymentMethod.PROMPT
        and one.receipt is None
        and one.amount_kes == money.amount
        and (money.at is None or money.at >= one.created_at - _CLOCKS_APART)
    ]
    wanted = [PaymentStatus.PAID, PaymentStatus.QUARANTINED]
    if not is_paid:
        wanted += [PaymentStatus.PROMPTED, PaymentStatus.UNKNOWN, PaymentStatus.SUBMITTING]
    return next((one for status in wanted for one in fitting if one.status is status), None)


# ── Results of what we asked ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class GoneBack:
    """The refund has been carried out."""

    receipt: str | None


@dataclass(frozen=True)
class NotGoneBack:
    """The refund was not carried out, and will not be by itself."""

    code: str
    reason: str


@dataclass(frozen=True)
class SendAgain:
    """M-PESA says that the refund was not carried out; sending it again cannot do it twice."""


@dataclass(frozen=True)
class Confirmed:
    """The transaction exists, completed, with this receipt and amount (KES)."""

    receipt: str
    amount: Decimal


@dataclass(frozen=True)
class TakenBack:
    """M-PESA reversed the transaction."""

    receipt: str


@dataclass(frozen=True)
class TooEarly:
    """It came before Daraja's answer to the request, which tells the id to believe: judged again after that."""

    reason: str = "before the answer to the request"


ResultVerdict = GoneBack | NotGoneBack | SendAgain | Confirmed | TakenBack | TooEarly | Ask | Suspect | Ignore


def judge_result(
    request: MpesaRequest, refund: Refund | None, result: Result, *, is_timeout: bool = False
) -> ResultVerdict:
    """The meaning of what came to the secret result address of `request`; `refund` is what that is about, if any.

    A result is believed only with the ConversationID that Daraja gave when it took the request.
    """
    if is_timeout or result.outcome in (ResultOutcome.UNREADABLE, ResultOutcome.WAITING):
        return Ask("no result")
    if request.conversation_id is None:
        return TooEarly()
    if result.conversation_id != request.conversation_id:
        return Suspect("the conversation is another one")
    if request.kind is RequestKind.STATUS:
        return _judge_status(request, refund, result)
    if result.outcome is ResultOutcome.DONE:
        return GoneBack(result.transaction_id if result.code == "0" else None)
    if result.outcome is ResultOutcome.FAILED:
        return NotGoneBack(result.code or "", result.text or "M-PESA said no.")
    return Ask("a code nobody has published")


def _judge_status(request: MpesaRequest, refund: Refund | None, result: Result) -> ResultVerdict:
    is_found = result.outcome is ResultOutcome.DONE
    status = (result.transaction_status or "").lower() if is_found else ""
    if refund is None:
        return _judge_status_of_payment(request, result, status)
    if request.receipt is not None:  # asked by the receipt of the payment that the reversal undoes
        if status == "reversed":
            return GoneBack(None)
        is_lost = status == "completed" and refund.looks >= _LOOKS_UNTIL_REVERSED_AGAIN
        return SendAgain() if is_lost else Ask("not reversed yet")
    if status == "completed":
        return GoneBack(result.receipt)
    if status in ("cancelled", "declined", "expired"):
        return NotGoneBack(status, f"M-PESA says that it was {status}: send it by hand.")
    is_lost = result.code in NOT_KNOWN and refund.looks >= _LOOKS_UNTIL_PAID_OUT_AGAIN
    return SendAgain() if is_lost else Ask("not known yet")


def _judge_status_of_payment(request: MpesaRequest, result: Result, status: str) -> ResultVerdict:
    if result.receipt is not None and result.receipt != request.receipt:
        return Suspect("the receipt is another one")
    if request.receipt is None or status not in ("completed", "reversed"):
        return Ask("not confirmed")
    if status == "reversed":
        return TakenBack(request.receipt)
    return Confirmed(request.receipt, result.amount) if result.amount is not None else Ask("without amount")
