"""Tickets passed on: offered, accepted by link, and all the ways to cheat with one."""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from werkzeug.test import TestResponse

import tasks
from models import (
    AuditLog,
    Event,
    Notification,
    NotificationChannel,
    NotificationKind,
    NotificationState,
    OrderStatus,
    Transfer,
    User,
)
from services import texts, transfers
from tests.held_tickets import cancel, give_back, read_pdf, scan, use
from tests.mail_server import mail_server
from tests.passing_on import CHANNELS, EMAIL, KAMAU, PHONE, Passing, link_in, take_back
from tests.support import PASSWORD, Maker, changed_settings
from utils import clock, sms, ticket_address
from utils.database import transaction


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


@pytest.fixture
def passing(client: FlaskClient, make: Maker) -> Passing:
    return Passing(client, make)


def change_event(make: Maker, passing: Passing, **facts: Any) -> None:
    with make.app.app_context(), transaction() as session:
        event = session.get_one(Event, passing.event.id)
        for name, value in facts.items():
            setattr(event, name, value)


# ── Offering ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_offer_is_sent_and_changes_nothing(passing: Passing) -> None:
    answer = passing.offer(email="Kamau@Example.co.ke", first_name="Kamau")
    told = {name: answer.json[name] for name in ("status", "email", "phone", "first_name", "last_name", "ended_at")}
    assert answer.status_code == 201
    assert told == {
        "status": "offered",
        "email": EMAIL,
        "phone": None,
        "first_name": "Kamau",
        "last_name": None,
        "ended_at": None,
    }
    [message] = passing.sent(NotificationKind.TRANSFER_OFFERED)
    assert (message.user_id, message.address, message.channel) == (None, EMAIL, NotificationChannel.EMAIL)
    assert passing.now().rotation == 1
    assert passing.as_buyer(f"/tickets/{passing.ticket.code}").json["status"] == "valid"
    assert passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer").json == answer.json
    assert passing.scan(code=passing.ticket.code)["result"] == "ok"


def test_a_number_gets_one_text_message_with_the_whole_link(app: Flask, passing: Passing) -> None:
    passing.offer(phone="0711 222 333")
    [message] = passing.sent(NotificationKind.TRANSFER_OFFERED)
    assert (message.address, message.channel) == (PHONE, NotificationChannel.SMS)
    with changed_settings(app, PUBLIC_URL="https://api.ticksy.co.ke"), app.app_context():
        words = texts.write_text(message)
    assert words.startswith("Ticksy: Akinyi Oduor gives you a ticket, Nairobi")
    assert re.search(r"Accept it: https://api\.ticksy\.co\.ke/transfers/[A-Za-z0-9_.-]+$", words)
    assert sms.length(words) <= sms.LIMIT
    assert passing.accept().status_code == 200


def test_nothing_in_the_database_opens_an_offer(make: Maker, passing: Passing) -> None:
    passing.offer()
    secret = passing.link().rsplit("/", 1)[1]
    kept = [str(vars(row)) for kind in (Notification, Transfer, AuditLog) for row in make.rows(kind)]
    assert not any(secret in row or secret.rsplit(".", 1)[1] in row for row in kept)


@pytest.mark.parametrize(
    ("to", "status"),
    [
        ({"email": EMAIL, "phone": PHONE}, 422),
        ({"email": ""}, 422),
        ({"phone": "12345"}, 422),
        ({"email": "x"}, 422),
        ({"first_name": "Kamau"}, 422),
    ],
)
def test_an_offer_goes_to_one_address(make: Maker, passing: Passing, to: dict[str, str], status: int) -> None:
    assert passing.offer(**to).status_code == status
    assert make.rows(Transfer) == []


@pytest.mark.parametrize(("to", "missing"), [({"email": EMAIL}, "MAIL_URL"), ({"phone": PHONE}, "SMS_URL")])
def test_what_nobody_would_carry_is_not_offered(
    app: Flask, make: Maker, passing: Passing, to: dict[str, str], missing: str
) -> None:
    with changed_settings(app, **{missing: ""}):
        answer = passing.offer(**to)
    assert (answer.status_code, answer.json["code"]) == (409, "channel_off")
    assert make.rows(Transfer) == []


