"""Calls of organizers, as the frontend makes them: publishing, ticket types, guests at the door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from models import Event, EventStatus, User
from tests.contract.frontend import EVENT, EVENT_STATUS, ORIGIN, Browser, assert_reads
from tests.pictures import picture, upload
from tests.support import Maker
from utils import clock

Browse = Callable[[User], Browser]


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


@pytest.fixture
def page(browser: Browse, organizer: User) -> Browser:
    return browser(organizer)


# ── 14: GET /my-events ────────────────────────────────────────────────────────────────────────────────────────────


def test_row_14_my_events(page: Browser, make: Maker, organizer: User) -> None:
    for status in (EventStatus.PENDING, EventStatus.APPROVED, EventStatus.REJECTED):
        make.event(organizer, status=status)
    make.event(organizer, starts_at=clock.ago(days=3))
    make.event(tags=None)
    listed = page.read("/my-events")
    assert_reads(listed, [EVENT | {"status": EVENT_STATUS}])
    assert sorted(one["status"] for one in listed) == ["approved", "approved", "pending", "rejected"]
    assert [len(one["start_time"].split("T")) for one in listed] == [2] * 4  # as the form of a rejected one does


# ── 15 and 16: the form of an event ───────────────────────────────────────────────────────────────────────────────


def form(**changes: Any) -> dict[str, Any]:
    return {
        "title": "Lamu Dhow Race",
        "description": "Twelve crews, one lagoon.",
        "location": "Shela Beach, Lamu",
        "start_time": "2030-01-01T12:00",
        "end_time": "2030-01-01T18:30",
        "category": "Sports",
        "tags": "",
    } | changes


@pytest.mark.parametrize("has_image", [False, True])
@pytest.mark.parametrize("tags", ["", "dhow,sea"])
def test_row_15_a_new_event(page: Browser, has_image: bool, tags: str) -> None:
    image = {"image": upload(picture(), "poster.png")} if has_image else {}
    answer = page.axios("POST", "/events", form=form(tags=tags) | image)
    assert answer.status_code == 201
    assert_reads(answer.json, {"message": str})
    [shown] = page.read("/my-events")
    assert (shown["status"], shown["tags"]) == ("pending", tags or None)
    assert (shown["start_time"], shown["end_time"]) == ("2030-01-01T12:00:00+03:00", "2030-01-01T18:30:00+03:00")
    assert bool(shown["image_url"]) is has_image


def test_row_15_a_refused_event_shows_its_sentence(page: Browser) -> None:
    for changes in ({"title": ""}, {"end_time": "2029-01-01T12:00"}, {"start_time": ""}, {"category": ""}):
        assert page.axios("POST", "/events", form=form(**changes)).status_code == 422


@pytest.mark.parametrize("has_image", [False, True])
def test_row_16_a_rejected_event_is_sent_again(page: Browser, make: Maker, organizer: User, has_image: bool) -> None:
    """The page splits local time at its T, and sends it back as UTC: the instant has to stay."""
    event = make.event(
        organizer, status=EventStatus.REJECTED, starts_at=datetime(2030, 12, 2, 17, 2, tzinfo=clock.NAIROBI)
    )
    [shown] = page.read("/my-events")
    assert shown["start_time"].startswith("2030-12-02T17:02")
    image = {"image": upload(picture())} if has_image else {}
    changes = form(title="Again", start_time="2030-12-02T14:02:00.000Z", end_time="2030-12-02T20:00:00.000Z")
    assert page.axios("PUT", f"/events/{event.id}", form=changes | image).status_code == 200
    [again] = page.read("/my-events")
    assert (again["title"], again["status"]) == ("Again", "pending")
    assert (again["start_time"], again["end_time"]) == ("2030-12-02T17:02:00+03:00", "2030-12-02T23:00:00+03:00")


# ── 17: POST /events/…/tickets ────────────────────────────────────────────────────────────────────────────────────


def test_row_17_a_ticket_type_in_strings(page: Browser, make: Maker, organizer: User) -> None:
    event = make.event(organizer)
    body = {"type": "REG", "price": "500", "quantity": "5"}
    assert page.axios("POST", f"/events/{event.id}/tickets", json=body).status_code == 201
    [shown] = page.read(f"/events/{event.id}")["tickets"]
    assert_reads(shown, {"id": int, "type": str, "price": int, "quantity": int, "sold": int})
    assert (shown["type"], shown["price"], shown["quantity"], shown["sold"]) == ("REG", 500, 5, 0)


@pytest.mark.parametrize("changes", [{"price": ""}, {"price": "-5"}, {"quantity": "0"}, {"type": ""}, {"price": "nan"}])
def test_row_17_a_refused_ticket_type_shows_its_sentence(
    page: Browser, make: Maker, organizer: User, changes: dict[str, str]
) -> None:
    body = {"type": "REG", "price": "500", "quantity": "5"} | changes
    assert page.axios("POST", f"/events/{make.event(organizer).id}/tickets", json=body).status_code == 422


# ── 18 to 20: guests at the door ──────────────────────────────────────────────────────────────────────────────────

GUEST = {
    "id": int,
    "ticket_code": str,
    "attendee_first_name": str,
    "attendee_last_name": str,
    "attendee_email": str,
    "attendee_phone": str,
    "checked_in": bool,
    "ticket_type": str,
}


@pytest.fixture
def event(make: Maker, organizer: User) -> Event:
    """In an hour, with three guests."""
    event = make.event(organizer, starts_at=clock.ahead(hours=1))
    vip = make.ticket_type(event, name="VIP")
    make.paid_order(make.attendee(), vip, quantity=2)
    make.paid_order(make.attendee(), vip)
    make.order(make.attendee(), vip)  # unpaid: nobody's guest
    return event


def test_row_18_attendees(page: Browser, make: Maker, event: Event) -> None:
    guests = page.read(f"/organizer/events/{event.id}/attendees")
    assert_reads(guests, {"attendees": [GUEST]})
    assert sorted(one["ticket_code"] for one in guests["attendees"]) == sorted(one.code for one in make.tickets())
    assert {(one["ticket_type"], one["checked_in"]) for one in guests["attendees"]} == {("VIP", False)}


def test_row_18_the_whole_event_comes_at_once(page: Browser, make: Maker, organizer: User) -> None:
    """The page searches in what it has."""
    event = make.event(organizer)
    ticket_type = make.ticket_type(event, price=0, quantity=110, max_per_order=110)
    make.order(make.attendee(), ticket_type, quantity=110)
    assert len(page.read(f"/organizer/events/{event.id}/attendees")["attendees"]) == 110


def test_row_18_pages_are_given_to_who_asks_for_them(page: Browser, event: Event) -> None:
    address = f"/organizer/events/{event.id}/attendees"
    pages = [page.read(f"{address}?page={number}&per_page=2")["attendees"] for number in (1, 2)]
    assert [len(one) for one in pages] == [2, 1]


def test_row_18_without_guests_the_list_is_empty(page: Browser, make: Maker, organizer: User) -> None:
    assert page.read(f"/organizer/events/{make.event(organizer).id}/attendees")["attendees"] == []


def test_row_18_somebody_elses_guests_are_nobodys_business(browser: Browse, make: Maker, event: Event) -> None:
    for user in (make.organizer(), make.attendee()):
        assert browser(user).axios("GET", f"/organizer/events/{event.id}/attendees").status_code in (403, 404)


def test_rows_19_and_20_check_in_and_undo_without_a_body(page: Browser, make: Maker, event: Event) -> None:
    """Pressing twice is fine: an error would replace the whole table."""
    first = page.read(f"/organizer/events/{event.id}/attendees")["attendees"][0]["id"]

    def is_in() -> bool:
        guests = page.read(f"/organizer/events/{event.id}/attendees")["attendees"]
        assert sum(one["checked_in"] for one in guests) <= 1
        return next(one["checked_in"] for one in guests if one["id"] == first)

    with clock.set_to(event.starts_at + timedelta(minutes=10)):
        for action, expected in (("checkin", True), ("checkin", True), ("checkout", False), ("checkout", False)):
            answer = page.axios("PATCH", f"/organizer/{action}/{first}")
            assert answer.status_code == 200, answer.text
            assert is_in() is expected
            ticket = next(one for one in make.tickets() if one.id == first)
            assert (ticket.checked_in_at is not None) is expected


@pytest.mark.parametrize("action", ["checkin", "checkout"])
def test_rows_19_and_20_nobody_else_opens_the_door(browser: Browse, make: Maker, event: Event, action: str) -> None:
    ticket_id = make.tickets()[0].id
    with clock.set_to(event.starts_at):
        for user in (make.organizer(), make.attendee()):
            assert browser(user).axios("PATCH", f"/organizer/{action}/{ticket_id}").status_code in (403, 404)
        assert browser(make.organizer()).axios("PATCH", f"/organizer/{action}/4711").status_code == 404


@pytest.mark.parametrize("action", ["checkin", "checkout"])
def test_rows_19_and_20_a_browser_may_ask_before(page: Browser, action: str) -> None:
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
    answer = page.client.options(f"/organizer/{action}/1", headers={"Origin": ORIGIN} | asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
