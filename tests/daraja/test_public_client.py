"""A client written by others, for Safaricom: `daraja-v3` from PyPI, unchanged but for its base address.

What it and Ticksy's own client agree about is not only this project's reading of the documentation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import mpesa
import pytest

from tests.waiting import wait_until

from .process import INITIATOR, KEY, PASSKEY, SECRET, SHORTCODE, Simulator, security_credential
from .receiver import Receiver

PHONE = "0712345678"


@pytest.fixture
def live_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Set the machine's zone, for this test."""

    def choose(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def client(fast: Simulator, live_in: Callable[[str], None]) -> object:
    live_in("EAT-3")  # it stamps its pushes in the machine's time
    return mpesa.MpesaClient(KEY, SECRET, SHORTCODE, PASSKEY, base_url=fast.url)


def test_it_pushes_asks_and_reads_the_callback(client: mpesa.MpesaClient, fast: Simulator, merchant: Receiver) -> None:
    pushed = client.stk_push(PHONE, 1500, "ABC123", "Tickets", merchant.url)
    assert pushed.response_description == "Success. Request accepted for processing"
    callback = client.parse_stk_callback(wait_until(lambda: merchant.received)[0].body)
    [paid] = fast.ledger()
    assert callback["paid"]
    assert callback["checkout_request_id"] == pushed.checkout_request_id
    assert (callback["mpesa_receipt"], float(callback["amount"])) == (paid["receipt"], 1500.0)
    asked = client.stk_query(pushed.checkout_request_id)
    assert (asked.is_paid, asked.result_code) == (True, "0")


def test_the_simulator_finds_its_fault_of_stamping_in_the_machines_time(
    client: mpesa.MpesaClient, merchant: Receiver, live_in: Callable[[str], None]
) -> None:
    live_in("UTC")
    with pytest.raises(mpesa.MpesaError, match="Invalid Timestamp"):
        client.stk_push(PHONE, 1500, "ABC123", "Tickets", merchant.url)


def test_it_is_told_why_a_push_is_refused(client: mpesa.MpesaClient, fast: Simulator, merchant: Receiver) -> None:
    fast.fault("/mpesa/stkpush", "spike")
    with pytest.raises(mpesa.MpesaError, match="Spike Arrest") as refusal:
        client.stk_push(PHONE, 1500, "ABC123", "Tickets", merchant.url)
    assert refusal.value.code == "500.003.02"


def test_it_pays_out(client: mpesa.MpesaClient, fast: Simulator, merchant: Receiver) -> None:
    fast.pay_bill(PHONE, 1000, "X")
    addresses = {"callback_url": f"{merchant.url}/result", "queue_timeout_url": f"{merchant.url}/timeout"}
    initiator = {"initiator_name": INITIATOR, "security_credential": security_credential()}
    taken = client.b2c(PHONE, 400, "Refund", **addresses, **initiator)
    [told] = wait_until(lambda: merchant.at("result"))
    assert told["Result"]["ConversationID"] == taken.conversation_id
    assert fast.shop_balance() == 600


def test_it_asks_for_the_balance(client: mpesa.MpesaClient, merchant: Receiver) -> None:
    initiator = {"initiator_name": INITIATOR, "security_credential": security_credential()}
    client.account_balance(f"{merchant.url}/result", f"{merchant.url}/timeout", **initiator)
    assert wait_until(lambda: merchant.at("result"))[0]["Result"]["ResultCode"] == 0


def test_it_registers_for_payments_by_hand(client: mpesa.MpesaClient, fast: Simulator, merchant: Receiver) -> None:
    registered = client.c2b_register_urls(f"{merchant.url}/validation", f"{merchant.url}/confirmation")
    assert registered["ResponseCode"] == "0"
    receipt = fast.pay_bill(PHONE, 250, "X")
    assert wait_until(lambda: merchant.at("confirmation"))[0]["TransID"] == receipt