def test_a_ticket_is_on_one_way_at_a_time_and_can_be_taken_back(passing: Passing) -> None:
    passing.offer()
    link = passing.link()
    assert passing.offer(phone=PHONE).json["code"] == "offer_open"
    assert passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer", "DELETE").json["status"] == "withdrawn"
    assert passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer").json["code"] == "no_offer"
    assert passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer", "DELETE").status_code == 404
    answer = passing.accept(link)
    assert (answer.status_code, answer.json["code"]) == (409, "offer_withdrawn")
    assert passing.offer(phone=PHONE).status_code == 201
    assert passing.accept(link).json["code"] == "offer_withdrawn"
    assert passing.now().rotation == 1


def test_an_offer_that_was_taken_back_is_not_sent_any_more(app: Flask, passing: Passing, make: Maker) -> None:
    with mail_server(app) as server:
        passing.offer()
        passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer", "DELETE")
        tasks.run_once(app, next(task for task in tasks.TASKS if task.name == "send e-mails"))
        assert EMAIL not in [to for one in server.received for to in one.to]
    [message] = passing.sent(NotificationKind.TRANSFER_OFFERED)
    assert (message.state, message.error) == (NotificationState.DROPPED, "the ticket is no longer offered")


def test_strangers_are_written_to_only_so_often(passing: Passing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "MOST_OFFERS", 2)
    for _ in range(2):
        assert passing.offer().status_code == 201
        passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer", "DELETE")
    assert passing.offer().json["code"] == "too_many_offers"


def close(make: Maker, passing: Passing) -> None:
    change_event(make, passing, transfer_until_hours=24 * 7 + 1)


def forbid(make: Maker, passing: Passing) -> None:
    change_event(make, passing, transfer_until_hours=None)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda make, passing: use(make, passing.ticket), "ticket_used"),
        (lambda make, passing: give_back(make, passing.ticket), "ticket_void"),
        (lambda make, passing: cancel(make, passing.ticket), "event_cancelled"),
        (close, "transfers_closed"),
        (forbid, "transfers_closed"),
    ],
)
def test_what_cannot_be_passed_on_is_neither_offered_nor_accepted(
    make: Maker, passing: Passing, end: Callable[[Maker, Passing], None], code: str
) -> None:
    passing.offer()
    link = passing.link()
    end(make, passing)
    for answer in (passing.accept(link), passing.client.post(link, data=KAMAU)):
        assert answer.status_code == 409
    assert passing.accept(link).json["code"] == code
    assert passing.client.get(f"{link}/acceptance").json["status"] == code
    assert passing.client.get(link).status_code == 200
    assert "<form" not in passing.client.get(link).text
    passing.as_buyer(f"/tickets/{passing.ticket.code}/transfer", "DELETE")
    assert passing.offer().json["code"] == code
    assert (passing.now().rotation, passing.now().holder_id) == (1, passing.buyer.id)


def test_tickets_are_passed_on_until_the_deadline_of_their_event(passing: Passing) -> None:
    passing.offer()
    with clock.set_to(passing.event.starts_at):
        assert passing.accept().json["code"] == "transfers_closed"
    with clock.set_to(passing.event.starts_at - timedelta(seconds=1)):
        assert passing.accept().status_code == 200


