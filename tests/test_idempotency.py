"""Idempotency-Key: a request that is repeated is done once, and answered as it was the first time."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from typing import Any

import psycopg2
import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

import tasks
from config import Settings
from models import IdempotencyKey, Order, OrderStatus, Payment, TicketType, User
from services import booking, idempotency, pushes
from services.idempotency import Answer, Taken
from services.prompts import Prompt
from tests import live
from tests.scripted_daraja import HANG, PUSH, Reply, Seen, scripted_daraja
from tests.support import Maker, cart, changed_settings, failure, success, together
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction

KEY = "3f0c7c1e-one-tap"
REMOVE = next(task for task in tasks.TASKS if task.name == "remove old idempotency keys")
ERROR = "500.001.1000"


class Buyer:
    """Somebody with a cart, a key, and a browser that repeats itself."""

    def __init__(self, make: Maker, *, user: User | None = None, ticket_type: TicketType | None = None) -> None:
        self.make = make
        self.user = user or make.attendee()
        self.ticket_type = ticket_type or make.on_sale()
        self.headers = make.headers(self.user)

    def send(self, path: str, key: str | None = KEY, **sent: Any) -> TestResponse:
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key})
        return self.make.app.test_client().post(path, headers=headers, **sent)

    def order(self, key: str | None = KEY, *, quantity: int = 1) -> TestResponse:
        return self.send("/orders", key, json=cart((self.ticket_type, quantity)))

    def pay(self, order: Order, key: str | None = KEY) -> TestResponse:
        return self.send(f"/orders/{order.id}/pay", key, json={})


@pytest.fixture
def buyer(make: Maker) -> Buyer:
    return Buyer(make)


def told(answer: TestResponse) -> tuple[int, str]:
    """An error's status and code."""
    return answer.status_code, answer.json["code"]


def is_replay(answer: TestResponse) -> bool:
    return answer.headers.get("Idempotency-Replayed") == "true"


def assert_repeats(again: TestResponse, first: TestResponse) -> None:
    assert not is_replay(first)
    assert is_replay(again)
    assert (again.status_code, again.data, again.mimetype) == (first.status_code, first.data, first.mimetype)


def assert_keeps(again: TestResponse, first: TestResponse) -> None:
    """As `assert_repeats`, where the first was shown by who took over."""
    assert is_replay(again)
    assert (again.status_code, again.data) == (first.status_code, first.data)


def take(app: Flask, buyer: Buyer, *, body: bytes = b"{}") -> Taken:
    """The key, taken by a process that says no more."""
    with app.app_context():
        request_hash = idempotency.hash_request("POST", "/orders", body)
        taken = idempotency.take(actor=buyer.user, key=KEY, request_hash=request_hash)
    assert isinstance(taken, Taken)
    return taken


# ── The same again ────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_that_is_repeated_is_one_order_with_one_prompt(app: Flask, make: Maker, buyer: Buyer) -> None:
    with scripted_daraja(app) as daraja:
        first = buyer.order()
        again = [buyer.order() for _ in range(3)]
        assert daraja.count(PUSH) == 1
    assert first.status_code == 201
    for answer in again:
        assert_repeats(answer, first)
    assert len(make.rows(Order)) == 1


def test_a_replay_after_the_order_was_paid_gives_the_first_answer(app: Flask, make: Maker, buyer: Buyer) -> None:
    """Without the key, the same cart would be bought once more."""
    with scripted_daraja(app) as daraja:
        first = buyer.order()
        token = daraja.requests(PUSH)[0].body["CallBackURL"].rsplit("/", 1)[1]
        make.deliver(token, success(500))
        assert make.status(first.json["orderId"]) is OrderStatus.PAID
        again = buyer.order()
        assert daraja.count(PUSH) == 1
    assert_repeats(again, first)
    assert again.json["order"]["status"] == "pending"
    assert len(make.rows(Order)) == 1


def test_another_prompt_that_is_asked_for_twice_is_sent_once(app: Flask, make: Maker, buyer: Buyer) -> None:
    order, token = make.order(buyer.user)
    make.deliver(token, failure())
    with scripted_daraja(app) as daraja, clock.set_to(clock.ahead(seconds=130)):
        first = buyer.pay(order)
        again = buyer.pay(order)
        assert daraja.count(PUSH) == 1
    assert first.status_code == 200
    assert_repeats(again, first)


