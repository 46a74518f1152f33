"""Events: published as the frontend sends them, changed, seen by those who may, deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import EventStatus, User
from tests.pictures import picture, upload
from tests.support import Maker
from tests.test_event_visibility import bring_to
from utils import clock

#: What the create form sends: everything text, local times, tags empty.
FORM = {
    "title": "Lamu Dhow Race",
    "description": "Twelve crews, one lagoon.",
    "location": "Shela Beach, Lamu",
    "start_time": "2030-01-01T12:00",
    "end_time": "2030-01-01T18:30",
    "category": "Sports",
    "tags": "",
}
#: A new value for each field of the form.
OTHER = {
    "title": "Lamu Night Race",
    "description": "By moonlight.",
    "location": "Manda, Lamu",
    "start_time": "2030-01-01T13:00",
    "end_time": "2030-01-01T19:30",
    "category": "Culture",
    "tags": "dhow,sea",
}


def post_form(client: FlaskClient, headers: dict[str, str], form: dict[str, Any]) -> Any:
    return client.post("/events", data=form, headers=headers, content_type="multipart/form-data")


def put_form(client: FlaskClient, headers: dict[str, str], event_id: int, form: dict[str, Any]) -> Any:
    return client.put(f"/events/{event_id}", data=form, headers=headers, content_type="multipart/form-data")


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


@pytest.fixture
def as_organizer(make: Maker, organizer: User) -> dict[str, str]:
    return make.headers(organizer)


@pytest.fixture
def approved(client: FlaskClient, make: Maker, as_organizer: dict[str, str]) -> int:
    """The id of the form's event, approved."""
    event_id: int = post_form(client, as_organizer, FORM).json["id"]
    client.patch(f"/admin/{event_id}", json={"status": "approved"}, headers=make.headers(make.admin()))
    return event_id


# ── Publishing ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_multipart_form_without_image_makes_a_pending_event(
    client: FlaskClient, as_organizer: dict[str, str]
) -> None:
    answer = post_form(client, as_organizer, FORM)
    assert answer.status_code == 201
    assert answer.json["message"] == "Saved. The event is published once an admin has approved it."
    saved = client.get(f"/events/{answer.json['id']}", headers=as_organizer).json
    assert {name: saved[name] for name in ("title", "description", "location", "category")} == {
        name: FORM[name] for name in ("title", "description", "location", "category")
    }
    assert (saved["tags"], saved["image_url"], saved["status"]) == (None, None, "pending")
    assert (saved["start_time"], saved["end_time"]) == ("2030-01-01T12:00:00+03:00", "2030-01-01T18:30:00+03:00")


@pytest.mark.parametrize("image", [upload(picture()), upload(b"", "")], ids=["chosen", "left empty"])
def test_the_file_field_of_the_form_may_be_filled_or_empty(
    client: FlaskClient, as_organizer: dict[str, str], image: Any
) -> None:
    answer = post_form(client, as_organizer, FORM | {"image": image})
    assert answer.status_code == 201
    assert bool(answer.json["image_url"]) is bool(image[1])


def test_json_makes_an_event_as_well(client: FlaskClient, as_organizer: dict[str, str]) -> None:
    body = FORM | {"tags": None, "start_time": "2030-01-01T09:00:00Z"}
    answer = client.post("/events", json=body, headers=as_organizer)
    assert answer.status_code == 201
    assert answer.json["start_time"] == "2030-01-01T12:00:00+03:00"


