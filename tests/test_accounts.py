"""Accounts: signing up, logging in, one's own profile, bans, the first admin."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from models import AuditLog, EventStatus, Role
from services import credentials
from tests.support import PASSWORD, Maker
from utils.database import db
from utils.errors import Conflict

#: 72 bytes, which is all that bcrypt itself reads.
LONG = "maziwa-lala-na-mandazi-asubuhi-kwa-jirani-wa-Kilimani-tarehe-kumi-2026-9"


def a_person(**facts: Any) -> dict[str, Any]:
    return {
        "first_name": "Achieng",
        "last_name": "Odhiambo",
        "email": "achieng@example.co.ke",
        "phone": "0712345678",
        "password": PASSWORD,
    } | facts


def sign_up(client: FlaskClient, **facts: Any) -> TestResponse:
    return client.post("/signup", json=a_person(**facts))


def log_in(client: FlaskClient, email: str = "achieng@example.co.ke", password: str = PASSWORD) -> TestResponse:
    return client.post("/login", json={"email": email, "password": password})


def audit_lines(app: Flask, action: str) -> list[AuditLog]:
    with app.app_context():
        return list(db.session.scalars(select(AuditLog).where(AuditLog.action == action).order_by(AuditLog.id)))


# ── Signing up ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["attendee", "organizer"])
def test_signing_up_answers_with_a_token_and_the_user(client: FlaskClient, role: str) -> None:
    answer = sign_up(client, role=role)
    assert answer.status_code == 201
    user = answer.json["user"]
    nested = user.pop("user")
    assert nested == user
    assert user.pop("created_at").endswith("+03:00")
    assert user == {
        "id": user["id"],
        "first_name": "Achieng",
        "last_name": "Odhiambo",
        "email": "achieng@example.co.ke",
        "phone": "254712345678",
        "role": role,
        "status": "active",
    }
    bearer = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert client.get("/profile/me", headers=bearer).json["id"] == user["id"]


def test_who_names_no_role_is_an_attendee(client: FlaskClient) -> None:
    assert sign_up(client).json["user"]["role"] == "attendee"


@pytest.mark.parametrize("more", [{"role": "admin"}, {"role": "ADMIN"}, {"role": None}, {"is_admin": True}, {"id": 1}])
def test_nobody_signs_up_as_an_admin(client: FlaskClient, more: dict[str, Any]) -> None:
    assert sign_up(client, **more).status_code == 422
    assert log_in(client).status_code == 401


@pytest.mark.parametrize("name", ["first_name", "last_name", "email", "phone", "password"])
@pytest.mark.parametrize("value", ["", "   ", None, 7, ["x"]])
def test_every_fact_is_needed(client: FlaskClient, name: str, value: Any) -> None:
    answer = sign_up(client, **{name: value})
    assert answer.status_code == 422


def test_a_form_signs_up_as_json_does(client: FlaskClient) -> None:
    assert client.post("/signup", data=a_person()).status_code == 201


# ── Phones and addresses are one each ─────────────────────────────────────────────────────────────────────────────

SPELLINGS = ["0712345678", "712345678", "254712345678", "+254712345678", "0712 345 678", "+254-712-345-678"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_phone_is_one_number(client: FlaskClient, spelling: str) -> None:
    assert sign_up(client, phone=spelling).json["user"]["phone"] == "254712345678"
    again = sign_up(client, phone="+254 712 345 678", email="another@example.co.ke")
    assert (again.status_code, again.json["code"]) == (409, "phone_taken")


@pytest.mark.parametrize(
    "phone", ["0202345678", "+255712345678", "07123", "0712ABCDEF", "0712345678 ext 5", "call 0712345678"]
)
def test_what_is_no_kenyan_mobile_number_is_refused(client: FlaskClient, phone: str) -> None:
    answer = sign_up(client, phone=phone)
    assert answer.status_code == 422
    assert answer.json["message"] == "Please give a Kenyan mobile number such as 0712 345 678."


@pytest.mark.parametrize("email", ["ACHIENG@Example.CO.KE", "achieng@example.co.ke", "  Achieng@example.co.ke "])
def test_an_address_is_one_whatever_its_case(client: FlaskClient, email: str) -> None:
    assert sign_up(client, email=email).json["user"]["email"] == "achieng@example.co.ke"
    again = sign_up(client, email="Achieng@EXAMPLE.co.ke", phone="0733345678")
    assert (again.status_code, again.json["code"]) == (409, "email_taken")


@pytest.mark.parametrize(
    "email", ["achieng", "achieng@", "@example.co.ke", "a b@example.co.ke", "a@localhost", "a@b@c"]
)
def test_what_is_no_address_is_refused(client: FlaskClient, email: str) -> None:
    assert sign_up(client, email=email).json["message"] == "Please give a valid e-mail address."


@pytest.mark.parametrize(
    ("second", "code"),
    [({"phone": "0733345678"}, "email_taken"), ({"email": "other@example.co.ke"}, "phone_taken")],
)
def test_of_two_who_sign_up_at_once_one_is_told_it_is_taken(app: Flask, second: dict[str, str], code: str) -> None:
    people = [a_person(), a_person(**second)]
    for number in range(5):
        for person in people:
            person |= {field: _numbered(person[field], number) for field in ("email", "phone")}
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda person: app.test_client().post("/signup", json=person), people))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert code in [answer.json.get("code") for answer in answers]


def _numbered(text: str, number: int) -> str:
    return text[:-8] + str(number) + text[-7:] if text[0] == "0" else f"{number}{text}"


def test_a_refusal_keeps_nobodys_password_in_memory(app: Flask, make: Maker) -> None:
    """An exception made once and raised often would collect tracebacks, and with them every caller's values."""
    taken = make.attendee().email
    refusals = []
    for _ in range(2):
        with pytest.raises(Conflict) as refusal:
            make.attendee(email=taken)
        refusals.append(refusal.value)
    assert refusals[0] is not refusals[1]
    lengths = [len(traceback.extract_tb(refusal.__traceback__)) for refusal in refusals]
    assert lengths[0] == lengths[1]


