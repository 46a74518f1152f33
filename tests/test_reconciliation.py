"""M-PESA's own list of transactions: what it settles, what it proves, and the report of a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

import tasks
from models import (
    Alert,
    MessageChannel,
    MpesaLine,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    RequestStatus,
)
from services import booking, paybill, pulls, reconciliation, refunds, settlement
from services.booking import Line
from tests.daraja.process import Simulator
from tests.later import address_of
from tests.scripted_daraja import (
    PULL,
    RESET,
    STATUS,
    Reply,
    ScriptedDaraja,
    Seen,
    listed,
    page,
    result_of,
    scripted_daraja,
    taken,
)
from tests.support import Maker, cart, changed_settings, failure, free_port, new_receipt, success, together
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction
from utils.mpesa import Daraja
from utils.mpesa_reports import count_listed

[PULLING] = [task for task in tasks.TASKS if task.run is pulls.pull_transactions]
[REPORTING] = [task for task in tasks.TASKS if task.run is reconciliation.report_yesterday]

END = page()


@pytest.fixture
def daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    """One whose list is empty."""
    with scripted_daraja(app) as daraja:
        daraja.others[PULL] = [END]
        yield daraja


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "_PAUSE_BETWEEN_TRIES_SECONDS", 0)


@pytest.fixture
def noon() -> Iterator[datetime]:
    """Stands still at noon in Nairobi: nothing happens once a day within a test unless it says so."""
    today = clock.last_time_at(12)
    with clock.set_to(today):
        yield today


def pull(app: Flask) -> int:
    """What the worker does when it is time."""
    change(app, MpesaLine, next_pull_at=None)
    return tasks.run_once(app, PULLING)


def change(app: Flask, model: Any, row_id: int = 1, **values: Any) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(model).where(model.id == row_id).values(**values))


def line(make: Maker) -> MpesaLine:
    [row] = make.rows(MpesaLine)
    return row


def spans(daraja: ScriptedDaraja) -> list[tuple[str, str, str]]:
    return [(seen.body["StartDate"], seen.body["EndDate"], seen.body["OffSetValue"]) for seen in daraja.requests(PULL)]


def kinds(make: Maker) -> list[str]:
    return [alert.kind for alert in make.rows(Alert)]


# ── What the list settles ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_whose_push_and_callback_were_lost_is_paid_by_the_list(
    app: Flask, make: Maker, daraja: ScriptedDaraja
) -> None:
    daraja.pushes = [RESET]
    buyer, ticket_type = make.attendee(), make.on_sale(price=700)
    with app.app_context():
        placed = booking.place_order(actor=buyer, phone=buyer.phone, lines=[Line(ticket_type.id, 2)])
        assert placed.prompt is not None
        booking.pushes.send_prompt(placed.prompt)
    order = make.read_order(placed.order_id)
    [payment] = order.payments
    assert (payment.status, payment.checkout_request_id) == (PaymentStatus.UNKNOWN, None)

    daraja.others[PULL] = [page(listed("UKN0000AAA", 1400, order.reference)), END]
    assert pull(app) == 1
    order = make.read_order(order.id)
    [payment] = order.payments
    assert (order.status, len(order.tickets), payment.status) == (OrderStatus.PAID, 2, PaymentStatus.PAID)
    assert (payment.receipt, payment.paid_through) == ("UKN0000AAA", MessageChannel.PULL)
    assert payment.reconciled_at is not None
    assert [message.verdict for message in make.messages()] == ["Listed: 1, not known before: 1", "Adopt"]
    assert {message.channel for message in make.messages()} == {MessageChannel.PULL}

    daraja.others[PULL] = [page(listed("UKN0000AAA", 1400, order.reference)), END]
    pull(app)
    assert (len(make.tickets()), len(make.rows(Payment))) == (2, 1)


def test_what_the_list_agrees_with_is_marked(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    orders = [make.paid_order() for _ in range(3)]
    assert {payment.reconciled_at for payment in make.rows(Payment)} == {None}
    daraja.others[PULL] = [page(*(listed(one.receipt or "", one.total_kes, one.reference) for one in orders)), END]
    assert pull(app) == 3
    assert all(payment.reconciled_at for payment in make.rows(Payment))
    assert [message.verdict for message in make.messages()[3:]] == ["Listed: 3, not known before: 0"]


def test_every_line_is_settled_by_itself(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    """One that cannot be settled holds up no other of its page."""
    orders = [make.order()[0] for _ in range(3)]
    broken = orders[1].items[0].ticket_type_id
    with app.app_context(), transaction() as session:
        session.connection().exec_driver_sql(f"UPDATE ticket_types SET held = 0 WHERE id = {broken}")
    daraja.others[PULL] = [page(*(listed(new_receipt(), one.total_kes, one.reference) for one in orders)), END]
    pull(app)
    statuses = [make.status(one.id) for one in orders]
    assert statuses == [OrderStatus.PAID, OrderStatus.PENDING, OrderStatus.PAID]
    with app.app_context(), transaction() as session:
        session.connection().exec_driver_sql(f"UPDATE ticket_types SET held = 1 WHERE id = {broken}")
    with app.app_context(), clock.set_to(clock.ahead(seconds=5)):
        assert settlement.settle_waiting_messages() == 1
    assert make.status(orders[1].id) is OrderStatus.PAID


def test_money_that_was_taken_back_again_makes_no_tickets(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    order, _ = make.order()
    back = listed("UKN0000BBB", order.total_kes, "UKN0000AAA", kind="Pay Bill Reversal")
    daraja.others[PULL] = [page(back, listed("UKN0000AAA", order.total_kes, order.reference)), END]
    pull(app)
    [payment] = make.payments(order.id)
    assert (payment.status, make.status(order.id)) == (PaymentStatus.REVERSED, OrderStatus.REFUNDED)
    assert {ticket.status.value for ticket in make.tickets()} == {"void"}

    messages = len(make.messages())
    pull(app)
    assert len(make.messages()) == messages


def test_a_reversal_that_was_our_own_is_news_until_we_know_that_it_was_carried_out(
    app: Flask, make: Maker, daraja: ScriptedDaraja
) -> None:
    order = make.paid_order()
    with app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
        with transaction() as session:
            session.execute(update(Refund).values(status=RefundStatus.SENT))
    back = listed("UKN0000BBB", order.total_kes, order.receipt or "", kind="Pay Bill Reversal")

    def verdict() -> str | None:
        daraja.others[PULL] = [page(back), END]
        pull(app)
        pages = [one for one in make.messages() if one.channel is MessageChannel.PULL and one.receipt is None]
        return pages[-1].verdict

    assert (verdict(), make.rows(Refund)[0].status) == ("Listed: 1, not known before: 1", RefundStatus.DONE)
    assert verdict() == "Listed: 1, not known before: 0"
    assert make.status(order.id) is OrderStatus.REFUNDED


# ── End to end, with the simulator ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def deaf(app: Flask, simulator: Simulator) -> Iterator[Simulator]:
    """Safaricom's stand-in for an app that none of its posts reach."""
    settings, before = app.extensions["settings"], app.extensions["daraja"]
    app.extensions["daraja"] = Daraja(
        base_url=simulator.url,
        consumer_key=settings.MPESA_CONSUMER_KEY,
        consumer_secret=settings.MPESA_CONSUMER_SECRET,
        shortcode=settings.MPESA_SHORTCODE,
        passkey=settings.MPESA_PASSKEY,
        callback_url=f"http://127.0.0.1:{free_port()}/api/payment/callback",
        connect_seconds=1,
        answer_seconds=2,
    )
    yield simulator
    app.extensions["daraja"] = before


