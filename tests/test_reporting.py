"""Figures for admins: nothing but settled money counts, by days and months of Nairobi."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import Event, EventStatus, MessageChannel, Order, Ticket, TicketStatus, TicketType, User
from services import ledger, locks, refunds, reviews
from tests.support import Maker, success
from tests.test_queries import recorded
from utils import clock
from utils.database import db, transaction


@pytest.fixture
def admin(make: Maker) -> User:
    return make.admin()


class Reader:
    """Reads as an admin."""

    def __init__(self, client: FlaskClient, make: Maker, admin: User) -> None:
        self.client, self.headers = client, make.headers(admin)

    def __call__(self, path: str, **query: Any) -> Any:
        answer = self.client.get(f"/admin/{path}", query_string=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json

    def refused(self, path: str, query: str) -> dict[str, Any]:
        answer = self.client.get(f"/admin/{path}?{query}", headers=self.headers)
        assert answer.status_code == 422, answer.text
        return answer.json


@pytest.fixture
def read(client: FlaskClient, make: Maker, admin: User) -> Reader:
    return Reader(client, make, admin)


def nairobi(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=clock.NAIROBI)  # type: ignore[arg-type, misc]


@contextmanager
def at(*parts: int) -> Iterator[None]:
    """With the clocks of Nairobi at this moment."""
    with clock.set_to(nairobi(*parts)):
        yield


def refund(make: Maker, order: Order, *ticket_ids: int) -> None:
    with make.app.app_context():
        admin = db.session.get_one(User, make.admin().id)
        refunds.refund_order(actor=admin, order_id=order.id, ticket_ids=list(ticket_ids) or None)


def use(make: Maker, *tickets: Ticket) -> None:
    with make.app.app_context(), transaction() as session:
        for ticket in tickets:
            used = session.get_one(Ticket, ticket.id)
            used.status, used.checked_in_at = TicketStatus.USED, clock.now()


def taken_back(make: Maker, order: Order) -> None:
    """M-PESA reverses the order's payment without us."""
    with make.app.app_context(), transaction():
        locked = locks.lock_order(order.id)
        ledger.take_back(locked, locked.payments[0], channel=MessageChannel.PULL)


@pytest.fixture
def mixed(make: Maker) -> Event:
    """An event with KES 2,500 of settled money left, of 5,000: and much beside it that is none."""
    event = make.event(title="Koroga Festival")
    regular, vip = make.ticket_type(event, price=500, quantity=50), make.ticket_type(event, name="VIP", price=1_000)
    free = make.ticket_type(event, name="Free", price=0)
    kept = make.paid_order(ticket_type=regular, quantity=3)
    use(make, kept.tickets[0])
    partly = make.paid_order(ticket_type=vip, quantity=2)
    refund(make, partly, partly.tickets[0].id)
    refund(make, make.paid_order(ticket_type=vip))
    reversed_ = make.paid_order(ticket_type=regular)
    use(make, *reversed_.tickets)
    taken_back(make, reversed_)
    make.paid_order(ticket_type=free)
    # None of these is money of tickets.
    make.order(ticket_type=vip)
    _, token = make.order(ticket_type=vip)
    make.deliver(token, success(1.0, "UKNWRONG01"))
    make.suspense(7_777)
    with clock.set_to(clock.ago(hours=1)):
        late, token = make.order(ticket_type=make.ticket_type(event, name="Last", price=900, quantity=1))
    make.paid_order(ticket_type=make.read_ticket_type(late.items[0].ticket_type_id))
    make.deliver(token, success(900, "UKNLATE001"))
    refund(make, next(order for order in make.rows(Order) if order.total_kes == 900 and order.id != late.id))
    return event


GROSS, REFUNDS, NET = 3 * 500 + 2 * 1_000 + 1_000 + 500 + 900, 1_000 + 1_000 + 500 + 900, 2_500


# ── One definition everywhere ─────────────────────────────────────────────────────────────────────────────────────


def test_every_figure_of_revenue_is_the_same_and_settled(read: Reader, mixed: Event) -> None:
    assert GROSS - REFUNDS == NET
    summary = read("analytics/summary")
    assert (summary["total_gross"], summary["total_refunded"], summary["total_revenue"]) == (GROSS, REFUNDS, NET)
    assert read("dashboard")["summary"]["total_revenue"] == NET
    assert sum(row["revenue"] for row in read("analytics/revenue-by-ticket-type")) == NET
    assert sum(row["revenue"] for row in read("analytics/top-events-by-revenue")) == NET
    totals = read("reports")["totals"]
    assert (totals["gross"], totals["refunds"], totals["net"]) == (GROSS, REFUNDS, NET)


