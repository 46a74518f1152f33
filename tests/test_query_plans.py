"""How PostgreSQL finds what is asked for in a large database: never by reading all of a table that grows.

What is hot is done once, through the real addresses and the worker's real tasks, on a database with the past of a busy
platform, and each statement is explained. What reads much by nature is listed, with the reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, select, text, update
from sqlalchemy import event as sqlalchemy_event
from werkzeug.test import TestResponse

import tasks
from app import create_app
from benchmarks import seeding
from models import Event, EventStatus, Order, OrderStatus, Ticket, TicketStatus, TicketType, User
from services import booking
from services.booking import Line
from tests.conftest import TEMPLATE, _create_database, _settings, _url_of
from tests.daraja.process import Simulator
from tests.gates import SCANS, new_nonce
from tests.passing_on import CHANNELS
from tests.support import PASSWORD, bearer, cart, new_receipt, open_session, success
from utils import clock
from utils.database import Base, db
from utils.security import hash_password

EVENTS, ORDERS = 2_500, 20_000
#: Others have one row each; or none, most of the time, since what is in it is dealt with and removed.
GROWING = {table.name for table in Base.metadata.sorted_tables} - {"mpesa_access", "mpesa_line", "reset_requests"}
#: A table of fewer rows is read whole, whatever its indexes: then it is asked how it would be if that cost much more.
FEW_ROWS = 10_000
#: Rows of one table that one statement may look at. A page has 100, a sweep takes 500; tables have tens of thousands.
MOST_ROWS = 1_500

#: Why some look at much.
_COUNTED = "an admin's list says in X-Total-Count how long it is"
_PART_OF_A_WORD = "a part of a word may begin anywhere in it"
_LOWEST = "what an event costs at least is worked out from its ticket types, for all that are on"
_ITS_EVENT = "as much as the event has, which its organizer asks for"
_OWN_SALES = "adds up all tickets that its organizer ever sold"
_ALL_SALES = "adds up all tickets that were ever sold"
#: What looks at much of a table by nature: at which, and why that is right.
WHOLE: dict[str, tuple[set[str], str]] = {
    "/events?page=6": ({"events"}, "a late page passes over all before it"),
    "/events?location=nairobi": ({"events"}, _PART_OF_A_WORD),
    "/events?max_price=200": ({"ticket_types"}, _LOWEST),
    "/events?sort=cheapest": ({"events", "ticket_types"}, _LOWEST),
    "/admin/users": ({"users"}, _COUNTED),
    "/admin/users?q=kamau": ({"users"}, _PART_OF_A_WORD),
    "/admin/users?role=organizer": ({"users"}, "there are few who are not attendees, and an admin asks"),
    "/admin/logs": ({"audit_log"}, _COUNTED),
    "/admin/logs?action=event_created": ({"audit_log"}, _COUNTED),
    "/admin/orders": ({"orders", "ticket_types"}, _COUNTED),
    "/admin/orders?status=paid": ({"orders", "ticket_types"}, _COUNTED),
    "/admin/payments": ({"payments"}, _COUNTED),
    "/admin/notifications": ({"notifications"}, _COUNTED),
    "/organizer/overview": ({"orders", "tickets"}, _OWN_SALES),
    "/organizer/overview?from={was}&to={day}": ({"tickets"}, _OWN_SALES),
    "/organizer/stats": ({"tickets"}, _OWN_SALES),
    "/organizer/stats?from={was}&to={day}": ({"tickets"}, _OWN_SALES),
    "/events/{event}/refunds": ({"orders"}, _ITS_EVENT),
    "/events/{event}/attendees/export": ({"orders", "payments", "tickets"}, _ITS_EVENT),
    "/organizer/events/{event}/attendees": ({"tickets"}, _ITS_EVENT),
    "/organizer/events/{event}/attendees?page=1": ({"tickets"}, _ITS_EVENT),
    "/organizer/events/{event}/attendees?page=1&q=mwangi9": ({"tickets"}, _ITS_EVENT),
    "/organizer/events/{event}/transfers": ({"tickets"}, _ITS_EVENT),
    "/admin/dashboard": ({"users", "events", "orders", "tickets"}, _ALL_SALES),
    "/admin/analytics/summary": ({"users", "events", "orders", "tickets"}, _ALL_SALES),
    "/admin/analytics/ticket-sales-trends": ({"tickets"}, "adds up all tickets of a year"),
    "/admin/analytics/revenue-by-ticket-type": ({"tickets", "ticket_types"}, _ALL_SALES),
    "/admin/analytics/top-events-by-revenue": ({"tickets", "ticket_types"}, _ALL_SALES),
    "/admin/analytics/top-event-types": ({"events"}, "counts all events"),
    "/admin/reports": ({"events", "orders", "ticket_types", "tickets"}, _ALL_SALES),
    "/admin/reports?start_date={was}&end_date={day}": (
        {"events", "orders", "ticket_types", "tickets"},
        "adds up all that was sold in a month",
    ),
    "announce availability": ({"events", "ticket_types"}, "compares all that is on sale with what it was"),
}


# ── A large database ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Large:
    """An app on a large database, and people and things in it."""

    app: Flask
    people: Mapping[str, User]
    headers: Mapping[str, dict[str, str]]
    #: Parts of addresses.
    names: Mapping[str, Any]
    #: Of the event most orders are for, and a free one of another.
    types: list[TicketType]

    def ask(self, who: str, method: str, path: str, **more: Any) -> TestResponse:
        path = path.format(**self.names)
        answer = self.app.test_client().open(path, method=method, headers=self.headers[who], buffered=True, **more)
        assert answer.status_code in (200, 201), answer.text
        return answer

    def order(self, kind: int = 0) -> tuple[int, str]:
        """A new order whose prompt was not sent, and the secret of its callback address."""
        with self.app.app_context():
            buyer, line = self.people["buyer"], Line(self.types[kind].id, 1)
            placed = booking.place_order(actor=buyer, phone=f"2541{next(_numbers):08d}", lines=[line])
            return placed.order_id, placed.prompt.token if placed.prompt else ""


_numbers = iter(range(10_000_000, 99_999_999))


@pytest.fixture(scope="module")
def large(worker_id: str, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    server, name = os.environ["TEST_DATABASE_URL"], f"ticksy_large_{worker_id}"
    _create_database(server, name, TEMPLATE)
    url = _url_of(server, name)
    seeding.fill(url, events=EVENTS, orders=ORDERS)
    uploads = str(tmp_path_factory.mktemp("uploads"))
    more = {
        "RATELIMIT_ENABLED": "true",
        "OPEN_ORDERS_PER_EVENT": "100",
        "REQUIRE_VERIFIED_EMAIL": "false",
        "ALERT_URL": "http://127.0.0.1:9",
    } | CHANNELS
    app = create_app(_settings(url, MPESA_BASE_URL=simulator.url, UPLOAD_DIR=uploads, **more))
    with app.app_context():
        yield _look_round(app)
        db.engine.dispose()


def _look_round(app: Flask) -> Large:
    session = db.session
    today = session.scalars(
        select(Event)
        .where(Event.status == EventStatus.APPROVED, Event.starts_at > clock.now(), Event.id != seeding.HOT_EVENT_ID)
        .order_by(Event.starts_at)
    ).first()
    assert today is not None
    # Its gates are open.
    session.execute(update(Event).where(Event.id == today.id).values(starts_at=clock.ago(hours=1)))
    buyer_id = session.scalar(
        text(
            """SELECT buyer_id FROM orders JOIN users ON users.id = buyer_id
            WHERE event_id = :event AND orders.status = 'paid' AND users.status = 'active'
            GROUP BY buyer_id ORDER BY count(*) DESC, buyer_id LIMIT 1"""
        ),
        {"event": today.id},
    )
    paid = select(Order).where(Order.buyer_id == buyer_id, Order.status == OrderStatus.PAID, Order.total_kes > 0)
    order = session.scalars(paid.order_by(Order.event_id != today.id)).first()
    assert order is not None
    ids = {"admin": seeding.ADMIN_ID, "organizer": seeding.ORGANIZER_ID, "host": today.organizer_id, "buyer": buyer_id}
    people = {name: session.get_one(User, one) for name, one in ids.items()}
    people["buyer"].password_hash = hash_password(PASSWORD)
    ticket = session.scalars(select(Ticket).where(Ticket.order_id == order.id)).first()
    assert ticket is not None
    names = {
        "event": seeding.HOT_EVENT_ID,
        "today": today.id,
        "order": order.id,
        "poll_id": order.poll_id,
        "code": ticket.code,
        "payment": session.scalar(text("SELECT max(id) FROM payments WHERE order_id = :id"), {"id": order.id}),
        "phone": people["buyer"].phone,
        "soon": clock.ahead(days=20).date(),
        "later": clock.ahead(days=30).date(),
        "was": clock.ago(days=30).date(),
        "day": clock.ago(days=2).date(),
    }
    of_hot = select(TicketType).where(TicketType.event_id == names["event"]).order_by(TicketType.id)
    is_open = (Event.status == EventStatus.APPROVED, Event.starts_at > clock.now())
    free = select(TicketType).join(TicketType.event).where(*is_open, TicketType.price_kes == 0).limit(1)
    types = [*session.scalars(of_hot), session.scalars(free).one()]
    session.commit()
    session.expunge_all()
    headers = {"nobody": {}} | {name: bearer(app, user) for name, user in people.items()}
    return Large(app, people, headers, names, types)


# ── What is hot ───────────────────────────────────────────────────────────────────────────────────────────────────

READS = [
    ("nobody", "/events"),
    ("nobody", "/events?page=6"),
    ("nobody", "/events?q=jazz"),
    ("nobody", "/events?q=simba22"),
    ("nobody", "/events?category=music"),
    ("nobody", "/events?location=nairobi"),
    ("nobody", "/events?from={soon}&to={later}"),
    ("nobody", "/events?max_price=200"),
    ("nobody", "/events?sort=newest"),
    ("nobody", "/events?sort=cheapest"),
    ("nobody", "/events/{event}"),
    ("nobody", "/events/{event}/availability"),
    ("nobody", "/events/{event}/tickets"),
    ("nobody", "/events/{event}/reviews"),
    ("nobody", "/events/{event}/calendar.ics"),
    ("nobody", "/payments/check/{poll_id}"),
    ("nobody", "/ready"),
    ("buyer", "/events/{today}"),
    ("buyer", "/orders"),
    ("buyer", "/orders/{order}"),
    ("buyer", "/my-tickets"),
    ("buyer", "/tickets/{code}"),
    ("buyer", "/tickets/check?code={code}"),
    ("buyer", "/orders/{order}/tickets.pdf"),
    ("buyer", "/my-saved-events"),
    ("buyer", "/profile/me"),
    ("buyer", "/profile/me/export"),
    ("buyer", "/profile/me/sessions"),
    ("buyer", "/profile/me/consents"),
    ("buyer", "/profile/me/notifications"),
    ("buyer", "/profile/my-upcoming-events"),
    ("buyer", "/profile/my-upcoming-events/{today}"),
    ("buyer", "/profile/my-past-events"),
    ("organizer", "/my-events"),
    ("organizer", "/organizer/overview"),
    ("organizer", "/organizer/overview?from={was}&to={day}"),
    ("organizer", "/organizer/stats"),
    ("organizer", "/organizer/stats?from={was}&to={day}"),
    ("organizer", "/organizer/events/{event}/attendees?page=1"),
    ("organizer", "/organizer/events/{event}/attendees?page=1&q=mwangi9"),
    ("organizer", "/organizer/events/{event}/attendees"),
    ("organizer", "/organizer/events/{event}/transfers"),
    ("organizer", "/organizer/events/{event}/gate-passes"),
    ("organizer", "/events/{event}/refunds"),
    ("organizer", "/events/{event}/attendees/export"),
    ("host", "/organizer/events/{today}/gate"),
    ("host", "/checkin/manifest?event_id={today}"),
    ("admin", "/admin/pending"),
    ("admin", "/admin/users"),
    ("admin", "/admin/users?q=kamau"),
    ("admin", "/admin/users?role=organizer"),
    ("admin", "/admin/logs"),
    ("admin", "/admin/logs?action=event_created"),
    ("admin", "/admin/orders"),
    ("admin", "/admin/orders?status=paid"),
    ("admin", "/admin/orders?needs_attention=true"),
    ("admin", "/admin/payments"),
    ("admin", "/admin/payments/{payment}"),
    ("admin", "/admin/suspense"),
    ("admin", "/admin/refunds"),
    ("admin", "/admin/claims"),
    ("admin", "/admin/alerts"),
    ("admin", "/admin/notifications"),
    ("admin", "/admin/notifications?recipient={phone}"),
    ("admin", "/admin/reconciliation?day={day}"),
    ("admin", "/admin/dashboard"),
    ("admin", "/admin/analytics/summary"),
    ("admin", "/admin/analytics/ticket-sales-trends"),
    ("admin", "/admin/analytics/revenue-by-ticket-type"),
    ("admin", "/admin/analytics/top-events-by-revenue"),
    ("admin", "/admin/analytics/top-event-types"),
    ("admin", "/admin/reports?start_date={was}&end_date={day}"),
    ("admin", "/admin/reports"),
]


def order_paid(large: Large) -> None:
    dear = large.types[0]
    large.ask("buyer", "POST", "/orders", json=cart((dear, 2), phone="0110000001"))


def order_free(large: Large) -> None:
    answer = large.ask("buyer", "POST", "/orders", json=cart((large.types[-1], 1)))
    assert answer.json["order"]["status"] == "paid"


def order_paid_by_callback(large: Large) -> None:
    _order_id, token = large.order()
    answer = large.ask("nobody", "POST", f"/api/payment/callback/{token}", data=success(500, new_receipt()))
    answer.close()  # then it is settled


def pay_again(large: Large) -> None:
    order_id, _token = large.order(1)
    with clock.set_to(clock.ahead(seconds=121)):
        large.ask("buyer", "POST", f"/orders/{order_id}/pay")


def cancel(large: Large) -> None:
    order_id, _token = large.order(2)
    large.ask("buyer", "DELETE", f"/orders/{order_id}")


def scan(large: Large) -> None:
    with large.app.app_context():
        valid = select(Ticket).join(Ticket.ticket_type).where(TicketType.event_id == large.names["today"])
        ticket = db.session.scalars(valid.where(Ticket.status == TicketStatus.VALID)).first()
    assert ticket is not None
    body = {"event_id": large.names["today"], "code": ticket.code, "nonce": new_nonce()}
    [told] = large.ask("host", "POST", SCANS, json=body).json["results"]
    assert told["result"] == "ok"


def manifest_since(large: Large) -> None:
    cursor = large.ask("host", "GET", "/checkin/manifest?event_id={today}").json["cursor"]
    large.ask("host", "GET", f"/checkin/manifest?event_id={{today}}&since={cursor}")


def log_in(large: Large) -> None:
    body = {"email": large.people["buyer"].email, "password": PASSWORD}
    large.ask("nobody", "POST", "/login", json=body)


def refresh(large: Large) -> None:
    with large.app.app_context():
        opened = open_session(large.people["buyer"])
    large.ask("nobody", "POST", "/refresh", json={"refresh_token": opened.refresh_token})


def save(large: Large) -> None:
    large.ask("buyer", "POST", "/events/{event}/save")


WRITES: list[Callable[[Large], None]] = [
    order_paid,
    order_free,
    order_paid_by_callback,
    pay_again,
    cancel,
    scan,
    manifest_since,
    log_in,
    refresh,
    save,
]


# ── How it is found ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("who", "path"), READS, ids=[f"{who} {path}" for who, path in READS])
def test_a_read_looks_only_at_what_it_shows(large: Large, who: str, path: str) -> None:
    with recorded(large) as statements:
        large.ask(who, "GET", path)
    assert statements
    check(path, statements, large)


@pytest.mark.parametrize("do", WRITES, ids=lambda do: do.__name__)
def test_a_change_looks_only_at_what_it_changes(large: Large, do: Callable[[Large], None]) -> None:
    with recorded(large) as statements:
        do(large)
    check(do.__name__, statements, large)


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_a_sweep_looks_only_at_what_is_due(large: Large, task: tasks.Task) -> None:
    with recorded(large) as statements, large.app.app_context():
        task.run()
    check(task.name, statements, large)


Statement = tuple[str, Any]


@contextmanager
def recorded(large: Large) -> Iterator[list[Statement]]:
    """What any thread sends within the block, each kind of statement once."""
    found: dict[str, Any] = {}

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool) -> None:
        found.setdefault(statement, parameters[0] if is_many and isinstance(parameters, list) else parameters)

    statements: list[Statement] = []
    with large.app.app_context():
        engine = db.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)
        statements += found.items()


def check(name: str, statements: list[Statement], large: Large) -> None:
    found, reports = set(), []
    with large.app.app_context(), db.engine.connect() as connection:
        for statement, parameters in statements:
            for table, how in looked_at_much(connection, statement, parameters):
                found.add(table)
                reports.append(f"{table}: {how}\n{statement}")
            connection.rollback()
    expected = WHOLE[name][0] if name in WHOLE else set()
    # More: it needs an index, or another query. Less: it is no longer an exception.
    if name == "announce availability":  # which of its tables are read whole, the planner decides anew each time
        assert found and found <= expected, "\n\n".join(reports)  # noqa: PT018
        return
    assert found == expected, "\n\n".join(reports)


def looked_at_much(connection: Connection, statement: str, parameters: Any) -> Iterator[tuple[str, str]]:
    """Tables of which the statement reads all, or too much, each with how. What only reads is done once more."""
    kind = statement.split(maxsplit=1)[0].upper()
    if kind not in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
        return
    is_read = kind in ("SELECT", "WITH") and not re.search(r"\b(FOR UPDATE|FOR NO KEY|INSERT|UPDATE)\b", statement)
    touched: dict[str, float] = {}
    for node in explained(connection, statement, parameters, "ANALYZE, TIMING OFF" if is_read else "VERBOSE off"):
        table = node.get("Relation Name")
        if table not in GROWING or node["Node Type"] == "ModifyTable":
            continue
        if node["Node Type"] == "Seq Scan" and (rows_of(connection, table) >= FEW_ROWS):
            yield table, "Seq Scan"
        if is_read:
            removed = sum(count for key, count in node.items() if key.startswith("Rows Removed by"))
            touched[table] = touched.get(table, 0) + (node["Actual Rows"] + removed) * node["Actual Loops"]
    for table, rows in touched.items():
        if rows > MOST_ROWS:
            yield table, f"{rows:.0f} rows"
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    for node in explained(connection, statement, parameters, "VERBOSE off"):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING:
            yield node["Relation Name"], "Seq Scan, although anything else is preferred"


def explained(connection: Connection, statement: str, parameters: Any, options: str) -> list[dict[str, Any]]:
    """The parts of its plan."""
    [plan] = connection.exec_driver_sql(f"EXPLAIN ({options}, FORMAT JSON) {statement}", parameters).scalar_one()
    return list(nodes(plan["Plan"]))


def rows_of(connection: Connection, table: str) -> float:
    return float(connection.scalar(text("SELECT reltuples FROM pg_class WHERE relname = :name"), {"name": table}) or 0)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def test_what_was_filled_in_refers_to_what_is_there(large: Large) -> None:
    with large.app.app_context(), db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for key in table.foreign_keys:
                lost = select(key.parent).where(key.parent.is_not(None), key.parent.not_in(select(key.column)))
                assert connection.scalar(lost.limit(1)) is None, key.parent


def test_an_exception_is_one_of_something_that_is_tried() -> None:
    tried = {path for _, path in READS} | {do.__name__ for do in WRITES} | {task.name for task in tasks.TASKS}
    assert WHOLE.keys() <= tried
