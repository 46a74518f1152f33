"""What a request costs as the platform grows: the same requests on databases of a hundred to a hundred thousand events,
and a thousand to a million orders, in this process, so that the cost is Ticksy's and PostgreSQL's alone."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy.engine import make_url

import config
from app import create_app
from benchmarks import seeding
from models import TicketType, User
from services import booking, sessions
from services.booking import Line
from utils.database import db, transaction

#: Events and orders.
SIZES = ((100, 1_000), (1_000, 10_000), (10_000, 100_000), (100_000, 1_000_000))
#: Each request is measured so often, or for so many seconds.
_TIMES, _SECONDS = 15, 3.0
_DATABASE = "ticksy_growth"

Point = tuple[int, float]


def measure(url: str, *, is_short: bool = False, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """On the server at `url`, as its superuser, in a database of its own, which is removed. It asserts nothing.

    For each request: `points`, orders and milliseconds, of several tries the least, since others may use the processor
    as well; `slope`, the exponent of the line that fits them best in a log-log plot: 0 is flat, 1 grows with the data.
    `axis` says by what the sizes are counted.
    """
    points: dict[str, list[Point]] = {}
    for events, orders in SIZES[:2] if is_short else SIZES:
        began = time.perf_counter()
        own = make_url(url).set(database=_DATABASE).render_as_string(hide_password=False)
        _recreate(url)
        try:
            app = _app(own)
            seeding.fill(own, events=events, orders=orders)
            tell(f"{orders:,} orders filled in within {time.perf_counter() - began:.0f} s")
            for name, milliseconds in _measure_all(app).items():
                points.setdefault(name, []).append((orders, round(milliseconds, 2)))
                tell(f"  {name:<22} {milliseconds:9.1f} ms")
            with app.app_context():
                db.engine.dispose()
        finally:
            _recreate(url, only_drop=True)
    return {"axis": "orders", "requests": {name: {"points": p, "slope": slope(p)} for name, p in points.items()}}


def slope(points: list[Point]) -> float:
    """Of the least-squares line through the logarithms."""
    if len(points) < 2:
        return 0.0
    line = statistics.linear_regression([math.log(size) for size, _ in points], [math.log(ms) for _, ms in points])
    return round(line.slope, 3)


def _recreate(url: str, *, only_drop: bool = False) -> None:
    connection = psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        if not only_drop:
            cursor.execute(f"CREATE DATABASE {_DATABASE}")
    connection.close()


def _app(url: str) -> Flask:
    app = create_app(
        config.load(
            {
                "FLASK_ENV": "testing",
                "DATABASE_URL": url,
                "SECRET_KEY": "only-for-benchmarks-0123456789-abcdef",
                "LOG_LEVEL": "WARNING",
                "RATELIMIT_ENABLED": "false",
                "OPEN_ORDERS_PER_EVENT": "1000000",
                "PROMPTS_PER_BUYER_AND_HOUR": "1000000",
            }
        )
    )
    with app.app_context():
        upgrade()
    return app


def _measure_all(app: Flask) -> dict[str, float]:
    with app.app_context():
        numbers = dict(db.session.execute(db.text(_NUMBERS)).mappings().one())
        admin, organizer = _log_in(seeding.ADMIN_ID), _log_in(seeding.ORGANIZER_ID)
        buyer = db.session.get_one(User, numbers["buyer"])
        mine = _log_in(buyer.id)
        ticket_type = db.session.query(TicketType).filter_by(event_id=seeding.HOT_EVENT_ID).first()
        db.session.expunge_all()
        db.session.remove()
    last_page = max(1, numbers["upcoming"] // 20)
    client = app.test_client()

    def get(path: str, headers: dict[str, str] | None = None) -> Callable[[], None]:
        def ask() -> None:
            answer = client.get(path, headers=headers)
            assert answer.status_code == 200, answer.text

        return ask

    phones = itertools.count(10_000_000)

    def book() -> None:
        """The transaction alone, each time as for another phone."""
        with app.app_context():
            lines = [Line(ticket_type.id, 1)]
            booking.place_order(actor=buyer, phone=f"2541{next(phones)}", lines=lines)

    requests = {
        "list": get("/events?per_page=20"),
        "list, last page": get(f"/events?per_page=20&page={last_page}"),
        "list of a category": get("/events?per_page=20&category=music"),
        "list, newest": get("/events?per_page=20&sort=newest"),
        "list, cheapest": get("/events?per_page=20&sort=cheapest"),
        "search, many found": get("/events?per_page=20&q=jazz"),
        "search, few found": get("/events?per_page=20&q=simba22"),
        "event": get(f"/events/{seeding.HOT_EVENT_ID}"),
        "availability": get(f"/events/{seeding.HOT_EVENT_ID}/availability"),
        "booking": book,
        "my orders": get("/orders?per_page=20", mine),
        "my tickets": get("/my-tickets?per_page=20", mine),
        "organizer's overview": get("/organizer/overview", organizer),
        "organizer's statistics": get("/organizer/stats?per_page=20", organizer),
        "dashboard": get("/admin/dashboard", admin),
        "report of a month": get(f"/admin/reports?start_date={numbers['first']}&end_date={numbers['last']}", admin),
        "report of all time": get("/admin/reports?per_page=100", admin),
    }
    return {name: _least_ms(request) for name, request in requests.items()}


_NUMBERS = """
SELECT (SELECT buyer_id FROM orders JOIN users ON users.id = buyer_id AND users.status = 'active'
        WHERE event_id = 1 AND orders.status = 'paid' ORDER BY orders.id LIMIT 1) AS buyer,
       (SELECT count(*) FROM events WHERE status = 'approved' AND ends_at > now()) AS upcoming,
       (now() - interval '40 days')::date::text AS first, (now() - interval '10 days')::date::text AS last
"""


def _log_in(user_id: int) -> dict[str, str]:
    with transaction() as session:
        opened = sessions.start(session.get_one(User, user_id), user_agent="growth")
    return {"Authorization": f"Bearer {opened.access_token}"}


def _least_ms(request: Callable[[], None]) -> float:
    request()  # what is read first is not in memory yet
    took, began = [], time.perf_counter()
    while len(took) < _TIMES and (len(took) < 3 or time.perf_counter() - began < _SECONDS):
        start = time.perf_counter()
        request()
        took.append((time.perf_counter() - start) * 1000)
    return min(took)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        print(json.dumps(measure(sys.argv[1], is_short="--short" in sys.argv, tell=print), indent=1))