def test_an_organizer_chooses_the_deadline_and_makes_it_no_harder_for_who_bought(passing: Passing, make: Maker) -> None:
    path, headers = f"/events/{passing.event.id}", make.headers(passing.organizer)
    assert passing.client.get(path, headers=headers).json["transfer_until_hours"] == 0
    for hours in (48, None):
        answer = passing.client.put(path, json={"transfer_until_hours": hours}, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (409, "transfer_policy_fixed")
    fresh = f"/events/{make.event(passing.organizer).id}"
    for hours in (48, None, 2):
        answer = passing.client.put(fresh, json={"transfer_until_hours": hours}, headers=headers)
        assert (answer.json["transfer_until_hours"], answer.json["status"]) == (hours, "approved")


# ── Accepting ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_accepting_ends_all_that_the_sender_has(passing: Passing) -> None:
    before = passing.as_buyer(f"/tickets/{passing.ticket.code}").json
    old_page, old_code = urlsplit(before["links"]["page"]).path, passing.ticket.code
    passing.offer()
    got = passing.accept().json
    now = passing.now()
    assert (got["ticket_code"], got["attendee_first_name"], got["status"]) == (now.code, "Kamau", "valid")
    assert got["order_id"] is None
    assert now.code != old_code
    assert (now.rotation, now.holder_id, now.email, now.phone) == (2, None, EMAIL, "")
    # What the seller can show: the QR code, a picture of it, the code, the page.
    assert passing.scan(token=before["token"])["result"] == "superseded"
    assert passing.scan(code=old_code.lower())["result"] == "superseded"
    assert passing.check(old_code) == "superseded"
    assert "Replaced" in passing.client.get(old_page).text
    assert passing.client.get(f"{old_page}/ticket.pdf").json["code"] == "ticket_superseded"
    assert passing.check(now.code) == "valid"
    # Superseded scans keep nobody out.
    assert passing.scan(token=got["token"])["result"] == "ok"
    assert passing.scan(code=now.code)["result"] == "already_in"


def test_the_sender_sees_nothing_of_the_new_ticket_anywhere(client: FlaskClient, make: Maker) -> None:
    passing = Passing(client, make, quantity=2)
    kept, gone = passing.tickets
    now = passing.pass_on(ticket=gone)
    for path in (
        *("/my-tickets", "/orders", f"/orders/{passing.order.id}", "/profile/my-upcoming-events"),
        *(f"/profile/my-upcoming-events/{passing.event.id}", f"/tickets/{kept.code}"),
    ):
        told = passing.as_buyer(path).text
        assert passing.page(gone) not in told, path
        for hidden in (now.code, "Kamau", "Njoroge", EMAIL):
            assert hidden not in told, path
    for path in (f"/tickets/{gone.code}", f"/tickets/{now.code}", f"/tickets/{now.code}/ticket.pdf"):
        assert passing.as_buyer(path).status_code == 404
    for method, below in (("POST", "reissue"), ("POST", "refund-agreement"), ("DELETE", "transfer")):
        assert passing.as_buyer(f"/tickets/{now.code}/{below}", method).status_code == 404
    [mine] = passing.as_buyer("/my-tickets").json
    assert mine["id"] == kept.id
    [_, sold] = passing.as_buyer(f"/orders/{passing.order.id}").json["tickets"]
    assert (sold["status"], sold["ticket_code"], sold["attendee_email"]) == ("passed_on", None, None)
    [(picture, words)] = read_pdf(passing.as_buyer(f"/orders/{passing.order.id}/tickets.pdf").data)
    assert kept.code in words
    assert passing.scan(token=scan(picture))["ticket_id"] == kept.id


def test_an_order_all_of_which_was_passed_on_has_no_file_and_no_event(passing: Passing) -> None:
    passing.pass_on()
    answer = passing.as_buyer(f"/orders/{passing.order.id}/tickets.pdf")
    assert (answer.status_code, answer.json["code"]) == (409, "passed_on")
    assert passing.as_buyer("/profile/my-upcoming-events").json == []
    url = passing.as_buyer("/profile/me/calendar").json["url"]
    assert "BEGIN:VEVENT" not in passing.client.get(urlsplit(url).path).text


def test_the_receiver_has_page_and_sheet_without_an_account(passing: Passing) -> None:
    passing.offer(phone=PHONE)
    assert passing.accept().status_code == 200
    [message] = passing.sent(NotificationKind.TICKET_RECEIVED)
    assert (message.user_id, message.address) == (None, PHONE)
    page = link_in(message, passing.make)
    shown = passing.client.get(page).text
    assert "Kamau Njoroge" in shown
    assert "Valid" in shown
    answer = passing.client.get(f"{page}/ticket.pdf")
    [(picture, words)] = read_pdf(answer.data)
    assert passing.order.reference not in words
    assert passing.scan(token=scan(picture))["result"] == "ok"
    [sender] = passing.sent(NotificationKind.TRANSFER_ACCEPTED)
    assert (sender.user_id, sender.facts["receiver"]) == (passing.buyer.id, "Kamau Njoroge")


def test_who_is_logged_in_has_the_ticket_in_the_account(passing: Passing, make: Maker) -> None:
    receiver = make.attendee(first_name="Kamau", last_name="Njoroge")
    passing.offer()
    assert (
        passing.client.post(f"{passing.link()}/acceptance", json={}, headers=make.headers(receiver)).status_code == 200
    )  # named by the account
    headers = make.headers(receiver)
    [mine] = passing.client.get("/my-tickets", headers=headers).json
    assert (mine["attendee_first_name"], mine["attendee_email"], mine["attendee_phone"]) == (
        "Kamau",
        EMAIL,
        receiver.phone,
    )
    assert (mine["order_id"], mine["mpesa_receipt"], mine["received_at"] is None) == (None, None, False)
    assert passing.client.get(urlsplit(mine["page_url"]).path).status_code == 200
    [event] = passing.client.get("/profile/my-upcoming-events", headers=headers).json
    seen = passing.client.get(f"/profile/my-upcoming-events/{event['id']}", headers=headers).json
    assert [one["id"] for one in seen["tickets"]] == [mine["ticket_code"]]
    assert (seen["order"]["order_id"], seen["order"]["mpesa_receipt"], seen["total_amount"]) == (None, None, 0)
    url = passing.client.get("/profile/me/calendar", headers=headers).json["url"]
    assert "Nairobi Jazz Night" in passing.client.get(urlsplit(url).path).text
    assert passing.sent(NotificationKind.TICKET_RECEIVED)[0].user_id == receiver.id
    with clock.set_to(passing.event.starts_at):
        review = {"rating": 5}
        path = f"/events/{passing.event.id}/reviews"
        assert passing.client.post(path, json=review, headers=headers).status_code == 201
        assert passing.client.post(path, json=review, headers=make.headers(passing.buyer)).json["code"] == "no_ticket"


def test_looking_at_the_link_accepts_nothing(passing: Passing) -> None:
    passing.offer(email=EMAIL, first_name="Kamau")
    link = passing.link()
    for _ in range(3):
        shown = passing.client.get(link)
        assert passing.client.head(link).status_code == shown.status_code == 200
    for said in ("Akinyi Oduor", "Nairobi Jazz Night", "VIP", 'value="Kamau"', "Accept the ticket"):
        assert said in shown.text
    assert passing.ticket.code not in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    policy = shown.headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy
    assert "default-src 'none'" in policy
    assert passing.client.get(f"{link}/acceptance").json["status"] == "open"
    assert passing.now().rotation == 1


def test_the_button_of_the_page_accepts_once(passing: Passing) -> None:
    passing.offer()
    link = passing.link()
    nameless = passing.client.post(link, data={"first_name": "Kamau", "last_name": " "})
    assert (nameless.status_code, passing.now().rotation) == (422, 1)
    assert "your last name" in nameless.text
    done = passing.client.post(link, data=KAMAU)
    assert done.status_code == 200
    [opened] = re.findall(r'href="(http[^"]+)">Open my ticket', done.text)
    assert urlsplit(opened).path == passing.page()
    again = passing.client.post(link, data={"first_name": "Mwizi", "last_name": "Mwizi"})
    assert again.status_code == 409
    assert "the link works once" in again.text
    assert passing.page() not in again.text
    assert passing.page() not in passing.client.get(link).text
    assert (passing.now().first_name, passing.now().rotation) == ("Kamau", 2)


def test_what_people_write_is_text_on_the_page(client: FlaskClient, make: Maker) -> None:
    nasty = '"><script>alert(1)</script>{{ 7*7 }}'
    passing = Passing(client, make, title=nasty, location=nasty)
    passing.offer(email=EMAIL, first_name=nasty)
    assert "<script" not in client.get(passing.link()).text


@pytest.mark.parametrize("below", ["", "/acceptance"])
def test_an_address_that_was_not_made_here_accepts_nothing(passing: Passing, below: str) -> None:
    passing.offer()
    link = passing.link()
    with passing.make.app.app_context():
        nobodys = f"/transfers/{ticket_address.make_offer(999)}"
        page = f"/transfers/{ticket_address.make(passing.ticket.id, 1)}"
    for path in (link[:-1], link + "A", nobodys, page):
        for answer in (passing.client.get(path + below), passing.client.post(path + below, json=KAMAU)):
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), path


