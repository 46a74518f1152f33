"""What a message about money means for an order. No input or output here: facts in, a verdict out.

The rules, in order of weight:
- Money that came stays come: nothing after a success can undo it.
- Only M-PESA's word makes a payment paid: a complete callback at the payment's secret address, or its answer to our
  own question about that payment's id.
- A code nobody has published decides nothing.
- What does not fit (ids, amount, receipt) is never guessed at: it is kept for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from models import MessageChannel, Payment, PaymentStatus
from utils.mpesa_reports import FAILURES, Outcome, Report

#: Ten capital letters and digits, on every receipt Safaricom has published.
_RECEIPT = re.compile(r"^[A-Z0-9]{10}$")
FOREIGN_IDS = "the ids are those of another payment"


@dataclass(frozen=True)
class Settle:
    """Money came for this payment. `receipt` is None when M-PESA's answer did not carry it."""

    receipt: str | None


@dataclass(frozen=True)
class AddReceipt:
    """The payment is known to be paid; this is its receipt."""

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


Verdict = Settle | AddReceipt | Fail | StayOver | StayUnknown | Ask | Quarantine | Suspect | Ignore


def judge(payment: Payment, siblings: Sequence[Payment], channel: MessageChannel, report: Report) -> Verdict:
    """The meaning of `report`, which came through `channel` about `payment`; `siblings` are its order's payments."""
    if channel is MessageChannel.STK_HINT:
        return Ask("somebody claims to know more")
    if payment.status is PaymentStatus.QUARANTINED:
        return Ignore("in quarantine")
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
    receipt = report.receipt if report.receipt and _RECEIPT.match(report.receipt) else None
    fits = report.amount is None or report.amount == Decimal(payment.amount_kes)
    misfit = f"the amount is KES {report.amount}, not {payment.amount_kes}"
    if payment.status is PaymentStatus.PAID:
        return _judge_repeated_success(payment, receipt, report) if fits else Suspect(misfit)
    if not fits:
        return Quarantine(misfit)
    if channel is MessageChannel.STK_CALLBACK and (receipt is None or report.amount is None):
        return Ask("a success without amount or receipt")
    if any(other is not payment and other.status is PaymentStatus.PAID for other in siblings):
        return Quarantine("the order is paid already: this is a second payment")
    return Settle(receipt)


def _judge_repeated_success(payment: Payment, receipt: str | None, report: Report) -> Verdict:
    if receipt is None or receipt == payment.receipt:
        return Ignore("paid already")
    if payment.receipt is not None:
        return Suspect(f"a second receipt, {receipt}, for one prompt")
    return AddReceipt(receipt) if report.amount is not None else Ignore("a receipt without amount")


def _is_foreign(payment: Payment, report: Report) -> bool:
    """Whether the message names other ids than the payment's. Ids we never learned cannot be contradicted."""
    pairs = (
        (payment.checkout_request_id, report.checkout_request_id),
        (payment.merchant_request_id, report.merchant_request_id),
    )
    return any(ours and theirs and ours != theirs for ours, theirs in pairs)


def _ask_unless_paid(payment: Payment, reason: str) -> Verdict:
    return Ignore(reason) if payment.status is PaymentStatus.PAID else Ask(reason)
