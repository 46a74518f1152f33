"""Somebody wants tickets without paying."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import update

from models import PAYMENT_MOVES, MessageChannel, Order, OrderStatus, Payment, PaymentStatus, Refund
from resources import mpesa
from services import claims, inbox, judge, locks, prompts, settlement
from tests.support import new_receipt, success
from tests.test_claims import Claimant, send_money
from tests.threats.field import FEW, Field, attack
from tests.waiting import wait_until
from utils import clock
from utils.callers import SAFARICOM
from utils.database import transaction

PUBLIC_ADDRESS, SECRET_ADDRESS = "/payments/callback", "/api/payment/callback"
ELSEWHERE = "41.90.1.1"


def _post(field: Field, path: str, body: bytes, *, address: str, client: FlaskClient | None = None, **how: Any) -> int:
    """Post it, and wait until it has been thought about."""
    answer = (client or field.client).post(path, data=body, environ_overrides={"REMOTE_ADDR": address}, **how)
    wait_until(lambda: all(message.verdict for message in field.make.messages()))
    return answer.status_code


def _is_paid(field: Field, order: Order) -> bool:
    return field.make.status(order.id) is OrderStatus.PAID


def _prompted(field: Field) -> tuple[Order, bytes]:
    """An order whose prompt Daraja took, and a success that names it."""
    order, _ = field.make.order()
    with field.app.app_context(), transaction() as session:
        named = update(Payment).where(Payment.order_id == order.id)
        session.execute(named.values(checkout_request_id=f"ws_CO_{order.id}"))
    return order, success(order.total_kes, new_receipt(), checkout=f"ws_CO_{order.id}")


def _believe_the_public_address(field: Field) -> None:
    def believe(payment: Any, siblings: Any, _channel: MessageChannel, report: Any) -> object:
        return judge.judge(payment, siblings, MessageChannel.STK_CALLBACK, report)

    field.replace(settlement, "judge", believe)


@attack("A success posted to the public callback address", without=_believe_the_public_address)
def test_a_success_at_the_public_address_pays_nothing(field: Field) -> bool:
    order, body = _prompted(field)
    _post(field, PUBLIC_ADDRESS, body, address=SAFARICOM[0])
    return _is_paid(field, order)


def _number_the_addresses(field: Field) -> None:
    numbers = itertools.count(1)
    field.replace(prompts, "new_secret", lambda: f"{next(numbers):032x}")


@attack("Guessing a callback address", without=_number_the_addresses)
def test_no_callback_address_is_guessed(field: Field) -> bool:
    order, _ = field.make.order()
    body = success(order.total_kes, new_receipt())
    for guess in range(10):
        _post(field, f"{SECRET_ADDRESS}/{guess:032x}", body, address=SAFARICOM[0])
    return _is_paid(field, order)


LEAKED = "A leaked callback address, used from elsewhere"


@attack(LEAKED, without=lambda field: field.set(MPESA_CALLBACK_ADDRESSES=[]))
def test_a_leaked_callback_address_is_worth_nothing_elsewhere(field: Field) -> bool:
    order, token = field.make.order()
    body = success(order.total_kes, new_receipt())
    _post(field, f"{SECRET_ADDRESS}/{token}", body, address=ELSEWHERE)
    return _is_paid(field, order)


@attack(LEAKED, without=lambda field: field.set(TRUSTED_PROXIES=1))
def test_nobody_who_says_so_is_safaricom(field: Field) -> bool:
    order, token = field.make.order()
    body, headers = success(order.total_kes, new_receipt()), {"X-Forwarded-For": SAFARICOM[0]}
    _post(field, f"{SECRET_ADDRESS}/{token}", body, address=ELSEWHERE, client=field.start(), headers=headers)
    return _is_paid(field, order)


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@attack("A ticket for one shilling", without=lambda field: field.replace(judge, "Decimal", lambda _: _Anything()))
def test_a_shilling_buys_no_ticket(field: Field) -> bool:
    order, token = field.make.order()
    _post(field, f"{SECRET_ADDRESS}/{token}", success(1, new_receipt()), address=SAFARICOM[0])
    return _is_paid(field, order)


@attack("One receipt for two orders", without=lambda field: field.replace(locks, "claim_receipt", lambda *_: True))
def test_one_receipt_pays_for_one_order(field: Field) -> bool:
    receipt, orders = new_receipt(), [field.make.order() for _ in range(2)]
    for order, token in orders:
        field.make.deliver(token, success(order.total_kes, receipt))
    return all(_is_paid(field, order) for order, _ in orders)


def _count_each_success(field: Field) -> None:
    field.replace(judge, "_judge_repeated_success", lambda _payment, receipt, _report: judge.Settle(receipt))
    again = PAYMENT_MOVES[PaymentStatus.PAID] | {PaymentStatus.PAID}
    field.monkeypatch.setitem(PAYMENT_MOVES, PaymentStatus.PAID, again)


@attack("A success sent again", without=_count_each_success)
def test_a_success_sent_again_brings_no_second_ticket_and_no_money_back(field: Field) -> bool:
    order, token = field.make.order()
    body = success(order.total_kes, new_receipt())
    for _ in range(2):
        field.make.deliver(token, body)
    paid = field.make.read_order(order.id)
    return len(paid.tickets) > 1 or any(one.order_id == order.id for one in field.make.rows(Refund))


CLAIM = "Claiming somebody else's money"


def _believe_who_knows_the_code(field: Field) -> None:
    field.replace(claims, "is_plainly_of", lambda payment, _order: payment.order_id is None)


@attack(CLAIM, without=_believe_who_knows_the_code)
def test_who_knows_a_code_does_not_get_its_money(field: Field) -> bool:
    """Neither with a number of his own, nor with the payer's in an order that he places then."""
    payer, other = (field.make.attendee().phone for _ in range(2))
    payment = send_money(field.make, payer=payer)
    claimants = [Claimant(field.make, phone=phone) for phone in (other, payer)]
    return any(one.claim(payment.receipt).status_code == 202 and _is_paid(field, one.order) for one in claimants)


@attack(CLAIM, without=lambda field: field.set(CLAIMS_PER_DAY=1_000))
def test_codes_are_not_tried_one_after_the_other(field: Field) -> bool:
    claimant = Claimant(field.make, phone=field.make.attendee().phone)
    return [claimant.claim(f"UKX{number:07d}").status_code for number in range(FEW + 1)].count(202) > FEW


FLOOD = "Filling our tables with posts"


@attack(FLOOD, without=lambda field: field.replace(inbox, "_HINTS_PER_PAYMENT", 10**6))
def test_of_strangers_posts_about_a_payment_few_are_kept(field: Field) -> bool:
    order, body = _prompted(field)
    for number in range(FEW + 1):
        with clock.set_to(clock.ahead(seconds=11 * number)):
            _post(field, PUBLIC_ADDRESS, body, address=ELSEWHERE)
    return [message.payment_id for message in field.make.messages()].count(order.payments[0].id) > FEW


def _take_any_body(field: Field) -> None:
    field.replace(mpesa.Hint.post, "endpoint", replace(mpesa.Hint.post.endpoint, max_bytes=10**9))  # type: ignore[attr-defined]


@attack(FLOOD, without=_take_any_body)
def test_a_body_of_a_megabyte_is_not_kept(field: Field) -> bool:
    _, body = _prompted(field)
    _post(field, PUBLIC_ADDRESS, body + b" " * 10**6, address=ELSEWHERE)
    return any(len(message.body) > 10**6 for message in field.make.messages())
