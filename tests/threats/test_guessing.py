"""Account takeover, by guessing: passwords, and who has an account."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import jwt
from flask import current_app
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from models import Counter, User
from services import credentials, limits, log_in_limits, passwords
from tests.mailed import forgot, mail_set_up
from tests.support import PASSWORD, together
from tests.test_queries import recorded
from tests.threats.field import FEW, Field, attack
from utils import clock, security, turns
from utils.database import transaction

WRONG = "chapati-na-chai-2026"
HOME = "41.90.1.1"


def _try(client: FlaskClient, user: User, password: str, address: str = HOME) -> int:
    sent = {"email": user.email, "password": password}
    return client.post("/login", json=sent, environ_overrides={"REMOTE_ADDR": address}).status_code


# ── Passwords ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _guess(field: Field, addresses: list[str]) -> bool:
    """Wrong passwords first, as many as it takes; then the right one."""
    user = field.make.attendee()
    for address in addresses:
        _try(field.client, user, WRONG, address)
    return _try(field.client, user, PASSWORD, addresses[-1]) == 200


@attack("Guessing a password from one address", without=lambda field: field.limit("login", 10**9))
def test_a_password_is_not_guessed_from_one_address(field: Field) -> bool:
    return _guess(field, ["102.0.0.1"] * (FEW + 1))


@attack("Guessing a password from many addresses", without=lambda field: field.limit("login_elsewhere", 10**9))
def test_a_password_is_not_guessed_from_many_addresses(field: Field) -> bool:
    return _guess(field, [f"102.0.{number}.1" for number in range(2 * FEW + 1)])


OWNER = "Keeping the owner out by guessing"


def _is_kept_out(field: Field, show: Callable[[dict[str, str]], int]) -> bool:
    """Whether guesses from everywhere keep somebody out who was logged in at home."""
    user = field.make.attendee()
    assert _try(field.client, user, PASSWORD) == 200
    for number in range(2 * FEW + 1):
        _try(field.client, user, WRONG, f"102.0.{number}.1")
    return show({"email": user.email, "password": PASSWORD}) == 429


@attack(OWNER, without=lambda field: field.replace(log_in_limits.limits, "is_remembered", lambda *_: False))
def test_the_owner_is_not_kept_out_at_home(field: Field) -> bool:
    at_home = {"REMOTE_ADDR": HOME}
    return _is_kept_out(
        field, lambda sent: field.client.post("/login", json=sent, environ_overrides=at_home).status_code
    )


@attack(OWNER, without=lambda field: field.replace(log_in_limits, "_place", lambda caller, _user: caller.address))
def test_the_owner_is_not_kept_out_with_a_device_of_his(field: Field) -> bool:
    def log_in(sent: dict[str, str]) -> int:
        [user] = [one for one in field.make.rows(User) if one.email == sent["email"]]
        elsewhere, headers = {"REMOTE_ADDR": "105.1.1.1"}, field.make.headers(user)
        return field.client.post("/login", json=sent, headers=headers, environ_overrides=elsewhere).status_code

    return _is_kept_out(field, log_in)


FASTER = "Guessing faster than we count, in many processes, or over a restart"
_AT_ONCE = FEW + 2


def _read_then_write(field: Field) -> None:
    """The count is read, and written later, when others have read it too: so many are worked on at once."""
    meet = field.meeting(_AT_ONCE)
    turns_of_all = SimpleQueue[None]()
    for _ in range(_AT_ONCE):
        turns_of_all.put(None)
    field.replace(turns, "_others", turns_of_all)

    def spend(purpose: str, *subject: str | int) -> None:
        limit, row = limits.LIMITS[purpose], {"purpose": purpose, "subject_hash": limits._hash(purpose, subject)}
        now = clock.now()
        with transaction() as session:
            ends_at = session.scalar(select(Counter.ends_at).where(limits._is(purpose, subject))) or now
        if ends_at + limit.pause > now + limit.whole:
            raise limits.TooManyAttempts
        meet()
        with transaction() as session:
            later = {"ends_at": ends_at + limit.pause}
            known = [Counter.purpose, Counter.subject_hash]
            session.execute(
                insert(Counter).values(**row, **later).on_conflict_do_update(index_elements=known, set_=later)
            )

    field.replace(limits, "spend", spend)


@attack(FASTER, without=_read_then_write)
def test_guesses_at_once_are_counted_one_by_one(field: Field) -> bool:
    user = field.make.attendee()
    answers = together(*[lambda: _try(field.app.test_client(), user, WRONG)] * _AT_ONCE)
    return answers.count(401) > FEW


def _count_in_each_process(field: Field) -> None:
    count = limits._hash

    def blind(purpose: str, subject: tuple[str | int, ...]) -> bytes:
        return count(purpose, (*subject, id(current_app._get_current_object())))  # type: ignore[attr-defined]

    field.replace(limits, "_hash", blind)


@attack(FASTER, without=_count_in_each_process)
def test_another_process_has_counted_too(field: Field) -> bool:
    user = field.make.attendee()
    for _ in range(FEW):
        _try(field.client, user, WRONG)
    return _try(field.start(), user, PASSWORD) == 200


# ── Who has an account ────────────────────────────────────────────────────────────────────────────────────────────


def _look_no_password_up(field: Field) -> None:
    def password_matches(password: str, kept: str | None) -> bool:
        return kept is not None and security.password_matches(password, kept)

    field.replace(credentials, "password_matches", password_matches)


@attack("Finding out who has an account", without=_look_no_password_up)
def test_logging_in_costs_the_same_whether_the_account_exists_or_not(field: Field) -> bool:
    user, costs, check = field.make.attendee(), [], security.bcrypt.check_password_hash
    field.client.post("/login", json={"email": "warm@example.co.ke", "password": "up"})  # makes the decoy
    for email in (user.email, f"not-{user.email}"):
        hashes: list[str] = []

        def count(kept: str, password: str, hashes: list[str] = hashes) -> bool:
            hashes.append(kept[:7])  # algorithm and cost
            return bool(check(kept, password))

        field.replace(security.bcrypt, "check_password_hash", count)
        with recorded(field.make) as statements:
            answer = field.client.post("/login", json={"email": email, "password": WRONG})
        costs.append((answer.status_code, answer.json, hashes, [sql.split(" WHERE ")[0] for sql in statements]))
    field.replace(security.bcrypt, "check_password_hash", check)
    assert len(costs[0][2]) == 1
    return costs[0] != costs[1]


def _look_it_up_at_once(field: Field) -> None:
    ask = passwords.ask_for_reset

    def ask_for_reset(email: str) -> None:
        ask(email)
        passwords.answer_reset_requests()

    field.replace(passwords, "ask_for_reset", ask_for_reset)


@attack('Finding out by "forgot my password" who has an account', without=_look_it_up_at_once)
def test_forgetting_a_password_costs_the_same_whether_the_account_exists_or_not(field: Field) -> bool:
    user, costs = field.make.attendee(), []
    with mail_set_up(field.app):
        for email in (user.email, f"not-{user.email}"):
            with recorded(field.make) as statements:
                answer = forgot(field.client, email)
            assert answer.status_code == 202
            costs.append((answer.data, list(statements)))
    return costs[0] != costs[1]


# ── Tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _believe_any_signature(field: Field) -> None:
    decode = jwt.decode

    def believe(token: str, *_: Any, **_named: Any) -> Any:
        return decode(token, options={"verify_signature": False})

    field.replace(jwt, "decode", believe)


@attack("An access token of one's own making", without=_believe_any_signature)
def test_an_access_token_of_ones_own_making_opens_nothing(field: Field) -> bool:
    genuine = field.make.headers(field.make.admin())["Authorization"].split()[1]
    claims = jwt.api_jwt.decode(genuine, options={"verify_signature": False})
    keys = {"a-key-of-the-attackers-own-making-1234": "HS256", "": "none"}
    forged = [jwt.encode(claims, key, algorithm=algorithm) for key, algorithm in keys.items()]
    opened = [field.client.get("/admin/users", headers={"Authorization": f"Bearer {one}"}) for one in forged]
    return any(answer.status_code == 200 for answer in opened)