# ── Cheating ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stranger_who_registers_the_receivers_number_gets_nothing(passing: Passing, make: Maker) -> None:
    passing.offer(phone=PHONE)
    link = passing.link()
    stranger = make.attendee(phone=PHONE, email=EMAIL)
    headers = make.headers(stranger)
    assert passing.client.get("/my-tickets", headers=headers).json == []
    for path in ("", "/transfer", "/qr.png"):
        assert passing.client.get(f"/tickets/{passing.ticket.code}{path}", headers=headers).status_code == 404
    assert passing.accept(link).status_code == 200
    assert passing.client.get("/my-tickets", headers=headers).json == []
    assert passing.client.get(f"/tickets/{passing.now().code}", headers=headers).status_code == 404


def test_a_ticket_goes_through_few_hands_and_each_is_remembered(passing: Passing, make: Maker) -> None:
    holders, codes = [passing.buyer, *(make.attendee(first_name=name) for name in ("Ann", "Ben", "Cyd"))], []
    for sender, receiver in itertools.pairwise(holders):
        now = passing.now()
        codes.append(now.code)
        assert passing.offer(now, by=sender).status_code == 201
        assert passing.accept(by=receiver, first_name=receiver.first_name, last_name="Otieno").status_code == 200
    now = passing.now()
    answer = passing.offer(now, by=holders[-1])
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_transfers")
    assert [passing.check(code) for code in codes] == ["superseded"] * 3
    assert [passing.scan(code=code)["result"] for code in [*codes, now.code]] == ["superseded"] * 3 + ["ok"]
    path = f"/organizer/events/{passing.event.id}/transfers"
    chain = passing.client.get(path, headers=make.headers(passing.organizer)).json
    assert [(one["receiver"], one["status"], one["channel"]) for one in chain] == [
        ("Cyd Otieno", "accepted", "email"),
        ("Ben Otieno", "accepted", "email"),
        ("Ann Otieno", "accepted", "email"),
    ]
    assert EMAIL not in str(chain)
    actions = [line.action for line in make.rows(AuditLog) if line.target_type == "ticket"]
    assert actions == ["ticket_offered", "ticket_passed_on"] * 3


