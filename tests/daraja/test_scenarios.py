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

from .process import Simulator, start_simulator
from .receiver import Received, Receiver
from .shapes import shape


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


def test_a_callback_can_do_without_a_balance(merchant: Receiver, golden: Callable[[str], Any]) -> None:
    with start_simulator(SIM_CALLBACK_BALANCE=0) as simulator:
        push(simulator, merchant, "000")
        [callback] = callbacks(merchant)
    assert shape(callback.body) == shape(golden("callback_success_portal"))
    assert metadata(callback).keys() == {"Amount", "MpesaReceiptNumber", "TransactionDate", "PhoneNumber"}


@pytest.mark.parametrize(
    ("row", "code", "seconds"),
    [
        *(("001", 1032, 8), ("002", 2001, 5), ("003", 1, 5), ("004", 1037, 26), ("005", 1019, 5), ("007", 1001, 5)),
        *(("008", 1025, 5), ("009", 9999, 5), ("010", 17, 5), ("011", 4, 5), ("012", 26, 5), ("013", 8006, 5)),
        *(("014", 2028, 5), ("015", 7777, 5)),
    ],
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


def test_024_is_asked_about_in_vain_twenty_times(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "024")
    wait_until(lambda: fast.prompt(checkout_id)["status"] == "paid")
    for _ in range(20):
        answer = fast.query(checkout_id)
        assert (answer.status_code, answer.json()["errorCode"]) == (500, "500.001.1001")
    assert fast.query(checkout_id).json()["ResultCode"] == "0"
    assert merchant.received == []


def test_027_does_not_answer_and_then_pays(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "027")
    assert [one.result["ResultCode"] for one in callbacks(merchant, 2)] == [1037, 0]
    assert fast.query(checkout_id).json()["ResultCode"] == "0"
    assert len(fast.ledger()) == 1


def test_028_names_another_amount_than_was_paid(fast: Simulator, merchant: Receiver) -> None:
    push(fast, merchant, "028")
    assert metadata(callbacks(merchant)[0])["Amount"] == 1501.0
    assert fast.shop_balance() == 1500


def test_029_names_another_prompt_and_does_not_pay(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "029")
    [callback] = callbacks(merchant)
    assert callback.result["ResultCode"] == 0
    assert callback.result["CheckoutRequestID"] != checkout_id
    wait_until(lambda: fast.prompt(checkout_id)["status"] == "failed")
    assert fast.query(checkout_id).json()["ResultCode"] == "1037"
    assert (fast.ledger(), len(merchant.received)) == ([], 1)


def test_030_masks_the_phone(fast: Simulator, merchant: Receiver) -> None:
    push(fast, merchant, "030")
    assert metadata(callbacks(merchant)[0])["PhoneNumber"] == "2547 ***** 030"


def test_031_lacks_the_amount_and_order(fast: Simulator, merchant: Receiver) -> None:
    push(fast, merchant, "031")
    items = callbacks(merchant)[0].result["CallbackMetadata"]["Item"]
    names = [item["Name"] for item in items]
    assert names == ["PhoneNumber", "TransactionDate", "Balance", "MpesaReceiptNumber"]
    assert "Value" not in items[2]


def test_032_is_no_json(fast: Simulator, merchant: Receiver) -> None:
    checkout_id = push(fast, merchant, "032")
    body = callbacks(merchant)[0].body
    assert isinstance(body, str)
    assert checkout_id in body
    assert fast.prompt(checkout_id)["status"] == "paid"


def test_033_is_confirmed_to_the_paybill_as_well(fast: Simulator, merchant: Receiver) -> None:
    fast.register_c2b(merchant.url)
    push(fast, merchant, "033")
    callbacks(merchant, 2)
    [confirmation] = merchant.at("confirmation")
    [paid] = fast.ledger()
    assert (confirmation["TransID"], confirmation["BillRefNumber"]) == (paid["receipt"], "ABC123")


@pytest.mark.parametrize(
    ("row", "status", "code"),
    [
        ("006", 500, "500.001.1001"),
        ("040", 500, "500.003.1001"),
        ("042", 429, None),
        ("043", 403, None),
        ("046", 200, None),
        ("049", 401, "401.003.01"),
    ],
)
def test_some_numbers_are_refused_and_get_no_prompt(
    fast: Simulator, merchant: Receiver, row: str, status: int, code: str | None
) -> None:
    answer = fast.push(phone(row), merchant.url)
    assert answer.status_code == status
    if code is not None:
        assert answer.json()["errorCode"] == code
    assert fast.prompts() == []


def test_what_is_refused_without_an_envelope(fast: Simulator, merchant: Receiver) -> None:
    throttled, blocked, soft = (fast.push(phone(row), merchant.url) for row in ("042", "043", "046"))
    assert int(throttled.headers["Retry-After"]) > 0
    assert blocked.headers["Content-Type"].startswith("text/html")
    assert soft.json()["ResponseCode"] == "1"


@pytest.mark.parametrize(
    ("row", "status", "code", "times"), [("041", 500, "500.003.02", 2), ("048", 404, "404.001.03", 1)]
)
def test_some_numbers_are_refused_a_few_times(
    fast: Simulator, merchant: Receiver, row: str, status: int, code: str, times: int
) -> None:
    for _ in range(times):
        answer = fast.push(phone(row), merchant.url)
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    push(fast, merchant, row)
    assert callbacks(merchant)[0].result["ResultCode"] == 0


def test_045_breaks_off_and_is_paid_all_the_same(fast: Simulator, merchant: Receiver) -> None:
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        fast.push(phone("045"), merchant.url)
    assert callbacks(merchant)[0].result["ResultCode"] == 0


def test_047_is_answered_with_a_page_and_paid_all_the_same(fast: Simulator, merchant: Receiver) -> None:
    answer = fast.push(phone("047"), merchant.url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert callbacks(merchant)[0].result["ResultCode"] == 0


def test_a_wallet_with_too_little_money_does_not_pay(fast: Simulator, merchant: Receiver) -> None:
    rich = "254712345678"
    for amount, code in ((250_000, 0), (250_000, 0), (1, 1)):
        fast.push(rich, merchant.url, Amount=amount)
        wait_until(lambda: fast.prompts()[-1]["status"] != "waiting")
        assert fast.prompts()[-1]["result_code"] == code
    assert (fast.wallets(), fast.shop_balance()) == ({rich: 0}, 500_000)


def test_the_same_amount_within_two_minutes_is_refused_by_rule_17(merchant: Receiver) -> None:
    with start_simulator(SIM_RULE_17=1, SIM_SPEED=1) as strict:
        for amount, pause, code in ((100, 5, 0), (100, 5, 17), (200, 5, 0), (100, 120, 0)):
            strict.advance(pause if pause > 100 else 0)
            strict.push(phone("000"), merchant.url, Amount=amount)
            strict.advance(6)
            wait_until(lambda: strict.prompts()[-1]["status"] != "waiting")
            assert strict.prompts()[-1]["result_code"] == code


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


def test_a_script_can_name_a_reference_or_the_pushes_to_come(fast: Simulator, merchant: Receiver) -> None:
    fast.script(reference="ABC123", row="002")
    fast.script(following=2, row="001")
    for code in (2001, 1032, 1032, 0):
        fast.push("254712345678", merchant.url)
        wait_until(lambda: fast.prompts()[-1]["status"] != "waiting")
        assert fast.prompts()[-1]["result_code"] == code


def test_a_script_lasts_until_the_push_is_accepted(fast: Simulator, merchant: Receiver) -> None:
    fast.script("254712345678", "041")
    assert [fast.push("254712345678", merchant.url).status_code for _ in range(3)] == [500, 500, 200]


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
        ("script", {"next": 0, "row": "001"}),
        ("fault", {"path": "/oauth", "kind": "flood"}),
        ("fault", {"path": "oauth", "kind": "500"}),
        ("fault", {"path": "/oauth", "kind": "500", "count": 0}),
        ("forge", {"url": "https://ticksy.co.ke/hooks", "body": {}}),
        ("c2b/pay", {"phone": "12", "amount": 1, "reference": "X"}),
        ("c2b/pay", {"phone": "0712345678", "amount": 0, "reference": "X"}),
        ("reverse", {"receipt": "SKC82PACB8"}),
        ("profile", {"name": "wild"}),
        ("answer/ws_CO_1", {"outcome": "pay"}),
        ("answer/ws_CO_1", {"outcome": "faint"}),
        ("answer/ws_CO_1", None),
    ],
)
def test_nonsense_to_the_control_plane_gets_a_sentence(fast: Simulator, path: str, body: Any) -> None:
    answer = requests.post(f"{fast.url}/__sim__/{path}", json=body, timeout=5)
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(".")
