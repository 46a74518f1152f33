"""Calendar files and feeds, read again with the library that others read them with."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import icalendar
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import AuditLog, Event, EventStatus, Ticket, TicketStatus, User
from services import events, moderation
from tests.support import Maker
from tests.test_queries import recorded
from utils import clock
from utils.database import transaction

NAIROBI_OFFSET = timedelta(hours=3)


def read(answer: TestResponse) -> icalendar.Calendar:
    """The calendar in an answer, once its lines are as RFC 5545 wants them."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer.data.endswith(b"END:VCALENDAR\r\n")
    assert b"\n" not in answer.data.replace(b"\r\n", b"")
    assert b"\r" not in answer.data.replace(b"\r\n", b"")
    for line in answer.data.split(b"\r\n"):
        assert len(line) <= 75
        line.decode()  # no letter is cut in two
    return icalendar.Calendar.from_ical(answer.data)  # type: ignore[return-value]


def file_of(client: FlaskClient, event: Event, user_headers: dict[str, str] | None = None) -> icalendar.Event:
    """The one entry of an event's file."""
    (entry,) = read(client.get(f"/events/{event.id}/calendar.ics", headers=user_headers)).events
    return entry


def feed_of(client: FlaskClient, make: Maker, user: User) -> str:
    """The path of somebody's feed."""
    answer = client.get("/profile/me/calendar", headers=make.headers(user))
    assert answer.status_code == 200
    return urlsplit(answer.json["url"]).path


def change(make: Maker, kind: type[Any], row_id: int, **facts: Any) -> None:
    with make.app.app_context(), transaction() as session:
        row = session.get_one(kind, row_id)
        for name, value in facts.items():
            setattr(row, name, value)


def edit(make: Maker, event: Event, **changes: Any) -> None:
    with make.app.app_context():
        organizer = _user(make, event.organizer_id)
        events.update_event(actor=organizer, event_id=event.id, changes=changes, image=None)


def approve(make: Maker, event: Event) -> None:
    with make.app.app_context():
        moderation.decide_event(actor=make.admin(), event_id=event.id, is_approved=True, reason=None)


def cancel(make: Maker, event: Event) -> None:
    with make.app.app_context():
        events.cancel_event(actor=_user(make, event.organizer_id), event_id=event.id)


def _user(make: Maker, user_id: int) -> User:
    return next(user for user in make.rows(User) if user.id == user_id)