# ── Passwords ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password",
    [
        "kahawa-chungu-41",
        "ninapenda\x00chai-sana-9",
        "  spaces count, too 9 ",
        "çà et là, öfter ñ",
        "密码不是容易猜的东西啊",
        "🦒🐘🦏🦓🐆🦛🐃🦁🦒",
        "\u202eright-to-left-41",
        LONG + "-" * 56,
        "".join(chr(0x1F300 + number * 37 % 128) for number in range(128)),
    ],
)
def test_any_characters_make_a_password(client: FlaskClient, password: str) -> None:
    assert len(password) <= 128
    assert sign_up(client, password=password).status_code == 201
    assert log_in(client, password=password).status_code == 200
    assert log_in(client, password=password[:-1]).status_code == 401
    assert log_in(client, password=password + "x").status_code == 401


@pytest.mark.parametrize(
    ("real", "other"),
    [
        (LONG + "chai", LONG + "kahawa"),
        (LONG + "chai", LONG),
        ("🦒🐘🦏🦓🐆🦛🐃🦁🦒" * 2 + "a", "🦒🐘🦏🦓🐆🦛🐃🦁🦒" * 2 + "b"),
        ("kahawa\x00chungu-41", "kahawa\x00chungu-42"),
        ("kahawa-chungu-41\x00a", "kahawa-chungu-41"),
    ],
)
def test_no_byte_of_a_password_is_ignored(client: FlaskClient, real: str, other: str) -> None:
    assert sign_up(client, password=real).status_code == 201
    assert log_in(client, password=other).status_code == 401
    assert log_in(client, password=real).status_code == 200


@pytest.mark.parametrize(
    "password",
    ["ab1-cd2", "password", "password123", "12345678", "qwertyuiop", "aaaaaaaaaaaaaaaa", "Achieng2", "0712345678"],
)
def test_a_short_or_common_password_is_refused(client: FlaskClient, password: str) -> None:
    answer = sign_up(client, password=password)
    assert (answer.status_code, answer.json["code"]) == (422, "weak_password")


def test_129_characters_are_too_many(client: FlaskClient) -> None:
    answer = sign_up(client, password=LONG + "-" * 57)
    assert (answer.status_code, answer.json["code"]) == (422, "weak_password")
    assert answer.json["message"] == "Please choose a password of at most 128 characters."


# ── Logging in ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_logging_in_answers_as_signing_up_does(client: FlaskClient) -> None:
    signed_up = sign_up(client).json["user"]
    answer = log_in(client)
    assert answer.status_code == 200
    assert answer.json["user"] == signed_up
    assert set(answer.json) == {"access_token", "refresh_token", "user"}


@pytest.mark.parametrize("typed", ["ACHIENG@example.co.ke", "  achieng@example.co.ke\n", "achieng@EXAMPLE.CO.KE"])
def test_the_address_may_be_typed_in_any_case(client: FlaskClient, typed: str) -> None:
    sign_up(client)
    assert log_in(client, email=typed).status_code == 200


def test_an_address_in_an_international_domain_logs_in_as_it_signed_up(client: FlaskClient) -> None:
    assert sign_up(client, email="achieng@münchen.de").status_code == 201
    assert log_in(client, email="achieng@MÜNCHEN.de").status_code == 200


