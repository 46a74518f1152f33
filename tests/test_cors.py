"""Browsers of the frontend's origins may read every answer, errors too. `test_errors.py` has the ordinary ones."""

from __future__ import annotations

import io

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import config
from models import User
from tests.support import Maker, cart, changed_settings

ORIGINS = [
    *("http://localhost:5173", "http://127.0.0.1:5173", "http://localhost:4173", "http://127.0.0.1:4173"),
    "https://ticksy-frontend.vercel.app",
]
ORIGIN = {"Origin": ORIGINS[0]}


def assert_is_readable(answer: TestResponse, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGINS[0]
    assert {"X-Request-Id", "Retry-After", "ETag"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_the_frontends_origins_are_allowed_by_default_in_development(client: FlaskClient) -> None:
    assert config.load({"FLASK_ENV": "development", "DATABASE_URL": "postgresql://a:b@127.0.0.1/c"}).CORS_ORIGINS == (
        ORIGINS
    )
    for origin in ORIGINS:
        assert client.get("/health", headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin


def test_nowhere_else_is_any_origin_allowed_by_default() -> None:
    assert config.Settings.model_fields["CORS_ORIGINS"].default == []


def test_401_404_405_413_and_422_may_be_read(client: FlaskClient) -> None:
    assert_is_readable(client.get("/orders", headers=ORIGIN), 401)
    assert_is_readable(client.get("/nowhere", headers=ORIGIN), 404)
    assert_is_readable(client.patch("/login", headers=ORIGIN), 405)
    too_much = {"data": io.BytesIO(b" " * 300_000), "content_type": "application/json"}
    assert_is_readable(client.post("/login", headers=ORIGIN, **too_much), 413)
    assert_is_readable(client.post("/login", json={}, headers=ORIGIN), 422)


def test_429_may_be_read_with_its_retry_after(app: Flask, client: FlaskClient, make: Maker) -> None:
    buyer: User = make.attendee()
    headers = make.headers(buyer) | ORIGIN
    with changed_settings(app, PROMPTS_PER_BUYER_AND_HOUR=1):
        assert client.post("/orders", json=cart((make.on_sale(), 1)), headers=headers).status_code == 201
        answer = client.post("/orders", json=cart((make.on_sale(price=700), 1)), headers=headers)
    assert_is_readable(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0


def test_304_may_be_read(client: FlaskClient) -> None:
    tag = client.get("/events").headers["ETag"]
    assert_is_readable(client.get("/events", headers=ORIGIN | {"If-None-Match": tag}), 304)


@pytest.mark.parametrize("origin", ORIGINS)
def test_preflights_allow_what_the_frontend_sends_and_are_kept_for_a_day(client: FlaskClient, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,content-type,if-none-match",
    }
    answer = client.options("/profile/me", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type, if-none-match"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
