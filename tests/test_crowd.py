"""Very many who order at once."""

from __future__ import annotations

import json
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import Order
from services import crowd
from tests.support import Maker, cart, changed_settings
from utils import logger, refusals, turns


def test_who_finds_no_room_is_told_at_once_to_come_again_and_nothing_is_held(client: FlaskClient, make: Maker) -> None:
    ticket_type, headers = make.on_sale(price=0), make.headers(make.attendee())
    with changed_settings(client.application, WEB_THREADS=0):
        refused = client.post("/orders", json=cart((ticket_type, 1)), headers=headers)
    assert (refused.status_code, refused.json["code"]) == (503, "crowded")
    assert int(refused.headers["Retry-After"]) >= 3
    assert make.rows(Order) == []
    assert client.post("/orders", json=cart((ticket_type, 1)), headers=headers).status_code == 201


def test_whoever_waits_in_vain_for_a_turn_is_told_to_come_again_and_others_are_served(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(turns, "_buyers", queue.SimpleQueue[None]())
    ticket_type, headers = make.on_sale(), make.headers(make.attendee())
    answer = client.post("/orders", json=cart((ticket_type, 1)), headers=headers)
    assert (answer.status_code, answer.json["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert make.rows(Order) == []
    assert client.get("/orders", headers=headers).status_code == 200


def test_room_is_left_by_those_who_fail_too(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.attendee())
    with changed_settings(client.application, WEB_THREADS=2):
        codes = {
            client.post("/orders", json={"tickets": [{"ticket_id": 9, "quantity": 1}]}, headers=headers).status_code
            for _ in range(5)
        }
    assert codes == {404}


def test_who_would_wait_for_long_is_told_at_once(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in twelve threads may wait for a first turn; one does."""
    monkeypatch.setattr(turns, "_waiting", {1})
    ticket_type, headers = make.on_sale(price=0), make.headers(make.attendee())
    with changed_settings(client.application, WEB_THREADS=12):
        refused = client.post("/orders", json=cart((ticket_type, 1)), headers=headers)
    assert (refused.status_code, refused.json["code"]) == (503, "crowded")
    assert make.rows(Order) == []
    with changed_settings(client.application, WEB_THREADS=13):
        assert client.post("/orders", json=cart((ticket_type, 1)), headers=headers).status_code == 201


# ── When to come again ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def appointments(monkeypatch: pytest.MonkeyPatch) -> crowd.Appointments:
    """New ones, in a moment that lasts."""
    monkeypatch.setattr(crowd.time, "monotonic", lambda: 1_000.0)
    return crowd.Appointments()


def test_those_who_are_turned_away_are_asked_back_one_after_the_other(appointments: crowd.Appointments) -> None:
    waits = [appointments.make() for _ in range(300)]
    assert waits == sorted(waits)
    assert waits[0] >= 3
    assert max(Counter(waits).values()) <= 16, "asked back in a second, where ten can be let in"
    assert 20 <= waits[-1] <= 25


def test_the_more_are_let_in_the_sooner_the_next_may_come(
    appointments: crowd.Appointments, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(200):
        appointments.note_let_in()
    monkeypatch.setattr(crowd.time, "monotonic", lambda: 1_004.0)  # fifty a second
    assert 6 <= max(appointments.make() for _ in range(300)) <= 8
    monkeypatch.setattr(crowd.time, "monotonic", lambda: 1_600.0)
    assert 20 <= max(appointments.make() for _ in range(300)) <= 25, "what was long ago is forgotten"


def test_nobody_is_told_to_stay_away_for_very_long_and_a_flood_is_soon_forgotten(
    appointments: crowd.Appointments, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [appointments.make() for _ in range(10_000)]
    assert max(waits) == 120
    monkeypatch.setattr(crowd.time, "monotonic", lambda: 1_118.0)
    assert appointments.make() == 3


# ── Those who come after ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowded(client: FlaskClient, make: Maker) -> Iterator[Callable[..., TestResponse]]:
    """Nobody finds room; asks for a ticket, with these headers."""
    body, headers = cart((make.on_sale(price=0), 1)), make.headers(make.attendee())
    with changed_settings(client.application, WEB_THREADS=0):
        yield lambda path="/orders", **more: client.post(path, json=body, headers=headers | more)


def test_the_next_are_told_the_same_without_being_looked_at(
    app: Flask, crowded: Callable[..., TestResponse], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = crowded()
    monkeypatch.setattr(Flask, "wsgi_app", None)
    monkeypatch.setattr(app.extensions["ready_answers"], "_app", None)
    caplog.clear()
    others = [crowded() for _ in range(30)]
    assert {one.status_code for one in others} == {503}
    assert {one.data for one in others} == {first.data}
    own = ("X-Request-Id", "Retry-After")
    assert {*first.headers.keys()} == {*others[0].headers.keys()}
    assert [pair for pair in others[0].headers if pair[0] not in own] == [
        pair for pair in first.headers if pair[0] not in own
    ]
    assert len({one.headers["X-Request-Id"] for one in others}) == 30
    assert len({one.headers["Retry-After"] for one in others}) > 1
    assert all(int(one.headers["Retry-After"]) >= 3 for one in others)


def test_the_log_has_one_line_for_many_of_them_and_each_is_counted(
    client: FlaskClient, crowded: Callable[..., TestResponse], caplog: pytest.LogCaptureFixture
) -> None:
    def order_in_better_times() -> None:
        time.sleep(refusals._TELL_SECONDS + 0.1)
        with changed_settings(client.application, WEB_THREADS=24):
            assert crowded().status_code in (201, 200)

    crowded()
    order_in_better_times()  # tells of all before
    caplog.clear()
    for _ in range(30):
        crowded()
    order_in_better_times()
    lines = [one for one in caplog.records if one.name == "ticksy.http" and one.status == 503]  # type: ignore[attr-defined]
    assert {(one.method, one.route) for one in lines} == {("POST", "/orders")}  # type: ignore[attr-defined]
    assert len(lines) < 10
    written = [json.loads(logger.formatter(is_json=True).format(one)) for one in lines]
    assert sum(one.get("requests", 1) for one in written) == 30


def test_each_origin_is_told_in_its_own_way(crowded: Callable[..., TestResponse], app: Flask) -> None:
    ours = next(iter(app.extensions["settings"].CORS_ORIGINS))
    for _ in range(2):
        assert crowded(Origin=ours).headers["Access-Control-Allow-Origin"] == ours
        assert "Access-Control-Allow-Origin" not in crowded(Origin="https://elsewhere.example").headers
        assert "Access-Control-Allow-Origin" not in crowded().headers


def test_other_addresses_and_better_times_are_not_told_so(
    client: FlaskClient, make: Maker, crowded: Callable[..., TestResponse]
) -> None:
    assert [crowded().status_code for _ in range(2)] == [503, 503]
    assert crowded("/login").status_code in (401, 422, 400)
    assert client.get("/orders", headers=make.headers(make.attendee())).status_code == 200
    with changed_settings(client.application, WEB_THREADS=24):
        assert crowded().status_code == 201
