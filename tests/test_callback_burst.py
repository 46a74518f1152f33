"""Safaricom posts once: of many callbacks at the same time none is lost, and none waits for what is being settled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import func, select

from config import Settings
from models import MpesaMessage, Order, OrderStatus
from tests import live
from tests.daraja.process import Simulator
from tests.live import Live
from tests.support import Maker, new_receipt, success, together
from tests.waiting import wait_until
from utils.database import db

#: So many posted at once.
BURST, BURST_SENDERS = 200, 20
#: And so many that follow at a steady pace while those are being settled, each sender over one connection: what is
#: measured is how long an answer takes, not how fast this process can ask.
STEADY, STEADY_SENDERS, PER_SECOND = 60, 4, 40
#: Of the steady ones, at the median. On two cores with little else to do it is 10 to 25 ms, beside eight programs that
#: do nothing but compute 70 ms; this leaves room for a machine that is busier still.
MOST_SECONDS = 0.5

Placed = list[tuple[Order, str]]


@pytest.fixture
def running(settings: Settings, simulator: Simulator) -> Iterator[Live]:
    """Two web processes and a worker."""
    running = live.start({"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": simulator.url, "WEB_WORKERS": "2"})
    yield running
    running.stop()


def post_all(running: Live, placed: Placed, *, pause: float = 0) -> list[float]:
    """Post the callbacks of these orders, one every `pause` seconds; returns how long each answer took."""
    took = []
    began = time.perf_counter()
    with requests.Session() as http:
        for number, (order, token) in enumerate(placed):
            due = began + number * pause
            wait_until(lambda due=due: time.perf_counter() >= due)
            body = success(order.total_kes, new_receipt())
            posted = time.perf_counter()
            answer = http.post(f"{running.url}/api/payment/callback/{token}", data=body, timeout=30)
            took.append(time.perf_counter() - posted)
            assert answer.status_code == 200
    return took


def post_from(running: Live, senders: int, placed: Placed, *, pause: float = 0) -> list[float]:
    """As `post_all`, by so many at the same time."""
    shares = [placed[first::senders] for first in range(senders)]
    answers = together(*(lambda share=share: post_all(running, share, pause=pause) for share in shares))
    return [seconds for one in answers for seconds in one]


def unsettled(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).where(MpesaMessage.settled_at.is_(None))) or 0


def test_a_burst_of_callbacks_loses_none_and_keeps_none_waiting_that_comes_while_it_is_settled(
    app: Flask, running: Live, make: Maker
) -> None:
    ticket_type = make.on_sale(quantity=BURST + STEADY)
    placed = [make.order(make.attendee(), ticket_type) for _ in range(BURST + STEADY)]
    at_once = post_from(running, BURST_SENDERS, placed[:BURST])
    steady = post_from(running, STEADY_SENDERS, placed[BURST:], pause=STEADY_SENDERS / PER_SECOND)
    waiting = unsettled(app)
    wait_until(lambda: unsettled(app) == 0, seconds=180)
    assert {order.status for order in make.rows(Order)} == {OrderStatus.PAID}
    assert len(make.messages()) == BURST + STEADY
    assert len(make.tickets()) == BURST + STEADY == make.read_ticket_type(ticket_type.id).sold
    medians = [round(statistics.median(took) * 1000) for took in (at_once, steady)]
    print(f"\nmedians: {medians[0]} ms at once, then {medians[1]} ms; {waiting} unsettled at the end")  # noqa: T201
    assert statistics.median(steady) < MOST_SECONDS


def test_before_its_answer_a_callback_costs_one_statement(app: Flask, client: FlaskClient, make: Maker) -> None:
    """Each way to the database and back is a turn to wait for among those that settle."""
    order, token = make.order()
    statements: list[str] = []
    with app.app_context():
        engine = db.engines["inbox"]
    record = lambda _connection, _cursor, statement, *_rest: statements.append(statement)  # noqa: E731
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    try:
        assert client.post(f"/api/payment/callback/{token}", data=success(order.total_kes)).status_code == 200
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)
    wait_until(lambda: unsettled(app) == 0)
    assert [one.split()[:3] for one in statements] == [["INSERT", "INTO", "mpesa_messages"]]
