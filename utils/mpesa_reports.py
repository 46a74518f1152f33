"""What Safaricom says about money, in our words: codes, and how its messages are read.

Facts are from Safaricom's portal ("M-PESA Express", "M-PESA Express Query") unless a comment says otherwise.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


class Outcome(enum.Enum):
    PAID = "paid"
    #: This prompt brought no money.
    FAILED = "failed"
    #: Still on its way, or no answer at all.
    WAITING = "waiting"
    #: A code nobody has published: not paid, and not failed either.
    UNKNOWN = "unknown"
    #: Not readable as a result.
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Report:
    """What one message says, in our words. Anything may be missing from a message, so anything may be None."""

    outcome: Outcome
    code: str | None = None
    checkout_request_id: str | None = None
    merchant_request_id: str | None = None
    amount: Decimal | None = None
    receipt: str | None = None


#: Result codes that end a prompt without money, each with a sentence for the buyer (Safaricom's portal; those marked
#: c are known from merchants' reports only).
FAILURES: dict[str, str] = {
    "1": "There was not enough money on the M-PESA account. Please top up and try again.",
    "2": "M-PESA declined the amount.",
    "3": "The amount is more than M-PESA allows in one payment.",
    "4": "This payment would exceed the day's M-PESA limit. Please try tomorrow or with another number.",
    "8": "M-PESA could not accept the payment on our side. Please try again later.",
    "11": "M-PESA could not accept the payment on our side. Please try again later.",
    "17": "M-PESA refuses the same amount from the same phone within two minutes. Please wait and try again.",
    "21": "M-PESA could not accept the payment on our side. Please try again later.",
    "26": "M-PESA is busy. Please try again in a minute.",
    "1001": "Another M-PESA transaction is open on this phone. Please finish it and try again.",
    "1019": "The payment request expired before it was answered. Please try again.",
    "1025": "M-PESA could not show the payment request. Please try again.",
    "1031": "The payment request was cancelled.",
    "1032": "The payment request was cancelled.",
    "1036": "The phone could not be reached. Please try again.",  # c
    "1037": "The phone could not be reached, or nobody answered. Please try again.",
    "1101": "M-PESA could not show the payment request. Please try again.",  # c
    "1102": "M-PESA could not show the payment request. Please try again.",  # c
    "2001": "The M-PESA PIN was wrong. Please try again.",
    "2002": "M-PESA could not accept the payment on our side. Please try again later.",  # c
    "2006": "M-PESA refused the account. Please try with another number.",  # c
    "2008": "M-PESA could not confirm the PIN. Please try again.",  # c
    "2026": "The M-PESA session ended. Please try again.",  # c
    "2028": "M-PESA could not accept the payment on our side. Please try again later.",
    "8006": "The M-PESA PIN is locked. Please call Safaricom on 100.",
    "9999": "M-PESA could not show the payment request. Please try again.",  # c
    "SFC_IC0003": "M-PESA could not accept the payment on our side. Please try again later.",
}
#: The prompt is still on its way. Seen in query answers only.
_IN_PROGRESS = "4999"
SUCCESS = "0"


def read_callback(body: bytes) -> Report:
    """Read a posted STK result, leniently and by name: any field may be missing, moved, or of another type."""
    callback = field_of(field_of(parse(body), "Body"), "stkCallback")
    if not isinstance(callback, dict):
        return Report(Outcome.UNREADABLE)
    metadata = dict(_items(callback))
    return Report(
        outcome=_outcome(text_of(callback.get("ResultCode"))),
        code=text_of(callback.get("ResultCode")),
        checkout_request_id=text_of(callback.get("CheckoutRequestID")),
        merchant_request_id=text_of(callback.get("MerchantRequestID")),
        amount=amount_of(metadata.get("Amount")),
        receipt=text_of(metadata.get("MpesaReceiptNumber")),
    )


def read_query_answer(body: bytes) -> Report:
    """Read the answer to `Daraja.query`. It never carries amount or receipt.

    An error envelope is no answer, whatever its status: 500.001.1001 comes back for payments in flight, finished and
    unheard of alike.
    """
    answer = parse(body)
    code = text_of(field_of(answer, "ResultCode"))
    if code is None:
        return Report(Outcome.WAITING if isinstance(answer, dict) else Outcome.UNREADABLE)
    return Report(
        outcome=_outcome(code),
        code=code,
        checkout_request_id=text_of(field_of(answer, "CheckoutRequestID")),
        merchant_request_id=text_of(field_of(answer, "MerchantRequestID")),
    )


def _outcome(code: str | None) -> Outcome:
    if code is None:
        return Outcome.UNREADABLE
    if code == SUCCESS:
        return Outcome.PAID
    if code == _IN_PROGRESS:
        return Outcome.WAITING
    return Outcome.FAILED if code in FAILURES else Outcome.UNKNOWN


def parse(body: bytes) -> Any:
    """The JSON in the body; None for anything else."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def field_of(value: Any, name: str) -> Any:
    """A field of an object; None of anything else."""
    return value.get(name) if isinstance(value, dict) else None


def _items(callback: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    items = field_of(callback.get("CallbackMetadata"), "Item")
    for item in items if isinstance(items, list) else [items]:
        name = field_of(item, "Name")
        if isinstance(name, str) and "Value" in item:
            yield name, item["Value"]


def text_of(value: Any) -> str | None:
    """Codes and ids come as numbers or as text; nothing else, and nothing PostgreSQL could not keep, is one."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        text = str(value).strip()
        text.encode()
    except ValueError:  # an integer of thousands of digits, or half a surrogate pair
        return None
    return text if 0 < len(text) <= 100 and "\0" not in text else None


def amount_of(value: Any) -> Decimal | None:
    """A finite number, however it was written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() else None
