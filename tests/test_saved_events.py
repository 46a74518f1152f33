"""Saved events: kept once for each person, and shown as long as they may be seen."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from models import AuditLog, EventStatus, SavedEvent, User
from tests.support import Maker, together
from utils import clock

SAVED = "/my-saved-events"


@pytest.fixture
def user(make: Maker) -> User:
    return make.attendee()


@pytest.fixture
def mine(make: Maker, user: User) -> dict[str, str]:
    return make.headers(user)


def ids(client: FlaskClient, headers: dict[str, str]) -> list[int]:
    return [one["event"]["id"] for one in client.get(SAVED, headers=headers).json]


def test_post_saves_and_posting_again_forgets(client: FlaskClient, make: Maker, mine: dict[str, str]) -> None:
    event = make.event()
    for is_saved in (True, False, True):
        answer = client.post(f"/events/{event.id}/save", headers=mine)
        assert (answer.status_code, answer.json["saved"]) == (200, is_saved)
        assert answer.json.keys() == {"message", "saved"}
        assert ids(client, mine) == ([event.id] if is_saved else [])


def test_put_saves_and_delete_forgets_however_often(
    client: FlaskClient, make: Maker, mine: dict[str, str], user: User
) -> None:
    event = make.event()
    for method, is_saved in (("PUT", True), ("PUT", True), ("DELETE", False), ("DELETE", False)):
        answer = client.open(f"/events/{event.id}/save", method=method, headers=mine)
        assert (answer.status_code, answer.json["saved"]) == (200, is_saved)
        assert len(make.rows(SavedEvent)) == int(is_saved)
    lines = [(line.action, line.user_id) for line in make.rows(AuditLog) if line.target_id == event.id]
    assert lines[-2:] == [("event_saved", user.id), ("event_unsaved", user.id)]
    assert sum(action in ("event_saved", "event_unsaved") for action, _ in lines) == 2


def test_the_list_has_what_is_asked_of_it_saved_last_first(
    client: FlaskClient, make: Maker, mine: dict[str, str]
) -> None:
    first, second = make.event(title="Jazz"), make.event(title="Run")
    for event in (first, second):
        client.put(f"/events/{event.id}/save", headers=mine)
    listed = client.get(SAVED, headers=mine)
    assert [one["event"]["title"] for one in listed.json] == ["Run", "Jazz"]
    assert listed.headers["X-Total-Count"] == "2"
    assert listed.json[1]["event"] == {
        "id": first.id,
        "title": "Jazz",
        "location": first.location,
        "start_time": clock.to_nairobi(first.starts_at),
        "end_time": clock.to_nairobi(first.ends_at),
        "status": "approved",
        "image_url": None,
    }
    assert listed.json[1]["saved_at"].endswith("+03:00")
    assert [one["event"]["id"] for one in client.get(f"{SAVED}?per_page=1&page=2", headers=mine).json] == [first.id]


def test_everybody_has_a_list_of_their_own(client: FlaskClient, make: Maker, mine: dict[str, str]) -> None:
    event = make.event()
    for other in (make.organizer(), make.admin()):
        client.put(f"/events/{event.id}/save", headers=make.headers(other))
        assert ids(client, make.headers(other)) == [event.id]
    assert ids(client, mine) == []
    client.delete(f"/events/{event.id}/save", headers=mine)
    assert len(make.rows(SavedEvent)) == 2


@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_one_may_not_see_cannot_be_saved(
    client: FlaskClient, make: Maker, mine: dict[str, str], status: EventStatus, method: str
) -> None:
    owner = make.organizer()
    address = f"/events/{make.event(owner, status=status).id}/save"
    assert client.open(address, method=method, headers=mine).status_code == 404
    assert client.open("/events/4711/save", method=method, headers=mine).status_code == 404
    assert make.rows(SavedEvent) == []
    assert client.open(address, method=method, headers=make.headers(owner)).status_code == 200


def test_what_is_looked_at_again_is_not_shown_meanwhile_but_may_be_forgotten(
    client: FlaskClient, make: Maker, mine: dict[str, str]
) -> None:
    owner, admin = make.organizer(), make.admin()
    holder = make.attendee()
    event = make.event(owner)
    make.paid_order(holder, make.ticket_type(event))
    everybody = [mine, make.headers(holder), make.headers(owner), make.headers(admin)]
    for headers in everybody:
        client.put(f"/events/{event.id}/save", headers=headers)
    client.put(f"/events/{event.id}", json={"title": "Unseen"}, headers=make.headers(owner))
    assert [ids(client, headers) for headers in everybody] == [[], [event.id], [event.id], [event.id]]
    client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=make.headers(admin))
    assert ids(client, mine) == [event.id]
    client.patch(f"/admin/{event.id}", json={"status": "rejected"}, headers=make.headers(admin))
    assert client.post(f"/events/{event.id}/save", headers=mine).json["saved"] is False
    assert client.delete(f"/events/{event.id}/save", headers=mine).status_code == 404


def test_a_deleted_event_is_gone_from_every_list(client: FlaskClient, make: Maker, mine: dict[str, str]) -> None:
    owner = make.organizer()
    event = make.event(owner)
    client.put(f"/events/{event.id}/save", headers=mine)
    assert client.delete(f"/events/{event.id}", headers=make.headers(owner)).status_code == 200
    assert ids(client, mine) == []


def test_saving_many_times_at_once_saves_once(make: Maker, mine: dict[str, str]) -> None:
    event = make.event()

    def save() -> Any:
        return make.app.test_client().put(f"/events/{event.id}/save", headers=mine).status_code

    assert together(*[save] * 5) == [200] * 5
    assert len(make.rows(SavedEvent)) == 1


def test_two_taps_at_once_are_two_taps(make: Maker, mine: dict[str, str]) -> None:
    event = make.event()

    def tap() -> Any:
        return make.app.test_client().post(f"/events/{event.id}/save", headers=mine).json["saved"]

    assert sorted(together(tap, tap)) == [False, True]
    assert make.rows(SavedEvent) == []


def test_an_event_deleted_while_it_is_saved_is_not_found(
    client: FlaskClient, make: Maker, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.events.get_event", lambda **_: None)  # seen a moment ago
    assert client.put("/events/4711/save", headers=mine).status_code == 404
    assert client.post("/events/4711/save", headers=mine).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_no_body_no_content_type_and_an_empty_object_are_all_right(
    client: FlaskClient, make: Maker, mine: dict[str, str], method: str
) -> None:
    address = f"/events/{make.event().id}/save"
    assert client.open(address, method=method, headers=mine).status_code == 200
    assert client.open(address, method=method, json={}, headers=mine).status_code == 200
    assert client.open(address, method=method, json={"user_id": 1}, headers=mine).status_code == 422
