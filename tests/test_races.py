"""Many at once: several server processes, real commits, money from the simulator."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
import requests
from sqlalchemy.engine import make_url

import tasks
from config import Settings
from models import Order, OrderStatus, Scan, Ticket, TicketType, User
from services import refunds, settlement
from tests import live
from tests.daraja.process import Simulator
from tests.gates import SCANS, Gate, new_nonce, scan_of
from tests.live import Live
from tests.support import (
    Maker,
    cart,
    failure,
    success,
)
from tests.waiting import wait_until
from utils import clock

BUYERS, PLACES = 100, 10


@contextmanager
def serving(settings: Settings, simulator: Simulator, *, processes: int) -> Iterator[Live]:
    """Server processes, and the worker, which settles what comes while buyers wait."""
    environment = {
        "DATABASE_URL": settings.DATABASE_URL,
        "MPESA_BASE_URL": simulator.url,
        "SECRET_KEY": settings.SECRET_KEY,
        "WEB_WORKERS": str(processes),
        # Room for all who come at once, wherever they end up: nobody is to be turned away here.
        "WEB_THREADS": "1200",
    }
    running = live.start(environment)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(settings: Settings, simulator: Simulator) -> Iterator[Live]:
    with serving(settings, simulator, processes=2) as running:
        yield running


@pytest.fixture
def single(settings: Settings, simulator: Simulator) -> Iterator[Live]:
    """All requests are in one process."""
    with serving(settings, simulator, processes=1) as running:
        yield running


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all the calls at the same moment, each in a thread; returns what they returned."""
    gate = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        gate.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def order(server: Live, headers: dict[str, str], body: dict[str, Any]) -> requests.Response:
    return requests.post(server.url + "/orders", json=body, headers=headers, timeout=60)


@pytest.fixture
def buyers(make: Maker) -> list[User]:
    return [make.attendee() for _ in range(BUYERS)]


@pytest.mark.parametrize("price", [0, 500])
@pytest.mark.parametrize("round_", range(3))
def test_a_hundred_buyers_at_once_for_ten_places_get_exactly_ten_tickets(
    server: Live, make: Maker, simulator: Simulator, buyers: list[User], price: int, round_: int
) -> None:
    ticket_type = make.on_sale(price=price, quantity=PLACES)
    headers = [make.headers(buyer) for buyer in buyers]
    answers = at_once([lambda one=one: order(server, one, cart((ticket_type, 1))) for one in headers])

    assert Counter(answer.status_code for answer in answers) == {201: PLACES, 409: BUYERS - PLACES}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"sold_out"}
    won = [answer.json()["orderId"] for answer in answers if answer.status_code == 201]
    wait_until(lambda: all(make.status(one) is OrderStatus.PAID for one in won), seconds=30)
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (PLACES, 0)
    assert len(make.tickets()) == PLACES
    if price:
        assert sum(prompt["status"] == "paid" for prompt in simulator.prompts()) == PLACES


def test_carts_of_two_types_in_either_order_neither_deadlock_nor_oversell(
    server: Live, make: Maker, buyers: list[User]
) -> None:
    event = make.event()
    first = make.ticket_type(event, name="First", price=0, quantity=15)
    second = make.ticket_type(event, name="Second", price=0, quantity=PLACES)
    carts = [cart((first, 1), (second, 1)), cart((second, 1), (first, 1))]
    headers = [make.headers(buyer) for buyer in buyers]
    answers = at_once([lambda n=n, one=one: order(server, one, carts[n % 2]) for n, one in enumerate(headers)])

    assert Counter(answer.status_code for answer in answers) == {201: PLACES, 409: BUYERS - PLACES}
    rows = [make.read_ticket_type(one.id) for one in (first, second)]
    assert [(row.sold, row.held) for row in rows] == [(PLACES, 0), (PLACES, 0)]


def test_places_of_ended_holds_are_sold_once_to_those_who_come_at_once(
    server: Live, make: Maker, buyers: list[User]
) -> None:
    ticket_type = make.on_sale(quantity=PLACES)
    with clock.set_to(clock.ago(minutes=30)):
        ended = [make.order(buyer, ticket_type)[0] for buyer in buyers[:PLACES]]
    assert make.read_ticket_type(ticket_type.id).held == PLACES

    late = [make.headers(buyer) for buyer in buyers[PLACES:]]
    answers = at_once([lambda one=one: order(server, one, cart((ticket_type, 1))) for one in late])
    won = [answer.json()["orderId"] for answer in answers if answer.status_code == 201]
    assert len(won) == PLACES
    assert {make.status(one.id) for one in ended} == {OrderStatus.EXPIRED}
    wait_until(lambda: all(make.status(one) is OrderStatus.PAID for one in won), seconds=30)
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (PLACES, 0)


