"""The queue of pushes: its pace, its order, and that none goes out twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

import config
import tasks
from models import OrderStatus, PaymentStatus, TicketType, User
from services import booking, pushes
from tests import live
from tests.scripted_daraja import PUSH, QUERY, RESET, Reply, ScriptedDaraja, Seen, scripted_daraja
from tests.support import Maker, cart, changed_settings, success
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction

SEND = next(task for task in tasks.TASKS if task.name == "send queued prompts")
EXPIRE = next(task for task in tasks.TASKS if task.name == "expire orders")
ASK = next(task for task in tasks.TASKS if task.name == "ask about silent payments")


@pytest.fixture
def daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    with scripted_daraja(app) as daraja:
        yield daraja


@pytest.fixture
def slow_line(app: Flask) -> Iterator[None]:
    """One push in ten seconds: the first goes out at once, all others wait for the worker."""
    with changed_settings(app, MPESA_MAX_PUSHES_PER_SECOND=0.1):
        yield


class Buyer:
    def __init__(self, client: FlaskClient, make: Maker, ticket_type: TicketType) -> None:
        self.client, self.make, self.ticket_type = client, make, ticket_type
        self.user: User = make.attendee()
        self.headers = make.headers(self.user)

    def order(self) -> TestResponse:
        return self.client.post("/orders", json=cart((self.ticket_type, 1)), headers=self.headers)

    def read(self, order_id: int) -> Any:
        return self.client.get(f"/orders/{order_id}", headers=self.headers).json


@pytest.fixture
def new_buyer(client: FlaskClient, make: Maker) -> Callable[[], Buyer]:
    ticket_type = make.on_sale(quantity=500)
    return lambda: Buyer(client, make, ticket_type)


@pytest.fixture
def queued(daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer]) -> tuple[Buyer, int]:
    """A buyer and the order whose prompt is next in the queue; one before it has just gone out."""
    assert new_buyer().order().status_code == 201
    buyer = new_buyer()
    answer = buyer.order()
    assert (answer.status_code, daraja.count(PUSH)) == (201, 1)
    return buyer, answer.json["orderId"]


def send(app: Flask) -> int:
    """What the worker does about queued prompts."""
    return tasks.run_once(app, SEND)


def send_when_due(app: Flask) -> int:
    """As `send`, at the moment of the first turn."""
    with app.app_context():
        turn = db.session.scalar(text("SELECT min(push_at) FROM payments WHERE status = 'queued'"))
    with clock.set_to(turn or clock.now()):
        return send(app)


def send_later(app: Flask, seconds: float) -> int:
    with clock.set_to(clock.ahead(seconds=seconds)):
        return send(app)


# ── Waiting in the queue ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_that_comes_at_once_is_taken_and_later_ones_wait_with_their_number(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    buyers = [new_buyer() for _ in range(4)]
    answers = [buyer.order() for buyer in buyers]
    assert [answer.status_code for answer in answers] == [201] * 4
    assert daraja.count(PUSH) == 1
    assert [answer.json["order"]["queue_position"] for answer in answers] == [None, 1, 2, 3]
    assert [answer.json["order"]["payments"][0]["status"] for answer in answers] == ["prompted"] + ["queued"] * 3
    assert "PIN" in answers[0].json["message"]
    assert "number 2 in the queue" in answers[2].json["message"]
    assert "number 2 in the queue" in answers[2].json["customerMessage"]
    again = buyers[2].order()
    assert (again.status_code, again.json["orderId"]) == (200, answers[2].json["orderId"])
    refused = buyers[2].client.post(f"/orders/{answers[2].json['orderId']}/pay", headers=buyers[2].headers)
    assert (refused.status_code, refused.json["code"]) == (409, "prompt_pending")
    assert buyers[2].client.get(f"/payments/check/{answers[2].json['checkoutRequestID']}").json == {"data": {}}

    assert send(app) == 0
    assert send_when_due(app) == 1
    shown = [buyer.read(answer.json["orderId"]) for buyer, answer in zip(buyers, answers, strict=True)]
    assert [order["queue_position"] for order in shown] == [None, None, 1, 2]
    assert daraja.count(PUSH) == 2


def test_the_worker_sends_a_queued_prompt_once_under_a_secret_that_pays(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker
) -> None:
    _, order_id = queued
    [payment] = make.payments(order_id)
    before = payment.callback_token_hash
    assert (payment.status, payment.pushed_at) == (PaymentStatus.QUEUED, None)
    assert [send_when_due(app), send_when_due(app)] == [1, 0]
    [payment] = make.payments(order_id)
    assert (payment.status, payment.callback_token_hash != before) == (PaymentStatus.PROMPTED, True)
    order = make.read_order(order_id)
    push = daraja.requests(PUSH)[-1].body
    assert (push["AccountReference"], push["Amount"], push["PhoneNumber"]) == (order.reference, 500, order.phone)
    make.deliver(push["CallBackURL"].rpartition("/")[2], success(500))
    assert make.status(order_id) is OrderStatus.PAID


def test_several_workers_do_not_send_one_twice(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    for _ in range(6):
        new_buyer().order()
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET push_at = now() WHERE push_at IS NOT NULL"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: send(app), range(24)))
    sent = Counter(seen.body["AccountReference"] for seen in daraja.requests(PUSH))
    assert (len(sent), set(sent.values())) == (6, {1})


def test_a_slow_daraja_slows_no_other_push(
    app: Flask, queued: tuple[Buyer, int], daraja: ScriptedDaraja, new_buyer: Callable[[], Buyer]
) -> None:
    new_buyer().order()
    let_go, waiting = threading.Event(), threading.Semaphore(0)

    def hold_up(seen: Seen) -> None:
        waiting.release()
        assert let_go.wait(4)

    daraja.before_answering = hold_up
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET push_at = now() WHERE push_at IS NOT NULL"))
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(send, app) for _ in range(2)]
        assert waiting.acquire(timeout=3)
        assert waiting.acquire(timeout=3)
        let_go.set()
        assert [one.result(5) for one in running] == [1, 1]


@pytest.mark.parametrize("end", ["cancelled", "expired", "ended unnoticed"])
def test_a_queued_prompt_of_an_order_that_is_over_is_not_sent(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker, end: str
) -> None:
    buyer, order_id = queued
    later = 60 * 11 if end != "cancelled" else 10
    if end == "cancelled":
        assert buyer.client.delete(f"/orders/{order_id}", headers=buyer.headers).status_code == 200
    elif end == "expired":
        with clock.set_to(clock.ahead(seconds=later)):
            assert tasks.run_once(app, EXPIRE) == 2
    assert send_later(app, later) == 1
    [payment] = make.payments(order_id)
    assert (payment.status, payment.result_code) == (PaymentStatus.REFUSED, "not_sent")
    assert (daraja.count(PUSH), send_later(app, later)) == (1, 0)
    assert buyer.read(order_id)["queue_position"] is None


def test_cancelling_a_queued_order_frees_its_places_and_its_buyer_to_order_again(
    queued: tuple[Buyer, int], make: Maker
) -> None:
    buyer, order_id = queued
    assert buyer.client.delete(f"/orders/{order_id}", headers=buyer.headers).status_code == 200
    assert make.read_ticket_type(buyer.ticket_type.id).held == 1
    again = buyer.order()
    assert (again.status_code, again.json["order"]["payments"][0]["status"]) == (201, "queued")


def test_a_queued_prompt_counts_for_the_cool_down_from_its_turn_on(
    queued: tuple[Buyer, int], new_buyer: Callable[[], Buyer]
) -> None:
    buyer, _ = queued
    other = new_buyer()
    body = cart((buyer.ticket_type, 1), phone=buyer.user.phone)
    answer = other.client.post("/orders", json=body, headers=other.headers)
    assert (answer.status_code, answer.json["code"]) == (429, "prompt_cooldown")
    assert 125 <= int(answer.headers["Retry-After"]) <= 130


def test_when_the_queue_is_full_nothing_is_ordered(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    with changed_settings(app, PUSH_QUEUE_SECONDS=25, MPESA_MAX_PUSHES_PER_SECOND=0.1):
        answers = [new_buyer().order() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 503, 503]
    assert answers[-1].json["code"] == "push_queue_full"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 6
    assert (make.read_ticket_type(1).held, daraja.count(PUSH)) == (3, 1)
    free = make.on_sale(price=0)
    with changed_settings(app, PUSH_QUEUE_SECONDS=0, MPESA_MAX_PUSHES_PER_SECOND=0.1):
        assert Buyer(new_buyer().client, make, free).order().status_code == 201


def test_without_a_limit_there_is_no_queue(
    app: Flask, daraja: ScriptedDaraja, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    assert [new_buyer().order().json["order"]["payments"][0]["status"] for _ in range(8)] == ["prompted"] * 8
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM mpesa_line")) == 0


def test_what_was_queued_under_a_limit_is_sent_when_there_is_none_any_more(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker
) -> None:
    with changed_settings(app, MPESA_MAX_PUSHES_PER_SECOND=0):
        assert send_later(app, 60) == 1
    assert make.payments(queued[1])[0].status is PaymentStatus.PROMPTED


def test_a_hold_waits_with_its_prompt_and_no_longer(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    with changed_settings(app, MPESA_MAX_PUSHES_PER_SECOND=0.01, HOLD_MINUTES=1, HOLD_EXTENSION_MINUTES=1):
        new_buyer().order()
        order_id = new_buyer().order().json["orderId"]
    order = make.read_order(order_id)
    [payment] = order.payments
    wait = payment.push_at - order.created_at
    assert wait == pytest.approx(timedelta(seconds=100), abs=timedelta(seconds=2))
    # Three minutes would be too long: the hold and its extension are two, and the wait is not counted.
    assert order.expires_at - order.created_at == pytest.approx(timedelta(minutes=2) + wait, abs=timedelta(seconds=1))


def test_nothing_is_asked_about_a_prompt_that_was_never_sent(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int]
) -> None:
    with clock.set_to(clock.ahead(hours=1)), app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET next_query_at = NULL WHERE status <> 'queued'"))
    with clock.set_to(clock.ahead(hours=1)):
        assert tasks.run_once(app, ASK) == 0
    assert daraja.count(QUERY) == 0


# ── Turns that were missed, and processes that died ───────────────────────────────────────────────────────────────


def test_a_prompt_whose_process_died_before_its_turn_is_taken_up_after_half_a_minute(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, make: Maker
) -> None:
    order, token = make.order()
    [payment] = order.payments
    assert (payment.status, payment.push_at) == (PaymentStatus.QUEUED, None)
    assert send_later(app, 29) == 0
    assert send_later(app, 31) == 1
    assert make.payments(order.id)[0].status is PaymentStatus.PROMPTED
    assert daraja.requests(PUSH)[0].body["CallBackURL"].rpartition("/")[2] != token


def test_a_process_that_was_slow_leaves_its_prompt_to_the_worker_that_took_it(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, make: Maker
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    with app.app_context():
        lines = [booking.Line(ticket_type.id, 1)]
        prompt = booking.place_order(actor=buyer, phone=buyer.phone, lines=lines).prompt
    assert prompt is not None
    assert send_later(app, 31) == 1
    with app.app_context():
        pushes.send_prompt(prompt)
    assert daraja.count(PUSH) == 1


def test_turns_that_were_missed_are_not_made_up_for_all_at_once(
    app: Flask, daraja: ScriptedDaraja, slow_line: None, new_buyer: Callable[[], Buyer], make: Maker
) -> None:
    for _ in range(4):
        new_buyer().order()
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET push_at = now() - interval '1 minute' WHERE push_at IS NOT NULL"))
        session.execute(text("UPDATE mpesa_line SET next_push_at = now() - interval '1 minute'"))
    assert [send(app) for _ in range(4)] == [1, 1, 1, 0]
    assert daraja.count(PUSH) == 2
    waiting = [make.payments(number)[0] for number in (3, 4)]
    assert [one.status for one in waiting] == [PaymentStatus.QUEUED] * 2
    assert waiting[1].push_at - waiting[0].push_at == pytest.approx(timedelta(seconds=10), abs=timedelta(seconds=1))


def test_a_push_that_was_lost_after_a_long_wait_is_unknown_only_then(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker
) -> None:
    with app.app_context(), transaction() as session:
        session.execute(
            text("UPDATE payments SET status = 'submitting', pushed_at = created_at + interval '100 s' WHERE id = 2")
        )
    for seconds, lost in ((100, 0), (125, 0), (190, 1)):
        with app.app_context(), clock.set_to(clock.ahead(seconds=seconds)):
            assert pushes.mark_lost_prompts() == lost
    assert make.payments(queued[1])[0].status is PaymentStatus.UNKNOWN


def test_while_daraja_is_down_queued_prompts_are_refused_and_use_up_no_turns(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker, new_buyer: Callable[[], Buyer]
) -> None:
    _, order_id = queued
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE mpesa_line SET failures = 5, rests_until = now() + interval '1 minute'"))
    assert send_when_due(app) == 1
    [payment] = make.payments(order_id)
    assert (payment.status, payment.result_code, payment.pushed_at) == (PaymentStatus.REFUSED, "resting", None)
    refused = new_buyer().order()
    assert (refused.status_code, refused.json["code"], daraja.count(PUSH)) == (503, "mpesa_unavailable", 1)
    with app.app_context():
        wait = db.session.scalar(text("SELECT extract(epoch FROM next_push_at - now()) FROM mpesa_line"))
    assert wait < 20


def test_after_the_rest_a_queued_prompt_may_be_the_one_that_is_tried(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker
) -> None:
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE mpesa_line SET failures = 5, rests_until = now() - interval '1 second'"))
    daraja.pushes = [RESET]
    assert send_when_due(app) == 1
    assert make.payments(queued[1])[0].status is PaymentStatus.UNKNOWN
    with app.app_context():
        assert db.session.scalar(text("SELECT failures FROM mpesa_line WHERE rests_until > now()")) == 6


def test_a_refusal_of_a_queued_push_is_written_down(
    app: Flask, daraja: ScriptedDaraja, queued: tuple[Buyer, int], make: Maker
) -> None:
    daraja.pushes = [Reply.error("500.001.1001")]
    assert send_when_due(app) == 1
    [payment] = make.payments(queued[1])
    assert (payment.status, payment.result_code) == (PaymentStatus.REFUSED, "500.001.1001")
    assert make.status(queued[1]) is OrderStatus.PENDING


# ── Several processes ─────────────────────────────────────────────────────────────────────────────────────────────

RATE = 20


@contextmanager
def arrivals(daraja: ScriptedDaraja) -> Iterator[list[float]]:
    """When each push arrives."""
    times: list[float] = []
    lock = threading.Lock()

    def note(seen: Seen) -> None:
        if seen.path == PUSH:
            with lock:
                times.append(time.monotonic())

    daraja.before_answering = note
    yield times


def assert_paced(times: list[float]) -> None:
    """No stretch of pushes was quicker than the pace, but for how long a busy machine may keep some of them."""
    ordered = sorted(times)
    for first in range(len(ordered)):
        for last in range(first + 1, len(ordered)):
            least = (last - first) / RATE - 1.5
            assert ordered[last] - ordered[first] >= least, (first, last)


@contextmanager
def workers(environment: dict[str, str], count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MPESA", "FLASK", "SIM"))}
    command = [sys.executable, "-m", "flask", "--app", "app:create_app", "worker"]
    running = [
        subprocess.Popen(command, cwd=config.ROOT, env=inherited | environment, start_new_session=True)
        for _ in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture
def environment(settings: config.Settings, daraja: ScriptedDaraja) -> dict[str, str]:
    names = ("FLASK_ENV", "DATABASE_URL", "SECRET_KEY")
    return {name: str(getattr(settings, name)) for name in names} | {
        "MPESA_BASE_URL": daraja.url,
        "MPESA_MAX_PUSHES_PER_SECOND": str(RATE),
        "MPESA_ANSWER_SECONDS": "2",
        "WORKER_PAUSE_SECONDS": "0.5",
        "LOG_LEVEL": "WARNING",
        "FLASK_SKIP_DOTENV": "1",
    }


@pytest.fixture(autouse=True)
def access_token(app: Flask) -> None:
    """There is one already: pushes whose turns come while it is fetched go out together after it."""
    with app.app_context(), transaction() as session:
        session.execute(
            text("INSERT INTO mpesa_access (id, token, ends_at) VALUES (1, 'token', now() + interval '1 hour')")
        )


def queue_up(app: Flask, make: Maker, ticket_type: TicketType, count: int) -> None:
    """Orders whose processes died before their prompts had a turn."""
    with changed_settings(app, MPESA_MAX_PUSHES_PER_SECOND=RATE), clock.set_to(clock.ago(seconds=31)):
        for _ in range(count):
            make.order(ticket_type=ticket_type)


def statuses(app: Flask) -> Counter[str]:
    with app.app_context():
        rows = db.session.execute(text("SELECT status, count(*) FROM payments GROUP BY status"))
        return Counter(dict(rows.tuples().all()))


def pushes_per_order(daraja: ScriptedDaraja) -> Counter[str]:
    return Counter(seen.body["AccountReference"] for seen in daraja.requests(PUSH))


def test_pushes_of_several_processes_keep_the_pace_and_go_out_once(
    app: Flask, daraja: ScriptedDaraja, environment: dict[str, str], make: Maker
) -> None:
    """Forty that the workers find in the queue, and forty ordered at the same time."""
    ticket_type = make.on_sale(quantity=100)
    queue_up(app, make, ticket_type, 40)
    buyers = [make.attendee() for _ in range(40)]
    wanted = [(make.headers(buyer), cart((ticket_type, 1), phone=buyer.phone)) for buyer in buyers]
    # Nobody is turned away.
    running = live.start(environment | {"WEB_WORKERS": "2", "WEB_THREADS": "480"}, has_worker=False)
    try:
        with arrivals(daraja) as times, workers(environment, 2), ThreadPoolExecutor(40) as pool:
            answers = list(
                pool.map(
                    lambda one: requests.post(f"{running.url}/orders", json=one[1], headers=one[0], timeout=30),
                    wanted,
                )
            )
            wait_until(lambda: statuses(app) == {"prompted": 80}, seconds=30)
    finally:
        running.stop()
    assert Counter(answer.status_code for answer in answers) == {201: 40}
    assert_paced(times)
    with app.app_context():
        turns = db.session.scalar(
            text("SELECT extract(epoch FROM next_push_at - (SELECT min(pushed_at) FROM payments)) FROM mpesa_line")
        )
    assert turns >= 80 / RATE - 0.5
    sent = pushes_per_order(daraja)
    assert (len(sent), set(sent.values())) == (80, {1})


def test_what_a_killed_worker_had_taken_becomes_unknown_and_is_never_pushed_again(
    app: Flask, daraja: ScriptedDaraja, environment: dict[str, str], make: Maker
) -> None:
    ticket_type = make.on_sale(quantity=100)
    queue_up(app, make, ticket_type, 40)
    with arrivals(daraja) as times:
        with workers(environment, 1) as running:
            wait_until(lambda: len(times) >= 8, seconds=30)
            os.killpg(running[0].pid, signal.SIGKILL)
        with workers(environment, 1):
            wait_until(lambda: statuses(app)["queued"] == 0 and _is_quiet(times), seconds=30)
    stuck = statuses(app)["submitting"]
    assert stuck > 0
    assert statuses(app)["prompted"] + stuck == 40
    assert_paced(times)
    with app.app_context(), clock.set_to(clock.ahead(minutes=5)):
        assert pushes.mark_lost_prompts() == stuck
        assert send(app) == 0
    assert statuses(app)["unknown"] == stuck
    sent = pushes_per_order(daraja)
    assert set(sent.values()) == {1}
    assert len(sent) <= 40


def _is_quiet(times: list[float]) -> bool:
    """No push for longer than anything that was taken would have waited."""
    return time.monotonic() - times[-1] > 3