def test_tags_stay_a_comma_separated_string(client: FlaskClient, as_organizer: dict[str, str]) -> None:
    assert post_form(client, as_organizer, FORM | {"tags": "dhow, sea"}).json["tags"] == "dhow, sea"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"title": ""}, "title must not be empty."),
        ({"title": " \t "}, "title must not be empty."),
        ({"title": "x" * 201}, "title: "),
        ({"description": "x" * 20_001}, "description: "),
        ({"title": "Lamu\x00"}, "Please remove the control characters."),
        ({"category": ""}, "category must not be empty."),
        ({"start_time": ""}, "Please give a date"),
        ({"start_time": "tomorrow"}, "Please give a date"),
        ({"start_time": "1893456000"}, "Please give a date"),
        ({"start_time": "2030-02-30T12:00"}, "start_time: "),
        ({"start_time": "0001-01-01T00:00"}, "Please give a date"),
        ({"end_time": "9999-12-31T23:59"}, "Please give a date"),
        ({"end_time": "2030-01-01T12:00"}, "The event must start before it ends."),
        ({"end_time": "2030-01-01T11:59"}, "The event must start before it ends."),
        ({"start_time": "2020-01-01T12:00"}, "The event must start in the future."),
        ({"status": "approved"}, "status is not a known field."),
        ({"organizer_id": "1"}, "organizer_id is not a known field."),
    ],
)
def test_a_faulty_form_is_refused_with_a_sentence(
    client: FlaskClient, as_organizer: dict[str, str], fault: dict[str, str], message: str
) -> None:
    answer = post_form(client, as_organizer, FORM | fault)
    assert answer.status_code == 422
    assert answer.json["message"].startswith(message)
    assert client.get("/my-events", headers=as_organizer).json == []


@pytest.mark.parametrize("field", [name for name in FORM if name != "tags"])
def test_every_field_but_tags_is_needed(client: FlaskClient, as_organizer: dict[str, str], field: str) -> None:
    form = {name: value for name, value in FORM.items() if name != field}
    answer = post_form(client, as_organizer, form)
    assert (answer.status_code, answer.json["message"]) == (422, f"{field} is missing.")


def test_an_event_starts_in_the_future_to_the_second(client: FlaskClient, as_organizer: dict[str, str]) -> None:
    start = datetime(2030, 1, 1, 12, tzinfo=clock.NAIROBI)
    with clock.set_to(start):
        assert post_form(client, as_organizer, FORM).json["code"] == "starts_in_the_past"
    with clock.set_to(start - timedelta(seconds=1)):
        assert post_form(client, as_organizer, FORM).status_code == 201


def test_the_organizer_finds_the_event_under_my_events(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer, status=EventStatus.PENDING)
    make.event()
    [listed] = client.get("/my-events", headers=make.headers(organizer)).json
    assert (listed["id"], listed["status"]) == (event.id, "pending")
    assert "T" in listed["start_time"]


def test_admins_see_who_submitted_what(client: FlaskClient, make: Maker, organizer: User) -> None:
    first = make.event(organizer, status=EventStatus.PENDING, title="First")
    make.event(status=EventStatus.REJECTED)
    second = make.event(status=EventStatus.PENDING, title="Second")
    pending = client.get("/admin/pending", headers=make.headers(make.admin())).json
    assert [one["id"] for one in pending] == [first.id, second.id]
    assert pending[0]["organizer"]["last_name"] == organizer.last_name
    assert {"description", "tags", "image_url", "category", "location", "start_time", "end_time"} <= pending[0].keys()


# ── Changing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_edit_form_sends_utc_and_the_instant_stays(
    client: FlaskClient, as_organizer: dict[str, str], approved: int
) -> None:
    same = FORM | {"start_time": "2030-01-01T09:00:00.000Z", "end_time": "2030-01-01T15:30:00.000Z"}
    answer = put_form(client, as_organizer, approved, same)
    assert answer.status_code == 200
    assert answer.json["start_time"] == "2030-01-01T12:00:00+03:00"
    assert answer.json["status"] == "approved"


@pytest.mark.parametrize("field", [field for field in OTHER if field != "end_time"])
def test_changing_what_the_public_sees_sends_an_approved_event_back(
    client: FlaskClient, as_organizer: dict[str, str], approved: int, field: str
) -> None:
    answer = put_form(client, as_organizer, approved, FORM | {field: OTHER[field]})
    assert (answer.status_code, answer.json["status"]) == (200, "pending")
    assert answer.json[field].startswith(OTHER[field])
    assert client.get("/events").json == []


