"""Two-factor log-in: the code of an app after the password, each used once, and recovery codes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from models import AuditLog, TwoFactor, User
from services import two_factor
from tests.support import PASSWORD, Maker, changed_settings, together
from utils import clock
from utils.database import db


@dataclass(frozen=True)
class Phone:
    """Somebody's app, and the codes that were written down."""

    secret: str
    recovery_codes: list[str]

    def code(self, steps: int = 0) -> str:
        """Now, or so many half minutes later; the one that confirmed it is used up."""
        return pyotp.TOTP(self.secret).at(clock.now() + timedelta(seconds=30 * steps))


def set_up(client: FlaskClient, headers: dict[str, str]) -> Phone:
    """Two-factor log-in, confirmed a minute ago, so that the code of now is a new one."""
    with clock.set_to(clock.ago(minutes=1)):
        started = client.post("/profile/me/two-factor", json={"password": PASSWORD}, headers=headers)
        assert started.status_code == 201
        secret = started.json["secret"]
        code = pyotp.TOTP(secret).at(clock.now())
        confirmed = client.post("/profile/me/two-factor/confirm", json={"code": code}, headers=headers)
        assert confirmed.status_code == 200
    return Phone(secret, confirmed.json["recovery_codes"])


def log_in(client: FlaskClient, user: User, password: str, **more: str) -> TestResponse:
    return client.post("/login", json={"email": user.email, "password": password} | more)


@pytest.fixture
def user(make: Maker) -> User:
    return make.attendee()


@pytest.fixture
def headers(make: Maker, user: User) -> dict[str, str]:
    return make.headers(user)


@pytest.fixture
def phone(client: FlaskClient, headers: dict[str, str]) -> Phone:
    return set_up(client, headers)


# ── Setting up ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_app_is_set_up_with_a_secret_a_link_and_a_picture(
    client: FlaskClient, make: Maker, user: User, headers: dict[str, str]
) -> None:
    answer = client.post("/profile/me/two-factor", json={"password": PASSWORD}, headers=headers)
    assert set(answer.json) == {"secret", "url", "qr_svg"}
    app = pyotp.parse_uri(answer.json["url"])
    assert (app.secret, app.issuer, app.name) == (answer.json["secret"], "Ticksy", user.email)
    assert answer.json["qr_svg"].startswith("<svg")
    # Not before the app has shown that it works.
    assert client.get("/profile/me/two-factor", headers=headers).json == {"is_on": False, "recovery_codes_left": 0}
    assert log_in(client, user, PASSWORD).status_code == 200
    assert "two_factor_started" in [line.action for line in make.rows(AuditLog)]


def test_it_is_on_once_the_app_shows_the_right_code(
    client: FlaskClient, make: Maker, headers: dict[str, str], phone: Phone
) -> None:
    assert client.get("/profile/me/two-factor", headers=headers).json == {"is_on": True, "recovery_codes_left": 10}
    assert len(set(phone.recovery_codes)) == 10
    assert "two_factor_on" in [line.action for line in make.rows(AuditLog)]


