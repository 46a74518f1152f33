"""Demo data: believable, consistent, all or nothing, and never where people are real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

import seed
from config import Settings
from models import Event, EventStatus, Order, OrderItem, OrderStatus, Review, Ticket, TicketType, User
from tests.support import Maker
from utils import clock
from utils.database import Base, db


def run(app: Flask, *args: str) -> Result:
    return app.test_cli_runner().invoke(args=["seed", *args])


@pytest.fixture
def filled(app: Flask) -> Iterator[Flask]:
    """Within a context of the filled database."""
    result = run(app)
    assert (result.exit_code, result.output) == (0, "Filled the database with demo data.\n")
    with app.app_context():
        yield app


def rows(app: Flask) -> dict[str, int]:
    """Rows by table, of the tables that have any."""
    with app.app_context():
        counts = {
            table.name: db.session.scalar(select(func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
        }
    return {name: count for name, count in counts.items() if count}


def all_of(kind: type[Any]) -> list[Any]:
    return list(db.session.scalars(select(kind)))


def test_there_are_a_dozen_events_of_all_kinds(filled: Flask) -> None:
    events = all_of(Event)
    assert len(events) == 12
    assert {event.status for event in events} == set(EventStatus)
    assert len({event.category for event in events}) >= 6
    assert len({event.organizer_id for event in events}) >= 2
    assert {event.ends_at < clock.now() for event in events} == {True, False}
    assert all(event.image for event in events)
    assert {one.event_id for one in all_of(TicketType)} == {event.id for event in events}


def test_there_are_paid_orders_tickets_refunds_and_reviews(filled: Flask) -> None:
    statuses = Counter(order.status for order in all_of(Order))
    assert statuses[OrderStatus.PAID] >= 15
    assert statuses[OrderStatus.REFUND_DUE] == 1
    assert len(all_of(Ticket)) >= 25
    assert len(all_of(Review)) >= 5


def test_places_sold_and_held_add_up(filled: Flask) -> None:
    tickets = Counter(ticket.ticket_type_id for ticket in all_of(Ticket))
    held = Counter[int]()
    open_items = (
        select(OrderItem).join(Order, Order.id == OrderItem.order_id).where(Order.status == OrderStatus.PENDING)
    )
    for item in db.session.scalars(open_items):
        held[item.ticket_type_id] += item.quantity
    for one in all_of(TicketType):
        assert (one.sold, one.held) == (tickets[one.id], held[one.id])


def test_an_order_costs_what_its_tickets_cost(filled: Flask) -> None:
    prices = Counter[int]()
    for ticket in all_of(Ticket):
        prices[ticket.order_id] += ticket.price_kes
    for order in all_of(Order):
        assert order.total_kes == prices[order.id]


def test_everything_has_happened_in_the_past_in_its_order(filled: Flask) -> None:
    events = {event.id: event for event in all_of(Event)}
    for event in events.values():
        assert event.created_at < min(event.starts_at, clock.now())
    for order in all_of(Order):
        event = events[order.event_id]
        assert event.created_at < order.created_at <= order.paid_at < min(event.starts_at, clock.now())
    for review in all_of(Review):
        assert events[review.event_id].ends_at < review.created_at < clock.now()


def test_the_demo_accounts_can_log_in(filled: Flask, client: FlaskClient) -> None:
    for role in ("admin", "organizer", "attendee"):
        body = {"email": f"{role}@ticksy.co.ke", "password": "demo-pass-2026"}
        answer = client.post("/login", json=body)
        assert (answer.status_code, answer.json["user"]["role"]) == (200, role)


def test_the_frontend_shows_the_demo_events(filled: Flask, client: FlaskClient) -> None:
    listed = client.get("/events").json
    assert len(listed) == 6
    assert all(event["image_url"] and event["from_price"] is not None for event in listed)
    assert client.get("/events?q=jazz").json[0]["title"] == "Nairobi Jazz Night"


@pytest.mark.parametrize("hour", [0, 6, 12, 23])
def test_it_works_at_any_hour(app: Flask, hour: int) -> None:
    with clock.set_to(clock.now().astimezone(clock.NAIROBI).replace(hour=hour, minute=0, second=0)):
        assert run(app).exit_code == 0


def test_a_second_time_is_refused(app: Flask) -> None:
    run(app)
    before = rows(app)
    result = run(app)
    assert (result.exit_code, rows(app)) == (1, before)
    assert "The database is not empty" in result.output


def test_if_empty_does_nothing_where_people_are(app: Flask, make: Maker) -> None:
    make.attendee()
    before = rows(app)
    result = run(app, "--if-empty")
    assert (result.exit_code, result.output, rows(app)) == (0, "", before)


def test_if_empty_fills_an_empty_database(app: Flask) -> None:
    assert run(app, "--if-empty").exit_code == 0
    assert rows(app)["events"] == 12


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("args", [[], ["--if-empty"]])
def test_it_never_goes_where_people_are_real(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch, environment: str, args: list[str]
) -> None:
    real = settings.model_copy(update={"FLASK_ENV": environment})
    monkeypatch.setitem(app.extensions, "settings", real)
    result = run(app, *args)
    assert result.exit_code == 1
    assert "Demo data never goes where people are real." in result.output
    assert rows(app) == {}


def test_stopping_half_way_leaves_the_database_empty(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    *others, past = [demo for demo in seed.EVENTS if demo.reviews]
    faulty = replace(past, reviews=[(past.reviews[0][0], 6, "Six of five stars.")])
    monkeypatch.setattr(seed, "EVENTS", [*others, faulty])
    result = run(app)
    assert result.exit_code != 0
    assert "rating_one_to_five" in str(result.exception)
    assert rows(app) == {}
    monkeypatch.undo()
    assert run(app).exit_code == 0


def test_its_people_are_kenyan_and_unique(filled: Flask) -> None:
    people = all_of(User)
    assert len({person.phone for person in people}) == len(people) == len(seed.PEOPLE)
    assert all(person.email.endswith("@ticksy.co.ke") for person in people)
