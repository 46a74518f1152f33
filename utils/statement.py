"""The statement that M-PESA's organisation portal exports as CSV.

No real file was at hand: the columns are known by name, so they are found by name, below whatever stands above them.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from utils.mpesa_reports import MoneyIn, amount_of, field_of, moment_of, parse, receipt_of, text_of

_RECEIPT, _TIME, _DETAILS, _STATUS = "receiptno", "completiontime", "details", "transactionstatus"
_IN, _OUT, _OTHER, _ACCOUNT = "paidin", "withdrawn", "otherpartyinfo", "acno"
COLUMNS = {
    _RECEIPT: "Receipt No.",
    _TIME: "Completion Time",
    _DETAILS: "Details",
    _STATUS: "Transaction Status",
    _IN: "Paid In",
    _OUT: "Withdrawn",
    _OTHER: "Other Party Info",
    _ACCOUNT: "A/C No.",
}
#: Lines above the header at most.
_PREAMBLE = 50


class UnknownLayout(ValueError):
    """The file has not the columns we know. `found` are those it has, `missing` those it lacks."""

    def __init__(self, found: list[str], missing: list[str]) -> None:
        self.found, self.missing = found, missing
        super().__init__(
            "This is not a statement as we know it."
            f" Missing: {', '.join(missing)}. Found: {', '.join(found) or 'nothing'}."
        )


@dataclass(frozen=True)
class StatementLine:
    """One transaction. Amounts are shillings, `withdrawn` without its sign."""

    receipt: str
    at: datetime | None
    details: str
    status: str
    paid_in: Decimal
    withdrawn: Decimal
    other_party: str
    account: str
    line_number: int

    @property
    def is_complete(self) -> bool:
        return self.status.lower() in ("completed", "complete", "")

    @property
    def reverses(self) -> str | None:
        """The receipt of the payment this line takes back.

        As we take it, since no statement with a reversal was at hand: a payment whose own status is "Reversed"; or a
        completed withdrawal whose details speak of a reversal. That undoes the receipt its details name, or else the
        payment that has the same receipt as itself.
        """
        if self.status.lower() == "reversed":
            return self.receipt
        if not self.is_complete or self.withdrawn <= 0 or "revers" not in self.details.lower():
            return None
        # Receipts begin with the letter of their year; phone numbers have ten digits, and some words ten letters.
        named = re.findall(r"\b[A-Z][A-Z0-9]{9}\b", self.details)
        return next((one for one in named if one != self.receipt and re.search(r"\d", one)), self.receipt)

    @property
    def money(self) -> MoneyIn | None:
        """What it tells of money that came or was taken back; None for charges, payouts and what failed."""
        reverses = self.reverses
        if reverses is not None:
            amount = self.withdrawn or self.paid_in
            return MoneyIn(self.receipt, amount, None, self.at, None, is_reversal=True, reverses=reverses)
        if not self.is_complete or self.paid_in <= 0:
            return None
        payer = re.match(r"[\d*]{6,15}", self.other_party)
        return MoneyIn(self.receipt, self.paid_in, self.account or None, self.at, payer[0] if payer else None)


def decode(file: bytes) -> str:
    """The text of a file, whatever program wrote it."""
    if file.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return file.decode("utf-16", errors="replace")
    try:
        return file.decode("utf-8-sig")
    except UnicodeDecodeError:
        return file.decode("latin-1")


def read_statement(text: str) -> list[StatementLine]:
    """Every transaction in the file, in its order. Raises UnknownLayout."""
    try:
        rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))
    except csv.Error:
        raise UnknownLayout([], list(COLUMNS.values())) from None
    header_at, columns = _find_header(rows)
    lines = []
    for number, row in enumerate(rows[header_at + 1 :], start=header_at + 2):
        cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
        receipt = receipt_of(cells[_RECEIPT])
        if receipt is None:  # totals, blank lines, page numbers
            continue
        lines.append(
            StatementLine(
                receipt=receipt,
                at=moment_of(cells[_TIME]),
                details=cells[_DETAILS],
                status=cells[_STATUS],
                paid_in=_shillings(cells, _IN, number),
                withdrawn=_shillings(cells, _OUT, number),
                other_party=cells[_OTHER],
                account=cells[_ACCOUNT],
                line_number=number,
            )
        )
    return lines


def _find_header(rows: list[list[str]]) -> tuple[int, dict[str, int]]:
    best: tuple[int, dict[str, int], list[str]] = (0, {}, [])
    for at, row in enumerate(rows[:_PREAMBLE]):
        named = {_plain(cell): index for index, cell in enumerate(row)}
        columns = {name: named[name] for name in COLUMNS if name in named}
        if len(columns) > len(best[1]) or not best[2]:
            best = (at, columns, [cell.strip() for cell in row if cell.strip()])
    at, columns, found = best
    if len(columns) < len(COLUMNS):
        raise UnknownLayout(found, [title for name, title in COLUMNS.items() if name not in columns])
    return at, columns


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.lower())


def _shillings(cells: dict[str, str], name: str, line_number: int) -> Decimal:
    """Without its sign; 0 for an empty cell. Raises UnknownLayout: an amount taken for nothing would be lost."""
    digits = re.sub(r"[,\s()]|KES|KSH", "", cells[name], flags=re.IGNORECASE)
    if digits in ("", "-"):
        return Decimal(0)
    amount = amount_of(digits)
    if amount is None:
        raise UnknownLayout([cells[name]], [f"an amount in {COLUMNS[name]} of line {line_number}"])
    return abs(amount)


def store_line(money: MoneyIn) -> bytes:
    """What the inbox keeps of a line."""
    return json.dumps(
        {
            "receipt": money.receipt,
            "amount": str(money.amount),
            "reference": money.reference,
            "at": money.at.strftime("%Y%m%d%H%M%S") if money.at else None,
            "payer": money.payer,
            "reverses": money.reverses,
        }
    ).encode()


def read_stored_line(body: bytes) -> list[MoneyIn]:
    """What `store_line` kept."""
    told = parse(body)
    receipt, amount = receipt_of(field_of(told, "receipt")), amount_of(field_of(told, "amount"))
    if receipt is None or amount is None:
        return []
    reverses = receipt_of(field_of(told, "reverses"))
    return [
        MoneyIn(
            receipt,
            amount,
            text_of(field_of(told, "reference")),
            moment_of(field_of(told, "at")),
            text_of(field_of(told, "payer")),
            reverses is not None,
            reverses,
        )
    ]
