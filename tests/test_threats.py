"""The attacks of `docs/security.md`, each made twice: as things are, where it fails, and without its defence.

The second shows that it is the defence that the first one fails at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from config import ROOT
from models import Event, EventStatus, GatePass, OrderStatus, Payment, Role, User
from services import accounts, credentials, gate_passes, inbox, judge, limits, log_in_limits, prompts
from services.limits import Limit
from tests.gates import Gate, new_nonce, scan_of
from tests.held_tickets import page_of
from tests.support import PASSWORD, Maker, changed_settings, new_receipt, success
from tests.test_queries import recorded
from tests.waiting import wait_until
from utils import clock, security, ticket_token
from utils.callers import SAFARICOM
from utils.database import db, transaction
from utils.errors import TicksyError


@dataclass
class Field:
    """Where attacks are made, and how their defences are taken away."""

    app: Flask
    client: FlaskClient
    make: Maker
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack

    def set(self, **settings: Any) -> None:
        self.stack.enter_context(changed_settings(self.app, **settings))

    def replace(self, where: Any, name: str, substitute: Any) -> None:
        self.monkeypatch.setattr(where, name, substitute)


@pytest.fixture
def field(app: Flask, client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    with ExitStack() as stack:
        field = Field(app, client, make, monkeypatch, stack)
        field.set(RATELIMIT_ENABLED=True, MPESA_CALLBACK_ADDRESSES=SAFARICOM, PROMPTS_PER_BUYER_AND_HOUR=3)
        yield field


#: Whether the attack succeeds; and what takes its defence away.
Attack = Callable[[Field], bool]
Removal = Callable[[Field], None]
ATTACKS: dict[str, tuple[Attack, Removal]] = {}


def attack(name: str, *, without: Removal) -> Callable[[Attack], Attack]:
    def keep(made: Attack) -> Attack:
        ATTACKS[name] = (made, without)
        return made

    return keep


# ── Money ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_paid_after(field: Field, order_id: int, path: str, body: bytes, *, address: str) -> bool:
    field.client.post(path, data=body, environ_overrides={"REMOTE_ADDR": address})
    wait_until(lambda: all(message.verdict for message in field.make.messages()))
    return field.make.status(order_id) is OrderStatus.PAID


@attack("a leaked callback address, used from elsewhere", without=lambda field: field.set(MPESA_CALLBACK_ADDRESSES=[]))
def use_a_leaked_callback_address(field: Field) -> bool:
    order, token = field.make.order()
    body = success(order.total_kes, new_receipt(), checkout="ws_CO_1")
    return _is_paid_after(field, order.id, f"/api/payment/callback/{token}", body, address="41.90.1.1")


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@attack(
    "a ticket for one shilling",
    without=lambda field: field.replace(judge, "Decimal", lambda _amount: _Anything()),
)
def pay_too_little(field: Field) -> bool:
    order, token = field.make.order()
    body = success(1, new_receipt())
    return _is_paid_after(field, order.id, f"/api/payment/callback/{token}", body, address=SAFARICOM[0])


def _store_secrets_as_they_are(field: Field) -> None:
    for module in (gate_passes, inbox, prompts):
        field.replace(module, "hash_secret", lambda secret: secret.encode())


@attack("a callback address out of a stolen dump", without=_store_secrets_as_they_are)
def read_a_callback_address(field: Field) -> bool:
    order, _ = field.make.order()
    with field.app.app_context():
        kept = db.session.scalars(select(Payment.callback_token_hash).where(Payment.order_id == order.id)).one()
    body = success(order.total_kes, new_receipt())
    path = f"/api/payment/callback/{_as_secret(kept)}"
    return _is_paid_after(field, order.id, path, body, address=SAFARICOM[0])


def _as_secret(kept: bytes) -> str:
    """The best that can be made of what the table has."""
    text = kept.decode("ascii", errors="ignore")
    return text if re.fullmatch("[0-9a-f]{32}", text) else kept.hex()[:32]


# ── Tickets ───────────────────────────────────────────────────────────────────────────────────────────────────────


@attack(
    "a ticket of one's own making",
    without=lambda field: field.replace(ticket_token, "verify", lambda token, _keys: ticket_token.read(token)),
)
def forge_a_ticket(field: Field) -> bool:
    gate = Gate(field.client, field.make)
    [ticket] = gate.tickets()
    gate.token(ticket)  # so that the event has a key
    facts = ticket_token.Facts(
        gate.event.id, ticket.id, ticket.ticket_type_id, clock.ago(hours=9), clock.ahead(hours=9), 1
    )
    forged = ticket_token.sign(facts, ticket_token.Ed25519PrivateKey.generate())
    return bool(gate.send({"token": forged, "nonce": new_nonce()})["results"][0]["result"] == "ok")


def _show_tags_as_tags(field: Field) -> None:
    environment = field.app.jinja_env
    field.replace(environment, "autoescape", False)
    environment.cache.clear()  # type: ignore[union-attr]
    field.stack.callback(environment.cache.clear)  # type: ignore[union-attr]


@attack("a script in the title of an event", without=_show_tags_as_tags)
def plant_a_script(field: Field) -> bool:
    event = field.make.event(title="<script>alert(1)</script>")
    order, _ = field.make.order(ticket_type=field.make.ticket_type(event, price=0))
    field.app.jinja_env.cache.clear()  # type: ignore[union-attr]
    page = field.client.get(page_of(field.make, order.tickets[0]))
    assert page.status_code == 200
    return "<script>alert(1)" in page.text


# ── Accounts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _guess(field: Field, addresses: list[str]) -> bool:
    """Wrong passwords first, as many as it takes; then the right one."""
    email = field.make.attendee().email

    def try_password(password: str, address: str) -> int:
        sent = {"email": email, "password": password}
        return field.client.post("/login", json=sent, environ_overrides={"REMOTE_ADDR": address}).status_code

    for number, address in enumerate(addresses):
        try_password(f"chapati-na-chai-{number}", address)
    return try_password(PASSWORD, addresses[-1]) == 200


def _never_count(purpose: str, field: Field) -> None:
    field.monkeypatch.setitem(limits.LIMITS, purpose, Limit(10**9, 1))


@attack("guessing a password from one address", without=partial(_never_count, "login"))
def guess_from_one_address(field: Field) -> bool:
    return _guess(field, ["102.0.0.1"] * 20)


@attack("guessing a password from many addresses", without=partial(_never_count, "login_elsewhere"))
def guess_from_many_addresses(field: Field) -> bool:
    return _guess(field, [f"102.0.{number}.1" for number in range(60)])


@attack(
    "keeping the owner out by guessing",
    without=lambda field: field.replace(log_in_limits.limits, "is_remembered", lambda *_: False),
)
def keep_the_owner_out(field: Field) -> bool:
    user = field.make.attendee()

    def log_in(password: str, address: str) -> int:
        sent = {"email": user.email, "password": password}
        return field.client.post("/login", json=sent, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert log_in(PASSWORD, "41.90.1.1") == 200
    for number in range(60):
        log_in("chapati-na-chai-2026", f"102.0.{number}.1")
    return log_in(PASSWORD, "41.90.1.1") == 429


def _believe_any_signature(field: Field) -> None:
    decode = jwt.decode

    def believe(token: str, *_: Any, **_named: Any) -> Any:
        return decode(token, options={"verify_signature": False})

    field.replace(jwt, "decode", believe)


@attack("an access token of one's own making", without=_believe_any_signature)
def forge_a_token(field: Field) -> bool:
    admin = field.make.admin()
    genuine = field.make.headers(admin)["Authorization"].split()[1]
    claims = jwt.api_jwt.decode(genuine, options={"verify_signature": False})
    forged = jwt.encode(claims, "a-key-of-the-attackers-own-making-1234", algorithm="HS256")
    return field.client.get("/admin/users", headers={"Authorization": f"Bearer {forged}"}).status_code == 200


def _store_passwords_as_they_are(field: Field) -> None:
    field.replace(accounts, "hash_password", lambda password: password)
    field.replace(credentials, "password_matches", lambda password, kept: password == kept)


@attack("a password out of a stolen dump", without=_store_passwords_as_they_are)
def read_a_password(field: Field) -> bool:
    user = field.make.attendee()
    with field.app.app_context():
        kept = db.session.get_one(User, user.id).password_hash
    return field.client.post("/login", json={"email": user.email, "password": kept}).status_code == 200


# ── Scalpers ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _count_orders(field: Field, *, of_one_event: bool) -> int:
    """How many of seven a bot with one account gets to hold."""
    buyer, placed = field.make.attendee(), 0
    event = field.make.event()
    for number in range(1, 8):
        where = event if of_one_event else field.make.event()
        ticket_type = field.make.ticket_type(where, name=f"Type {number}", price=100 + number)
        try:
            field.make.order(buyer, ticket_type, phone=f"2547330000{number:02d}")
        except TicksyError:
            continue
        placed += 1
    return placed


@attack("holding an event's tickets with open orders", without=lambda field: field.set(OPEN_ORDERS_PER_EVENT=100))
def hold_without_paying(field: Field) -> bool:
    return _count_orders(field, of_one_event=True) > 2


@attack("ringing many strangers' phones", without=lambda field: field.set(PROMPTS_PER_BUYER_AND_HOUR=1_000))
def ring_strangers(field: Field) -> bool:
    return _count_orders(field, of_one_event=False) > 3


# ── Organizers and gate helpers ───────────────────────────────────────────────────────────────────────────────────


@attack("another organizer's attendees", without=lambda field: field.replace(Event, "is_run_by", lambda *_: True))
def read_foreign_attendees(field: Field) -> bool:
    event = field.make.event(status=EventStatus.APPROVED)
    curious = field.make.headers(field.make.user(Role.ORGANIZER))
    return field.client.get(f"/organizer/events/{event.id}/attendees", headers=curious).status_code == 200


def _scan(gate: Gate, headers: dict[str, str]) -> bool:
    [ticket] = gate.tickets()
    body = {"scans": [scan_of(ticket)], "event_id": gate.event.id}
    answer = gate.client.post("/checkin/scans", json=body, headers=headers)
    return answer.status_code == 200 and answer.json["results"][0]["result"] == "ok"


def _let_a_pass_name_any_event(field: Field) -> None:
    field.replace(gate_passes, "find_event", lambda _actor, event_id: db.session.get_one(Event, event_id))


@attack("a helper at another event's gate", without=_let_a_pass_name_any_event)
def work_at_another_gate(field: Field) -> bool:
    own, other = Gate(field.client, field.make), Gate(field.client, field.make)
    return _scan(other, own.a_pass())


def _forget_that_passes_are_revoked(field: Field) -> None:
    def authenticate(secret: str) -> GatePass:
        found = gate_passes._with_event().where(GatePass.secret_hash == security.hash_secret(secret))
        return db.session.scalars(found).one()

    field.replace(gate_passes, "authenticate", authenticate)


@attack("a helper whose pass was taken back", without=_forget_that_passes_are_revoked)
def use_a_revoked_pass(field: Field) -> bool:
    gate = Gate(field.client, field.make)
    headers = gate.a_pass()
    with field.app.app_context(), transaction() as session:
        pass_id = session.scalars(select(GatePass.id)).one()
    with field.app.app_context():
        gate_passes.revoke_pass(actor=gate.organizer, event_id=gate.event.id, pass_id=pass_id)
    return _scan(gate, headers)


@attack("a gate pass out of a stolen dump", without=_store_secrets_as_they_are)
def read_a_gate_pass(field: Field) -> bool:
    gate = Gate(field.client, field.make)
    gate.a_pass()
    with field.app.app_context():
        kept = db.session.scalars(select(GatePass.secret_hash)).one()
    return _scan(gate, {"Authorization": f"Gate {_as_secret(kept)}"})


# ── All of them ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_fails(field: Field, name: str) -> None:
    made, _ = ATTACKS[name]
    assert not made(field)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_its_defence_the_attack_succeeds(field: Field, name: str) -> None:
    made, without = ATTACKS[name]
    without(field)
    assert made(field)


def test_logging_in_costs_the_same_whether_the_account_exists_or_not(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, costs, check = field.make.attendee(), [], security.bcrypt.check_password_hash
    field.client.post("/login", json={"email": "warm@example.co.ke", "password": "up"})  # makes the decoy
    for email in (user.email, "nobody@example.co.ke"):
        hashes: list[str] = []

        def count(kept: str, password: str, hashes: list[str] = hashes) -> bool:
            hashes.append(kept[:7])  # algorithm and cost
            return bool(check(kept, password))

        monkeypatch.setattr(security.bcrypt, "check_password_hash", count)
        with recorded(field.make) as statements:
            answer = field.client.post("/login", json={"email": email, "password": "chapati-na-chai-2026"})
        costs.append((answer.status_code, answer.json, hashes, [sql.split(" WHERE ")[0] for sql in statements]))
    assert costs[0] == costs[1]
    assert len(costs[0][2]) == 1


# ── The page ──────────────────────────────────────────────────────────────────────────────────────────────────────

PAGE = ROOT / "docs" / "security.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert len(named) > 30
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (path, name)


def test_the_page_tells_of_every_attack() -> None:
    told = PAGE.read_text().lower()
    assert [name for name in ATTACKS if name.lower() not in told] == []
