"""A stolen copy of the database: all rows, and not SECRET_KEY."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text, update

from models import Counter, GatePass, OneTimeToken, OrderStatus, Payment, Session, TicketKey, TokenPurpose, User
from services import accounts, credentials, gate_passes, inbox, one_time, passwords, prompts, sessions, ticket_keys
from tests.gates import SCANS, Gate, new_nonce, scan_of
from tests.support import mailed_secret, new_receipt, success
from tests.test_accounts import a_person
from tests.test_config import LIVE, faults
from tests.threats.field import Field, attack
from tests.waiting import wait_until
from utils import clock, config_rules, signing, ticket_token, tokens
from utils.callers import SAFARICOM
from utils.database import Base, db

# ── Secrets that have to be recognised ────────────────────────────────────────────────────────────────────────────

HASHED = "A callback address, a gate pass, a refresh token or a mailed link out of a stolen dump"


def _store_secrets_as_they_are(field: Field) -> None:
    for module in (gate_passes, inbox, one_time, prompts, sessions):
        field.replace(module, "hash_secret", lambda secret: secret.encode())


def _as_secret(kept: bytes) -> str:
    """The best that can be made of what a table has."""
    text = kept.decode("ascii", errors="ignore")
    return text if re.fullmatch("[0-9a-f]{32}", text) else kept.hex()[:32]


@attack(HASHED, without=_store_secrets_as_they_are)
def test_a_dump_tells_no_callback_address(field: Field) -> bool:
    order, _ = field.make.order()
    secret = _as_secret(field.make.rows(Payment)[-1].callback_token_hash)
    body, address = success(order.total_kes, new_receipt()), {"REMOTE_ADDR": SAFARICOM[0]}
    field.client.post(f"/api/payment/callback/{secret}", data=body, environ_overrides=address)
    wait_until(lambda: all(message.verdict for message in field.make.messages()))
    return field.make.status(order.id) is OrderStatus.PAID


@attack(HASHED, without=_store_secrets_as_they_are)
def test_a_dump_tells_no_gate_pass(field: Field) -> bool:
    own = Gate(field.client, field.make)
    own.a_pass()
    headers = {"Authorization": f"Gate {_as_secret(field.make.rows(GatePass)[-1].secret_hash)}"}
    [ticket] = own.tickets()
    return field.client.post(SCANS, json=scan_of(ticket), headers=headers).status_code == 200


@attack(HASHED, without=_store_secrets_as_they_are)
def test_a_dump_tells_no_refresh_token(field: Field) -> bool:
    field.make.headers(field.make.attendee())
    kept = field.make.rows(Session)[-1]
    token = ".".join(_as_secret(half) for half in (kept.family_hash, kept.refresh_hash))
    return field.client.post("/refresh", json={"refresh_token": token}).status_code == 200


@attack(HASHED, without=_store_secrets_as_they_are)
def test_a_dump_tells_no_mailed_link(field: Field) -> bool:
    mailed_secret(field.app, field.make.attendee(), TokenPurpose.RESET_PASSWORD)
    secret = _as_secret(field.make.rows(OneTimeToken)[-1].token_hash)
    sent = {"token": secret, "password": "kahawa-chungu-41"}
    return field.client.post("/password/reset", json=sent).status_code == 200


# ── Passwords ─────────────────────────────────────────────────────────────────────────────────────────────────────

PASSWORDS = "A password out of a stolen dump"


def _store_passwords_as_they_are(field: Field) -> None:
    field.replace(accounts, "hash_password", lambda password: password)
    field.replace(credentials, "password_matches", lambda password, kept: password == kept)


@attack(PASSWORDS, without=_store_passwords_as_they_are)
def test_a_dump_tells_no_password(field: Field) -> bool:
    user = field.make.attendee()
    [kept] = [one.password_hash for one in field.make.rows(User) if one.id == user.id]
    return field.client.post("/login", json={"email": user.email, "password": kept}).status_code == 200


@attack(PASSWORDS, without=lambda field: field.replace(passwords, "check_password", lambda *_, **__: None))
def test_no_password_is_of_a_list(field: Field) -> bool:
    guesses = ("password1", "qwerty123", "iloveyou")
    return any(field.client.post("/signup", json=a_person(password=one)).status_code == 201 for one in guesses)


@attack(PASSWORDS, without=lambda field: field.replace(config_rules, "MIN_BCRYPT_ROUNDS", 4))
def test_no_password_is_cheap_to_try(field: Field) -> bool:
    return faults(LIVE | {"BCRYPT_ROUNDS": "4"}) == []


# ── Secrets that have to be read again, and what is signed ────────────────────────────────────────────────────────


class _Open:
    """Seals nothing."""

    @staticmethod
    def seal(plain: bytes, **_: Any) -> bytes:
        return plain

    @staticmethod
    def unseal(kept: bytes, **_: Any) -> bytes:
        return kept


@attack("Signing tickets", without=lambda field: field.replace(ticket_keys, "sealing", _Open))
def test_a_dump_signs_no_ticket(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    own.token(ticket)  # so that the event has a key
    key = Ed25519PrivateKey.from_private_bytes(field.make.rows(TicketKey)[-1].sealed_private_key[-32:])
    hours = clock.ago(hours=9), clock.ahead(hours=9)
    facts = ticket_token.Facts(own.event.id, ticket.id, ticket.ticket_type_id, *hours, rotation=1)
    forged = ticket_token.sign(facts, key)
    return bool(own.send({"token": forged, "nonce": new_nonce()})["results"][0]["result"] == "ok")


SIGNED = "Access tokens, tickets' pages, calendars"


def _read_what_is_not_signed(field: Field) -> None:
    def read(purpose: str, token: str) -> tuple[Any, ...]:
        _, (_until, *subject) = signing._serializer(purpose, b"").loads_unsafe(token)
        return tuple(subject)

    field.replace(signing, "verify", read)


@attack(SIGNED, without=_read_what_is_not_signed)
def test_a_dump_signs_no_address(field: Field) -> bool:
    """The thief has all that these addresses say, and makes them with a key of his own."""
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    user = field.make.attendee()

    def sign(purpose: str, *subject: int) -> str:
        return str(signing._serializer(purpose, b"a key of the thief's").dumps([None, *subject]))

    with field.app.app_context():
        page, feed = sign("ticket page", ticket.id, 1), sign("calendar", user.id, user.calendar_version)
    return any(field.client.get(path).status_code == 200 for path in (f"/t/{page}", f"/calendar/{feed}.ics"))


def _keep_tokens(field: Field) -> None:
    issue = tokens.issue

    def issue_and_keep(user_id: int, session_id: int) -> str:
        token = issue(user_id, session_id)
        db.session.execute(update(Session).where(Session.id == session_id).values(user_agent=token))
        return token

    field.replace(tokens, "issue", issue_and_keep)


@attack(SIGNED, without=_keep_tokens)
def test_a_dump_has_no_access_token(field: Field) -> bool:
    token = field.make.headers(field.make.attendee())["Authorization"].split()[1]
    with field.app.app_context():
        tables = [table.name for table in Base.metadata.sorted_tables]
        dump = [row for name in tables for row in db.session.scalars(text(f'SELECT t::text FROM "{name}" t'))]
    assert any("@example.co.ke" in row for row in dump)
    return any(token in row for row in dump)


def _count_by_a_mere_hash(field: Field) -> None:
    field.replace(signing, "blind", lambda purpose, words: hashlib.sha256(f"{purpose}/{words}".encode()).digest())


@attack("Who tried to log in", without=_count_by_a_mere_hash)
def test_a_dump_does_not_tell_who_tried_to_log_in(field: Field) -> bool:
    email = field.make.attendee().email
    field.client.post("/login", json={"email": email, "password": "chapati-na-chai-2026"})
    with field.app.app_context():
        kept = set(db.session.scalars(select(Counter.subject_hash)))
    assert kept
    return hashlib.sha256(f"counters/login_elsewhere/{email}".encode()).digest() in kept