def test_one_buyer_tapping_many_times_at_once_has_one_order_and_one_prompt(
    server: Live, make: Maker, simulator: Simulator
) -> None:
    buyer = make.attendee(phone="254700000020")  # pays after a quarter of an hour
    ticket_type = make.on_sale(quantity=PLACES)
    headers = make.headers(buyer)
    answers = at_once([lambda: order(server, headers, cart((ticket_type, 2)))] * 10)

    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 9}
    assert len({answer.json()["orderId"] for answer in answers}) == 1
    assert len(simulator.prompts()) == 1
    assert make.read_ticket_type(ticket_type.id).held == 2


def test_the_same_callback_twenty_times_at_once_issues_once(server: Live, make: Maker, simulator: Simulator) -> None:
    ticket_type = make.on_sale(price=700, quantity=PLACES)
    answer = order(server, make.headers(make.attendee()), cart((ticket_type, 3), phone="254700000020"))
    [prompt] = simulator.prompts()
    body = success(2100, checkout=prompt["checkout_request_id"])
    answers = at_once([lambda: requests.post(prompt["callback_url"], data=body, timeout=60)] * 20)

    assert {one.status_code for one in answers} == {200}
    assert answers[0].json() == {"ResultCode": 0, "ResultDesc": "Accepted"}
    wait_until(lambda: len(make.messages()) == 20 and all(one.settled_at for one in make.messages()))
    assert make.status(answer.json()["orderId"]) is OrderStatus.PAID
    assert len(make.tickets()) == 3
    assert make.read_ticket_type(ticket_type.id).sold == 3
    assert Counter(one.verdict for one in make.messages()) == {"Settle": 1, "Ignore: paid already": 19}


def test_success_and_cancellation_at_once_end_in_tickets_or_in_a_refund(
    server: Live, make: Maker, simulator: Simulator
) -> None:
    ticket_type = make.on_sale(quantity=50)
    for _ in range(5):
        buyer = make.attendee()
        placed, token = make.order(buyer, ticket_type)
        address = f"{server.url}/api/payment/callback/{token}"
        body = success(placed.total_kes, f"UKR{placed.id:07d}")
        at_once(
            [
                lambda address=address, body=body: requests.post(address, data=body, timeout=60),
                lambda placed=placed, buyer=buyer: requests.delete(
                    f"{server.url}/orders/{placed.id}", headers=make.headers(buyer), timeout=60
                ),
            ]
        )
        wait_until(lambda placed=placed: make.status(placed.id) in (OrderStatus.PAID, OrderStatus.REFUND_DUE))
        order_now = make.read_order(placed.id)
        assert len(order_now.tickets) == (1 if order_now.status is OrderStatus.PAID else 0)
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (len(make.tickets()), 0)


def connect(settings: Settings) -> Any:
    """A session of our own in the database."""
    url = make_url(settings.DATABASE_URL).set(drivername="postgresql")
    return psycopg2.connect(url.render_as_string(hide_password=False))


@contextmanager
def row_lock(settings: Settings, row: TicketType | Order) -> Iterator[None]:
    """Holds the row's lock in a session of its own."""
    with closing(connect(settings)) as connection:
        connection.cursor().execute(f"SELECT 1 FROM {row.__tablename__} WHERE id = {row.id} FOR UPDATE")
        yield


def test_a_request_waiting_for_a_row_lock_does_not_stop_others_in_its_process(
    single: Live, settings: Settings, make: Maker
) -> None:
    ticket_type = make.on_sale(price=0)
    headers = make.headers(make.attendee())
    with ThreadPoolExecutor(1) as pool:
        with row_lock(settings, ticket_type):
            waiting = pool.submit(order, single, headers, cart((ticket_type, 1)))
            wait_until(lambda: _waits_for_a_lock(settings))
            for _ in range(20):
                assert requests.get(single.url + "/events", timeout=2).status_code == 200
            assert not waiting.done()
        assert waiting.result(10).status_code == 201


def test_a_row_lock_that_is_never_let_go_ends_in_an_honest_503(single: Live, settings: Settings, make: Maker) -> None:
    ticket_type = make.on_sale(price=0)
    with row_lock(settings, ticket_type):
        started = time.monotonic()
        answer = order(single, make.headers(make.attendee()), cart((ticket_type, 1)))
        assert time.monotonic() - started < 10
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert make.tickets() == []


