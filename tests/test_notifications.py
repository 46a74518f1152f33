"""The outbox: what people are told, in the transaction of what it tells, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event

import tasks
from models import (
    Event,
    EventStatus,
    Notification,
    NotificationChannel,
    NotificationKind,
    NotificationState,
    OrderStatus,
    Refund,
    RefundStatus,
    User,
)
from services import events, ledger, locks, moderation, notifications, refunds, reviews, stock
from services.notifications import Message
from tests.support import Maker, changed_settings, failure, new_receipt, success, together
from utils import clock
from utils.database import db, transaction

REMIND, INVITE, EXPIRE = (
    next(task for task in tasks.TASKS if task.name == name)
    for name in ("remind ticket holders", "invite reviews", "expire orders")
)


@pytest.fixture(autouse=True)
def _mail_is_set_up(app: Flask) -> Iterator[None]:
    with changed_settings(app, MAIL_URL="smtp://127.0.0.1:9", MAIL_FROM="tickets@ticksy.example.com"):
        yield


@contextmanager
def texts_set_up(app: Flask) -> Iterator[None]:
    with changed_settings(app, SMS_URL="africastalking://ticksy:key@127.0.0.1:9"):
        yield


def told(make: Maker, *kinds: NotificationKind) -> list[Notification]:
    """What was queued of these kinds, oldest first."""
    return [one for one in make.rows(Notification) if one.kind in kinds]


def forget(make: Maker) -> None:
    """What was queued while a test made what it starts from."""
    with make.app.app_context(), transaction() as session:
        session.execute(Notification.__table__.delete())  # type: ignore[attr-defined]


# ── An order ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paid_order_is_told_with_its_codes_and_its_receipt(make: Maker) -> None:
    buyer, ticket_type = make.attendee(first_name="Njeri"), make.on_sale(name="VIP", price=1500)
    order = make.paid_order(buyer, ticket_type, quantity=2)
    [message] = told(make, NotificationKind.ORDER_PAID)
    assert (message.user_id, message.address, message.channel) == (buyer.id, buyer.email, NotificationChannel.EMAIL)
    assert (message.state, message.tries, message.key) == (
        NotificationState.QUEUED,
        0,
        f"order_paid/order {order.id}/{buyer.id}/email",
    )
    assert message.facts["tickets"] == [{"code": ticket.code, "type": "VIP"} for ticket in make.tickets()]
    assert (message.facts["paid_kes"], message.facts["receipt"]) == (3000, order.receipt)
    assert message.facts["event"]["title"] == order.event.title


def test_a_free_order_is_told_as_well(make: Maker) -> None:
    make.order(ticket_type=make.on_sale(price=0))
    [message] = told(make, NotificationKind.ORDER_PAID)
    assert (message.facts["paid_kes"], message.facts["receipt"]) == (0, None)


def test_the_settled_payment_and_its_message_are_one_transaction(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    order, token = make.order()

    def fail(*_: Any) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "release_doubles", fail)  # what is done last
        with pytest.raises(RuntimeError, match="the power went"):
            make.deliver(token, success(order.total_kes, new_receipt()))
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])
    assert told(make, NotificationKind.ORDER_PAID) == []


def test_a_message_that_cannot_be_written_undoes_the_payment_with_it(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, token = make.order()

    def fail(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(notifications, "queue", fail)
        with pytest.raises(RuntimeError):
            make.deliver(token, success(order.total_kes, new_receipt()))
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])


def test_the_same_callback_twice_is_told_once(make: Maker) -> None:
    order, token = make.order()
    body = success(order.total_kes, new_receipt())
    together(*[lambda: make.deliver(token, body)] * 4)
    make.deliver(token, body)
    assert len(told(make, NotificationKind.ORDER_PAID)) == 1


def test_an_occasion_is_told_once_whoever_says_so(make: Maker) -> None:
    user = make.attendee()

    def say() -> None:
        with make.app.app_context(), transaction():
            notifications.queue(NotificationKind.ORDER_PAID, [Message(user, "order 1", {})])

    together(*[say] * 6)
    assert len(make.rows(Notification)) == 1


def test_what_is_not_set_up_is_not_queued(app: Flask, make: Maker) -> None:
    with changed_settings(app, MAIL_URL="", SMS_URL=""):
        make.paid_order()
        make.event(status=EventStatus.CANCELLED)
    assert make.rows(Notification) == []


def test_what_is_worth_its_price_is_texted_too(app: Flask, make: Maker) -> None:
    with texts_set_up(app):
        buyer = make.attendee()
        make.paid_order(buyer)
    by_channel = {one.channel: one.address for one in told(make, NotificationKind.ORDER_PAID)}
    assert by_channel == {NotificationChannel.EMAIL: buyer.email, NotificationChannel.SMS: buyer.phone}
    assert {one.channel for one in told(make, NotificationKind.EVENT_APPROVED)} == {NotificationChannel.EMAIL}


# ── An order that ended without tickets ───────────────────────────────────────────────────────────────────────────


def test_a_prompt_that_failed_is_not_told_while_another_may_follow(make: Maker) -> None:
    _order, token = make.order()
    make.deliver(token, failure())
    assert told(make, NotificationKind.PAYMENT_FAILED) == []


def test_the_last_prompt_that_failed_is_told(app: Flask, make: Maker) -> None:
    with changed_settings(app, PROMPTS_PER_ORDER=1):
        order, token = make.order()
        make.deliver(token, failure())
        make.deliver(token, failure())
    assert make.status(order.id) is OrderStatus.FAILED
    [message] = told(make, NotificationKind.PAYMENT_FAILED)
    assert (message.user_id, message.facts["order"]) == (order.buyer_id, order.reference)


def test_an_order_whose_time_ran_out_after_a_failed_prompt_is_told_once(app: Flask, make: Maker) -> None:
    order, token = make.order()
    make.deliver(token, failure())
    with clock.set_to(clock.ahead(minutes=11)):
        tasks.run_once(app, EXPIRE)
        tasks.run_once(app, EXPIRE)
    assert make.status(order.id) is OrderStatus.EXPIRED
    assert len(told(make, NotificationKind.PAYMENT_FAILED)) == 1


def test_an_order_whose_money_may_still_come_is_told_once_that_is_certain(app: Flask, make: Maker) -> None:
    _order, token = make.order()
    with clock.set_to(clock.ahead(minutes=11)):
        tasks.run_once(app, EXPIRE)
        assert told(make, NotificationKind.PAYMENT_FAILED) == []
        make.deliver(token, failure())
    assert len(told(make, NotificationKind.PAYMENT_FAILED)) == 1


def test_orders_that_expire_together_are_told_in_one_statement(make: Maker) -> None:
    ticket_type = make.on_sale()
    for _ in range(5):
        _order, token = make.order(ticket_type=ticket_type)
        make.deliver(token, failure())
    with statements(make) as sent, make.app.app_context(), clock.set_to(clock.ahead(minutes=11)), transaction():
        stock.release(stock.expire_ended_orders())
    assert len([one for one in sent if one.startswith("INSERT INTO notifications")]) == 1
    assert len(told(make, NotificationKind.PAYMENT_FAILED)) == 5


# ── Money back ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_refund_is_told_when_it_starts_and_when_it_has_arrived(app: Flask, make: Maker) -> None:
    order = make.paid_order()
    with app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
    [started] = told(make, NotificationKind.REFUND_STARTED)
    assert (started.user_id, started.facts["amount_kes"], started.facts["reason"]) == (order.buyer_id, 500, "requested")
    assert told(make, NotificationKind.REFUND_DONE) == []
    with app.app_context(), transaction() as session, texts_set_up(app):
        refund = session.query(Refund).one()
        refund.move_to(RefundStatus.SENT)
        ledger.finish_refund(locks.lock_order(order.id), refund, receipt="UKN1234567")
    done = told(make, NotificationKind.REFUND_DONE)
    assert {one.channel for one in done} == set(NotificationChannel)
    assert {one.facts["receipt"] for one in done} == {"UKN1234567"}


def test_money_that_came_too_late_is_told_as_a_refund_and_as_no_order(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale(quantity=1)
    order, token = make.order(ticket_type=ticket_type)
    with clock.set_to(clock.ahead(minutes=11)):
        make.paid_order(ticket_type=ticket_type)
        forget(make)
        make.deliver(token, success(order.total_kes, new_receipt()))
    [message] = make.rows(Notification)
    assert (message.kind, message.facts["reason"]) == (NotificationKind.REFUND_STARTED, "sold_out")


def test_money_that_names_no_order_goes_back_without_a_word(app: Flask, make: Maker) -> None:
    payment = make.suspense()
    with app.app_context():
        refunds.refund_payment(actor=make.admin(), payment_id=payment.id)
    assert len(make.rows(Refund)) == 1
    assert make.rows(Notification) == []


# ── Events ────────────────────────────────────────────────────────────────────────────────────────────────────────


def decide(app: Flask, make: Maker, event: Event, *, is_approved: bool, reason: str | None = None) -> None:
    with app.app_context():
        moderation.decide_event(actor=make.admin(), event_id=event.id, is_approved=is_approved, reason=reason)


def test_the_organizer_is_told_of_each_decision_and_its_reason(app: Flask, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer, status=EventStatus.PENDING)
    decide(app, make, event, is_approved=False, reason="The picture is another's.")
    decide(app, make, event, is_approved=False, reason="The picture is another's.")
    decide(app, make, event, is_approved=True)
    decide(app, make, event, is_approved=False)
    messages = make.rows(Notification)
    assert [one.kind.value for one in messages] == ["event_rejected", "event_approved", "event_rejected"]
    assert [one.facts["reason"] for one in messages] == ["The picture is another's.", None, None]
    assert {one.user_id for one in messages} == {organizer.id}


def change(app: Flask, event: Event, **changes: Any) -> None:
    with app.app_context():
        organizer = db.session.get_one(User, event.organizer_id)
        events.update_event(actor=organizer, event_id=event.id, changes=changes, image=None)


def test_who_holds_a_ticket_is_told_of_another_place_or_time(app: Flask, make: Maker) -> None:
    event = make.event()
    ticket_type = make.ticket_type(event)
    holder = make.attendee()
    make.paid_order(holder, ticket_type)
    make.paid_order(holder, ticket_type, quantity=2)
    make.order(make.attendee(), ticket_type)  # not paid
    change(app, event, location="Uhuru Gardens")
    [message] = told(make, NotificationKind.EVENT_CHANGED)
    assert (message.user_id, message.facts["was_in"]) == (holder.id, event.location)
    assert message.facts["event"]["location"] == "Uhuru Gardens"
    change(app, event, starts_at=event.starts_at + timedelta(hours=1))
    change(app, event, title="Another title", description="Another text.")
    assert len(told(make, NotificationKind.EVENT_CHANGED)) == 2


def test_who_gave_the_ticket_back_is_not_told(app: Flask, make: Maker) -> None:
    order = make.paid_order()
    with app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
    change(app, order.event, location="Uhuru Gardens")
    assert told(make, NotificationKind.EVENT_CHANGED) == []


def test_who_holds_a_ticket_is_told_that_the_event_is_cancelled_and_what_they_paid(app: Flask, make: Maker) -> None:
    event = make.event()
    paid, free = make.ticket_type(event, price=700), make.ticket_type(event, name="Free", price=0)
    payer, guest = make.attendee(), make.attendee()
    make.paid_order(payer, paid, quantity=2)
    make.order(guest, free)
    make.order(make.attendee(), paid)
    with app.app_context(), texts_set_up(app):
        for _ in range(2):
            events.cancel_event(actor=make.admin(), event_id=event.id)
    messages = told(make, NotificationKind.EVENT_CANCELLED)
    assert {(one.user_id, one.facts["paid_kes"]) for one in messages} == {(payer.id, 1400), (guest.id, 0)}
    assert len(messages) == 4


@contextmanager
def statements(make: Maker) -> Iterator[list[str]]:
    sent: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    with make.app.app_context():
        engine = db.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    try:
        yield sent
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)


def test_thousands_of_holders_are_told_by_one_statement(app: Flask, make: Maker) -> None:
    event = make.event()
    make.paid_order(ticket_type=make.ticket_type(event))
    with app.app_context(), transaction() as session:
        session.execute(db.text(COPIES), {"count": 3000})
    with statements(make) as sent, app.app_context():
        events.cancel_event(actor=make.admin(), event_id=event.id)
    # To accounts, and to who holds a ticket without one.
    assert len([one for one in sent if one.startswith("INSERT INTO notifications")]) == 2
    assert len(told(make, NotificationKind.EVENT_CANCELLED)) == 3001


#: The only order there is, and its ticket, for as many buyers more.
COPIES = """
    WITH people AS (
        INSERT INTO users (first_name, last_name, email, phone, password_hash, role, status, calendar_version,
                           muted_notifications, created_at)
        SELECT 'Guest', 'Number', 'guest' || n || '@example.co.ke', '2541' || lpad(n::text, 8, '0'), '', 'attendee',
               'active', 1, '{}', now() FROM generate_series(1, :count) n RETURNING id),
    orders_ AS (
        INSERT INTO orders (buyer_id, event_id, reference, poll_id, cart, total_kes, phone, status, created_at,
                            expires_at, paid_at)
        SELECT people.id, event_id, 'R' || people.id, 'P' || people.id, cart, total_kes, phone, status, created_at,
               expires_at, paid_at FROM orders, people RETURNING id, buyer_id)
    INSERT INTO tickets (order_id, holder_id, ticket_type_id, code, price_kes, first_name, last_name, email, phone,
                         rotation, status, issued_at, changed_at)
    SELECT orders_.id, buyer_id, ticket_type_id, 'C' || orders_.id, price_kes, first_name, last_name, email, phone,
           rotation, status, issued_at, issued_at FROM tickets, orders_
