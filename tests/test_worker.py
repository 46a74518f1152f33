"""The worker: what it takes over, and how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from flask import Flask
from sqlalchemy import text

import config
import tasks
from models import MessageChannel, OrderStatus, PaymentStatus
from services import settlement
from tests.scripted_daraja import QUERY, Reply, query_result, scripted_daraja
from tests.support import (
    Maker,
    changed_settings,
    failure,
    success,
    together,
)
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction

SETTLE, ASK, LOST, EXPIRE = (
    next(task for task in tasks.TASKS if task.name == name)
    for name in ("settle waiting messages", "ask about silent payments", "mark lost prompts", "expire orders")
)


def receive(app: Flask, token: str, body: bytes) -> int:
    """A callback whose process was killed right after its answer."""
    with app.app_context():
        return settlement.receive_callback(token=token, body=body, remote_address=None)


def test_it_settles_what_a_killed_process_left(app: Flask, make: Maker) -> None:
    orders = [make.order() for _ in range(3)]
    for number, (order, token) in enumerate(orders):
        receive(app, token, success(order.total_kes, f"UKN000000{number}"))
    assert make.tickets() == []
    assert tasks.run_once(app, SETTLE) == 3
    assert {make.status(order.id) for order, _ in orders} == {OrderStatus.PAID}
    assert (len(make.tickets()), tasks.run_once(app, SETTLE)) == (3, 0)


def test_messages_about_one_prompt_are_settled_in_the_order_they_came(app: Flask, make: Maker) -> None:
    order, token = make.order()
    for body in (failure(1037), success(order.total_kes), failure(1032)):
        receive(app, token, body)
    tasks.run_once(app, SETTLE)
    assert [message.verdict for message in make.messages()] == ["Fail: 1037", "Settle", "Ignore: paid already"]
    assert make.status(order.id) is OrderStatus.PAID


def test_a_message_that_cannot_be_settled_holds_up_no_other(
    app: Flask, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, stuck_token = make.order()
    order, token = make.order()
    receive(app, stuck_token, success(stuck.total_kes, "UKN0000AAA"))
    receive(app, token, success(order.total_kes, "UKN0000BBB"))
    with app.app_context(), transaction() as session:
        # Somebody has broken its stock by hand: selling its place is more than the database allows.
        session.execute(text("UPDATE ticket_types SET held = 0 WHERE id = :id"), {"id": stuck.items[0].ticket_type_id})
    assert tasks.run_once(app, SETTLE) == 1
    assert (make.status(order.id), make.status(stuck.id)) == (OrderStatus.PAID, OrderStatus.PENDING)
    assert "could not be settled" in caplog.text

    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE ticket_types SET held = 1 WHERE id = :id"), {"id": stuck.items[0].ticket_type_id})
    with clock.set_to(clock.ahead(seconds=2)):
        assert tasks.run_once(app, SETTLE) == 1
    assert make.status(stuck.id) is OrderStatus.PAID


def test_an_answer_that_cannot_be_settled_keeps_nobody_else_from_being_asked_about(app: Flask, make: Maker) -> None:
    orders = [make.order()[0] for _ in range(2)]
    with app.app_context(), transaction() as session:
        for order in orders:
            values = {"checkout": f"ws_CO_{order.id}", "id": order.payments[0].id}
            session.execute(
                text("UPDATE payments SET checkout_request_id = :checkout, next_query_at = created_at WHERE id = :id"),
                values,
            )
        broken = orders[0].items[0].ticket_type_id
        session.execute(text("UPDATE ticket_types SET held = 0 WHERE id = :id"), {"id": broken})
    with scripted_daraja(app) as daraja:
        daraja.queries = [Reply.json(ResponseCode="0", ResultCode="0", ResultDesc="Paid")]
        assert tasks.run_once(app, ASK) == 2
    assert [make.status(order.id) for order in orders] == [OrderStatus.PENDING, OrderStatus.PAID]


def test_it_asks_about_silent_payments_only_when_they_are_due(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(7777, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        wait_until(lambda: tasks.run_once(app, ASK))
        assert daraja.requests(QUERY)[0].body["CheckoutRequestID"] == "ws_CO_1"
        assert make.messages()[-1].http_status == 500
        assert make.messages()[-1].channel is MessageChannel.STK_QUERY
        daraja.queries = [query_result("0", "ws_CO_1")]
        wait_until(lambda: tasks.run_once(app, ASK))
        assert make.status(order.id) is OrderStatus.PAID
        assert (tasks.run_once(app, ASK), daraja.count(QUERY)) == (0, 2)


def test_several_workers_do_not_ask_twice(app: Flask, make: Maker) -> None:
    for number in range(6):
        _, token = make.order()
        with changed_settings(app, QUERY_PAUSES_SECONDS=[0.0, 60.0]):
            make.deliver(token, failure(7777, checkout=f"ws_CO_{number}"))
    with scripted_daraja(app) as daraja, changed_settings(app, QUERY_PAUSES_SECONDS=[60.0]):
        together(*[lambda: tasks.run_once(app, ASK)] * 4)
        asked = [seen.body["CheckoutRequestID"] for seen in daraja.requests(QUERY)]
    assert sorted(asked) == [f"ws_CO_{number}" for number in range(6)]


def test_after_a_day_it_asks_no_more(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure(7777, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        for hours in (23, 25, 26):
            with clock.set_to(clock.ahead(hours=hours)):
                tasks.run_once(app, ASK)
        assert daraja.count(QUERY) == 2
    assert make.payments(order.id)[0].next_query_at is None


@pytest.mark.parametrize("answer", [Reply(200, b"<html>"), Reply.error("500.001.1001"), Reply(500)])
def test_no_answer_is_no_verdict(app: Flask, make: Maker, answer: Reply) -> None:
    order, token = make.order()
    make.deliver(token, failure(7777, checkout="ws_CO_1"))
    with scripted_daraja(app) as daraja:
        daraja.queries = [answer]
        wait_until(lambda: tasks.run_once(app, ASK))
    [payment] = make.payments(order.id)
    assert (payment.status, make.status(order.id)) == (PaymentStatus.UNKNOWN, OrderStatus.PENDING)
    assert payment.next_query_at is not None


def test_a_push_whose_sender_died_becomes_unknown_and_its_callback_still_pays(app: Flask, make: Maker) -> None:
    order, token = make.order()
    assert tasks.run_once(app, LOST) == 0
    with clock.set_to(clock.ahead(minutes=2)):
        assert tasks.run_once(app, LOST) == 1
    assert make.payments(order.id)[0].status is PaymentStatus.UNKNOWN
    make.deliver(token, success(order.total_kes))
    assert make.status(order.id) is OrderStatus.PAID


def test_it_writes_down_that_orders_have_expired(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    order, _ = make.order(ticket_type=ticket_type, quantity=2)
    paid = make.paid_order(ticket_type=ticket_type)
    assert tasks.run_once(app, EXPIRE) == 0
    with clock.set_to(clock.ahead(minutes=11)):
        assert [tasks.run_once(app, EXPIRE) for _ in range(2)] == [2, 0]
    assert [make.status(one.id) for one in (order, paid)] == [OrderStatus.EXPIRED, OrderStatus.PAID]
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (1, 0)


def test_expiring_in_several_workers_gives_places_back_once(app: Flask, make: Maker) -> None:
    one = make.on_sale(name="One", quantity=20)
    two = make.ticket_type(one.event, name="Two", quantity=20)
    with clock.set_to(clock.ago(minutes=11)):
        for _ in range(6):
            make.place(make.attendee(), (one, 2), (two, 1))
    assert sum(together(*[lambda: tasks.run_once(app, EXPIRE)] * 4)) == 18
    assert [make.read_ticket_type(kind.id).held for kind in (one, two)] == [0, 0]


def test_a_task_that_raises_is_logged_and_runs_again(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    stop, runs = threading.Event(), []

    def stumble() -> int:
        runs.append(1)
        if len(runs) == 3:
            stop.set()
        raise RuntimeError("stumbled")

    tasks._repeat(app, tasks.Task("stumble", stumble), 0.01, stop)
    assert len(runs) == 3
    assert "task 'stumble' failed" in caplog.text
    assert tasks.run_once(app, tasks.Task("stumble", stumble)) == 0


def test_the_worker_process_works_and_stops_when_told(app: Flask, settings: config.Settings, make: Maker) -> None:
    order, token = make.order()
    receive(app, token, success(order.total_kes))
    names = ("FLASK_ENV", "DATABASE_URL", "SECRET_KEY", "MPESA_BASE_URL")
    given = {name: str(getattr(settings, name)) for name in names} | {"WORKER_PAUSE_SECONDS": "0.1"}
    environment = {"PATH": os.environ["PATH"]} | given
    command = [sys.executable, "-m", "flask", "--app", "app:create_app", "worker"]
    with subprocess.Popen(command, cwd=config.ROOT, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        try:
            wait_until(lambda: make.status(order.id) is OrderStatus.PAID)
            started = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            _, complaints = worker.communicate(timeout=10)
        finally:
            worker.kill()
    assert (worker.returncode, time.monotonic() - started < 5) == (0, True)
    assert "Traceback" not in complaints


def test_nothing_is_left_checked_out(app: Flask, make: Maker) -> None:
    make.paid_order()
    for task in tasks.TASKS:
        tasks.run_once(app, task)
    with app.app_context():
        assert db.engine.pool.checkedout() == 0
