"""Gate passes, the manifest that devices take along, and how many are in."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask.testing import FlaskClient

from models import Event, GatePass, Scan, Ticket
from services import events, manifests, ticket_keys
from tests.gates import SCANS, Gate, at, new_nonce, scan_of
from tests.support import Maker
from tests.test_queries import recorded
from utils import clock, ticket_token
from utils.database import db, transaction

MANIFEST = "/checkin/manifest"


@pytest.fixture
def gate(client: FlaskClient, make: Maker) -> Gate:
    return Gate(client, make)


# ── Passes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def passes_of(gate: Gate) -> str:
    return f"/organizer/events/{gate.event.id}/gate-passes"


def test_a_pass_shows_its_secret_once_and_only_its_hash_is_kept(gate: Gate, make: Maker) -> None:
    sent = {"name": "Juma", "gates": ["North", "South", "North"]}
    answer = gate.client.post(passes_of(gate), json=sent, headers=gate.headers)
    made = answer.json
    assert answer.status_code == 201
    assert made["link"] == f"{make.app.extensions['settings'].PUBLIC_URL}/gate#{made['secret']}" == made["qr_text"]
    assert (made["gate_pass"]["gates"], made["gate_pass"]["expires_at"]) == (["North", "South"], None)
    [kept] = make.rows(GatePass)
    assert kept.secret_hash == hashlib.sha256(made["secret"].encode()).digest()
    listed = gate.client.get(passes_of(gate), headers=gate.headers)
    assert listed.json == [made["gate_pass"]]
    assert made["secret"] not in listed.text


def test_a_pass_scans_reads_and_counts_without_naming_its_event(gate: Gate, make: Maker) -> None:
    headers = gate.a_pass()
    [ticket] = gate.tickets()
    assert gate.send(scan_of(ticket), headers=headers)["results"][0]["result"] == "ok"
    [scan] = make.rows(Scan)
    assert (scan.gate_pass_id, scan.user_id) == (make.rows(GatePass)[0].id, None)
    assert gate.client.get(MANIFEST, headers=headers).json["event"]["id"] == gate.event.id
    counts = gate.client.get(f"/organizer/events/{gate.event.id}/gate", headers=headers)
    assert counts.json["inside"] == 1
    [listed] = gate.client.get(passes_of(gate), headers=gate.headers).json
    assert listed["last_used_at"] == clock.to_nairobi(scan.received_at)


def test_the_pass_of_another_event_is_refused_everywhere(gate: Gate, make: Maker) -> None:
    other = Gate(gate.client, make)
    headers = other.a_pass()
    [ticket] = gate.tickets()
    told = gate.scan(ticket)
    named = {"event_id": gate.event.id, "code": ticket.code, "nonce": new_nonce()}
    assert gate.client.post(SCANS, json=named, headers=headers).status_code == 404
    assert gate.client.get(MANIFEST, query_string={"event_id": gate.event.id}, headers=headers).status_code == 404
    assert gate.client.get(f"/organizer/events/{gate.event.id}/gate", headers=headers).status_code == 404
    assert gate.client.post(f"{SCANS}/{told['id']}/undo", headers=headers).status_code == 404
    assert gate.send(scan_of(ticket), headers=headers)["results"][0]["result"] == "wrong_event"


def test_a_pass_for_some_gates_works_there_alone(gate: Gate, make: Maker) -> None:
    headers = gate.a_pass(gates=["North", "VIP"])
    [ticket] = gate.tickets()
    for where in ({"gate": "South"}, {}):
        [told] = gate.send(scan_of(ticket), headers=headers, **where)["results"]
        assert told["result"] == "wrong_gate"
    [told] = gate.send(scan_of(ticket, gate="vip"), headers=headers, gate="South")["results"]
    assert (told["result"], told["gate"]) == ("ok", "VIP")


def test_a_pass_for_one_gate_need_not_name_it(gate: Gate) -> None:
    [told] = gate.send(scan_of(gate.tickets()[0]), headers=gate.a_pass(gates=["North"]))["results"]
    assert (told["result"], told["gate"]) == ("ok", "North")


@pytest.mark.parametrize(
    ("secret", "code"), [("", "gate_pass_unknown"), ("0" * 32, "gate_pass_unknown"), ("a=b", "gate_pass_unknown")]
)
def test_a_secret_of_nobody_is_refused(gate: Gate, secret: str, code: str) -> None:
    answer = gate.client.get(MANIFEST, headers={"Authorization": f"Gate {secret}"})
    assert (answer.status_code, answer.json["code"]) == (401, code)


def test_a_pass_that_was_taken_back_opens_nothing(gate: Gate, make: Maker) -> None:
    headers = gate.a_pass()
    address = f"{passes_of(gate)}/{make.rows(GatePass)[0].id}"
    assert gate.client.get(MANIFEST, headers=headers).status_code == 200
    for _ in range(2):
        assert gate.client.delete(address, headers=gate.headers).status_code == 200
    answer = gate.client.get(MANIFEST, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "gate_pass_revoked")
    assert gate.client.get(passes_of(gate), headers=gate.headers).json[0]["revoked_at"] is not None


def test_a_pass_ends_when_it_says_or_when_the_gates_close(gate: Gate, make: Maker) -> None:
    short, long = gate.a_pass(expires_at=clock.ahead(hours=1)), gate.a_pass()
    with clock.set_to(clock.ahead(hours=2)):
        answer = gate.client.get(MANIFEST, headers=short)
        assert (answer.status_code, answer.json["code"]) == (401, "gate_pass_expired")
        assert gate.client.get(MANIFEST, headers=long).status_code == 200
    with clock.set_to(clock.ahead(hours=10)):
        assert gate.client.get(MANIFEST, headers=long).json["code"] == "gate_pass_expired"
        with make.app.app_context(), transaction() as session:
            session.get_one(Event, gate.event.id).ends_at = clock.ahead(days=1)
        assert gate.client.get(MANIFEST, headers=long).status_code == 200


def test_a_pass_that_has_expired_before_it_is_made_is_refused(gate: Gate) -> None:
    sent = {"name": "Juma", "expires_at": at(clock.ago(minutes=1))}
    answer = gate.client.post(passes_of(gate), json=sent, headers=gate.headers)
    assert (answer.status_code, answer.json["code"]) == (422, "expires_in_the_past")


def test_a_pass_takes_back_what_was_scanned_with_it_alone(gate: Gate) -> None:
    headers = gate.a_pass()
    first, second = gate.tickets(2)
    own, foreign = gate.send(scan_of(first), headers=headers)["results"][0], gate.scan(second)
    assert gate.client.post(f"{SCANS}/{own['id']}/undo", headers=headers).json["changed"] is True
    answer = gate.client.post(f"{SCANS}/{foreign['id']}/undo", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "not_your_scan")
    assert gate.client.post(f"{SCANS}/{own['id']}/undo", headers=gate.headers).status_code == 200


def test_an_event_with_a_pass_and_a_stray_scan_can_still_be_deleted(gate: Gate, make: Maker) -> None:
    gate.send({"token": "rubbish", "nonce": new_nonce()}, headers=gate.a_pass())
    with make.app.app_context():
        events.delete_event(actor=gate.organizer, event_id=gate.event.id)
    assert make.rows(GatePass) == make.rows(Scan) == []


# ── Manifest ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_tells_a_pass_its_name_and_gates(gate: Gate) -> None:
    told = gate.client.get(MANIFEST, headers=gate.a_pass(name="Achieng", gates=["North", "South"])).json
    assert told["gate_pass"] == {"name": "Achieng", "gates": ["North", "South"]}
    named = gate.client.get(MANIFEST, query_string={"event_id": gate.event.id}, headers=gate.headers).json
    assert named["gate_pass"] is None


def read(gate: Gate, **query: Any) -> dict[str, Any]:
    answer = gate.client.get(MANIFEST, query_string={"event_id": gate.event.id} | query, headers=gate.headers)
    assert answer.status_code == 200, answer.json
    found: dict[str, Any] = answer.json
    return found


def test_a_device_can_check_tickets_by_the_manifest_alone(gate: Gate) -> None:
    """What is signed by the event's key, and what is typed."""
    ticket, other = gate.tickets(2)
    token = gate.token(ticket)
    found = read(gate)
    keys = [Ed25519PublicKey.from_public_bytes(base64.b64decode(one)) for one in found["keys"]]
    assert ticket_token.verify(token, keys).ticket_id == ticket.id
    typed = hashlib.sha256(f"{gate.event.id}:{ticket.code.replace('-', '')}".encode()).digest()[:10]
    looked_up = base64.urlsafe_b64encode(typed).decode().rstrip("=")
    assert [one[:4] for one in found["tickets"] if one[4] == looked_up] == [
        [ticket.id, 1, "valid", ticket.ticket_type_id]
    ]
    assert [one[0] for one in found["tickets"]] == [ticket.id, other.id]
    assert found["ticket_types"] == [{"id": gate.ticket_type.id, "name": "VIP"}]
    assert (found["event"]["title"], found["event"]["allows_reentry"]) == (gate.event.title, False)
    assert found["opens_at"] == clock.to_nairobi(gate.event.starts_at - ticket_keys.OPENS_BEFORE)
    assert found["closes_at"] == clock.to_nairobi(gate.event.ends_at + ticket_keys.CLOSES_AFTER)