def test_every_figure_of_tickets_is_the_same(read: Reader, mixed: Event) -> None:
    assert read("analytics/summary")["total_tickets"] == 5
    assert read("dashboard")["summary"]["tickets_sold"] == 5
    assert sum(row["sales"] for row in read("analytics/ticket-sales-trends")) == 5
    assert sum(row["tickets"] for row in read("analytics/revenue-by-ticket-type")) == 5
    assert read("analytics/summary")["total_orders"] == 3


def test_without_anything_every_figure_is_there_and_nought(read: Reader) -> None:
    assert read("analytics/summary") == {
        "total_revenue": 0,
        "total_gross": 0,
        "total_refunded": 0,
        "total_events": 0,
        "total_users": 1,
        "total_orders": 0,
        "total_tickets": 0,
    }
    assert read("analytics/revenue-by-ticket-type") == []
    assert read("analytics/top-events-by-revenue") == []
    assert read("analytics/top-event-types") == []
    assert [row["sales"] for row in read("analytics/ticket-sales-trends")] == [0] * 12
    report = read("reports")
    assert report["events"] == []
    assert report["totals"] == {
        "events": 0, "orders": 0, "tickets": 0, "gross": 0, "refunds": 0, "net": 0, "attendance": 0, "rating": None,
    }  # fmt: skip


# ── The dashboard and its charts ──────────────────────────────────────────────────────────────────────────────────


def test_the_dashboard_counts_users_and_events(make: Maker, read: Reader) -> None:
    organizer = make.organizer()
    for status in EventStatus:
        make.event(organizer, status=status)
    make.event(organizer, starts_at=clock.ago(days=3))
    summary = read("dashboard")["summary"]
    assert summary["total_users"] == len(make.rows(User))
    assert (summary["active_events"], summary["pending_events"], summary["total_events"]) == (1, 1, 5)


def test_a_trend_has_the_months_of_one_year_of_nairobi(make: Maker, read: Reader) -> None:
    ticket_type = make.ticket_type(make.event(starts_at=nairobi(2032, 1, 1)), quantity=100)
    for moment, quantity in (
        ((2029, 12, 31, 23, 59, 59), 1),
        ((2030, 1, 1, 0, 0, 0), 2),
        ((2030, 2, 28, 23, 59, 59), 3),
        ((2030, 12, 31, 23, 59, 59), 4),
        ((2031, 1, 1, 0, 0, 0), 5),
        ((2028, 2, 1, 0, 0, 0), 6),
    ):
        with at(*moment):
            paid_at_that_time(make, ticket_type, quantity)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    rows = read("analytics/ticket-sales-trends", year=2030)
    assert [row["month"] for row in rows] == months
    assert [row["sales"] for row in rows] == [2, 3, *[0] * 9, 4]
    assert [row["sales"] for row in read("analytics/ticket-sales-trends", year=2029)] == [*[0] * 11, 1]
    with at(2031, 1, 1):
        assert sum(row["sales"] for row in read("analytics/ticket-sales-trends")) == 5
        assert sum(row["sales"] for row in read("analytics/ticket-sales-trends", year="")) == 5


def paid_at_that_time(make: Maker, ticket_type: TicketType, quantity: int) -> Order:
    """A paid order, whatever the sale says of the moment."""
    order = make.paid_order(ticket_type=ticket_type, quantity=quantity)
    with make.app.app_context(), transaction() as session:
        session.get_one(Order, order.id).paid_at = clock.now()
    return order


@pytest.mark.parametrize("query", ["year=1999", "year=2201", "year=abc", "year=2026.5", "year=true", "month=1"])
def test_a_year_that_is_none_is_refused(read: Reader, query: str) -> None:
    assert read.refused("analytics/ticket-sales-trends", query)["message"]


def test_ticket_types_of_one_name_are_one_whatever_the_case(make: Maker, read: Reader) -> None:
    for name, price in (("VIP", 900), ("vip", 100), ("Regular", 300)):
        make.paid_order(ticket_type=make.on_sale(name=name, price=price))
    rows = [(row["type"].lower(), row["revenue"], row["tickets"]) for row in read("analytics/revenue-by-ticket-type")]
    assert rows == [("vip", 1_000, 2), ("regular", 300, 1)]
    assert len(read("analytics/revenue-by-ticket-type", limit=1)) == 1


def test_events_of_one_title_stay_apart(make: Maker, read: Reader) -> None:
    first, second, unsold = (make.event(title="Jazz Night") for _ in range(3))
    make.paid_order(ticket_type=make.ticket_type(first, price=200))
    make.paid_order(ticket_type=make.ticket_type(second, price=700))
    make.paid_order(ticket_type=make.ticket_type(unsold, price=0))
    assert read("analytics/top-events-by-revenue") == [
        {"event_id": second.id, "title": "Jazz Night", "revenue": 700, "tickets": 1},
        {"event_id": first.id, "title": "Jazz Night", "revenue": 200, "tickets": 1},
    ]
    assert len(read("analytics/top-events-by-revenue", limit=1)) == 1