def test_the_seller_cannot_have_the_money_back_after_the_sale(passing: Passing, make: Maker) -> None:
    now = passing.pass_on()
    path = f"/orders/{passing.order.id}/refund"
    for user in (passing.organizer, make.admin()):
        for body in ({}, {"tickets": [now.id]}):
            answer = passing.client.post(path, json=body, headers=make.headers(user))
            assert (answer.status_code, answer.json["code"]) == (409, "passed_on")
    assert passing.client.post(path, json={}, headers=make.headers(passing.buyer)).status_code == 403
    assert make.status(passing.order.id) is OrderStatus.PAID
    assert passing.scan(code=now.code)["result"] == "ok"


def test_other_tickets_of_the_order_are_refunded(client: FlaskClient, make: Maker) -> None:
    passing = Passing(client, make, quantity=2)
    kept, gone = passing.tickets
    passing.pass_on(ticket=gone)
    answer = client.post(
        f"/orders/{passing.order.id}/refund", json={"tickets": [kept.id]}, headers=make.headers(passing.organizer)
    )
    assert (answer.status_code, answer.json["status"]) == (200, "partly_refunded")
    assert [passing.check(passing.now(one).code) for one in passing.tickets] == ["void", "valid"]


def test_the_present_holder_may_agree_and_then_both_codes_are_dead(passing: Passing, make: Maker) -> None:
    receiver, old = make.attendee(), passing.ticket.code
    now = passing.pass_on(by=receiver)
    path, headers = f"/tickets/{now.code}/refund-agreement", make.headers(receiver)

    def refund() -> TestResponse:
        organizer = make.headers(passing.organizer)
        return passing.client.post(f"/orders/{passing.order.id}/refund", json={}, headers=organizer)

    assert passing.as_buyer(path, "POST").status_code == 404
    assert passing.client.post(path, headers=headers).json["refund_agreed_at"] is not None
    assert passing.client.delete(path, headers=headers).json["refund_agreed_at"] is None
    assert refund().json["code"] == "passed_on"
    passing.client.post(path, headers=headers)
    assert refund().json["status"] == "refund_due"
    assert (passing.check(old), passing.check(now.code)) == ("superseded", "void")
    assert passing.scan(code=now.code)["result"] == "refunded"
    assert passing.client.post(path, headers=headers).json["code"] == "ticket_void"


