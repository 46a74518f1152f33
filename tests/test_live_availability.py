"""Live availability: read at this moment, and followed as it changes, on the real server."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy import text

import tasks
from app import create_app
from config import Settings
from models import EventStatus, TicketType
from services import availability
from tests import live
from tests.conftest import FAST, _settings
from tests.live import Live
from tests.support import Maker, changed_settings
from tests.test_queries import MANY, recorded
from tests.waiting import wait_until
from utils import clock, postgres
from utils.database import db

#: A reader has to see a sale within a second, whatever the rest of the suite is doing.
pytestmark = pytest.mark.alone
_nights = itertools.count(1)

SOON = 1.0


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_small_and_true(client: FlaskClient, make: Maker) -> None:
    vip = make.on_sale(name="VIP", price=900, quantity=4)
    early = make.ticket_type(vip.event, name="Early", price=300, quantity=2, sales_end_at=clock.ahead(minutes=5))
    make.paid_order(make.attendee(), vip)
    held, _ = make.order(make.attendee(), early, quantity=2)

    def shown() -> dict[str, Any]:
        return client.get(f"/events/{vip.event_id}/availability").json

    assert shown() == {
        "event_id": vip.event_id,
        "ticket_types": [
            {"id": early.id, "type": "Early", "available": 0, "on_sale": True},
            {"id": vip.id, "type": "VIP", "available": 3, "on_sale": True},
        ],
        "sold_out": False,
    }
    with clock.set_to(held.expires_at):  # nobody has written that the hold is over
        assert shown()["ticket_types"][0] == {"id": early.id, "type": "Early", "available": 2, "on_sale": False}


def test_it_is_sold_out_when_nothing_is_left_of_any_type(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    assert client.get(f"/events/{event.id}/availability").json["sold_out"] is False
    one = make.ticket_type(event, price=0, quantity=2)
    make.order(make.attendee(), one, quantity=1)
    assert client.get(f"/events/{event.id}/availability").json["sold_out"] is False
    make.order(make.attendee(), one, quantity=1)
    assert client.get(f"/events/{event.id}/availability").json["sold_out"] is True


def test_who_has_it_already_gets_304_until_it_changes(client: FlaskClient, make: Maker) -> None:
    one = make.on_sale(price=0)
    address = f"/events/{one.event_id}/availability"
    first = client.get(address)
    assert first.headers["Cache-Control"] == "public, max-age=1"
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    again = client.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"] == "public, max-age=1"
    make.order(make.attendee(), one)
    changed = client.get(address, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json["ticket_types"][0]["available"]) == (200, 9)
    assert changed.headers["ETag"] != tag


@pytest.mark.parametrize("below", ["availability", "availability/stream"])
@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED])
def test_what_is_not_public_is_404_for_strangers_and_kept_by_nobody(
    client: FlaskClient, make: Maker, status: EventStatus, below: str
) -> None:
    organizer = make.organizer()
    address = f"/events/{make.event(organizer, status=status).id}/{below}"
    assert client.get(address).status_code == 404
    assert client.get(address, headers=make.headers(make.attendee())).status_code == 404
    seen = client.get(address, headers=make.headers(organizer))
    assert (seen.status_code, seen.headers["Cache-Control"]) == (200, "no-store")
    assert client.get(f"/events/999999/{below}").status_code == 404


def test_it_takes_three_statements_at_most(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    for number in range(MANY):
        make.ticket_type(event, name=f"Block {number}")
    address, headers = f"/events/{event.id}/availability", make.headers(make.attendee())
    with recorded(make) as statements:
        assert len(client.get(address).json["ticket_types"]) == MANY
    assert len(statements) == 1
    with recorded(make) as statements:
        client.get(address, headers=headers)
    assert len(statements) <= 3


# ── Announcing ────────────────────────────────────────────────────────────────────────────────────────────────────


def take_over(notifier: availability.Notifier) -> None:
    """The lock is free once PostgreSQL has noticed that the connection of who had it is closed."""
    wait_until(lambda: notifier.look() == 0 and notifier._told is not None)


@pytest.fixture
def notifier(app: Flask) -> Iterator[availability.Notifier]:
    with app.app_context():
        for other in availability._notifiers.values():
            other.close()
        made = availability.Notifier()
        take_over(made)
        yield made
        made.close()


def test_it_announces_what_changed_since_the_last_look(make: Maker, notifier: availability.Notifier) -> None:
    one, other = make.on_sale(price=0), make.on_sale(price=0)
    assert (notifier.look(), notifier.look()) == (2, 0)
    make.order(make.attendee(), one)
    assert (notifier.look(), notifier.look()) == (1, 0)
    held, _ = make.order(make.attendee(), make.ticket_type(other.event, name="VIP"), quantity=3)
    assert (notifier.look(), notifier.look()) == (1, 0)
    with clock.set_to(held.expires_at + timedelta(seconds=1)):  # a hold that ended frees places, though no row changed
        assert (notifier.look(), notifier.look()) == (1, 0)
    with clock.set_to(clock.ahead(days=8)):  # it has started: no more sales
        assert (notifier.look(), notifier.look()) == (2, 0)


def test_one_worker_announces_and_another_takes_over(make: Maker, notifier: availability.Notifier) -> None:
    second = availability.Notifier()
    one = make.on_sale(price=0)
    assert (second.look(), notifier.look()) == (0, 1)
    notifier.close()
    take_over(second)
    make.order(make.attendee(), one)
    assert (notifier.look(), second.look()) == (0, 1)
    second.close()


def test_a_lost_connection_is_made_anew(make: Maker, notifier: availability.Notifier) -> None:
    one = make.on_sale(price=0)
    notifier.look()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle'"
    db.session.execute(text(kill + " AND query LIKE '%pg_notify%'"))
    db.session.rollback()
    assert notifier.look() == 0
    take_over(notifier)
    make.order(make.attendee(), one)
    assert notifier.look() == 1


def test_many_changes_fit_into_one_announcement(
    make: Maker, notifier: availability.Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "_MOST_IDS", 1)
    make.on_sale()
    make.on_sale()
    assert notifier.look() == 2
    assert len(" ".join([str(2**63 - 1)] * 300)) < 8_000


# ── Following, on the real server ─────────────────────────────────────────────────────────────────────────────────


class Reader:
    """A browser's EventSource, as far as tests need one."""

    def __init__(self, server: Live, event_id: int, last_id: str | None = None) -> None:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self.answer = requests.get(
            f"{server.url}/events/{event_id}/availability/stream", headers=headers, stream=True, timeout=30
        )
        self.ids: list[str] = []
        self.seen: list[dict[str, Any]] = []
        self.comments = 0
        self.is_over = False
        if self.answer.ok:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self.answer.iter_lines(chunk_size=1):
                name, _, value = line.decode().partition(":")
                if name == "id":
                    self.ids.append(value.strip())
                elif name == "data":
                    self.seen.append(json.loads(value))
                elif line:
                    self.comments += 1
        except (requests.RequestException, AttributeError, ValueError):
            pass
        self.is_over = True

    @property
    def left(self) -> int | None:
        return self.seen[-1]["ticket_types"][0]["available"] if self.seen else None

    def close(self) -> None:
        self.answer.close()