# ── The file of an event ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_file_says_what_the_event_says(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    calendar = read(client.get(f"/events/{event.id}/calendar.ics"))
    (entry,), (zone,) = calendar.events, calendar.timezones
    assert (str(calendar["version"]), str(calendar["x-wr-timezone"])) == ("2.0", "Africa/Nairobi")
    assert b"\r\nREFRESH-INTERVAL;VALUE=DURATION:PT1H\r\nX-PUBLISHED-TTL:PT1H\r\n" in calendar.to_ical()
    assert str(zone["tzid"]) == entry["dtstart"].params["TZID"] == "Africa/Nairobi"
    assert zone.standard[0]["tzoffsetto"].td == NAIROBI_OFFSET
    assert [str(entry[name]) for name in ("summary", "description", "location", "status")] == [
        event.title,
        event.description,
        event.location,
        "CONFIRMED",
    ]
    assert entry.start == event.starts_at.replace(microsecond=0)
    assert entry.end == event.ends_at.replace(microsecond=0)
    public_url = make.app.extensions["settings"].PUBLIC_URL
    assert str(entry["url"]) == f"{public_url}/events/{event.id}"
    assert str(entry["uid"]) == f"event-{event.id}@127.0.0.1"
    assert entry["dtstamp"].dt == entry["last-modified"].dt == event.updated_at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "written"),
    [
        ("2031-01-31T23:30", "2031-02-01T00:00", ("20310131T233000", "20310201T000000")),
        ("2031-02-01T00:00", "2031-02-01T02:59", ("20310201T000000", "20310201T025900")),
        ("2031-12-31T22:00", "2032-01-01T03:00", ("20311231T220000", "20320101T030000")),
        ("2032-02-29T00:30", "2032-03-01T00:30", ("20320229T003000", "20320301T003000")),
    ],
)
def test_midnight_is_nairobis(
    client: FlaskClient, make: Maker, starts_at: str, ends_at: str, written: tuple[str, str]
) -> None:
    times = {
        "starts_at": clock.to_utc(datetime.fromisoformat(starts_at)),
        "ends_at": clock.to_utc(datetime.fromisoformat(ends_at)),
    }
    event = make.event(**times)
    body = client.get(f"/events/{event.id}/calendar.ics").text
    assert re.findall(r"DT(?:START|END);TZID=Africa/Nairobi:(\w+)", body) == list(written)
    entry = file_of(client, event)
    assert (entry.start, entry.end) == (times["starts_at"], times["ends_at"])
    google = parse_qs(urlsplit(client.get(f"/events/{event.id}").json["calendar"]["google_url"]).query)
    assert google["dates"] == [f"{times['starts_at']:%Y%m%dT%H%M%SZ}/{times['ends_at']:%Y%m%dT%H%M%SZ}"]


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines",
        "commas, semicolons; colons: and \\ backslashes \\n",
        "🎉" * 60,
        "Wanjikũ " * 20,
        "x" * 200,
        'END:VEVENT\nBEGIN:VALARM\nTRIGGER:-PT1M "quoted"',
        "a\n\nb",
        "\u202eelttaw\u202c محمد",
        "e\u0301" * 90,
        "tab\tin it",
    ],
)
def test_any_text_comes_back_as_it_was(client: FlaskClient, make: Maker, text: str) -> None:
    event = make.event(title=text, description=text, location=text)
    entry = file_of(client, event)
    assert [str(entry[name]) for name in ("summary", "description", "location")] == [text] * 3
    assert [component.name for component in entry.walk()] == ["VEVENT"]
    answer = client.get(f"/events/{event.id}/calendar.ics")
    # The library leaves it as it is written when it reads it.
    written = icalendar.vText(" ".join(text.split())).to_ical().decode()
    assert str(read(answer)["x-wr-calname"]) == written
    assert "\n" not in answer.headers["Content-Disposition"]


def test_every_kind_of_line_end_is_one(client: FlaskClient, make: Maker) -> None:
    event = make.event(description="a\r\nb\rc\u2028d")
    assert str(file_of(client, event)["description"]) == "a\nb\nc\nd"


def test_a_very_long_description_is_whole_in_the_file_and_short_in_addresses(client: FlaskClient, make: Maker) -> None:
    event = make.event(description="Maneno, mengi; sana 🎉\n" * 900)
    assert str(file_of(client, event)["description"]) == event.description.rstrip("\n")
    links = client.get(f"/events/{event.id}").json["calendar"]
    assert len(links["google_url"]) < 4_000
    assert len(links["outlook_url"]) < 4_000


def test_an_event_carries_its_calendar_addresses(client: FlaskClient, make: Maker) -> None:
    event = make.event(title="Jazz & Blues; 50% off #1")
    calendar = client.get(f"/events/{event.id}").json["calendar"]
    assert set(calendar) == {"ics_url", "google_url", "outlook_url"}
    assert calendar["ics_url"] == f"{make.app.extensions['settings'].PUBLIC_URL}/events/{event.id}/calendar.ics"
    assert client.get(urlsplit(calendar["ics_url"]).path).status_code == 200
    for name, host, title in (
        ("google_url", "calendar.google.com", "text"),
        ("outlook_url", "outlook.live.com", "subject"),
    ):
        parts = urlsplit(calendar[name])
        assert (parts.scheme, parts.hostname, parts.fragment) == ("https", host, "")
        assert parse_qs(parts.query)[title] == [event.title]
        assert parse_qs(parts.query)["location"] == [event.location]