@pytest.mark.parametrize("code", ["000000", "1", "é", "12345678901234567890"])
def test_a_wrong_code_confirms_nothing(client: FlaskClient, headers: dict[str, str], code: str) -> None:
    secret = client.post("/profile/me/two-factor", json={"password": PASSWORD}, headers=headers).json["secret"]
    now = clock.now()
    with clock.set_to(now if pyotp.TOTP(secret).at(now) != code else now + timedelta(minutes=5)):
        answer = client.post("/profile/me/two-factor/confirm", json={"code": code}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (422, "wrong_code")
    assert client.get("/profile/me/two-factor", headers=headers).json["is_on"] is False


def test_it_is_started_with_the_password_and_not_while_it_is_on(client: FlaskClient, headers: dict[str, str]) -> None:
    wrong = client.post("/profile/me/two-factor", json={"password": "uji-na-mandazi-2025"}, headers=headers)
    assert wrong.json["code"] == "wrong_password"
    not_yet = client.post("/profile/me/two-factor/confirm", json={"code": "123456"}, headers=headers)
    assert not_yet.json["code"] == "two_factor_not_started"
    phone = set_up(client, headers)
    # Without its code it is not even said that it is on.
    again = client.post("/profile/me/two-factor", json={"password": PASSWORD}, headers=headers)
    assert again.json["code"] == "wrong_password"
    again = client.post("/profile/me/two-factor", json={"password": PASSWORD + phone.code()}, headers=headers)
    assert again.json["code"] == "two_factor_on"
    again = client.post("/profile/me/two-factor/confirm", json={"code": phone.code()}, headers=headers)
    assert again.json["code"] == "two_factor_on"


def test_the_database_has_neither_the_secret_nor_the_codes(make: Maker, phone: Phone) -> None:
    with make.app.app_context():
        kept = db.session.scalars(select(TwoFactor)).one()
    assert phone.secret.encode() not in kept.sealed_secret
    assert not {code.encode() for code in phone.recovery_codes} & set(kept.recovery_hashes)


# ── Logging in ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_digits_follow_the_password_in_the_form_there_is(client: FlaskClient, user: User, phone: Phone) -> None:
    assert log_in(client, user, PASSWORD + phone.code()).status_code == 200


def test_or_they_are_a_field_of_their_own(client: FlaskClient, user: User, phone: Phone) -> None:
    assert log_in(client, user, PASSWORD, code=phone.code()).status_code == 200


def test_whatever_is_wrong_is_told_the_same_to_the_letter(client: FlaskClient, user: User, phone: Phone) -> None:
    """Who knows the password alone is not told that it is right."""
    code, wrong = phone.code(), phone.code(20)
    answers = [
        log_in(client, user, PASSWORD),
        log_in(client, user, PASSWORD, code=""),
        log_in(client, user, PASSWORD + wrong),
        log_in(client, user, PASSWORD, code=wrong),
        log_in(client, user, "uji-na-mandazi-2025" + code),
        log_in(client, user, "uji-na-mandazi-2025"),
        log_in(client, user, PASSWORD + "AAAAA-AAAAA"),
        log_in(client, user, code),
        client.post("/login", json={"email": "nobody@example.co.ke", "password": PASSWORD}),
    ]
    assert {(answer.status_code, answer.data) for answer in answers} == {(401, answers[0].data)}
    assert answers[0].json["code"] == "wrong_credentials"
    # And none of them has used the code up.
    assert log_in(client, user, PASSWORD + code).status_code == 200


def test_a_code_works_once(client: FlaskClient, user: User, phone: Phone) -> None:
    code = phone.code()
    assert log_in(client, user, PASSWORD + code).status_code == 200
    assert log_in(client, user, PASSWORD + code).status_code == 401
    # Nor does an earlier one that would still be in time.
    assert log_in(client, user, PASSWORD + phone.code(-1)).status_code == 401
    assert log_in(client, user, PASSWORD + phone.code(1)).status_code == 200


def test_the_code_that_confirmed_it_logs_nobody_in(client: FlaskClient, user: User, headers: dict[str, str]) -> None:
    secret = client.post("/profile/me/two-factor", json={"password": PASSWORD}, headers=headers).json["secret"]
    code = pyotp.TOTP(secret).at(clock.now())
    client.post("/profile/me/two-factor/confirm", json={"code": code}, headers=headers)
    assert log_in(client, user, PASSWORD + code).status_code == 401


def test_of_many_who_use_a_code_at_once_one_gets_in(app: Flask, user: User, phone: Phone) -> None:
    code = phone.code()
    answers = together(*(lambda: log_in(app.test_client(), user, PASSWORD + code).status_code for _ in range(5)))
    assert sorted(answers) == [200, 401, 401, 401, 401]


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 200), (1, 200), (2, 401)])
def test_a_clock_may_be_half_a_minute_off(client: FlaskClient, make: Maker, steps: int, status: int) -> None:
    user = make.attendee()
    with clock.set_to(clock.ago(minutes=10)):
        phone = set_up(client, make.headers(user))
    with clock.set_to(clock.now()):
        assert log_in(client, user, PASSWORD + phone.code(steps)).status_code == status


def test_who_has_not_set_it_up_may_have_a_password_that_ends_in_digits(client: FlaskClient, make: Maker) -> None:
    user = make.attendee(password="maziwa-lala-492039")
    assert log_in(client, user, "maziwa-lala-492039").status_code == 200
    phone = set_up_with(client, make.headers(user), "maziwa-lala-492039")
    assert log_in(client, user, "maziwa-lala-492039").status_code == 401
    assert log_in(client, user, "maziwa-lala-492039" + phone.code()).status_code == 200


def set_up_with(client: FlaskClient, headers: dict[str, str], password: str) -> Phone:
    with clock.set_to(clock.ago(minutes=1)):
        secret = client.post("/profile/me/two-factor", json={"password": password}, headers=headers).json["secret"]
        code = pyotp.TOTP(secret).at(clock.now())
        client.post("/profile/me/two-factor/confirm", json={"code": code}, headers=headers)
    return Phone(secret, [])


