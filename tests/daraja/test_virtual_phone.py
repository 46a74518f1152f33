"""People can answer prompts on a page."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import (
    Simulator,
    start_simulator,
)
from .receiver import Receiver

PHONE = "254712345678"


def screen(simulator: Simulator, phone: str = PHONE) -> dict[str, Any]:
    return requests.get(f"{simulator.phone_url}/{phone}/screen", timeout=5).json()


def ring(simulator: Simulator, merchant: Receiver) -> str:
    return simulator.push(PHONE, merchant.url).json()["CheckoutRequestID"]


@pytest.mark.parametrize("number", [PHONE, "0712345678", "+254712345678", "712345678", "0712 345-678"])
def test_the_page_renders_for_a_number_however_it_is_written(slow: Simulator, number: str) -> None:
    page = requests.get(f"{slow.phone_url}/{number}", timeout=5)
    assert page.status_code == 200
    assert f"<h1>{PHONE}</h1>" in page.text
    assert page.headers["X-Simulated"] == "daraja"


def test_the_page_needs_nothing_from_elsewhere(slow: Simulator) -> None:
    for address in (slow.phone_url, f"{slow.phone_url}/{PHONE}"):
        assert "//" not in requests.get(address, timeout=5).text.replace("://127.0.0.1", "")


def test_the_list_shows_phones_that_are_being_asked(slow: Simulator, merchant: Receiver) -> None:
    assert PHONE not in requests.get(slow.phone_url, timeout=5).text
    ring(slow, merchant)
    assert PHONE in requests.get(slow.phone_url, timeout=5).text
    chosen = requests.get(slow.phone_url, {"number": "0712345678"}, timeout=5)
    assert chosen.url == f"{slow.phone_url}/{PHONE}"


def test_a_number_that_is_none_gets_a_sentence_and_is_escaped(slow: Simulator) -> None:
    page = requests.get(slow.phone_url, {"number": "<b>12"}, timeout=5)
    assert page.status_code == 400
    assert "<b>" not in page.text
    assert "is not a Kenyan mobile number." in page.text


def test_a_prompt_rings_and_the_right_pin_pays(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = ring(slow, merchant)
    question = "Do you want to pay KES 1500 to TICKSY account no. ABC123? Enter M-PESA PIN"
    assert screen(slow) == {
        "prompt": {"checkout_request_id": checkout_id, "question": question},
        "balance": 500_000,
        "inbox": [],
    }
    receipt = slow.answer(checkout_id, "pay", "1234")["receipt"]
    wait_until(lambda: merchant.received)
    assert merchant.received[0].result["ResultCode"] == 0
    [message] = screen(slow)["inbox"]
    when = r"on [0-9]+/[0-9]+/[0-9]{2} at [0-9]+:[0-9]{2} [AP]M"
    confirmed = rf"{receipt} Confirmed\. Ksh1,500\.00 sent to TICKSY for account ABC123 {when}"
    assert re.fullmatch(confirmed, message["text"])
    assert message["is_paid"]
    assert screen(slow)["prompt"] is None


@pytest.mark.parametrize(
    ("outcome", "pin", "code"), [("pay", "4321", 2001), ("wrong_pin", None, 2001), ("cancel", None, 1032)]
)
def test_a_wrong_pin_or_cancelling_fails_at_once(
    slow: Simulator, merchant: Receiver, outcome: str, pin: str | None, code: int
) -> None:
    slow.answer(ring(slow, merchant), outcome, pin)
    wait_until(lambda: merchant.received)
    assert merchant.received[0].result["ResultCode"] == code
    assert not screen(slow)["inbox"][0]["is_paid"]


def test_an_ignored_prompt_fails_after_26_seconds(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = ring(slow, merchant)
    slow.answer(checkout_id, "ignore")
    assert screen(slow)["prompt"] is None
    slow.advance(24)
    assert slow.prompt(checkout_id)["status"] == "waiting"
    slow.advance(2)
    wait_until(lambda: merchant.received)
    assert merchant.received[0].result["ResultCode"] == 1037


def test_the_page_polls_and_answers_at_addresses_that_exist(slow: Simulator, merchant: Receiver) -> None:
    page = requests.get(f"{slow.phone_url}/{PHONE}", timeout=5).text
    addresses = dict(re.findall(r'const (\w+_address) = "([^"]+)"', page))
    checkout_id = ring(slow, merchant)
    polled = requests.get(slow.url + addresses["screen_address"], timeout=5).json()
    assert polled["prompt"]["checkout_request_id"] == checkout_id
    answer = {"outcome": "pay", "pin": "1234"}
    requests.post(slow.url + addresses["answer_address"] + checkout_id, json=answer, timeout=5).raise_for_status()
    assert slow.prompt(checkout_id)["status"] == "paid"


def test_a_prompt_is_answered_once(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = ring(slow, merchant)
    slow.answer(checkout_id, "cancel")
    again = requests.post(f"{slow.url}/__sim__/answer/{checkout_id}", json={"outcome": "pay"}, timeout=5)
    assert again.status_code == 400
    assert slow.prompt(checkout_id)["status"] == "failed"


def test_a_person_may_answer_for_a_phone_with_a_script(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = slow.push("254700000001", merchant.url).json()["CheckoutRequestID"]
    slow.answer(checkout_id, "pay")
    slow.advance(60)
    wait_until(slow.deliveries)
    assert slow.prompt(checkout_id)["status"] == "paid"
    assert len(merchant.received) == 1


def test_a_phone_that_never_pays_by_itself_gives_up_after_a_minute(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = ring(slow, merchant)
    slow.advance(58)
    assert slow.prompt(checkout_id)["status"] == "waiting"
    slow.advance(2)
    wait_until(lambda: merchant.received)
    assert merchant.received[0].result["ResultCode"] == 1037


def test_an_unwatched_phone_pays_by_itself_and_a_watched_one_waits(merchant: Receiver) -> None:
    other = "254712345679"
    with start_simulator(SIM_SPEED=1) as simulator:
        screen(simulator, other)
        unwatched = ring(simulator, merchant)
        watched = simulator.push(other, merchant.url).json()["CheckoutRequestID"]
        simulator.advance(5)
        wait_until(lambda: simulator.prompt(unwatched)["status"] == "paid")
        screen(simulator, other)
        simulator.advance(40)
        assert simulator.prompt(watched)["status"] == "waiting"
        simulator.advance(15)
        wait_until(lambda: simulator.prompt(watched)["result_code"] == 1037)
