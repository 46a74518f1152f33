"""The audit log as admins read it."""

from __future__ import annotations

import csv
import io
import json
import socket
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from models import AuditLog, EventStatus, User
from services import audit
from tests.support import Maker
from tests.test_queries import recorded
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction


def read(client: FlaskClient, make: Maker, admin: User, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/admin/logs", query_string=query, headers=make.headers(admin))
    assert answer.status_code == 200, answer.text
    return answer.json


def write(make: Maker, count: int, actor: User | None = None, **details: Any) -> None:
    with make.app.app_context(), transaction() as session:
        target = session.get_one(User, 1)
        for number in range(count):
            audit.record(actor, "tried", target, number=number, **details)


def test_a_line_has_what_the_dashboard_reads(client: FlaskClient, make: Maker) -> None:
    event = make.event(status=EventStatus.PENDING)
    admin = make.admin(first_name="Amina", last_name="Odhiambo")
    body = {"status": "rejected", "reason": "Too loud — “really”"}
    client.patch(f"/admin/{event.id}", json=body, headers=make.headers(admin))
    line = read(client, make, admin)[0]
    assert line.pop("timestamp").endswith("+03:00")
    assert json.loads(line.pop("extra_data")) == {"reason": "Too loud — “really”"}
    assert line == {
        "id": make.rows(AuditLog)[-1].id,
        "user_id": admin.id,
        "user_name": "Amina Odhiambo",
        "action": "event_rejected",
        "target_type": "event",
        "target_id": event.id,
        "status": "Success",
        "ip_address": "127.0.0.1",
    }


def test_what_ticksy_did_itself_is_ticksys(client: FlaskClient, make: Maker) -> None:
    make.paid_order()
    line = read(client, make, make.admin(), action="order_paid")[0]
    assert (line["user_id"], line["user_name"]) == (None, "Ticksy")


def test_lines_come_newest_first_and_in_pages(client: FlaskClient, make: Maker) -> None:
    admin = make.admin()
    write(make, 5)
    ids = [line["id"] for line in read(client, make, admin)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 6
    answer = client.get("/admin/logs?page=2&per_page=4", headers=make.headers(admin))
    assert [line["id"] for line in answer.json] == ids[4:]
    assert answer.headers["X-Total-Count"] == "6"
    assert 'rel="prev"' in answer.headers["Link"]


def test_lines_are_filtered_by_who_what_and_when(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer(first_name="Wanjiru", email="wanjiru@example.co.ke")
    event, other = make.event(organizer), make.event()
    admin = make.admin()

    def found(**query: Any) -> set[tuple[str, int]]:
        return {(line["action"], line["target_id"]) for line in read(client, make, admin, **query)}

    own = {("account_created", organizer.id), ("event_created", event.id)}
    for user in (str(organizer.id), "wanjiru", "wanjiru@example.co.ke", organizer.phone, "0" + organizer.phone[3:]):
        assert found(user=user) == own, user
    assert found(user="nobody") == found(user="4711") == found(user=str(10**30)) == set()
    assert found(action="event_created") == {("event_created", event.id), ("event_created", other.id)}
    assert found(action="event") == set()
    assert found(target_type="event", target_id=event.id) == {("event_created", event.id), ("event_approved", event.id)}
    assert found(user=organizer.id, target_type="event") == {("event_created", event.id)}
    assert found(action="", user="", target_type="", target_id="", **{"from": "", "to": ""}) == found()


def test_a_day_is_meant_to_its_end_in_nairobi(client: FlaskClient, make: Maker) -> None:
    admin = make.admin()
    midnight = clock.to_utc(clock.last_time_at(0)) - timedelta(days=2)  # 21:00 of the day before, in UTC
    day = midnight.astimezone(clock.NAIROBI).date().isoformat()
    for number, moment in enumerate((-1, 0, 86_399, 86_400)):
        with clock.set_to(midnight + timedelta(seconds=moment)):
            write(make, 1, nth=number)
    lines = read(client, make, admin, action="tried", **{"from": day, "to": day})
    assert [json.loads(line["extra_data"])["nth"] for line in lines] == [2, 1]


@pytest.mark.parametrize(
    "query",
    ["target_id=abc", "target_id=0", f"target_id={2**63}", "from=2030", "to=abc", "format=xlsx", "format=", "q=x",
     "action=" + "x" * 61, "user=%00"],
)  # fmt: skip
def test_a_wrong_filter_is_refused(client: FlaskClient, make: Maker, query: str) -> None:
    answer = client.get(f"/admin/logs?{query}", headers=make.headers(make.admin()))
    assert answer.status_code == 422
    assert answer.json["message"].endswith(".")


# ── As a file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_file_has_every_line_that_matches_and_says_the_same(client: FlaskClient, make: Maker) -> None:
    admin = make.admin(first_name="=cmd()", last_name="Amina")
    write(make, 120, actor=admin)
    make.paid_order()
    lines = read(client, make, admin, action="tried", per_page=1_000)
    answer = client.get("/admin/logs?format=csv&action=tried&per_page=10", headers=make.headers(admin))
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="audit-log.csv"')
    assert answer.headers["Cache-Control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))
    assert len(rows) == len(lines) == 120
    assert list(rows[0]) == list(lines[0])
    for row, line in zip(rows, lines, strict=True):
        assert row["user_name"] == "'=cmd() Amina"
        assert row["timestamp"] == line["timestamp"].replace("T", " ").removesuffix("+03:00")
        same = ("id", "user_id", "action", "target_type", "target_id", "status", "extra_data")
        assert [row[name] for name in same] == [str(line[name]) for name in same]


def test_the_file_takes_no_more_statements_for_more_lines(client: FlaskClient, make: Maker) -> None:
    admin = make.admin()
    headers, costs = make.headers(admin), []
    for _ in range(2):
        write(make, 30)
        with recorded(make) as statements:
            assert client.get("/admin/logs?format=csv", headers=headers).data
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 3


def test_a_reader_who_hangs_up_gives_the_database_connection_back(app: Flask, make: Maker) -> None:
    """Over a real socket: the file is longer than all buffers on the way."""
    headers = make.headers(make.admin())
    with app.app_context(), transaction() as session:
        pool = db.engine.pool
        padding = """jsonb_build_object('padding', repeat('x', 5000))"""
        session.execute(
            text(
                "INSERT INTO audit_log (action, target_type, target_id, details, created_at)"
                f" SELECT 'tried', 'user', n, {padding}, now() FROM generate_series(1, 10000) n"
            )
        )
    request = f"GET /admin/logs?format=csv HTTP/1.0\r\nAuthorization: {headers['Authorization']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", app.extensions["settings"].PORT), timeout=10) as connection:
        connection.sendall(request.encode())
        assert b" 200 " in connection.recv(1_000)
        wait_until(lambda: pool.checkedout() == 1)  # type: ignore[attr-defined]
    wait_until(lambda: pool.checkedout() == 0)  # type: ignore[attr-defined]


def test_only_admins_get_the_file(client: FlaskClient, make: Maker) -> None:
    assert client.get("/admin/logs?format=csv", headers=make.headers(make.organizer())).status_code == 403
    assert client.get("/admin/logs?format=csv").status_code == 401
