"""The referee itself: books in order, and books with one thing wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from daraja_simulator.store import SCHEMA
from models import Order, Refund, Ticket
from services import refunds
from tests.chaos.referee import Findings, judge
from tests.support import Maker, changed_settings
from utils import clock
from utils.database import db, transaction


class Books:
    """A ledger beside Ticksy's tables."""

    def __init__(self, path: Path, make: Maker, database_url: str) -> None:
        self.path, self.make, self.database_url = path, make, database_url
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA)

    def note(self, kind: str, receipt: str, amount: int, **more: str | None) -> None:
        row = {"receipt": receipt, "kind": kind, "phone": "254700000000", "amount": amount, "at": "2026-11-24"} | more
        with closing(sqlite3.connect(self.path)) as connection, connection:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO transactions ({names}) VALUES ({marks})", tuple(row.values()))

    def paid(self, *, quantity: int = 1) -> Order:
        """An order of 500 a ticket, paid in both books."""
        order = self.make.paid_order(quantity=quantity)
        self.note("stk", order.receipt or "", order.total_kes, reference=order.reference)
        return order

    def judge(self) -> Findings:
        return judge(self.path, self.database_url)

    def run(self, statement: str) -> None:
        with self.make.app.app_context(), transaction() as session:
            session.execute(text(statement))


@pytest.fixture
def books(tmp_path: Path, make: Maker, database_url: str) -> Books:
    return Books(tmp_path / "ledger.sqlite", make, database_url)


def test_books_in_order_are_clean(books: Books, make: Maker) -> None:
    books.paid(quantity=2)
    make.order(make.attendee())
    back = books.paid()
    with make.app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=back.id, ticket_ids=None)
    books.note("reversal", "UKN00000R1", 500, original_receipt=back.receipt)
    found = books.judge()
    assert found.is_clean, str(found)
    assert (found.ticketed, found.refunded, found.partly, found.unpaid) == (1, 1, 0, 1)


def test_a_part_that_went_back_is_found_by_the_payout_it_was(books: Books, make: Maker) -> None:
    order = books.paid(quantity=2)
    with make.app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=[order.tickets[0].id])
    _request_payout(books)
    books.note("b2c", "UKN00000B1", 500, originator_conversation_id="ours-1")
    found = books.judge()
    assert (found.is_clean, found.partly) == (True, 1), str(found)


def test_a_part_that_a_person_sent_is_found_by_the_receipt_they_wrote_down(books: Books, make: Maker) -> None:
    order = books.paid(quantity=2)
    with make.app.app_context():
        with changed_settings(make.app, MPESA_INITIATOR_NAME=""):
            refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=[order.tickets[0].id])
        [refund] = make.rows(Refund)
        refunds.note_sent_by_hand(actor=make.admin(), refund_id=refund.id, receipt="UKN00000B1")
    books.note("b2c", "UKN00000B1", 500)
    found = books.judge()
    assert (found.is_clean, found.partly) == (True, 1), str(found)
    books.note("b2c", "UKN00000B2", 500)  # once more, and nothing says what for
    assert books.judge().double == ["KES 500 were paid out to nobody's refund"]


def _request_payout(books: Books) -> None:
    """What asks Daraja for the only refund's money."""
    [refund] = books.make.rows(Refund)
    columns = "kind, refund_id, result_token_hash, originator_conversation_id, status, created_at"
    books.run(f"INSERT INTO mpesa_requests ({columns}) VALUES ('b2c', {refund.id}, 'x', 'ours-1', 'sent', now())")


def _pay_without_tickets(books: Books) -> None:
    order, _ = books.make.order()
    books.note("stk", "UKN0000001", 500, reference=order.reference)


def _pay_to_nobody(books: Books) -> None:
    books.note("c2b", "UKN0000001", 500, reference="KANISA")


def _keep_the_money_of_a_refund(books: Books) -> None:
    order = books.paid()
    with books.make.app.app_context():
        refunds.refund_order(actor=books.make.admin(), order_id=order.id, ticket_ids=None)


def _issue_for_nothing(books: Books) -> None:
    books.make.paid_order()


def _give_back_and_leave_the_ticket(books: Books) -> None:
    books.note("reversal", "UKN00000R1", 500, original_receipt=books.paid().receipt)


def _issue_twice(books: Books) -> None:
    order = books.paid()
    with books.make.app.app_context(), transaction() as session:
        ticket = session.get_one(Ticket, order.tickets[0].id)
        facts = {name: getattr(ticket, name) for name in ("order_id", "ticket_type_id", "price_kes", "first_name")}
        facts |= {"last_name": "", "email": "", "phone": "", "code": "TWIN", "issued_at": clock.now()}
        session.execute(db.insert(Ticket).values(**facts))


def _give_back_twice(books: Books) -> None:
    """Once as a reversal, once as a payout."""
    order = books.paid(quantity=2)
    with books.make.app.app_context():
        refunds.refund_order(actor=books.make.admin(), order_id=order.id, ticket_ids=[order.tickets[0].id])
    _request_payout(books)
    books.note("b2c", "UKN00000B1", 500, originator_conversation_id="ours-1")
    books.note("reversal", "UKN00000R1", 1000, original_receipt=order.receipt)


def _pay_out_to_nobody(books: Books) -> None:
    books.note("b2c", "UKN00000B1", 500, originator_conversation_id="nobodys")


def _sell_one_too_many(books: Books) -> None:
    _issue_twice(books)
    books.run("UPDATE ticket_types SET quantity = 1")


def _miscount(books: Books) -> None:
    books.paid()
    books.run("UPDATE ticket_types SET held = 1")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_pay_without_tickets, "lost"),
        (_pay_to_nobody, "lost"),
        (_keep_the_money_of_a_refund, "lost"),
        (_issue_for_nothing, "free"),
        (_give_back_and_leave_the_ticket, "free"),
        (_issue_twice, "double"),
        (_give_back_twice, "double"),
        (_pay_out_to_nobody, "double"),
        (_sell_one_too_many, "oversold"),
        (_miscount, "miscounted"),
    ],
)
def test_the_referee_names_what_is_wrong(books: Books, spoil: Callable[[Books], None], fault: str) -> None:
    spoil(books)
    found = books.judge()
    assert not found.is_clean
    assert len(found.faults[fault]) == 1, str(found)
    assert fault in str(found)