def test_categories_are_counted_over_approved_events(make: Maker, read: Reader) -> None:
    for category, status in (
        ("Music", EventStatus.APPROVED),
        ("music", EventStatus.APPROVED),
        ("Sport", EventStatus.APPROVED),
        ("Sport", EventStatus.PENDING),
        ("Art", EventStatus.REJECTED),
    ):
        make.event(category=category, status=status)
    rows = read("analytics/top-event-types")
    assert [(row["category"].lower(), row["count"]) for row in rows] == [("music", 2), ("sport", 1)]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=true", "limit=", "top=3"])
@pytest.mark.parametrize("path", ["revenue-by-ticket-type", "top-events-by-revenue", "top-event-types"])
def test_a_limit_that_is_none_is_refused(read: Reader, path: str, query: str) -> None:
    assert read.refused(f"analytics/{path}", query)["message"].endswith(".")


# ── The report of a period ────────────────────────────────────────────────────────────────────────────────────────


def test_the_report_tells_of_each_event(make: Maker, read: Reader, mixed: Event) -> None:
    attendee = next(order for order in make.rows(Order) if order.total_kes == 1_500).buyer_id
    with make.app.app_context(), clock.set_to(mixed.ends_at):
        buyer = db.session.get_one(User, attendee)
        reviews.write_review(actor=buyer, event_id=mixed.id, rating=4, comment=None)
    report = read("reports")
    assert report["events"] == [
        {
            "event_id": mixed.id,
            "title": "Koroga Festival",
            "start_time": clock.to_nairobi(mixed.starts_at),
            "status": "approved",
            "orders": 6,
            "tickets": 9,
            "gross": GROSS,
            "refunds": REFUNDS,
            "net": NET,
            "attendance": 1,
            "rating": 4.0,
        }
    ]
    same = ("orders", "tickets", "gross", "refunds", "net", "attendance", "rating")
    assert report["totals"] == {name: report["events"][0][name] for name in same} | {"events": 1}


@pytest.fixture
def of_days(make: Maker) -> Event:
    """Sold one, two and four on the 9th, 10th and 11th; of the ninth's ticket the money went back on the 11th."""
    event = make.event(title="Safari Sevens", starts_at=nairobi(2030, 6, 1))
    ticket_type = make.ticket_type(event, price=100, quantity=50)
    with at(2030, 3, 9, 23, 59, 59):
        first = paid_at_that_time(make, ticket_type, 1)
    with at(2030, 3, 10):
        paid_at_that_time(make, ticket_type, 2)
    with at(2030, 3, 11, 12):
        paid_at_that_time(make, ticket_type, 4)
        refund(make, first)
    return event


@pytest.mark.parametrize(
    ("start", "end", "figures"),
    [
        (None, None, (3, 7, 700, 100, 600)),
        ("2030-03-09", "2030-03-09", (1, 1, 100, 0, 100)),
        ("2030-03-10", "2030-03-10", (1, 2, 200, 0, 200)),
        ("2030-03-11", "2030-03-11", (1, 4, 400, 100, 300)),
        ("2030-03-10", None, (2, 6, 600, 100, 500)),
        (None, "2030-03-10", (2, 3, 300, 0, 300)),
        ("2030-03-09", "2030-03-11", (3, 7, 700, 100, 600)),
        ("", "", (3, 7, 700, 100, 600)),
    ],
)
def test_days_are_nairobis_and_both_included(
    read: Reader, of_days: Event, start: str | None, end: str | None, figures: tuple[int, ...]
) -> None:
    query = {name: value for name, value in (("start_date", start), ("end_date", end)) if value is not None}
    totals = read("reports", **query)["totals"]
    assert tuple(totals[name] for name in ("orders", "tickets", "gross", "refunds", "net")) == figures


def test_a_refund_alone_puts_an_event_into_the_report(make: Maker, read: Reader) -> None:
    with at(2030, 3, 9):
        order = paid_at_that_time(make, make.ticket_type(make.event(), price=100), 1)
    with at(2030, 3, 20):
        refund(make, order)
    [row] = read("reports", start_date="2030-03-20")["events"]
    assert (row["orders"], row["tickets"], row["gross"], row["refunds"], row["net"]) == (0, 0, 0, 100, -100)


def test_events_of_which_nothing_moved_are_left_out(make: Maker, read: Reader, of_days: Event) -> None:
    make.on_sale()
    assert [row["event_id"] for row in read("reports")["events"]] == [of_days.id]
    assert read("reports", start_date="2031-01-01")["events"] == []


