"""Accounts over HTTP with several server processes: what one of them ends, no other goes on with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import update

from config import Settings
from models import Session, TokenPurpose, User
from services import sessions
from tests import live
from tests.live import Live
from tests.support import PASSWORD, Maker, mailed_secret, together
from tests.test_two_factor import set_up
from utils.database import db, transaction

NEW = "kahawa-chungu-41"


@pytest.fixture(scope="module")
def servers(settings: Settings) -> Iterator[list[Live]]:
    """Two servers of one database, the second of two processes."""
    environment = {"DATABASE_URL": settings.DATABASE_URL, "SECRET_KEY": settings.SECRET_KEY}
    # One after the other: each ends with the thread that started it.
    running = [live.start(environment | {"WEB_WORKERS": str(count)}, has_worker=False) for count in (1, 2)]
    yield running
    for one in running:
        one.stop()


def ask(server: Live, method: str, path: str, opened: dict[str, Any] | None = None, **body: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {opened['access_token']}"} if opened else {}
    return requests.request(method, server.url + path, json=body or None, headers=headers, timeout=30)


def log_in(server: Live, user: User, password: str = PASSWORD) -> dict[str, Any]:
    answer = ask(server, "POST", "/login", email=user.email, password=password)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def standing(server: Live, opened: dict[str, Any]) -> str:
    answer = ask(server, "GET", "/profile/me", opened)
    return "good" if answer.ok else str(answer.json()["code"])


def refresh(server: Live, opened: dict[str, Any]) -> requests.Response:
    return ask(server, "POST", "/refresh", refresh_token=opened["refresh_token"])


@pytest.mark.parametrize("path", ["/logout", "/logout-all"])
def test_who_logs_out_in_one_process_is_logged_out_in_all(servers: list[Live], make: Maker, path: str) -> None:
    one, other = servers
    opened = log_in(one, make.attendee())
    assert [standing(other, opened) for _ in range(4)] == ["good"] * 4
    assert ask(one, "POST", path, opened).status_code == 200
    assert [standing(other, opened) for _ in range(4)] == ["session_ended"] * 4
    assert refresh(other, opened).json()["code"] == "session_ended"


def test_a_token_that_many_processes_refresh_at_once_stays_one_session(servers: list[Live], make: Maker) -> None:
    one, other = servers
    opened = log_in(one, make.attendee())
    answers = together(*(lambda server=server: refresh(server, opened) for server in (one, other, other) * 3))
    assert [answer.status_code for answer in answers] == [200] * 9
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    following = answers[0].json()
    assert standing(other, following) == standing(one, opened) == "good"
    assert refresh(other, following).status_code == 200


def test_a_token_that_is_used_again_ends_the_session_in_all(app: Flask, servers: list[Live], make: Maker) -> None:
    one, other = servers
    stolen = log_in(one, make.attendee())
    mine = refresh(one, stolen).json()
    with app.app_context(), transaction():
        earlier = Session.last_used_at - sessions.REFRESH_GRACE - timedelta(seconds=1)
        db.session.execute(update(Session).values(last_used_at=earlier))
    assert refresh(other, stolen).json()["code"] == "refresh_token_reused"
    assert standing(one, mine) == standing(other, mine) == "session_ended"
    assert refresh(one, mine).json()["code"] == "session_ended"


def test_an_old_and_the_new_token_at_once_never_leave_a_thief_with_a_session(
    app: Flask, servers: list[Live], make: Maker
) -> None:
    """Whichever comes first: once the old one has been seen, nothing of the session is good."""
    one, other = servers
    stolen = log_in(one, make.attendee())
    mine = refresh(one, stolen).json()
    with app.app_context(), transaction():
        earlier = Session.last_used_at - sessions.REFRESH_GRACE - timedelta(seconds=1)
        db.session.execute(update(Session).values(last_used_at=earlier))
    answers = together(lambda: refresh(one, stolen), lambda: refresh(other, mine))
    assert answers[0].status_code == 401
    for answer in (answers[1].json(), mine):
        if "access_token" in answer:
            assert standing(one, answer) == "session_ended"


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("status", {"status": "banned"}, "account_banned"),
        ("role", {"role": "organizer"}, "session_ended"),
    ],
)
def test_a_ban_and_a_new_role_act_at_once_in_all(
    servers: list[Live], make: Maker, what: str, body: dict[str, str], code: str
) -> None:
    one, other = servers
    user, admin = make.attendee(), make.admin()
    opened = log_in(other, user)
    as_admin = log_in(one, admin)
    assert ask(one, "PATCH", f"/admin/users/{user.id}/{what}", as_admin, **body).status_code == 200
    assert [standing(other, opened) for _ in range(4)] == [code] * 4
    assert refresh(other, opened).status_code == 401


def test_a_new_password_acts_at_once_in_all(servers: list[Live], make: Maker) -> None:
    one, other = servers
    user = make.attendee()
    thiefs, mine = log_in(other, user), log_in(one, user)
    answer = ask(one, "PUT", "/profile/me/password", mine, current_password=PASSWORD, password=NEW)
    assert answer.status_code == 200
    assert standing(other, thiefs) == standing(other, mine) == "session_ended"
    assert refresh(other, thiefs).status_code == 401
    assert standing(other, answer.json()) == "good"


def test_a_reset_acts_at_once_in_all_and_its_link_works_once(app: Flask, servers: list[Live], make: Maker) -> None:
    one, other = servers
    user = make.attendee()
    opened = log_in(other, user)
    secret = mailed_secret(app, user, TokenPurpose.RESET_PASSWORD)
    answers = together(
        *(
            lambda server=server, number=number: ask(
                server, "POST", "/password/reset", token=secret, password=f"uji-na-mandazi-{number}"
            )
            for number, server in enumerate((one, other) * 3)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 5
    assert standing(other, opened) == "session_ended"


def test_a_code_of_the_app_works_in_one_process_alone(app: Flask, servers: list[Live], make: Maker) -> None:
    one, other = servers
    user = make.attendee()
    phone = set_up(app.test_client(), make.headers(user))
    for typed in (PASSWORD + phone.code(), PASSWORD + phone.recovery_codes[0]):
        answers = together(
            *(
                lambda server=server, typed=typed: ask(server, "POST", "/login", email=user.email, password=typed)
                for server in (one, other, other) * 2
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
