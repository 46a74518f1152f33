"""Prompts: how soon the next one may come, how long the hold waits for it, and what happens while Daraja is down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from werkzeug.test import TestResponse

from models import MessageChannel, Order, OrderStatus, Payment, PaymentStatus, TicketType, User
from services import booking, pushes, queries, refunds, settlement
from services.prompts import Prompt
from tests.scripted_daraja import PUSH, QUERY, RESET, Reply, ScriptedDaraja, scripted_daraja
from tests.support import Maker, cart, changed_settings, failure, free_port, success, together
from utils import clock
from utils.database import db, transaction

PHONE = "254700000099"
DOWN = Reply.error("500.003.02")


@pytest.fixture
def daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    """Accepts every push, and nobody ever answers a prompt."""
    with scripted_daraja(app) as daraja:
        yield daraja


@pytest.fixture
def order(client: FlaskClient, make: Maker) -> Callable[..., TestResponse]:
    """Somebody new, or `buyer`, orders so many tickets to be paid by `phone`."""

    def order(ticket_type: TicketType, count: int = 1, *, phone: str = PHONE, buyer: User | None = None) -> Any:
        headers = make.headers(buyer or make.attendee())
        return client.post("/orders", json=cart((ticket_type, count), phone=phone), headers=headers)

    return order


@pytest.fixture
def pay(client: FlaskClient, make: Maker) -> Callable[[int, User], TestResponse]:
    return lambda order_id, buyer: client.post(f"/orders/{order_id}/pay", headers=make.headers(buyer))


def held(make: Maker, ticket_type: TicketType) -> int:
    return make.read_ticket_type(ticket_type.id).held


# ── The same amount from the same phone ───────────────────────────────────────────────────────────────────────────


def test_the_same_amount_from_the_same_phone_waits_two_minutes_whatever_the_order(
    daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse]
) -> None:
    first, other = make.on_sale(price=500), make.on_sale(price=500)
    start = clock.now()
    with clock.set_to(start):
        assert order(first).status_code == 201
    with clock.set_to(start + timedelta(seconds=50.5)):
        refused = order(other)
    assert (refused.status_code, refused.json["code"]) == (429, "prompt_cooldown")
    assert refused.headers["Retry-After"] == "70"
    assert "70 seconds" in refused.json["message"]
    assert (daraja.count(PUSH), held(make, other)) == (1, 0)
    with clock.set_to(start + timedelta(seconds=50.5)):
        assert order(other, phone="254700000098").status_code == 201
        assert order(other, 2).status_code == 201
    with clock.set_to(start + timedelta(seconds=120)):
        assert order(other).status_code == 201
    assert daraja.count(PUSH) == 4


def test_of_two_at_once_for_one_phone_and_amount_one_is_sent(app: Flask, daraja: ScriptedDaraja, make: Maker) -> None:
    ticket_type = make.on_sale()
    headers = [make.headers(make.attendee()) for _ in range(6)]
    body = cart((ticket_type, 1), phone=PHONE)
    answers = together(
        *(lambda one=one: app.test_client().post("/orders", json=body, headers=one).status_code for one in headers)
    )
    assert sorted(answers) == [201] + [429] * 5
    assert (daraja.count(PUSH), held(make, ticket_type)) == (1, 1)


def test_a_failed_prompt_waits_too_but_the_same_cart_is_still_its_order(
    daraja: ScriptedDaraja,
    make: Maker,
    order: Callable[..., TestResponse],
    pay: Callable[[int, User], TestResponse],
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    first = order(ticket_type, buyer=buyer)
    again = order(ticket_type, buyer=buyer)
    assert (again.status_code, again.json["orderId"]) == (200, first.json["orderId"])
    with make.app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET status = 'failed', result_code = '1032'"))
    assert pay(first.json["orderId"], buyer).json["code"] == "prompt_cooldown"
    assert order(ticket_type, buyer=buyer).status_code == 429
    with clock.set_to(clock.ahead(seconds=121)):
        assert pay(first.json["orderId"], buyer).status_code == 200
    assert daraja.count(PUSH) == 2


def test_what_was_refused_keeps_nobody_waiting(
    daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse]
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    daraja.pushes = [Reply.error("500.001.1001")]
    assert order(ticket_type, buyer=buyer).status_code == 503
    daraja.pushes = []
    assert order(ticket_type, buyer=buyer).status_code == 200


@pytest.mark.parametrize("reply", [RESET, Reply(502, b"<html>")])
def test_what_may_be_on_the_phone_keeps_the_next_one_waiting(
    daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse], reply: Reply
) -> None:
    daraja.pushes = [reply]
    ticket_type = make.on_sale()
    assert order(ticket_type).status_code == 201
    assert order(ticket_type).json["code"] == "prompt_cooldown"


# ── One buyer's prompts ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_buyer_gets_so_many_prompts_an_hour_whatever_phones_they_go_to_and_whatever_becomes_of_them(
    app: Flask, client: FlaskClient, daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse]
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()

    def order_and_cancel(number: int) -> int:
        placed = order(ticket_type, phone=f"25470000000{number}", buyer=buyer)
        path = f"/orders/{make.rows(Order)[-1].id}"
        assert client.delete(path, headers=make.headers(buyer)).status_code == 200
        return placed.status_code

    with changed_settings(app, PROMPTS_PER_BUYER_AND_HOUR=4):
        daraja.pushes = [Reply.error("500.001.1001")]
        assert order_and_cancel(1) == 503
        daraja.pushes = []
        assert order_and_cancel(2) == 201
        with changed_settings(app, MPESA_MAX_PUSHES_PER_SECOND=0.01):
            assert [order_and_cancel(number) for number in (3, 4)] == [201, 201]
        refused = order(ticket_type, phone="254700000005", buyer=buyer)
        assert (refused.status_code, refused.json["code"]) == (429, "too_many_prompts")
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert sorted(one.status.value for one in make.rows(Payment)) == ["prompted", "prompted", "queued", "refused"]
        assert held(make, ticket_type) == 0
        assert order(ticket_type, phone="254700000005").status_code == 201
        with clock.set_to(clock.ahead(minutes=61)):
            assert order(ticket_type, phone="254700000005", buyer=buyer).status_code == 201


def test_money_paid_by_hand_is_no_prompt(app: Flask, make: Maker, order: Callable[..., TestResponse]) -> None:
    buyer = make.attendee()
    placed, _ = make.order(buyer)
    make.suspense(placed.total_kes, reference=placed.reference)
    make.suspense(placed.total_kes, reference=placed.reference)
    with changed_settings(app, PROMPTS_PER_BUYER_AND_HOUR=2):
        assert order(make.on_sale(), buyer=buyer).status_code == 201
        assert order(make.on_sale(), phone="254700000098", buyer=buyer).status_code == 429


def test_prompts_that_a_buyer_asks_for_at_once_count_one_another(
    app: Flask, daraja: ScriptedDaraja, make: Maker
) -> None:
    """Those of several orders, whose locks are apart."""
    buyer = make.attendee()
    with clock.set_to(clock.ago(seconds=130)):
        placed = [make.order(buyer, phone=f"25470000000{number}") for number in range(6)]
        for _, token in placed:
            make.deliver(token, failure())
    headers = make.headers(buyer)
    with changed_settings(app, PROMPTS_PER_BUYER_AND_HOUR=8):
        answers = together(
            *(
                lambda path=f"/orders/{order.id}/pay": app.test_client().post(path, headers=headers).status_code
                for order, _ in placed
            )
        )
    assert (sorted(answers), daraja.count(PUSH)) == ([200] * 2 + [429] * 4, 2)


# ── An order that ends before its push ────────────────────────────────────────────────────────────────────────────────


def place(app: Flask, make: Maker) -> tuple[User, Prompt]:
    """An order whose push is about to go out."""
    buyer, ticket_type = make.attendee(), make.on_sale()
    with app.app_context():
        lines = [booking.Line(ticket_type.id, 1)]
        prompt = booking.place_order(actor=buyer, phone=buyer.phone, lines=lines).prompt
    assert prompt is not None
    return buyer, prompt


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_an_order_that_ended_before_its_push_is_not_pushed(
    app: Flask, daraja: ScriptedDaraja, make: Maker, end: str
) -> None:
    buyer, prompt = place(app, make)
    with app.app_context():
        if end == "cancelled":
            booking.cancel_order(actor=buyer, order_id=prompt.order_id)
        with clock.set_to(clock.ahead(minutes=0 if end == "cancelled" else 11)):
            pushes.send_prompt(prompt)
    assert daraja.count(PUSH) == 0
    [payment] = make.payments(prompt.order_id)
    assert (payment.status, payment.result_code, payment.pushed_at) == (PaymentStatus.REFUSED, "not_sent", None)


def test_a_push_that_was_thought_lost_before_it_was_made_is_not_made(
    app: Flask, daraja: ScriptedDaraja, make: Maker
) -> None:
    _, prompt = place(app, make)
    with app.app_context(), clock.set_to(clock.ahead(minutes=3)):
        assert pushes.mark_lost_prompts() == 1
        pushes.send_prompt(prompt)
    assert (daraja.count(PUSH), make.payments(prompt.order_id)[0].status) == (0, PaymentStatus.UNKNOWN)


# ── The hold waits for the prompt ─────────────────────────────────────────────────────────────────────────────────


def ends(make: Maker, order_id: int, created_at: datetime) -> timedelta:
    return make.read_order(order_id).expires_at - created_at


def test_a_prompt_at_the_end_of_the_hold_leaves_three_minutes_to_answer_it(
    daraja: ScriptedDaraja, make: Maker, pay: Callable[[int, User], TestResponse]
) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()
    placed, token = make.order(buyer, ticket_type)
    make.deliver(token, failure())
    for minutes, end in ((5, 10), (9, 12)):
        with clock.set_to(placed.created_at + timedelta(minutes=minutes)):
            assert pay(placed.id, buyer).status_code == 200
        assert ends(make, placed.id, placed.created_at) == pytest.approx(
            timedelta(minutes=end), abs=timedelta(seconds=1)
        )
    with clock.set_to(placed.created_at + timedelta(minutes=11.5)):
        prompt = daraja.requests(PUSH)[-1].body["CallBackURL"].rpartition("/")[2]
        make.deliver(prompt, success(placed.total_kes))
    assert make.status(placed.id) is OrderStatus.PAID
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (1, 0)


def test_prompts_cannot_prolong_a_hold_for_ever(
    app: Flask, daraja: ScriptedDaraja, make: Maker, pay: Callable[[int, User], TestResponse]
) -> None:
    buyer = make.attendee()
    placed, _ = make.order(buyer)
    limits = {"PROMPTS_PER_ORDER": 99, "PROMPTS_PER_PHONE_AND_HOUR": 99}
    with changed_settings(app, **limits):
        for minutes in (9, 11.5, 14, 16.5, 19, 19.9):
            with clock.set_to(placed.created_at + timedelta(minutes=minutes)):
                code = pay(placed.id, buyer).status_code
            assert code == (200 if minutes != 19.9 else 409)
    assert ends(make, placed.id, placed.created_at) <= timedelta(minutes=20)
    with clock.set_to(placed.created_at + timedelta(minutes=20, seconds=1)):
        assert pay(placed.id, buyer).json["code"] == "order_not_open"
        assert make.read_order(placed.id).current_status is OrderStatus.EXPIRED


def test_a_hold_is_never_shortened(
    app: Flask, daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse]
) -> None:
    with changed_settings(app, HOLD_EXTENSION_MINUTES=0, PROMPT_GRACE_MINUTES=0.1):
        placed = order(make.on_sale()).json["order"]
    read = make.read_order(placed["id"])
    assert read.expires_at - read.created_at == pytest.approx(timedelta(minutes=10), abs=timedelta(seconds=2))


# ── While Daraja is down ──────────────────────────────────────────────────────────────────────────────────────────


def let_rest_end(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE mpesa_line SET rests_until = now() - interval '1 second'"))


def line_state(app: Flask) -> tuple[int, bool]:
    """Failures in a row, and whether pushes rest."""
    with app.app_context():
        row = db.session.execute(text("SELECT failures, rests_until > now() FROM mpesa_line")).one_or_none()
        return (row[0], bool(row[1])) if row else (0, False)


Many = Callable[[int], list[TestResponse]]


@pytest.fixture
def many(order: Callable[..., TestResponse], make: Maker) -> Many:
    """So many people order, each from a phone of their own."""
    ticket_type = make.on_sale(quantity=500)
    return lambda count: [
        order(ticket_type, phone=buyer.phone, buyer=buyer) for buyer in [make.attendee() for _ in range(count)]
    ]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (DOWN, 503),
        (Reply.error("500.003.03"), 503),
        (Reply(429, b""), 503),
        (Reply(403, b"<html>"), 503),
        (Reply(502, b"<html>"), 201),
        (Reply.error("500.003.1001"), 201),
        (RESET, 201),
    ],
)
def test_after_five_failures_in_a_row_no_push_is_tried(
    app: Flask, daraja: ScriptedDaraja, make: Maker, many: Many, reply: Reply, status: int
) -> None:
    daraja.pushes = [reply]
    assert {answer.status_code for answer in many(5)} == {status}
    assert line_state(app) == (5, True)
    tried = daraja.count(PUSH)
    daraja.pushes = []
    [refused] = many(1)
    assert (refused.status_code, refused.json["code"]) == (503, "mpesa_unavailable")
    assert daraja.count(PUSH) == tried
    [latest] = make.payments(6)
    assert (latest.status, latest.result_code, latest.pushed_at) == (PaymentStatus.REFUSED, "resting", None)
    assert make.status(6) is OrderStatus.PENDING


def test_no_connection_is_a_failure_too(app: Flask, daraja: ScriptedDaraja, many: Many) -> None:
    app.extensions["daraja"] = daraja.client(base_url=f"http://127.0.0.1:{free_port()}")
    assert {answer.status_code for answer in many(5)} == {503}
    assert line_state(app) == (5, True)


@pytest.mark.parametrize("between", [[], [Reply.error("400.002.02", 400)]], ids=["accepted", "refused for itself"])
def test_any_other_answer_interrupts_the_row(
    app: Flask, daraja: ScriptedDaraja, many: Many, between: list[Reply]
) -> None:
    daraja.pushes = [RESET]
    many(4)
    assert line_state(app) == (4, False)
    daraja.pushes = list(between)
    many(1)
    assert line_state(app) == (0, False)
    daraja.pushes = [RESET]
    many(4)
    assert line_state(app) == (4, False)


def test_after_the_rest_one_push_is_tried_and_its_success_ends_it(
    app: Flask, daraja: ScriptedDaraja, make: Maker, many: Many
) -> None:
    daraja.pushes = [RESET]
    many(5)
    daraja.pushes = []
    let_rest_end(app)
    during: list[int] = []
    ticket_type = make.on_sale()
    headers = make.headers(make.attendee())

    def meanwhile(seen: Any) -> None:
        if seen.path == PUSH and not during:
            during.append(0)
            answer = app.test_client().post("/orders", json=cart((ticket_type, 1)), headers=headers)
            during[0] = answer.status_code

    daraja.before_answering = meanwhile
    [probe] = many(1)
    assert (probe.status_code, during) == (201, [503])
    assert line_state(app) == (0, False)
    assert [answer.status_code for answer in many(3)] == [201] * 3


def test_of_many_at_once_one_is_tried_and_its_failure_begins_another_rest(
    app: Flask, daraja: ScriptedDaraja, make: Maker, many: Many
) -> None:
    daraja.pushes = [RESET]
    many(5)
    let_rest_end(app)
    ticket_type = make.on_sale(quantity=20)
    bodies = [(make.headers(make.attendee()), cart((ticket_type, 1))) for _ in range(8)]
    answers = together(
        *(
            lambda headers=headers, body=body: app.test_client().post("/orders", json=body, headers=headers)
            for headers, body in bodies
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [503] * 7
    assert (daraja.count(PUSH), line_state(app)) == (6, (6, True))


def test_while_all_is_well_the_line_is_not_written(app: Flask, daraja: ScriptedDaraja, many: Many) -> None:
    """And asking costs one statement before the push, beside what is asked and written together with its order."""
    statements: list[str] = []
    with app.app_context():
        engine = db.engine
    record = lambda _connection, _cursor, statement, *_rest: statements.append(statement)  # noqa: E731
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    try:
        assert many(1)[0].status_code == 201
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)
    about = [re.sub(r"\s+", " ", one) for one in statements if "mpesa_line" in one]
    assert [one.split()[0] for one in about] == ["SELECT", "SELECT", "WITH"]
    assert "UPDATE payments" in about[2]
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM mpesa_line")) == 0


# ── What an order shows ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("codes", [["500.001.1001"], ["500.003.02"]], ids=["refused", "throttled"])
def test_a_refused_push_offers_the_paybill(
    app: Flask, daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse], codes: list[str]
) -> None:
    daraja.pushes = [Reply.error(code) for code in codes]
    refused = order(make.on_sale(price=1500))
    read = make.read_order(1)
    until = read.expires_at.astimezone(clock.NAIROBI).strftime("%H:%M")
    assert refused.json == {
        "code": "mpesa_unavailable",
        "message": "M-PESA did not take the payment request. Your tickets are held: please try again in a moment, or"
        f" pay KES 1,500 to Paybill 174379, account {read.reference}, before {until}.",
    }
    assert read.status is OrderStatus.PENDING
    with changed_settings(app, MPESA_C2B_SECRET=""):
        assert "Paybill" not in order(make.on_sale(price=1600)).json["message"]


def test_an_open_order_says_how_to_pay_it_by_paybill(app: Flask, client: FlaskClient, make: Maker) -> None:
    buyer, admin = make.attendee(), make.admin()
    placed, token = make.order(buyer, make.on_sale(price=700), quantity=2)

    def shown() -> Any:
        return client.get(f"/orders/{placed.id}", headers=make.headers(buyer)).json["paybill"]

    offer = {"number": "174379", "account": placed.reference, "amount": 1400}
    assert shown() == offer
    for path, user in (("/orders", buyer), ("/admin/orders", admin)):
        [listed] = client.get(path, headers=make.headers(user)).json
        assert (listed["paybill"], listed["queue_position"]) == (offer, None)
    with changed_settings(app, MPESA_PARTY_B="600100"):
        assert shown() == offer | {"number": "600100"}
    with changed_settings(app, MPESA_C2B_SECRET=""):
        assert shown() is None
    with clock.set_to(clock.ahead(minutes=11)):
        assert shown() is None
    make.deliver(token, success(placed.total_kes))
    assert shown() is None


def test_nobody_is_asked_to_pay_again_while_money_is_being_looked_at(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    placed, token = make.order(buyer)
    make.deliver(token, success(placed.total_kes - 1))
    assert client.get(f"/orders/{placed.id}", headers=make.headers(buyer)).json["paybill"] is None


def test_money_that_goes_back_keeps_nobody_from_paying(
    app: Flask, client: FlaskClient, daraja: ScriptedDaraja, make: Maker, pay: Callable[[int, User], TestResponse]
) -> None:
    buyer = make.attendee()
    placed, token = make.order(buyer)
    make.deliver(token, success(placed.total_kes - 1))
    with clock.set_to(clock.ahead(seconds=130)):
        assert pay(placed.id, buyer).json["code"] == "payment_under_review"
        with app.app_context():
            refunds.refund_payment(actor=make.admin(), payment_id=placed.payments[0].id)
        shown = client.get(f"/orders/{placed.id}", headers=make.headers(buyer)).json
        assert shown["paybill"] == {"number": "174379", "account": placed.reference, "amount": placed.total_kes}
        assert "is_under_review" not in shown["payments"][0]
        assert pay(placed.id, buyer).status_code == 200
    assert daraja.count(PUSH) == 1


def test_a_till_takes_no_account_number_and_so_is_offered_to_nobody(
    app: Flask, client: FlaskClient, daraja: ScriptedDaraja, make: Maker, order: Callable[..., TestResponse]
) -> None:
    daraja.pushes = [Reply.error("500.001.1001")]
    buyer = make.attendee()
    with changed_settings(app, MPESA_TRANSACTION_TYPE="CustomerBuyGoodsOnline", MPESA_PARTY_B="600100"):
        refused = order(make.on_sale(), buyer=buyer)
        shown = client.get("/orders/1", headers=make.headers(buyer)).json
    assert (refused.status_code, refused.json["message"]) == (503, pushes.MpesaUnavailable.message)
    assert (shown["status"], shown["paybill"]) == ("pending", None)


def test_an_order_tells_its_buyer_and_admins_how_we_know_it_is_paid(client: FlaskClient, make: Maker) -> None:
    buyer, admin = make.attendee(), make.admin()
    placed, token = make.order(buyer)
    path = f"/orders/{placed.id}"
    assert client.get(path, headers=make.headers(buyer)).json["evidence"] is None
    make.deliver(token, success(placed.total_kes, "UKN0000AAA"))
    for user in (buyer, admin):
        shown = client.get(path, headers=make.headers(user)).json
        assert shown["evidence"] == {
            "channel": MessageChannel.STK_CALLBACK.value,
            "receipt": "UKN0000AAA",
            "at": shown["paid_at"],
        }


# ── Asking about silent payments ──────────────────────────────────────────────────────────────────────────────────


def test_payments_are_asked_about_together_and_within_a_budget(
    app: Flask, daraja: ScriptedDaraja, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "QUERIES_PER_SECOND", 4)
    ticket_type = make.on_sale(quantity=10)
    for _ in range(10):
        make.order(ticket_type=ticket_type)
    with app.app_context(), transaction() as session:
        session.execute(text("UPDATE payments SET checkout_request_id = 'ws_CO_' || id, next_query_at = created_at"))
    naps: list[float] = []
    monkeypatch.setattr(queries.time, "sleep", naps.append)
    with app.app_context(), changed_settings(app, QUERY_PAUSES_SECONDS=[600.0]):
        assert [queries.query_due_payments() for _ in range(4)] == [4, 4, 2, 0]
    assert daraja.count(QUERY) == 10
    # A second's budget each, whoever asks.
    assert [round(nap) for nap in naps] == [0, 1, 2, 0]
    assert {payment.status for number in range(1, 11) for payment in make.payments(number)} == {
        PaymentStatus.SUBMITTING
    }


def test_nobody_asks_about_a_payment_whose_answer_has_come_and_only_waits(
    app: Flask, daraja: ScriptedDaraja, make: Maker
) -> None:
    order, token = make.order()
    with app.app_context():
        with transaction() as session:
            session.execute(text("UPDATE payments SET checkout_request_id = 'ws_CO_1', next_query_at = created_at"))
        message_id = settlement.receive_callback(token=token, body=success(500), remote_address="127.0.0.1")
        assert queries.query_due_payments() == 0
        with transaction() as session:
            session.execute(text("UPDATE mpesa_messages SET tries = 1"))
        assert queries.query_due_payments() == 1, "an answer that could not be judged may be worth nothing"
        settlement.settle_message(message_id)
    assert daraja.count(QUERY) == 1
    assert make.status(order.id) is OrderStatus.PAID
