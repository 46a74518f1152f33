"""A rogue gate helper: somebody with a pass for one evening."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from models import GatePass, Scan, ScanResult, TicketStatus, User
from resources import base
from services import gate, gate_passes, manifests, scans
from tests.gates import SCANS, Gate, scan_of
from tests.threats.field import Field, attack
from utils import security, tokens
from utils.database import db


def _gate(field: Field) -> Gate:
    return Gate(field.client, field.make)


def _scans(own: Gate, headers: dict[str, str]) -> bool:
    """Whether who has these headers lets somebody in there."""
    [ticket] = own.tickets()
    answer = own.client.post(SCANS, json={"scans": [scan_of(ticket)], "event_id": own.event.id}, headers=headers)
    return answer.status_code == 200 and answer.json["results"][0]["result"] == "ok"


def _let_a_pass_name_any_event(field: Field) -> None:
    field.replace(gate_passes, "find_post", lambda _actor, event_id: gate_passes._read_post(event_id))


@attack("A helper at another event's gate", without=_let_a_pass_name_any_event)
def test_a_pass_opens_no_other_events_gate(field: Field) -> bool:
    return _scans(_gate(field), _gate(field).a_pass())


def _forget_that_passes_are_revoked(field: Field) -> None:
    def authenticate(secret: str) -> GatePass:
        found = select(GatePass).where(GatePass.secret_hash == security.hash_secret(secret))
        return db.session.scalars(found).one()

    field.replace(gate_passes, "authenticate", authenticate)


@attack("A helper whose pass was taken back", without=_forget_that_passes_are_revoked)
def test_a_pass_that_was_taken_back_opens_nothing(field: Field) -> bool:
    own = _gate(field)
    headers = own.a_pass()
    pass_id = field.make.rows(GatePass)[-1].id
    with field.app.app_context():
        gate_passes.revoke_pass(actor=own.organizer, event_id=own.event.id, pass_id=pass_id)
    return _scans(own, headers)


def _take_a_pass_for_a_token(field: Field) -> None:
    field.replace(base, "read_gate_secret", lambda _access: tokens.read_gate_secret())


@attack("Anything beyond the gate", without=_take_a_pass_for_a_token)
def test_a_pass_opens_nothing_beyond_the_gate(field: Field) -> bool:
    headers = _gate(field).a_pass()
    return any(field.client.get(path, headers=headers).status_code == 200 for path in ("/my-tickets", "/orders"))


@attack("Reading who comes", without=lambda field: field.replace(manifests, "hash_code", lambda _event_id, code: code))
def test_a_manifest_tells_nobodys_name_and_no_code(field: Field) -> bool:
    own = _gate(field)
    [ticket] = own.tickets()
    told = json.dumps(field.client.get("/checkin/manifest", headers=own.a_pass()).json)
    assert str(ticket.id) in told
    personal = (ticket.first_name, ticket.last_name, ticket.email, ticket.phone, ticket.code)
    return any(one in told or one.replace("-", "") in told for one in personal)


FRIENDS = "Letting friends in and taking it back"


def _undo_for_anybody(field: Field) -> None:
    undo = scans.undo_scan

    def undo_scan(*, actor: Any, scan_id: int) -> scans.Undone:
        scan = db.session.scalars(select(Scan).where(Scan.id == scan_id)).one()
        return undo(actor=db.session.get(User, scan.user_id) if scan.user_id else actor, scan_id=scan_id)

    field.replace(scans, "undo_scan", undo_scan)


@attack(FRIENDS, without=_undo_for_anybody)
def test_a_pass_takes_back_nothing_of_others(field: Field) -> bool:
    own = _gate(field)
    [ticket] = own.tickets()
    let_in = own.scan(ticket)
    return field.client.post(f"{SCANS}/{let_in['id']}/undo", headers=own.a_pass()).status_code == 200


def _leave_no_trace(field: Field) -> None:
    def take_back(_actor: Any, ticket: Any, moves: Any, *, count: int) -> None:
        ticket.status, ticket.checked_in_at = TicketStatus.VALID, None
        for scan in moves[-count:]:
            db.session.delete(db.session.get_one(Scan, scan.id))

    field.replace(gate, "take_back", take_back)


@attack(FRIENDS, without=_leave_no_trace)
def test_what_a_pass_takes_back_is_there_still(field: Field) -> bool:
    own, before = _gate(field), len(field.make.rows(Scan))
    headers, [friend] = own.a_pass(), own.tickets()
    let_in = own.send(scan_of(friend), headers=headers)["results"][0]
    assert field.client.post(f"{SCANS}/{let_in['id']}/undo", headers=headers).status_code == 200
    return [one.result for one in field.make.rows(Scan)[before:]] != [ScanResult.OK, ScanResult.UNDONE]
