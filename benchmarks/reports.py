"""The other half of target 6: reports over years of orders, once they are warm."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from flask import Flask

from app import create_app
from benchmarks import cores, database, seeding
from benchmarks.stage import Stage
from config import load
from utils import tokens
from utils.database import db

_ADMIN = (
    *("/admin/reports", "/admin/dashboard", "/admin/analytics/summary", "/admin/analytics/ticket-sales-trends"),
    *("/admin/analytics/revenue-by-ticket-type", "/admin/analytics/top-events-by-revenue"),
    "/admin/analytics/top-event-types",
)
_ORGANIZER = ("/organizer/overview", "/organizer/stats")
_TRIES = 5


def run(stage: Stage, *, events: int, orders: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds by address, in this process, of a database that is made for it on the same server."""
    say(f"making {orders} orders of {events} events")
    url = database.create(stage.database_url, "years")
    stage.migrate(url)
    seeding.fill(url, events=events, orders=orders)
    with cores.on_core(cores.MEASURING):
        app = create_app(load(stage.environment | {"DATABASE_URL": url, "LOG_LEVEL": "ERROR"}))
        callers = ((seeding.ADMIN_ID, _ADMIN), (seeding.ORGANIZER_ID, _ORGANIZER))
        found = {path: _measure(app, _log_in(app, who, url), path) for who, paths in callers for path in paths}
        with app.app_context():
            db.engine.dispose()
    for path, milliseconds in found.items():
        say(f"{path:<42} {milliseconds:>8.1f} ms")
    return {"events": events, "orders": orders, "milliseconds": found}


def _log_in(app: Flask, user_id: int, url: str) -> str:
    query = """INSERT INTO sessions (user_id, family_hash, refresh_hash, created_at, last_used_at, expires_at)
        SELECT %(user)s, sha256(gen_random_uuid()::text::bytea), sha256('any'), now(), now(), now() + interval '1 day'
        RETURNING id"""
    [session] = database.rows(url, query, {"user": user_id})
    with app.app_context():
        return f"Bearer {tokens.issue(user_id, session['id'])}"


def _measure(app: Flask, bearer: str, path: str) -> float:
    client, took = app.test_client(), []
    for _ in range(1 + _TRIES):
        began = time.perf_counter()
        answer = client.get(path, headers={"Authorization": bearer})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (path, answer.get_data(as_text=True)[:500])
    return median(took[1:])