def test_a_form_is_repeated_like_json(make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    form = "phone=0712345678"
    first = buyer.send("/orders", data=form, content_type="application/x-www-form-urlencoded")
    again = buyer.send("/orders", data=form, content_type="application/x-www-form-urlencoded")
    assert first.json["errors"] == [{"field": "tickets", "message": "tickets is missing."}]
    assert_repeats(again, first)
    other = buyer.send("/orders", data=form + "9", content_type="application/x-www-form-urlencoded")
    assert told(other) == (422, "idempotency_key_reused")


def test_without_a_key_nothing_is_kept(make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    assert [buyer.order(None).status_code for _ in range(2)] == [201, 200]
    assert make.rows(IdempotencyKey) == []


def test_an_address_that_does_not_promise_it_ignores_the_key(make: Maker, buyer: Buyer) -> None:
    for path, sent in (("/orders/1/claim", {"json": {}}), ("/login", {"json": {}})):
        assert told(buyer.send(path, **sent)) == (422, "invalid")
    assert make.rows(IdempotencyKey) == []


# ── Other requests ────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_persons_same_key_is_another_key(make: Maker) -> None:
    ticket_type = make.on_sale(price=0)
    first, second = (Buyer(make, ticket_type=ticket_type) for _ in range(2))
    answers = [first.order(), second.order()]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert not any(is_replay(answer) for answer in answers)
    assert_repeats(second.order(), answers[1])
    assert {order.buyer_id for order in make.rows(Order)} == {first.user.id, second.user.id}


def test_a_key_serves_one_body_and_one_address(make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    first = buyer.order()
    order = make.rows(Order)[0]
    for other in (buyer.order(quantity=2), buyer.pay(order), buyer.send("/orders", data=b"")):
        assert told(other) == (422, "idempotency_key_reused")
        assert not is_replay(other)
    assert len(make.rows(Order)) == 1
    assert_repeats(buyer.order(), first)


@pytest.mark.parametrize("key", ["", "k" * 256, "caf\xe9", "a\x7fb", "a\tb"])
def test_a_key_that_is_none_is_refused(make: Maker, buyer: Buyer, key: str) -> None:
    answer = buyer.order(key)
    assert told(answer) == (422, "invalid")
    assert [error["field"] for error in answer.json["errors"]] == ["Idempotency-Key"]
    assert make.rows(Order) == []


@pytest.mark.parametrize("key", ["k", "k" * 255, '"8e03978e-40d5"', "a b!~", "'; DROP TABLE orders; --"])
def test_any_printable_key_will_do(make: Maker, key: str) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    first = buyer.order(key)
    assert first.status_code == 201
    assert_repeats(buyer.order(key), first)


# ── What is kept ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refusal_by_a_rule_is_repeated_although_it_would_not_be_refused_now(make: Maker) -> None:
    ticket_type = make.on_sale(price=0, quantity=1)
    other = make.paid_order(ticket_type=ticket_type)
    buyer = Buyer(make, ticket_type=ticket_type)
    first = buyer.order()
    assert told(first) == (409, "sold_out")
    with make.app.app_context(), transaction() as session:
        session.execute(text("UPDATE ticket_types SET quantity = 5"))
    assert_repeats(buyer.order(), first)
    assert buyer.order("another key").status_code == 201
    assert other.status is OrderStatus.PAID


def test_not_found_and_wrong_input_are_repeated(make: Maker, buyer: Buyer) -> None:
    foreign, _ = make.order()
    first = buyer.pay(foreign, "one")
    assert told(first) == (404, "not_found")
    assert_repeats(buyer.pay(foreign, "one"), first)
    first = buyer.send("/orders", "two", json={"tickets": []})
    assert told(first) == (422, "invalid")
    assert_repeats(buyer.send("/orders", "two", json={"tickets": []}), first)
    first = buyer.send("/orders", "three", data="{", content_type="application/json")
    assert told(first) == (400, "malformed")
    assert_repeats(buyer.send("/orders", "three", data="{", content_type="application/json"), first)


def test_503_is_not_kept_so_that_the_same_key_may_succeed(app: Flask, make: Maker, buyer: Buyer) -> None:
    with scripted_daraja(app) as daraja:
        daraja.tokens = [Reply.error("500.003.1001", 503)]
        first = buyer.order()
        assert told(first) == (503, "mpesa_unavailable")
        assert make.rows(IdempotencyKey) == []
        daraja.tokens = []
        with clock.set_to(clock.ahead(seconds=130)):
            again = buyer.order()
        assert (again.status_code, is_replay(again), daraja.count(PUSH)) == (200, False, 1)
    assert again.json["orderId"] == make.rows(Order)[0].id


def test_429_is_not_kept(make: Maker) -> None:
    buyer = Buyer(make)
    with changed_settings(make.app, PROMPTS_PER_PHONE_AND_HOUR=1):
        make.order(phone=buyer.user.phone)
        refused = buyer.order()
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
    assert make.rows(IdempotencyKey) == []


def test_a_bug_frees_the_key(make: Maker, buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        db.session.execute(text("SELECT 1 / 0"))

    with monkeypatch.context() as patch:
        patch.setattr(booking, "check_out", fail)
        assert told(buyer.order()) == (500, "internal_error")
    assert make.rows(IdempotencyKey) == []


def test_an_answer_that_cannot_be_kept_is_given_nevertheless(
    make: Maker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    real = booking.check_out

    def break_the_table(**facts: Any) -> Any:
        checkout = real(**facts)
        with transaction() as session:
            session.execute(text("ALTER TABLE idempotency_keys RENAME TO gone"))
        return checkout

    monkeypatch.setattr(booking, "check_out", break_the_table)
    try:
        assert buyer.order().status_code == 201
    finally:
        with make.app.app_context(), transaction() as session:
            session.execute(text("ALTER TABLE gone RENAME TO idempotency_keys"))
    assert "is not kept" in caplog.text


# ── While the first is at work ────────────────────────────────────────────────────────────────────────────────────


def test_a_repetition_while_the_first_is_at_work_is_told_to_wait(app: Flask, make: Maker, buyer: Buyer) -> None:
    second_is_answered = threading.Event()
    connections: list[int] = []
    with scripted_daraja(app) as daraja, ThreadPoolExecutor(1) as pool:

        def wait(_seen: object) -> None:
            assert second_is_answered.wait(10)

        daraja.before_answering = wait
        running = pool.submit(buyer.order)
        try:
            wait_until(lambda: daraja.seen)
            with app.app_context():
                connections.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
            second = buyer.order()
            other = buyer.order(quantity=2)
        finally:
            second_is_answered.set()
        first = running.result(30)
        assert daraja.count(PUSH) == 1
    assert told(second) == (409, "request_in_progress")
    assert int(second.headers["Retry-After"]) > 0
    assert told(other) == (422, "idempotency_key_reused")
    assert connections == [0]
    assert first.status_code == 201
    assert_repeats(buyer.order(), first)


def test_of_many_at_once_one_does_it(app: Flask, make: Maker, buyer: Buyer) -> None:
    with scripted_daraja(app) as daraja:
        answers = together(*[buyer.order] * 8)
        assert daraja.count(PUSH) == 1
    [first] = [answer for answer in answers if answer.status_code == 201 and not is_replay(answer)]
    for answer in answers:
        if answer is not first and answer.status_code == 201:
            assert_repeats(answer, first)
        elif answer is not first:
            assert told(answer) == (409, "request_in_progress")
    assert len(make.rows(Order)) == len(make.rows(IdempotencyKey)) == 1


def test_a_key_whose_process_was_killed_is_free_once_its_lease_ends(app: Flask, make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    body = b'{"tickets": [{"ticket_id": %d, "quantity": 1}]}' % buyer.ticket_type.id
    sent = {"data": body, "content_type": "application/json"}
    take(app, buyer, body=body)
    assert told(buyer.send("/orders", **sent)) == (409, "request_in_progress")
    settings = app.extensions["settings"]
    longest_push = 4 * (settings.MPESA_CONNECT_SECONDS + settings.MPESA_ANSWER_SECONDS)
    with clock.set_to(clock.ahead(seconds=longest_push)):
        assert told(buyer.send("/orders", **sent)) == (409, "request_in_progress")
    with clock.set_to(clock.ahead(seconds=longest_push + 61)):
        assert told(buyer.order()) == (422, "idempotency_key_reused")
        first = buyer.send("/orders", **sent)
    assert first.status_code == 201
    assert_repeats(buyer.send("/orders", **sent), first)


def test_who_lost_the_lease_neither_overwrites_nor_frees_the_key(app: Flask, make: Maker, buyer: Buyer) -> None:
    late = take(app, buyer)
    with clock.set_to(clock.ahead(minutes=30)):
        now = take(app, buyer)
    with app.app_context():
        idempotency.finish(late, Answer(201, b'{"late": true}'))
        idempotency.finish(late, None)
        assert make.rows(IdempotencyKey)[0].status is None
        idempotency.finish(now, Answer(201, b'{"late": false}'))
    [kept] = make.rows(IdempotencyKey)
    assert (kept.status, bytes(kept.body or b"")) == (201, b'{"late": false}')


def test_of_many_who_take_over_at_once_one_does_it(app: Flask, make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    body = b'{"tickets": [{"ticket_id": %d, "quantity": 1}]}' % buyer.ticket_type.id
    with clock.set_to(clock.ago(minutes=30)):
        take(app, buyer, body=body)
    answers = together(*[lambda: buyer.send("/orders", data=body, content_type="application/json")] * 6)
    assert sum(answer.status_code == 201 and not is_replay(answer) for answer in answers) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(make.rows(Order)) == 1


# ── Killed after the work, before the answer ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Within the block processes are killed after their work, before their answer is kept."""

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "finish", lambda *_: None)
            yield

    return dying


def token_of(push: Seen) -> str:
    return str(push.body["CallBackURL"]).rpartition("/")[2]


def after_lease() -> datetime:
    """And after the time in which the same prompt may not come again."""
    return clock.ahead(minutes=3)


def test_an_order_that_was_placed_and_paid_is_shown_and_not_placed_again(
    app: Flask, make: Maker, buyer: Buyer, dying: Callable[[], AbstractContextManager[None]]
) -> None:
    with scripted_daraja(app) as daraja:
        with dying():
            first = buyer.order()
        make.deliver(token_of(daraja.requests(PUSH)[0]), success(500))
        assert told(buyer.order()) == (409, "request_in_progress")
        with clock.set_to(after_lease()):
            again, once_more = buyer.order(), buyer.order()
        assert daraja.count(PUSH) == 1
    assert (again.status_code, is_replay(again)) == (200, True)
    assert (again.json["orderId"], again.json["order"]["status"]) == (first.json["orderId"], "paid")
    assert again.json["checkoutRequestID"] == first.json["checkoutRequestID"]
    assert_keeps(once_more, again)
    assert len(make.rows(Order)) == len(make.rows(Payment)) == 1


def test_a_prompt_that_was_sent_for_an_order_is_not_sent_again(
    app: Flask, make: Maker, buyer: Buyer, dying: Callable[[], AbstractContextManager[None]]
) -> None:
    """Not even where it has failed, so that another one could be."""
    order, token = make.order(buyer.user)
    make.deliver(token, failure())
    with scripted_daraja(app) as daraja, clock.set_to(clock.ahead(seconds=130)):
        with dying():
            buyer.pay(order)
        make.deliver(token_of(daraja.requests(PUSH)[0]), failure())
        with clock.set_to(after_lease()):
            again = buyer.pay(order)
            assert (again.status_code, is_replay(again), daraja.count(PUSH)) == (200, True, 1)
            assert [one["status"] for one in again.json["order"]["payments"]] == ["failed", "failed"]
            assert buyer.pay(order, "another key").status_code == 200
        assert daraja.count(PUSH) == 2


def test_what_fails_after_the_work_is_repeated_with_the_order_as_it_stands(
    make: Maker, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_prompt: Prompt) -> None:
        db.session.execute(text("SELECT 1 / 0"))

    with monkeypatch.context() as patch:
        patch.setattr(pushes, "send_prompt", fail)
        assert told(buyer.order()) == (500, "internal_error")
        again = buyer.order()
    [order] = make.rows(Order)
    assert (again.status_code, is_replay(again), again.json["orderId"]) == (200, True, order.id)
    assert_keeps(buyer.order(), again)


def test_whose_lease_ended_before_the_work_does_not_do_it(app: Flask, make: Maker, buyer: Buyer) -> None:
    order, token = make.order(buyer.user)
    make.deliver(token, failure())
    late = take(app, buyer)
    with clock.set_to(clock.ahead(minutes=5)), app.app_context():
        take(app, buyer)
        lines = [booking.Line(buyer.ticket_type.id, 1)]
        with pytest.raises(idempotency.InProgress):
            booking.place_order(actor=buyer.user, phone=buyer.user.phone, lines=lines, taken=late)
        with pytest.raises(idempotency.InProgress):
            booking.pay_order(actor=buyer.user, order_id=order.id, taken=late)
    assert [one.id for one in make.rows(Order)] == [order.id]
    assert (len(make.rows(Payment)), make.read_ticket_type(buyer.ticket_type.id).held) == (1, 0)


def test_a_key_past_its_hours_forgets_its_order(
    app: Flask, make: Maker, dying: Callable[[], AbstractContextManager[None]]
) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    with clock.set_to(clock.ago(hours=25)), dying():
        first = buyer.order()
    again = buyer.order()
    assert (again.status_code, is_replay(again)) == (201, False)
    assert again.json["orderId"] != first.json["orderId"]


def test_a_repetition_does_not_wait_for_the_work(app: Flask, make: Maker, buyer: Buyer, settings: Settings) -> None:
    """Although the work, which waits for a ticket type that somebody else has locked, has written into the key."""
    with closing(connect(settings)) as connection, ThreadPoolExecutor(1) as pool, scripted_daraja(app):
        connection.cursor().execute(f"SELECT 1 FROM ticket_types WHERE id = {buyer.ticket_type.id} FOR UPDATE")
        running = pool.submit(buyer.order)
        wait_until(lambda: waiting_for_locks(settings) == 1)
        assert told(buyer.order()) == (409, "request_in_progress")
        assert waiting_for_locks(settings) == 1
        connection.rollback()
        assert running.result(30).status_code == 201


def connect(settings: Settings) -> Any:
    url = make_url(settings.DATABASE_URL).set(drivername="postgresql")
    return psycopg2.connect(url.render_as_string(hide_password=False))


def waiting_for_locks(settings: Settings) -> int:
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def test_after_a_kill_in_the_middle_of_the_push_the_same_key_brings_no_second_one(
    app: Flask, settings: Settings, make: Maker, buyer: Buyer
) -> None:
    body = json.dumps(cart((buyer.ticket_type, 1)))
    sent: dict[str, Any] = {"data": body, "headers": {"Content-Type": "application/json"}}
    with scripted_daraja(app) as daraja:
        daraja.pushes = [HANG]
        running = live.start({"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": daraja.url}, has_worker=False)
        try:
            with ThreadPoolExecutor(1) as pool:
                headers = sent["headers"] | buyer.headers | {"Idempotency-Key": KEY}
                first = pool.submit(requests.post, f"{running.url}/orders", data=body, headers=headers, timeout=30)
                wait_until(lambda: daraja.count(PUSH))
                os.killpg(running.processes[0].pid, signal.SIGKILL)
                assert isinstance(first.exception(30), requests.ConnectionError)
        finally:
            running.stop()
        make.deliver(token_of(daraja.requests(PUSH)[0]), success(500))
        with app.app_context(), transaction() as session:
            session.execute(text("UPDATE idempotency_keys SET working_until = now()"))
        again = buyer.send("/orders", data=body, content_type="application/json")
        assert daraja.count(PUSH) == 1
    assert (again.status_code, is_replay(again), again.json["order"]["status"]) == (200, True, "paid")
    assert len(make.rows(Order)) == 1


# ── The end of a key ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_past_its_hours_is_a_new_one(app: Flask, make: Maker) -> None:
    buyer = Buyer(make, ticket_type=make.on_sale(price=0))
    with clock.set_to(clock.ago(hours=25)):
        taken = take(app, buyer, body=b"of yesterday")
        with app.app_context():
            idempotency.finish(taken, Answer(201, b"{}"))
    first = buyer.order()
    assert (first.status_code, is_replay(first)) == (201, False)
    assert_repeats(buyer.order(), first)


def test_the_worker_removes_keys_past_their_hours(app: Flask, make: Maker, buyer: Buyer) -> None:
    taken = take(app, buyer)
    with app.app_context():
        idempotency.finish(taken, Answer(201, b"{}"))
    with clock.set_to(clock.ahead(hours=23)):
        assert tasks.run_once(app, REMOVE) == 0
    assert len(make.rows(IdempotencyKey)) == 1
    with clock.set_to(clock.ahead(hours=24)):
        assert tasks.run_once(app, REMOVE) == 1
    assert make.rows(IdempotencyKey) == []


# ── Browsers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_browser_may_send_the_key_and_read_that_it_was_a_replay(client: FlaskClient) -> None:
    origin = {"Origin": "http://localhost:5173"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    allowed = client.options("/orders", headers=origin | asked).headers["Access-Control-Allow-Headers"]
    assert "idempotency-key" in allowed.lower()
    exposed = client.get("/orders", headers=origin).headers["Access-Control-Expose-Headers"]
    assert "Idempotency-Replayed" in exposed.split(", ")
