"""A big export from the server of production: how soon it begins, what memory it takes, what a slow client holds.

`make measure` runs it with 100,000 rows and prints the figures.
"""

from __future__ import annotations

import csv
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import openpyxl
import psutil
import pytest
import requests
from sqlalchemy import text

from config import Settings
from models import User
from tests import live
from tests.daraja.process import Simulator
from tests.support import Maker
from tests.waiting import wait_until
from utils.database import db, transaction

ROWS = int(os.environ.get("EXPORT_ROWS", "20000"))
MOST_GROWTH_MB = 50
#: To the first byte. On this machine it is some hundredths.
MOST_SECONDS = 1.0

FILL = """
WITH bought AS (
    INSERT INTO orders (buyer_id, event_id, reference, poll_id, cart, total_kes, phone, status, created_at, expires_at, paid_at)
    SELECT :buyer, :event, 'LOAD' || lpad(n::text, 8, '0'), md5(n::text), :type || 'x1', 500, '254712345678', 'paid',
           now(), now(), now()
    FROM generate_series(1, :rows) AS n
    RETURNING id
), money AS (
    INSERT INTO payments (order_id, method, amount_kes, receipt, status, created_at, paid_at, refunded_kes, queries)
    SELECT id, 'paybill', 500, 'UKN' || lpad(id::text, 9, '0'), 'paid', now(), now(), 0, 0 FROM bought
)
INSERT INTO tickets (order_id, ticket_type_id, code, price_kes, first_name, last_name, email, phone, rotation, status, issued_at, changed_at)
SELECT id, :type, upper(substr(md5(id::text), 1, 12)), 500, 'Wanjikũ', 'Njoroge ' || id,
       'person' || id || '@example.co.ke', '2547' || lpad(id::text, 8, '0'), 1, 'valid', now(), now()
FROM bought
"""  # noqa: E501


@dataclass(frozen=True)
class Scene:
    server: live.Live
    path: str
    headers: dict[str, str]

    def get(self, file_format: str) -> requests.Response:
        address = f"{self.server.url}{self.path}?format={file_format}"
        return requests.get(address, headers=self.headers, stream=True, timeout=120)

    def memory_mb(self) -> float:
        """Of the server and its worker."""
        server = psutil.Process(self.server.processes[0].pid)
        return sum(one.memory_info().rss for one in [server, *server.children(recursive=True)]) / 1e6


@pytest.fixture
def scene(settings: Settings, simulator: Simulator, make: Maker) -> Iterator[Scene]:
    organizer = make.organizer()
    ticket_type = make.ticket_type(make.event(organizer), quantity=ROWS)
    fill(make, make.attendee(), ticket_type.event_id, ticket_type.id)
    environment = {"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": simulator.url, "WEB_WORKERS": "1"}
    running = live.start(environment, has_worker=False)
    try:
        yield Scene(running, f"/events/{ticket_type.event_id}/attendees/export", make.headers(organizer))
    finally:
        running.stop()


def fill(make: Maker, buyer: User, event_id: int, type_id: int) -> None:
    with make.app.app_context(), transaction() as session:
        session.execute(text(FILL), {"buyer": buyer.id, "event": event_id, "type": type_id, "rows": ROWS})
        session.execute(text("UPDATE ticket_types SET sold = quantity WHERE id = :type"), {"type": type_id})
    with make.app.app_context(), db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE tickets, orders, payments"))


@contextmanager
def watched(scene: Scene) -> Iterator[list[float]]:
    """How much memory the server has at its worst within the block, looked at all the time; first what it had."""
    found, over = [scene.memory_mb()], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            found.append(scene.memory_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def warm_up(scene: Scene) -> None:
    """What a process loads once does not count."""
    answer = scene.get("csv")
    next(answer.iter_content(1024))
    answer.close()
    wait_until(lambda: nobody_reads(scene))


def nobody_reads(scene: Scene) -> bool:
    return requests.get(scene.server.url + "/ready", timeout=10).ok


def test_a_big_export_takes_little_memory_begins_at_once_and_holds_nothing(scene: Scene, make: Maker) -> None:
    warm_up(scene)
    for file_format in ("csv", "xlsx"):
        measure(scene, file_format)
    leave_in_the_middle(scene, make)


def measure(scene: Scene, file_format: str) -> None:
    began = time.perf_counter()
    with watched(scene) as memory:
        answer = scene.get(file_format)
        pieces = answer.iter_content(64 * 1024)
        first = next(pieces)
        to_first = time.perf_counter() - began
        body = first + b"".join(pieces)
        took = time.perf_counter() - began
    growth = max(memory) - memory[0]
    rows = count_rows(file_format, body)
    print(  # noqa: T201
        f"\n{file_format}: {rows} rows, {len(body) / 1e6:.1f} MB, first byte {to_first:.3f} s, all {took:.1f} s,"
        f" memory {memory[0]:.0f} MB and {growth:.1f} more"
    )
    assert rows == ROWS
    assert growth < MOST_GROWTH_MB
    if file_format == "csv":  # XLSX is whole before it is sent
        assert to_first < MOST_SECONDS


def count_rows(file_format: str, body: bytes) -> int:
    if file_format == "csv":
        return sum(1 for _ in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))) - 1
    sheet = openpyxl.load_workbook(io.BytesIO(body), read_only=True).worksheets[0]
    return sum(1 for _ in sheet.iter_rows()) - 1


def leave_in_the_middle(scene: Scene, make: Maker) -> None:
    """Clients that stop reading hold no connection of the database; those that go away leave nothing behind."""
    address = urlsplit(scene.server.url)
    request = f"GET {scene.path} HTTP/1.1\r\nHost: x\r\nAuthorization: {scene.headers['Authorization']}\r\n\r\n"
    with watched(scene) as memory:
        clients = [socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(5)]
        for client in clients:
            client.sendall(request.encode())
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        wait_until(lambda: open_transactions(make) == 0)
        for client in clients:
            client.close()
        wait_until(lambda: open_transactions(make) == 0 and nobody_reads(scene))
        assert scene.get("csv").status_code == 200
    growth = max(memory) - memory[0]
    print(f"\nfive slow clients: memory {memory[0]:.0f} MB and {growth:.1f} more")  # noqa: T201
    assert growth < MOST_GROWTH_MB


def open_transactions(make: Maker) -> int:
    """Of the server on this database, idle or not; what asks is not counted."""
    with make.app.app_context(), db.engine.connect() as connection:
        query = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""
        return int(connection.scalar(text(query)) or 0)
