""" "I paid": what a buyer's word may do, and what it may never do."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

import tasks
from models import (
    Alert,
    AuditLog,
    Claim,
    ClaimStatus,
    MessageChannel,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    User,
)
from services import claims, paybill, refunds
from tests.support import Maker, changed_settings, failure, new_receipt, success, together
from utils import clock
from utils.database import db, transaction
from utils.errors import Conflict, NotFound
from utils.mpesa_reports import MoneyIn

MATCH = next(task for task in tasks.TASKS if task.name == "match claims")
PAYER = "254799000111"


class Claimant:
    """A buyer with an order of KES 500 that nobody has heard any money of."""

    def __init__(self, make: Maker, *, phone: str = PAYER) -> None:
        self.make = make
        self.user = make.attendee()
        self.order, self.token = make.order(self.user, phone=phone)
        make.deliver(self.token, failure())

    def claim(self, code: object, *, order: Order | None = None, user: User | None = None) -> TestResponse:
        path = f"/orders/{(order or self.order).id}/claim"
        headers = self.make.headers(user or self.user)
        return self.make.app.test_client().post(path, json={"code": code}, headers=headers)

    @property
    def status(self) -> OrderStatus:
        return self.make.status(self.order.id)


@pytest.fixture
def claimant(make: Maker) -> Claimant:
    return Claimant(make)


def send_money(
    make: Maker,
    *,
    amount: int = 500,
    reference: str = "KANISA",
    payer: str | None = PAYER,
    moved_at: datetime | None = None,
    receipt: str | None = None,
) -> Payment:
    """Money comes by Paybill, moved at this moment unless told otherwise."""
    money = MoneyIn(receipt or new_receipt(), Decimal(amount), reference, at=moved_at or clock.now(), payer=payer)
    with make.app.app_context(), transaction():
        paybill.settle_money(money, channel=MessageChannel.PULL, received_at=clock.now())
        return db.session.scalars(db.select(Payment).where(Payment.receipt == money.receipt)).one()


def change(make: Maker, payment: Payment, **values: Any) -> None:
    with make.app.app_context(), transaction() as session:
        session.execute(update(Payment).where(Payment.id == payment.id).values(**values))


def read(make: Maker, payment: Payment) -> Payment:
    return next(one for one in make.rows(Payment) if one.id == payment.id)


def alerts_of_claims(make: Maker) -> list[Alert]:
    return [alert for alert in make.rows(Alert) if alert.kind == "claim_open"]


def claim_statuses(make: Maker) -> list[ClaimStatus]:
    return [claim.status for claim in make.rows(Claim)]


# ── Money that is plainly the order's ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "payer", [PAYER, hashlib.sha256(PAYER.encode()).hexdigest(), hashlib.sha256(PAYER.encode()).hexdigest().upper()]
)
def test_money_from_the_orders_own_number_that_names_nothing_becomes_its_tickets(
    make: Maker, claimant: Claimant, payer: str
) -> None:
    payment = send_money(make, payer=payer)
    answer = claimant.claim(payment.receipt)
    assert answer.status_code == 202
    assert claimant.status is OrderStatus.PAID
    assert len(make.tickets()) == 1
    assert read(make, payment).order_id == claimant.order.id
    assert claim_statuses(make) == [ClaimStatus.ATTACHED]
    assert alerts_of_claims(make) == []
    [attached] = [line for line in make.rows(AuditLog) if line.action == "payment_attached"]
    assert (attached.user_id, attached.target_id) == (None, payment.id)


@pytest.mark.parametrize("payer", [None, "254700000009", "2547*****111"])
def test_money_that_names_the_order_becomes_its_tickets_whoever_paid(
    make: Maker, claimant: Claimant, payer: str | None
) -> None:
    payment = send_money(make, payer=payer)
    change(make, payment, typed_reference=f" {claimant.order.reference[:4].lower()}-{claimant.order.reference[4:]}")
    claimant.claim(payment.receipt)
    assert (claimant.status, claim_statuses(make)) == (OrderStatus.PAID, [ClaimStatus.ATTACHED])


def test_money_for_an_order_that_was_cancelled_goes_back(make: Maker, client: FlaskClient, claimant: Claimant) -> None:
    payment = send_money(make)
    client.delete(f"/orders/{claimant.order.id}", headers=make.headers(claimant.user))
    assert claimant.claim(payment.receipt).status_code == 202
    assert claimant.status is OrderStatus.REFUND_DUE
    assert [refund.payment_id for refund in make.rows(Refund)] == [payment.id]
    assert make.tickets() == []


def test_an_order_whose_time_is_over_gets_its_tickets_if_there_are_places(make: Maker, claimant: Claimant) -> None:
    payment = send_money(make)
    with make.app.app_context(), clock.set_to(clock.ahead(minutes=30)):
        tasks.expire_orders()
    assert claimant.status is OrderStatus.EXPIRED
    claimant.claim(payment.receipt)
    assert claimant.status is OrderStatus.PAID


# ── Money that is not ─────────────────────────────────────────────────────────────────────────────────────────────


def is_untouched(make: Maker, before: Payment) -> bool:
    after = read(make, before)
    return (after.order_id, after.status, after.refunded_kes) == (before.order_id, before.status, before.refunded_kes)


NOT_PLAIN: dict[str, dict[str, Any]] = {
    "another amount": {"amount": 501},
    "somebody else's number": {"payer": "254700000009"},
    "a masked number": {"payer": "2547*****111"},
    "another hash": {"payer": hashlib.sha256(b"254700000009").hexdigest()},
    "no number": {"payer": None},
    "an empty number": {"payer": ""},
}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_money_that_is_not_plainly_the_orders_waits_for_a_person(make: Maker, claimant: Claimant, case: str) -> None:
    payment = send_money(make, **NOT_PLAIN[case])
    assert claimant.claim(payment.receipt).status_code == 202
    assert is_untouched(make, payment)
    assert (claimant.status, claim_statuses(make)) == (OrderStatus.PENDING, [ClaimStatus.OPEN])
    [alert] = alerts_of_claims(make)
    assert (alert.target_type, alert.target_id) == ("claim", make.rows(Claim)[0].id)


def test_money_that_names_another_order_is_never_moved(make: Maker, claimant: Claimant) -> None:
    """Not even when the payer's number is the claimant's own."""
    victim = Claimant(make, phone="254711000222")
    orphan = send_money(make)
    change(make, orphan, typed_reference=victim.order.reference.lower())
    assert claimant.claim(orphan.receipt).status_code == 202
    assert is_untouched(make, orphan)
    named = send_money(make, amount=499, reference=victim.order.reference)
    assert named.order_id == victim.order.id
    assert claimant.claim(named.receipt).status_code == 202
    assert is_untouched(make, named)
    assert claimant.status is OrderStatus.PENDING


@pytest.mark.parametrize("status", [PaymentStatus.REVERSED, PaymentStatus.PAID])
def test_money_that_has_left_is_not_given_away(make: Maker, claimant: Claimant, status: PaymentStatus) -> None:
    payment = send_money(make)
    change(make, payment, status=status)
    assert claimant.claim(payment.receipt).status_code == 202
    assert (read(make, payment).status, claimant.status) == (status, OrderStatus.PENDING)


def test_money_on_its_way_back_is_not_given_away(make: Maker, claimant: Claimant) -> None:
    payment = send_money(make)
    with make.app.app_context():
        refunds.refund_payment(actor=make.admin(), payment_id=payment.id)
    assert claimant.claim(payment.receipt).status_code == 202
    assert (claimant.status, read(make, payment).order_id) == (OrderStatus.PENDING, None)


def test_money_that_was_there_before_the_order_waits_for_a_person(make: Maker) -> None:
    """Whoever has read somebody's SMS could order the same total with that number."""
    payment = send_money(make)
    thief = Claimant(make)
    assert thief.claim(payment.receipt).status_code == 202
    assert is_untouched(make, payment)
    assert (thief.status, len(alerts_of_claims(make))) == (OrderStatus.PENDING, 1)