# ── Recovery codes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recovery_code_works_once_however_it_is_typed(
    client: FlaskClient, user: User, headers: dict[str, str], phone: Phone
) -> None:
    first, second, third = phone.recovery_codes[:3]
    assert log_in(client, user, PASSWORD + first).status_code == 200
    assert log_in(client, user, PASSWORD + first).status_code == 401
    assert log_in(client, user, PASSWORD, code=second.lower().replace("-", " ")).status_code == 200
    assert log_in(client, user, PASSWORD + third.lower()).status_code == 200
    assert client.get("/profile/me/two-factor", headers=headers).json["recovery_codes_left"] == 7


def test_of_many_who_use_a_recovery_code_at_once_one_gets_in(app: Flask, user: User, phone: Phone) -> None:
    typed = PASSWORD + phone.recovery_codes[0]
    answers = together(*(lambda: log_in(app.test_client(), user, typed).status_code for _ in range(5)))
    assert sorted(answers) == [200, 401, 401, 401, 401]


def test_nobody_gets_in_with_anothers_code(client: FlaskClient, make: Maker, user: User, phone: Phone) -> None:
    other = make.attendee()
    others = set_up(client, make.headers(other))
    assert log_in(client, user, PASSWORD + others.recovery_codes[0]).status_code == 401
    assert log_in(client, user, PASSWORD + others.code()).status_code == 401


def test_new_recovery_codes_end_the_old_ones(
    client: FlaskClient, user: User, headers: dict[str, str], phone: Phone
) -> None:
    url = "/profile/me/two-factor/recovery-codes"
    assert client.post(url, json={"password": PASSWORD}, headers=headers).json["code"] == "wrong_password"
    answer = client.post(url, json={"password": PASSWORD, "code": phone.code()}, headers=headers)
    assert (answer.status_code, len(answer.json["recovery_codes"])) == (201, 10)
    assert log_in(client, user, PASSWORD + phone.recovery_codes[0]).status_code == 401
    assert log_in(client, user, PASSWORD + answer.json["recovery_codes"][0]).status_code == 200


def test_another_secret_key_leaves_the_recovery_codes(
    app: Flask, client: FlaskClient, user: User, phone: Phone
) -> None:
    with changed_settings(app, SECRET_KEY="another-secret-of-the-right-length-0123456789"):
        assert log_in(client, user, PASSWORD + phone.code()).status_code == 401
        assert log_in(client, user, PASSWORD + phone.recovery_codes[0]).status_code == 200


# ── Elsewhere ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_password_needs_the_code_as_well(client: FlaskClient, headers: dict[str, str], phone: Phone) -> None:
    body = {"current_password": PASSWORD, "password": "kahawa-chungu-41"}
    assert client.put("/profile/me/password", json=body, headers=headers).json["code"] == "wrong_password"
    body["code"] = phone.code()
    assert client.put("/profile/me/password", json=body, headers=headers).status_code == 200


def test_it_is_turned_off_with_password_and_code(
    client: FlaskClient, make: Maker, user: User, headers: dict[str, str], phone: Phone
) -> None:
    url = "/profile/me/two-factor/remove"
    for wrong in ({"password": PASSWORD}, {"password": "uji-na-mandazi-2025", "code": phone.code()}):
        assert client.post(url, json=wrong, headers=headers).json["code"] == "wrong_password"
    right = {"password": PASSWORD, "code": phone.code()}
    assert client.post(url, json=right, headers=headers).status_code == 200
    assert log_in(client, user, PASSWORD).status_code == 200
    assert client.post(url, json={"password": PASSWORD}, headers=headers).json["code"] == "two_factor_off"
    assert "two_factor_off" in [line.action for line in make.rows(AuditLog)]


def test_an_operator_turns_it_off_for_who_lost_everything(
    app: Flask, client: FlaskClient, user: User, phone: Phone
) -> None:
    def run(email: str) -> Any:
        return app.test_cli_runner().invoke(args=["two-factor-off", f"--email={email}"])

    assert run("nobody@example.co.ke").exit_code == 1
    assert run(user.email.upper()).output == "Two-factor log-in is off for this account.\n"
    assert run(user.email).output == "Error: Two-factor log-in is off.\n"
    assert log_in(client, user, PASSWORD).status_code == 200


def test_admins_without_it_are_known(app: Flask, client: FlaskClient, make: Maker) -> None:
    one, other, banned = make.admin(), make.admin(), make.admin()
    make.ban(banned)
    set_up(client, make.headers(one))
    with app.app_context():
        assert list(two_factor.admins_without()) == [other.email]
