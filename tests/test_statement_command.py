"""`flask reconcile`: a statement exported from M-PESA's portal beside our books. The layout is as we take it to be."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from models import (
    MessageChannel,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    TicketStatus,
)
from services import paybill
from tests.support import Maker, new_receipt
from utils import clock
from utils.database import transaction
from utils.statement import COLUMNS, read_statement, read_stored_line, store_line

PREAMBLE = "Short Code:,174379\nTime Period:,01-11-2026 To 30-11-2026\n\n"
TITLES = [
    "Receipt No.",
    "Completion Time",
    "Initiation Time",
    "Details",
    "Transaction Status",
    "Paid In",
    "Withdrawn",
    "Balance",
    "Other Party Info",
    "A/C No.",
]


def line(receipt: str | None, *, at: datetime | None = None, **cells: object) -> list[str]:
    """A line of a statement; cells by title, with _ for what is no letter."""
    stamp = (at or clock.now()).astimezone(clock.NAIROBI).strftime("%d-%m-%Y %H:%M:%S")
    given = {"Receipt No.": receipt or "", "Completion Time": stamp, "Transaction Status": "Completed"}
    names = {title.replace(" ", "_").replace(".", "").replace("/", ""): title for title in TITLES}
    given |= {names[name]: str(value) for name, value in cells.items()}
    return [given.get(title, "") for title in TITLES]


def paid_in(order: Order, receipt: str | None = None, **cells: object) -> list[str]:
    facts: dict[str, object] = {
        "Paid_In": f"{order.total_kes:,}.00",
        "AC_No": order.reference,
        "Other_Party_Info": "254712345678 - JANE DOE",
        "Details": f"Pay Bill from 2547***678 - JANE DOE Acc. {order.reference}",
    }
    return line(receipt or order.receipt, **facts | cells)


def reversal(of: str, amount: int = 500, **cells: object) -> list[str]:
    facts: dict[str, object] = {"Details": f"Pay Bill Reversal of {of} to 0712345678", "Withdrawn": f"-{amount}.00"}
    return line(new_receipt(), **facts | cells)


class Office:
    """The person who runs the command."""

    def __init__(self, app: Flask, folder: Path) -> None:
        self.app, self.path = app, folder / "statement.csv"

    def run(self, *lines: list[str], options: tuple[str, ...] = ()) -> list[str]:
        """What the command prints about a file with these lines, an hour to each side of them."""
        edges = [
            line(new_receipt(), at=at, Details="Charge", Withdrawn=1) for at in (_hour_ago(), clock.ahead(hours=1))
        ]
        text = io.StringIO()
        csv.writer(text).writerows([TITLES, edges[0], *lines, edges[1], ["Total", "", ""]])
        return self.run_file((PREAMBLE + text.getvalue()).encode("utf-8-sig"), *options)

    def run_file(self, file: bytes, *options: str, exit_code: int = 0) -> list[str]:
        self.path.write_bytes(file)
        answer = self.app.test_cli_runner().invoke(args=["reconcile", str(self.path), *options])
        assert answer.exit_code == exit_code, answer.output
        return answer.output.splitlines()


def _hour_ago() -> datetime:
    return clock.ago(hours=1)


@pytest.fixture
def office(app: Flask, tmp_path: Path) -> Office:
    return Office(app, tmp_path)


def statements(make: Maker) -> list[MpesaMessage]:
    return [message for message in make.messages() if message.channel is MessageChannel.STATEMENT]


# ── Differences ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_agrees_is_no_difference_and_is_marked(office: Office, make: Maker) -> None:
    orders = [make.paid_order() for _ in range(2)]
    told = office.run(*[paid_in(order) for order in orders])
    assert told == ["4 lines, 0 differences.", "2 lines were new and have been settled."]
    assert all(payment.reconciled_at for payment in make.rows(Payment))
    assert office.run(*[paid_in(order) for order in orders])[-1].startswith("0 lines")


def test_a_dry_run_lists_and_changes_nothing(office: Office, make: Maker) -> None:
    order, _ = make.order()
    first, *rest = office.run(paid_in(order, "UKN0000AAA"), options=("--dry-run",))
    assert first.startswith("UKN0000AAA  in the statement, not ours: KES 500")
    assert order.reference in first
    assert rest == ["3 lines, 1 differences.", "Nothing was changed."]
    assert (make.status(order.id), make.messages()) == (OrderStatus.PENDING, [])


def test_money_only_the_statement_knows_pays_its_order(office: Office, make: Maker) -> None:
    order, _ = make.order()
    office.run(paid_in(order, "UKN0000AAA", AC_No=f" {order.reference.lower()} "))
    [payment] = make.payments(order.id)
    assert (payment.status, payment.receipt) == (PaymentStatus.PAID, "UKN0000AAA")
    assert payment.paid_through is MessageChannel.STATEMENT
    assert [message.verdict for message in statements(make)] == ["Adopt"]
    assert statements(make)[0].receipt == "UKN0000AAA"


def test_money_that_names_no_order_waits_for_a_person(office: Office, make: Maker) -> None:
    office.run(line("UKN0000AAA", Paid_In="KES 1,250.00", AC_No="KANISA"))
    [payment] = make.rows(Payment)
    assert (payment.status, payment.amount_kes, payment.typed_reference) == (PaymentStatus.QUARANTINED, 1250, "KANISA")


def test_another_amount_is_told_and_believed_by_nobody(office: Office, make: Maker) -> None:
    order = make.paid_order()
    told = office.run(paid_in(order, Paid_In="50.00"))
    assert told[0].startswith(f"{order.receipt}  the amount differs: KES 50.00 in the statement, KES 500 here")
    [payment] = make.payments(order.id)
    assert (payment.status, payment.reconciled_at) == (PaymentStatus.PAID, None)
    assert payment.note is not None


def test_what_only_we_know_is_told(office: Office, make: Maker) -> None:
    order = make.paid_order()
    without_receipt, _ = make.order()
    make.settle_query(without_receipt.payments[0].id, b'{"ResponseCode": "0", "ResultCode": "0"}')
    one, other, *_ = office.run()
    assert one.startswith(f"{order.receipt}  ours, not in the statement: payment {order.payments[0].id}")
    assert other.startswith("-           ours, without a receipt")


def test_what_lies_outside_the_statement_is_none_of_its_business(office: Office, make: Maker, app: Flask) -> None:
    for hours in (-3, 3):
        with clock.set_to(clock.ahead(hours=hours)):
            make.paid_order()
    assert office.run()[0] == "2 lines, 0 differences."


# ── Reversals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def by_status(order: Order) -> list[list[str]]:
    return [paid_in(order, Transaction_Status="Reversed")]


def by_name(order: Order) -> list[list[str]]:
    return [reversal(order.receipt or ""), paid_in(order)]


def by_receipt(order: Order) -> list[list[str]]:
    return [paid_in(order), line(order.receipt, Details="Pay Bill Reversal", Withdrawn=order.total_kes)]


@pytest.mark.parametrize("told_in", [by_status, by_name, by_receipt])
def test_a_reversal_there_takes_the_tickets_back_here(office: Office, make: Maker, told_in: object) -> None:
    order = make.paid_order()
    lines = told_in(order)  # type: ignore[operator]
    told = office.run(*lines, options=("--dry-run",))
    payment_id = order.payments[0].id
    assert told[0] == f"{order.receipt}  reversed in the statement, not here (payment {payment_id})"
    office.run(*lines)
    order = make.read_order(order.id)
    assert (order.status, order.payments[0].status) == (OrderStatus.REFUNDED, PaymentStatus.REVERSED)
    assert {ticket.status for ticket in order.tickets} == {TicketStatus.VOID}
    assert office.run(*lines)[-2:] == [
        f"{len(lines) + 2} lines, 0 differences.",
        "0 lines were new and have been settled.",
    ]


def test_a_reversal_of_our_own_ends_its_refund(office: Office, make: Maker) -> None:
    refund = make.failed_refund()
    [payment] = make.rows(Payment)
    order = make.read_order(payment.order_id or 0)
    told = office.run(paid_in(order, payment.receipt), reversal(payment.receipt or ""))
    assert told[0].endswith(f"its refund here is refund_failed (payment {payment.id})")
    assert [one.status for one in make.rows(Refund)] == [RefundStatus.DONE]
    assert make.status(order.id) is OrderStatus.REFUNDED
    assert refund.id == make.rows(Refund)[0].id


def test_money_that_came_and_went_is_settled_in_that_order(office: Office, make: Maker) -> None:
    order, _ = make.order()
    office.run(reversal("UKN0000AAA"), paid_in(order, "UKN0000AAA"))
    assert [payment.status for payment in make.payments(order.id)] == [PaymentStatus.REVERSED]


def test_what_went_back_here_and_not_there_is_told(office: Office, make: Maker, app: Flask) -> None:
    reversed_ = make.paid_order()
    refund = make.failed_refund()
    with app.app_context(), transaction() as session:
        paybill.take_back(reversed_.receipt or "", channel=MessageChannel.RESULT)
        session.execute(update(Refund).values(status=RefundStatus.DONE, done_at=clock.now()))
    refunded = make.rows(Payment)[1]
    order = make.read_order(refunded.order_id or 0)
    told = office.run(paid_in(reversed_), paid_in(order, refunded.receipt))
    assert told[0].startswith(f"{reversed_.receipt}  reversed here, not in the statement")
    assert told[1].startswith(f"{refunded.receipt}  refunded here, not there: refund {refund.id}, KES 500")
    assert told[2] == "4 lines, 2 differences."


def test_a_reversal_of_nothing_we_know_is_told_and_not_kept(office: Office, make: Maker) -> None:
    told = office.run(reversal("UKN0000ZZZ"))
    assert told[0].endswith("a reversal in the statement, of nothing we know: KES 500.00")
    assert statements(make) == []


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_files_of_any_program_are_read(office: Office, make: Maker, encoding: str) -> None:
    text = f"{','.join(TITLES)}\n{','.join(line('UKN0000AAA', Paid_In=10, AC_No='KANISA', Details='Café'))}\n"
    assert office.run_file(text.encode(encoding))[-1].startswith("1 lines were new")
    assert [payment.receipt for payment in make.rows(Payment)] == ["UKN0000AAA"]


@pytest.mark.parametrize(
    "file", [b"", b"%PDF-1.7\x00\xff", b"Receipt No.,Amount\nUKN0000AAA,5\n", b'"never closed'], ids=str
)
def test_an_unknown_layout_is_refused_with_what_it_lacks(office: Office, make: Maker, file: bytes) -> None:
    told = " ".join(office.run_file(file, exit_code=1))
    assert "Missing:" in told
    assert "Completion Time" in told
    assert make.messages() == []


def test_the_refusal_says_what_was_found(office: Office) -> None:
    told = " ".join(office.run_file(b"Receipt No.,Amount\nUKN0000AAA,5\n", exit_code=1))
    assert "Found: Receipt No., Amount" in told
    assert set(COLUMNS.values()) <= set(TITLES)


@pytest.mark.parametrize("cells", [{"Paid_In": "1,500.00"}, {"Withdrawn": "-20", "Details": "Reversal of UKN0000ZZZ"}])
def test_a_line_that_is_kept_reads_back_as_it_was(cells: dict[str, object]) -> None:
    text = io.StringIO()
    moment = clock.now().replace(microsecond=0) - timedelta(days=1)
    csv.writer(text).writerows([TITLES, line("UKN0000AAA", at=moment, AC_No="ABC", **cells)])
    [read] = read_statement(text.getvalue())
    assert read.money is not None
    assert read.at == moment
    assert read_stored_line(store_line(read.money)) == [read.money]