"""


# ── What the worker notices ───────────────────────────────────────────────────────────────────────────────────────


def test_who_holds_a_ticket_is_reminded_once_a_day_before(app: Flask, make: Maker) -> None:
    order = make.paid_order()
    event = order.event
    tasks.run_once(app, REMIND)
    assert told(make, NotificationKind.EVENT_REMINDER) == []
    with clock.set_to(event.starts_at - timedelta(hours=23)):
        assert (tasks.run_once(app, REMIND), tasks.run_once(app, REMIND)) == (1, 0)
    [message] = told(make, NotificationKind.EVENT_REMINDER)
    assert message.user_id == order.buyer_id


def test_reminding_is_no_change_of_the_event(app: Flask, make: Maker) -> None:
    event = make.paid_order().event
    with clock.set_to(event.starts_at - timedelta(hours=23)):
        tasks.run_once(app, REMIND)
    [now] = make.rows(Event)
    assert now.reminded_at is not None
    assert (now.updated_at, now.calendar_sequence) == (event.updated_at, event.calendar_sequence)


def test_who_bought_only_now_needs_no_reminder(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    with app.app_context():
        start = db.session.get_one(Event, ticket_type.event_id).starts_at
    with clock.set_to(start - timedelta(hours=20)):
        make.paid_order(ticket_type=ticket_type)
        assert tasks.run_once(app, REMIND) == 1
    assert told(make, NotificationKind.EVENT_REMINDER) == []


def test_nobody_is_reminded_of_what_has_begun_or_is_off(app: Flask, make: Maker) -> None:
    begun, off = make.paid_order().event, make.paid_order().event
    with app.app_context():
        events.cancel_event(actor=make.admin(), event_id=off.id)
    with clock.set_to(max(begun.starts_at, off.starts_at)):
        tasks.run_once(app, REMIND)
    assert told(make, NotificationKind.EVENT_REMINDER) == []


def test_an_event_that_was_moved_is_reminded_of_again(app: Flask, make: Maker) -> None:
    event = make.paid_order().event
    with clock.set_to(event.starts_at - timedelta(hours=23)):
        tasks.run_once(app, REMIND)
        change(app, event, starts_at=event.starts_at + timedelta(days=2), ends_at=event.ends_at + timedelta(days=2))
        decide(app, make, event, is_approved=True)
        tasks.run_once(app, REMIND)
        assert len(told(make, NotificationKind.EVENT_REMINDER)) == 1
    with clock.set_to(event.starts_at + timedelta(days=1, hours=1)):
        tasks.run_once(app, REMIND)
    assert len(told(make, NotificationKind.EVENT_REMINDER)) == 2


def test_two_workers_remind_once(app: Flask, make: Maker) -> None:
    event = make.paid_order().event

    def remind() -> int:
        with clock.set_to(event.starts_at - timedelta(hours=23)):
            return tasks.run_once(app, REMIND)

    assert sum(together(*[remind] * 4)) == 1
    assert len(told(make, NotificationKind.EVENT_REMINDER)) == 1


def test_who_was_there_is_asked_for_a_review_a_day_after_unless_they_wrote_one(app: Flask, make: Maker) -> None:
    ticket_type = make.on_sale()
    guest, reviewer = make.attendee(), make.attendee()
    event = make.paid_order(guest, ticket_type).event
    make.paid_order(reviewer, ticket_type)
    with app.app_context(), clock.set_to(event.ends_at):
        reviews.write_review(actor=reviewer, event_id=event.id, rating=4, comment=None)
    with clock.set_to(event.ends_at + timedelta(hours=23)):
        assert tasks.run_once(app, INVITE) == 0
    with clock.set_to(event.ends_at + timedelta(hours=25)):
        assert (tasks.run_once(app, INVITE), tasks.run_once(app, INVITE)) == (1, 0)
    assert [one.user_id for one in told(make, NotificationKind.REVIEW_INVITATION)] == [guest.id]


def test_nobody_is_asked_about_what_is_long_over(app: Flask, make: Maker) -> None:
    event = make.paid_order().event
    with clock.set_to(event.ends_at + timedelta(days=8)):
        assert tasks.run_once(app, INVITE) == 0


def test_without_mail_nobody_counts_as_reminded(app: Flask, make: Maker) -> None:
    event = make.paid_order().event
    with changed_settings(app, MAIL_URL=""), clock.set_to(event.starts_at - timedelta(hours=23)):
        assert tasks.run_once(app, REMIND) == 0
    assert make.rows(Event)[0].reminded_at is None


# ── What admins see ───────────────────────────────────────────────────────────────────────────────────────────────


def test_admins_see_what_was_told_newest_first_and_nobodys_codes(client: FlaskClient, make: Maker) -> None:
    order = make.paid_order()
    answer = client.get("/admin/notifications", headers=make.headers(make.admin()))
    assert [one["kind"] for one in answer.json] == ["order_paid", "event_approved"]
    assert answer.json[0]["user_id"] == order.buyer_id
    assert make.tickets()[0].code not in answer.text


def test_they_are_found_by_kind_state_and_recipient(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    make.paid_order(buyer)
    make.paid_order()
    headers = make.headers(make.admin())
    for query, count in {
        "": 4,
        "kind=order_paid": 2,
        "kind=refund_done": 0,
        "state=queued": 4,
        "state=failed": 0,
        f"recipient={buyer.id}": 1,
        f"recipient={buyer.email.upper()}": 1,
        "recipient=nobody": 0,
        f"recipient={10**30}": 0,
        f"kind=order_paid&state=queued&recipient={buyer.email}": 1,
    }.items():
        assert len(client.get(f"/admin/notifications?{query}", headers=headers).json) == count, query
    for query in ("kind=order", "state=lost", "recipient=%00"):
        assert client.get(f"/admin/notifications?{query}", headers=headers).status_code == 422


def test_a_phone_number_finds_its_messages(app: Flask, client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    with texts_set_up(app):
        make.paid_order(buyer)
    answer = client.get(f"/admin/notifications?recipient=0{buyer.phone[3:]}", headers=make.headers(make.admin()))
    assert [one["channel"] for one in answer.json] == ["sms"]


def give_up(make: Maker) -> Notification:
    make.paid_order()
    with make.app.app_context(), transaction() as session:
        message = session.get_one(Notification, told(make, NotificationKind.ORDER_PAID)[0].id)
        message.state, message.next_try_at, message.error, message.tries = NotificationState.FAILED, None, "550", 10
    return message


def test_one_that_failed_is_tried_again_at_the_address_that_the_account_has_now(
    client: FlaskClient, make: Maker
) -> None:
    message = give_up(make)
    with make.app.app_context(), transaction() as session:
        session.get_one(User, message.user_id).email = "right@example.co.ke"
    headers = make.headers(make.admin())
    answer = client.post(f"/admin/notifications/{message.id}/retry", headers=headers)
    assert (answer.status_code, answer.json["state"], answer.json["tries"]) == (200, "queued", 0)
    assert (answer.json["address"], answer.json["error"]) == ("right@example.co.ke", None)
    again = client.post(f"/admin/notifications/{message.id}/retry", headers=headers)
    assert (again.status_code, again.json["code"]) == (409, "notification_not_failed")


def test_nothing_is_tried_again_that_nobody_carries(app: Flask, client: FlaskClient, make: Maker) -> None:
    message = give_up(make)
    headers = make.headers(make.admin())
    with changed_settings(app, MAIL_URL=""):
        answer = client.post(f"/admin/notifications/{message.id}/retry", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, "channel_off")
    assert client.post("/admin/notifications/999999/retry", headers=headers).status_code == 404
