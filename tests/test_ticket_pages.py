"""A ticket's page at its own address, and what anybody may ask about a code."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import Event, EventStatus, Ticket, TicketStatus
from services import holders, ticket_keys
from tests.held_tickets import cancel, draw, evening, give_back, page_of, read_pdf, reissue, scan, use
from tests.support import Maker
from tests.test_queries import recorded
from utils import signing, ticket_address, ticket_token
from utils.database import db, transaction

FILES = ("qr.svg", "qr.png", "ticket.pdf")


@pytest.fixture
def event(make: Maker) -> Event:
    return evening(make)


@pytest.fixture
def ticket(make: Maker, event: Event) -> Ticket:
    holder = make.attendee(first_name="Wanjikũ", last_name="Mwangi")
    [ticket] = make.paid_order(holder, make.ticket_type(event, name="VIP")).tickets
    return ticket


# ── The page ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_shows_the_ticket_to_who_has_its_address(
    client: FlaskClient, make: Maker, ticket: Ticket, event: Event
) -> None:
    page = page_of(make, ticket)
    answer = client.get(page)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    for said in (event.title, "Alchemist, Nairobi", "Saturday, 2 June 2035", "18:00 to 22:00", "Wanjikũ Mwangi", "VIP"):
        assert said in answer.text
    assert ticket.code in answer.text
    assert '"standing valid"' in answer.text
    links = dict(re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)<', answer.text))
    assert {name: href for href, name in links.items()} == {
        "Open the map": "https://www.google.com/maps/search/?api=1&amp;query=Alchemist%2C%20Nairobi",
        "PDF to print": f"{page.removeprefix('/t/')}/ticket.pdf",
        "Calendar": f"../events/{event.id}/calendar.ics",
    }
    assert client.get(f"/events/{event.id}/calendar.ics").status_code == 200
    [drawing] = re.findall(r"<svg.*?</svg>", answer.text, re.DOTALL)
    with make.app.app_context():
        assert ticket_token.verify(scan(draw(drawing)), ticket_keys.public_keys(event.id)).ticket_id == ticket.id


def test_the_calendar_is_not_offered_while_the_event_is_not_public(
    client: FlaskClient, make: Maker, ticket: Ticket
) -> None:
    with make.app.app_context(), transaction() as session:
        session.get_one(Event, ticket.ticket_type.event_id).status = EventStatus.PENDING
    shown = client.get(page_of(make, ticket)).text
    assert "PDF to print" in shown
    assert "calendar" not in shown


@pytest.mark.parametrize("below", ["", *(f"/{name}" for name in FILES)])
def test_what_the_address_shows_is_kept_and_told_nowhere(
    client: FlaskClient, make: Maker, ticket: Ticket, below: str
) -> None:
    headers = client.get(page_of(make, ticket) + below).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Robots-Tag"] == "noindex"
    assert "ETag" not in headers


def test_the_page_runs_nothing_and_loads_nothing(client: FlaskClient, make: Maker, ticket: Ticket) -> None:
    answer = client.get(page_of(make, ticket))
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "script-src" not in policy
    assert not re.search(r"<script|<img|<link|\bon\w+=|url\(", answer.text)


def test_what_people_wrote_is_text_on_the_page(client: FlaskClient, make: Maker) -> None:
    nasty = '"><script>alert(1)</script>{{ 4321*1234 }}&amp;'
    person = make.attendee(first_name=nasty[:60], last_name="O'Neil")
    event = make.event(title=nasty, location=nasty)
    [ticket] = make.paid_order(person, make.ticket_type(event, name=nasty)).tickets
    shown = client.get(page_of(make, ticket)).text
    assert "<script" not in shown
    assert "{{ 4321*1234 }}" in shown
    assert "5332114" not in re.sub(r"<svg.*?</svg>|<style.*?</style>", "", shown, flags=re.DOTALL)


def test_an_address_that_was_not_made_here_opens_nothing(
    app: Flask, client: FlaskClient, make: Maker, ticket: Ticket
) -> None:
    good = page_of(make, ticket)
    with app.app_context():
        foreign = signing.sign("calendar", (ticket.id, 1), expires_at=None)
        nobodys = ticket_address.make(999_999, 1)
    for path in (
        good[:-1],
        good + "A",
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        f"/t/{foreign}",
        f"/t/{nobodys}",
    ):
        for below in ("", "/qr.svg", "/qr.png", "/ticket.pdf"):
            answer = client.get(path + below)
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), path


def test_nights_and_several_days_are_told_as_people_say_them(make: Maker, ticket: Ticket, client: FlaskClient) -> None:
    page = page_of(make, ticket)
    for hours, told in ((9, "18:00 to 03:00"), (44, "18:00 until Monday, 4 June 2035, 14:00")):
        with make.app.app_context(), transaction() as session:
            event = session.get_one(Event, ticket.ticket_type.event_id)
            event.ends_at = event.starts_at + timedelta(hours=hours)
        assert f"{told} (Nairobi)" in client.get(page).text


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (None, "The organizer gives no refunds."),
        (48, "Refunds are up to the organizer, until Thursday, 31 May 2035, 18:00."),
    ],
)
def test_the_sheet_tells_the_refund_terms_of_its_event(
    client: FlaskClient, make: Maker, ticket: Ticket, hours: int | None, told: str
) -> None:
    with make.app.app_context(), transaction() as session:
        session.get_one(Event, ticket.ticket_type.event_id).refund_until_hours = hours
    [(_, words)] = read_pdf(client.get(f"{page_of(make, ticket)}/ticket.pdf").data)
    assert told in words


# ── Anybody with a code ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("end", "status"),
    [(None, "valid"), (use, "used"), (give_back, "void"), (cancel, "event_cancelled"), (reissue, "superseded")],
)
def test_anybody_may_ask_whether_a_code_is_still_good(
    client: FlaskClient, make: Maker, ticket: Ticket, end: Callable[..., None] | None, status: str
) -> None:
    if end:
        end(make, ticket)
    with recorded(make) as statements:
        answer = client.get("/tickets/check", query_string={"code": ticket.code.lower()})
    assert answer.json == {"status": status, "event_title": "Nairobi Jazz Night", "type": "VIP"}
    assert len(statements) == 1


def test_the_question_is_answered_from_an_index(make: Maker, ticket: Ticket) -> None:
    with make.app.app_context(), recorded(make) as statements:
        holders.check_code(ticket.code)
    assert len(statements) == 1
    with make.app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = connection.exec_driver_sql("EXPLAIN SELECT 1 FROM tickets WHERE code = 'x'").scalars().all()
    assert "tickets_code_key" in "\n".join(plan)


@pytest.mark.parametrize("code", ["0000-0000-0000", "x", "'; --", "%", "\u0000", "\uff21\uff22\uff23", "🎷" * 40])
def test_a_code_that_is_no_tickets_is_unknown(client: FlaskClient, make: Maker, ticket: Ticket, code: str) -> None:
    answer = client.get("/tickets/check", query_string={"code": code})
    assert answer.json == {"status": "unknown", "event_title": None, "type": None}


@pytest.mark.parametrize("query", ["", "?code=", "?code=" + "A" * 41, "?code=A&code=B", "?code=A&who=1"])
def test_a_question_without_a_right_code_is_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"/tickets/check{query}").status_code == 422


def test_every_state_of_a_ticket_has_a_standing() -> None:
    assert {one.value for one in TicketStatus} <= {one.value for one in holders.Standing}