def test_an_agreement_is_its_holders_and_not_the_next_ones(passing: Passing, make: Maker) -> None:
    first = make.attendee()
    now = passing.pass_on(by=first)
    passing.client.post(f"/tickets/{now.code}/refund-agreement", headers=make.headers(first))
    passing.offer(now, by=first)
    passing.accept()
    assert passing.now().refund_agreed_at is None


def test_a_ticket_that_came_back_to_its_buyer_is_refunded_as_ever(passing: Passing, make: Maker) -> None:
    receiver = make.attendee()
    now = passing.pass_on(by=receiver)
    passing.offer(now, by=receiver, email=passing.buyer.email)
    assert passing.accept(by=passing.buyer).json["order_id"] == passing.order.reference
    assert passing.as_buyer(f"/tickets/{passing.now().code}/refund-agreement", "POST").json["code"] == "not_passed_on"
    give_back(make, passing.ticket)
    assert passing.check(passing.now().code) == "void"


def test_a_cancelled_event_refunds_and_tells_buyer_and_holder(passing: Passing, app: Flask, make: Maker) -> None:
    now = passing.pass_on(phone=PHONE)
    cancel(make, passing.order.tickets[0])
    told = {(one.user_id, one.address) for one in passing.sent(NotificationKind.EVENT_CANCELLED)}
    assert told == {
        (passing.buyer.id, passing.buyer.email),
        (passing.buyer.id, passing.buyer.phone),
        (None, PHONE),
    }
    tasks.run_once(app, next(task for task in tasks.TASKS if "cancelled" in task.name))
    assert make.status(passing.order.id) is OrderStatus.REFUND_DUE
    assert passing.check(now.code) == "void"
    assert passing.check(passing.ticket.code) == "superseded"


def test_m_pesa_taking_the_money_back_ends_both(passing: Passing) -> None:
    now = passing.pass_on()
    take_back(passing)
    assert (passing.check(passing.ticket.code), passing.check(now.code)) == ("superseded", "void")
    assert passing.scan(code=now.code)["result"] == "void"
    assert passing.scan(code=passing.ticket.code)["result"] == "superseded"


# ── Whoever holds it ──────────────────────────────────────────────────────────────────────────────────────────────


def test_organizers_see_who_holds_it_now(passing: Passing, make: Maker) -> None:
    now = passing.pass_on()
    headers = make.headers(passing.organizer)
    [row] = passing.client.get(f"/organizer/events/{passing.event.id}/attendees", headers=headers).json["attendees"]
    assert (row["ticket_code"], row["attendee_first_name"], row["attendee_email"], row["attendee_phone"]) == (
        now.code,
        "Kamau",
        EMAIL,
        "",
    )
    exported = passing.client.get(f"/events/{passing.event.id}/attendees/export?format=csv", headers=headers).text
    assert "Njoroge" in exported
    assert "Akinyi" not in exported


def test_a_change_of_the_event_is_told_to_holders_alone(passing: Passing, make: Maker) -> None:
    passing.pass_on(phone=PHONE)
    path, headers = f"/events/{passing.event.id}", make.headers(passing.organizer)
    passing.client.put(path, json={"location": "KICC {0}, Nairobi"}, headers=headers)
    [message] = passing.sent(NotificationKind.EVENT_CHANGED)
    assert (message.user_id, message.address, message.channel) == (None, PHONE, NotificationChannel.SMS)
    with make.app.app_context():
        assert "has changed. It is now on" in texts.write_text(message)


