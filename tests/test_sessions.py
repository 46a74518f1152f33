"""Sessions: what tokens they give, how they go on, and what ends them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import tasks
from models import AuditLog, Role, Session, SessionEnd, User
from services import sessions
from tests.support import PASSWORD, Maker, changed_settings, open_session, together
from utils import clock

REMOVE_OLD = next(task for task in tasks.TASKS if task.name == "remove old sessions")


def log_in(client: FlaskClient, user: User, **headers: str) -> dict[str, Any]:
    answer = client.post("/login", json={"email": user.email, "password": PASSWORD}, headers=headers)
    assert answer.status_code == 200
    return dict(answer.json)


def bears(opened: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {opened['access_token']}"}


def refresh(client: FlaskClient, token: str) -> TestResponse:
    return client.post("/refresh", json={"refresh_token": token})


def standing(client: FlaskClient, opened: dict[str, Any]) -> str:
    """The code that its access token is refused with, or "good"."""
    answer = client.get("/profile/me", headers=bears(opened))
    return "good" if answer.status_code == 200 else str(answer.json["code"])


def actions(make: Maker) -> list[str]:
    return [line.action for line in make.rows(AuditLog)]


# ── Opening ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_log_in_is_a_session_of_its_own_and_leaves_a_line(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    one, other = log_in(client, user), log_in(client, user)
    assert one["refresh_token"] != other["refresh_token"]
    assert [session.user_id for session in make.rows(Session)] == [user.id, user.id]
    assert actions(make).count("logged_in") == 2


def test_signing_up_opens_one_as_well(client: FlaskClient) -> None:
    person = {"first_name": "A", "last_name": "B", "email": "a@example.co.ke", "phone": "0712345678"}
    opened = client.post("/signup", json=person | {"password": PASSWORD}).json
    assert standing(client, opened) == "good"
    assert refresh(client, opened["refresh_token"]).status_code == 200


def test_the_database_has_no_token_of_any_session(client: FlaskClient, make: Maker) -> None:
    opened = log_in(client, make.attendee())
    [session] = make.rows(Session)
    kept = b"".join([session.family_hash, session.refresh_hash]).hex()
    for half in opened["refresh_token"].split("."):
        assert len(half) == 32
        assert half not in kept


@pytest.mark.parametrize("minutes", [15, 1440])
def test_an_access_token_lives_as_long_as_is_set(app: Flask, client: FlaskClient, make: Maker, minutes: int) -> None:
    before = app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(minutes=minutes)
    try:
        told = jwt.decode(log_in(client, make.attendee())["access_token"], options={"verify_signature": False})
    finally:
        app.config["JWT_ACCESS_TOKEN_EXPIRES"] = before
    assert told["exp"] - told["iat"] == minutes * 60
    assert told["sid"] == str(make.rows(Session)[0].id)


# ── Refreshing ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refresh_token_is_exchanged_for_new_ones(client: FlaskClient, make: Maker) -> None:
    first = log_in(client, make.attendee())
    second = refresh(client, first["refresh_token"]).json
    assert second["user"] == first["user"]
    assert second["refresh_token"] != first["refresh_token"]
    assert standing(client, second) == standing(client, first) == "good"
    assert refresh(client, second["refresh_token"]).status_code == 200
    assert len(make.rows(Session)) == 1


def test_an_old_refresh_token_ends_the_session_for_everybody_who_has_it(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    stolen, elsewhere = log_in(client, user), log_in(client, user)
    mine = refresh(client, stolen["refresh_token"]).json
    with clock.set_to(clock.now() + sessions.REFRESH_GRACE + timedelta(seconds=1)):
        answer = refresh(client, stolen["refresh_token"])
        assert (answer.status_code, answer.json["code"]) == (401, "refresh_token_reused")
        assert refresh(client, mine["refresh_token"]).json["code"] == "session_ended"
    assert standing(client, mine) == standing(client, stolen) == "session_ended"
    assert standing(client, elsewhere) == "good"
    assert "refresh_token_reused" in actions(make)
    assert [one.ended_by for one in make.rows(Session)] == [SessionEnd.REUSE, None]


def test_a_thief_who_refreshes_first_is_found_out_when_the_owner_does(client: FlaskClient, make: Maker) -> None:
    opened = log_in(client, make.attendee())
    thiefs = refresh(client, opened["refresh_token"]).json
    with clock.set_to(clock.ahead(minutes=15)):
        thiefs = refresh(client, thiefs["refresh_token"]).json
        assert refresh(client, opened["refresh_token"]).json["code"] == "refresh_token_reused"
    assert standing(client, thiefs) == "session_ended"


def test_two_tabs_that_refresh_at_once_both_go_on_with_the_same_token(app: Flask, make: Maker) -> None:
    with app.app_context():
        token = open_session(make.attendee()).refresh_token
    answers = together(*(lambda: refresh(app.test_client(), token) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    following = refresh(app.test_client(), answers[0].json["refresh_token"])
    assert following.status_code == 200


def test_the_token_before_the_last_is_never_forgiven(client: FlaskClient, make: Maker) -> None:
    first = log_in(client, make.attendee())
    second = refresh(client, first["refresh_token"]).json
    refresh(client, second["refresh_token"])
    assert refresh(client, first["refresh_token"]).json["code"] == "refresh_token_reused"


@pytest.mark.parametrize(
    "token",
    ["x", ".", "0" * 32, f"{'0' * 32}.{'0' * 32}", "a.b.c", "é.ü"],
)
def test_what_is_no_refresh_token_is_401_and_ends_nothing(client: FlaskClient, make: Maker, token: str) -> None:
    opened = log_in(client, make.attendee())
    assert (refresh(client, token).status_code, refresh(client, token).json["code"]) == (401, "session_ended")
    assert refresh(client, opened["access_token"][:99]).status_code == 401
    assert standing(client, opened) == "good"


def test_a_refresh_token_is_no_access_token(client: FlaskClient, make: Maker) -> None:
    opened = log_in(client, make.attendee())
    assert standing(client, {"access_token": opened["refresh_token"]}) == "token_invalid"


def test_a_session_that_is_not_refreshed_is_over_one_day(app: Flask, client: FlaskClient, make: Maker) -> None:
    with changed_settings(app, REFRESH_TOKEN_DAYS=2):
        opened = log_in(client, make.attendee())
        with clock.set_to(clock.ahead(days=1)):  # which makes it longer
            opened = refresh(client, opened["refresh_token"]).json
        with clock.set_to(clock.ahead(days=3, seconds=1)):
            assert refresh(client, opened["refresh_token"]).json["code"] == "session_ended"


def test_a_banned_account_refreshes_nothing(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    opened = log_in(client, user)
    make.ban(user)
    assert refresh(client, opened["refresh_token"]).json["code"] == "account_banned"


# ── Looking and ending ────────────────────────────────────────────────────────────────────────────────────────────


def test_one_sees_where_one_is_logged_in_last_used_first(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    phone = log_in(client, user, **{"User-Agent": "Phone \x07é" + "x" * 200})
    laptop = log_in(client, user, **{"User-Agent": "Laptop"})
    refresh(client, phone["refresh_token"])
    log_in(client, make.attendee())
    answer = client.get("/profile/me/sessions", headers=bears(laptop))
    assert [(one["user_agent"][:6], one["is_current"]) for one in answer.json] == [("Phone ", False), ("Laptop", True)]
    assert len(answer.json[0]["user_agent"]) == 120
    assert answer.headers["X-Total-Count"] == "2"
    assert set(answer.json[0]) == {"id", "user_agent", "created_at", "last_used_at", "is_current"}


def test_logging_out_ends_this_session_and_no_other(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    here, there = log_in(client, user), log_in(client, user)
    assert client.post("/logout", headers=bears(here)).json == {"message": "You are logged out."}
    assert (standing(client, here), standing(client, there)) == ("session_ended", "good")
    assert refresh(client, here["refresh_token"]).json["code"] == "session_ended"
    assert "logged_out" in actions(make)


def test_logging_out_everywhere_ends_all_of_ones_own(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    here, there, anothers = log_in(client, user), log_in(client, user), log_in(client, make.attendee())
    assert client.post("/logout-all", headers=bears(here)).status_code == 200
    assert (standing(client, here), standing(client, there)) == ("session_ended", "session_ended")
    assert standing(client, anothers) == "good"


def test_one_ends_a_session_elsewhere_but_nobody_elses(client: FlaskClient, make: Maker) -> None:
    user, other = make.attendee(), make.attendee()
    here, there, anothers = log_in(client, user), log_in(client, user), log_in(client, other)
    _, elsewhere, foreign = [session.id for session in make.rows(Session)]
    for _ in range(2):
        assert client.delete(f"/profile/me/sessions/{elsewhere}", headers=bears(here)).status_code == 200
    assert client.delete(f"/profile/me/sessions/{foreign}", headers=bears(here)).status_code == 404
    assert (standing(client, there), standing(client, anothers)) == ("session_ended", "good")
    assert actions(make).count("logged_out") == 1


def test_on_public_routes_who_is_logged_out_is_nobody(client: FlaskClient, make: Maker) -> None:
    opened = log_in(client, make.attendee())
    client.post("/logout", headers=bears(opened))
    assert client.get("/events", headers=bears(opened)).status_code == 200


def test_nobody_speaks_for_another_with_a_session_of_his_own(app: Flask, client: FlaskClient, make: Maker) -> None:
    """Nobody can sign this; it is told apart all the same."""
    user, other = make.attendee(), make.attendee()
    told = jwt.decode(log_in(client, user)["access_token"], options={"verify_signature": False})
    forged = jwt.encode(told | {"sub": str(other.id)}, app.config["SECRET_KEY"], algorithm="HS256")
    assert standing(client, {"access_token": forged}) == "session_ended"


@pytest.mark.parametrize(
    ("what", "body", "why"),
    [("status", {"status": "banned"}, SessionEnd.BAN), ("role", {"role": "organizer"}, SessionEnd.ROLE)],
)
def test_a_ban_and_a_new_role_end_all_sessions_at_once(
    client: FlaskClient, make: Maker, what: str, body: dict[str, str], why: SessionEnd
) -> None:
    user = make.attendee()
    opened = log_in(client, user)
    as_admin = make.headers(make.admin())
    assert client.patch(f"/admin/users/{user.id}/{what}", json=body, headers=as_admin).status_code == 200
    client.patch(f"/admin/users/{user.id}/status", json={"status": "active"}, headers=as_admin)
    assert standing(client, opened) == "session_ended"
    assert refresh(client, opened["refresh_token"]).json["code"] == "session_ended"
    assert [one.ended_by for one in make.rows(Session) if one.user_id == user.id] == [why]


def test_the_same_role_again_ends_nothing(client: FlaskClient, make: Maker) -> None:
    user = make.user(Role.ORGANIZER)
    opened = log_in(client, user)
    client.patch(f"/admin/users/{user.id}/role", json={"role": "organizer"}, headers=make.headers(make.admin()))
    assert standing(client, opened) == "good"


def test_sessions_that_are_long_over_are_forgotten(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    with clock.set_to(clock.ago(days=61)):
        log_in(client, user)
    ended, good = log_in(client, user), log_in(client, user)
    with clock.set_to(clock.ago(days=31)), app.app_context():
        sessions.end(actor=user, session_id=make.rows(Session)[1].id)
    assert tasks.run_once(app, REMOVE_OLD) == 2
    assert len(make.rows(Session)) == 1
    assert (standing(client, ended), standing(client, good)) == ("session_ended", "good")