def environment(settings: Settings, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": settings.DATABASE_URL,
        "MPESA_BASE_URL": settings.MPESA_BASE_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "WEB_WORKERS": "1",
        **more,
    }


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[Live]:
    running = live.start(environment(settings, STREAMS_PER_WORKER="6", WEB_THREADS="18"))
    yield running
    running.stop()


@pytest.fixture
def one(make: Maker) -> TicketType:
    # Never the same twice: emptied tables give the same ids again, and what was told of the last test's is remembered.
    return make.on_sale(name=f"Night {next(_nights)}", price=0, quantity=1_000, max_per_order=1_000)


def sell(make: Maker, one: TicketType, quantity: int = 1) -> None:
    make.order(make.attendee(), one, quantity=quantity)


def shows(reader: Reader, left: int, *, seconds: float = 10) -> float:
    """How long it took until the reader was told."""
    started = time.monotonic()
    wait_until(lambda: reader.left == left, seconds=seconds)
    return time.monotonic() - started


def try_to_open(server: Live, event_id: int) -> Reader | None:
    reader = Reader(server, event_id)
    return reader if reader.answer.ok else None


def test_readers_see_a_sale_within_a_second(server: Live, make: Maker, one: TicketType) -> None:
    readers = [Reader(server, one.event_id) for _ in range(2)]
    for reader in readers:
        shows(reader, 1_000)
    assert readers[0].answer.headers["Content-Type"].startswith("text/event-stream")
    for left in (999, 998, 997):
        sell(make, one)
        started = time.monotonic()
        for reader in readers:
            shows(reader, left)
        assert time.monotonic() - started < SOON
    assert readers[0].ids == readers[1].ids
    for reader in readers:
        reader.close()


def test_who_comes_again_is_told_only_what_is_new(server: Live, make: Maker, one: TicketType) -> None:
    first = Reader(server, one.event_id)
    shows(first, 1_000)
    first.close()
    again = Reader(server, one.event_id, last_id=first.ids[-1])
    wait_until(lambda: again.comments)
    assert again.seen == []
    sell(make, one)
    shows(again, 999)
    again.close()
    late = Reader(server, one.event_id, last_id=first.ids[-1])
    shows(late, 999)
    late.close()


