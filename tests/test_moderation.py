"""What admins decide about events, and the states an event can be in."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from models import EVENT_MOVES, Event, EventStatus, ForbiddenMove
from tests.support import Maker
from utils import clock

ADDRESSES = ["/admin/approve/{}", "/admin/{}"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("decision", "message"),
    [("approved", "The event is published."), ("rejected", "The event has been rejected.")],
)
def test_an_admin_decides_at_both_addresses(
    client: FlaskClient, make: Maker, address: str, decision: str, message: str
) -> None:
    event = make.event(status=EventStatus.PENDING)
    as_admin = make.headers(make.admin())
    answer = client.patch(address.format(event.id), json={"status": decision}, headers=as_admin)
    assert (answer.status_code, answer.json["status"], answer.json["message"]) == (200, decision, message)
    assert client.get("/admin/pending", headers=as_admin).json == []
    assert len(client.get("/events").json) == (1 if decision == "approved" else 0)


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_admins_decide(client: FlaskClient, make: Maker, address: str) -> None:
    event = make.event(status=EventStatus.PENDING)
    url, body = address.format(event.id), {"status": "approved"}
    assert client.patch(url, json=body).status_code == 401
    assert client.patch(url, json=body, headers=make.headers(make.attendee())).status_code == 403
    assert client.patch(url, json=body, headers=make.headers(event.organizer)).status_code == 403
    assert client.get("/events").json == []


@pytest.mark.parametrize(
    "body",
    [{}, {"status": "pending"}, {"status": "cancelled"}, {"status": "APPROVED"}, {"status": 1}, {"approved": True}, []],
)
def test_a_decision_is_approved_or_rejected(client: FlaskClient, make: Maker, body: object) -> None:
    event = make.event(status=EventStatus.PENDING)
    answer = client.patch(f"/admin/{event.id}", json=body, headers=make.headers(make.admin()))
    assert answer.status_code == 422


def test_deciding_about_no_event_is_not_found(client: FlaskClient, make: Maker) -> None:
    answer = client.patch("/admin/4711", json={"status": "approved"}, headers=make.headers(make.admin()))
    assert answer.status_code == 404


#: What each action makes of each state: the state after it, or the code of the refusal.
MOVES = {
    ("pending", "approve"): "approved",
    ("pending", "reject"): "rejected",
    ("pending", "cancel"): "cancelled",
    ("pending", "edit"): "pending",
    ("approved", "approve"): "approved",
    ("approved", "reject"): "rejected",
    ("approved", "cancel"): "cancelled",
    ("approved", "edit"): "pending",
    ("rejected", "approve"): "approved",
    ("rejected", "reject"): "rejected",
    ("rejected", "cancel"): "cancelled",
    ("rejected", "edit"): "pending",
    ("cancelled", "approve"): "event_cancelled",
    ("cancelled", "reject"): "event_cancelled",
    ("cancelled", "cancel"): "cancelled",
    ("cancelled", "edit"): "event_cancelled",
}


@pytest.mark.parametrize(("state", "action"), MOVES)
def test_every_action_in_every_state(client: FlaskClient, make: Maker, state: str, action: str) -> None:
    event = make.event(status=EventStatus(state))
    owner, admin = make.headers(event.organizer), make.headers(make.admin())
    answers = {
        "approve": lambda: client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=admin),
        "reject": lambda: client.patch(f"/admin/{event.id}", json={"status": "rejected"}, headers=admin),
        "cancel": lambda: client.post(f"/events/{event.id}/cancel", headers=owner),
        "edit": lambda: client.put(f"/events/{event.id}", json={"title": "Another"}, headers=owner),
    }
    answer = answers[action]()
    is_refused = MOVES[state, action] not in [status.value for status in EventStatus]
    assert answer.status_code == (409 if is_refused else 200)
    assert answer.json["code" if is_refused else "status"] == MOVES[state, action]
    now = client.get(f"/events/{event.id}", headers=owner).json
    assert now["status"] == (state if is_refused else MOVES[state, action])
    assert now["title"] == ("Another" if action == "edit" and not is_refused else event.title)


@pytest.mark.parametrize(("start", "end"), list(itertools.product(EventStatus, EventStatus)))
def test_a_state_moves_as_its_table_says(start: EventStatus, end: EventStatus) -> None:
    event = Event(status=start)
    if end in EVENT_MOVES[start]:
        event.move_to(end)
        assert event.status is end
    else:
        with pytest.raises(ForbiddenMove):
            event.move_to(end)
        assert event.status is start


# ── The reason ────────────────────────────────────────────────────────────────────────────────────────────────────

REASON = "Please show the licence."


@pytest.fixture
def rejected(client: FlaskClient, make: Maker) -> Event:
    event = make.event()
    decision = {"status": "rejected", "reason": REASON}
    client.patch(f"/admin/{event.id}", json=decision, headers=make.headers(make.admin()))
    return event


def test_the_organizer_reads_why_an_event_was_rejected(client: FlaskClient, make: Maker, rejected: Event) -> None:
    headers = make.headers(rejected.organizer)
    assert client.get("/my-events", headers=headers).json[0]["rejection_reason"] == REASON
    assert client.get(f"/events/{rejected.id}", headers=headers).json["rejection_reason"] == REASON


def test_an_admin_reads_it_too(client: FlaskClient, make: Maker, rejected: Event) -> None:
    answer = client.get(f"/events/{rejected.id}", headers=make.headers(make.admin()))
    assert answer.json["rejection_reason"] == REASON


def test_nobody_else_reads_the_reason(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    holder = make.attendee()
    make.paid_order(holder, make.ticket_type(event))
    decision = {"status": "rejected", "reason": REASON}
    client.patch(f"/admin/{event.id}", json=decision, headers=make.headers(make.admin()))
    for address in (f"/events/{event.id}", "/my-tickets", "/orders", f"/profile/my-upcoming-events/{event.id}"):
        answer = client.get(address, headers=make.headers(holder))
        assert answer.status_code == 200
        assert REASON not in answer.text
        assert "rejection_reason" not in answer.text
    assert REASON not in client.get(f"/events/{event.id}", headers=make.headers(make.organizer())).text
    assert REASON not in client.get(f"/events/{event.id}").text


def test_approving_clears_the_reason(client: FlaskClient, make: Maker, rejected: Event) -> None:
    answer = client.patch(f"/admin/{rejected.id}", json={"status": "approved"}, headers=make.headers(make.admin()))
    assert answer.json["rejection_reason"] is None


def test_rejecting_again_gives_a_new_reason(client: FlaskClient, make: Maker, rejected: Event) -> None:
    decision = {"status": "rejected", "reason": "The picture is not yours."}
    answer = client.patch(f"/admin/{rejected.id}", json=decision, headers=make.headers(make.admin()))
    assert answer.json["rejection_reason"] == "The picture is not yours."


def test_the_reason_may_be_missing_or_empty(client: FlaskClient, make: Maker) -> None:
    for more in ({}, {"reason": None}, {"reason": " "}):
        event = make.event(status=EventStatus.PENDING)
        decision = {"status": "rejected"} | more
        answer = client.patch(f"/admin/{event.id}", json=decision, headers=make.headers(make.admin()))
        assert (answer.status_code, answer.json["rejection_reason"]) == (200, None)


# ── Too late ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_that_is_over_is_not_approved(client: FlaskClient, make: Maker) -> None:
    event = make.event(status=EventStatus.PENDING)
    as_admin = make.headers(make.admin())
    with clock.set_to(event.ends_at):
        answer = client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=as_admin)
        assert (answer.status_code, answer.json["code"]) == (409, "event_over")
        answer = client.patch(f"/admin/{event.id}", json={"status": "rejected"}, headers=as_admin)
        assert answer.status_code == 200


def test_an_event_in_progress_can_still_be_approved(client: FlaskClient, make: Maker) -> None:
    event = make.event(status=EventStatus.PENDING)
    with clock.set_to(event.ends_at - timedelta(seconds=1)):
        answer = client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=make.headers(make.admin()))
        assert (answer.status_code, answer.json["status"]) == (200, "approved")
