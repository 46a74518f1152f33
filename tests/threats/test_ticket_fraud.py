"""Somebody wants in without a ticket of their own."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models import ScanResult, Ticket, User
from resources import ticket_pages
from services import admission, gate, holders, ledger, refunds, scans
from services.scans import Presented
from tests.gates import Gate, new_nonce
from tests.held_tickets import give_back, page_of, reissue
from tests.passing_on import CHANNELS, Passing
from tests.support import together
from tests.threats.field import Field, attack
from utils import clock, ticket_token
from utils.database import db
from utils.prepared import Prepared

# ── Tickets that are none ─────────────────────────────────────────────────────────────────────────────────────────


@attack(
    "A ticket of one's own making",
    without=lambda field: field.replace(ticket_token, "verify", lambda token, _keys: ticket_token.read(token)),
)
def test_a_ticket_of_ones_own_making_lets_nobody_in(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    own.token(ticket)  # so that the event has a key
    hours = clock.ago(hours=9), clock.ahead(hours=9)
    facts = ticket_token.Facts(own.event.id, ticket.id, ticket.ticket_type_id, *hours, rotation=1)
    forged = ticket_token.sign(facts, Ed25519PrivateKey.generate())
    return _shows(own, token=forged)


def _shows(own: Gate, **shown: str) -> bool:
    """Whether who shows this is let in."""
    return bool(own.send(shown | {"nonce": new_nonce()})["results"][0]["result"] == "ok")


def _number_the_codes(field: Field) -> None:
    numbers = itertools.count(1)
    field.replace(admission, "_new_code", lambda: f"0000-0000-{next(numbers):04}")


CODE = "Guessing a ticket's code"


@attack(CODE, without=_number_the_codes)
def test_no_code_is_guessed(field: Field) -> bool:
    own = Gate(field.client, field.make)
    own.tickets()
    return any(_shows(own, code=f"0000-0000-{guess:04}") for guess in range(10))


def _open_to_any_login(field: Field) -> None:
    def get_ticket(*, actor: User, code: str) -> holders.HeldTicket:
        return holders._hold([db.session.scalars(holders._tickets().where(Ticket.code == code)).one()])[0]

    field.replace(holders, "get_ticket", get_ticket)


@attack(CODE, without=_open_to_any_login)
def test_a_code_opens_nothing_to_who_read_it_somewhere(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    return any(field.get(f"/tickets/{ticket.code}", one).status_code == 200 for one in (own.organizer, own.make.user()))


# ── Tickets that were good once ───────────────────────────────────────────────────────────────────────────────────

COPY = "A copy of a ticket, shown second"


def _let_everybody_in(field: Field) -> None:
    field.replace(gate, "_move", lambda *_, **__: ScanResult.OK)


@attack(COPY, without=_let_everybody_in)
def test_a_copy_that_is_shown_second_lets_nobody_in(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    token = own.token(ticket)
    return _shows(own, token=token) and (_shows(own, token=token) or _shows(own, code=ticket.code))


def _lock_no_ticket(field: Field) -> None:
    field.replace(gate, "_LOCK", Prepared(gate._NAMED))


@attack(COPY, without=_lock_no_ticket)
def test_of_two_copies_at_two_gates_at_once_one_lets_somebody_in(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    field.meet(gate, "pass_gate", parties=2)

    def show() -> ScanResult:
        with field.app.app_context():
            shown = [Presented(nonce=new_nonce(), code=ticket.code)]
            return scans.record_scans(actor=own.organizer, event_id=own.event.id, scans=shown)[0].scan.result

    return together(show, show) == [ScanResult.OK] * 2


def _find_no_double_entry(field: Field) -> None:
    decide = gate.pass_gate

    def pass_gate(scan: Any, *args: Any, **named: Any) -> None:
        decide(scan, *args, **named)
        scan.is_conflict = False

    field.replace(gate, "pass_gate", pass_gate)


@attack(COPY, without=_find_no_double_entry)
def test_a_copy_at_a_gate_without_a_network_is_found_out(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    told = []
    for minutes, device in ((20, "A"), (10, "B")):
        scan = {"code": ticket.code, "nonce": new_nonce(), "scanned_at": clock.ago(minutes=minutes).isoformat()}
        told += own.send(scan, device=device)["double_entries"]
    return told == []


def _void_nothing(field: Field) -> None:
    field.replace(ledger, "void_tickets", lambda *_: Counter())


@attack("A ticket whose money went back", without=_void_nothing)
def test_a_ticket_whose_money_went_back_lets_nobody_in(field: Field) -> bool:
    sold = Passing(field.client, field.make, starts_at=clock.ahead(hours=3))
    give_back(field.make, sold.ticket)
    return bool(sold.scan(code=sold.ticket.code)["result"] == "ok")


def _forget_the_issue(field: Field) -> None:
    check = scans._check_ticket
    field.replace(scans, "_check_ticket", lambda ticket, _rotation: check(ticket, None))


@attack("A ticket that was issued anew, in its older form", without=_forget_the_issue)
def test_an_older_form_of_a_ticket_lets_nobody_in(field: Field) -> bool:
    own = Gate(field.client, field.make)
    [ticket] = own.tickets()
    token = own.token(ticket)
    reissue(field.make, ticket)
    return _shows(own, token=token) or _shows(own, code=ticket.code)


# ── Tickets that were sold ────────────────────────────────────────────────────────────────────────────────────────


def _passing(field: Field) -> Passing:
    field.set(**CHANNELS)
    return Passing(field.client, field.make)


@attack(
    "A seller who shows the old QR code, the old typed code, or a picture of it",
    without=lambda field: field.replace(admission, "issue_anew", lambda _ticket: None),
)
def test_a_seller_shows_nothing_that_lets_him_in(field: Field) -> bool:
    passing = _passing(field)
    token, page = passing.as_buyer(f"/tickets/{passing.ticket.code}").json["token"], passing.page()
    passing.pass_on()
    has_page = "Replaced" not in field.client.get(page).text
    forms = {"token": token}, {"code": passing.ticket.code}
    return has_page or any(passing.scan(**shown)["result"] == "ok" for shown in forms)


def _believe_the_number(field: Field) -> None:
    def get_ticket(*, actor: User, code: str) -> holders.HeldTicket:
        found = holders._tickets().where(Ticket.code == code, Ticket.phone == actor.phone)
        return holders._hold([db.session.scalars(found).one()])[0]

    field.replace(holders, "get_ticket", get_ticket)


@attack("A stranger who opens an account with the receiver's number", without=_believe_the_number)
def test_the_receivers_number_opens_nothing(field: Field) -> bool:
    passing, phone = _passing(field), f"25471{next(_numbers):07d}"
    passing.offer(phone=phone)
    stranger = field.make.attendee(phone=phone)
    has_offered = field.get(f"/tickets/{passing.ticket.code}", stranger).status_code == 200
    assert passing.accept().status_code == 200
    has_accepted = field.get(f"/tickets/{passing.now().code}", stranger).status_code == 200
    return has_offered or has_accepted or field.get("/my-tickets", stranger).json != []


_numbers = itertools.count(1)


@attack(
    "A seller who has the money refunded after the sale",
    without=lambda field: field.replace(refunds, "_is_kept", lambda _ticket: False),
)
def test_the_seller_does_not_have_the_money_back_after_the_sale(field: Field) -> bool:
    passing = _passing(field)
    passing.pass_on()
    headers = field.make.headers(passing.organizer)
    return field.client.post(f"/orders/{passing.order.id}/refund", json={}, headers=headers).status_code == 200


# ── Pages of tickets ──────────────────────────────────────────────────────────────────────────────────────────────

SCRIPT = "A script in the title of an event, for who opens the ticket's page"


def _show_tags_as_tags(field: Field) -> None:
    environment = field.app.jinja_env
    field.replace(environment, "autoescape", False)
    environment.cache.clear()  # type: ignore[union-attr]
    field.stack.callback(environment.cache.clear)  # type: ignore[union-attr]


def _page(field: Field) -> Any:
    event = field.make.event(title="<script>alert(1)</script>")
    order, _ = field.make.order(ticket_type=field.make.ticket_type(event, price=0))
    page = field.client.get(page_of(field.make, order.tickets[0]))
    assert page.status_code == 200
    return page


@attack(SCRIPT, without=_show_tags_as_tags)
def test_a_script_in_a_title_stays_a_title(field: Field) -> bool:
    field.app.jinja_env.cache.clear()  # type: ignore[union-attr]
    return "<script>alert(1)" in _page(field).text


@attack(SCRIPT, without=lambda field: field.replace(ticket_pages, "_POLICY", "frame-ancestors 'none'"))
def test_a_script_that_got_into_the_page_does_not_run(field: Field) -> bool:
    told = (part.split(None, 1) for part in _page(field).headers["Content-Security-Policy"].split(";"))
    rules = {name: "".join(value) for name, *value in told}
    runs = rules.get("script-src", rules.get("default-src", "'unsafe-inline'"))
    return "'unsafe-inline'" in runs