def test_reminders_go_to_accounts_that_hold_a_ticket(passing: Passing, app: Flask, make: Maker) -> None:
    receiver = make.attendee()
    passing.pass_on(by=receiver)
    with clock.set_to(passing.event.starts_at - timedelta(hours=23)):
        tasks.run_once(app, next(task for task in tasks.TASKS if task.name == "remind ticket holders"))
    assert [one.user_id for one in passing.sent(NotificationKind.EVENT_REMINDER)] == [receiver.id]


def test_devices_learn_of_the_old_code(passing: Passing, make: Maker) -> None:
    headers = make.headers(passing.organizer)

    def read(**query: str) -> Any:
        query["event_id"] = str(passing.event.id)
        return passing.client.get("/checkin/manifest", query_string=query, headers=headers).json

    before = read()
    [old] = before["tickets"]
    assert before["superseded"] == []
    passing.pass_on()
    changed = read(since=before["cursor"])
    [new] = changed["tickets"]
    assert (new[:3], new[4] == old[4]) == ([passing.ticket.id, 2, "valid"], False)
    assert changed["superseded"] == [[passing.ticket.id, old[4]]]


def test_two_offers_of_one_ticket_cannot_both_be_open(passing: Passing, make: Maker) -> None:
    """The database says so as well."""
    passing.offer()
    row = {"ticket_id": passing.ticket.id, "from_name": "", "from_email": "", "from_phone": "", "to_email": "x"}
    with make.app.app_context(), pytest.raises(IntegrityError, match="one_offer_of_a_ticket"), transaction() as session:
        session.execute(insert(Transfer).values(row))
    assert len(make.rows(Transfer)) == 1


# ── Accounts that go ──────────────────────────────────────────────────────────────────────────────────────────────


def leave(passing: Passing, user: User, **body: Any) -> TestResponse:
    headers = passing.make.headers(user)
    return passing.client.delete("/profile/me", json={"password": PASSWORD} | body, headers=headers)


def test_what_a_seller_is_given_of_their_data_has_nothing_of_the_new_ticket(passing: Passing, make: Maker) -> None:
    receiver = make.attendee(first_name="Kamau", last_name="Njoroge")
    now = passing.pass_on(by=receiver)
    for user, code, other in ((passing.buyer, None, receiver), (receiver, now.code, passing.buyer)):
        with passing.client.get("/profile/me/export", headers=make.headers(user)) as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.data))
        files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert [one["code"] for one in json.loads(files["tickets.json"])] == ([code] if code else [])
        assert (now.code in "".join(files.values())) is (code is not None)
        assert other.email not in "".join(files.values())
        assert len(json.loads(files["tickets_passed_on.json"])) == (user is passing.buyer)
        assert len(json.loads(files["tickets_received.json"])) == (user is receiver)


def test_a_seller_who_deletes_the_account_leaves_the_receiver_alone(passing: Passing, make: Maker) -> None:
    now = passing.pass_on()
    assert leave(passing, passing.buyer).status_code == 200  # they hold no ticket any more
    [transfer] = make.rows(Transfer)
    assert (transfer.from_name, transfer.from_email, transfer.to_email) == ("Deleted account", "deleted", EMAIL)
    with clock.set_to(clock.ahead(days=60)):
        tasks.run_once(passing.make.app, next(task for task in tasks.TASKS if "deleted accounts" in task.name))
    assert (passing.now().first_name, passing.check(now.code)) == ("Kamau", "valid")


def test_a_receiver_who_deletes_the_account_is_forgotten_at_last(passing: Passing, make: Maker) -> None:
    receiver = make.attendee()
    passing.pass_on(by=receiver)
    assert leave(passing, receiver).json["code"] == "tickets_ahead"
    assert leave(passing, receiver, force=True).status_code == 200
    [transfer] = make.rows(Transfer)
    assert (transfer.first_name, transfer.to_email, transfer.from_name) == ("Deleted", "deleted", "Akinyi Oduor")
    answer = passing.client.post(
        f"/organizer/tickets/{passing.ticket.id}/reissue", headers=make.headers(passing.organizer)
    )
    assert answer.json["code"] == "channel_off"
    with clock.set_to(clock.ahead(days=60)):
        tasks.run_once(passing.make.app, next(task for task in tasks.TASKS if "deleted accounts" in task.name))
    assert (passing.now().first_name, passing.now().email) == ("Deleted", "deleted")
