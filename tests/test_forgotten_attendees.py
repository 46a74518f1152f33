"""Those without an account, who never told us to forget them: some time after an event the worker does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event

import tasks
from models import Event, Notification, OrderItem, Ticket, Transfer
from services import events
from tests.passing_on import CHANNELS, EMAIL, KAMAU, PHONE, Passing
from tests.support import Maker, cart, changed_settings
from tests.test_privacy import everywhere
from utils import clock
from utils.database import db

FORGET = next(task for task in tasks.TASKS if task.name == "forget attendees without an account")
OTIENO = {"first_name": "Otieno", "last_name": "Ochieng", "email": "otieno@example.co.ke", "phone": "254733444555"}
NOBODY = {"first_name": "Name", "last_name": "deleted", "email": "", "phone": ""}


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


def forget(app: Flask, event: Event, days: float = 91) -> int:
    """What the worker does so many days after the event."""
    with clock.set_to(event.ends_at + timedelta(days=days)):
        return tasks.run_once(app, FORGET)


def named(row: Ticket | Transfer) -> dict[str, Any]:
    return {name: getattr(row, name) for name in NOBODY}


def test_who_was_passed_a_ticket_on_without_an_account_is_forgotten(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    passing = Passing(client, make, quantity=4)
    by_mail, by_text, onward, offered = passing.tickets
    passing.pass_on(ticket=by_mail)
    passing.pass_on(ticket=by_text, phone=PHONE)
    # From somebody without an account to somebody with one.
    passing.pass_on(ticket=onward)
    last = make.attendee(first_name="Wambui", last_name="Kariuki")
    asked = {"action": "transfer", "email": last.email}
    assert client.post(f"{passing.page(onward)}/manage", data=asked).status_code == 200
    assert passing.accept(by=last, first_name="Wambui", last_name="Kariuki").status_code == 200
    passing.offer(offered, **OTIENO | {"phone": ""})
    strangers = (*KAMAU.values(), EMAIL, PHONE, *OTIENO.values())

    assert forget(app, passing.event, days=89) == 0
    assert "Kamau" in str([named(ticket) for ticket in make.rows(Ticket)])
    prices = [(one.code, one.price_kes, one.status, one.rotation) for one in make.rows(Ticket)]
    assert [forget(app, passing.event), forget(app, passing.event)] == [1, 0]
    for word in strangers:
        assert everywhere(make, word) == [], word

    assert [(one.code, one.price_kes, one.status, one.rotation) for one in make.rows(Ticket)] == prices
    assert [named(ticket)["first_name"] for ticket in make.rows(Ticket)] == ["Name", "Name", "Wambui", "Akinyi"]
    chain = [one for one in make.rows(Transfer) if one.ticket_id == onward.id]
    assert [(one.from_name, one.receiver) for one in chain] == [
        ("Akinyi Oduor", "Name deleted"),
        ("Name deleted", "Wambui Kariuki"),
    ]
    assert {one.channel for one in make.rows(Transfer)} == {"email", "sms"}
    assert {one.user_id for one in make.rows(Notification)} >= {passing.buyer.id, last.id}
    assert None not in {one.user_id for one in make.rows(Notification)}
    headers = make.headers(passing.organizer)
    answer = client.get(f"/organizer/events/{passing.event.id}/attendees", headers=headers)
    assert [one["attendee_first_name"] for one in answer.json["attendees"]].count("Name") == 2


def test_of_who_an_order_names_the_buyers_own_is_left(app: Flask, client: FlaskClient, make: Maker) -> None:
    buyer, regular = make.attendee(first_name="Akinyi", last_name="Oduor"), make.on_sale(price=0)
    own = {"first_name": "Akinyi", "last_name": "Oduor", "email": buyer.email, "phone": buyer.phone}
    body = cart((regular, 3))
    # The buyer; a friend, for whom the buyer's number stands; and somebody else.
    body["tickets"][0]["attendees"][1] |= OTIENO | {"phone": ""}
    body["tickets"][0]["attendees"][2] |= OTIENO
    assert client.post("/orders", json=body, headers=make.headers(buyer)).status_code == 201
    expected = [own, NOBODY | {"phone": buyer.phone}, NOBODY]

    assert forget(app, make.rows(Event)[0]) == 1
    assert [named(ticket) for ticket in make.rows(Ticket)] == expected
    assert make.rows(OrderItem)[0].attendees == expected
    for word in OTIENO.values():
        assert everywhere(make, word) == [], word


def test_events_that_are_not_long_over_keep_theirs(app: Flask, client: FlaskClient, make: Maker) -> None:
    passing = Passing(client, make)
    later = Passing(client, make, starts_at=clock.ahead(days=60))
    for one in (passing, later):
        one.pass_on()
    before = make.rows(Event)
    assert forget(app, passing.event) == 1
    assert (passing.now().first_name, later.now().first_name) == ("Name", "Kamau")
    assert [one.attendees_forgotten_at is not None for one in make.rows(Event)] == [True, False]
    # Whoever keeps a copy of an event has nothing to fetch.
    assert [one.updated_at for one in make.rows(Event)] == [one.updated_at for one in before]
    with changed_settings(app, ATTENDEE_RETENTION_DAYS=30):
        assert forget(app, later.event, days=31) == 1


def test_nobody_is_written_to_who_was_forgotten(app: Flask, client: FlaskClient, make: Maker) -> None:
    passing = Passing(client, make)
    passing.pass_on()
    forget(app, passing.event)
    with app.app_context():
        events.cancel_event(actor=make.admin(), event_id=passing.event.id)
    told = [one for one in make.rows(Notification) if one.kind.value == "event_cancelled"]
    assert {one.user_id for one in told} == {passing.buyer.id}


def test_a_full_house_costs_as_many_statements_as_one_guest(app: Flask, client: FlaskClient, make: Maker) -> None:
    counts = []
    for quantity in (1, 10):
        passing = Passing(client, make, quantity=quantity)
        for ticket in passing.tickets:
            passing.pass_on(ticket=ticket)
        statements: list[str] = []
        record = lambda _connection, _cursor, statement, *_rest: statements.append(statement)  # noqa: B023, E731
        with app.app_context():
            engine = db.engine
        sqlalchemy_event.listen(engine, "before_cursor_execute", record)
        try:
            assert forget(app, passing.event) == 1
        finally:
            sqlalchemy_event.remove(engine, "before_cursor_execute", record)
        counts.append(len(statements))
    assert counts[0] == counts[1]
