"""Each scripted number does what its row says, and the callbacks look like Safaricom's."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import (
    Simulator,
)
from .receiver import Received, Receiver
from .test_simulator import shape


def phone(row: str) -> str:
    return f"254700000{row}"


def push(simulator: Simulator, merchant: Receiver, row: str) -> str:
    answer = simulator.push(phone(row), merchant.url)
    assert answer.status_code == 200, answer.text
    return answer.json()["CheckoutRequestID"]


def callbacks(merchant: Receiver, count: int = 1) -> list[Received]:
    return wait_until(lambda: len(merchant.received) >= count and merchant.received)


def metadata(received: Received) -> dict[str, Any]:
    return {item["Name"]: item.get("Value") for item in received.result["CallbackMetadata"]["Item"]}


def test_000_pays_and_the_callback_is_as_in_production(
    fast: Simulator, merchant: Receiver, golden: Callable[[str], Any]
) -> None:
    checkout_id = push(fast, merchant, "000")
    [callback] = callbacks(merchant)
    assert shape(callback.body) == shape(golden("callback_success_production"))
    assert [item["Name"] for item in callback.result["CallbackMetadata"]["Item"]] == [
        item["Name"]
        for item in golden("callback_success_production")["Body"]["stkCallback"]["CallbackMetadata"]["Item"]
    ]
    assert callback.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert callback.headers["Businessshortcode"] == "174379"
    assert callback.path == "/hooks/p/some-token/stk"
    assert callback.result["CheckoutRequestID"] == checkout_id
    paid = metadata(callback)
    assert (paid["Amount"], paid["PhoneNumber"]) == (1500.0, 254700000000)
    paid_at = datetime.strptime(f"{paid['TransactionDate']}+0300", "%Y%m%d%H%M%S%z")
    assert abs(fast.now() - paid_at) < timedelta(seconds=5)
    assert re.fullmatch(r"[A-Z][A-L][1-9A-V][A-Z0-9]{7}", paid["MpesaReceiptNumber"])
    assert fast.prompt(checkout_id)["receipt"] == paid["MpesaReceiptNumber"]


@pytest.mark.parametrize(
    ("row", "code", "seconds"),
    [("001", 1032, 8), ("002", 2001, 5), ("003", 1, 5), ("004", 1037, 26), ("005", 1019, 5), ("015", 7777, 5)],
)
def test_a_failing_number_fails_with_its_code_at_its_time(
    slow: Simulator, merchant: Receiver, golden: Callable[[str], Any], row: str, code: int, seconds: int
) -> None:
    checkout_id = push(slow, merchant, row)
    # Two seconds less, since the clock also moves by itself.
    slow.advance(seconds - 2)
    assert slow.prompt(checkout_id)["status"] == "waiting"
    slow.advance(2)
    [callback] = callbacks(merchant)
    assert callback.result["ResultCode"] == code
    assert shape(callback.body) == shape(golden("callback_failure"))
    assert slow.query(checkout_id).json()["ResultCode"] == str(code)
    assert slow.prompt(checkout_id)["receipt"] is None


def test_004_is_put_differently_in_callback_and_query(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "004")
    [callback] = callbacks(merchant)
    assert callback.result["ResultDesc"] != fast.query(checkout_id).json()["ResultDesc"]


def test_020_pays_after_fifteen_minutes(slow: Simulator, merchant: Receiver) -> None:
    checkout_id = push(slow, merchant, "020")
    slow.advance(14 * 60)
    assert slow.query(checkout_id).json()["ResultCode"] == "4999"
    slow.advance(60)
    assert callbacks(merchant)[0].result["ResultCode"] == 0
    assert slow.query(checkout_id).json()["ResultCode"] == "0"


def test_021_posts_its_callback_twice_one_after_the_other(fast: Simulator, merchant: Receiver) -> None:
    push(fast, merchant, "021")
    first, second = callbacks(merchant, 2)
    assert first.body == second.body
    wait_until(lambda: len(fast.deliveries()) == 2)
    assert merchant.events == ["came", "answered"] * 2


def test_022_posts_five_callbacks_at_once(fast: Simulator, merchant: Receiver) -> None:
    merchant.together = threading.Barrier(5)
    push(fast, merchant, "022")
    five = callbacks(merchant, 5)
    assert {metadata(one)["MpesaReceiptNumber"] for one in five} == {metadata(five[0])["MpesaReceiptNumber"]}
    wait_until(lambda: [one["status"] for one in fast.deliveries()] == [200] * 5)
    assert merchant.events == ["came"] * 5 + ["answered"] * 5


def test_023_moves_money_and_never_says_so(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "023")
    wait_until(lambda: fast.prompt(checkout_id)["status"] == "paid")
    assert fast.prompt(checkout_id)["receipt"]
    assert fast.query(checkout_id).json()["ResultCode"] == "0"
    assert (merchant.received, fast.deliveries()) == ([], [])


def test_025_posts_its_callback_before_the_push_is_answered(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "025")
    answered_at = time.monotonic()
    [callback] = merchant.received
    assert callback.at < answered_at
    assert callback.result["CheckoutRequestID"] == checkout_id


def test_026_pays_while_queries_say_it_did_not(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "026")
    assert callbacks(merchant)[0].result["ResultCode"] == 0
    assert fast.query(checkout_id).json()["ResultCode"] == "1037"


def test_040_is_an_error_and_no_prompt(fast: Simulator, merchant: Receiver) -> None:
    answer = fast.push(phone("040"), merchant.url)
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "500.003.1001")
    assert fast.prompts() == []


def test_044_never_answers_and_is_paid_all_the_same(fast: Simulator, merchant: Receiver) -> None:
    with pytest.raises(requests.ReadTimeout):
        fast.push(phone("044"), merchant.url, timeout=0.5)
    [callback] = callbacks(merchant)
    assert callback.result["ResultCode"] == 0
    assert fast.prompts()[0]["checkout_request_id"] == callback.result["CheckoutRequestID"]


# ── How callbacks are posted ──────────────────────────────────────────────────────────────────────────────


def test_a_callback_answered_with_an_error_is_not_repeated(slow: Simulator, merchant: Receiver) -> None:
    merchant.status = 503
    push(slow, merchant, "000")
    slow.advance(5)
    [delivery] = wait_until(slow.deliveries)
    assert (delivery["status"], delivery["error"], delivery["url"]) == (503, None, merchant.url)
    slow.advance(24 * 3600)
    push_to_another = slow.push(phone("001"), merchant.url)
    assert push_to_another.status_code == 200
    slow.advance(8)
    wait_until(lambda: len(slow.deliveries()) == 2)
    assert [one.result["ResultCode"] for one in merchant.received] == [0, 1032]


def test_a_callback_nobody_takes_is_noted_with_its_reason(fast: Simulator) -> None:
    with Receiver() as closed:
        address = closed.url
    fast.push(phone("000"), address)
    [delivery] = wait_until(fast.deliveries)
    assert (delivery["status"], delivery["error"]) == (None, "ConnectionError")
    assert delivery["body"]["Body"]["stkCallback"]["ResultCode"] == 0


# ── Scripts ───────────────────────────────────────────────────────────────────────────────────────────────


def test_any_phone_can_follow_a_row_once(fast: Simulator, merchant: Receiver) -> None:
    fast.script("0712 345 678", "002")
    for code in (2001, 0):
        fast.push("254712345678", merchant.url)
        wait_until(lambda: fast.prompts()[-1]["status"] != "waiting")
        assert fast.prompts()[-1]["result_code"] == code


def test_two_payments_have_two_receipts(fast: Simulator, merchant: Receiver) -> None:
    for number in ("254712345678", "254112345678"):
        fast.push(number, merchant.url)
    assert len({metadata(one)["MpesaReceiptNumber"] for one in callbacks(merchant, 2)}) == 2


def test_a_reset_forgets_prompts_and_what_they_had_planned(slow: Simulator, merchant: Receiver) -> None:
    push(slow, merchant, "000")
    slow.reset()
    assert slow.prompts() == []
    push(slow, merchant, "000")
    slow.advance(5)
    callbacks(merchant)
    wait_until(slow.deliveries)
    assert len(merchant.received) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance_seconds": "soon"}),
        ("clock", {"advance_seconds": -1}),
        ("clock", {"advance_seconds": 1e12}),
        ("clock", {"advance_seconds": True}),
        ("clock", []),
        ("script", {"phone": "12", "row": "001"}),
        ("script", {"phone": "0712345678", "row": "999"}),
        ("script", {}),
        ("answer/ws_CO_1", {"outcome": "pay"}),
        ("answer/ws_CO_1", {"outcome": "faint"}),
        ("answer/ws_CO_1", None),
    ],
)
def test_nonsense_to_the_control_plane_gets_a_sentence(fast: Simulator, path: str, body: Any) -> None:
    answer = requests.post(f"{fast.url}/__sim__/{path}", json=body, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(".")