def _waits_for_a_lock(settings: Settings) -> bool:
    with closing(connect(settings)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def test_the_worker_settles_what_a_killed_web_process_left(
    settings: Settings, simulator: Simulator, make: Maker
) -> None:
    """Stored and committed is enough: nothing but the worker knows of the message."""
    placed, token = make.order()
    with make.app.app_context():
        settlement.receive_callback(token=token, body=success(placed.total_kes), remote_address=None)
    running = live.start({"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": simulator.url})
    try:
        wait_until(lambda: make.status(placed.id) is OrderStatus.PAID)
    finally:
        running.stop()
    assert [ticket.order_id for ticket in make.tickets()] == [placed.id]


def test_slow_senders_hold_up_nobody(single: Live, make: Maker) -> None:
    """More half-sent orders than there are database connections."""
    host, port = single.url.removeprefix("http://").split(":")
    token = make.headers(make.attendee())["Authorization"]
    head = f"POST /orders HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 1000\r\n"
    slow = [socket.create_connection((host, int(port))) for _ in range(25)]
    try:
        for one in slow:
            one.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
        for _ in range(5):
            assert requests.get(single.url + "/events", timeout=5).status_code == 200
    finally:
        for one in slow:
            one.close()


def test_money_settled_while_its_event_is_cancelled_is_paid_and_owed_back_or_never_ticketed(
    server: Live, make: Maker
) -> None:
    """Late money, whose order the cancellation would otherwise pass over."""
    for _ in range(5):
        event = make.event()
        ticket_type = make.ticket_type(event)
        placed, token = make.order(ticket_type=ticket_type)
        make.deliver(token, failure())
        with make.app.app_context(), clock.set_to(clock.ahead(minutes=30)):
            tasks.expire_orders()
        body = success(placed.total_kes, f"UKC{placed.id:07d}")
        owner = make.headers(event.organizer)
        at_once(
            [
                lambda token=token, body=body: requests.post(
                    f"{server.url}/api/payment/callback/{token}", data=body, timeout=60
                ),
                lambda event=event, owner=owner: requests.post(
                    f"{server.url}/events/{event.id}/cancel", headers=owner, timeout=60
                ),
            ]
        )
        wait_until(lambda: all(one.settled_at for one in make.messages()))
        with make.app.app_context():
            refunds.refund_cancelled_events()  # the worker's part
        assert make.status(placed.id) is OrderStatus.REFUND_DUE


def test_a_callback_is_answered_while_somebody_else_holds_its_order(
    server: Live, settings: Settings, make: Maker
) -> None:
    placed, token = make.order()
    address = f"{server.url}/api/payment/callback/{token}"
    with row_lock(settings, placed):
        assert requests.post(address, data=success(placed.total_kes), timeout=2).status_code == 200
        assert make.status(placed.id) is OrderStatus.PENDING
    wait_until(lambda: make.status(placed.id) is OrderStatus.PAID)


def test_two_hundred_scans_of_twenty_tickets_at_four_gates_let_twenty_in(server: Live, make: Maker) -> None:
    """Ten scans of each ticket, by an organizer and by gate passes, in two processes at once."""
    gate = Gate(make.app.test_client(), make)
    tickets = gate.tickets(10) + gate.tickets(10)
    devices = [gate.headers, *(gate.a_pass(gates=[f"Gate {number}"]) for number in (2, 3, 4))]

    def scan(ticket: Ticket, device: int) -> dict[str, Any]:
        sent = {"code": ticket.code, "nonce": new_nonce(), "device": f"device {device}"}
        sent |= {"event_id": gate.event.id} if device == 0 else {}
        answer = requests.post(server.url + SCANS, json=sent, headers=devices[device], timeout=60)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()["results"][0]
        return told

    calls = [lambda one=one, n=n: scan(one, n % 4) for n, one in enumerate(tickets * 10)]
    told = at_once(calls)
    assert Counter(one["result"] for one in told) == {"ok": 20, "already_in": 180}
    assert {one["ticket_id"] for one in told if one["result"] == "ok"} == {one.id for one in tickets}
    assert not any(one["is_conflict"] for one in told)
    assert Counter(one.result.value for one in make.rows(Scan)) == {"ok": 20, "already_in": 180}


def test_batches_of_four_devices_at_once_let_each_ticket_in_once(server: Live, make: Maker) -> None:
    """Each device was without a network and let everybody in; all come back at the same moment, each twice."""
    gate = Gate(make.app.test_client(), make)
    tickets = gate.tickets(10) + gate.tickets(10)
    uploads = []
    for device in range(4):
        when = clock.ago(minutes=30 - device).isoformat()
        order = tickets if device % 2 else tickets[::-1]
        scans = [scan_of(one, scanned_at=when) for one in order]
        uploads.append({"event_id": gate.event.id, "device": f"device {device}", "scans": scans})

    def upload(body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(server.url + SCANS, json=body, headers=gate.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    told = at_once([lambda body=body: upload(body) for body in uploads * 2])
    assert told[:4] == told[4:]
    results = [one["result"] for answer in told[:4] for one in answer["results"]]
    assert Counter(results) == {"ok": 20, "already_in": 60}
    assert sum(len(answer["double_entries"]) for answer in told[:4]) == 60
    assert len(make.rows(Scan)) == 80
