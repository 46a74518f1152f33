"""An organizer's figures: settled money only, Nairobi's days, one's own events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import MessageChannel, User
from schemas.sales_figures import PeriodQuery
from services import ledger, locks
from tests.support import Maker, failure, new_receipt, success
from utils import clock
from utils.database import transaction

OVERVIEW, STATS = "/organizer/overview", "/organizer/stats"


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


def get(client: FlaskClient, make: Maker, user: User, address: str, **query: Any) -> Any:
    answer = client.get(address, query_string=query, headers=make.headers(user))
    assert answer.status_code == 200, answer.text
    return answer.json


# ── Overview ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_yet_is_all_zeros(client: FlaskClient, make: Maker, organizer: User) -> None:
    assert get(client, make, organizer, OVERVIEW) == {
        "from": None,
        "to": None,
        "revenue": {"gross": 0, "refunded": 0, "net": 0},
        "tickets_sold": 0,
        "checked_in": 0,
        "orders": 0,
        "upcoming_events": 0,
    }
    assert get(client, make, organizer, STATS) == []


def test_it_adds_up_what_was_sold_used_and_given_back(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer)
    vip, free = make.ticket_type(event, name="VIP", price=900), make.ticket_type(event, name="Free", price=0)
    order = make.paid_order(make.attendee(), vip, quantity=3)
    make.paid_order(make.attendee(), free, quantity=2)
    make.paid_order()  # somebody else's
    headers = make.headers(organizer)
    first, second, _ = (ticket.id for ticket in order.tickets)
    client.post(f"/orders/{order.id}/refund", json={"tickets": [first]}, headers=headers)
    client.patch(f"/organizer/checkin/{second}", headers=headers)
    seen = get(client, make, organizer, OVERVIEW)
    assert seen["revenue"] == {"gross": 2700, "refunded": 900, "net": 1800}
    assert (seen["tickets_sold"], seen["checked_in"], seen["orders"], seen["upcoming_events"]) == (4, 1, 2, 1)


def test_money_that_is_no_ticket_does_not_count(client: FlaskClient, make: Maker, organizer: User) -> None:
    """Open, failed, expired and cancelled orders; money that came too late, or twice."""
    event = make.event(organizer)
    one = make.ticket_type(event, price=500, quantity=5)
    make.order(make.attendee(), one)
    _, token = make.order(make.attendee(), one)
    make.deliver(token, failure())
    buyer = make.attendee()
    cancelled, token = make.order(buyer, one)
    client.delete(f"/orders/{cancelled.id}", headers=make.headers(buyer))
    make.deliver(token, success(500, new_receipt()))
    _, token = make.order(make.attendee(), one)
    make.deliver(token, success(500, new_receipt()))
    make.deliver(token, success(500, new_receipt()))
    seen = get(client, make, organizer, OVERVIEW)
    assert (seen["revenue"], seen["orders"]) == ({"gross": 500, "refunded": 0, "net": 500}, 1)
    [stats] = get(client, make, organizer, STATS)
    assert stats["revenue"] == seen["revenue"]


def test_what_mpesa_took_back_is_no_revenue_though_the_ticket_was_used(
    client: FlaskClient, make: Maker, organizer: User
) -> None:
    order = make.paid_order(make.attendee(), make.ticket_type(make.event(organizer)), quantity=2)
    client.patch(f"/organizer/checkin/{order.tickets[0].id}", headers=make.headers(organizer))
    with make.app.app_context(), transaction():
        locked = locks.lock_order(order.id)
        ledger.take_back(locked, locked.payments[0], channel=MessageChannel.PULL)
    seen = get(client, make, organizer, OVERVIEW)
    assert seen["revenue"] == {"gross": 1000, "refunded": 1000, "net": 0}
    assert (seen["tickets_sold"], seen["checked_in"]) == (1, 1)


def test_an_admin_sees_all_events_and_an_organizer_their_own(client: FlaskClient, make: Maker, organizer: User) -> None:
    make.paid_order(make.attendee(), make.ticket_type(make.event(organizer), price=700))
    make.paid_order(make.attendee(), make.on_sale(price=300))
    admin = make.admin()
    assert get(client, make, organizer, OVERVIEW)["revenue"]["net"] == 700
    assert get(client, make, admin, OVERVIEW)["revenue"]["net"] == 1000
    assert (len(get(client, make, organizer, STATS)), len(get(client, make, admin, STATS))) == (1, 2)


NOON = datetime(2030, 5, 10, 12, tzinfo=clock.NAIROBI)


def test_days_are_those_of_nairobi(client: FlaskClient, make: Maker, organizer: User) -> None:
    one = make.ticket_type(make.event(organizer, starts_at=NOON + timedelta(days=99)), price=100)
    midnight = NOON.replace(hour=0)
    for moment in (midnight - timedelta(seconds=1), midnight, midnight + timedelta(days=1, seconds=-1)):
        with clock.set_to(moment):
            make.paid_order(make.attendee(), one)
    for query, gross in (
        ({"from": "2030-05-10", "to": "2030-05-10"}, 200),
        ({"from": "2030-05-09", "to": "2030-05-09"}, 100),
        ({"from": "2030-05-10"}, 200),
        ({"to": "2030-05-09"}, 100),
        ({"from": "2030-05-11"}, 0),
        ({}, 300),
        ({"period": "all"}, 300),
    ):
        assert get(client, make, organizer, OVERVIEW, **query)["revenue"]["gross"] == gross, query
    [stats] = get(client, make, organizer, STATS)
    assert stats["sales_per_day"] == [
        {"day": "2030-05-09", "tickets": 1, "revenue": 100},
        {"day": "2030-05-10", "tickets": 2, "revenue": 200},
    ]
    [stats] = get(client, make, organizer, STATS, **{"from": "2030-05-10"})
    assert ([day["tickets"] for day in stats["sales_per_day"]], stats["revenue"]["gross"]) == ([2], 300)


@pytest.mark.parametrize(
    ("period", "today", "first"),
    [
        ("7d", "2030-05-10", "2030-05-04"),
        ("30d", "2030-05-10", "2030-04-11"),
        ("12m", "2030-05-10", "2029-05-11"),
        ("12m", "2030-03-31", "2029-04-01"),
        ("12m", "2032-02-28", "2031-02-28"),
        ("12m", "2032-02-29", "2031-03-01"),
        ("all", "2030-05-10", None),
    ],
)
def test_a_period_ends_today(period: Any, today: str, first: str | None) -> None:
    late = datetime.fromisoformat(today).replace(hour=23, minute=59, tzinfo=clock.NAIROBI)
    with clock.set_to(late):
        days = PeriodQuery(period=period).days
    assert tuple(day and day.isoformat() for day in days) == (first, today if first else None)


@pytest.mark.parametrize("address", [OVERVIEW, STATS])
@pytest.mark.parametrize(
    "query",
    [
        "period=8d",
        "period=7d&from=2030-01-01",
        "from=2030-01-02&to=2030-01-01",
        "from=yesterday",
        "from=1893456000",
        "to=2030-02-30",
        "from=9999-12-31",
        "until=2030-01-01",
    ],
)
def test_days_that_make_no_sense_are_refused(
    client: FlaskClient, make: Maker, organizer: User, address: str, query: str
) -> None:
    answer = client.get(f"{address}?{query}", headers=make.headers(organizer))
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")


# ── Statistics ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_type_and_the_event_say_how_they_sell(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer)
    vip = make.ticket_type(event, name="VIP", price=900, quantity=8)
    early = make.ticket_type(event, name="Early", price=300, quantity=4)
    order = make.paid_order(make.attendee(), vip, quantity=4)
    make.order(make.attendee(), vip, quantity=1)
    headers = make.headers(organizer)
    client.post(f"/orders/{order.id}/refund", json={"tickets": [order.tickets[0].id]}, headers=headers)
    client.patch(f"/organizer/checkin/{order.tickets[1].id}", headers=headers)
    [stats] = get(client, make, organizer, STATS)
    assert stats["ticket_types"] == [
        {
            "id": early.id,
            "type": "Early",
            "price": 300,
            "quantity": 4,
            "sold": 0,
            "held": 0,
            "available": 4,
            "revenue": {"gross": 0, "refunded": 0, "net": 0},
            "sell_through": 0.0,
            "checked_in": 0,
            "check_in_rate": None,
        },
        {
            "id": vip.id,
            "type": "VIP",
            "price": 900,
            "quantity": 8,
            "sold": 3,
            "held": 1,
            "available": 4,
            "revenue": {"gross": 3600, "refunded": 900, "net": 2700},
            "sell_through": 0.375,
            "checked_in": 1,
            "check_in_rate": 0.3333,
        },
    ]
    assert {name: stats[name] for name in ("event_id", "title", "status", "start_time")} == {
        "event_id": event.id,
        "title": event.title,
        "status": "approved",
        "start_time": clock.to_nairobi(event.starts_at),
    }
    together = ("quantity", "sold", "held", "available", "sell_through", "checked_in", "check_in_rate")
    assert [stats[name] for name in together] == [12, 3, 1, 8, 0.25, 1, 0.3333]
    assert stats["revenue"] == {"gross": 3600, "refunded": 900, "net": 2700}
    assert [(day["tickets"], day["revenue"]) for day in stats["sales_per_day"]] == [(4, 3600)]


def test_held_is_true_now(client: FlaskClient, make: Maker, organizer: User) -> None:
    one = make.ticket_type(make.event(organizer), quantity=5)
    order, _ = make.order(make.attendee(), one, quantity=3)
    for moment, held in ((clock.now(), 3), (order.expires_at, 0)):
        with clock.set_to(moment):
            [stats] = get(client, make, organizer, STATS)
        assert (stats["held"], stats["available"]) == (held, 5 - held)
    assert make.read_ticket_type(one.id).held == 3


def test_it_is_paged_by_event_latest_first(client: FlaskClient, make: Maker, organizer: User) -> None:
    ids = [make.event(organizer, starts_at=clock.ahead(days=days)).id for days in (1, 3, 2)]
    first = client.get(STATS + "?per_page=2&period=7d", headers=make.headers(organizer))
    assert [one["event_id"] for one in first.json] == [ids[1], ids[2]]
    assert first.headers["X-Total-Count"] == "3"
    assert "period=7d&page=2&per_page=2" in first.headers["Link"]
    second = get(client, make, organizer, STATS, per_page=2, page=2)
    assert [one["event_id"] for one in second] == [ids[0]]