@pytest.mark.parametrize(
    ("end_time", "status"),
    [
        ("2030-01-01T12:01", "approved"),
        ("2030-01-01T19:30", "approved"),
        ("2030-01-02T18:30", "approved"),
        ("2030-01-02T18:31", "pending"),
        ("2150-01-01T00:00", "pending"),
    ],
)
def test_another_end_within_a_day_leaves_an_approved_event_published(
    client: FlaskClient, as_organizer: dict[str, str], approved: int, end_time: str, status: str
) -> None:
    answer = put_form(client, as_organizer, approved, FORM | {"end_time": end_time})
    assert (answer.status_code, answer.json["status"]) == (200, status)
    assert answer.json["end_time"].startswith(end_time)


def test_an_event_that_is_over_cannot_be_changed(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer, starts_at=clock.ago(days=2))
    later = {"end_time": clock.to_nairobi(clock.ahead(hours=1))}
    answer = put_form(client, make.headers(organizer), event.id, later)
    assert (answer.status_code, answer.json["code"]) == (409, "event_over")


def test_a_new_picture_sends_an_approved_event_back(
    client: FlaskClient, as_organizer: dict[str, str], approved: int
) -> None:
    answer = put_form(client, as_organizer, approved, {"image": upload(picture())})
    assert (answer.status_code, answer.json["status"]) == (200, "pending")


def test_a_picture_for_somebody_elses_event_is_not_even_looked_at(
    client: FlaskClient, make: Maker, approved: int
) -> None:
    answer = put_form(client, make.headers(make.organizer()), approved, {"image": upload(b"no picture at all")})
    assert answer.status_code == 404


def test_saving_without_a_change_leaves_an_approved_event_published(
    client: FlaskClient, as_organizer: dict[str, str], approved: int
) -> None:
    assert put_form(client, as_organizer, approved, FORM).json["status"] == "approved"
    assert client.put(f"/events/{approved}", json={}, headers=as_organizer).json["status"] == "approved"


def test_what_is_left_out_stays_and_empty_tags_are_cleared(
    client: FlaskClient, as_organizer: dict[str, str], approved: int
) -> None:
    client.put(f"/events/{approved}", json={"tags": "dhow"}, headers=as_organizer)
    kept = client.put(f"/events/{approved}", json={"category": "Culture"}, headers=as_organizer).json
    assert (kept["tags"], kept["title"]) == ("dhow", FORM["title"])
    assert put_form(client, as_organizer, approved, {"tags": ""}).json["tags"] is None


def test_a_rejected_event_is_pending_again_after_an_edit_and_its_reason_is_gone(
    client: FlaskClient, make: Maker, organizer: User
) -> None:
    event = make.event(organizer, status=EventStatus.REJECTED)
    answer = put_form(client, make.headers(organizer), event.id, {"description": "Six bands, with a licence."})
    assert (answer.status_code, answer.json["status"], answer.json["rejection_reason"]) == (200, "pending", None)
    [listed] = client.get("/my-events", headers=make.headers(organizer)).json
    assert (listed["status"], listed["rejection_reason"]) == ("pending", None)


def test_a_rejected_event_submitted_unchanged_is_pending_again(
    client: FlaskClient, make: Maker, organizer: User
) -> None:
    event = make.event(organizer, status=EventStatus.REJECTED)
    answer = put_form(client, make.headers(organizer), event.id, {"title": event.title})
    assert answer.json["status"] == "pending"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"end_time": "2030-01-01T11:00"}, "ends_before_start"),
        ({"start_time": "2030-01-01T19:00"}, "ends_before_start"),
        ({"start_time": "2020-01-01T12:00"}, "starts_in_the_past"),
    ],
)
def test_an_edit_cannot_put_the_times_out_of_order(
    client: FlaskClient, as_organizer: dict[str, str], approved: int, change: dict[str, str], code: str
) -> None:
    answer = put_form(client, as_organizer, approved, change)
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert client.get(f"/events/{approved}").json["start_time"] == "2030-01-01T12:00:00+03:00"