def test_money_that_moved_before_the_order_and_is_told_of_after_it_waits_for_a_person(make: Maker) -> None:
    """M-PESA's list tells of it minutes later: time enough to order with the payer's number."""
    thief = Claimant(make)
    payment = send_money(make, moved_at=clock.ago(minutes=5))
    assert thief.claim(payment.receipt).status_code == 202
    assert tasks.run_once(make.app, MATCH) == 0
    assert is_untouched(make, payment)
    assert thief.status is OrderStatus.PENDING


@pytest.mark.parametrize("status", [PaymentStatus.REFUSED, PaymentStatus.QUEUED])
def test_a_number_that_was_never_prompted_proves_nothing(make: Maker, status: PaymentStatus) -> None:
    thief = Claimant(make)
    change(make, thief.order.payments[0], status=status)
    payment = send_money(make)
    assert thief.claim(payment.receipt).status_code == 202
    assert tasks.run_once(make.app, MATCH) == 0
    assert is_untouched(make, payment)
    assert thief.status is OrderStatus.PENDING


def test_money_is_attached_or_sent_back_but_never_both(make: Maker) -> None:
    admin = make.admin()
    for number in range(5):
        claimant = Claimant(make, phone=f"25471100000{number}")
        payment = send_money(make, payer=claimant.order.phone)

        def send_back(payment_id: int = payment.id) -> None:
            with make.app.app_context(), suppress(Conflict):
                refunds.refund_payment(actor=admin, payment_id=payment_id)

        together(lambda one=claimant, code=payment.receipt: one.claim(code), send_back)
        after = read(make, payment)
        is_sent_back = after.refunded_kes > 0
        assert (claimant.status is OrderStatus.PAID) is not is_sent_back
        assert (after.order_id is None) is is_sent_back


