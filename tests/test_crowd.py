"""Very many who order at once."""

from __future__ import annotations

import queue

import pytest
from flask.testing import FlaskClient

from models import Order
from tests.support import Maker, cart, changed_settings
from utils import turns


def test_who_finds_no_room_is_told_at_once_to_come_again_and_nothing_is_held(client: FlaskClient, make: Maker) -> None:
    ticket_type, headers = make.on_sale(price=0), make.headers(make.attendee())
    with changed_settings(client.application, WEB_THREADS=0):
        refused = client.post("/orders", json=cart((ticket_type, 1)), headers=headers)
    assert (refused.status_code, refused.json["code"]) == (503, "crowded")
    assert 3 <= int(refused.headers["Retry-After"]) <= 8
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