def test_a_wrong_password_and_an_unknown_address_are_told_the_same(client: FlaskClient) -> None:
    sign_up(client)
    wrong, unknown = log_in(client, password="kahawa-chungu-41"), log_in(client, email="nobody@example.co.ke")
    no_address = log_in(client, email="nobody")
    assert wrong.status_code == 401
    assert wrong.json["code"] == "wrong_credentials"
    assert (wrong.status_code, wrong.data) == (unknown.status_code, unknown.data)
    assert (wrong.status_code, wrong.data) == (no_address.status_code, no_address.data)


def test_no_database_connection_is_held_while_a_password_is_checked(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(client)
    held: list[int] = []
    real = credentials.password_matches

    def watched(password: str, password_hash: str | None) -> bool:
        held.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
        return real(password, password_hash)

    monkeypatch.setattr(credentials, "password_matches", watched)
    assert log_in(client).status_code == 200
    assert held == [0]


# ── Bans ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ban_acts_at_once_whatever_token_is_held(client: FlaskClient, make: Maker) -> None:
    user = make.organizer()
    before, another = make.headers(user), make.headers(user)
    assert client.get("/profile/me", headers=before).status_code == 200
    make.ban(user)
    for headers in (before, another, make.headers(user)):
        answer = client.get("/profile/me", headers=headers)
        assert (answer.status_code, answer.json["code"]) == (401, "account_banned")


def test_who_is_banned_cannot_log_in_and_a_wrong_password_does_not_tell(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    make.ban(user)
    assert log_in(client, email=user.email).json["code"] == "account_banned"
    assert log_in(client, email=user.email, password="kahawa-chungu-41").json["code"] == "wrong_credentials"


def test_public_routes_treat_a_banned_account_as_nobody(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    own = f"/events/{make.event(organizer, status=EventStatus.PENDING).id}"
    headers = make.headers(organizer)
    assert client.get(own, headers=headers).status_code == 200
    make.ban(organizer)
    assert client.get(own, headers=headers).status_code == 404
    assert client.get("/events", headers=headers).status_code == 200


def test_a_banned_number_and_address_stay_taken(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    make.ban(user)
    assert sign_up(client, email=user.email).json["code"] == "email_taken"
    assert sign_up(client, phone=user.phone).json["code"] == "phone_taken"


# ── Profile ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_profile_shows_its_owner(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    profile = client.get("/profile/me", headers=make.headers(user)).json
    assert (profile["email"], profile["phone"], profile["role"]) == (user.email, user.phone, "attendee")
    assert not any("password" in name for name in profile)


def test_a_profile_is_changed(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.attendee())
    changes = {"first_name": "Zawadi", "last_name": "Kiprono", "email": "Zawadi@Example.co.ke", "phone": "0733 111 222"}
    stored = changes | {"email": "zawadi@example.co.ke", "phone": "254733111222"}
    answer = client.put("/profile/me", json=changes, headers=headers)
    assert answer.status_code == 200
    assert stored.items() <= answer.json.items()
    assert stored.items() <= client.get("/profile/me", headers=headers).json.items()
    assert log_in(client, email="zawadi@example.co.ke").status_code == 200


@pytest.mark.parametrize("changes", [{}, {"first_name": None}, {"email": None, "phone": None, "last_name": None}])
def test_what_is_null_or_left_out_stays(client: FlaskClient, make: Maker, changes: dict[str, None]) -> None:
    headers = make.headers(make.attendee())
    before = client.get("/profile/me", headers=headers).json
    answer = client.put("/profile/me", json=changes, headers=headers)
    assert (answer.status_code, answer.json) == (200, before)


@pytest.mark.parametrize("changes", [{"role": "admin"}, {"status": "active"}, {"password": "x"}, {"id": 1}])
def test_a_profile_has_no_field_that_lends_power(client: FlaskClient, make: Maker, changes: dict[str, Any]) -> None:
    assert client.put("/profile/me", json=changes, headers=make.headers(make.attendee())).status_code == 422


@pytest.mark.parametrize(("field", "code"), [("email", "email_taken"), ("phone", "phone_taken")])
def test_nobody_takes_what_is_another_ones(client: FlaskClient, make: Maker, field: str, code: str) -> None:
    other, headers = make.attendee(), make.headers(make.attendee())
    before = client.get("/profile/me", headers=headers).json
    answer = client.put("/profile/me", json={"first_name": "X", field: getattr(other, field)}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, code)
    assert client.get("/profile/me", headers=headers).json == before


def test_two_who_take_the_same_number_at_once_do_not_both_get_it(app: Flask, make: Maker) -> None:
    for number in range(5):
        phone = f"07331112{number:02d}"
        both = [make.headers(make.attendee()) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(
                    lambda it: app.test_client().put("/profile/me", json={"phone": it[0]}, headers=it[1]),
                    [(phone, headers) for headers in both],
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200, 409]


# ── Looking somebody up ───────────────────────────────────────────────────────────────────────────────────────────


def test_only_an_admin_looks_somebody_up(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    address = f"/users/{user.id}"
    found = client.get(address, headers=make.headers(make.admin()))
    assert (found.status_code, found.json["email"]) == (200, user.email)
    assert "password_hash" not in found.json
    assert client.get(address, headers=make.headers(user)).status_code == 403
    assert client.get(address, headers=make.headers(make.organizer())).status_code == 403
    assert client.get(address).status_code == 401


def test_looking_up_nobody_is_404(client: FlaskClient, make: Maker) -> None:
    answer = client.get("/users/999999", headers=make.headers(make.admin()))
    assert (answer.status_code, answer.json["message"]) == (404, "There is no such user.")


# ── The first admin ───────────────────────────────────────────────────────────────────────────────────────────────

ADMIN = {
    "email": "Mkuu@Example.co.ke",
    "phone": "0711 000 111",
    "first-name": "Mkuu",
    "last-name": "Wetu",
    "password": "kahawa-chungu-41",
}


def create_admin(app: Flask, **changed: str) -> tuple[int, str]:
    """The command's exit code and what it printed."""
    options = [f"--{name}={value}" for name, value in (ADMIN | changed).items()]
    result = app.test_cli_runner().invoke(args=["create-admin", *options])
    return result.exit_code, result.output


def test_the_first_admin_comes_from_the_command_line(app: Flask, client: FlaskClient) -> None:
    assert create_admin(app) == (0, "mkuu@example.co.ke is an admin now.\n")
    answer = log_in(client, email="mkuu@example.co.ke", password=ADMIN["password"])
    assert answer.json["user"]["role"] == "admin"
    bearer = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert client.get("/admin/pending", headers=bearer).status_code == 200


def test_the_password_is_asked_for_and_not_shown(app: Flask, client: FlaskClient) -> None:
    options = [f"--{name}={value}" for name, value in ADMIN.items() if name != "password"]
    typed = f"{ADMIN['password']}\n" * 2
    result = app.test_cli_runner().invoke(args=["create-admin", *options], input=typed)
    assert result.exit_code == 0
    assert ADMIN["password"] not in result.output
    assert log_in(client, email="mkuu@example.co.ke", password=ADMIN["password"]).status_code == 200


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"password": "password"}, "This password is too easy to guess. Please choose another one."),
        ({"password": "abc"}, "Please choose a password of at least 8 characters."),
        ({"phone": "12345"}, "phone: Please give a Kenyan mobile number such as 0712 345 678."),
        ({"email": "mkuu"}, "email: Please give a valid e-mail address."),
        ({"email": "taken@example.co.ke"}, "There is an account with this e-mail address already."),
        ({"phone": "+254799000111"}, "There is an account with this phone number already."),
    ],
)
def test_a_bad_admin_gets_one_clear_line(app: Flask, make: Maker, changed: dict[str, str], complaint: str) -> None:
    make.attendee(email="taken@example.co.ke", phone="254799000111")
    assert create_admin(app, **changed) == (1, f"Error: {complaint}\n")


# ── The audit trail ───────────────────────────────────────────────────────────────────────────────────────────────


def test_every_change_of_an_account_leaves_a_line(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = sign_up(client, role="organizer").json["user"]
    [created] = audit_lines(app, "account_created")
    assert (created.user_id, created.target_type, created.target_id) == (user["id"], "user", user["id"])
    assert created.details == {"role": "organizer"}
    assert created.ip_address == "127.0.0.1"

    bearer = {"Authorization": f"Bearer {log_in(client).json['access_token']}"}
    client.put("/profile/me", json={"first_name": "Zawadi", "phone": "0733111222"}, headers=bearer)
    [updated] = audit_lines(app, "profile_updated")
    assert updated.details == {"changed": ["first_name", "phone"]}
    assert (updated.user_id, updated.target_id) == (user["id"], user["id"])


def test_what_changes_nothing_leaves_no_line(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    client.put("/profile/me", json={"first_name": user.first_name}, headers=headers)
    client.put("/profile/me", json={"email": make.attendee().email}, headers=headers)
    client.put("/profile/me", json={"email": "nonsense"}, headers=headers)
    assert audit_lines(app, "profile_updated") == []


def test_a_new_admin_leaves_a_line(app: Flask) -> None:
    create_admin(app)
    assert [line.details for line in audit_lines(app, "account_created")] == [{"role": Role.ADMIN.value}]
