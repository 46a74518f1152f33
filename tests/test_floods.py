"""The coarse net: how many requests one address may send in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import config
from app import create_app
from resources import URLS
from tests.support import failure, free_port
from utils.database import db

Start = Callable[..., FlaskClient]


@pytest.fixture
def start(settings: config.Settings) -> Iterator[Start]:
    """Ticksy with a net of five requests a minute, unless told otherwise."""
    apps: list[Flask] = []

    def start(**changes: Any) -> FlaskClient:
        changes = {"RATELIMIT_ENABLED": True, "RATELIMIT_PER_MINUTE": 5} | changes
        apps.append(create_app(settings.model_copy(update=changes)))
        return apps[-1].test_client()

    yield start
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def get(client: FlaskClient, path: str = "/", address: str = "41.90.1.1", **headers: str) -> int:
    return client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code


def test_what_is_more_than_so_many_requests_a_minute_is_turned_away(start: Start) -> None:
    client = start()
    assert [get(client) for _ in range(7)] == [200] * 5 + [429] * 2
    refused = client.get("/openapi.json", environ_overrides={"REMOTE_ADDR": "41.90.1.1"})
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert refused.headers["X-Request-Id"]


def test_another_address_has_a_count_of_its_own_and_an_ipv6_customer_has_one(start: Start) -> None:
    client = start(RATELIMIT_PER_MINUTE=1)
    assert [get(client, address=address) for address in ("41.90.1.1", "41.90.1.2", "41.90.1.1")] == [200, 200, 429]
    assert [get(client, address=f"2c0f:fe38:1:2::{host}") for host in (1, 2)] == [200, 429]


def test_addresses_that_do_not_exist_count_too(start: Start) -> None:
    client = start()
    assert [get(client, "/wp-login.php") for _ in range(6)] == [404] * 5 + [429]


def test_a_buyer_who_is_turned_away_polls_on(start: Start) -> None:
    client = start(RATELIMIT_PER_MINUTE=1)
    get(client)
    refused = client.get(f"/payments/check/{'0' * 32}", environ_overrides={"REMOTE_ADDR": "41.90.1.1"})
    assert (refused.status_code, refused.json["data"]) == (429, {})
    assert refused.json["message"]


def test_safaricom_the_load_balancer_and_preflights_are_never_turned_away(start: Start) -> None:
    client = start(RATELIMIT_PER_MINUTE=1)
    get(client)
    assert get(client) == 429
    secrets = {"token": "0" * 32, "result_token": "0" * 32, "secret": "0" * 32}
    for resource, addresses in URLS:
        for address in addresses:
            if not resource.is_never_flooded:
                continue
            path = address
            for name, value in secrets.items():
                path = path.replace(f"<secret:{name}>", value)
            for _ in range(3):
                answer = client.open(
                    path,
                    method="POST" if hasattr(resource, "post") else "GET",
                    data=failure(),
                    environ_overrides={"REMOTE_ADDR": "41.90.1.1"},
                )
                assert answer.status_code != 429, path
    for _ in range(3):
        answer = client.options("/orders", environ_overrides={"REMOTE_ADDR": "41.90.1.1"})
        assert answer.status_code == 200


def test_only_these_are_exempt() -> None:
    exempt = {address.split("/<")[0] for resource, all_ in URLS for address in all_ if resource.is_never_flooded}
    assert exempt == {
        *("/health", "/ready", "/api/payment/callback", "/payments/callback"),
        *("/api/payment/result", "/api/payment/timeout", "/api/payment/c2b"),
    }


def test_who_calls_is_who_the_trusted_proxy_says_and_nobody_else(start: Start) -> None:
    def statuses(client: FlaskClient, *told: str) -> list[int]:
        return [get(client, **{"X-Forwarded-For": one}) for one in told]

    behind_one = start(RATELIMIT_PER_MINUTE=1, TRUSTED_PROXIES=1)
    assert statuses(behind_one, "1.1.1.1", "2.2.2.2", "9.9.9.9, 1.1.1.1", "8.8.8.8, 1.1.1.1") == [200, 200, 429, 429]
    behind_none = start(RATELIMIT_PER_MINUTE=1)
    assert statuses(behind_none, "1.1.1.1", "2.2.2.2") == [200, 429]


def test_a_redis_that_is_away_takes_nothing_down(start: Start) -> None:
    client = start(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    started = time.monotonic()
    assert [get(client) for _ in range(7)] == [200] * 5 + [429] * 2
    assert time.monotonic() - started < 5


def test_the_net_is_off_where_limits_are(start: Start) -> None:
    client = start(RATELIMIT_ENABLED=False)
    assert [get(client) for _ in range(7)] == [200] * 7