def test_it_names_nobody_and_no_code(gate: Gate) -> None:
    [ticket] = gate.tickets()
    text = json.dumps(read(gate))
    for personal in (ticket.first_name, ticket.last_name, ticket.email, ticket.phone, ticket.code):
        assert personal not in text
        assert personal.replace("-", "") not in text


def test_it_tells_what_became_of_each_ticket(client: FlaskClient, make: Maker) -> None:
    gate = Gate(client, make, allows_reentry=True)
    inside, outside, _valid, void, refunded = tickets = gate.tickets(5)
    gate.scan(inside)
    for direction in ("in", "out"):
        gate.scan(outside, direction=direction)
    with make.app.app_context(), transaction() as session:
        for one in (void, refunded):
            kept = session.get_one(Ticket, one.id)
            kept.status, kept.voided_at = type(kept.status)("void"), clock.now()
        refund = make.failed_refund()
        session.get_one(Ticket, refunded.id).refund_id = refund.id
    states = {one[0]: one[2] for one in read(gate)["tickets"]}
    assert [states[one.id] for one in tickets] == ["in", "out", "valid", "void", "refunded"]


def test_it_tells_what_changed_since(gate: Gate, make: Maker) -> None:
    with clock.set_to(clock.ago(hours=2)):
        first, second, third = gate.tickets(3)
        with make.app.app_context(), transaction() as session:
            for one in (first, second, third):
                session.get_one(Ticket, one.id).changed_at = clock.ago(hours=1)
    cursor = read(gate)["cursor"]
    assert read(gate, since=cursor)["tickets"] == []
    gate.scan(first)
    with make.app.app_context(), transaction() as session:
        session.get_one(Ticket, second.id).rotation = 2
    changed = read(gate, since=cursor)["tickets"]
    assert {one[0]: one[1:3] for one in changed} == {first.id: [1, "in"], second.id: [2, "valid"]}
    with clock.set_to(clock.ahead(minutes=5)):
        assert read(gate, since=read(gate)["cursor"])["tickets"] == []


