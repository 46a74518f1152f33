"""The files that come with the e-mail of a paid order: tickets to print, and the date."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from flask import Flask
from icalendar import Calendar

import tasks
from models import NotificationState
from services import holders, ticket_keys
from tests.held_tickets import evening, give_back, read_pdf, scan
from tests.mail_server import MailServer, mail_server
from tests.passing_on import Passing
from tests.support import Maker
from tests.test_mail import SEND, states

ENCLOSED = "Attached: "


@pytest.fixture
def server(app: Flask) -> Iterator[MailServer]:
    with mail_server(app) as server:
        yield server


def files_of(server: MailServer, subject: str = "Your") -> dict[str, EmailMessage]:
    [mail] = [one for one in server.received if one.message["Subject"].startswith(subject)]
    files = {str(part.get_filename()): part for part in mail.message.iter_attachments()}
    assert (ENCLOSED in mail.part("plain"), ENCLOSED in mail.part("html")) == (bool(files), bool(files))
    return files


def test_tickets_come_as_a_pdf_with_the_date(app: Flask, make: Maker, server: MailServer) -> None:
    event = evening(make)
    order = make.paid_order(ticket_type=make.ticket_type(event), quantity=2)
    tasks.run_once(app, SEND)

    files = files_of(server)
    assert list(files) == [f"tickets-{order.reference}.pdf", "event.ics"]
    sheets = read_pdf(files[f"tickets-{order.reference}.pdf"].get_payload(decode=True))
    with app.app_context():
        tokens = ticket_keys.make_tokens(make.tickets(), event)
    assert [scan(picture) for picture, _ in sheets] == tokens
    assert [ticket.code in text for ticket, (_, text) in zip(make.tickets(), sheets, strict=True)] == [True, True]

    assert files["event.ics"].get_content_type() == "text/calendar"
    [dated] = Calendar.from_ical(files["event.ics"].get_payload(decode=True)).events
    assert (dated["SUMMARY"], dated.start) == (event.title, event.starts_at)


def test_what_was_passed_on_meanwhile_is_not_sent_to_its_buyer(app: Flask, make: Maker, server: MailServer) -> None:
    passing = Passing(app.test_client(), make, quantity=2)
    now = passing.pass_on(ticket=passing.tickets[0])
    tasks.run_once(app, SEND)
    [mail] = [
        one for one in server.received if one.to == [passing.buyer.email] and "2 tickets" in one.message["Subject"]
    ]
    sheets = [part for part in mail.message.iter_attachments() if str(part.get_filename()).endswith(".pdf")]
    [(_, words)] = read_pdf(sheets[0].get_payload(decode=True))
    assert passing.tickets[1].code in words
    assert now.code not in words
    assert now.code.encode() not in mail.source


def test_what_was_given_back_meanwhile_is_not_sent(app: Flask, make: Maker, server: MailServer) -> None:
    make.paid_order(ticket_type=make.on_sale(), quantity=2)
    give_back(make, make.tickets()[0])
    tasks.run_once(app, SEND)
    [sheet] = read_pdf(next(iter(files_of(server).values())).get_payload(decode=True))
    assert make.tickets()[1].code in sheet[1]

    server.received.clear()
    make.paid_order(ticket_type=make.on_sale())
    give_back(make, make.tickets()[-1])
    tasks.run_once(app, SEND)
    assert files_of(server) == {}


def test_more_tickets_than_go_into_a_file_are_told_by_their_codes(
    app: Flask, make: Maker, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "MOST_SHEETS", 1)
    make.paid_order(ticket_type=make.on_sale(), quantity=2)
    tasks.run_once(app, SEND)
    assert list(files_of(server)) == ["event.ics"]
    assert "Attached: the date for your calendar." in server.received[-1].part("plain")


def test_a_ticket_that_cannot_be_printed_holds_no_message_up(
    app: Flask, make: Maker, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(holders, "print_order", fail)
    make.paid_order(ticket_type=make.on_sale())
    tasks.run_once(app, SEND)
    assert files_of(server) == {}
    assert set(states(make)) == {NotificationState.SENT.value}


def test_other_messages_have_no_files(app: Flask, make: Maker, server: MailServer) -> None:
    event = make.event()
    tasks.run_once(app, SEND)
    assert files_of(server, f"{event.title} is published") == {}
