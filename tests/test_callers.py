"""Who may tell us about money: Safaricom's addresses, behind exactly our own proxies."""

from __future__ import annotations

from itertools import count

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from models import MessageChannel, Order, OrderStatus, Payment, PaymentStatus
from services import inbox, queries
from tests.daraja.process import Simulator
from tests.scripted_daraja import query_result, scripted_daraja
from tests.support import Maker, changed_settings, new_receipt, success
from tests.waiting import wait_until
from utils import clock
from utils.callers import is_listed
from utils.database import transaction
from utils.mpesa import ACKNOWLEDGEMENT
from utils.security import new_secret

SAFARICOM = ["196.201.214.200", "196.201.212.0/24"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("196.201.214.200", True),
        ("::ffff:196.201.214.200", True),
        ("196.201.212.69", True),
        ("196.201.214.201", False),
        ("2001:db8::1", False),
        ("not an address", False),
        ("", False),
        (None, False),
    ],
)
def test_an_address_is_on_the_list_or_in_one_of_its_networks(address: str | None, expected: bool) -> None:
    assert is_listed(address, SAFARICOM) is expected


def test_an_empty_list_is_no_list() -> None:
    assert is_listed(None, [])


def test_a_callback_from_elsewhere_is_believed_only_as_far_as_mpesa_agrees(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    """Even with the right secret: a list that is out of date must not lose money, nor a leaked secret make tickets."""
    order, token = make.order()
    with changed_settings(app, MPESA_CALLBACK_ADDRESSES=SAFARICOM):
        body = success(order.total_kes, new_receipt(), checkout="ws_CO_1")
        assert client.post(f"/api/payment/callback/{token}", data=body).status_code == 200
    wait_until(lambda: [one.verdict for one in make.messages()] == ["Ask: somebody claims to know more"])
    assert [one.channel for one in make.messages()] == [MessageChannel.STK_HINT]
    assert make.status(order.id) is OrderStatus.PENDING


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "196.201.214.200", "127.0.0.1"),
        (1, "196.201.214.200", "196.201.214.200"),
        (1, "6.6.6.6, 196.201.214.200", "196.201.214.200"),
        (2, "6.6.6.6, 196.201.214.200, 10.0.0.1", "196.201.214.200"),
    ],
)
def test_only_our_own_proxies_are_asked_who_called(
    settings: Settings, simulator: Simulator, proxies: int, forwarded: str, expected: str
) -> None:
    app = create_app(settings.model_copy(update={"TRUSTED_PROXIES": proxies}))
    seen: list[str | None] = []
    app.before_request(lambda: seen.append(request.remote_addr))
    app.test_client().get("/health", headers={"X-Forwarded-For": forwarded})
    assert seen == [expected]


# ── Strangers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PUBLIC_ADDRESSES = ("/api/payment/callback", "/payments/callback")


@pytest.mark.parametrize("address", ["/api/payment/callback", "/api/payment/result", "/api/payment/timeout"])
def test_posts_to_secret_addresses_that_nobody_was_given_are_counted_and_not_kept(
    client: FlaskClient,
    make: Maker,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log tells of the first, the second, the fourth: it is not for everybody to fill."""
    order, _ = make.order()
    monkeypatch.setattr(inbox, "_strangers", count(1))
    for _ in range(5):
        answer = client.post(f"{address}/{new_secret()}", data=success(order.total_kes, new_receipt()))
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    told = [one.getMessage() for one in caplog.records if one.name == "services.inbox"]
    assert told == [f"{number} posts to unknown secret addresses so far, in this process" for number in (1, 2, 4)]
    assert (make.messages(), make.status(order.id)) == ([], OrderStatus.PENDING)


def with_id(app: Flask, make: Maker, checkout_request_id: str) -> tuple[Order, str]:
    """An open order whose prompt Daraja took, and the secret of its callback address."""
    order, token = make.order()
    with app.app_context(), transaction() as session:
        session.get_one(Payment, order.payments[0].id).checkout_request_id = checkout_request_id
    return order, token


def test_of_what_strangers_say_of_a_payment_ten_posts_are_kept(app: Flask, client: FlaskClient, make: Maker) -> None:
    order, other = (with_id(app, make, f"ws_CO_{number}")[0] for number in (1, 2))
    for number in range(13):
        with clock.set_to(clock.ahead(seconds=11 * number)):
            body = success(order.total_kes, new_receipt(), checkout="ws_CO_1")
            answer = client.post(PUBLIC_ADDRESSES[number % 2], data=body)
            assert (answer.status_code, answer.json) == (200, ACKNOWLEDGEMENT)
    assert [one.payment_id for one in make.messages()] == [order.payments[0].id] * 10
    client.post(PUBLIC_ADDRESSES[0], data=success(other.total_kes, new_receipt(), checkout="ws_CO_2"))
    assert make.messages()[-1].payment_id == other.payments[0].id


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
@pytest.mark.parametrize("whose", ["somebody else's", "their own"])
def test_a_real_id_with_a_real_receipt_gains_nothing_at_the_public_address(
    app: Flask, client: FlaskClient, make: Maker, address: str, whose: str
) -> None:
    """Whoever saw a victim's phone knows the id of a prompt and the receipt of its money, and wants tickets for it."""
    victim, token = with_id(app, make, "ws_CO_1")
    order, _ = with_id(app, make, "ws_CO_2")
    receipt = new_receipt()
    with scripted_daraja(app) as daraja:
        daraja.queries = [query_result("1032", "ws_CO_2")]
        make.deliver(token, success(500, receipt, checkout="ws_CO_1"))
        named = "ws_CO_1" if whose == "somebody else's" else "ws_CO_2"
        answer = client.post(address, data=success(order.total_kes, receipt, checkout=named))
        assert (answer.status_code, answer.json) == (200, ACKNOWLEDGEMENT)
        wait_until(lambda: all(one.settled_at for one in make.messages()))
        with app.app_context():
            queries.query_due_payments()
    paid = make.read_order(victim.id)
    assert (paid.status, paid.receipt, len(paid.payments)) == (OrderStatus.PAID, receipt, 1)
    assert (make.status(order.id), len(make.tickets())) == (OrderStatus.PENDING, 1)
    [payment] = make.payments(order.id)
    assert payment.receipt is None
    assert payment.status is (PaymentStatus.SUBMITTING if whose == "somebody else's" else PaymentStatus.FAILED)