def test_a_reader_who_never_reads_holds_up_nobody(server: Live, make: Maker, one: TicketType) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        deaf.connect((host, int(port)))
        deaf.sendall(f"GET /events/{one.event_id}/availability/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reader = Reader(server, one.event_id)
        shows(reader, 1_000)
        for left in range(999, 994, -1):
            sell(make, one)
            assert shows(reader, left) < SOON
        reader.close()


def test_streams_cannot_take_every_thread_and_give_theirs_back(server: Live, make: Maker, one: TicketType) -> None:
    # Those of the tests before are noticed to be gone when they are written to next.
    readers = [wait_until(lambda: try_to_open(server, one.event_id)) for _ in range(6)]
    refused = Reader(server, one.event_id).answer
    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    assert requests.get(f"{server.url}/events/{one.event_id}/availability", timeout=5).ok
    for reader in readers:
        reader.close()
    again = wait_until(lambda: try_to_open(server, one.event_id))
    shows(again, 1_000)
    again.close()


def test_an_event_that_is_called_off_ends_its_streams(
    server: Live, client: FlaskClient, make: Maker, one: TicketType
) -> None:
    reader = wait_until(lambda: try_to_open(server, one.event_id))
    shows(reader, 1_000)
    client.post(f"/events/{one.event_id}/cancel", headers=make.headers(make.admin()))
    wait_until(lambda: reader.is_over)
    assert Reader(server, one.event_id).answer.status_code == 404


def test_open_streams_do_not_delay_the_stop(settings: Settings, make: Maker, one: TicketType) -> None:
    running = live.start(environment(settings), has_worker=False)
    try:
        readers = [Reader(running, one.event_id) for _ in range(3)]
        for reader in readers:
            shows(reader, 1_000)
        [process] = running.processes
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert time.monotonic() - started < 2
        wait_until(lambda: all(reader.is_over for reader in readers))
    finally:
        running.stop()


def test_without_a_worker_a_stream_is_late_but_not_wrong(settings: Settings, make: Maker, one: TicketType) -> None:
    running = live.start(environment(settings), has_worker=False)
    try:
        reader = Reader(running, one.event_id)
        shows(reader, 1_000)
        sell(make, one)
        assert shows(reader, 999) < 8
    finally:
        running.stop()


def test_a_stream_outlives_the_database(tmp_path: Path, app: Flask, settings: Settings) -> None:
    """PostgreSQL is stopped and started again under it."""

    def start(port: int | None = None) -> postgres.EmbeddedPostgres:
        return postgres.start(tmp_path / "data", database="ticksy", port=port, options=FAST, die_with_parent=True)

    database = start()
    own = create_app(_settings(database.url, MPESA_BASE_URL=settings.MPESA_BASE_URL))
    with own.app_context():
        upgrade()
    make = Maker(own)
    one = make.on_sale(price=0, quantity=1_000)
    running = live.start(environment(settings, DATABASE_URL=database.url))
    try:
        reader = Reader(running, one.event_id)
        shows(reader, 1_000)
        with own.app_context():
            db.engine.dispose()
        database.stop()
        assert not reader.is_over
        database = start(database.port)
        sell(make, one)
        shows(reader, 999, seconds=20)
        sell(make, one)
        assert shows(reader, 998) < SOON
    finally:
        running.stop()
        with own.app_context():
            db.engine.dispose()
        database.stop()


def test_a_stream_needs_no_database_connection(app: Flask, make: Maker, one: TicketType) -> None:
    with changed_settings(app, STREAM_MINUTES=1):
        answer = app.test_client().get(f"/events/{one.event_id}/availability/stream")
        chunks = answer.response if isinstance(answer.response, Iterator) else iter(answer.response)
        assert next(chunks).startswith(b"id: ")
        with app.app_context():
            wait_until(lambda: db.engine.pool.checkedout() == 0)
        answer.close()


def test_asking_for_the_head_alone_opens_no_stream(app: Flask, make: Maker, one: TicketType) -> None:
    answer = app.test_client().head(f"/events/{one.event_id}/availability/stream")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "text/event-stream", b"")
    answer.close()
    with app.app_context():
        assert availability._feed().count == 0


def test_the_worker_rests_between_looks_even_when_there_was_something(app: Flask) -> None:
    stop, runs = threading.Event(), []

    def look() -> int:
        runs.append(time.monotonic())
        if len(runs) == 3:
            stop.set()
        return 1

    tasks._repeat(app, tasks.Task("look", look, seconds=0.05), 60, stop)
    assert runs[2] - runs[0] >= 0.1
    [task] = [task for task in tasks.TASKS if task.run is availability.announce_changes]
    assert task.seconds == 0.25