@pytest.mark.parametrize("row", ["044", "045", "047"], ids=["no answer", "cut off", "a web page"])
def test_a_lost_answer_and_a_lost_callback_still_end_in_tickets(
    app: Flask, client: FlaskClient, make: Maker, deaf: Simulator, row: str
) -> None:
    ticket_type = make.on_sale(price=500)
    body = cart((ticket_type, 2), phone=f"254700000{row}")
    answer = client.post("/orders", json=body, headers=make.headers(make.attendee()))
    assert answer.status_code == 201
    order_id = answer.json["orderId"]
    assert make.payments(order_id)[0].checkout_request_id is None
    wait_until(lambda: deaf.ledger() != [])
    wait_until(lambda: pull(app) > 0)
    order = make.read_order(order_id)
    assert (order.status, len(order.tickets)) == (OrderStatus.PAID, 2)
    assert order.receipt == deaf.ledger()[0]["receipt"]
    assert client.get(f"/payments/check/{answer.json['checkoutRequestID']}").json["data"]["ResultCode"] == "0"


def test_money_that_safaricom_takes_back_by_itself_is_found_in_the_list(
    app: Flask, client: FlaskClient, make: Maker, deaf: Simulator
) -> None:
    ticket_type = make.on_sale(price=500)
    body = cart((ticket_type, 1), phone="254700000045")
    order_id = client.post("/orders", json=body, headers=make.headers(make.attendee())).json["orderId"]
    wait_until(lambda: deaf.ledger() != [] and pull(app) > 0)
    assert make.status(order_id) is OrderStatus.PAID
    deaf.reverse(deaf.ledger()[0]["receipt"])
    wait_until(lambda: pull(app) and make.status(order_id) is OrderStatus.REFUNDED)
    assert {ticket.status.value for ticket in make.tickets()} == {"void"}
    assert make.read_ticket_type(ticket_type.id).sold == 0


