"""Reading the statement that M-PESA's organisation portal exports, in every way it may have been saved."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from utils import clock
from utils.mpesa_reports import MoneyIn
from utils.statement import COLUMNS, StatementLine, UnknownLayout, decode, read_statement

HEADER = (
    "Receipt No.,Completion Time,Initiation Time,Details,Transaction Status,Paid In,Withdrawn,Balance,"
    "Balance Confirmed,Reason Type,Other Party Info,Linked Transaction ID,A/C No."
)
PREAMBLE = "Short Code:,174379\nOrganization Name:,Ticksy\n\nTime Period:,From 01-09-2026 To 02-09-2026\n"
PAID = (
    "UI1AB2CD3E,01-09-2026 14:30:05,01-09-2026 14:30:00,Pay Bill from 2547***678 - JANE DOE Acc. TIX7K3QPM2,Completed,"
    '"1,500.00",,"51,500.00",true,Pay Bill,2547***678 - JANE DOE,,TIX7K3QPM2'
)
CHARGE = (
    'UI1AB2CD3E,01-09-2026 14:30:05,01-09-2026 14:30:00,Pay merchant Charge,Completed,,-8.25,"51,491.75",true,Charge,,,'
)


def with_amount(cell: str) -> str:
    return PAID.replace('"1,500.00"', cell)


LINE = StatementLine(
    receipt="UI1AB2CD3E",
    at=datetime(2026, 9, 1, 14, 30, 5, tzinfo=clock.NAIROBI),
    details="Pay Bill from 2547***678 - JANE DOE Acc. TIX7K3QPM2",
    status="Completed",
    paid_in=Decimal(1500),
    withdrawn=Decimal(0),
    other_party="2547***678 - JANE DOE",
    account="TIX7K3QPM2",
    line_number=6,
)


def test_lines_stand_below_a_preamble_and_a_header() -> None:
    paid, charge = read_statement(f"{PREAMBLE}{HEADER}\n{PAID}\n{CHARGE}\n")
    assert paid == LINE
    assert (charge.withdrawn, charge.paid_in, charge.line_number) == (Decimal("8.25"), Decimal(0), 7)


def test_money_is_what_was_paid_in() -> None:
    paid, charge = read_statement(f"{HEADER}\n{PAID}\n{CHARGE}\n")
    assert paid.money == MoneyIn("UI1AB2CD3E", Decimal(1500), "TIX7K3QPM2", LINE.at, "2547***678")
    assert charge.money is None
    [failed] = read_statement(f"{HEADER}\n{PAID.replace('Completed', 'Declined')}\n")
    assert failed.money is None


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        lambda header: header.replace(".", ""),
        lambda header: header.replace(" ", "_"),
        lambda header: header.replace(",", " , "),
        lambda header: header.replace("A/C No.", "AC No"),
        lambda header: "\ufeff" + header,
        lambda header: '"' + header.replace(",", '","') + '"',
    ],
    ids=range(8),
)
def test_columns_are_known_by_name_however_it_is_written(change: object) -> None:
    header = change(HEADER)  # type: ignore[operator]
    assert [line.receipt for line in read_statement(f"{header}\n{PAID}\n")] == ["UI1AB2CD3E"]


def test_columns_may_stand_in_any_order() -> None:
    order = list(reversed(COLUMNS.values()))
    cells = dict(zip(COLUMNS.values(), ("UI1AB2CD3E", "2026-09-01 14:30:05", "x", "", "5", "", "", "A"), strict=True))
    [line] = read_statement(f"{','.join(order)}\n{','.join(cells[title] for title in order)}\n")
    assert (line.receipt, line.paid_in, line.account, line.at) == ("UI1AB2CD3E", Decimal(5), "A", LINE.at)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_end_as_any_program_ends_them(newline: str) -> None:
    text = f"{PREAMBLE}{HEADER}\n{PAID}\n".replace("\n", newline)
    for file in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), text.encode("latin-1")):
        assert read_statement(decode(file)) == [LINE]


def test_what_is_no_transaction_is_passed_over() -> None:
    others = ["", HEADER, "Total,,,,,1500.00,8.25", ",,,,,,,,,,,,", "Page 1 of 2", "receipt,x"]
    assert len(read_statement("\n".join([HEADER, *others, PAID, *others]))) == 1


@pytest.mark.parametrize(
    "stamp",
    ["01-09-2026 14:30:05", "01/09/2026 14:30:05", "1/9/2026 14:30:05", "01.09.2026 14:30:05", "2026-09-01T14:30:05"],
)
def test_the_day_comes_first_or_the_year(stamp: str) -> None:
    [line] = read_statement(f"{HEADER}\n{PAID.replace('01-09-2026 14:30:05', stamp)}\n")
    assert line.at == LINE.at


def test_a_program_may_have_dropped_the_seconds() -> None:
    [line] = read_statement(f"{HEADER}\n{PAID.replace('01-09-2026 14:30:05', '01/09/2026 14:30')}\n")
    assert line.at == datetime(2026, 9, 1, 14, 30, tzinfo=clock.NAIROBI)


@pytest.mark.parametrize(
    ("cell", "amount"),
    [
        ("1500", "1500"),
        ('"1,500.00"', "1500"),
        ("KES 1500.50", "1500.5"),
        ("Ksh1500", "1500"),
        ("-1500.00", "1500"),
        ("(1500.00)", "1500"),
        ("1 500.00", "1500"),
        ("", "0"),
        ("-", "0"),
    ],
)
def test_an_amount_is_read_however_it_is_written(cell: str, amount: str) -> None:
    [line] = read_statement(f"{HEADER}\n{with_amount(cell)}\n")
    assert line.paid_in == Decimal(amount)


def test_an_amount_that_cannot_be_read_is_not_taken_for_nothing() -> None:
    with pytest.raises(UnknownLayout) as refused:
        read_statement(f"{HEADER}\n{with_amount('many')}\n")
    assert (refused.value.found, refused.value.missing) == (["many"], ["an amount in Paid In of line 2"])


def test_a_file_of_another_layout_says_what_it_has_and_lacks() -> None:
    with pytest.raises(UnknownLayout) as refused:
        read_statement("Statement,of today\nReceipt No.,Date,Paid In\nUI1AB2CD3E,today,5\n")
    assert refused.value.found == ["Receipt No.", "Date", "Paid In"]
    assert set(refused.value.missing) == set(COLUMNS.values()) - {"Receipt No.", "Paid In"}
