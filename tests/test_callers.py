"""Who may tell us about money: Safaricom's addresses, behind exactly our own proxies."""

from __future__ import annotations

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from app import create_app
from config import Settings
from models import MessageChannel, OrderStatus
from tests.daraja.process import Simulator
from tests.support import Maker, changed_settings, new_receipt, success
from tests.waiting import wait_until
from utils.callers import is_listed

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