# ── Pages and turns ───────────────────────────────────────────────────────────────────────────────────────────────


def test_pages_are_asked_for_until_one_is_empty(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    rows = [listed(new_receipt(), 10, "CHAMA") for _ in range(5)]
    daraja.others[PULL] = [page(*rows[:2]), page(*rows[2:4]), page(*rows[4:]), END]
    assert pull(app) == 5
    assert [offset for _, _, offset in spans(daraja)] == ["0", "2", "4", "5"]
    assert len({(start, end) for start, end, _ in spans(daraja)}) == 1
    assert line(make).pulled_until == noon
    assert line(make).next_pull_at == noon + timedelta(minutes=15)
    assert {payment.status for payment in make.rows(Payment)} == {PaymentStatus.QUARANTINED}


def test_empty_answers_are_not_kept(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    assert pull(app) == 0
    assert (make.messages(), daraja.count(PULL)) == ([], 1)
    assert line(make).pulled_until is not None


def test_a_daraja_that_knows_no_offset_is_not_asked_for_ever(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    daraja.others[PULL] = [page(listed("UKN0000AAA", 10, "CHAMA"))]
    assert pull(app) == 1
    assert (daraja.count(PULL), len(make.rows(Payment))) == (2, 1)


def test_each_pull_begins_where_the_last_one_ended_with_some_overlap(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    pull(app)
    with clock.set_to(noon + timedelta(minutes=15)):
        pull(app)
    first, second = spans(daraja)
    day = f"{noon.astimezone(clock.NAIROBI):%Y-%m-%d}"
    two_days_before = f"{noon.astimezone(clock.NAIROBI) - timedelta(days=2):%Y-%m-%d}"
    assert first == (f"{two_days_before} 12:05:00", f"{day} 12:00:00", "0")
    assert second == (f"{day} 11:50:00", f"{day} 12:15:00", "0")


def test_after_a_long_silence_the_gap_is_told(app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime) -> None:
    pull(app)
    with clock.set_to(noon + timedelta(days=4)):
        pull(app)
        assert kinds(make) == ["pull_gap"]
        assert line(make).pulled_until == clock.now()
    assert spans(daraja)[1][0][11:] == "12:05:00"


def test_once_a_day_all_that_is_listed_is_read_again(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    pull(app)
    with clock.set_to(noon + timedelta(hours=16)):
        pull(app)
    assert daraja.count(PULL) == 2
    late = listed("UKN0000AAA", 10, "CHAMA", at=noon - timedelta(hours=6))
    with clock.set_to(noon + timedelta(hours=17, minutes=1)):
        daraja.others[PULL] = [END, page(late), END]
        assert pull(app) == 1
        pull(app)
    assert (daraja.count(PULL), len(make.rows(Payment))) == (6, 1)


def test_the_days_rereading_is_tried_again_until_all_of_it_has_come(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    pull(app)
    late = listed("UKN0000AAA", 10, "CHAMA", at=noon - timedelta(hours=6))
    with clock.set_to(noon + timedelta(hours=17, minutes=1)):
        daraja.others[PULL] = [END, Reply(503)]
        assert pull(app) == 0
        assert line(make).pulled_until == noon
        assert line(make).next_pull_at == clock.ahead(minutes=1)
    with clock.set_to(noon + timedelta(hours=17, minutes=3)):
        daraja.others[PULL] = [END, page(late), END]
        assert tasks.run_once(app, PULLING) == 1
        assert line(make).pulled_until == clock.now()
    assert [payment.receipt for payment in make.rows(Payment)] == ["UKN0000AAA"]


def test_two_workers_pull_once(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    together(*[lambda: tasks.run_once(app, PULLING)] * 4)
    assert daraja.count(PULL) == 1
    tasks.run_once(app, PULLING)
    assert daraja.count(PULL) == 1


def test_it_is_not_pulled_where_the_settings_say_never(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    with changed_settings(app, PULL_MINUTES=0):
        assert pull(app) == 0
    assert daraja.seen == []


def cut(reply: Reply) -> Reply:
    return Reply(200, reply.body[: len(reply.body) // 2])


@pytest.mark.parametrize(
    "bad",
    [
        cut(page(listed("UKN0000BBB", 10, "CHAMA"))),
        Reply.error("500.003.1001"),
        Reply(502, b"<html>"),
        Reply(200),
        RESET,
        Reply.json(ResponseCode="1000", Response=[[{"transactionID": "UKN0000BBB", "sum": 10}]]),
    ],
    ids=["cut off", "error", "gateway", "nothing", "reset", "unreadable rows"],
)
def test_a_page_that_does_not_come_changes_nothing_and_is_tried_again_in_a_minute(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime, bad: Reply
) -> None:
    pull(app)
    good = page(listed("UKN0000AAA", 10, "CHAMA"))
    with clock.set_to(noon + timedelta(minutes=15)):
        daraja.others[PULL] = [good, bad]
        assert pull(app) == 0
        assert line(make).pulled_until == noon
        assert line(make).next_pull_at == noon + timedelta(minutes=16)
        assert [payment.receipt for payment in make.rows(Payment)] == ["UKN0000AAA"]
        assert tasks.run_once(app, PULLING) == 0
    with clock.set_to(noon + timedelta(minutes=17)):
        daraja.others[PULL] = [good, page(listed("UKN0000BBB", 10, "CHAMA")), END]
        assert tasks.run_once(app, PULLING) == 2
    assert [payment.receipt for payment in make.rows(Payment)] == ["UKN0000AAA", "UKN0000BBB"]
    assert line(make).pulled_until == noon + timedelta(minutes=17)


def test_a_page_that_fails_now_and_then_is_asked_for_again_before_the_pull_is_given_up(
    app: Flask, make: Maker, daraja: ScriptedDaraja
) -> None:
    rows = [listed(new_receipt(), 10, "CHAMA") for _ in range(2)]
    faults = [RESET, Reply.error("500.003.1001"), cut(page(rows[0]))]
    daraja.others[PULL] = [*faults, page(rows[0]), *faults, page(rows[1]), *faults, END]
    assert pull(app) == 2
    assert [offset for _, _, offset in spans(daraja)] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert line(make).pulled_until is not None


def test_nobody_else_begins_to_pull_while_a_page_is_asked_for_again(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    """The lease is for one answer, and several are waited for."""
    daraja.others[PULL] = [RESET, END]
    leases = []

    def let_time_pass(seen: Seen) -> None:
        if seen.path == PULL:
            leases.append(line(make).next_pull_at)
            change(app, MpesaLine, next_pull_at=noon)

    daraja.before_answering = let_time_pass
    pull(app)
    assert leases == [noon + timedelta(seconds=paybill.PULL_LEASE_SECONDS)] * 2


def test_an_answer_that_cannot_be_read_is_kept_as_it_came(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    bad = Reply.json(ResponseCode="1000", Response=[[{"transactionID": "UKN0000BBB", "sum": 10}]])
    gateway = Reply(502, b"<html>")
    for kept, (first, last) in enumerate([(gateway, gateway), (bad, bad), (bad, RESET)], start=1):
        daraja.others[PULL] = [first, first, first, last]
        assert pull(app) == 0
        message = make.messages()[-1]
        assert len(make.messages()) == kept
        assert (message.channel, message.body) == (MessageChannel.PULL, first.body)
        assert (message.http_status, message.verdict) == (first.status, "Unreadable")
        assert message.settled_at is not None
    daraja.others[PULL] = [RESET]
    pull(app)
    assert len(make.messages()) == 3
    assert kinds(make).count("pull_unreadable") == 1


def test_a_list_that_stays_away_is_told_once_a_day(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    pull(app)
    daraja.others[PULL] = [Reply(503)]
    for hours in (1, 7, 8, 32):
        with clock.set_to(noon + timedelta(hours=hours)):
            pull(app)
    assert kinds(make) == ["pull_failing", "pull_failing"]


def test_rows_that_cannot_be_read_are_told_and_counted(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    odd = listed("UKN0000AAA", 10, "CHAMA") | {"amount": "ten"}
    answer = page(odd, listed("UKN0000BBB", 10, "CHAMA"))
    assert count_listed(answer.body) == 2
    daraja.others[PULL] = [answer, END]
    assert pull(app) == 2
    assert [offset for _, _, offset in spans(daraja)] == ["0", "2"]
    assert "pull_unreadable" in kinds(make)


def test_who_wishes_for_the_list_gets_it_at_once_but_not_again_and_again(
    app: Flask, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    def wish() -> datetime | None:
        with app.app_context(), transaction():
            paybill.pull_soon()
        return line(make).next_pull_at

    pull(app)
    assert wish() == noon + timedelta(seconds=15)
    with clock.set_to(noon + timedelta(minutes=5)):
        change(app, MpesaLine, next_pull_at=clock.ahead(minutes=10))
        assert wish() == clock.now()
        change(app, MpesaLine, next_pull_at=clock.ahead(seconds=60))
        assert wish() == clock.ahead(seconds=60)


# ── Prompts nobody heard of ───────────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_nobody_heard_of_fails_once_the_list_has_passed_it(
    app: Flask, make: Maker, daraja: ScriptedDaraja
) -> None:
    order, token = make.order()
    pull(app)
    assert make.payments(order.id)[0].status is PaymentStatus.SUBMITTING
    with clock.set_to(clock.ahead(minutes=16)):
        pull(app)
    [payment] = make.payments(order.id)
    assert (payment.status, payment.result_code) == (PaymentStatus.FAILED, "not_paid")
    assert payment.result_text is not None
    make.deliver(token, success(order.total_kes))
    assert make.status(order.id) is OrderStatus.PAID


def test_money_the_list_shows_late_still_pays_after_that(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    order, token = make.order()
    with clock.set_to(clock.ahead(minutes=16)):
        pull(app)
        daraja.others[PULL] = [page(listed("UKN0000AAA", order.total_kes, order.reference)), END]
        pull(app)
        assert make.status(order.id) is OrderStatus.PAID
        make.deliver(token, success(order.total_kes, "UKN0000AAA"))
    assert (len(make.tickets()), make.rows(Refund)) == (1, [])


def test_a_prompt_that_was_heard_of_is_left_alone(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    prompted, token = make.order()
    make.deliver(token, failure(7777, checkout="ws_CO_1"))
    claimed, token = make.order()
    make.deliver(token, success(None, None))
    with clock.set_to(clock.ahead(minutes=16)):
        pull(app)
    assert make.payments(prompted.id)[0].status is PaymentStatus.UNKNOWN
    assert make.payments(claimed.id)[0].status is PaymentStatus.SUBMITTING


def test_nothing_is_given_up_while_a_listed_line_is_not_settled(
    app: Flask, make: Maker, daraja: ScriptedDaraja
) -> None:
    order, _ = make.order()
    with app.app_context(), transaction():
        settlement.store(None, MessageChannel.PULL, b"{}")
    with clock.set_to(clock.ahead(minutes=16)):
        pull(app)
        assert make.payments(order.id)[0].status is PaymentStatus.SUBMITTING
        with app.app_context():
            settlement.settle_waiting_messages()
        pull(app)
    assert make.payments(order.id)[0].status is PaymentStatus.FAILED


def test_nothing_is_given_up_while_the_list_does_not_come(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    order, _ = make.order()
    daraja.others[PULL] = [Reply(503)]
    with clock.set_to(clock.ahead(hours=20)):
        pull(app)
    assert make.payments(order.id)[0].status is PaymentStatus.SUBMITTING


# ── Payments the list does not show ───────────────────────────────────────────────────────────────────────────────


def test_a_payment_missing_from_the_list_is_asked_about_once(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    missing, shown = make.paid_order(), make.paid_order()
    daraja.others[STATUS] = [Reply.json(ConversationID="AG_1", OriginatorConversationID="1", ResponseCode="0")]
    daraja.others[PULL] = [page(listed(shown.receipt or "", shown.total_kes, shown.reference)), END]
    pull(app)
    assert daraja.count(STATUS) == 0
    with clock.set_to(clock.ahead(minutes=61)):
        pull(app)
        pull(app)
    assert [seen.body["TransactionID"] for seen in daraja.requests(STATUS)] == [missing.receipt]
    [asked] = make.rows(MpesaRequest)
    assert (asked.receipt, asked.refund_id) == (missing.receipt, None)


def test_a_question_that_was_refused_is_put_again_later(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    make.paid_order()
    with clock.set_to(clock.ahead(minutes=61)):
        pull(app)
        pull(app)
    assert daraja.count(STATUS) == 1
    with clock.set_to(clock.ahead(minutes=130)):
        pull(app)
    assert daraja.count(STATUS) == 2


@pytest.mark.parametrize("answer", [RESET, taken("AG_1")], ids=["its answer", "its result"])
def test_a_question_of_which_something_was_lost_is_put_again_later(
    app: Flask, make: Maker, daraja: ScriptedDaraja, answer: Reply
) -> None:
    make.paid_order()
    daraja.others[STATUS] = [answer]
    for minutes, asked in ((61, 1), (115, 1), (130, 2), (200, 3)):
        with clock.set_to(clock.ahead(minutes=minutes)):
            pull(app)
        assert daraja.count(STATUS) == asked


def test_a_question_that_was_answered_is_not_put_again(
    app: Flask, client: FlaskClient, make: Maker, daraja: ScriptedDaraja
) -> None:
    order = make.paid_order()
    daraja.others[STATUS] = [taken("AG_1")]
    with clock.set_to(clock.ahead(minutes=61)):
        pull(app)
    told = result_of("AG_1", TransactionStatus="Completed", Amount=order.total_kes, ReceiptNo=order.receipt)
    client.post(address_of(daraja.requests(STATUS)[0].body), json=told)
    wait_until(lambda: make.rows(MpesaRequest)[0].status is RequestStatus.ANSWERED)
    with clock.set_to(clock.ahead(minutes=200)):
        pull(app)
    assert daraja.count(STATUS) == 1


def test_without_an_initiator_nobody_is_asked(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    make.paid_order()
    with changed_settings(app, MPESA_INITIATOR_NAME=""), clock.set_to(clock.ahead(minutes=61)):
        pull(app)
    assert daraja.count(STATUS) == 0


# ── The report of a day ───────────────────────────────────────────────────────────────────────────────────────────


def fetch(client: FlaskClient, make: Maker, day: str = "") -> dict[str, Any]:
    answer = client.get("/admin/reconciliation", query_string={"day": day}, headers=make.headers(make.admin()))
    assert answer.status_code == 200, answer.json
    return answer.json


def test_a_day_that_adds_up_is_clean(
    app: Flask, client: FlaskClient, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    with clock.set_to(noon - timedelta(days=1)):
        order = make.paid_order(quantity=2)
        make.order(ticket_type=make.on_sale(price=0))
        daraja.others[PULL] = [page(listed(order.receipt or "", order.total_kes, order.reference)), END]
        pull(app)
    with clock.set_to(noon):
        told = fetch(client, make)
    assert told.pop("pulled_until") is not None
    assert told == {
        "day": f"{noon - timedelta(days=1):%Y-%m-%d}",
        "is_clean": True,
        "amount_in": 1000,
        "amount_back": 0,
        "money_without_order": [],
        "orders_without_money": [],
        "open_refunds": [],
        "cut_short": [],
    }


def test_what_does_not_add_up_is_listed(
    app: Flask, client: FlaskClient, make: Maker, daraja: ScriptedDaraja, noon: datetime
) -> None:
    with clock.set_to(noon - timedelta(days=1)):
        no_receipt, _ = make.order()
        make.settle_query(no_receipt.payments[0].id, b'{"ResponseCode": "0", "ResultCode": "0"}')
        not_listed = make.paid_order()
        nobodys = make.suspense(300)
        refund = make.failed_refund()
        pull(app)
    with clock.set_to(noon + timedelta(minutes=1)):
        pull(app)
        told = fetch(client, make)
        today = fetch(client, make, f"{noon:%Y-%m-%d}")
    assert told["is_clean"] is False
    assert told["amount_in"] == 300 + 3 * 500
    assert [one["receipt"] for one in told["money_without_order"]] == [nobodys.receipt]
    assert {(one["order_id"], one["why"]) for one in told["orders_without_money"]} >= {
        (no_receipt.reference, "no_receipt"),
        (not_listed.reference, "not_listed"),
    }
    assert [one["id"] for one in told["open_refunds"]] == [refund.id]
    assert (today["amount_in"], today["money_without_order"], today["orders_without_money"]) == (0, [], [])


def test_an_order_paid_by_nothing_is_listed(app: Flask, client: FlaskClient, make: Maker, noon: datetime) -> None:
    order, _ = make.order()
    change(app, Order, order.id, status=OrderStatus.PAID, paid_at=noon)
    [told] = fetch(client, make, f"{noon:%Y-%m-%d}")["orders_without_money"]
    assert (told["id"], told["why"], told["payment_id"]) == (order.id, "no_payment", None)


def test_money_that_went_back_is_counted_on_its_day(
    app: Flask, client: FlaskClient, make: Maker, noon: datetime
) -> None:
    refund, reversed_ = make.failed_refund(), make.paid_order()
    change(app, Refund, refund.id, status=RefundStatus.DONE, done_at=noon)
    with app.app_context(), transaction():
        paybill.take_back(reversed_.receipt or "", channel=MessageChannel.PULL)
    told = fetch(client, make, f"{noon:%Y-%m-%d}")
    assert (told["amount_in"], told["amount_back"], told["open_refunds"]) == (1000, 1000, [])


def test_a_long_report_says_that_it_is_cut_short(
    app: Flask, client: FlaskClient, make: Maker, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "_MOST_ROWS", 2)
    for _ in range(3):
        make.suspense()
    told = fetch(client, make, f"{noon:%Y-%m-%d}")
    assert (len(told["money_without_order"]), told["cut_short"]) == (2, ["money_without_order"])


@pytest.mark.parametrize(
    "day", ["yesterday", "2026-02-30", "23-11-2026", "1764000000", "2026-11-23T00:00", "0001-01-01"]
)
def test_nonsense_is_no_day(client: FlaskClient, make: Maker, day: str) -> None:
    answer = client.get("/admin/reconciliation", query_string={"day": day}, headers=make.headers(make.admin()))
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "day")


def test_midnight_is_nairobis(client: FlaskClient, make: Maker) -> None:
    midnight = clock.last_time_at(0)
    for moment in (midnight - timedelta(seconds=1), midnight):
        with clock.set_to(moment):
            make.suspense()
    assert len(fetch(client, make)["money_without_order"]) == 1
    assert len(fetch(client, make, f"{midnight.astimezone(clock.NAIROBI):%Y-%m-%d}")["money_without_order"]) == 1


# ── Every morning ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_report_is_made_once_every_morning_and_raises_one_alert(app: Flask, make: Maker, noon: datetime) -> None:
    with clock.set_to(noon - timedelta(days=1)):
        make.suspense()
    quarantined = kinds(make)
    morning = noon - timedelta(hours=6)
    with clock.set_to(morning - timedelta(minutes=1)):
        change(app, MpesaLine, reported_at=None)
        assert tasks.run_once(app, REPORTING) == 1  # the one of the day before that was never made
        assert kinds(make) == quarantined
    with clock.set_to(morning + timedelta(minutes=1)):
        assert sum(together(*[lambda: _at(morning + timedelta(minutes=1), app)] * 3)) == 1
        assert tasks.run_once(app, REPORTING) == 0
    assert kinds(make) == [*quarantined, "reconciliation"]
    assert "1 payments without an order" in make.rows(Alert)[-1].message
    with clock.set_to(morning + timedelta(days=1, minutes=1)):
        assert tasks.run_once(app, REPORTING) == 1
    assert kinds(make) == [*quarantined, "reconciliation"]


def _at(instant: datetime, app: Flask) -> int:
    """A thread has a clock of its own."""
    with clock.set_to(instant):
        return tasks.run_once(app, REPORTING)


def test_nothing_is_left_checked_out(app: Flask, make: Maker, daraja: ScriptedDaraja) -> None:
    make.paid_order()
    tasks.run_once(app, PULLING)
    tasks.run_once(app, REPORTING)
    with app.app_context():
        assert db.engine.pool.checkedout() == 0
