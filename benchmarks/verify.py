"""After every run: do stock, orders, payments, tickets and the simulator's money agree with each other?

Written in SQL against the tables, without asking Ticksy's code how it explains them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

#: A sentence for each row found, and there should be none.
CHECKS = {
    "more sold and held than there is": """
        SELECT format('ticket type %s: %s sold, %s held of %s', id, sold, held, quantity)
        FROM ticket_types WHERE sold + held > quantity""",
    "more tickets than places": """
        SELECT format('ticket type %s: %s tickets for %s places', t.id, count(*), t.quantity)
        FROM ticket_types t JOIN tickets k ON k.ticket_type_id = t.id AND k.status <> 'void'
        GROUP BY t.id HAVING count(*) > t.quantity""",
    "sold is not what there are tickets of": """
        SELECT format('ticket type %s: sold %s, tickets %s', t.id, t.sold, coalesce(k.count, 0))
        FROM ticket_types t LEFT JOIN
            (SELECT ticket_type_id, count(*) FROM tickets WHERE status <> 'void' GROUP BY 1) k
            ON k.ticket_type_id = t.id
        WHERE t.sold <> coalesce(k.count, 0)""",
    "held is not what open orders want": """
        SELECT format('ticket type %s: held %s, open orders want %s', t.id, t.held, coalesce(w.places, 0))
        FROM ticket_types t LEFT JOIN
            (SELECT i.ticket_type_id, sum(i.quantity) AS places FROM order_items i
             JOIN orders o ON o.id = i.order_id AND o.status = 'pending' GROUP BY 1) w ON w.ticket_type_id = t.id
        WHERE t.held <> coalesce(w.places, 0)""",
    "paid, but not with its tickets": """
        SELECT format('order %s: %s tickets, paid for %s of type %s',
            o.id, coalesce(k.count, 0), i.quantity, i.ticket_type_id)
        FROM orders o JOIN order_items i ON i.order_id = o.id LEFT JOIN
            (SELECT order_id, ticket_type_id, count(*) FROM tickets WHERE status <> 'void' GROUP BY 1, 2) k
            ON k.order_id = o.id AND k.ticket_type_id = i.ticket_type_id
        WHERE o.status = 'paid' AND coalesce(k.count, 0) <> i.quantity""",
    "tickets of an order that is not paid": """
        SELECT format('order %s is %s, and has %s tickets', o.id, o.status, count(*))
        FROM orders o JOIN tickets k ON k.order_id = o.id AND k.status <> 'void'
        WHERE o.status NOT IN ('paid', 'partly_refunded') GROUP BY o.id""",
    "paid without the money": """
        SELECT format('order %s: KES %s due, %s paid', o.id, o.total_kes, coalesce(p.paid, 0))
        FROM orders o LEFT JOIN
            (SELECT order_id, sum(amount_kes) AS paid FROM payments WHERE status = 'paid' GROUP BY 1) p
            ON p.order_id = o.id
        WHERE o.status = 'paid' AND coalesce(p.paid, 0) <> o.total_kes""",
    "money without tickets or a refund": """
        SELECT format('payment %s is paid, its order %s is %s', p.id, o.id, o.status)
        FROM payments p JOIN orders o ON o.id = p.order_id
        WHERE p.status = 'paid' AND o.status NOT IN ('paid', 'refund_due', 'refunded', 'partly_refunded')""",
    "a refund that is due, but not on its way": """
        SELECT format('order %s is due a refund, and has none', o.id) FROM orders o
        WHERE o.status = 'refund_due' AND NOT EXISTS (SELECT FROM refunds r WHERE r.order_id = o.id)""",
}


def find_faults(connection: Any, ledgers: Sequence[Path]) -> list[str]:
    """What does not agree, a sentence each. Of a database at rest; `connection` is psycopg2's."""
    faults = []
    with connection.cursor() as cursor:
        for name, query in CHECKS.items():
            cursor.execute(query)
            faults += [f"{name}: {sentence}" for (sentence,) in cursor.fetchall()]
        cursor.execute("SELECT receipt, amount_kes, status FROM payments WHERE receipt IS NOT NULL")
        known = {receipt: (amount, status) for receipt, amount, status in cursor.fetchall()}
    came = {receipt: amount for ledger in ledgers for receipt, amount in _money_that_came(ledger)}
    for receipt, amount in came.items():
        booked, status = known.get(receipt, (0, "unknown here"))
        # What a person has to look at is not lost: it is kept, and nothing was given for it.
        if status not in ("paid", "quarantined", "reversed") or booked != amount:
            faults.append(
                f"money that came and was not taken in: {receipt}, KES {amount}, is {status} with KES {booked}"
            )
    for receipt in known.keys() - came.keys():
        if known[receipt][1] == "paid":
            faults.append(f"paid with money that never came: {receipt}")
    return faults


def is_money_in(database_url: str, ledger: Path) -> bool:
    """Whether all that phones paid at a simulator is known: what no callback told, M-PESA's list tells later."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT receipt FROM payments WHERE receipt IS NOT NULL")
        known = {receipt for (receipt,) in cursor.fetchall()}
    return all(receipt in known for receipt, _ in _money_that_came(ledger))


def _money_that_came(ledger: Path) -> list[tuple[str, int]]:
    """What a simulator says that phones paid to the shop."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)) as books:
        return books.execute("SELECT receipt, amount FROM transactions WHERE kind IN ('stk', 'c2b')").fetchall()


def judge(database_url: str, ledgers: Sequence[Path]) -> list[str]:
    """`find_faults` of a libpq address."""
    with closing(psycopg2.connect(database_url)) as connection:
        return find_faults(connection, ledgers)
