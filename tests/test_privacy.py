"""What Ticksy knows of a person, for that person; and what is left when they go."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from werkzeug.test import TestResponse

import tasks
from models import (
    AuditLog,
    Consent,
    Event,
    EventStatus,
    MpesaMessage,
    Notification,
    OneTimeToken,
    Order,
    Payment,
    Review,
    SavedEvent,
    Session,
    Ticket,
    TokenPurpose,
    User,
)
from services import consents, events, privacy, refunds, reviews, saved_events
from tests.support import PASSWORD, Maker, changed_settings, mailed_secret, new_receipt, success
from tests.test_two_factor import set_up
from utils import blanking, clock
from utils.database import db, transaction

BLANK, FORGET = (
    next(task for task in tasks.TASKS if task.name == name)
    for name in ("take people out of old messages", "forget orders of deleted accounts")
)
PHONE = "254711222333"


def leave(client: FlaskClient, make: Maker, user: User, **body: Any) -> TestResponse:
    return client.delete("/profile/me", json={"password": PASSWORD} | body, headers=make.headers(user))


def past_event(make: Maker, *, days: int) -> Event:
    return make.event(starts_at=clock.ago(days=days), ends_at=clock.ago(days=days) + timedelta(hours=4))


def bought(make: Maker, buyer: User, *, days_ago: int) -> Order:
    """An order that was paid a month before its event, which was so many days ago."""
    event = past_event(make, days=days_ago)
    with clock.set_to(event.starts_at - timedelta(days=29)):
        return make.paid_order(buyer, make.ticket_type(event))


def everywhere(make: Maker, word: str) -> list[str]:
    """The tables that have the word anywhere, but for what Safaricom said."""
    with make.app.app_context(), transaction() as session:
        tables = session.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'mpesa_messages'")
        ).all()
        counted = {
            table: session.scalar(
                text(f'SELECT count(*) FROM "{table}" AS one WHERE one::text ILIKE :word'), {"word": f"%{word}%"}
            )
            for table in tables
        }
    return sorted(table for table, count in counted.items() if count)


# ── The export ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_export_has_all_of_ones_own_and_nobody_elses(client: FlaskClient, make: Maker) -> None:
    buyer, other = make.attendee(first_name="Wanjiku"), make.attendee(first_name="Otieno")
    ticket_type = make.on_sale()
    mine, _theirs = make.paid_order(buyer, ticket_type), make.paid_order(other, ticket_type)
    with make.app.app_context():
        saved_events.save_event(actor=buyer, event_id=ticket_type.event_id)
    answer = client.get("/profile/me/export", headers=make.headers(buyer))
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.headers["Cache-Control"] == "no-store"
    assert f'filename="ticksy-{buyer.id}.zip"' in answer.headers["Content-Disposition"]

    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    answer.close()
    files = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert [one["email"] for one in files["account.json"]] == [buyer.email]
    assert [one["reference"] for one in files["orders.json"]] == [mine.reference]
    assert [one["receipt"] for one in files["payments.json"]] == [mine.receipt]
    assert [one["code"] for one in files["tickets.json"]] == [make.tickets()[0].code]
    assert [one["event_id"] for one in files["saved_events.json"]] == [ticket_type.event_id]
    assert files["reviews.json"] == []
    assert [one["purpose"] for one in files["consents.json"]] == [consents.TERMS]
    assert "account_created" in [one["action"] for one in files["what_i_did.json"]]
    assert files["orders.json"][0]["created_at"].endswith("+03:00")

    whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    for secret in (buyer.password_hash, mine.poll_id, other.email, other.phone, "Otieno"):
        assert secret not in whole
    assert "data_exported" in [line.action for line in make.rows(AuditLog)]


def test_an_organizer_gets_their_events_and_no_buyers(client: FlaskClient, make: Maker) -> None:
    organizer, buyer = make.organizer(), make.attendee(first_name="Otieno")
    make.paid_order(buyer, make.ticket_type(make.event(organizer)))
    with client.get("/profile/me/export", headers=make.headers(organizer)) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert [one["title"] for one in json.loads(archive.read("my_events.json"))] == ["Nairobi Jazz Night"]
    assert [one["name"] for one in json.loads(archive.read("my_ticket_types.json"))] == ["Regular"]
    assert "Otieno" not in "".join(archive.read(name).decode() for name in archive.namelist())


def test_every_table_of_people_is_in_the_export_or_left_out_on_purpose(app: Flask) -> None:
    with app.app_context():
        exported = {
            str(table.name) for query in privacy._files(User(id=1)).values() for table in query.get_final_froms()
        }
        about_people = {
            table.name
            for table in db.metadatas[None].tables.values()
            if any(key.column.table.name == "users" for key in table.foreign_keys)
        }
    # What a person did for others, or repeats what is there.
    assert about_people - exported == {"gate_passes", "idempotency_keys", "scans"}


# ── Going ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_goes_leaves_the_books_without_a_person(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee(first_name="Wanjiku", last_name="Kamau", email="wanjiku@example.co.ke", phone=PHONE)
    order = bought(make, buyer, days_ago=40)
    with make.app.app_context():
        reviews.write_review(actor=buyer, event_id=order.event_id, rating=5, comment="Wanjiku was here")
        saved_events.save_event(actor=buyer, event_id=order.event_id)
    headers = make.headers(buyer)

    answer = leave(client, make, buyer)
    assert (answer.status_code, answer.json) == (200, {"message": "Your account has been deleted."})
    for word in ("Wanjiku", "Kamau", PHONE):
        assert everywhere(make, word) == [], word
    assert (make.rows(Review), make.rows(SavedEvent), make.rows(Notification)) == ([], [], [])
    logged = [*make.rows(AuditLog), *make.rows(Consent)]
    assert {one.ip_address for one in logged if one.user_id == buyer.id} == {None}
    kept = make.read_order(order.id)
    assert (kept.status, kept.total_kes, kept.receipt) == (order.status, order.total_kes, order.receipt)
    assert [ticket.code for ticket in make.tickets()] == [ticket.code for ticket in kept.tickets]

    assert client.get("/profile/me", headers=headers).status_code == 401
    login = client.post("/login", json={"email": "wanjiku@example.co.ke", "password": PASSWORD})
    assert (login.status_code, login.json["code"]) == (401, "wrong_credentials")
    again = {"first_name": "Wanjiku", "last_name": "Kamau", "email": "wanjiku@example.co.ke", "phone": PHONE}
    assert client.post("/signup", json=again | {"password": PASSWORD}).status_code == 201


def test_deleting_needs_the_code_as_well_and_ends_all_that_logs_one_in(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    phone = set_up(client, headers)
    mailed_secret(make.app, user, TokenPurpose.RESET_PASSWORD)
    assert leave(client, make, user).json["code"] == "wrong_password"
    assert leave(client, make, user, code=phone.code()).status_code == 200
    assert client.get("/profile/me", headers=headers).status_code == 401
    assert (make.rows(Session), make.rows(OneTimeToken)) == ([], [])


def test_a_wrong_password_deletes_nothing(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    answer = leave(client, make, user, password="maziwa-lala-2027")
    assert (answer.status_code, answer.json["code"]) == (403, "wrong_password")
    assert client.get("/profile/me", headers=make.headers(user)).json["email"] == user.email


def test_numbers_stay_until_the_money_cannot_have_to_go_back_any_more(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    buyer = make.attendee(phone=PHONE)
    order = bought(make, buyer, days_ago=10)
    assert leave(client, make, buyer).status_code == 200
    assert make.read_order(order.id).phone == PHONE
    tasks.run_once(app, FORGET)
    assert make.read_order(order.id).phone == PHONE
    with clock.set_to(clock.ahead(days=21)):
        tasks.run_once(app, FORGET)
        assert tasks.run_once(app, FORGET) == 0
    assert everywhere(make, PHONE) == []
    assert {payment.phone for payment in make.rows(Payment)} == {"deleted"}
    assert {ticket.first_name for ticket in make.rows(Ticket)} == {"Deleted"}


def test_others_are_left_alone(app: Flask, client: FlaskClient, make: Maker) -> None:
    stays = bought(make, make.attendee(phone=PHONE), days_ago=400)
    assert leave(client, make, make.attendee()).status_code == 200
    tasks.run_once(app, FORGET)
    assert make.read_order(stays.id).phone == PHONE
    assert [ticket.first_name for ticket in make.tickets()] == ["Njeri"]


def test_who_holds_tickets_is_asked_twice_and_the_tickets_stay_good(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee(phone=PHONE)
    order = make.paid_order(buyer)
    refused = leave(client, make, buyer)
    assert (refused.status_code, refused.json["code"]) == (409, "tickets_ahead")
    assert leave(client, make, buyer, force=True).status_code == 200
    [ticket] = make.tickets()
    assert client.get(f"/tickets/check?code={ticket.code}").json["status"] == "valid"
    # If the event is called off, the money finds its way back.
    event = make.rows(Event)[0]
    with make.app.app_context():
        events.cancel_event(actor=make.admin(), event_id=event.id)
        refunds.refund_cancelled_events()
    assert make.read_order(order.id).refunds[0].amount_kes == order.total_kes
    assert make.rows(Notification) == []


def test_money_under_way_comes_first(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    order, token = make.order(buyer)
    for _ in range(2):
        refused = leave(client, make, buyer, force=True)
        assert (refused.status_code, refused.json["code"]) == (409, "money_under_way")
    make.deliver(token, success(order.total_kes, new_receipt()))
    with make.app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
    assert leave(client, make, buyer, force=True).json["code"] == "money_under_way"


def test_a_refund_that_is_still_to_be_made_counts_too(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    order = make.paid_order(buyer)
    with make.app.app_context(), transaction() as session:
        # As it is between the organizer's word and the worker's first look.
        session.get_one(Event, order.event_id).status = EventStatus.CANCELLED
    assert leave(client, make, buyer, force=True).json["code"] == "money_under_way"


def test_an_organizer_does_not_leave_ticket_holders_alone(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    ticket_type = make.ticket_type(make.event(organizer), price=0)
    make.order(ticket_type=ticket_type)
    refused = leave(client, make, organizer, force=True)
    assert (refused.status_code, refused.json["code"]) == (409, "events_ahead")
    with clock.set_to(clock.ahead(days=8)):
        assert leave(client, make, organizer).status_code == 200


def test_the_last_admin_stays(client: FlaskClient, make: Maker) -> None:
    only = make.admin()
    assert leave(client, make, only).json["code"] == "last_admin"
    other = make.admin()
    assert leave(client, make, only).status_code == 200
    assert leave(client, make, other).json["code"] == "last_admin"


def test_a_deleted_account_stays_deleted(client: FlaskClient, make: Maker) -> None:
    user, admin = make.attendee(), make.admin()
    leave(client, make, user)
    for change in ({"status": "active"}, {"status": "banned"}):
        answer = client.patch(f"/admin/users/{user.id}/status", json=change, headers=make.headers(admin))
        assert (answer.status_code, answer.json["code"]) == (409, "account_deleted")
    answer = client.patch(f"/admin/users/{user.id}/role", json={"role": "admin"}, headers=make.headers(admin))
    assert answer.json["code"] == "account_deleted"
    listed = client.get("/admin/users?status=deleted", headers=make.headers(admin)).json
    assert [(one["first_name"], one["email"]) for one in listed] == [("Deleted", f"deleted-{user.id}@deleted.invalid")]


def test_only_a_deleted_account_has_no_number(make: Maker) -> None:
    user = make.attendee()
    with pytest.raises(IntegrityError), make.app.app_context(), transaction() as session:
        session.get_one(User, user.id).phone = "deleted-1"


# ── What was agreed to ────────────────────────────────────────────────────────────────────────────────────────────


def test_each_choice_is_a_line(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    for wanted in (False, False, True):
        client.put("/profile/me/notifications", json={"event_reminder": wanted}, headers=headers)
    told = client.get("/profile/me/consents", headers=headers).json
    assert [(one["purpose"], one["is_given"]) for one in told] == [
        ("event_reminder", True),
        ("event_reminder", False),
        (consents.TERMS, True),
    ]
    others = client.get("/profile/me/consents", headers=make.headers(make.attendee())).json
    assert [one["purpose"] for one in others] == [consents.TERMS]
    assert len([one for one in make.rows(Consent) if one.user_id == user.id]) == 3


# ── What Safaricom said ───────────────────────────────────────────────────────────────────────────────────────────


def test_people_are_taken_out_of_old_messages_and_the_money_stays(app: Flask, make: Maker) -> None:
    order, token = make.order()
    receipt = new_receipt()
    payer = b'{"Name": "PhoneNumber", "Value": %s}, {"Name": "MpesaReceiptNumber"' % PHONE.encode()
    make.deliver(token, success(order.total_kes, receipt).replace(b'{"Name": "MpesaReceiptNumber"', payer))
    with changed_settings(app, MESSAGE_RETENTION_DAYS=30):
        tasks.run_once(app, BLANK)
        [message] = make.rows(MpesaMessage)
        assert PHONE.encode() in message.body
        with clock.set_to(clock.ahead(days=31)):
            assert tasks.run_once(app, BLANK) == 1
            assert tasks.run_once(app, BLANK) == 0
    [message] = make.rows(MpesaMessage)
    assert PHONE.encode() not in message.body
    assert receipt.encode() in message.body
    assert (message.remote_address, message.verdict is None) == (None, False)


def test_a_message_that_is_not_settled_waits(app: Flask, make: Maker) -> None:
    make.paid_order()
    with make.app.app_context(), transaction() as session:
        session.get_one(MpesaMessage, make.rows(MpesaMessage)[0].id).settled_at = None
    with clock.set_to(clock.ahead(days=1000)):
        assert tasks.run_once(app, BLANK) == 0


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            {"MSISDN": "2547****149", "FirstName": "JANE", "TransAmount": "1500.00", "BillRefNumber": "7K3M"},
            {"MSISDN": "", "FirstName": "", "TransAmount": "1500.00", "BillRefNumber": "7K3M"},
        ),
        (
            {"Item": [{"Name": "Amount", "Value": 1500.0}, {"Name": "PhoneNumber", "Value": 254711222333}]},
            {"Item": [{"Name": "Amount", "Value": 1500.0}, {"Name": "PhoneNumber", "Value": ""}]},
        ),
        (
            {"ResultParameter": [{"Key": "ReceiverPartyPublicName", "Value": "254711222333 - Jane"}]},
            {"ResultParameter": [{"Key": "ReceiverPartyPublicName", "Value": ""}]},
        ),
        (
            {"Response": [[{"transactionId": "SG6", "msisdn": "254711222333", "sender": "JANE", "amount": "5.00"}]]},
            {"Response": [[{"transactionId": "SG6", "msisdn": "", "sender": "", "amount": "5.00"}]]},
        ),
        ({"Key": "DebitPartyName", "Value": {"a": "Jane"}}, {"Key": "DebitPartyName", "Value": ""}),
        ([1, "two", None, True], [1, "two", None, True]),
    ],
)
def test_names_and_numbers_are_blanked_wherever_they_stand(said: Any, left: Any) -> None:
    assert json.loads(blanking.blank(json.dumps(said).encode())) == left


@pytest.mark.parametrize("body", [b"", b"Jane 254711222333", b"\xff\xfe", b"[" * 100_000, b'{"MSISDN": "25471'])
def test_of_what_cannot_be_read_nothing_is_kept(body: bytes) -> None:
    assert blanking.blank(body) == b""
