"""A few requests at a time are worked on."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import Payment
from tests.daraja.process import Simulator
from tests.support import Maker, cart
from tests.waiting import wait_until
from utils import turns
from utils.database import transaction
from utils.errors import Unavailable


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There are two turns for buyers, two for others, and nobody waits for one longer than 0.05 seconds."""
    for row in ("_buyers", "_others"):
        free = queue.SimpleQueue[None]()
        free.put(None)
        free.put(None)
        monkeypatch.setattr(turns, row, free)
    monkeypatch.setattr(turns, "_PATIENCE_SECONDS", 0.05)
    yield
    assert (turns._buyers.qsize(), turns._others.qsize()) == (2, 2)


@pytest.mark.usefixtures("two")
def test_no_more_are_worked_on_than_there_are_turns() -> None:
    with turns.take_turn(), turns.take_turn():
        began = time.monotonic()
        with pytest.raises(Unavailable), turns.take_turn():
            pass
        assert time.monotonic() - began < 5
    with turns.take_turn(), turns.take_turn():
        pass


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("is_buyer", [True, False])
def test_buyers_and_others_do_not_wait_for_each_other(is_buyer: bool) -> None:
    with turns.take_turn(is_buyer=is_buyer), turns.take_turn(is_buyer=is_buyer):
        with turns.take_turn(is_buyer=not is_buyer):
            pass
        with pytest.raises(Unavailable), turns.take_turn(is_buyer=is_buyer):
            pass


@pytest.mark.usefixtures("two")
def test_a_turn_ends_with_an_error_too() -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), turns.take_turn():
            raise ZeroDivisionError


@pytest.mark.usefixtures("two")
def test_who_steps_aside_lets_another_in_and_waits_for_a_turn_again(app: Flask) -> None:
    may_end, came_back = threading.Event(), threading.Event()

    def wait_for_another_machine() -> None:
        with app.app_context(), turns.take_turn():
            with turns.step_aside():
                assert may_end.wait(10)
            came_back.set()

    waiting = [threading.Thread(target=wait_for_another_machine) for _ in range(5)]
    for one in waiting:
        one.start()
        time.sleep(0.01)
    with turns.take_turn(), turns.take_turn():
        may_end.set()
        assert not came_back.wait(0.1)
    for one in waiting:
        one.join(10)
    assert came_back.is_set()


@pytest.mark.usefixtures("two")
def test_who_has_locked_something_keeps_the_turn(app: Flask) -> None:
    with app.app_context(), turns.take_turn(), transaction(), turns.step_aside():
        assert turns._others.qsize() == 1


@pytest.mark.usefixtures("two")
def test_who_has_no_turn_has_none_to_give(app: Flask) -> None:
    with app.app_context(), turns.step_aside():
        assert turns._others.qsize() == 2


@pytest.mark.usefixtures("two")
def test_a_buyer_who_waits_for_daraja_keeps_nobody_else_waiting(
    client: FlaskClient, make: Maker, simulator: Simulator
) -> None:
    simulator.fault("/mpesa/stkpush", "slow", count=2, delay=3)
    ticket_type, free = make.on_sale(price=500), make.on_sale(price=0)
    another, *buyers = (make.headers(make.attendee()) for _ in range(3))
    answers: list[int] = []

    def order(headers: dict[str, str]) -> None:
        answers.append(
            client.application.test_client().post("/orders", json=cart((ticket_type, 1)), headers=headers).status_code
        )

    buying = [threading.Thread(target=order, args=(headers,)) for headers in buyers]
    for one in buying:
        one.start()
    wait_until(lambda: len(make.rows(Payment)) == 2)
    assert client.get("/profile/me", headers=buyers[0]).status_code == 200
    assert client.post("/orders", json=cart((free, 1)), headers=another).status_code == 201
    assert answers == []
    for one in buying:
        one.join(20)
    assert answers == [201, 201]


@pytest.mark.usefixtures("two")
def test_whoever_waits_in_vain_is_told_to_come_again_and_safaricom_never_waits(
    client: FlaskClient, make: Maker
) -> None:
    headers = make.headers(make.attendee())
    turns._others.get()
    turns._others.get()
    answer = client.get("/profile/me", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/health").status_code == 200
    assert client.post("/payments/callback", json={}).status_code != 503
    turns._others.put(None)
    turns._others.put(None)
    assert client.get("/profile/me", headers=headers).status_code == 200