# ── Edits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another"},
        {"description": "Another"},
        {"location": "Another"},
        {"starts_at": clock.ahead(days=6)},
        {"ends_at": clock.ahead(days=8)},
    ],
)
def test_an_edit_raises_the_sequence_and_keeps_the_uid(
    client: FlaskClient, make: Maker, changes: dict[str, Any]
) -> None:
    event = make.event()
    before = file_of(client, event)
    edit(make, event, **changes)
    approve(make, event)
    after = file_of(client, event)
    assert after["sequence"] > before["sequence"]
    assert after["uid"] == before["uid"]
    assert after["last-modified"].dt >= before["last-modified"].dt


def test_what_no_calendar_shows_leaves_the_sequence(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    before = file_of(client, event)
    edit(make, event, refund_until_hours=None)
    edit(make, event, title=event.title)
    make.ticket_type(event)
    assert file_of(client, event)["sequence"] == before["sequence"]


def test_a_cancelled_event_says_so_to_everybody(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    before = file_of(client, event)
    cancel(make, event)
    after = file_of(client, event)
    assert (str(after["status"]), after["uid"]) == ("CANCELLED", before["uid"])
    assert after["sequence"] > before["sequence"]
    assert client.get(f"/events/{event.id}").status_code == 404


@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.REJECTED])
def test_what_never_was_public_is_not_told_when_it_is_cancelled(
    client: FlaskClient, make: Maker, status: EventStatus
) -> None:
    organizer = make.organizer()
    event = make.event(organizer, status=status)
    path = f"/events/{event.id}/calendar.ics"
    assert client.get(path).status_code == 404
    assert str(file_of(client, event, make.headers(organizer))["status"]) == "TENTATIVE"
    cancel(make, event)
    assert client.get(path).status_code == 404
    assert str(file_of(client, event, make.headers(organizer))["status"]) == "CANCELLED"