def test_money_claimed_for_two_orders_at_once_pays_one(make: Maker) -> None:
    first, second = Claimant(make), Claimant(make, phone="254711000333")
    with make.app.app_context(), transaction() as session:
        session.execute(update(Order).where(Order.id == second.order.id).values(phone=PAYER))
    payment = send_money(make)
    answers = together(lambda: first.claim(payment.receipt), lambda: second.claim(payment.receipt))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert {first.status, second.status} == {OrderStatus.PAID, OrderStatus.PENDING}
    assert set(claim_statuses(make)) == {ClaimStatus.ATTACHED, ClaimStatus.OPEN}
    assert len(make.tickets()) == 1


# ── The answer ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_answer_tells_nothing_of_the_code(make: Maker, client: FlaskClient, claimant: Claimant) -> None:
    victim = Claimant(make, phone="254711000222")
    strangers = send_money(make, payer="254700000009")
    named = send_money(make, amount=499, reference=victim.order.reference)
    paid = make.paid_order()
    codes = ["SG632NMUAB", strangers.receipt, named.receipt, paid.receipt, send_money(make).receipt]
    answers = [claimant.claim(code) for code in codes]
    assert claimant.status is OrderStatus.PAID
    assert {(answer.status_code, answer.data) for answer in answers} == {(202, answers[0].data)}
    assert answers[0].json["message"].startswith("Thank you. We are checking this code with M-PESA.")
    headers = [{name for name in dict(answer.headers) if name != "X-Request-Id"} for answer in answers]
    assert all(names == headers[0] for names in headers)


def test_an_order_that_is_paid_needs_no_code(make: Maker, claimant: Claimant) -> None:
    for order in (make.paid_order(claimant.user), make.paid_order(claimant.user, make.on_sale(price=0))):
        answer = claimant.claim("SG632NMUAB", order=order)
        assert (answer.status_code, answer.json["code"]) == (409, "already_paid")
    assert make.rows(Claim) == []


def test_an_order_that_is_refunded_needs_none_either(make: Maker, claimant: Claimant) -> None:
    order = make.paid_order(claimant.user)
    with make.app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=order.id, ticket_ids=None)
    assert claimant.claim("SG632NMUAB", order=order).json["code"] == "already_paid"


def test_somebody_elses_order_does_not_exist(make: Maker, client: FlaskClient, claimant: Claimant) -> None:
    payment = send_money(make)
    for user in (make.attendee(), make.organizer(), make.admin()):
        assert claimant.claim(payment.receipt, user=user).status_code == 404
    nowhere = client.post("/orders/999/claim", json={"code": "SG632NMUAB"}, headers=make.headers(claimant.user))
    assert nowhere.status_code == 404
    assert (make.rows(Claim), claimant.status) == ([], OrderStatus.PENDING)


# ── Codes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("typed", ["sg632nmuab", " SG632NMUAB\n", "Sg632NmUaB"])
def test_a_code_may_be_typed_in_any_case(make: Maker, claimant: Claimant, typed: str) -> None:
    assert claimant.claim(typed).status_code == 202
    assert [claim.receipt for claim in make.rows(Claim)] == ["SG632NMUAB"]


