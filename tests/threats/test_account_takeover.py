"""Account takeover, with something that was somebody's: tokens, links, codes, an address."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any, Literal

from models import NotificationKind, Session, TokenPurpose, User
from resources import accounts as account_resources
from schemas import accounts as shapes
from services import credentials, email_addresses, one_time, passwords, sessions, two_factor
from tests.mailed import ask_for_reset, links, mail_set_up, secret_of
from tests.support import PASSWORD
from tests.test_accounts import a_person
from tests.test_two_factor import set_up
from tests.threats.field import Field, attack
from utils import clock
from utils.database import db, lock
from utils.errors import Unauthenticated

NEW = "kahawa-chungu-41"


def _log_in(field: Field, email: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = field.client.post("/login", json={"email": email, "password": password})
    return dict(answer.json) if answer.status_code == 200 else {}


def _is_in(field: Field, opened: dict[str, Any]) -> bool:
    headers = {"Authorization": f"Bearer {opened.get('access_token')}"}
    return field.client.get("/profile/me", headers=headers).status_code == 200


# ── Tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _take_a_refresh_token_twice(field: Field) -> None:
    rotate = sessions._rotate

    def go_on(session: Session, family: str, secret: str) -> str:
        return rotate(session, family, secret) or secrets.token_hex(16)

    field.replace(sessions, "_rotate", go_on)


@attack("A stolen refresh token", without=_take_a_refresh_token_twice)
def test_a_stolen_refresh_token_ends_when_its_owner_uses_it(field: Field) -> bool:
    def refresh(opened: dict[str, Any]) -> dict[str, Any]:
        return dict(field.client.post("/refresh", json={"refresh_token": opened["refresh_token"]}).json)

    owners = _log_in(field, field.make.attendee().email)
    thiefs = refresh(owners)
    with clock.set_to(clock.ahead(minutes=15)):
        thiefs = refresh(thiefs)
        refresh(owners)
    return _is_in(field, thiefs)


def _believe_the_token(field: Field) -> None:
    field.replace(sessions, "authenticate", lambda claims: db.session.get_one(User, claims.user_id))


@attack("A token of a banned account", without=_believe_the_token)
def test_a_token_of_a_banned_account_opens_nothing(field: Field) -> bool:
    user = field.make.attendee()
    headers = field.make.headers(user)
    field.make.ban(user)
    return field.client.get("/profile/me", headers=headers).status_code == 200


# ── Links in e-mails ──────────────────────────────────────────────────────────────────────────────────────────────

LINK = "A link to a new password, read by somebody later"


def _reset(field: Field, link: str) -> bool:
    sent = {"token": secret_of(link), "password": NEW}
    return field.client.post("/password/reset", json=sent).status_code == 200


def _use_no_link_up(field: Field) -> None:
    def take(purpose: TokenPurpose, secret: str) -> Any:
        token, user = one_time.find(purpose, secret)
        lock(user)
        return token, user

    field.replace(one_time, "take", take)
    field.replace(one_time, "revoke", lambda *_, **__: None)


def _replace_no_link(field: Field) -> None:
    field.replace(one_time, "revoke", lambda *_, **__: None)
    field.drop("only_the_newest_is_good")


@attack(LINK, without=_use_no_link_up)
def test_a_link_that_was_used_is_no_use(field: Field) -> bool:
    with mail_set_up(field.app):
        link = ask_for_reset(field.make, field.make.attendee().email)
        assert _reset(field, link)
        return _reset(field, link)


def _let_links_last(field: Field) -> None:
    field.monkeypatch.setitem(one_time.LIFETIMES, TokenPurpose.RESET_PASSWORD, one_time._KEPT)


@attack(LINK, without=_let_links_last)
def test_a_link_that_is_an_hour_old_is_no_use(field: Field) -> bool:
    with mail_set_up(field.app):
        link = ask_for_reset(field.make, field.make.attendee().email)
        with clock.set_to(clock.ahead(hours=1, seconds=1)):
            return _reset(field, link)


@attack(LINK, without=_replace_no_link)
def test_a_link_that_a_newer_one_replaced_is_no_use(field: Field) -> bool:
    with mail_set_up(field.app):
        email = field.make.attendee().email
        older, _ = ask_for_reset(field.make, email), ask_for_reset(field.make, email)
        return _reset(field, older)


# ── The address ───────────────────────────────────────────────────────────────────────────────────────────────────

ADDRESS = "Taking an account over by its e-mail address"


def _change(field: Field, user: User, address: str, password: str = PASSWORD) -> int:
    sent = {"email": address, "password": password}
    return field.client.post("/profile/me/email", json=sent, headers=field.make.headers(user)).status_code


def _confirm(field: Field) -> None:
    link = links(field.make, NotificationKind.EMAIL_CHANGE)[-1]
    assert field.client.post("/email/confirm", json={"token": secret_of(link)}).status_code == 200


def _ask_for_no_password(field: Field) -> None:
    field.replace(credentials, "password_matches", lambda *_: True)


@attack(ADDRESS, without=_ask_for_no_password)
def test_who_has_a_token_alone_changes_no_address(field: Field) -> bool:
    user = field.make.attendee()
    with mail_set_up(field.app):
        is_taken = _change(field, user, f"thief-of-{user.email}", "a-guess-at-it-2026") == 202
        headers, sent = field.make.headers(user), {"email": f"thief-of-{user.email}"}
        return is_taken or field.client.put("/profile/me", json=sent, headers=headers).status_code == 200


def _ask_at_no_new_address(field: Field) -> None:
    field.replace(email_addresses.notifications, "is_set_up", lambda _channel: False)


@attack(ADDRESS, without=_ask_at_no_new_address)
def test_an_address_is_nobodys_who_does_not_read_what_comes_to_it(field: Field) -> bool:
    user = field.make.attendee()
    strangers = f"stranger-to-{user.email}"
    with mail_set_up(field.app):
        _change(field, user, strangers)
    return bool(field.get("/profile/me", user).json["email"] == strangers)


def _leave_the_thief_in(field: Field) -> None:
    field.replace(sessions, "end_all", lambda *_: 0)
    field.replace(passwords, "disown", lambda *_: None)


@attack(ADDRESS, without=_leave_the_thief_in)
def test_a_thief_is_out_once_the_old_address_takes_the_account_back(field: Field) -> bool:
    user = field.make.attendee()
    with mail_set_up(field.app):
        _change(field, user, f"thief-of-{user.email}")
        _confirm(field)
        thiefs = _log_in(field, f"thief-of-{user.email}")
        assert thiefs
        undo = links(field.make, NotificationKind.EMAIL_CHANGED)[-1]
        assert field.client.post(undo).status_code == 200
    return _is_in(field, thiefs) or bool(_log_in(field, user.email))


# ── Two-factor log-in ─────────────────────────────────────────────────────────────────────────────────────────────

CODE = "A code of two-factor log-in, seen over a shoulder"


@attack(CODE, without=lambda field: field.replace(two_factor, "spend", lambda _use: True))
def test_a_code_that_was_seen_lets_nobody_in(field: Field) -> bool:
    user = field.make.attendee()
    phone = set_up(field.client, field.make.headers(user))
    seen = phone.code(), phone.recovery_codes[0]
    assert all(_log_in(field, user.email, PASSWORD + one) for one in seen)
    return any(_log_in(field, user.email, PASSWORD + one) for one in seen)


def _say_that_the_password_is_wrong(field: Field) -> None:
    matches = credentials.password_matches

    def tell(password: str, kept: str | None) -> bool:
        if not matches(password, kept):
            raise Unauthenticated("This password is wrong.")
        return True

    field.replace(credentials, "password_matches", tell)


@attack(CODE, without=_say_that_the_password_is_wrong)
def test_nobody_is_told_which_part_was_wrong(field: Field) -> bool:
    user = field.make.attendee()
    set_up(field.client, field.make.headers(user))
    guesses = (PASSWORD + "000000", "chapati-na-chai-2026" + "000000")
    answers = [field.client.post("/login", json={"email": user.email, "password": one}).data for one in guesses]
    return answers[0] != answers[1]


# ── A role ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _AnyRole(shapes.SignUp):
    role: Literal["attendee", "organizer", "admin"] = "attendee"  # type: ignore[assignment]


def _take_any_role(field: Field) -> None:
    declared = replace(account_resources.SignUp.post.endpoint, body=_AnyRole)  # type: ignore[attr-defined]
    field.replace(account_resources.SignUp.post, "endpoint", declared)


@attack("Becoming an admin by sign-up", without=_take_any_role)
def test_nobody_becomes_an_admin_by_signing_up(field: Field) -> bool:
    opened = field.client.post("/signup", json=a_person(role="admin")).json
    headers = {"Authorization": f"Bearer {opened.get('access_token')}"}
    return field.client.get("/admin/users", headers=headers).status_code == 200
