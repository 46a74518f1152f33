"""What Safaricom says about money, in our words: codes, and how its messages are read.

Facts are from Safaricom's portal ("M-PESA Express", "M-PESA Express Query") unless a comment says otherwise.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from utils import clock
from utils.mpesa_codes import CARRIED_OUT, FAILURES, IN_PROGRESS, NOT_CARRIED_OUT, SUCCESS

__all__ = ["FAILURES", "SUCCESS"]  # named here too, for those who read reports

_RECEIPT = re.compile(r"[A-Z0-9]{10}")
#: Ways of writing a day, then the time after it.
_DAYS, _TIMES = ("%Y-%m-%d", "%d-%m-%Y", "%d.%m.%Y", "%d/%m/%Y"), ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M")
_STAMPS = ("%Y%m%d%H%M%S", *(f"{day} {time}" for day in _DAYS for time in _TIMES))
#: M-PESA is as old as this.
_FIRST_YEAR, _LAST_YEAR = 2007, 2999
#: Amounts have fewer digits than this, on either side of the point.
_DIGITS = 15


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


@dataclass(frozen=True)
class MoneyIn:
    """One transaction on our shortcode, as a confirmation, M-PESA's list or a statement tells it."""

    receipt: str
    amount: Decimal
    #: What the payer typed as account number, or what our prompt carried.
    reference: str | None
    at: datetime | None = None
    #: The payer's number as given: whole, masked or hashed.
    payer: str | None = None
    #: Money taken back; `reverses` is the receipt of the payment it undoes.
    is_reversal: bool = False
    reverses: str | None = None


class ResultOutcome(enum.Enum):
    DONE = "done"
    #: Not carried out.
    FAILED = "failed"
    #: More is to come.
    WAITING = "waiting"
    #: A code nobody has published.
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Result:
    """What a result posted for a reversal, a payout or a status question says. Anything may be missing."""

    outcome: ResultOutcome
    code: str | None = None
    text: str | None = None
    conversation_id: str | None = None
    originator_conversation_id: str | None = None
    transaction_id: str | None = None
    amount: Decimal | None = None
    receipt: str | None = None
    #: "Completed", "Reversed", "Declined" …
    transaction_status: str | None = None
    #: Digits of the payer's number.
    payer: str | None = None
    finished_at: datetime | None = None


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


def read_confirmation(body: bytes) -> MoneyIn | None:
    """Read a posted C2B confirmation, or the question before it; None for what names no receipt or amount."""
    told = parse(body)
    return _money(
        receipt=field_of(told, "TransID"),
        amount=field_of(told, "TransAmount"),
        reference=field_of(told, "BillRefNumber"),
        at=field_of(told, "TransTime"),
        payer=field_of(told, "MSISDN"),
    )


def read_validation(body: bytes) -> tuple[str, Decimal | None] | None:
    """The reference and the amount of a payment that is about to be made; None for what names no reference."""
    told = parse(body)
    reference = text_of(field_of(told, "BillRefNumber"))
    return None if reference is None else (reference, amount_of(field_of(told, "TransAmount")))


def read_pull_page(body: bytes) -> list[MoneyIn] | None:
    """One page of M-PESA's list of our transactions; empty past its end, None for what is no answer.

    How the rows are nested is told differently in different places, so both ways are read. A row whose type says
    "reversal" is taken to undo the receipt in its `billreference`: no such row has been published.
    """
    answer = parse(body)
    code = text_of(field_of(answer, "ResponseCode"))
    if code == "1001":
        return []
    if code != "1000":
        return None
    return [money for row in _rows(field_of(answer, "Response")) if (money := _listed(row)) is not None]


def count_listed(body: bytes) -> int:
    """How many rows such a page has, those that cannot be read included: so far on starts the next page."""
    return sum(1 for _ in _rows(field_of(parse(body), "Response")))


