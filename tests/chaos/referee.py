"""The referee: reads the simulator's ledger and Ticksy's tables, and asks neither how it explains them.

What people paid and got back is what the ledger says. What they have for it are tickets that are not void.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

#: As people type references; Ticksy's own reading of them is not asked.
_CONFUSED = str.maketrans("OILU", "011V")


@dataclass
class Findings:
    """Counts of orders, and what is wrong: one sentence each."""

    ticketed: int = 0
    refunded: int = 0
    unpaid: int = 0
    #: Money came and went back for a part of the tickets.
    partly: int = 0
    lost: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    oversold: list[str] = field(default_factory=list)
    #: `sold` and `held` are not what the rows add up to.
    miscounted: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, list[str]]:
        return {name: getattr(self, name) for name in ("lost", "free", "double", "oversold", "miscounted")}

    @property
    def is_clean(self) -> bool:
        return not any(self.faults.values())

    def __str__(self) -> str:
        lines = [
            f"  paid and ticketed      {self.ticketed:>6}",
            f"  paid, partly refunded  {self.partly:>6}",
            f"  paid and refunded      {self.refunded:>6}",
            f"  unpaid, ticketless     {self.unpaid:>6}",
            *(f"  {name.upper():<22} {len(found):>6}" for name, found in self.faults.items()),
        ]
        sentences = [f"  {name}: {one}" for name, found in self.faults.items() for one in found[:20]]
        return "\n".join(lines + sentences)


def judge(ledger: Path, database_url: str) -> Findings:
    """Compare the two books, once nothing moves any more."""
    findings = Findings()
    books = _Books(ledger, database_url)
    _check_receipts(books, findings)
    kept, came, strays = books.money_by_order()
    for receipt, amount in strays.items():
        findings.lost.append(f"KES {amount} of {receipt}, which names no order, are still with the shop")
    for order in books.orders:
        _check_order(order, books, kept[order["id"]], came[order["id"]], findings)
    _check_stock(books, findings)
    return findings


def _check_receipts(books: _Books, findings: Findings) -> None:
    for receipt, amount in books.came.items():
        if books.back[receipt] > amount:
            findings.double.append(f"{receipt}: KES {amount} came, {books.back[receipt]} went back")
    served = Counter(payment["receipt"] for payment in books.payments if payment["receipt"])
    findings.double += [f"{receipt} serves {count} payments" for receipt, count in served.items() if count > 1]
    findings.double += [f"KES {amount} were paid out to nobody's refund" for amount in books.stray_payouts]


def _check_order(order: dict[str, Any], books: _Books, kept: int, came: int, findings: Findings) -> None:
    tickets = books.live_tickets[order["id"]]
    worth = sum(ticket["price_kes"] for ticket in tickets)
    name = f"order {order['id']} ({order['status']})"
    if kept > worth:
        findings.lost.append(f"{name}: KES {kept} paid and kept, tickets worth {worth}")
    elif kept < worth:
        findings.free.append(f"{name}: tickets worth KES {worth}, {kept} paid and kept")
    held = Counter(ticket["ticket_type_id"] for ticket in tickets)
    for item in books.items[order["id"]]:
        if held[item["ticket_type_id"]] > item["quantity"]:
            findings.double.append(f"{name}: {held[item['ticket_type_id']]} tickets for {item['quantity']} places")
    if tickets:
        findings.partly += kept < came
        findings.ticketed += kept == came
    else:
        findings.refunded += came > 0
        findings.unpaid += came == 0


def _check_stock(books: _Books, findings: Findings) -> None:
    live = Counter(ticket["ticket_type_id"] for tickets in books.live_tickets.values() for ticket in tickets)
    held: Counter[int] = Counter()
    for order in books.orders:
        if order["status"] == "pending":
            held.update({item["ticket_type_id"]: item["quantity"] for item in books.items[order["id"]]})
    for one in books.ticket_types:
        name = f"ticket type {one['id']}"
        if live[one["id"]] > one["quantity"]:
            findings.oversold.append(f"{name}: {live[one['id']]} tickets for {one['quantity']} places")
        # Places of a cancelled event are nobody's: they are not given back.
        is_off = one["event_status"] == "cancelled"
        if (
            one["held"] != held[one["id"]]
            or one["sold"] < live[one["id"]]
            or (one["sold"] > live[one["id"]] and not is_off)
        ):
            findings.miscounted.append(
                f"{name}: sold {one['sold']}, held {one['held']}; the rows say {live[one['id']]}, {held[one['id']]}"
            )


class _Books:
    """Both books, read whole."""

    def __init__(self, ledger: Path, database_url: str) -> None:
        transactions = _read_ledger(ledger)
        url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg2.connect(url)) as connection:

            def rows(query: str) -> list[dict[str, Any]]:
                with connection.cursor() as cursor:
                    cursor.execute(query)
                    names = [column.name for column in cursor.description or ()]
                    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

            self.orders = rows("SELECT id, reference, status FROM orders ORDER BY id")
            self.payments = rows("SELECT id, order_id, receipt FROM payments")
            self.ticket_types = rows(
                "SELECT t.id, t.quantity, t.sold, t.held, e.status AS event_status"
                " FROM ticket_types t JOIN events e ON e.id = t.event_id"
            )
            payouts = rows(
                "SELECT q.originator_conversation_id AS id, p.receipt, p.order_id FROM mpesa_requests q"
                " JOIN refunds r ON r.id = q.refund_id JOIN payments p ON p.id = r.payment_id WHERE q.kind = 'b2c'"
            )
            by_hand = rows(
                "SELECT r.receipt AS id, p.receipt FROM refunds r JOIN payments p ON p.id = r.payment_id"
                " WHERE r.method = 'by_hand' AND r.status = 'done'"
            )
            self.live_tickets = _by_order(
                rows("SELECT order_id, ticket_type_id, price_kes FROM tickets WHERE status <> 'void'")
            )
            self.items = _by_order(rows("SELECT order_id, ticket_type_id, quantity FROM order_items"))
        self._incoming = [one for one in transactions if one["kind"] in ("stk", "c2b")]
        self.came: dict[str, int] = {one["receipt"]: one["amount"] for one in self._incoming}
        self.back: Counter[str] = Counter()
        self.stray_payouts: list[int] = []
        paid_out_of = {payout["id"]: payout["receipt"] for payout in payouts + by_hand}
        for one in transactions:
            if one["kind"] == "reversal":
                self.back[one["original_receipt"]] += one["amount"]
            elif one["kind"] == "b2c":
                receipt = paid_out_of.get(one["originator_conversation_id"] or one["receipt"])
                if receipt is None:
                    self.stray_payouts.append(one["amount"])
                else:
                    self.back[receipt] += one["amount"]

    def money_by_order(self) -> tuple[Counter[int], Counter[int], dict[str, int]]:
        """By order id: what its payers are still without, and what they paid. By receipt: what names no order."""
        named = {order["reference"]: order["id"] for order in self.orders}
        attached = {payment["receipt"]: payment["order_id"] for payment in self.payments if payment["receipt"]}
        kept, came, strays = Counter[int](), Counter[int](), dict[str, int]()
        for one in self._incoming:
            receipt, amount = one["receipt"], one["amount"]
            left = amount - self.back[receipt]
            order_id = named.get(_read_reference(one["reference"] or "")) or attached.get(receipt)
            if order_id is not None:
                kept[order_id] += left
                came[order_id] += amount
            elif left:
                strays[receipt] = left
        return kept, came, strays


def _read_reference(typed: str) -> str:
    return "".join(filter(str.isalnum, typed)).upper().translate(_CONFUSED)


def _by_order(rows: Sequence[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    grouped: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["order_id"]].append(row)
    return grouped


def _read_ledger(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM transactions ORDER BY rowid")]
