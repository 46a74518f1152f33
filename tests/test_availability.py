"""Availability: how many places are left, and when they are sold, true at the moment of the answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from models import EventStatus, TicketType
from tests.support import Maker, cart
from utils import clock
from utils.database import db


@pytest.fixture
def regular(make: Maker) -> TicketType:
    """Ten places at 500."""
    return make.on_sale()


# ── What is left ──────────────────────────────────────────────────────────────────────────────────────────────────


def left(client: FlaskClient, one: TicketType) -> tuple[int, int]:
    """Sold and available, as everybody is told, in both places."""
    [listed] = client.get(f"/events/{one.event_id}/tickets").json
    [detailed] = client.get(f"/events/{one.event_id}").json["tickets"]
    assert listed == detailed
    return listed["sold"], listed["available"]


def test_a_hold_takes_places_and_a_cancelled_order_gives_them_back(
    client: FlaskClient, make: Maker, regular: TicketType
) -> None:
    buyer = make.attendee()
    order, _ = make.order(buyer, regular, quantity=3)
    assert left(client, regular) == (0, 7)
    client.delete(f"/orders/{order.id}", headers=make.headers(buyer))
    assert left(client, regular) == (0, 10)


def test_a_hold_that_ends_gives_its_places_back_at_that_moment_and_reading_writes_nothing(
    client: FlaskClient, make: Maker, regular: TicketType
) -> None:
    order, _ = make.order(make.attendee(), regular, quantity=3)
    before = versions(make)
    with clock.set_to(order.expires_at - timedelta(seconds=1)):
        assert left(client, regular) == (0, 7)
    with clock.set_to(order.expires_at):
        assert left(client, regular) == (0, 10)
    assert versions(make) == before
    assert make.read_ticket_type(regular.id).held == 3


def versions(make: Maker) -> list[Any]:
    """Which transactions last wrote the rows that stock is made of."""
    with make.app.app_context():
        return [
            db.session.execute(text(f"SELECT id, xmin::text FROM {table} ORDER BY id")).all()
            for table in ("ticket_types", "orders", "events")
        ]


def test_paying_turns_held_into_sold(client: FlaskClient, make: Maker, regular: TicketType) -> None:
    make.paid_order(make.attendee(), regular, quantity=3)
    assert left(client, regular) == (3, 7)
    make.order(make.attendee(), regular, quantity=2)
    assert left(client, regular) == (3, 5)


def test_places_of_ended_holds_can_be_bought(client: FlaskClient, make: Maker, regular: TicketType) -> None:
    make.order(make.attendee(), regular, quantity=10)
    assert left(client, regular) == (0, 0)
    with clock.set_to(clock.ahead(hours=1)):
        make.paid_order(make.attendee(), regular, quantity=10)
        assert left(client, regular) == (10, 0)


# ── When it is sold ───────────────────────────────────────────────────────────────────────────────────────────────

NOW = datetime(2030, 5, 1, 12, tzinfo=clock.NAIROBI)


@pytest.mark.parametrize(
    ("starts", "ends", "is_on_sale"),
    [
        (None, None, True),
        (-1, None, True),
        (0, None, True),
        (1, None, False),
        (None, 1, True),
        (None, 0, False),
        (None, -1, False),
        (-1, 1, True),
        (-2, -1, False),
        (1, 2, False),
    ],
)
def test_it_is_sold_within_its_sales_period(
    client: FlaskClient, make: Maker, starts: int | None, ends: int | None, is_on_sale: bool
) -> None:
    def moment(minutes: int | None) -> datetime | None:
        return None if minutes is None else NOW + timedelta(minutes=minutes)

    event = make.event(starts_at=NOW + timedelta(days=9))
    one = make.ticket_type(event, price=0, sales_start_at=moment(starts), sales_end_at=moment(ends))
    buyer = make.headers(make.attendee())
    with clock.set_to(NOW):
        assert client.get(f"/events/{event.id}/tickets").json[0]["on_sale"] is is_on_sale
        answer = client.post("/orders", json=cart((one, 1)), headers=buyer)
    assert answer.status_code == (201 if is_on_sale else 409)
    assert is_on_sale or answer.json["code"] == "not_on_sale"


@pytest.mark.parametrize("status", list(EventStatus))
def test_it_is_sold_for_approved_events_alone(client: FlaskClient, make: Maker, status: EventStatus) -> None:
    event = make.event(status=EventStatus.PENDING)
    one = make.ticket_type(event, price=0)
    headers, as_admin = make.headers(event.organizer), make.headers(make.admin())
    if status is EventStatus.CANCELLED:
        client.post(f"/events/{event.id}/cancel", headers=headers)
    elif status is not EventStatus.PENDING:
        client.patch(f"/admin/{event.id}", json={"status": status.value}, headers=as_admin)
    is_approved = status is EventStatus.APPROVED
    assert client.get(f"/events/{event.id}/tickets", headers=headers).json[0]["on_sale"] is is_approved
    answer = client.post("/orders", json=cart((one, 1)), headers=make.headers(make.attendee()))
    assert answer.status_code == (201 if is_approved else 409)


def test_sales_end_when_the_event_starts(client: FlaskClient, make: Maker) -> None:
    one = make.on_sale(price=0)
    event = make.read_order(make.order(make.attendee(), one)[0].id).event
    for moment, is_on_sale in ((event.starts_at - timedelta(seconds=1), True), (event.starts_at, False)):
        with clock.set_to(moment):
            assert client.get(f"/events/{event.id}/tickets").json[0]["on_sale"] is is_on_sale
            answer = client.post("/orders", json=cart((one, 1)), headers=make.headers(make.attendee()))
            assert answer.status_code == (201 if is_on_sale else 409)


@pytest.mark.parametrize(
    ("quantity", "status", "code"),
    [(1, 409, "under_minimum"), (2, 201, None), (4, 201, None), (5, 409, "over_limit")],
)
def test_an_order_keeps_to_the_limits(
    client: FlaskClient, make: Maker, quantity: int, status: int, code: str | None
) -> None:
    one = make.on_sale(price=0, min_per_order=2, max_per_order=4)
    answer = client.post("/orders", json=cart((one, quantity)), headers=make.headers(make.attendee()))
    assert (answer.status_code, answer.json.get("code")) == (status, code)
    assert make.read_ticket_type(one.id).sold == (quantity if status == 201 else 0)