def test_a_change_that_is_committed_late_is_told_next_time(gate: Gate, make: Maker) -> None:
    """It was stamped before the cursor was given out, and could not be seen then."""
    [ticket] = gate.tickets()
    with clock.set_to(clock.ago(seconds=30)), make.app.app_context(), transaction() as session:
        session.get_one(Ticket, ticket.id).rotation = 2
        session.flush()
        told: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: told.append(read(gate)))
        reader.start()
        reader.join()
    assert [one[1] for one in told[0]["tickets"]] == [1]
    assert [one[1] for one in read(gate, since=told[0]["cursor"])["tickets"]] == [2]


def test_it_comes_in_pages_with_one_cursor(gate: Gate, monkeypatch: pytest.MonkeyPatch, make: Maker) -> None:
    monkeypatch.setattr(manifests, "PAGE_ROWS", 3)
    tickets = gate.tickets(7)
    pages = [read(gate)]
    while (page := pages[-1]["next_page"]) is not None:
        with clock.set_to(clock.ahead(minutes=len(pages))):
            pages.append(read(gate, page=page))
    assert [len(one["tickets"]) for one in pages] == [3, 3, 1]
    assert [row[0] for one in pages for row in one["tickets"]] == [one.id for one in tickets]
    assert len({one["cursor"] for one in pages}) == 1