def _rows(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list, or in lists in it, in their order."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
        elif isinstance(one, list):
            waiting.extend(reversed(one))


def _listed(row: dict[str, Any]) -> MoneyIn | None:
    is_reversal = "reversal" in (text_of(row.get("transactiontype")) or "").lower()
    reference = text_of(row.get("billreference"))
    return _money(
        receipt=row.get("transactionId"),
        amount=row.get("amount"),
        reference=None if is_reversal else reference,
        at=row.get("trxDate"),
        payer=row.get("msisdn"),
        reverses=receipt_of(reference) if is_reversal else None,
        is_reversal=is_reversal,
    )


def _money(
    *,
    receipt: Any,
    amount: Any,
    reference: Any,
    at: Any,
    payer: Any,
    reverses: str | None = None,
    is_reversal: bool = False,
) -> MoneyIn | None:
    number, shillings = receipt_of(receipt), amount_of(amount)
    if number is None or shillings is None:
        return None
    return MoneyIn(number, shillings, text_of(reference), moment_of(at), text_of(payer), is_reversal, reverses)


def read_result(body: bytes) -> Result:
    """Read a posted Result, leniently and by name: codes are numbers or text, parameters repeat, or are one object."""
    result = field_of(parse(body), "Result")
    if not isinstance(result, dict):
        return Result(ResultOutcome.UNREADABLE)
    code, description = text_of(result.get("ResultCode")), result.get("ResultDesc")
    told = list(_parameters(result))

    def every(*names: str) -> Iterator[Any]:
        return (value for name, value in told if name in names)

    def first(*names: str) -> Any:
        return next(every(*names), None)

    return Result(
        outcome=_result_outcome(code, text_of(result.get("ResultType"))),
        code=code,
        text=text_of(description[:100] if isinstance(description, str) else description),
        conversation_id=text_of(result.get("ConversationID")),
        originator_conversation_id=text_of(result.get("OriginatorConversationID")),
        transaction_id=receipt_of(result.get("TransactionID")),
        amount=amount_of(first("Amount", "TransactionAmount")),
        receipt=receipt_of(first("ReceiptNo", "TransactionReceipt")),
        transaction_status=text_of(first("TransactionStatus")),
        # Published with two of these: the number of a shop, then that of a person.
        payer=next((number for name in every("DebitPartyName") if (number := _phone(name)) is not None), None),
        finished_at=moment_of(first("FinalisedTime", "TransactionCompletedDateTime", "TransCompletedTime")),
    )


def _result_outcome(code: str | None, kind: str | None) -> ResultOutcome:
    if code is None:
        return ResultOutcome.UNREADABLE
    if kind == "1" or code == IN_PROGRESS:
        return ResultOutcome.WAITING
    if code in CARRIED_OUT:
        return ResultOutcome.DONE
    return ResultOutcome.FAILED if code in NOT_CARRIED_OUT else ResultOutcome.UNKNOWN


def _parameters(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    listed = field_of(result.get("ResultParameters"), "ResultParameter")
    for one in listed if isinstance(listed, list) else [listed]:
        name = field_of(one, "Key")
        if isinstance(name, str) and "Value" in one:
            yield name, one["Value"]


def _phone(value: Any) -> str | None:
    """The number in front of "254712345678 - JANE DOE"; shortcodes have fewer digits."""
    number = re.match(r"[0-9]{9,15}(?![0-9])", text_of(value) or "")
    return number[0] if number else None


def _outcome(code: str | None) -> Outcome:
    if code is None:
        return Outcome.UNREADABLE
    if code == SUCCESS:
        return Outcome.PAID
    if code == IN_PROGRESS:
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


def receipt_of(value: Any) -> str | None:
    """A receipt number: ten capital letters and digits, on every one that Safaricom has published."""
    text = text_of(value) or ""
    return text if _RECEIPT.fullmatch(text) else None


def moment_of(value: Any) -> datetime | None:
    """An instant out of any way Safaricom writes one; always East Africa Time, whatever its Z says."""
    text = (text_of(value) or "").removesuffix("Z").replace("T", " ")
    for stamp in _STAMPS:
        try:
            moment = datetime.strptime(text, stamp).replace(tzinfo=clock.NAIROBI)
        except ValueError:
            continue
        return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None
    return None


def amount_of(value: Any) -> Decimal | None:
    """A number, however it was written; None for one that no payment has."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) < _DIGITS else None