@pytest.mark.parametrize(("name", "found"), [("sevens", 1), ("SAFARI", 1), ("", 2), ("jazz", 1), ("%", 0), ("_", 0)])
def test_events_are_found_by_a_part_of_their_title(
    make: Maker, read: Reader, of_days: Event, name: str, found: int
) -> None:
    make.paid_order()
    report = read("reports", event_name=name)
    assert len(report["events"]) == report["totals"]["events"] == found


def test_a_long_report_comes_in_pages_with_the_totals_of_all(make: Maker, read: Reader) -> None:
    for _ in range(3):
        make.paid_order()
    pages = [read("reports", page=number, per_page=2) for number in (1, 2, 3)]
    assert [len(page["events"]) for page in pages] == [2, 1, 0]
    assert {page["totals"]["gross"] for page in pages} == {1_500}
    assert len({row["event_id"] for page in pages for row in page["events"]}) == 3


NO_DAYS = [
    *("abc", "2026", "2026-13-01", "2026-02-30", "01/02/2026", "2026-11-23T00:00", "0", "1e9", "%00", "9999-12-31"),
    *("2026-1-1", "20260101", "-2026-01-01", "2026-01-01%0A", "null"),
]


@pytest.mark.parametrize(
    "query",
    [
        *(f"{name}={value}" for name in ("start_date", "end_date") for value in NO_DAYS),
        *("event_name=" + "x" * 301, "event_name=%00", "format=pdf", "format=", "from=2026-01-01"),
        *("page=0", "per_page=1001", "page=true", "page=", "per_page=1.5"),
    ],
)
def test_a_wrong_query_is_refused_with_a_sentence(read: Reader, query: str) -> None:
    answer = read.refused("reports", query)
    assert answer["message"].endswith(".")
    assert answer["errors"][0]["field"] == query.split("=", maxsplit=1)[0]


@pytest.mark.parametrize("more", ["", "&format=csv"])
def test_a_period_that_ends_before_it_starts_is_refused(read: Reader, more: str) -> None:
    answer = read.refused("reports", f"start_date=2026-03-02&end_date=2026-03-01{more}")
    assert answer["message"] == "The end date must not be before the start date."
    assert answer["errors"][0]["field"] == "end_date"


def test_the_file_says_what_the_report_says_and_ends_in_the_totals(
    client: FlaskClient, make: Maker, admin: User, read: Reader, mixed: Event
) -> None:
    make.paid_order(ticket_type=make.ticket_type(make.event(title="=1+1"), price=250))
    report = read("reports")
    answer = client.get("/admin/reports?format=csv&per_page=1", headers=make.headers(admin))
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))
    assert list(rows[0]) == list(report["events"][0])
    figures = ("orders", "tickets", "gross", "refunds", "net", "attendance")
    for row, line in zip(rows, [*report["events"], report["totals"]], strict=True):
        assert [int(row[name]) for name in figures] == [line[name] for name in figures]
    assert {row["title"] for row in rows} == {"Koroga Festival", "'=1+1", "Total"}
    assert (rows[-1]["title"], rows[-1]["event_id"], rows[-1]["start_time"]) == ("Total", "", "")


@pytest.mark.parametrize(
    "path",
    [
        "dashboard",
        "analytics/summary",
        "analytics/ticket-sales-trends",
        "analytics/revenue-by-ticket-type",
        "analytics/top-events-by-revenue",
        "analytics/top-event-types",
        "reports",
        "reports?format=csv",
    ],
)
def test_figures_cost_as_many_statements_for_many_events_as_for_one(
    client: FlaskClient, make: Maker, admin: User, path: str
) -> None:
    costs, headers = [], make.headers(admin)
    for count in (1, 5):
        for _ in range(count):
            make.paid_order()
        with recorded(make) as statements:
            assert client.get(f"/admin/{path}", headers=headers).data
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 3


def test_what_is_paid_out_or_waits_longer_counts_from_the_start_of_the_refund(make: Maker, read: Reader) -> None:
    """A refund counts when it starts: what M-PESA makes of it is another matter."""
    make.failed_refund()
    assert read("analytics/summary")["total_revenue"] == 0
    assert read("reports")["totals"]["refunds"] == 500


def test_the_moment_counts_that_the_money_was_settled_not_that_it_was_ordered(make: Maker, read: Reader) -> None:
    before = clock.now() - timedelta(minutes=5)
    with clock.set_to(before):
        order, token = make.order()
    make.deliver(token, success(order.total_kes, "UKNSETTLED"))
    paid_at = make.read_order(order.id).paid_at
    assert paid_at is not None
    day = paid_at.astimezone(clock.NAIROBI).date()
    assert read("reports", start_date=str(day), end_date=str(day))["totals"]["gross"] == 500
    assert read("reports", start_date=str(day + timedelta(days=1)))["totals"]["gross"] == 0