def test_an_event_in_progress_may_end_later_than_announced(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer, starts_at=clock.ago(hours=1), ends_at=clock.ahead(hours=1))
    later = clock.to_nairobi(clock.ahead(hours=3))
    answer = client.put(f"/events/{event.id}", json={"end_time": later}, headers=make.headers(organizer))
    assert (answer.status_code, answer.json["end_time"], answer.json["status"]) == (200, later, "approved")


def test_only_owner_and_admins_change_an_event(
    client: FlaskClient, make: Maker, as_organizer: dict[str, str], approved: int
) -> None:
    change = {"category": "Culture"}
    address = f"/events/{approved}"
    assert client.put(address, json=change).status_code == 401
    assert client.put(address, json=change, headers=make.headers(make.attendee())).status_code == 403
    assert client.put(address, json=change, headers=make.headers(make.organizer())).status_code == 404
    assert client.put(address, json=change, headers=make.headers(make.admin())).status_code == 200
    assert client.put("/events/999999", json=change, headers=as_organizer).status_code == 404


# ── One event ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_detail_has_what_the_pages_read(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    sold = make.ticket_type(event, name="VIP", price=1500, quantity=5)
    make.paid_order(make.attendee(), sold, quantity=2)
    shown = client.get(f"/events/{event.id}").json
    assert shown["attendee_count"] == 2
    assert shown["organizer"].keys() == {"id", "first_name", "last_name"}
    [ticket_type] = shown["tickets"]
    assert {name: ticket_type[name] for name in ("id", "type", "price", "quantity", "sold", "available")} == {
        "id": sold.id,
        "type": "VIP",
        "price": 1500,
        "quantity": 5,
        "sold": 2,
        "available": 3,
    }


@pytest.mark.parametrize("event_id", ["0", "-1", "1.5", "x", str(2**63), str(10**40)])
def test_an_id_that_is_none_is_not_found(client: FlaskClient, event_id: str) -> None:
    answer = client.get(f"/events/{event_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


# ── Deleting ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", list(EventStatus))
def test_an_event_without_orders_is_deleted_in_any_state(
    client: FlaskClient, make: Maker, organizer: User, status: EventStatus
) -> None:
    event = make.event(organizer)
    make.ticket_type(event)
    bring_to(client, make, event, status.value)
    headers = make.headers(organizer)
    answer = client.delete(f"/events/{event.id}", headers=headers)
    assert (answer.status_code, answer.json) == (200, {"message": "The event has been deleted."})
    assert client.get(f"/events/{event.id}", headers=headers).status_code == 404
    assert client.delete(f"/events/{event.id}", headers=headers).status_code == 404


@pytest.mark.parametrize("paid", [True, False], ids=["paid", "open"])
def test_an_event_with_orders_is_not_deleted(client: FlaskClient, make: Maker, organizer: User, paid: bool) -> None:
    ticket_type = make.ticket_type(make.event(organizer))
    (make.paid_order if paid else make.order)(make.attendee(), ticket_type)
    answer = client.delete(f"/events/{ticket_type.event_id}", headers=make.headers(organizer))
    assert (answer.status_code, answer.json["code"]) == (409, "event_has_orders")
    assert client.get(f"/events/{ticket_type.event_id}").status_code == 200


def test_only_owner_and_admins_delete_an_event(client: FlaskClient, make: Maker) -> None:
    address = f"/events/{make.event().id}"
    assert client.delete(address).status_code == 401
    assert client.delete(address, headers=make.headers(make.attendee())).status_code == 403
    assert client.delete(address, headers=make.headers(make.organizer())).status_code == 404
    assert client.get(address).status_code == 200
    assert client.delete(address, headers=make.headers(make.admin())).status_code == 200