@pytest.mark.parametrize(
    "query", [{"since": "x"}, {"since": "-1"}, {"since": "9" * 14}, {"page": "1-1-1"}, {"page": "9" * 13 + "-1"}]
)
def test_a_cursor_that_was_not_given_is_refused(gate: Gate, query: dict[str, str]) -> None:
    answer = gate.client.get(MANIFEST, query_string={"event_id": gate.event.id} | query, headers=gate.headers)
    assert answer.status_code == 422


def test_any_cursor_of_the_right_form_is_harmless(gate: Gate) -> None:
    assert read(gate, since="9" * 13, page=f"{'9' * 13}-{'9' * 18}-{'9' * 18}")["tickets"] == []


def test_fifty_thousand_tickets_are_a_few_megabytes(gate: Gate, make: Maker) -> None:
    [one] = gate.tickets()
    with make.app.app_context(), transaction() as session:
        kept = session.get_one(Ticket, one.id)
        names = [column.name for column in Ticket.__table__.columns if column.name not in ("id", "code")]
        columns = ", ".join(names)
        session.execute(
            db.text(
                f"INSERT INTO tickets (code, {columns}) SELECT 'C' || n, {columns} FROM tickets,"
                " generate_series(1, 49999) n WHERE tickets.id = :id"
            ),
            {"id": kept.id},
        )
    size, count, page = 0, 0, None
    while True:
        with recorded(make) as statements:
            found = read(gate, **({"page": page} if page else {}))
        assert len(statements) <= 6
        size += len(json.dumps(found, separators=(",", ":")))
        count += len(found["tickets"])
        page = found["next_page"]
        if page is None:
            break
    assert count == 50_000
    assert size < 3_000_000


# ── Counts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_counts_say_who_is_in_by_type_gate_and_minute(client: FlaskClient, make: Maker) -> None:
    gate = Gate(client, make, allows_reentry=True)
    one, two, three, four = gate.tickets(4)
    minutes = clock.ago(minutes=20).replace(second=0, microsecond=0)
    gate.scan(one, gate="North", scanned_at=at(clock.ago(hours=2)))
    gate.scan(two, gate="North", scanned_at=at(minutes))
    gate.scan(two, gate="South", scanned_at=at(clock.ago(minutes=10)), direction="out")
    gate.scan(one, gate="South", scanned_at=at(clock.ago(hours=1, minutes=30)), device="B")
    taken_back = gate.scan(three, gate="South", scanned_at=at(minutes))
    client.post(f"{SCANS}/{taken_back['id']}/undo", headers=gate.headers)
    gate.scan(four, scanned_at=at(minutes))
    told = client.get(f"/organizer/events/{gate.event.id}/gate", headers=gate.headers).json
    assert {name: told[name] for name in ("tickets", "in", "out", "inside", "double_entries")} == {
        "tickets": 4,
        "in": 3,
        "out": 1,
        "inside": 2,
        "double_entries": 1,
    }
    assert told["ticket_types"] == [
        {"id": gate.ticket_type.id, "type": "VIP", "tickets": 4, "in": 3, "out": 1, "inside": 2}
    ]
    assert told["gates"] == [
        {"gate": "North", "in": 2, "out": 0, "refused": 0, "double_entries": 0},
        {"gate": "South", "in": 0, "out": 1, "refused": 1, "double_entries": 1},
        {"gate": None, "in": 1, "out": 0, "refused": 0, "double_entries": 0},
    ]
    assert [(one["in"], one["out"]) for one in told["minutes"]] == [(2, 0), (0, 1)]
    assert told["minutes"][0]["minute"] == clock.to_nairobi(minutes)


def test_the_counts_are_304_while_nothing_happens_and_cost_a_handful_of_statements(gate: Gate, make: Maker) -> None:
    address, headers = f"/organizer/events/{gate.event.id}/gate", gate.a_pass()
    first, second = gate.tickets(2)
    gate.scan(first)
    with recorded(make) as statements:
        answer = gate.client.get(address, headers=headers)
    assert len(statements) <= 5
    known = headers | {"If-None-Match": answer.headers["ETag"]}
    assert gate.client.get(address, headers=known).status_code == 304
    gate.scan(second)
    assert gate.client.get(address, headers=known).status_code == 200