@pytest.mark.parametrize(
    "code",
    [
        "", " ", "SG632NMUA", "SG632NMUABC", "SG632 NMUAB", "SG632-NMUA", "SG632NMUA\u0660", "\uff33G632NMUAB",
        "SG632NMUA%", "' OR 1=1--", "SG632NMUA'", "SG632NMUA\x00", "SG632NMUAB\x00", "../../etc", "<script>1",
        "A" * 5_000, 1234567890, 1.5, True, None, ["SG632NMUAB"], {"code": "SG632NMUAB"},
    ],
    ids=lambda code: ascii(code)[:20],
)  # fmt: skip
def test_what_is_no_code_is_refused_and_is_no_try(make: Maker, claimant: Claimant, code: object) -> None:
    assert claimant.claim(code).status_code == 422
    assert make.rows(Claim) == []
    assert "claim_made" not in {line.action for line in make.rows(AuditLog)}


# ── Tries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_five_codes_a_day(make: Maker, claimant: Claimant) -> None:
    other, _ = make.order(claimant.user)
    for number in range(5):
        order = other if number % 2 else claimant.order
        assert claimant.claim(f"UKX000000{number}", order=order).status_code == 202
    payment = send_money(make)
    refused = claimant.claim(payment.receipt)
    assert (refused.status_code, refused.json["code"]) == (429, "too_many_claims")
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert (len(make.rows(Claim)), claimant.status) == (5, OrderStatus.PENDING)
    assert Claimant(make, phone="254711000222").claim("UKX0000009").status_code == 202


def test_the_day_of_a_try_ends(make: Maker, claimant: Claimant) -> None:
    with make.app.app_context():
        for hours in (30, 23, 4, 3, 2):
            with clock.set_to(clock.ago(hours=hours)):
                claims.claim_payment(actor=claimant.user, order_id=claimant.order.id, receipt="UKX0000001")
    assert claimant.claim("UKX0000002").status_code == 202
    refused = claimant.claim("UKX0000003")
    assert refused.status_code == 429
    assert 3_500 < int(refused.headers["Retry-After"]) <= 3_600


def test_the_same_code_again_is_a_try_but_no_new_claim(make: Maker, claimant: Claimant) -> None:
    for _ in range(5):
        assert claimant.claim("SG632NMUAB").status_code == 202
    assert claimant.claim("SG632NMUAB").status_code == 429
    assert (len(make.rows(Claim)), len(alerts_of_claims(make))) == (1, 1)


def test_parallel_tries_are_counted_like_others(make: Maker, claimant: Claimant) -> None:
    answers = together(*[lambda number=number: claimant.claim(f"UKX000000{number}") for number in range(9)])
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [429] * 4
    assert len(make.rows(Claim)) == 5


def test_the_number_of_tries_is_a_setting(make: Maker, claimant: Claimant) -> None:
    with changed_settings(make.app, CLAIMS_PER_DAY=1):
        assert [claimant.claim(f"UKX000000{number}").status_code for number in range(2)] == [202, 429]


# ── Money that comes after its claim ──────────────────────────────────────────────────────────────────────────────


def claim_future(claimant: Claimant, count: int = 1) -> list[str]:
    """Claim codes of money that has not come, whatever the number of tries."""
    codes = [new_receipt() for _ in range(count)]
    with changed_settings(claimant.make.app, CLAIMS_PER_DAY=count):
        assert {claimant.claim(code).status_code for code in codes} == {202}
    return codes


def bring_money(make: Maker, receipt: str, **facts: Any) -> Payment:
    payment = send_money(make, **facts)
    change(make, payment, receipt=receipt)
    return read(make, payment)


def test_money_that_comes_after_its_claim_finds_its_order(app: Flask, make: Maker, claimant: Claimant) -> None:
    [code] = claim_future(claimant)
    assert tasks.run_once(app, MATCH) == 0
    bring_money(make, code)
    assert tasks.run_once(app, MATCH) == 1
    assert (claimant.status, claim_statuses(make)) == (OrderStatus.PAID, [ClaimStatus.ATTACHED])
    assert tasks.run_once(app, MATCH) == 0
    assert len(make.tickets()) == 1


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_money_that_is_not_plainly_the_orders_waits_when_it_comes_later(
    app: Flask, make: Maker, claimant: Claimant, case: str
) -> None:
    [code] = claim_future(claimant)
    payment = bring_money(make, code, **NOT_PLAIN[case])
    assert tasks.run_once(app, MATCH) == 0
    assert is_untouched(make, payment)
    assert claim_statuses(make) == [ClaimStatus.OPEN]


