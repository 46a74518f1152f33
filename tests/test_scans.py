"""Scans at the gate: what is answered, what is kept, and who is in afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import AuditLog, Event, Scan, Ticket, TicketStatus
from services import events, ledger, locks
from tests.gates import SCANS, Gate, at, new_nonce, scan_of
from tests.support import Maker, together
from tests.test_queries import recorded
from utils import clock, ticket_token
from utils.database import transaction


@pytest.fixture
def gate(client: FlaskClient, make: Maker) -> Gate:
    return Gate(client, make)


@pytest.fixture
def reentry(client: FlaskClient, make: Maker) -> Gate:
    """One that lets people out and in again."""
    return Gate(client, make, allows_reentry=True)


# ── One scan ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_qr_code_lets_its_holder_in_once(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    token = gate.token(ticket)
    sent = {"event_id": gate.event.id, "token": token, "nonce": new_nonce(), "gate": "North", "device": "A"}
    told = gate.client.post(SCANS, json=sent, headers=gate.headers).json["results"][0]
    assert (told["result"], told["message"]) == ("ok", "Akinyi Oduor may go in.")
    assert (told["holder"], told["ticket_type"], told["ticket_id"]) == ("Akinyi Oduor", "VIP", ticket.id)
    again = gate.send({"token": token, "nonce": new_nonce()}, gate="South")["results"][0]
    assert (again["result"], again["is_conflict"]) == ("already_in", False)
    assert (again["used_gate"], again["used_at"]) == ("North", told["scanned_at"])
    assert again["message"].startswith("Akinyi Oduor was in already, since ")
    assert again["message"].endswith(", through North.")
    [used] = make.tickets()
    assert (used.status, clock.to_nairobi(used.checked_in_at)) == (TicketStatus.USED, told["scanned_at"])
    assert [one.result.value for one in make.rows(Scan)] == ["ok", "already_in"]
    assert {one.user_id for one in make.rows(Scan)} == {gate.organizer.id}


def test_a_typed_code_is_read_forgivingly(gate: Gate) -> None:
    [ticket] = gate.tickets()
    typed = ticket.code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert gate.scan(ticket, code=typed)["result"] == "ok"


def test_a_scan_may_come_from_a_form(gate: Gate) -> None:
    [ticket] = gate.tickets()
    form = {"event_id": gate.event.id, "code": ticket.code, "nonce": new_nonce(), "scanned_at": "", "offline": "false"}
    answer = gate.client.post(SCANS, data=form, headers=gate.headers)
    assert (answer.status_code, answer.json["results"][0]["result"]) == (200, "ok")


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"nonce": "n" * 16},
        {"nonce": "n" * 16, "code": "A", "token": "B"},
        {"nonce": "n" * 15, "code": "A"},
        {"nonce": "n" * 65, "code": "A"},
        {"nonce": "n" * 15 + " ", "code": "A"},
        {"code": "A"},
        {"scans": []},
        {"scans": [{"nonce": "n" * 16, "code": "A"}], "code": "A"},
        {"scans": [{"nonce": "n" * 16}]},
        {"scans": [{"nonce": f"{n:016d}", "code": "A"} for n in range(501)]},
    ],
)
def test_what_is_not_one_scan_or_up_to_500_is_refused(gate: Gate, make: Maker, sent: dict[str, Any]) -> None:
    answer = gate.client.post(SCANS, json={"event_id": gate.event.id} | sent, headers=gate.headers)
    assert (answer.status_code, answer.json["message"][-1]) == (422, ".")
    assert make.rows(Scan) == []


def test_an_organizer_has_to_say_which_event(gate: Gate) -> None:
    answer = gate.client.post(SCANS, json={"code": "A", "nonce": "n" * 16}, headers=gate.headers)
    assert (answer.status_code, answer.json["message"]) == (422, "event_id is missing.")


@pytest.mark.parametrize("scanned", ["WIFI:S:gate;P:x;;", "x" * 7_000, "a\x00b", "🦒", " "])
def test_whatever_a_scanner_read_is_answered_and_kept_as_a_hash(gate: Gate, make: Maker, scanned: str) -> None:
    [told] = gate.send({"token": scanned, "nonce": new_nonce()})["results"]
    assert (told["result"], told["ticket_id"], told["holder"]) == ("unknown", None, None)
    [kept] = make.rows(Scan)
    assert (kept.ticket_id, len(kept.presented_hash or b"")) == (None, 16)


# ── Every reason ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ticket_of_another_event_is_told_apart_from_none(gate: Gate, make: Maker) -> None:
    other = Gate(gate.client, make)
    [foreign] = other.tickets()
    assert gate.scan(foreign)["result"] == "wrong_event"
    [told] = gate.send({"token": other.token(foreign), "nonce": new_nonce()})["results"]
    assert (told["result"], told["holder"]) == ("wrong_event", None)
    assert gate.scan(foreign, code="0000-0000-0000")["result"] == "unknown"
    assert {one.ticket_id for one in make.rows(Scan)} == {None}
    assert other.scan(foreign)["result"] == "ok"


def test_a_forged_ticket_is_no_ticket(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    gate.token(ticket)  # so that the event has a key
    facts = ticket_token.Facts(
        gate.event.id, ticket.id, ticket.ticket_type_id, clock.ago(hours=9), clock.ahead(hours=9), 1
    )
    forged = ticket_token.sign(facts, ticket_token.Ed25519PrivateKey.generate())
    assert gate.send({"token": forged, "nonce": new_nonce()})["results"][0]["result"] == "bad_signature"
    assert make.tickets()[0].status is TicketStatus.VALID


def test_only_the_newest_issue_of_a_ticket_counts(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    old = gate.token(ticket)
    with make.app.app_context(), transaction() as session:
        session.get_one(Ticket, ticket.id).rotation = 2
    assert gate.send({"token": old, "nonce": new_nonce()})["results"][0]["result"] == "superseded"
    assert gate.send({"token": gate.token(ticket), "nonce": new_nonce()})["results"][0]["result"] == "ok"


def test_a_ticket_whose_money_went_back_lets_nobody_in(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer, starts_at=clock.ahead(hours=3))
    order = make.paid_order(make.attendee(), make.ticket_type(event))
    headers = make.headers(make.admin())
    assert client.post(f"/orders/{order.id}/refund", json={}, headers=headers).status_code == 200
    body = {"event_id": event.id, "code": make.tickets()[0].code, "nonce": new_nonce()}
    [told] = client.post(SCANS, json=body, headers=make.headers(organizer)).json["results"]
    assert told["result"] == "refunded"
    assert make.tickets()[0].status is TicketStatus.VOID


def test_a_ticket_that_ended_without_a_refund_is_void(client: FlaskClient, make: Maker) -> None:
    """M-PESA took its money back."""
    organizer = make.organizer()
    event = make.event(organizer, starts_at=clock.ahead(hours=3))
    paid = make.paid_order(make.attendee(), make.ticket_type(event))
    with make.app.app_context(), transaction():
        order = locks.lock_order(paid.id)
        ledger.take_back(order, order.payments[0], channel=make.messages()[0].channel)
    body = {"event_id": event.id, "code": make.tickets()[0].code, "nonce": new_nonce()}
    [told] = client.post(SCANS, json=body, headers=make.headers(organizer)).json["results"]
    assert told["result"] == "void"


def test_scanning_and_giving_the_money_back_at_once_never_do_both(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer, starts_at=clock.ahead(hours=3))
    ticket_type, headers = make.ticket_type(event), make.headers(organizer)
    for _ in range(5):
        order = make.paid_order(make.attendee(), ticket_type)
        ticket = order.tickets[0]
        body = {"event_id": event.id, "code": ticket.code, "nonce": new_nonce()}

        def post(path: str, body: dict[str, Any]) -> Any:
            return make.app.test_client().post(path, json=body, headers=headers)

        scanned, refunded = together(
            lambda body=body: post(SCANS, body), lambda order=order: post(f"/orders/{order.id}/refund", {})
        )
        is_in = scanned.json["results"][0]["result"] == "ok"
        assert refunded.status_code == (409 if is_in else 200)
        assert make.tickets()[-1].status is (TicketStatus.USED if is_in else TicketStatus.VOID)


def test_the_gates_open_twelve_hours_before_and_close_six_hours_after(gate: Gate) -> None:
    """By the event as it is now, whatever the token says; and by when it was scanned, not when it was sent."""
    [ticket] = gate.tickets()
    token = gate.token(ticket)
    opens, closes = gate.event.starts_at - timedelta(hours=12), gate.event.ends_at + timedelta(hours=6)

    def result(moment: datetime) -> str:
        with clock.set_to(moment):
            found: str = gate.send({"token": token, "nonce": new_nonce()})["results"][0]["result"]
            return found

    assert result(opens - timedelta(seconds=1)) == "not_yet"
    assert result(closes) == "too_late"
    with clock.set_to(closes + timedelta(hours=5)):
        early = scan_of(ticket, scanned_at=at(opens - timedelta(minutes=1)))
        late = scan_of(ticket, scanned_at=at(closes + timedelta(minutes=1)))
        good = scan_of(ticket, scanned_at=at(closes - timedelta(minutes=1)))
        told = gate.send(early, late, good)["results"]
    assert [one["result"] for one in told] == ["not_yet", "too_late", "ok"]


def test_an_event_that_was_moved_lets_people_in_when_it_is_now(client: FlaskClient, make: Maker) -> None:
    gate = Gate(client, make)
    [ticket] = gate.tickets()
    token = gate.token(ticket)
    with make.app.app_context(), transaction() as session:
        moved = session.get_one(Event, gate.event.id)
        moved.starts_at, moved.ends_at = clock.ahead(days=9), clock.ahead(days=10)
    assert gate.send({"token": token, "nonce": new_nonce()})["results"][0]["result"] == "not_yet"
    with clock.set_to(clock.ahead(days=9)):
        headers = make.headers(gate.organizer)
        sent = {"token": token, "nonce": new_nonce(), "event_id": gate.event.id}
        assert client.post(SCANS, json=sent, headers=headers).json["results"][0]["result"] == "ok"


def test_a_cancelled_event_lets_nobody_in(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    with make.app.app_context():
        events.cancel_event(actor=gate.organizer, event_id=gate.event.id)
    assert gate.scan(ticket)["result"] == "event_cancelled"


# ── Again, and at once ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_uploaded_twice_changes_nothing(gate: Gate, make: Maker) -> None:
    batch = [scan_of(one, gate="North", scanned_at=at(clock.ago(minutes=9))) for one in gate.tickets(5)]
    batch.append({"token": "rubbish", "nonce": new_nonce()})
    first = gate.send(*batch)
    kept = make.rows(Scan)
    with clock.set_to(clock.ahead(minutes=5)):
        assert gate.send(*batch) == first
    assert [one["result"] for one in first["results"]] == ["ok"] * 5 + ["unknown"]
    assert [(one.id, one.received_at) for one in make.rows(Scan)] == [(one.id, one.received_at) for one in kept]


def test_a_nonce_twice_in_one_batch_is_one_scan(gate: Gate, make: Maker) -> None:
    one = scan_of(gate.tickets()[0])
    told = gate.send(one, one)["results"]
    assert told[0] == told[1]
    assert len(make.rows(Scan)) == 1


def test_a_nonce_of_a_scan_that_was_taken_back_lets_nobody_in_again(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    first = gate.scan(ticket, nonce=(nonce := new_nonce()))
    undone = gate.client.post(f"{SCANS}/{first['id']}/undo", json={}, headers=gate.headers)
    assert undone.json["changed"] is True
    assert gate.scan(ticket, nonce=nonce) == first
    assert make.tickets()[0].status is TicketStatus.VALID
    assert gate.scan(ticket)["result"] == "ok"


def test_a_nonce_is_its_events_own(gate: Gate, make: Maker) -> None:
    other = Gate(gate.client, make)
    nonce = new_nonce()
    assert gate.scan(gate.tickets()[0], nonce=nonce)["result"] == "ok"
    assert other.scan(other.tickets()[0], nonce=nonce)["result"] == "ok"


def test_the_same_batch_many_times_at_once_is_answered_alike_each_time(gate: Gate, make: Maker) -> None:
    """Also what is no ticket, which has no row to wait at."""
    batch = [scan_of(one) for one in gate.tickets(3)] + [{"token": "rubbish", "nonce": new_nonce()}]
    body = {"event_id": gate.event.id, "scans": batch}

    def upload() -> Any:
        answer = make.app.test_client().post(SCANS, json=body, headers=gate.headers)
        assert answer.status_code == 200, answer.json
        return answer.json

    told = together(*[upload] * 8)
    assert all(one == told[0] for one in told)
    assert [one["result"] for one in told[0]["results"]] == ["ok"] * 3 + ["unknown"]
    assert len(make.rows(Scan)) == 4


def test_batches_of_the_same_tickets_in_any_order_do_not_deadlock(gate: Gate, make: Maker) -> None:
    tickets = gate.tickets(10)

    def upload(order: list[Ticket]) -> list[str]:
        body = {"event_id": gate.event.id, "scans": [scan_of(one) for one in order]}
        answer = make.app.test_client().post(SCANS, json=body, headers=gate.headers)
        assert answer.status_code == 200, answer.json
        return [one["result"] for one in answer.json["results"]]

    orders = [tickets, tickets[::-1], tickets[5:] + tickets[:5], tickets[::-1]]
    told = together(*[lambda order=order: upload(order) for order in orders])
    assert sum(results.count("ok") for results in told) == len(tickets)


def test_a_batch_costs_as_many_statements_as_one_scan(gate: Gate, make: Maker) -> None:
    costs = []
    for count in (1, 10, 200):
        batch = [scan_of(one) for _ in range(-(-count // 10)) for one in gate.tickets(min(count, 10))]
        with recorded(make) as statements:
            gate.send(*batch)
        costs.append(len(statements))
    # Who asks, the event with its keys, the lock, what became of it.
    assert costs == [4, 4, 4]
    with recorded(make) as statements:
        gate.send(*(one | {"nonce": new_nonce()} for one in batch))
    assert len(statements) == 6  # and what was before: scans of these nonces, and of these tickets


# ── Without a network ─────────────────────────────────────────────────────────────────────────────────────────────


def test_two_devices_that_let_a_ticket_in_without_a_network_are_found_out(gate: Gate, make: Maker) -> None:
    """Whichever comes first to tell: here the one who was later."""
    first, second = gate.tickets(2)
    later = [scan_of(one, scanned_at=at(clock.ago(minutes=10))) for one in (first, second)]
    earlier = [scan_of(first, scanned_at=at(clock.ago(minutes=20)))]
    told = gate.send(*later, device="A", gate="North")
    assert ([one["result"] for one in told["results"]], told["double_entries"]) == (["ok", "ok"], [])
    told = gate.send(*earlier, device="B", gate="South")
    assert [one["result"] for one in told["results"]] == ["already_in"]
    assert told["double_entries"] == told["results"]
    [double] = told["double_entries"]
    assert (double["is_conflict"], double["ticket_id"], double["used_gate"]) == (True, first.id, "North")
    assert [one.is_conflict for one in make.rows(Scan)] == [False, False, True]


def test_a_batch_settles_by_the_time_of_the_devices(gate: Gate) -> None:
    [ticket] = gate.tickets()
    late = scan_of(ticket, scanned_at=at(clock.ago(minutes=10)), device="A")
    early = scan_of(ticket, scanned_at=at(clock.ago(minutes=20)), device="B")
    told = gate.send(late, early)
    assert [one["result"] for one in told["results"]] == ["already_in", "ok"]
    assert [one["nonce"] for one in told["double_entries"]] == [late["nonce"]]


def test_asking_and_being_refused_is_no_double_entry(gate: Gate) -> None:
    [ticket] = gate.tickets()
    gate.scan(ticket, device="A")
    assert gate.scan(ticket, device="B", scanned_at=at(clock.ago(seconds=5)))["is_conflict"] is False
    assert gate.scan(ticket, device="B", offline=True)["is_conflict"] is True
    assert gate.scan(ticket, device="B", offline=False, scanned_at=at(clock.ago(hours=1)))["is_conflict"] is False


def test_one_device_that_reads_a_ticket_twice_has_let_nobody_in_twice(gate: Gate) -> None:
    [ticket] = gate.tickets()
    scans = [scan_of(ticket, device="A", scanned_at=at(clock.ago(minutes=minutes))) for minutes in (10, 9)]
    assert gate.send(*scans)["double_entries"] == []


def test_a_clock_that_is_fast_is_not_believed(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    gate.scan(ticket, scanned_at=at(clock.ahead(hours=2)))
    [scan] = make.rows(Scan)
    assert scan.scanned_at == scan.received_at <= clock.now()


# ── Out and in again ──────────────────────────────────────────────────────────────────────────────────────────────


def test_who_went_out_comes_in_again_where_that_is_allowed(reentry: Gate, make: Maker) -> None:
    [ticket] = reentry.tickets()
    told = [reentry.scan(ticket, direction=one)["result"] for one in ("out", "in", "in", "out", "out", "in", "in")]
    assert told == ["not_in", "ok", "already_in", "ok", "already_out", "ok", "already_in"]
    first = next(one for one in make.rows(Scan) if one.result.value == "ok")
    assert make.tickets()[0].checked_in_at == first.scanned_at


def test_and_not_where_it_is_not(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    told = [gate.scan(ticket, direction=one)["result"] for one in ("in", "out", "in")]
    assert told == ["ok", "ok", "already_in"]
    assert make.tickets()[0].left_at is not None


def test_a_late_word_of_who_was_in_already_is_no_reentry(reentry: Gate) -> None:
    [ticket] = reentry.tickets()
    for direction, minutes in (("in", 50), ("out", 30)):
        reentry.scan(ticket, direction=direction, scanned_at=at(clock.ago(minutes=minutes)), device="A")
    told = reentry.scan(ticket, scanned_at=at(clock.ago(minutes=40)), device="B")
    assert (told["result"], told["is_conflict"]) == ("already_in", True)
    assert reentry.scan(ticket, scanned_at=at(clock.ago(minutes=20)), device="B")["result"] == "ok"
    late = reentry.scan(ticket, direction="out", scanned_at=at(clock.ago(minutes=25)), device="A")
    assert late["result"] == "not_in"


def test_reentry_is_allowed_or_not_without_asking_an_admin(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer)
    headers = make.headers(organizer)
    assert client.get(f"/events/{event.id}", headers=headers).json["allows_reentry"] is False
    answer = client.put(f"/events/{event.id}", json={"allows_reentry": True}, headers=headers).json
    assert (answer["status"], answer["allows_reentry"]) == ("approved", True)
    assert "allows_reentry" not in client.get(f"/events/{event.id}").json


# ── Taking back ───────────────────────────────────────────────────────────────────────────────────────────────────


def undo(gate: Gate, told: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return gate.client.post(f"{SCANS}/{told['id']}/undo", headers=headers or gate.headers)


def test_a_scan_is_taken_back_once(gate: Gate, make: Maker) -> None:
    [ticket] = gate.tickets()
    told = gate.scan(ticket)
    answer = undo(gate, told)
    assert (answer.status_code, answer.json["changed"]) == (200, True)
    assert answer.json["message"] == "The scan of Akinyi Oduor is taken back."
    assert (make.tickets()[0].status, make.tickets()[0].checked_in_at) == (TicketStatus.VALID, None)
    assert undo(gate, told).json["changed"] is False
    assert [one.result.value for one in make.rows(Scan)] == ["ok", "undone"]
    assert gate.scan(ticket)["result"] == "ok"
    assert make.rows(Scan)[-1].used_at == make.rows(Scan)[-1].scanned_at


def test_each_move_is_taken_back_to_the_one_before(reentry: Gate, make: Maker) -> None:
    [ticket] = reentry.tickets()
    moves = [reentry.scan(ticket, direction=one) for one in ("in", "out", "in")]
    assert undo(reentry, moves[0]).json["code"] == "scanned_since"
    assert undo(reentry, moves[2]).status_code == 200
    assert clock.to_nairobi(make.tickets()[0].left_at) == moves[1]["scanned_at"]
    assert undo(reentry, moves[1]).status_code == 200
    assert (make.tickets()[0].status, make.tickets()[0].left_at) == (TicketStatus.USED, None)
    assert undo(reentry, moves[0]).status_code == 200
    assert make.tickets()[0].status is TicketStatus.VALID


def test_what_let_nobody_in_is_not_taken_back(gate: Gate) -> None:
    [ticket] = gate.tickets()
    gate.scan(ticket)
    for told in (gate.scan(ticket), gate.send({"token": "rubbish", "nonce": new_nonce()})["results"][0]):
        answer = undo(gate, told)
        assert (answer.status_code, answer.json["code"]) == (409, "nothing_to_undo")


# ── By hand ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_checking_in_by_hand_and_scanning_know_of_each_other(gate: Gate, make: Maker) -> None:
    by_hand, scanned = gate.tickets(2)
    gate.client.patch(f"/organizer/checkin/{by_hand.id}", headers=gate.headers)
    assert gate.scan(by_hand)["result"] == "already_in"
    gate.scan(scanned)
    assert gate.client.patch(f"/organizer/checkin/{scanned.id}", headers=gate.headers).json["changed"] is False
    gate.client.patch(f"/organizer/checkout/{scanned.id}", headers=gate.headers)
    assert gate.scan(scanned)["result"] == "ok"
    kept = [(one.ticket_id, one.result.value) for one in make.rows(Scan)]
    assert kept == [
        (by_hand.id, "ok"),
        (by_hand.id, "already_in"),
        (scanned.id, "ok"),
        (scanned.id, "already_in"),
        (scanned.id, "undone"),
        (scanned.id, "ok"),
    ]


def test_checking_out_by_hand_undoes_all_that_was(reentry: Gate, make: Maker) -> None:
    [ticket] = reentry.tickets()
    for direction in ("in", "out", "in"):
        reentry.scan(ticket, direction=direction)
    reentry.client.patch(f"/organizer/checkout/{ticket.id}", headers=reentry.headers)
    [now] = make.tickets()
    assert (now.status, now.checked_in_at, now.left_at) == (TicketStatus.VALID, None, None)
    assert [one.result.value for one in make.rows(Scan)][-3:] == ["undone"] * 3


def test_a_ticket_checked_in_before_there_were_scans_is_checked_out(
    gate: Gate, make: Maker, client: FlaskClient
) -> None:
    [ticket] = gate.tickets()
    with make.app.app_context(), transaction() as session:
        old = session.get_one(Ticket, ticket.id)
        old.status, old.checked_in_at = TicketStatus.USED, clock.ago(minutes=30)
    told = gate.scan(ticket, scanned_at=at(clock.ago(minutes=20)))
    assert (told["result"], told["is_conflict"], told["used_gate"]) == ("already_in", True, None)
    assert client.patch(f"/organizer/checkout/{ticket.id}", headers=gate.headers).json["changed"] is True
    assert make.tickets()[0].status is TicketStatus.VALID


def test_a_scan_is_its_own_record_and_by_hand_is_in_the_audit_log(gate: Gate, make: Maker) -> None:
    first, second = gate.tickets(2)
    gate.scan(first)
    gate.client.patch(f"/organizer/checkin/{second.id}", headers=gate.headers)
    lines = [one.target_id for one in make.rows(AuditLog) if one.action == "ticket_checked_in"]
    assert lines == [second.id]
