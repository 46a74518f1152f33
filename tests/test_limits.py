"""What may not be tried without end: logging in, above all, and what else protects accounts and money."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.errors import LockNotAvailable
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from models import Counter, User
from services import accounts, credentials, limits, log_in_limits, orders
from services.limits import Limit, TooManyAttempts
from tests import live
from tests.support import PASSWORD, Maker, changed_settings, together
from utils import clock
from utils.database import db, transaction

WRONG = "chapati-na-chai-2026"
ONCE = limits.LIMITS["login"].times
ELSEWHERE = limits.LIMITS["login_elsewhere"].times


@pytest.fixture(autouse=True)
def _limited(app: Flask) -> Iterator[None]:
    with changed_settings(app, RATELIMIT_ENABLED=True):
        yield


def log_in(
    client: FlaskClient, email: str, password: str = WRONG, *, address: str = "41.90.1.1", token: str | None = None
) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = {"email": email, "password": password}
    return client.post("/login", json=sent, headers=headers, environ_overrides={"REMOTE_ADDR": address})


def addresses() -> Iterator[str]:
    """Each in a network of its own."""
    return (f"102.{number // 250}.{number % 250}.7" for number in count())


def attack(client: FlaskClient, email: str, tries: int) -> list[int]:
    """Statuses of a guess from each of so many addresses."""
    return [
        log_in(client, email, address=address).status_code
        for address, _ in zip(addresses(), range(tries), strict=False)
    ]


# ── One address ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_ten_wrong_passwords_the_right_one_is_not_even_looked_at(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    assert [log_in(client, user.email).status_code for _ in range(ONCE)] == [401] * ONCE
    refused = log_in(client, user.email, PASSWORD)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["Retry-After"]) <= 360
    assert refused.json["message"] == "Too many tries. Please try again in 6 minutes."


def test_who_waits_as_long_as_told_is_let_try_again(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    for _ in range(ONCE):
        log_in(client, user.email)
    wait = int(log_in(client, user.email).headers["Retry-After"])
    assert int(log_in(client, user.email).headers["Retry-After"]) <= wait  # asking has not made it longer
    with clock.set_to(clock.now() + timedelta(seconds=wait)):
        assert log_in(client, user.email, PASSWORD).status_code == 200


def test_who_gets_in_starts_from_nothing_again(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    for _ in range(5):
        for _ in range(ONCE - 1):
            assert log_in(client, user.email).status_code == 401
        assert log_in(client, user.email, PASSWORD).status_code == 200


def test_a_neighbour_behind_the_same_address_is_not_held_up(client: FlaskClient, make: Maker) -> None:
    attacked, neighbour = make.attendee(), make.attendee()
    for _ in range(ONCE + 1):
        log_in(client, attacked.email)
    assert log_in(client, neighbour.email, PASSWORD).status_code == 200


def test_of_many_tries_at_once_no_more_are_looked_at(client: FlaskClient, app: Flask, make: Maker) -> None:
    user = make.attendee()
    statuses = together(*[lambda: log_in(app.test_client(), user.email).status_code] * (2 * ONCE))
    assert sorted(statuses) == [401] * ONCE + [429] * ONCE


def test_an_account_that_does_not_exist_is_counted_alike(client: FlaskClient, make: Maker) -> None:
    told = []
    for email in ("nobody@example.co.ke", make.attendee().email):
        answers = [log_in(client, email) for _ in range(ONCE + 1)]
        told.append([(answer.status_code, answer.json) for answer in answers])
    assert told[0] == told[1]


def test_the_spelling_of_the_address_is_no_way_round(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    for _ in range(ONCE):
        log_in(client, user.email)
    assert log_in(client, user.email.upper(), PASSWORD).status_code == 429


# ── Many addresses ────────────────────────────────────────────────────────────────────────────────────────────────


def test_guesses_from_many_addresses_are_no_more_than_from_one(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    statuses = attack(client, user.email, 3 * ELSEWHERE)
    assert statuses == [401] * ELSEWHERE + [429] * 2 * ELSEWHERE


def test_without_the_counter_of_an_account_many_addresses_guess_on(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.LIMITS, "login_elsewhere", Limit(10**9, 1))
    assert attack(client, make.attendee().email, 3 * ELSEWHERE) == [401] * 3 * ELSEWHERE


def test_one_network_uses_up_nothing_of_the_others(client: FlaskClient, make: Maker) -> None:
    """It is stopped by its own counter, whose refusals do not count for all."""
    user = make.attendee()
    for _ in range(5 * ONCE):
        log_in(client, user.email, address="102.0.0.1")
    assert log_in(client, user.email, PASSWORD, address="105.1.1.1").status_code == 200


def test_under_attack_the_owner_gets_in_where_he_was_before(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    assert log_in(client, user.email, PASSWORD, address="41.90.1.1").status_code == 200
    attack(client, user.email, 2 * ELSEWHERE)
    # A phone gets another address of its carrier's, in the same network.
    assert log_in(client, user.email, PASSWORD, address="41.90.1.200").status_code == 200
    assert log_in(client, user.email, WRONG, address="41.90.1.200").status_code == 401


def test_a_network_is_forgotten_after_a_season(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    log_in(client, user.email, PASSWORD, address="41.90.1.1")
    with clock.set_to(clock.ahead(days=log_in_limits.KNOWN_DAYS + 1)):
        attack(client, user.email, 2 * ELSEWHERE)
        assert log_in(client, user.email, PASSWORD, address="41.90.1.1").status_code == 429


def test_under_attack_the_owner_gets_in_with_a_device_that_was_logged_in(client: FlaskClient, make: Maker) -> None:
    """The frontend sends the token it has with every request, whether it has ended or not."""
    user = make.attendee()
    with clock.set_to(clock.ago(days=30)):
        ended = log_in(client, user.email, PASSWORD).json["access_token"]
    attack(client, user.email, 2 * ELSEWHERE)
    assert log_in(client, user.email, PASSWORD, address="197.1.1.1").status_code == 429
    assert log_in(client, user.email, PASSWORD, address="197.1.1.1", token=ended).status_code == 200


def test_a_token_of_ones_own_opens_nobody_elses_account(client: FlaskClient, make: Maker) -> None:
    user, attacker = make.attendee(), make.attendee()
    own = log_in(client, attacker.email, PASSWORD).json["access_token"]
    attack(client, user.email, 2 * ELSEWHERE)
    header, _, signature = own.split(".")
    for token in (own, f"{header}.{header}.{signature}", "x"):
        assert log_in(client, user.email, PASSWORD, address="197.1.1.1", token=token).status_code == 429


def test_a_stolen_token_is_worth_no_more_than_an_address(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    stolen = log_in(client, user.email, PASSWORD).json["access_token"]
    statuses = [
        log_in(client, user.email, address=address, token=stolen).status_code
        for address, _ in zip(addresses(), range(ONCE + 5), strict=False)
    ]
    assert statuses == [401] * ONCE + [429] * 5


def test_addresses_of_one_ipv6_customer_are_one_network(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    statuses = [
        log_in(client, user.email, address=f"2c0f:fe38:2100:{number:x}::1").status_code for number in range(ONCE + 1)
    ]
    assert statuses == [401] * ONCE + [429]


# ── Counting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_spent_comes_back_one_by_one(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.LIMITS, "reset", Limit(3, 300))
    start = clock.now()

    def spend_at(second: float) -> bool:
        with clock.set_to(start + timedelta(seconds=second)):
            try:
                limits.spend("reset", "amina@example.co.ke")
            except TooManyAttempts:
                return False
            return True

    with app.app_context():
        assert [spend_at(second) for second in (0, 0, 0, 0, 99, 100, 101, 199, 200)] == [
            *(True, True, True, False, False, True, False, False, True)
        ]
        assert [spend_at(10_000) for _ in range(4)] == [True, True, True, False]


def test_a_mailbox_is_sent_three_resets_an_hour(app: Flask) -> None:
    with app.app_context():
        for _ in range(3):
            limits.spend("reset", "amina@example.co.ke")
        limits.spend("reset", "baraka@example.co.ke")
        with pytest.raises(TooManyAttempts):
            limits.spend("reset", "amina@example.co.ke")


def test_a_try_is_never_counted_where_it_could_be_rolled_back(app: Flask) -> None:
    with app.app_context(), transaction(), pytest.raises(RuntimeError):
        limits.spend("reset", "amina@example.co.ke")


def test_a_login_that_fails_by_a_fault_of_ours_is_counted(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make.attendee()
    fault = OperationalError("SELECT 1", {}, LockNotAvailable())

    def stumble(*_: Any) -> bool:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(credentials, "password_matches", stumble)
        for _ in range(ONCE):
            log_in(client, user.email)
    assert log_in(client, user.email, PASSWORD).status_code == 429


def test_a_copy_of_the_table_tells_nobodys_address(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    log_in(client, user.email)
    with app.app_context():
        rows = db.session.scalars(select(Counter)).all()
        assert {row.purpose for row in rows} == {"login", "login_elsewhere"}
        assert all(len(row.subject_hash) == 32 for row in rows)


def test_the_worker_removes_what_means_nothing_any_more(app: Flask, client: FlaskClient, make: Maker) -> None:
    log_in(client, make.attendee().email)
    with app.app_context():
        assert limits.remove_ended() == 0
        with clock.set_to(clock.ahead(hours=13)):
            assert limits.remove_ended() == 2


# ── Asking how a payment stands ───────────────────────────────────────────────────────────────────────────────────


def test_one_poll_id_is_asked_about_sixty_times_a_minute_and_its_frontend_polls_on(
    client: FlaskClient, make: Maker
) -> None:
    order, other = make.order()[0], make.order()[0]
    address = f"/payments/check/{order.poll_id}"
    assert [client.get(address).status_code for _ in range(60)] == [200] * 60
    refused = client.get(address)
    assert (refused.status_code, refused.json["code"], refused.json["data"]) == (429, "too_many_attempts", {})
    assert refused.headers["Retry-After"] == "1"
    assert client.get(f"/payments/check/{other.poll_id}").status_code == 200


def test_ids_that_do_not_exist_fill_no_table(app: Flask, client: FlaskClient) -> None:
    for number in range(3):
        assert client.get(f"/payments/check/{number:032x}").status_code == 404
    with app.app_context():
        assert db.session.scalars(select(Counter)).all() == []


def test_while_the_database_is_busy_a_frontend_polls_on(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, _ = make.order()
    fault = OperationalError("SELECT 1", {}, LockNotAvailable())

    def stumble(*_: Any, **_named: Any) -> None:
        raise fault

    monkeypatch.setattr(orders, "poll_order", stumble)
    answer = client.get(f"/payments/check/{order.poll_id}")
    assert (answer.status_code, answer.json["data"]) == (503, {})
    monkeypatch.setattr(accounts, "log_in", stumble)
    answer = log_in(client, "amina@example.co.ke")
    assert answer.status_code == 503
    assert "data" not in answer.json


# ── Processes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_processes_count_together_and_remember_over_a_restart(database_url: str, make: Maker) -> None:
    user = make.attendee()
    environment = {"DATABASE_URL": database_url, "WEB_WORKERS": "2", "WEB_THREADS": "8", "RATELIMIT_ENABLED": "true"}

    def statuses(server: live.Live, tries: int) -> list[int]:
        def once(_: int) -> int:
            body = {"email": user.email, "password": WRONG}
            return requests.post(server.url + "/login", json=body, timeout=10).status_code

        with ThreadPoolExecutor(4) as pool:
            return sorted(pool.map(once, range(tries)))

    server = live.start(environment, has_worker=False)
    try:
        assert statuses(server, 2 * ONCE) == [401] * ONCE + [429] * ONCE
    finally:
        server.stop()
    server = live.start(environment, has_worker=False)
    try:
        assert statuses(server, 4) == [429] * 4
    finally:
        server.stop()


def test_only_who_is_told_so_switches_limits_off(app: Flask, client: FlaskClient, make: Maker) -> None:
    user: User = make.attendee()
    with changed_settings(app, RATELIMIT_ENABLED=False):
        assert [log_in(client, user.email).status_code for _ in range(2 * ONCE)] == [401] * 2 * ONCE