def test_claims_that_wait_for_a_person_hold_up_no_other(
    app: Flask, make: Maker, claimant: Claimant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_AT_ONCE", 2)
    codes = claim_future(claimant, 5)
    for code in codes[:4]:
        bring_money(make, code, payer="254700000009")
    bring_money(make, codes[4])
    assert tasks.run_once(app, MATCH) == 1
    assert claim_statuses(make) == [ClaimStatus.OPEN] * 4 + [ClaimStatus.ATTACHED]


def test_of_two_payments_claimed_for_one_order_one_is_attached(app: Flask, make: Maker, claimant: Claimant) -> None:
    for code in claim_future(claimant, 2):
        bring_money(make, code)
    assert tasks.run_once(app, MATCH) == 1
    assert claim_statuses(make) == [ClaimStatus.ATTACHED, ClaimStatus.OPEN]


def test_several_workers_attach_once(app: Flask, make: Maker, claimant: Claimant) -> None:
    [code] = claim_future(claimant)
    bring_money(make, code)
    assert sum(together(*[lambda: tasks.run_once(app, MATCH)] * 4)) == 1
    assert len(make.tickets()) == 1


def test_a_claim_that_was_decided_is_not_matched(app: Flask, make: Maker, claimant: Claimant) -> None:
    [code] = claim_future(claimant)
    with app.app_context():
        claims.close_claim(actor=make.admin(), claim_id=make.rows(Claim)[0].id)
    payment = bring_money(make, code)
    assert tasks.run_once(app, MATCH) == 0
    assert claimant.claim(code).status_code == 202
    assert is_untouched(make, payment)
    assert claim_statuses(make) == [ClaimStatus.CLOSED]


def test_an_order_that_was_paid_otherwise_is_not_paid_again(app: Flask, make: Maker, claimant: Claimant) -> None:
    [code] = claim_future(claimant)
    make.deliver(claimant.token, success(500, new_receipt()))
    payment = bring_money(make, code)
    assert tasks.run_once(app, MATCH) == 0
    assert is_untouched(make, payment)


def test_a_claim_whose_money_found_its_order_by_itself_is_settled(app: Flask, make: Maker, claimant: Claimant) -> None:
    [code] = claim_future(claimant)
    send_money(make, reference=claimant.order.reference, receipt=code)
    assert claimant.status is OrderStatus.PAID
    assert tasks.run_once(app, MATCH) == 1
    assert claim_statuses(make) == [ClaimStatus.ATTACHED]
    assert tasks.run_once(app, MATCH) == 0


# ── A person decides ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_admin_closes_a_claim(make: Maker, client: FlaskClient, claimant: Claimant) -> None:
    claimant.claim("SG632NMUAB")
    headers = make.headers(make.admin())
    assert client.post("/admin/claims/1/close", json={}, headers=headers).json["status"] == "closed"
    again = client.post("/admin/claims/1/close", json={}, headers=headers)
    assert (again.status_code, again.json["code"]) == (409, "claim_decided")
    assert client.post("/admin/claims/2/close", json={}, headers=headers).status_code == 404


def test_admins_see_the_claims_of_a_status(make: Maker, client: FlaskClient, claimant: Claimant) -> None:
    claimant.claim("SG632NMUAB")
    claimant.claim(send_money(make).receipt)
    headers = make.headers(make.admin())
    [shown] = client.get("/admin/claims?status=open", headers=headers).json
    assert shown == {
        "id": 1,
        "status": "open",
        "code": "SG632NMUAB",
        "order": {
            "id": claimant.order.id,
            "order_id": claimant.order.reference,
            "status": "paid",
            "total_amount": 500,
        },
        "user": {"id": claimant.user.id, "first_name": "Njeri", "last_name": claimant.user.last_name},
        "created_at": shown["created_at"],
    }
    assert [one["status"] for one in client.get("/admin/claims", headers=headers).json] == ["attached", "open"]
    assert client.get("/admin/claims?status=closed", headers=headers).json == []
    assert client.get("/admin/claims?status=lost", headers=headers).status_code == 422


def test_a_claim_is_decided_once(make: Maker, claimant: Claimant) -> None:
    claimant.claim("SG632NMUAB")
    admin = make.admin()
    with make.app.app_context():
        assert claims.close_claim(actor=admin, claim_id=1).status is ClaimStatus.CLOSED
        with pytest.raises(Conflict):
            claims.close_claim(actor=admin, claim_id=1)
        with pytest.raises(NotFound):
            claims.close_claim(actor=admin, claim_id=2)
    [line] = [line for line in make.rows(AuditLog) if line.action == "claim_closed"]
    assert (line.user_id, line.target_id) == (admin.id, 1)
