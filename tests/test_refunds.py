"""Money back: who gets it, how it travels, and what happens when M-PESA is silent, slow or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from models import (
    Alert,
    AuditLog,
    MessageChannel,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    Refund,
    RefundStatus,
    RequestKind,
    RequestStatus,
    Ticket,
    TicketStatus,
    User,
)
from services import paybill, payouts, reconciliation, refunds, settlement
from services.questions import Question
from tests.daraja.process import Simulator
from tests.later import Safaricom, address_of, post_before_the_answer
from tests.scripted_daraja import PAYOUT, RESET, REVERSAL, STATUS, Reply, Seen, result_of, scripted_daraja
from tests.support import Maker, cart, changed_settings, failure, new_receipt, success, together
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction
from utils.mpesa_reports import MoneyIn


@pytest.fixture
def safaricom(app: Flask) -> Iterator[Safaricom]:
    with scripted_daraja(app) as daraja:
        yield Safaricom(app, daraja)


class Shop:
    """An organizer with one event and one ticket type, who refunds."""

    def __init__(self, make: Maker, *, price: int = 500, **facts: Any) -> None:
        self.make = make
        self.organizer = make.organizer()
        self.event = make.event(self.organizer, **facts)
        self.ticket_type = make.ticket_type(self.event, price=price)

    def sell(self, quantity: int = 1) -> Order:
        return self.make.paid_order(self.make.attendee(), self.ticket_type, quantity=quantity)

    def refund(self, order: Order, *tickets: Ticket, by: User | None = None) -> TestResponse:
        body = {"tickets": [ticket.id for ticket in tickets]} if tickets else {}
        headers = self.make.headers(by or self.organizer)
        return self.make.app.test_client().post(f"/orders/{order.id}/refund", json=body, headers=headers)

    @property
    def sold(self) -> int:
        return self.make.read_ticket_type(self.ticket_type.id).sold

    def end_ticket(self, ticket: Ticket, status: TicketStatus = TicketStatus.USED) -> None:
        with self.make.app.app_context(), transaction() as session:
            session.get_one(Ticket, ticket.id).status = status


@pytest.fixture
def shop(make: Maker) -> Shop:
    return Shop(make)


def only_refund(make: Maker) -> Refund:
    [refund] = make.rows(Refund)
    return refund


def statuses(make: Maker, order: Order) -> tuple[OrderStatus, RefundStatus, set[TicketStatus]]:
    """Of the order, its only refund, and its tickets."""
    whole = make.read_order(order.id)
    return whole.status, only_refund(make).status, {ticket.status for ticket in whole.tickets}


GOING = (OrderStatus.REFUND_DUE, RefundStatus.SENT, {TicketStatus.VOID})
GONE = (OrderStatus.REFUNDED, RefundStatus.DONE, {TicketStatus.VOID})
FAILED = (OrderStatus.REFUND_DUE, RefundStatus.FAILED, {TicketStatus.VOID})


# ── How money travels ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_order_goes_back_by_undoing_its_payment(
    client: FlaskClient, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell(2)
    answer = shop.refund(order)
    assert answer.status_code == 200, answer.json
    assert (answer.json["status"], answer.json["refund_reason"]) == ("refund_due", "requested")
    assert {ticket["status"] for ticket in answer.json["tickets"]} == {"void"}
    [shown] = answer.json["refunds"]
    assert (shown["amount"], shown["status"], shown["reason"], shown["done_at"]) == (
        1000,
        "requested",
        "requested",
        None,
    )
    assert shop.sold == 0

    assert safaricom.work() == 1
    [sent] = safaricom.sent(REVERSAL)
    assert (sent["TransactionID"], sent["Amount"]) == (order.receipt, 1000)
    assert statuses(make, order) == GOING
    safaricom.tell(REVERSAL)
    assert statuses(make, order) == GONE
    assert only_refund(make).receipt == "SG632NMUAB"
    headers = make.headers(db_user(make, order.buyer_id))
    seen = client.get(f"/orders/{order.id}", headers=headers).json
    assert (seen["status"], seen["refunds"][0]["status"]) == ("refunded", "done")
    assert seen["refunds"][0]["done_at"].endswith("+03:00")


def db_user(make: Maker, user_id: int) -> User:
    with make.app.app_context():
        return db.session.get_one(User, user_id)


def test_some_tickets_of_an_order_are_paid_out_to_the_phone_that_paid(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell(3)
    answer = shop.refund(order, order.tickets[1])
    assert (answer.json["status"], answer.json["refunds"][0]["amount"]) == ("partly_refunded", 500)
    assert [ticket["status"] for ticket in answer.json["tickets"]] == ["valid", "void", "valid"]
    assert shop.sold == 2

    safaricom.work()
    [sent] = safaricom.sent(PAYOUT)
    assert (sent["PartyB"], sent["Amount"]) == (order.phone, 500)
    [request] = make.rows(MpesaRequest)
    assert sent["OriginatorConversationID"] == request.originator_conversation_id
    safaricom.tell(PAYOUT, TransactionReceipt="SG632NMUAB")
    assert make.status(order.id) is OrderStatus.PARTLY_REFUNDED
    assert only_refund(make).status is RefundStatus.DONE

    # The rest is a part as well, since M-PESA undoes whole payments alone.
    assert shop.refund(order).json["status"] == "refund_due"
    safaricom.work()
    assert [sent["Amount"] for sent in safaricom.sent(PAYOUT)] == [500, 1000]
    safaricom.tell(PAYOUT, TransactionReceipt="SG632NMUAC")
    assert make.status(order.id) is OrderStatus.REFUNDED
    assert make.payments(order.id)[0].refunded_kes == 1500
    assert safaricom.sent(REVERSAL) == []


def test_less_than_mpesa_pays_out_waits_for_a_person(client: FlaskClient, make: Maker, safaricom: Safaricom) -> None:
    shop = Shop(make, price=9)
    order = shop.sell(2)
    assert shop.refund(order, order.tickets[0]).json["refunds"][0]["status"] == "by_hand"
    assert safaricom.work() == 0
    assert [alert.kind for alert in make.rows(Alert)] == ["refund_by_hand"]
    address = f"/admin/refunds/{only_refund(make).id}/by-hand"
    answer = client.post(address, json={"receipt": " sg632nmuab "}, headers=make.headers(make.admin()))
    assert (answer.status_code, answer.json["status"], answer.json["receipt"]) == (200, "done", "SG632NMUAB")


def test_without_an_initiator_everything_waits_for_a_person(
    app: Flask, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell()
    with changed_settings(app, MPESA_INITIATOR_NAME=""):
        shop.refund(order)
    assert statuses(make, order) == (OrderStatus.REFUND_DUE, RefundStatus.BY_HAND, {TicketStatus.VOID})
    assert safaricom.work() == 0


def test_a_part_of_money_paid_by_hand_is_not_paid_out_to_a_number_somebody_typed(
    app: Flask, make: Maker, shop: Shop
) -> None:
    order, token = make.order(make.attendee(), shop.ticket_type, quantity=2)
    make.deliver(token, failure())
    with app.app_context(), transaction():
        money = MoneyIn(new_receipt(), Decimal(order.total_kes), order.reference)
        paybill.settle_money(money, channel=MessageChannel.PULL, received_at=clock.now())
    order = make.read_order(order.id)
    assert (order.status, order.receipt) == (OrderStatus.PAID, money.receipt)
    assert shop.refund(order, order.tickets[0]).json["refunds"][0]["status"] == "by_hand"


def test_a_free_order_ends_at_once(make: Maker, safaricom: Safaricom) -> None:
    shop = Shop(make, price=0)
    order, _ = make.order(make.attendee(), shop.ticket_type, quantity=2)
    order = make.read_order(order.id)
    assert shop.refund(order, order.tickets[0]).json["status"] == "partly_refunded"
    answer = shop.refund(order)
    assert (answer.json["status"], answer.json["refunds"]) == ("refunded", [])
    assert shop.sold == 0
    assert safaricom.work() == 0


def test_free_tickets_left_of_an_order_that_is_paid_back_end_at_once(make: Maker, safaricom: Safaricom) -> None:
    shop = Shop(make)
    free = make.ticket_type(shop.event, name="Child", price=0)
    order, token = make.place(make.attendee(), (shop.ticket_type, 1), (free, 1))
    make.deliver(token, success(order.total_kes, new_receipt()))
    order = make.read_order(order.id)
    [paid] = [ticket for ticket in order.tickets if ticket.price_kes]
    shop.refund(order, paid)
    safaricom.work()
    safaricom.tell(REVERSAL)
    assert make.status(order.id) is OrderStatus.PARTLY_REFUNDED
    assert shop.refund(order).json["status"] == "refunded"


# ── Who may, and when ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_used_ticket_is_refunded_by_an_admin_alone(make: Maker, shop: Shop) -> None:
    order = shop.sell(2)
    used, unused = order.tickets
    shop.end_ticket(used)
    for tickets in ((), (used,), (used, unused)):
        answer = shop.refund(order, *tickets)
        assert (answer.status_code, answer.json["code"]) == (409, "already_used")
    assert make.rows(Refund) == []
    assert shop.refund(order, unused).status_code == 200
    assert shop.refund(order, used, by=make.admin()).json["status"] == "refund_due"


@pytest.mark.parametrize(("hours", "code"), [(None, "no_refunds"), (24 * 8, "too_late"), (24 * 6, None)])
def test_an_organizer_refunds_within_the_events_policy_and_an_admin_always(
    make: Maker, hours: int | None, code: str | None
) -> None:
    shop = Shop(make, refund_until_hours=hours)  # in seven days
    answer = shop.refund(shop.sell())
    assert (answer.status_code, answer.json.get("code")) == ((403, code) if code else (200, None))
    assert shop.refund(shop.sell(), by=make.admin()).status_code == 200


def test_an_order_of_another_organizers_event_does_not_exist(make: Maker, shop: Shop) -> None:
    order = shop.sell()
    assert shop.refund(order, by=make.organizer()).status_code == 404
    assert shop.refund(order, by=make.attendee()).status_code == 403
    answer = make.app.test_client().post("/orders/9999/refund", json={}, headers=make.headers(shop.organizer))
    assert answer.status_code == 404


def test_what_cannot_be_refunded_is_told_apart(make: Maker, shop: Shop) -> None:
    unpaid, _ = make.order(make.attendee(), shop.ticket_type)
    assert shop.refund(unpaid).json["code"] == "order_not_paid"
    order, other = shop.sell(2), shop.sell()
    assert shop.refund(order, other.tickets[0]).json["code"] == "ticket_not_in_order"
    first, second = order.tickets
    assert shop.refund(order, first, first).json["refunds"][0]["amount"] == 500
    assert shop.refund(order, first, second).json["code"] == "already_refunded"
    assert shop.refund(order, second).status_code == 200
    assert shop.refund(order).json["code"] == "order_not_paid"


@pytest.mark.parametrize("body", [{"tickets": []}, {"tickets": ["x"]}, {"tickets": 1}, {"all": True}, {"tickets": [0]}])
def test_a_body_that_says_something_else_is_refused(make: Maker, shop: Shop, body: dict[str, Any]) -> None:
    order = shop.sell()
    answer = make.app.test_client().post(f"/orders/{order.id}/refund", json=body, headers=make.headers(shop.organizer))
    assert answer.status_code == 422
    assert make.rows(Refund) == []


def test_a_refund_asked_for_many_times_at_once_is_given_once(make: Maker, shop: Shop) -> None:
    order = shop.sell(2)
    answers = together(*[lambda: shop.refund(order)] * 6)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert only_refund(make).amount_kes == 1000
    assert make.payments(order.id)[0].refunded_kes == 1000
    assert shop.sold == 0


def test_two_tickets_refunded_at_once_are_two_refunds(make: Maker, shop: Shop) -> None:
    order = shop.sell(2)
    first, second = order.tickets
    answers = together(lambda: shop.refund(order, first), lambda: shop.refund(order, second))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [refund.amount_kes for refund in make.rows(Refund)] == [500, 500]
    assert make.status(order.id) is OrderStatus.REFUND_DUE
    assert shop.sold == 0


def test_every_refund_says_in_the_log_who_asked_for_it(make: Maker, shop: Shop) -> None:
    order = shop.sell()
    shop.refund(order)
    [line] = [line for line in make.rows(AuditLog) if line.action == "order_refund_started"]
    assert (line.user_id, line.target_id) == (shop.organizer.id, order.id)
    assert only_refund(make).requested_by_id == shop.organizer.id


# ── Places ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_places_of_an_event_that_has_started_are_not_given_back(make: Maker, shop: Shop) -> None:
    order = shop.sell(2)
    with make.app.app_context(), clock.set_to(shop.event.starts_at + timedelta(minutes=1)):
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
    assert shop.sold == 2


def test_a_place_that_was_given_back_is_sold_again(make: Maker) -> None:
    shop = Shop(make)
    last = make.ticket_type(shop.event, name="Last", quantity=1)
    order = make.paid_order(make.attendee(), last)
    shop.refund(order)
    assert make.paid_order(make.attendee(), last).status is OrderStatus.PAID
    assert make.read_ticket_type(last.id).sold == 1


# ── A cancelled event ─────────────────────────────────────────────────────────────────────────────────────────────


def cancel(make: Maker, shop: Shop) -> None:
    answer = make.app.test_client().post(f"/events/{shop.event.id}/cancel", headers=make.headers(shop.organizer))
    assert answer.status_code == 200


def progress(make: Maker, shop: Shop) -> dict[str, int]:
    answer = make.app.test_client().get(f"/events/{shop.event.id}/refunds", headers=make.headers(shop.organizer))
    return dict(answer.json or {})


def sweep(make: Maker) -> int:
    with make.app.app_context():
        return refunds.refund_cancelled_events()


def test_every_paid_order_of_a_cancelled_event_is_refunded_once(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    orders = [shop.sell(), shop.sell(2), shop.sell()]
    shop.refund(orders[1], orders[1].tickets[0])
    make.order(make.attendee(), shop.ticket_type)
    cancel(make, shop)
    assert progress(make, shop)["waiting"] == 3
    assert sum(together(*[lambda: sweep(make)] * 3)) == 3
    assert sweep(make) == 0
    assert {make.status(order.id) for order in orders} == {OrderStatus.REFUND_DUE}
    assert sorted(refund.amount_kes for refund in make.rows(Refund)) == [500] * 4
    # One was given back before.
    assert shop.sold == 3

    safaricom.work()
    safaricom.tell(REVERSAL)
    assert progress(make, shop) == {
        "waiting": 0,
        "started": 4,
        "done": 1,
        "failed": 0,
        "amount": 2000,
        "amount_done": 500,
    }


def test_an_order_that_cannot_be_refunded_holds_up_no_other(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    odd, plain = shop.sell(), shop.sell()
    with make.app.app_context(), transaction() as session:
        session.execute(update(Payment).where(Payment.order_id == odd.id).values(refunded_kes=500))
    cancel(make, shop)
    assert sweep(make) == 1
    assert sweep(make) == 0
    assert (make.status(odd.id), make.status(plain.id)) == (OrderStatus.PAID, OrderStatus.REFUND_DUE)
    assert [alert.kind for alert in make.rows(Alert)] == ["refund_impossible"]


def test_a_cancelled_event_gives_back_used_tickets_too(make: Maker, shop: Shop) -> None:
    order = shop.sell()
    shop.end_ticket(order.tickets[0])
    cancel(make, shop)
    assert sweep(make) == 1
    assert make.status(order.id) is OrderStatus.REFUND_DUE


def test_free_tickets_of_an_order_that_was_paid_back_end_with_the_event(make: Maker, safaricom: Safaricom) -> None:
    shop = Shop(make)
    free = make.ticket_type(shop.event, name="Child", price=0)
    order, token = make.place(make.attendee(), (shop.ticket_type, 1), (free, 1))
    make.deliver(token, success(order.total_kes, new_receipt()))
    order = make.read_order(order.id)
    shop.refund(order, *[ticket for ticket in order.tickets if ticket.price_kes])
    safaricom.work()
    safaricom.tell(REVERSAL)
    cancel(make, shop)
    sweep(make)
    assert make.status(order.id) is OrderStatus.REFUNDED


def test_the_progress_of_refunds_is_for_the_organizer_and_admins(make: Maker, shop: Shop) -> None:
    address = f"/events/{shop.event.id}/refunds"
    client = make.app.test_client()
    for user, status in ((shop.organizer, 200), (make.admin(), 200), (make.organizer(), 404), (make.attendee(), 403)):
        assert client.get(address, headers=make.headers(user)).status_code == status


# ── When M-PESA says no ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_refund_that_failed_waits_for_a_person_and_its_tickets_stay_void(
    client: FlaskClient, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    safaricom.tell(REVERSAL, 2001)
    assert statuses(make, order) == FAILED
    assert only_refund(make).result_code == "2001"
    assert [alert.kind for alert in make.rows(Alert)] == ["refund_failed"]
    assert safaricom.work() == 0

    admin = make.headers(make.admin())
    [listed] = client.get("/admin/refunds?status=refund_failed", headers=admin).json
    address = f"/admin/refunds/{listed['id']}"
    assert client.post(f"{address}/retry", headers=admin).json["status"] == "requested"
    assert client.post(f"{address}/retry", headers=admin).json["code"] == "refund_not_failed"
    safaricom.work()
    assert len(safaricom.sent(REVERSAL)) == 2
    safaricom.tell(REVERSAL)
    assert statuses(make, order) == GONE
    assert client.post(f"{address}/by-hand", json={"receipt": "SG632NMUAB"}, headers=admin).status_code == 409


def test_the_failure_of_an_earlier_try_says_nothing_of_the_present_one(
    client: FlaskClient, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    safaricom.tell(REVERSAL, 2001)
    address, late = address_of(safaricom.sent(REVERSAL)[0]), result_of(safaricom.conversation(REVERSAL), 2001)
    client.post(f"/admin/refunds/{only_refund(make).id}/retry", headers=make.headers(make.admin()))
    safaricom.work()
    assert client.post(address, json=late).status_code == 200
    wait_until(safaricom.settled)
    assert statuses(make, order) == GOING


def test_a_payment_undone_before_counts_as_gone_back(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    safaricom.tell(REVERSAL, "R000001")
    assert statuses(make, order) == GONE
    assert only_refund(make).receipt is None


def test_what_daraja_refuses_waits_for_a_person(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.answer_next(REVERSAL, Reply.error("400.002.02", 400))
    safaricom.work()
    assert statuses(make, order) == FAILED


def test_what_daraja_is_too_busy_for_is_sent_again(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.answer_next(REVERSAL, Reply.error("500.003.02"))
    safaricom.work()
    refund = only_refund(make)
    assert refund.status is RefundStatus.REQUESTED
    assert refund.next_look_at is not None
    assert refund.next_look_at > clock.now()
    safaricom.work()
    safaricom.tell(REVERSAL)
    assert statuses(make, order) == GONE


def test_a_result_nobody_has_published_decides_nothing(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    safaricom.tell(REVERSAL, "X000099")
    assert statuses(make, order) == GOING


# ── Whom to believe ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_of_another_conversation_is_never_believed(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    for code in (0, 2001):
        assert safaricom.post(REVERSAL, result_of("AG_somebody_else", code)).status_code == 200
        assert statuses(make, order) == GOING
    assert [message.verdict for message in make.messages()[-2:]] == ["Suspect: the conversation is another one"] * 2
    [alert] = make.rows(Alert)
    assert (alert.kind, alert.target_id) == ("result_suspect", only_refund(make).id)
    assert "the conversation is another one" in alert.message
    # It made us ask.
    assert safaricom.work() == 1
    assert len(safaricom.sent(STATUS)) == 1


def test_a_result_from_an_address_that_is_not_safaricoms_only_makes_us_ask(
    app: Flask, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    with changed_settings(app, MPESA_CALLBACK_ADDRESSES=["196.201.214.200"]):
        safaricom.tell(REVERSAL)
        assert statuses(make, order) == GOING
        refund = only_refund(make)
        assert refund.next_look_at is not None
        assert refund.next_look_at <= clock.now()


def test_the_same_result_again_changes_nothing(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    for code in (0, 0, 2001):
        safaricom.tell(REVERSAL, code)
        assert statuses(make, order) == GONE


def test_results_are_posted_and_at_a_secret_address(client: FlaskClient) -> None:
    for kind in ("result", "timeout"):
        assert client.post(f"/api/payment/{kind}/{'0' * 32}", json={}).status_code == 404
        assert client.post(f"/api/payment/{kind}/abc", json={}).status_code == 404
        assert client.get(f"/api/payment/{kind}/{'0' * 32}").status_code == 405
        answer = client.post(f"/api/payment/{kind}/{'0' * 32}", data=b"x" * 70_000)
        assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"Result": 5}', b'{"Result": {}}', b"\xff" * 60_000])
def test_what_cannot_be_read_makes_us_ask(make: Maker, shop: Shop, safaricom: Safaricom, body: bytes) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    answer = make.app.test_client().post(address_of(safaricom.sent(REVERSAL)[0]), data=body)
    assert (answer.status_code, answer.json) == (200, {"ResultCode": 0, "ResultDesc": "Accepted"})
    wait_until(safaricom.settled)
    assert statuses(make, order) == GOING


# ── When M-PESA says nothing ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_told", [True, False], ids=["Daraja gave up", "never a word"])
def test_a_silent_reversal_is_asked_about_and_never_resent(
    make: Maker, shop: Shop, safaricom: Safaricom, is_told: bool
) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    if is_told:
        safaricom.post(REVERSAL, {"whatever": "it says"}, where="QueueTimeOutURL")
    assert statuses(make, order) == GOING
    safaricom.work()
    safaricom.tell(STATUS, TransactionStatus="Completed", ReceiptNo=order.receipt)
    assert statuses(make, order) == GOING
    safaricom.work()
    assert {sent["TransactionID"] for sent in safaricom.sent(STATUS)} == {order.receipt}
    safaricom.tell(STATUS, TransactionStatus="Reversed", ReceiptNo=order.receipt)
    assert statuses(make, order) == GONE
    assert len(safaricom.sent(REVERSAL)) == 1


def test_a_silent_payout_is_asked_about_by_its_own_id(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell(2)
    shop.refund(order, order.tickets[0])
    safaricom.work()
    safaricom.work()
    [asked] = safaricom.sent(STATUS)
    assert asked["OriginatorConversationID"] == safaricom.sent(PAYOUT)[0]["OriginatorConversationID"]
    safaricom.tell(STATUS, TransactionStatus="Completed", ReceiptNo="SG632NMUAB")
    refund = only_refund(make)
    assert (refund.status, refund.receipt) == (RefundStatus.DONE, "SG632NMUAB")
    assert len(safaricom.sent(PAYOUT)) == 1


def pay_out_a_part(make: Maker, shop: Shop, safaricom: Safaricom, answer: Reply | None = None) -> Order:
    """Have one ticket of two paid out; `answer` is Daraja's, if it is not to take it."""
    order = shop.sell(2)
    shop.refund(order, order.tickets[0])
    if answer is not None:
        safaricom.answer_next(PAYOUT, answer)
    safaricom.work()
    return order


