"""The simulator answers in Safaricom's shapes and refuses what Safaricom refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import (
    KEY,
    SECRET,
    Simulator,
    start_simulator,
)
from .receiver import Receiver
from .shapes import shape

#: Answered only after 18 seconds at fifty times the speed of life, so its prompt is open throughout a test.
OPEN = "254700000020"
PAYS = "254700000000"
Golden = Callable[[str], Any]


def assert_refused(answer: requests.Response, status: int, code: str, message: str, golden: Golden) -> None:
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMessage"]) == (status, code, message)
    assert shape(answer.json()) == shape(golden("error"))
    assert answer.headers["X-Simulated"] == "daraja"


# ── Access tokens ─────────────────────────────────────────────────────────────────────────────────────────


def generate(simulator: Simulator, grant_type: str = "client_credentials", **request: Any) -> requests.Response:
    address = f"{simulator.url}/oauth/v1/generate"
    return requests.get(address, {"grant_type": grant_type}, timeout=5, **request)


def test_an_access_token_has_the_published_shape(fast: Simulator, golden: Golden) -> None:
    answer = generate(fast, auth=(KEY, SECRET))
    assert shape(answer.json()) == shape(golden("oauth"))
    assert len(answer.json()["access_token"]) == 28
    assert answer.json()["expires_in"] == "3599"


def test_the_newer_portals_access_token_has_a_number(golden: Golden) -> None:
    with start_simulator(SIM_EXPIRES_IN="number") as simulator:
        answer = generate(simulator, auth=(KEY, SECRET))
    assert shape(answer.json()) == shape(golden("oauth_number"))
    assert answer.json()["expires_in"] == 3599


@pytest.mark.parametrize("request_", [{}, {"auth": (KEY, "wrong")}, {"headers": {"Authorization": "Bearer x"}}])
def test_a_wrong_key_gets_an_empty_400(fast: Simulator, request_: dict[str, Any]) -> None:
    answer = generate(fast, **request_)
    assert (answer.status_code, answer.content) == (400, b"")


def test_another_grant_type_is_refused(fast: Simulator, golden: Golden) -> None:
    answer = generate(fast, "password", auth=(KEY, SECRET))
    assert_refused(answer, 400, "400.008.02", "Invalid grant type passed", golden)


def test_a_push_without_a_good_token_is_refused(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    answer = fast.post("/mpesa/stkpush/v1/processrequest", token="x" * 28, json={})
    assert_refused(answer, 404, "404.001.03", "Invalid Access Token", golden)


def test_an_older_token_stays_good_unless_single_tokens_are_asked_for() -> None:
    for single, status in ((0, 400), (1, 404)):
        with start_simulator(SIM_SINGLE_TOKEN=single) as simulator:
            first, _ = simulator.token(), simulator.token()
            answer = simulator.post("/mpesa/stkpush/v1/processrequest", token=first, json={})
            assert answer.status_code == status


@pytest.mark.parametrize("end", [Simulator.expire_tokens, lambda simulator: simulator.advance(3600)])
def test_a_token_ends(fast: Simulator, end: Callable[[Simulator], None]) -> None:
    token = fast.token()
    end(fast)
    assert fast.post("/mpesa/stkpushquery/v1/query", token=token, json={}).status_code == 404


# ── Pushes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_is_asked_and_accepted_in_the_published_shapes(
    fast: Simulator, merchant: Receiver, golden: Golden
) -> None:
    assert fast.push_body(OPEN, merchant.url).keys() == golden("push_request").keys()
    answer = fast.push(OPEN, merchant.url)
    assert answer.status_code == 200
    assert shape(answer.json()) == shape(golden("push_accepted"))
    pushed_at = datetime.fromisoformat(fast.prompts()[0]["pushed_at"])
    stamp = f"{pushed_at:%d%m%Y%H%M%S}{pushed_at.microsecond // 1000}"
    assert answer.json()["CheckoutRequestID"] == f"ws_CO_{stamp}700000020"
    request_id = r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}[0-9]+"
    assert re.fullmatch(request_id, answer.json()["MerchantRequestID"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("BusinessShortCode", "12"),
        ("BusinessShortCode", None),
        ("Timestamp", "2026-11-23"),
        ("Timestamp", "20261332000000"),
        ("TransactionType", "CustomerBuyGoodsOnline"),
        ("Amount", 0),
        ("Amount", "-1"),
        ("Amount", 1.5),
        ("Amount", "1500.00"),
        ("Amount", True),
        ("PartyA", "0712345678"),
        ("PartyB", "x"),
        ("PhoneNumber", "+254712345678"),
        ("PhoneNumber", "254212345678"),
        ("CallBackURL", "ftp://127.0.0.1/x"),
        ("CallBackURL", "http://127.0.0.1/a b"),
        ("CallBackURL", "https://ticksy.co.ke/hooks"),
        ("CallBackURL", "http://127.0.0.1@ticksy.co.ke/hooks"),
        ("CallBackURL", "http://ticksy.co.ke\\@127.0.0.1/hooks"),
        ("AccountReference", ""),
        ("AccountReference", "A" * 13),
        ("TransactionDesc", "A" * 14),
    ],
)
def test_a_push_with_a_bad_field_is_refused_by_its_name(
    fast: Simulator, merchant: Receiver, golden: Golden, field: str, value: Any
) -> None:
    answer = fast.push(OPEN, merchant.url, **{field: value})
    assert_refused(answer, 400, "400.002.02", f"Bad Request - Invalid {field}", golden)
    assert fast.prompts() == []


@pytest.mark.parametrize("changes", [{"Amount": "1500"}, {"PhoneNumber": int(OPEN)}, {"TransactionDesc": None}])
def test_numbers_may_be_strings_and_the_description_left_out(
    fast: Simulator, merchant: Receiver, changes: dict[str, Any]
) -> None:
    assert fast.push(OPEN, merchant.url, **changes).status_code == 200


def test_a_stamp_in_utc_is_refused(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    in_utc = fast.now().astimezone(timezone.utc)
    answer = fast.push(OPEN, merchant.url, Timestamp=f"{in_utc:%Y%m%d%H%M%S}")
    assert_refused(answer, 400, "400.002.02", "Bad Request - Invalid Timestamp", golden)


def test_another_shortcode_is_no_merchant(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    answer = fast.push(OPEN, merchant.url, BusinessShortCode="600000")
    assert_refused(answer, 500, "500.001.1001", "Merchant does not exist", golden)


@pytest.mark.parametrize("password", ["c29tZXRoaW5nIGVsc2U=", "not base64!", None])
def test_another_password_is_wrong(fast: Simulator, merchant: Receiver, golden: Golden, password: Any) -> None:
    answer = fast.push(OPEN, merchant.url, Password=password)
    assert_refused(answer, 500, "500.001.1001", "Wrong credentials", golden)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 50_000])
def test_a_body_that_is_no_json_object_is_refused(fast: Simulator, golden: Golden, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = fast.post("/mpesa/stkpush/v1/processrequest", data=content, headers=headers)
    assert_refused(answer, 400, "400.002.05", "Invalid Request Payload", golden)


def test_a_form_is_refused_for_its_shortcode(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    answer = fast.post("/mpesa/stkpush/v1/processrequest", data=fast.push_body(OPEN, merchant.url))
    assert_refused(answer, 400, "400.002.02", "Bad Request - Invalid BusinessShortCode", golden)


def test_a_phone_has_one_prompt_at_a_time(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    assert fast.push(OPEN, merchant.url).status_code == 200
    refused = fast.push(OPEN, merchant.url)
    locked = "Unable to lock subscriber, a transaction is already in process for the current subscriber"
    assert_refused(refused, 500, "500.001.1001", locked, golden)
    fast.advance(15 * 60)
    wait_until(lambda: fast.prompts()[0]["status"] == "paid")
    assert fast.push(OPEN, merchant.url).status_code == 200


def test_an_amount_over_the_limit_is_accepted_and_fails(fast: Simulator, merchant: Receiver) -> None:
    assert fast.push(PAYS, merchant.url, Amount=250_001).status_code == 200
    assert wait_until(lambda: merchant.received)[0].result["ResultCode"] == 3


# ── Queries ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_query_of_an_open_prompt_takes_turns_between_three_shapes(
    fast: Simulator, merchant: Receiver, golden: Golden
) -> None:
    checkout_id = fast.push(OPEN, merchant.url).json()["CheckoutRequestID"]
    names = ("query_in_flight_4999", "query_in_flight_empty", "query_in_flight_error")
    for name, status in zip(names * 2, (200, 200, 500) * 2, strict=True):
        answer = fast.query(checkout_id)
        assert answer.status_code == status
        assert shape(answer.json()) == shape(golden(name))
        for key in ("ResultCode", "ResultDesc", "errorCode", "errorMessage"):
            assert answer.json().get(key) == golden(name).get(key)


@pytest.mark.parametrize("name", ["4999", "empty", "error"])
def test_a_query_of_an_open_prompt_can_keep_to_one_shape(merchant: Receiver, golden: Golden, name: str) -> None:
    with start_simulator(SIM_QUERY_IN_FLIGHT=name) as simulator:
        checkout_id = simulator.push(OPEN, merchant.url).json()["CheckoutRequestID"]
        for _ in range(2):
            assert shape(simulator.query(checkout_id).json()) == shape(golden(f"query_in_flight_{name}"))


def test_a_query_of_a_paid_prompt_has_the_published_shape(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    checkout_id = fast.push(PAYS, merchant.url).json()["CheckoutRequestID"]
    wait_until(lambda: merchant.received)
    answer = fast.query(checkout_id).json()
    assert shape(answer) == shape(golden("query_success"))
    assert (answer["ResultCode"], answer["CheckoutRequestID"]) == ("0", checkout_id)
    assert answer["ResponseDescription"] == golden("query_success")["ResponseDescription"]


def test_a_query_of_an_unknown_prompt_is_refused(fast: Simulator, golden: Golden) -> None:
    answer = fast.query("ws_CO_1")
    assert_refused(answer, 500, "500.001.1001", "The transaction does not Exist", golden)


def test_a_query_with_another_password_is_refused(fast: Simulator, golden: Golden) -> None:
    answer = fast.query("ws_CO_1", Password="x")
    assert_refused(answer, 500, "500.001.1001", "Wrong credentials", golden)


# ── Everything else ───────────────────────────────────────────────────────────────────────────────────────


def test_another_address_or_method_gets_the_gateways_answer(fast: Simulator, golden: Golden) -> None:
    unknown = requests.get(f"{fast.url}/mpesa/b2c/v2/paymentrequest", timeout=5)
    assert_refused(unknown, 404, "404.001.01", "Resource not found", golden)
    wrong_method = requests.get(f"{fast.url}/mpesa/stkpush/v1/processrequest", timeout=5)
    assert_refused(wrong_method, 405, "405.001", "Method Not Allowed", golden)
