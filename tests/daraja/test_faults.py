"""Faults on demand, and those that come by chance."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import KEY, SECRET, Simulator, start_simulator
from .receiver import Receiver

PHONE = "254712345678"
PUSH = "/mpesa/stkpush/v1/processrequest"
BREAKS = {"reset": requests.ConnectionError, "hang": requests.ReadTimeout}


# ── On demand ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("500", 500, "500.003.1001"),
        ("spike", 500, "500.003.02"),
        ("busy", 500, "500.003.02"),
        ("quota", 500, "500.003.03"),
        ("token", 404, "404.001.03"),
        ("no_product", 401, "401.003.01"),
        ("429", 429, None),
        ("html", 403, None),
    ],
)
def test_a_refusal_lasts_as_often_as_asked_and_nothing_happens(
    fast: Simulator, merchant: Receiver, kind: str, status: int, code: str | None
) -> None:
    fast.fault("/mpesa/stkpush", kind, count=2)
    answers = [fast.push(PHONE, merchant.url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    if code is not None:
        assert answers[0].json()["errorCode"] == code
    assert len(fast.prompts()) == 1
    assert answers[0].headers["X-Simulated"] == "daraja"


@pytest.mark.parametrize("kind", ["reset", "hang", "html_accepted", "500_accepted"])
def test_an_answer_can_be_lost_though_the_payout_is_made(fast: Simulator, merchant: Receiver, kind: str) -> None:
    fast.pay_bill(PHONE, 1500, "X")
    fast.fault("/mpesa/b2c/v3/paymentrequest", kind)
    body = {"OriginatorConversationID": "ours"}
    if kind in BREAKS:
        with pytest.raises(BREAKS[kind]):
            fast.b2c(PHONE, merchant.url, timeout=1, **body)
    else:
        answer = fast.b2c(PHONE, merchant.url, **body)
        assert answer.status_code == {"html_accepted": 200, "500_accepted": 500}[kind]
        assert "ConversationID" not in answer.text
    wait_until(lambda: merchant.at("result"))
    assert fast.ledger()[-1]["originator_conversation_id"] == "ours"


def test_a_fault_keeps_to_its_path(fast: Simulator, merchant: Receiver) -> None:
    fast.fault("/mpesa/stkpush", "500")
    assert fast.query("ws_CO_1").json()["errorMessage"] == "The transaction does not Exist"
    assert fast.push(PHONE, merchant.url).status_code == 500


def test_the_token_can_be_ended_before_a_request(fast: Simulator, merchant: Receiver) -> None:
    fast.fault("/mpesa", "expire")
    assert [fast.push(PHONE, merchant.url).status_code for _ in range(2)] == [404, 200]


def test_oauth_can_fail_too(fast: Simulator) -> None:
    fast.fault("/oauth", "500")
    asked = {"url": f"{fast.url}/oauth/v1/generate?grant_type=client_credentials", "auth": (KEY, SECRET), "timeout": 5}
    assert [requests.get(**asked).status_code for _ in range(2)] == [500, 200]


def test_a_request_can_be_slow(slow: Simulator) -> None:
    slow.fault("/mpesa/stkpushquery", "slow", delay=0.5)
    began = time.monotonic()
    slow.query("ws_CO_1")
    assert time.monotonic() - began > 0.5


def test_a_callback_can_be_lost(fast: Simulator, merchant: Receiver) -> None:
    fast.fault("/mpesa/stkpush", "lost_callback")
    fast.push(PHONE, merchant.url)
    wait_until(fast.ledger)
    fast.push(PHONE, merchant.url)
    wait_until(lambda: len(fast.ledger()) == 2)
    wait_until(fast.deliveries)
    assert len(fast.deliveries()) == 1


@pytest.mark.parametrize("kind", ["double_callback", "twin_callbacks"])
def test_a_callback_can_come_twice(fast: Simulator, merchant: Receiver, kind: str) -> None:
    fast.fault("/mpesa/stkpush", kind)
    fast.push(PHONE, merchant.url)
    wait_until(lambda: len(fast.deliveries()) == 2)
    assert merchant.received[0].body == merchant.received[1].body


def test_a_callback_can_come_late(slow: Simulator, merchant: Receiver) -> None:
    slow.fault("/mpesa/stkpush", "late_callback", delay=300)
    slow.push("254700000000", merchant.url)
    slow.advance(5)
    wait_until(slow.ledger)
    slow.advance(290)
    assert merchant.received == []
    slow.advance(10)
    wait_until(lambda: merchant.received)


def test_a_timeout_can_take_a_results_place(fast: Simulator, merchant: Receiver) -> None:
    receipt = str(fast.pay_bill(PHONE, 1500, "X"))
    fast.fault("/mpesa/reversal", "timeout_result")
    ids = fast.reversal(receipt, merchant.url).json()
    [told] = wait_until(lambda: merchant.at("timeout"))
    assert told["Result"]["ConversationID"] == ids["ConversationID"]
    assert (merchant.at("result"), fast.shop_balance()) == ([], 0)


def test_a_stranger_posts_what_it_likes_without_safaricoms_headers(fast: Simulator, merchant: Receiver) -> None:
    merchant.status = 404
    assert fast.forge(merchant.url, {"Body": {"stkCallback": {"ResultCode": 0}}}) == 404
    assert fast.forge(merchant.url, "no JSON") == 404
    [first, second] = merchant.received
    assert (first.result, second.body) == ({"ResultCode": 0}, "no JSON")
    assert "Businessshortcode" not in first.headers
    assert fast.deliveries() == []


# ── By chance ─────────────────────────────────────────────────────────────────────────────────────────────


def lives(simulator: Simulator, merchant: Receiver, count: int = 60) -> list[Any]:
    """What becomes of so many pushes, one after the other."""
    story: list[Any] = []
    token = simulator.token()
    for number in range(count):
        body = simulator.push_body(f"25471{number:07}", merchant.url)
        try:
            answer = simulator.post(PUSH, token=token, json=body, timeout=5)
        except requests.RequestException as error:
            story.append(type(error).__name__)
            continue
        story.append(answer.status_code)
        if answer.status_code in (401, 404):
            token = simulator.token()
    simulator.advance(3600)
    wait_until(lambda: all(one["status"] != "waiting" for one in simulator.prompts()))
    return [*story, *((one["phone"], one["row"], one["result_code"]) for one in simulator.prompts())]


@pytest.fixture
def start() -> Callable[..., Simulator]:
    return lambda **settings: start_simulator(SIM_PROFILE="realistic", SIM_SINGLE_TOKEN=0, **settings)


def test_a_seed_decides_all_that_comes_by_chance(start: Callable[..., Simulator], merchant: Receiver) -> None:
    stories = []
    for seed in ("kibera", "kibera", "karen"):
        with start(SIM_SEED=seed) as simulator:
            stories.append(lives(simulator, merchant))
    assert stories[0] == stories[1] != stories[2]
    assert len({str(one) for one in stories[0] if isinstance(one, int | str)}) > 1


def test_chance_never_makes_the_ledger_lie(start: Callable[..., Simulator], merchant: Receiver) -> None:
    with start(SIM_SEED="nairobi") as simulator:
        lives(simulator, merchant, 100)
        paid = {one["receipt"]: one for one in simulator.ledger()}
        listed: list[dict[str, Any]] = []
        began = f"{simulator.now() - timedelta(hours=3):%Y-%m-%d %H:%M:%S}"
        tries = 0
        while len(listed) < len(paid) and (tries := tries + 1) <= 100:
            answer = simulator.pull(len(listed), StartDate=began)
            if answer.ok and answer.headers["Content-Type"] == "application/json":
                listed += answer.json()["Response"][0]
        assert {row["transactionId"]: row["amount"] for row in listed} == {
            receipt: f"{one['amount']}.00" for receipt, one in paid.items()
        }
        results = Counter(one["result_code"] for one in simulator.prompts())
        assert results[0] == len(paid)
        assert len(results) > 3


def test_queries_often_say_nothing(start: Callable[..., Simulator], merchant: Receiver) -> None:
    with start(SIM_SEED="thika") as simulator:
        simulator.script(PHONE, "000")
        simulator.push(PHONE, merchant.url)
        wait_until(simulator.prompts)
        token, [prompt] = simulator.token(), simulator.prompts()
        wait_until(simulator.ledger)
        answers: Counter[Any] = Counter()
        for _ in range(100):
            body = simulator.credentials() | {"CheckoutRequestID": prompt["checkout_request_id"]}
            try:
                answer = simulator.post("/mpesa/stkpushquery/v1/query", token=token, json=body)
                answers[answer.json().get("ResultCode") or answer.json()["errorCode"]] += 1
            except requests.RequestException:
                answers["lost"] += 1
        assert 10 <= answers["500.001.1001"] <= 32
        assert set(answers) <= {"0", "500.001.1001", "lost"}


def test_profiles_change_while_it_runs_until_a_reset(fast: Simulator) -> None:
    fast.profile("realistic")
    assert requests.get(f"{fast.url}/__sim__/state", timeout=5).json()["profile"] == "realistic"
    fast.reset()
    assert requests.get(f"{fast.url}/__sim__/state", timeout=5).json()["profile"] == "calm"


def test_scripted_numbers_keep_to_their_rows_whatever_the_profile(
    start: Callable[..., Simulator], merchant: Receiver
) -> None:
    with start(SIM_SEED="7") as simulator:
        for row in ("000", "002", "003"):
            wait_until(lambda row=row: simulator.push(f"254700000{row}", merchant.url).status_code in (200, 500))
        wait_until(lambda: all(one["status"] != "waiting" for one in simulator.prompts()))
        codes = {one["phone"][-3:]: one["result_code"] for one in simulator.prompts()}
        assert codes.items() <= {"000": 0, "002": 2001, "003": 1}.items()