def payout_ids(safaricom: Safaricom) -> list[str]:
    return [sent["OriginatorConversationID"] for sent in safaricom.sent(PAYOUT)]


def retry(make: Maker) -> TestResponse:
    address = f"/admin/refunds/{only_refund(make).id}/retry"
    return make.app.test_client().post(address, headers=make.headers(make.admin()))


def fall_silent(make: Maker, safaricom: Safaricom) -> Refund:
    """Nothing is heard of the refund for two days."""
    with clock.set_to(clock.ahead(hours=49)):
        safaricom.work()
    refund = only_refund(make)
    assert (refund.status, refund.result_code) == (RefundStatus.FAILED, "silent")
    return refund


TAKEN_BEFORE = Reply.error("500.002.1001")


def test_a_payout_mpesa_knows_nothing_of_is_sent_again_under_its_id(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    pay_out_a_part(make, shop, safaricom, RESET)
    for _ in range(8):
        assert only_refund(make).status is RefundStatus.SENT
        safaricom.work()
        safaricom.tell(STATUS, "R000002")
    assert (only_refund(make).status, len(safaricom.sent(PAYOUT))) == (RefundStatus.REQUESTED, 1)
    safaricom.work()
    first, again = payout_ids(safaricom)
    assert first == again
    assert len({address_of(sent) for sent in safaricom.sent(PAYOUT)}) == 2
    safaricom.tell(PAYOUT, TransactionReceipt="SG632NMUAB")
    assert only_refund(make).status is RefundStatus.DONE
    assert {sent["OriginatorConversationID"] for sent in safaricom.sent(STATUS)} == {first}


@pytest.mark.parametrize("code", [2001, 21, 8006, 2006, 1])
def test_a_question_our_initiator_may_not_ask_says_nothing_of_the_payout(
    make: Maker, shop: Shop, safaricom: Safaricom, code: int
) -> None:
    pay_out_a_part(make, shop, safaricom)
    for _ in range(10):
        safaricom.work()
        safaricom.tell(STATUS, code)
    assert only_refund(make).status is RefundStatus.SENT
    assert len(safaricom.sent(PAYOUT)) == 1
    safaricom.tell(PAYOUT, TransactionReceipt="SG632NMUAB")
    assert only_refund(make).status is RefundStatus.DONE


def test_a_payout_in_doubt_is_retried_under_its_id_and_then_asked_about(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    pay_out_a_part(make, shop, safaricom)
    assert "A retry is safe: it carries the same id" in (fall_silent(make, safaricom).note or "")
    safaricom.answer_next(PAYOUT, TAKEN_BEFORE)
    assert retry(make).status_code == 200
    safaricom.work()
    first, again = payout_ids(safaricom)
    assert first == again
    assert only_refund(make).status is RefundStatus.SENT
    safaricom.work()
    assert safaricom.sent(STATUS)[-1]["OriginatorConversationID"] == first
    safaricom.tell(STATUS, TransactionStatus="Completed", ReceiptNo="SG632NMUAB")
    assert only_refund(make).status is RefundStatus.DONE


def test_a_payout_mpesa_said_failed_is_retried_under_a_new_id(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    pay_out_a_part(make, shop, safaricom)
    safaricom.tell(PAYOUT, 1)
    assert only_refund(make).status is RefundStatus.FAILED
    retry(make)
    safaricom.work()
    first, second = payout_ids(safaricom)
    assert first != second
    # That one is now the id to keep.
    fall_silent(make, safaricom)
    retry(make)
    safaricom.work()
    assert payout_ids(safaricom) == [first, second, second]


def test_a_failure_told_late_ends_the_id_and_all_that_went_out_under_it(
    client: FlaskClient, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    pay_out_a_part(make, shop, safaricom)
    address, late = address_of(safaricom.sent(PAYOUT)[0]), result_of(safaricom.conversation(PAYOUT), 1)
    fall_silent(make, safaricom)
    safaricom.answer_next(PAYOUT, TAKEN_BEFORE)
    retry(make)
    safaricom.work()
    assert client.post(address, json=late).status_code == 200
    wait_until(safaricom.settled)
    assert (only_refund(make).status, only_refund(make).result_code) == (RefundStatus.FAILED, "1")
    retry(make)
    safaricom.work()
    first, again, other = payout_ids(safaricom)
    assert first == again != other


def test_an_id_that_daraja_took_twice_is_not_over_when_one_of_both_failed(
    client: FlaskClient, make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    pay_out_a_part(make, shop, safaricom)
    address, late = address_of(safaricom.sent(PAYOUT)[0]), result_of(safaricom.conversation(PAYOUT), 1)
    fall_silent(make, safaricom)
    retry(make)
    safaricom.work()
    client.post(address, json=late)
    wait_until(safaricom.settled)
    assert only_refund(make).status is RefundStatus.SENT
    fall_silent(make, safaricom)
    retry(make)
    safaricom.work()
    assert len(set(payout_ids(safaricom))) == 1


def test_a_payout_refused_when_it_was_sent_again_may_have_arrived_before(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    pay_out_a_part(make, shop, safaricom)
    fall_silent(make, safaricom)
    safaricom.answer_next(PAYOUT, Reply.error("400.002.02", 400))
    retry(make)
    safaricom.work()
    refund = only_refund(make)
    assert (refund.status, refund.result_code) == (RefundStatus.FAILED, "400.002.02")
    assert "It was sent before" in (refund.note or "")
    retry(make)
    safaricom.work()
    assert len(set(payout_ids(safaricom))) == 1


@pytest.mark.parametrize("is_retried", [False, True])
def test_a_refund_nobody_ever_spoke_of_waits_for_a_person(
    make: Maker, shop: Shop, safaricom: Safaricom, is_retried: bool
) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    assert "M-PESA did not say what became of it. A retry is safe" in (fall_silent(make, safaricom).note or "")
    assert statuses(make, order) == FAILED
    if is_retried:  # two days of its own
        with clock.set_to(clock.ahead(hours=50)):
            retry(make)
            for _ in range(2):
                safaricom.work()
                assert statuses(make, order) == GOING
        with clock.set_to(clock.ahead(hours=99)):
            safaricom.work()
        assert statuses(make, order) == FAILED


def test_being_sent_again_does_not_put_the_end_of_asking_off(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.work()
    with clock.set_to(clock.ahead(hours=40)):
        for _ in range(6):
            safaricom.work()
            safaricom.tell(STATUS, TransactionStatus="Completed", ReceiptNo=order.receipt)
        safaricom.work()
        assert (len(safaricom.sent(REVERSAL)), statuses(make, order)) == (2, GOING)
    with clock.set_to(clock.ahead(hours=49)):
        safaricom.work()
    assert statuses(make, order) == FAILED


def test_giving_up_on_a_question_makes_us_ask_no_sooner(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    """A Daraja too busy to answer questions would be asked the next one at once, and again, within seconds."""
    shop.refund(shop.sell())
    safaricom.work()
    with changed_settings(make.app, QUERY_PAUSES_SECONDS=[30]):
        for path, is_now in ((REVERSAL, True), (STATUS, False)):
            safaricom.work()
            safaricom.post(path, {"whatever": "it says"}, where="QueueTimeOutURL")
            next_look_at = only_refund(make).next_look_at
            assert next_look_at is not None
            assert (next_look_at <= clock.now()) is is_now


def test_a_result_that_is_quicker_than_the_answer_counts_once_that_has_come(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell()
    shop.refund(order)
    post_before_the_answer(safaricom, REVERSAL, "AG_quick")
    safaricom.work()
    wait_until(lambda: safaricom.settled() and statuses(make, order) == GONE)
    assert len(safaricom.sent(REVERSAL)) == 1


def test_a_process_that_dies_before_sending_leaves_a_refund_that_is_asked_about_first(
    make: Maker, shop: Shop, safaricom: Safaricom, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = shop.sell()
    shop.refund(order)
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "send", _die)
        with pytest.raises(KeyboardInterrupt):
            safaricom.work()
    [request] = make.rows(MpesaRequest)
    assert request.status is RequestStatus.SENDING
    for _ in range(6):
        assert statuses(make, order) == GOING
        assert safaricom.sent(REVERSAL) == []
        safaricom.work()
        safaricom.tell(STATUS, TransactionStatus="Completed", ReceiptNo=order.receipt)
    # M-PESA has said often enough that the payment still stands; undoing it cannot be done twice.
    safaricom.work()
    assert len(safaricom.sent(REVERSAL)) == 1
    safaricom.tell(REVERSAL)
    assert statuses(make, order) == GONE


def _die(question: Question) -> None:
    raise KeyboardInterrupt


def test_a_process_that_dies_leaves_one_refund_in_doubt_and_not_all_that_were_due(
    make: Maker, shop: Shop, safaricom: Safaricom, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        shop.refund(shop.sell())
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "send", _die)
        with pytest.raises(KeyboardInterrupt):
            safaricom.work()
    assert [refund.status for refund in make.rows(Refund)] == [RefundStatus.SENT] + [RefundStatus.REQUESTED] * 2
    safaricom.work()
    assert (len(safaricom.sent(REVERSAL)), len(safaricom.sent(STATUS))) == (2, 1)


def test_a_payout_whose_process_died_is_sent_by_itself_once_mpesa_knows_nothing_of_it(
    make: Maker, shop: Shop, safaricom: Safaricom, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "send", _die)
        with pytest.raises(KeyboardInterrupt):
            pay_out_a_part(make, shop, safaricom)
    for _ in range(8):
        assert safaricom.sent(PAYOUT) == []
        safaricom.work()
        safaricom.tell(STATUS, "R000002")
    safaricom.work()
    assert payout_ids(safaricom) == [make.rows(MpesaRequest)[0].originator_conversation_id]
    safaricom.tell(PAYOUT, TransactionReceipt="SG632NMUAB")
    assert only_refund(make).status is RefundStatus.DONE


def test_a_refund_that_cannot_be_looked_after_holds_up_no_other(
    make: Maker, shop: Shop, safaricom: Safaricom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        shop.refund(shop.sell())
    broken = make.rows(Refund)[0]
    look = payouts._next_question

    def stumble(refund: Refund) -> Question | None:
        if refund.id == broken.id:
            raise RuntimeError("stumbled")
        return look(refund)

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "_next_question", stumble)
        assert safaricom.work() == 2
    assert f"refund {broken.id} could not be looked after" in caplog.text
    first, *others = make.rows(Refund)
    assert (first.status, {one.status for one in others}) == (RefundStatus.REQUESTED, {RefundStatus.SENT})
    assert first.next_look_at is not None
    assert first.next_look_at > clock.now()
    assert safaricom.work() == 3
    assert len(safaricom.sent(REVERSAL)) == 3


# ── When M-PESA takes the whole payment back itself ───────────────────────────────────────────────────────────────


def take_back(make: Maker, order: Order) -> None:
    with make.app.app_context(), transaction():
        paybill.take_back(order.receipt or "", channel=MessageChannel.PULL)


def alerts(make: Maker) -> list[str]:
    return [alert.kind for alert in make.rows(Alert)]


@pytest.mark.parametrize("is_all", [False, True], ids=["a ticket is left", "all tickets are given back"])
def test_a_part_that_was_not_sent_is_not_sent_any_more(
    make: Maker, shop: Shop, safaricom: Safaricom, is_all: bool
) -> None:
    order = shop.sell(2)
    shop.refund(order, order.tickets[0])
    if is_all:
        shop.refund(order, order.tickets[1])
    take_back(make, order)
    assert safaricom.work() == 0
    assert safaricom.sent(PAYOUT) == []
    for refund in make.rows(Refund):
        assert (refund.status, refund.done_at) == (RefundStatus.DONE, None)
        assert refund.note == "M-PESA took the whole payment back itself."
    assert make.status(order.id) is OrderStatus.REFUNDED
    assert alerts(make) == ["payment_reversed"]
    with make.app.app_context():
        told = reconciliation.report(clock.now().astimezone(clock.NAIROBI).date())
    assert (told.in_kes, told.back_kes, told.open_refunds) == (1000, 1000, [])


def test_a_part_that_was_sent_is_told_of_with_its_payment(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = pay_out_a_part(make, shop, safaricom)
    take_back(make, order)
    assert alerts(make) == ["payment_reversed", "refund_of_reversed"]
    refund, told = only_refund(make), make.rows(Alert)[-1]
    assert told.target_id == refund.id
    assert f"payment {refund.payment_id}" in told.message
    assert f"refund {refund.id}" in told.message
    safaricom.tell(PAYOUT, 1)
    refund = only_refund(make)
    assert refund.status is RefundStatus.FAILED
    assert "Do not send this any more" in (refund.note or "")


@pytest.mark.parametrize("is_before", [True, False], ids=["failed before", "failed after"])
def test_a_failed_refund_of_a_payment_that_was_taken_back_is_not_retried(
    make: Maker, shop: Shop, safaricom: Safaricom, is_before: bool
) -> None:
    order = pay_out_a_part(make, shop, safaricom)
    if is_before:
        safaricom.tell(PAYOUT, 1)
    take_back(make, order)
    if not is_before:
        safaricom.tell(PAYOUT, 1)
    assert "refund_of_reversed" in alerts(make)
    assert "Do not send this any more" in (only_refund(make).note or "")
    answer = retry(make)
    assert (answer.status_code, answer.json["code"]) == (409, "payment_reversed")
    assert answer.json["message"] == "M-PESA took the whole payment back itself. Nothing of it is left to send."
    assert safaricom.work() == 0


def test_a_part_for_a_person_to_send_is_told_not_to_be(make: Maker, safaricom: Safaricom) -> None:
    shop = Shop(make, price=9)
    order = shop.sell(2)
    shop.refund(order, order.tickets[0])
    take_back(make, order)
    assert alerts(make) == ["refund_by_hand", "payment_reversed", "refund_of_reversed"]
    assert "Do not send this any more" in (only_refund(make).note or "")


def test_a_part_daraja_was_too_busy_for_is_not_sent_again_once_its_payment_was_taken_back(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = shop.sell(2)
    shop.refund(order, order.tickets[0])
    safaricom.answer_next(PAYOUT, Reply.error("500.003.02"))

    def take_it_back(seen: Seen) -> None:
        if seen.path == PAYOUT:
            take_back(make, order)

    safaricom.daraja.before_answering = take_it_back
    safaricom.work()
    assert only_refund(make).status is RefundStatus.REQUESTED
    safaricom.work()
    assert (only_refund(make).status, len(safaricom.sent(PAYOUT))) == (RefundStatus.DONE, 1)
    assert alerts(make) == ["payment_reversed", "refund_of_reversed"]
    assert make.status(order.id) is OrderStatus.REFUNDED


def test_a_retry_and_a_payment_taken_back_at_once_send_nothing_more(
    make: Maker, shop: Shop, safaricom: Safaricom
) -> None:
    order = pay_out_a_part(make, shop, safaricom)
    safaricom.tell(PAYOUT, 1)
    answer, _ = together(lambda: retry(make), lambda: take_back(make, order))
    assert answer.status_code in (200, 409)
    safaricom.work()
    assert len(safaricom.sent(PAYOUT)) == 1
    assert only_refund(make).status is (RefundStatus.DONE if answer.status_code == 200 else RefundStatus.FAILED)


# ── When answers are lost, and workers are many ───────────────────────────────────────────────────────────────────


def test_a_lost_answer_is_asked_about_and_not_resent(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    order = shop.sell()
    shop.refund(order)
    safaricom.answer_next(REVERSAL, RESET)
    safaricom.work()
    assert statuses(make, order) == GOING
    safaricom.work()
    safaricom.tell(STATUS, TransactionStatus="Reversed", ReceiptNo=order.receipt)
    assert statuses(make, order) == GONE
    assert len(safaricom.sent(REVERSAL)) == 1


def test_many_workers_send_a_refund_once(make: Maker, shop: Shop, safaricom: Safaricom) -> None:
    shop.refund(shop.sell())

    def look() -> int:
        with make.app.app_context():
            return payouts.look_after_refunds()

    assert sum(together(*[look] * 4)) == 1
    assert len(safaricom.sent(REVERSAL)) == 1


# ── An event's policy ─────────────────────────────────────────────────────────────────────────────────────────────


def change_policy(make: Maker, shop: Shop, hours: object) -> TestResponse:
    body = {"refund_until_hours": hours}
    headers = make.headers(shop.organizer)
    return make.app.test_client().put(f"/events/{shop.event.id}", json=body, headers=headers)


def test_an_organizer_sets_the_policy_of_an_event_and_sees_it(client: FlaskClient, make: Maker, shop: Shop) -> None:
    new = {
        "title": "Kisumu Lakeside Run",
        "description": "Ten kilometres along the lake.",
        "location": "Dunga Beach, Kisumu",
        "start_time": "2035-01-01T08:00",
        "end_time": "2035-01-01T12:00",
        "category": "Sport",
    }
    headers = make.headers(shop.organizer)
    assert client.post("/events", json=new, headers=headers).json["refund_until_hours"] == 0
    for hours in (48, None):
        answer = client.post("/events", json=new | {"refund_until_hours": hours}, headers=headers)
        assert (answer.status_code, answer.json["refund_until_hours"]) == (201, hours)
        seen = client.get(f"/events/{answer.json['id']}", headers=headers).json
        assert seen["refund_until_hours"] == hours
    assert "refund_until_hours" not in client.get(f"/events/{shop.event.id}").json


@pytest.mark.parametrize("hours", [-1, 1.5, True, "soon", 8761, 10**30])
def test_a_policy_is_hours_or_nothing(make: Maker, shop: Shop, hours: object) -> None:
    assert change_policy(make, shop, hours).status_code == 422


def test_a_policy_may_become_kinder_at_any_time_but_harder_only_before_the_first_order(make: Maker, shop: Shop) -> None:
    for hours in (24, 72, None, 24):
        answer = change_policy(make, shop, hours)
        # None of it needs an admin.
        assert (answer.status_code, answer.json["status"], answer.json["refund_until_hours"]) == (
            200,
            "approved",
            hours,
        )
    make.order(make.attendee(), shop.ticket_type)
    for hours in (25, None):
        answer = change_policy(make, shop, hours)
        assert (answer.status_code, answer.json["code"]) == (409, "refund_policy_fixed")
    for hours in (24, 23, 0):
        assert change_policy(make, shop, hours).json["refund_until_hours"] == hours


def test_other_changes_of_an_event_with_orders_leave_its_policy(make: Maker, shop: Shop) -> None:
    shop.sell()
    headers = make.headers(shop.organizer)
    answer = make.app.test_client().put(f"/events/{shop.event.id}", json={"title": "Jazz at dawn"}, headers=headers)
    assert (answer.json["status"], answer.json["refund_until_hours"]) == ("pending", 0)


# ── With the simulator ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_whole", [True, False], ids=["the whole order", "one ticket of two"])
@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("070", RefundStatus.DONE),
        ("071", RefundStatus.FAILED),
        ("072", RefundStatus.FAILED),
        ("073", RefundStatus.FAILED),
        ("074", RefundStatus.DONE),
        ("075", RefundStatus.DONE),
    ],
    ids=["plainly", "no funds", "bad initiator", "not registered", "timed out but done", "done in silence"],
)
def test_a_ticket_bought_with_mpesa_is_refunded_with_mpesa(
    make: Maker, shop: Shop, simulator: Simulator, row: str, status: RefundStatus, is_whole: bool
) -> None:
    order = buy(make, shop, f"254700000{row}")
    assert shop.refund(order, *([] if is_whole else order.tickets[:1])).status_code == 200

    def look() -> bool:
        with make.app.app_context():
            payouts.look_after_refunds()
            settlement.settle_waiting_messages()
        return only_refund(make).status is status

    wait_until(look)
    moved = [(one["kind"], one["amount"]) for one in simulator.ledger() if one["kind"] != "stk"]
    is_done = status is RefundStatus.DONE
    assert moved == ([("reversal", 1000) if is_whole else ("b2c", 500)] if is_done else [])
    assert make.status(order.id) is (
        (OrderStatus.REFUNDED if is_done else OrderStatus.REFUND_DUE) if is_whole else OrderStatus.PARTLY_REFUNDED
    )


def look_until_done(make: Maker) -> None:
    def look() -> bool:
        with make.app.app_context():
            payouts.look_after_refunds()
            settlement.settle_waiting_messages()
        return only_refund(make).status is RefundStatus.DONE

    wait_until(look)


def paid_out(simulator: Simulator) -> list[int]:
    return [one["amount"] for one in simulator.ledger() if one["kind"] == "b2c"]


def test_a_payout_whose_process_died_before_sending_it_arrives_once(
    make: Maker, shop: Shop, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = buy(make, shop, "254712345678")
    shop.refund(order, order.tickets[0])
    with monkeypatch.context() as patch, make.app.app_context():
        patch.setattr(payouts, "send", _die)
        with pytest.raises(KeyboardInterrupt):
            payouts.look_after_refunds()
    look_until_done(make)
    assert paid_out(simulator) == [500]


def test_a_payout_done_in_silence_and_retried_arrives_once(make: Maker, shop: Shop, simulator: Simulator) -> None:
    order = buy(make, shop, "254700000075")
    shop.refund(order, order.tickets[0])
    with make.app.app_context():
        payouts.look_after_refunds()
        with clock.set_to(clock.ahead(hours=49)):
            payouts.look_after_refunds()
    assert retry(make).status_code == 200
    look_until_done(make)
    assert paid_out(simulator) == [500]
    sent = [one.kind for one in make.rows(MpesaRequest) if one.kind is RequestKind.B2C]
    assert len(sent) == 2


def buy(make: Maker, shop: Shop, phone: str) -> Order:
    """Two tickets, paid at the simulator."""
    body = cart((shop.ticket_type, 2), phone=phone)
    answer = make.app.test_client().post("/orders", json=body, headers=make.headers(make.attendee()))
    assert answer.status_code == 201, answer.json
    order_id: int = (answer.json or {})["orderId"]
    wait_until(lambda: make.status(order_id) is OrderStatus.PAID)
    return make.read_order(order_id)


def test_an_event_that_is_cancelled_pays_everybody_back(make: Maker, shop: Shop, simulator: Simulator) -> None:
    orders = [buy(make, shop, f"25471234567{number}") for number in range(3)]
    cancel(make, shop)

    def look() -> bool:
        with make.app.app_context():
            refunds.refund_cancelled_events()
            payouts.look_after_refunds()
            settlement.settle_waiting_messages()
        return progress(make, shop)["done"] == 3

    wait_until(look)
    assert {make.status(order.id) for order in orders} == {OrderStatus.REFUNDED}
    assert {one["original_receipt"] for one in simulator.ledger()} == {None, *(order.receipt for order in orders)}
