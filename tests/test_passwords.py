"""Passwords: forgotten, reset by a link that works once, and changed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event

import tasks
from models import (
    AuditLog,
    Notification,
    NotificationKind,
    NotificationState,
    OneTimeToken,
    ResetRequest,
    TokenPurpose,
    User,
)
from services import credentials, one_time
from tests.mail_server import mail_server
from tests.mailed import ANSWER_RESETS, ask_for_reset, forgot, links, mail_set_up, secret_of, told
from tests.support import PASSWORD, Maker, changed_settings, mailed_secret, together
from utils import clock, security
from utils.database import db, transaction

NEW = "kahawa-chungu-41"
SEND = next(task for task in tasks.TASKS if task.name == "send e-mails")


@pytest.fixture(autouse=True)
def _mail(app: Flask) -> Iterator[None]:
    with mail_set_up(app):
        yield


def log_in(client: FlaskClient, user: User, password: str = PASSWORD) -> Any:
    return client.post("/login", json={"email": user.email, "password": password})


def reset(client: FlaskClient, secret: str, password: str = NEW) -> Any:
    return client.post("/password/reset", json={"token": secret, "password": password})


def change(client: FlaskClient, headers: dict[str, str], **changed: Any) -> Any:
    return client.put(
        "/profile/me/password", json={"current_password": PASSWORD, "password": NEW} | changed, headers=headers
    )


# ── Forgotten ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_forgot_the_password_gets_a_link_and_chooses_another(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    opened = log_in(client, user).json
    link = ask_for_reset(make, user.email)
    assert link.startswith("/password/reset/")
    assert reset(client, secret_of(link)).json == {"message": "Your new password is set. Please log in with it."}
    assert log_in(client, user).status_code == 401
    assert log_in(client, user, NEW).status_code == 200
    bearer = {"Authorization": f"Bearer {opened['access_token']}"}
    assert client.get("/profile/me", headers=bearer).json["code"] == "session_ended"
    assert client.post("/refresh", json={"refresh_token": opened["refresh_token"]}).status_code == 401
    assert [line.action for line in make.rows(AuditLog)][-3:] == ["password_reset_sent", "password_reset", "logged_in"]
    [message] = told(make, NotificationKind.PASSWORD_CHANGED)
    assert message.address == user.email


def test_nobody_is_told_whether_there_is_an_account(client: FlaskClient, make: Maker) -> None:
    user, banned = make.attendee(), make.attendee()
    make.ban(banned)
    answers = [forgot(client, email) for email in (user.email, "nobody@example.co.ke", banned.email, "nobody")]
    assert {(answer.status_code, answer.data) for answer in answers} == {(202, answers[0].data)}
    assert tasks.run_once(make.app, ANSWER_RESETS) == 4
    assert [message.user_id for message in told(make, NotificationKind.PASSWORD_RESET)] == [user.id]
    assert make.rows(ResetRequest) == []


def test_the_answer_costs_the_same_whether_there_is_an_account(app: Flask, client: FlaskClient, make: Maker) -> None:
    """The same statements: neither who asks nor a clock can tell."""
    costs = []
    with app.app_context():
        engine = db.engine
    for email in (make.attendee().email, "nobody@example.co.ke"):
        statements: list[str] = []

        def record(*args: Any, seen: list[str] = statements) -> None:
            seen.append(args[2])

        sqlalchemy_event.listen(engine, "before_cursor_execute", record)
        forgot(client, email)
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)
        costs.append(statements)
    assert costs[0] == costs[1]
    assert costs[0]


def test_several_requests_of_one_person_are_one_e_mail(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    for _ in range(3):
        forgot(client, user.email.upper())
    tasks.run_once(make.app, ANSWER_RESETS)
    assert len(told(make, NotificationKind.PASSWORD_RESET)) == 1


def test_without_e_mail_it_is_said_that_there_is_none(app: Flask, client: FlaskClient, make: Maker) -> None:
    with changed_settings(app, MAIL_URL=""):
        answer = forgot(client, make.attendee().email)
    assert (answer.status_code, answer.json["code"]) == (409, "mail_off")
    assert make.rows(ResetRequest) == []


def test_the_link_arrives_and_neither_table_has_its_secret(app: Flask, make: Maker) -> None:
    user = make.attendee()
    link = ask_for_reset(make, user.email)
    secret = secret_of(link)
    [token], [message] = make.rows(OneTimeToken), told(make, NotificationKind.PASSWORD_RESET)
    assert secret not in str(message.facts)
    assert secret.encode() not in token.token_hash
    with mail_server(app) as server:
        tasks.run_once(app, SEND)
    assert link in server.received[0].part("plain")
    assert link in server.received[0].part("html")


# ── Links that do not work ────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_works_once(client: FlaskClient, make: Maker) -> None:
    secret = secret_of(ask_for_reset(make, make.attendee().email))
    assert reset(client, secret).status_code == 200
    again = reset(client, secret, "uji-na-mandazi-2025")
    assert (again.status_code, again.json["code"]) == (404, "link_invalid")


def test_of_two_who_use_a_link_at_once_one_does(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    secret = secret_of(ask_for_reset(make, user.email))
    passwords = [f"uji-na-mandazi-{number}" for number in range(4)]
    answers = together(*(lambda one=one: reset(app.test_client(), secret, one).status_code for one in passwords))
    assert sorted(answers) == [200, 404, 404, 404]
    assert [log_in(client, user, one).status_code for one in passwords].count(200) == 1


def test_only_the_newest_link_works(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    first, second = ask_for_reset(make, user.email), ask_for_reset(make, user.email)
    assert reset(client, secret_of(first)).status_code == 404
    assert reset(client, secret_of(second)).status_code == 200


def test_a_link_is_too_old_after_an_hour(client: FlaskClient, make: Maker) -> None:
    secret = secret_of(ask_for_reset(make, make.attendee().email))
    with clock.set_to(clock.ahead(hours=1, seconds=1)):
        assert reset(client, secret).status_code == 404


def test_a_weak_password_uses_no_link_up(client: FlaskClient, make: Maker) -> None:
    secret = secret_of(ask_for_reset(make, make.attendee().email))
    answer = reset(client, secret, "password")
    assert (answer.status_code, answer.json["code"]) == (422, "weak_password")
    assert reset(client, secret).status_code == 200


def test_a_link_changes_its_owners_password_alone(client: FlaskClient, make: Maker) -> None:
    user, other = make.attendee(), make.attendee()
    assert reset(client, secret_of(ask_for_reset(make, user.email))).status_code == 200
    assert log_in(client, other).status_code == 200


@pytest.mark.parametrize("purpose", [one for one in TokenPurpose if one is not TokenPurpose.RESET_PASSWORD])
def test_a_link_for_something_else_resets_nothing(app: Flask, client: FlaskClient, make: Maker, purpose: Any) -> None:
    assert reset(client, mailed_secret(app, make.attendee(), purpose)).status_code == 404


def test_a_ban_and_a_new_password_end_the_links_that_are_out(client: FlaskClient, make: Maker) -> None:
    banned, user = make.attendee(), make.attendee()
    of_banned, of_user = ask_for_reset(make, banned.email), ask_for_reset(make, user.email)
    make.ban(banned)
    assert change(client, make.headers(user)).status_code == 200
    assert reset(client, secret_of(of_banned)).status_code == 404
    assert reset(client, secret_of(of_user)).status_code == 404


@pytest.mark.parametrize("secret", ["0" * 32, "x", "é", "0" * 64])
def test_what_is_no_link_is_404(client: FlaskClient, secret: str) -> None:
    assert reset(client, secret).status_code == 404


def test_a_link_that_is_not_good_any_more_is_not_sent(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    ask_for_reset(make, user.email)
    ask_for_reset(make, user.email)
    with mail_server(app) as server:
        tasks.run_once(app, SEND)
    assert len(server.received) == 1
    states = [message.state for message in told(make, NotificationKind.PASSWORD_RESET)]
    assert states == [NotificationState.DROPPED, NotificationState.SENT]


def test_old_tokens_are_forgotten(app: Flask, make: Maker) -> None:
    with clock.set_to(clock.ago(days=40)):
        mailed_secret(app, make.attendee(), TokenPurpose.RESET_PASSWORD)
    mailed_secret(app, make.attendee(), TokenPurpose.RESET_PASSWORD)
    with app.app_context():
        assert one_time.remove_old() == 1
    assert len(make.rows(OneTimeToken)) == 1


# ── The page ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_looking_at_the_page_uses_nothing_up(client: FlaskClient, make: Maker) -> None:
    link = ask_for_reset(make, make.attendee().email)
    for _ in range(2):
        page = client.get(link)
        assert page.status_code == 200
        assert 'name="password"' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert page.headers["X-Robots-Tag"] == "noindex"
    assert client.post(link, data={"password": NEW}).status_code == 200
    assert client.get(link).status_code == 404


def test_the_page_says_what_is_wrong_and_lets_one_try_again(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    link = ask_for_reset(make, user.email)
    page = client.post(link, data={"password": "password"})
    assert (page.status_code, page.mimetype) == (422, "text/html")
    assert "too easy to guess" in page.text
    page = client.post(link, data={"password": NEW})
    assert "Your new password is set" in page.text
    assert log_in(client, user, NEW).status_code == 200
    page = client.post(link, data={"password": "uji-na-mandazi-2025"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "does not work any more" in page.text


# ── Changed ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_password_ends_all_sessions_and_answers_with_one(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    here, there = make.headers(user), make.headers(user)
    answer = change(client, here)
    assert set(answer.json) == {"access_token", "refresh_token", "user"}
    for headers in (here, there):
        assert client.get("/profile/me", headers=headers).json["code"] == "session_ended"
    bearer = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert client.get("/profile/me", headers=bearer).status_code == 200
    assert log_in(client, user, NEW).status_code == 200
    assert "password_changed" in [line.action for line in make.rows(AuditLog)]
    assert len(told(make, NotificationKind.PASSWORD_CHANGED)) == 1


def test_it_needs_the_present_password(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.attendee())
    answer = change(client, headers, current_password="uji-na-mandazi-2025")
    assert (answer.status_code, answer.json["code"]) == (403, "wrong_password")
    assert client.get("/profile/me", headers=headers).status_code == 200


def test_it_has_to_be_a_good_one(client: FlaskClient, make: Maker) -> None:
    answer = change(client, make.headers(make.attendee()), password="12345678")
    assert (answer.status_code, answer.json["code"]) == (422, "weak_password")


def test_a_log_in_that_is_under_way_does_not_outlive_a_new_password(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make.attendee()
    headers = make.headers(user)
    real = credentials.password_matches

    def slow(password: str, password_hash: str | None) -> bool:
        is_right = real(password, password_hash)
        monkeypatch.setattr(credentials, "password_matches", real)
        assert change(make.app.test_client(), headers).status_code == 200
        return is_right

    monkeypatch.setattr(credentials, "password_matches", slow)
    assert log_in(client, user).json["code"] == "wrong_credentials"


def test_an_admin_sees_that_a_link_was_sent_and_no_more(client: FlaskClient, make: Maker) -> None:
    secret = secret_of(ask_for_reset(make, make.attendee().email))
    answer = client.get("/admin/notifications?kind=password_reset", headers=make.headers(make.admin()))
    assert len(answer.json) == 1
    assert secret not in answer.text
    assert "facts" not in answer.json[0]


def test_a_retried_link_goes_to_where_it_was_meant_for(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    ask_for_reset(make, user.email)
    [message] = told(make, NotificationKind.PASSWORD_RESET)
    with app.app_context(), transaction() as session:
        kept = session.get_one(Notification, message.id)
        kept.state, kept.next_try_at = NotificationState.FAILED, None
        session.get_one(User, user.id).email = "thief@example.co.ke"
    address = f"/admin/notifications/{message.id}/retry"
    assert client.post(address, headers=make.headers(make.admin())).json["address"] == user.email
    assert links(make, NotificationKind.PASSWORD_RESET)


def test_a_request_that_is_an_hour_old_is_answered_with_a_link_that_works(client: FlaskClient, make: Maker) -> None:
    """It counts from when it is written, not from when it was asked for."""
    user = make.attendee()
    forgot(client, user.email)
    with clock.set_to(clock.now() + timedelta(hours=2)):
        tasks.run_once(make.app, ANSWER_RESETS)
        link = links(make, NotificationKind.PASSWORD_RESET)[0]
        assert reset(client, secret_of(link)).status_code == 200


# ── Hashing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_comes_while_very_many_wait_to_log_in_is_told_to_come_again(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"email": make.attendee().email, "password": PASSWORD}
    monkeypatch.setattr(security, "_waiting", threading.Semaphore(0))
    refused = client.post("/login", json=given)
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts niceness by thread")
def test_who_hashes_steps_back_behind_who_reads(app: Flask) -> None:
    with app.app_context():
        security.hash_password("whatever-pass-2026")
    hasher = next(one for one in threading.enumerate() if one.name.startswith("bcrypt"))
    assert hasher.native_id is not None
    assert os.getpriority(os.PRIO_PROCESS, hasher.native_id) == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19