def test_nor_is_an_edit_that_no_admin_has_seen(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    edit(make, event, title="Something rude")
    cancel(make, event)
    assert client.get(f"/events/{event.id}/calendar.ics").status_code == 404


# ── Asking again ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_has_not_changed_is_not_sent_again(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    path = f"/events/{event.id}/calendar.ics"
    first = client.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert client.get(path).headers["ETag"] == first.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    edit(make, event, title="Another")
    approve(make, event)
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_what_only_some_may_see_is_not_for_caches(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer, status=EventStatus.PENDING)
    answer = client.get(f"/events/{event.id}/calendar.ics", headers=make.headers(organizer))
    assert answer.headers["Cache-Control"].startswith("private")


# ── The feed ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_feed_has_what_its_owner_holds_tickets_for(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    path = feed_of(client, make, user)
    assert read(client.get(path)).events == []
    orders = [make.order(user, make.on_sale(price=0))[0] for _ in range(3)]
    make.order(None, make.on_sale(price=0))
    feed = client.get(path)
    assert feed.headers["Cache-Control"].startswith("private")
    uids = [str(entry["uid"]) for entry in read(feed).events]
    assert uids == [f"event-{order.event_id}@127.0.0.1" for order in orders]
    again = client.get(path, headers={"If-None-Match": feed.headers["ETag"], "Authorization": "Bearer nonsense"})
    assert again.status_code == 304


def test_the_feed_has_what_its_owner_saved_as_long_as_it_may_be_seen(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    path, headers = feed_of(client, make, user), make.headers(user)
    events = [make.event(starts_at=clock.ahead(days=days)) for days in (3, 2)]

    def shown() -> list[str]:
        return [str(entry["uid"]) for entry in read(client.get(path)).events]

    for event in events:
        assert client.put(f"/events/{event.id}/save", headers=headers).status_code == 200
    make.order(user, make.ticket_type(events[0], price=0))  # once, though it is there for two reasons
    uids = [f"event-{event.id}@127.0.0.1" for event in events]
    assert shown() == uids[::-1]
    change(make, Event, events[1].id, status=EventStatus.PENDING)
    assert shown() == uids[:1]
    change(make, Event, events[1].id, status=EventStatus.APPROVED)
    assert client.delete(f"/events/{events[1].id}/save", headers=headers).status_code == 200
    assert shown() == uids[:1]


def test_the_feed_forgets_what_is_long_over(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    path = feed_of(client, make, user)
    order = make.paid_order(user)
    event = next(event for event in make.rows(Event) if event.id == order.event_id)
    for days, count in ((89, 1), (91, 0)):
        with clock.set_to(event.ends_at + timedelta(days=days)):
            assert len(read(client.get(path)).events) == count


def test_the_feed_after_an_edit_has_a_higher_sequence_and_the_same_uid(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    path = feed_of(client, make, user)
    ticket_type = make.on_sale()
    make.paid_order(user, ticket_type)
    (before,) = read(client.get(path)).events
    event = next(event for event in make.rows(Event) if event.id == ticket_type.event_id)
    edit(make, event, location="Uhuru Gardens")
    (after,) = read(client.get(path)).events
    assert (str(after["location"]), str(after["status"])) == ("Uhuru Gardens", "TENTATIVE")
    approve(make, event)
    (approved,) = read(client.get(path)).events
    assert before["sequence"] < after["sequence"] < approved["sequence"]
    assert before["uid"] == after["uid"] == approved["uid"]


def test_a_cancelled_event_stays_in_the_feed_and_says_so(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    ticket_type = make.on_sale()
    make.paid_order(user, ticket_type)
    event = next(event for event in make.rows(Event) if event.id == ticket_type.event_id)
    cancel(make, event)
    change(make, Ticket, make.tickets()[0].id, status=TicketStatus.VOID, voided_at=clock.now())
    (entry,) = read(client.get(feed_of(client, make, user))).events
    assert str(entry["status"]) == "CANCELLED"


def test_who_gave_the_ticket_back_does_not_go(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    make.paid_order(user)
    change(make, Ticket, make.tickets()[0].id, status=TicketStatus.VOID, voided_at=clock.now())
    assert read(client.get(feed_of(client, make, user))).events == []


def test_an_address_is_the_same_until_it_is_renewed(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    old = feed_of(client, make, user)
    assert feed_of(client, make, user) == old != feed_of(client, make, make.attendee())
    renewed = client.post("/profile/me/calendar", headers=headers)
    new = urlsplit(renewed.json["url"]).path
    assert renewed.json["url"] == f"{make.app.extensions['settings'].PUBLIC_URL}{new}"
    assert new == feed_of(client, make, user) != old
    assert client.get(new).status_code == 200
    assert (client.get(old).status_code, client.get(old).json["code"]) == (404, "not_found")
    lines = [line for line in make.rows(AuditLog) if line.action == "calendar_renewed"]
    assert [(line.user_id, line.target_id) for line in lines] == [(user.id, user.id)]


def test_a_guessed_address_is_404(client: FlaskClient, make: Maker) -> None:
    path = feed_of(client, make, make.attendee())
    start, end = len("/calendar/"), len(path) - len(".ics")
    for at in range(start, end):
        letter = "A" if path[at] != "A" else "B"
        assert client.get(path[:at] + letter + path[at + 1 :]).status_code == 404, at
    assert client.get(path.removesuffix(".ics") + "A.ics").status_code == 404
    assert client.get("/calendar/" + "0" * 32 + ".ics").status_code == 404


def test_the_feed_of_somebody_banned_is_404(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    path = feed_of(client, make, user)
    make.ban(user)
    assert client.get(path).status_code == 404


def test_a_feed_costs_as_many_statements_for_twenty_events_as_for_one(client: FlaskClient, make: Maker) -> None:
    costs = []
    user = make.attendee()
    path = feed_of(client, make, user)
    for count in (1, 9):
        for _ in range(count):
            make.order(user, make.on_sale(price=0))
        with recorded(make) as statements:
            read(client.get(path))
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 3
