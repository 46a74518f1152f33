"""The ledger balances, and survives whatever becomes of the process."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import Simulator, start_simulator
from .receiver import Receiver

PHONES = [f"2547120000{number:02}" for number in range(20)]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Simulator]:
    """Start a simulator on this test's ledger."""
    return lambda **settings: start_simulator(SIM_LEDGER=tmp_path / "ledger.sqlite", SIM_SINGLE_TOKEN=0, **settings)


def transactions(path: Path) -> list[dict[str, Any]]:
    """As a stranger reads them, whether or not a simulator runs."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM transactions")]


def assert_balanced(simulator: Simulator) -> None:
    """What came less what went is the shop's, and what phones lack, the shop has."""
    signs = {"stk": 1, "c2b": 1, "b2c": -1, "reversal": -1}
    moved = sum(signs[one["kind"]] * one["amount"] for one in simulator.ledger())
    assert simulator.shop_balance() == moved
    assert sum(500_000 - balance for balance in simulator.wallets().values()) == moved


def test_money_neither_appears_nor_vanishes(fast: Simulator, merchant: Receiver) -> None:
    for phone in PHONES[:5]:
        fast.push(phone, merchant.url)
    wait_until(lambda: len(merchant.received) == 5)
    paid_by_hand = fast.pay_bill(PHONES[5], 70, "X")
    fast.reverse(fast.ledger()[0]["receipt"])
    fast.reversal(str(paid_by_hand), merchant.url, Amount=70)
    fast.b2c(PHONES[6], merchant.url, Amount=1000)
    wait_until(lambda: len(merchant.at("result")) == 2)
    assert Counter(one["kind"] for one in fast.ledger()) == {"stk": 5, "c2b": 1, "reversal": 2, "b2c": 1}
    assert fast.shop_balance() == 4 * 1500 - 1000
    assert_balanced(fast)


def test_the_file_tells_each_transaction(start: Callable[..., Simulator], merchant: Receiver, tmp_path: Path) -> None:
    simulator = start()
    checkout_id = simulator.push(PHONES[0], merchant.url).json()["CheckoutRequestID"]
    receipt = wait_until(lambda: simulator.prompt(checkout_id)["receipt"])
    ids = simulator.reversal(receipt, merchant.url).json()
    wait_until(lambda: merchant.at("result"))
    [paid, undone] = transactions(tmp_path / "ledger.sqlite")
    simulator.kill()
    assert transactions(tmp_path / "ledger.sqlite") == [paid, undone]
    assert (paid["receipt"], paid["kind"], paid["phone"], paid["amount"]) == (receipt, "stk", PHONES[0], 1500)
    assert (paid["reference"], paid["checkout_request_id"]) == ("ABC123", checkout_id)
    assert (undone["kind"], undone["original_receipt"]) == ("reversal", receipt)
    assert undone["conversation_id"] == ids["ConversationID"]
    assert undone["originator_conversation_id"] == ids["OriginatorConversationID"]


def test_what_was_planned_happens_after_a_kill(start: Callable[..., Simulator], merchant: Receiver) -> None:
    simulator = start(SIM_SPEED=1)
    receipt = simulator.pay_bill(PHONES[0], 1500, "X")
    simulator.register_c2b(merchant.url)
    checkout_ids = [simulator.push(phone, merchant.url).json()["CheckoutRequestID"] for phone in PHONES[1:6]]
    simulator.answer(checkout_ids[0], "ignore")
    simulator.script(PHONES[7], "001")
    simulator.fault("/mpesa/stkpush", "500", count=1)
    simulator.reversal(str(receipt), merchant.url)
    simulator.b2c(PHONES[8], merchant.url, Amount=100)
    simulator.advance(1)
    simulator.kill()
    assert merchant.received == []

    with start(SIM_SPEED=1, SIMULATOR_PORT=simulator.port) as again:
        assert again.url == simulator.url
        assert again.push(PHONES[7], merchant.url).status_code == 500
        assert again.push(PHONES[7], merchant.url).status_code == 200
        again.advance(40)
        results = [1037, 0, 0, 0, 0, 1032]
        wait_until(lambda: [one["result_code"] for one in again.prompts()] == results)
        wait_until(lambda: len(again.deliveries()) == 8)
        assert sorted(one["kind"] for one in again.deliveries()) == ["callback"] * 6 + ["result"] * 2
        assert Counter(one["kind"] for one in again.ledger()) == {"c2b": 1, "stk": 4, "reversal": 1}
        assert_balanced(again)


def test_kills_in_the_middle_lose_nothing_and_double_nothing(
    start: Callable[..., Simulator], merchant: Receiver
) -> None:
    accepted: list[str] = []
    simulator, port = start(SIM_SPEED=20, SIM_AUTO_PAY_SECONDS=2), 0

    def push(phone: str) -> None:
        try:
            answer = simulator.push(phone, merchant.url, Amount=100)
        except requests.ConnectionError:
            return
        if answer.ok:
            accepted.append(answer.json()["CheckoutRequestID"])

    for turn in range(3):
        with ThreadPoolExecutor(10) as threads:
            pushes = [threads.submit(push, phone) for phone in PHONES]
            wait_until(partial(has_transactions, simulator, 4 * (turn + 1)))
            for one in simulator.ledger()[:2]:
                simulator.reversal(one["receipt"], merchant.url, Amount=100)
            port = simulator.port
            simulator.kill()
        assert all(one.exception() is None for one in pushes)
        simulator = start(SIM_SPEED=20, SIM_AUTO_PAY_SECONDS=2, SIMULATOR_PORT=port)

    with simulator:
        wait_until(lambda: all(one["status"] == "paid" for one in simulator.prompts()))
        known = {one["checkout_request_id"] for one in simulator.prompts()}
        assert set(accepted) <= known
        assert Counter(one["checkout_request_id"] for one in simulator.ledger() if one["kind"] == "stk") == Counter(
            known
        )
        posted = wait_until(lambda: (told := simulator.deliveries()) and _are_all_told(told, known) and told)
        assert {one["error"] for one in posted} <= {None, "Killed"}
        callbacks = Counter(one.result["CheckoutRequestID"] for one in merchant.received if "Body" in one.body)
        assert max(callbacks.values()) == 1
        missed = {one["checkout_request_id"] for one in posted if one["error"] == "Killed"}
        assert known - set(callbacks) <= missed
        wait_until(lambda: sum(one["kind"] == "reversal" for one in simulator.ledger()) == 2)
        assert_balanced(simulator)


def has_transactions(simulator: Simulator, count: int) -> bool:
    return len(simulator.ledger()) >= count


def _are_all_told(deliveries: list[dict[str, Any]], known: set[str]) -> bool:
    return Counter(one["checkout_request_id"] for one in deliveries if one["kind"] == "callback") == Counter(known)


def test_the_second_of_two_callbacks_comes_after_a_kill(start: Callable[..., Simulator], merchant: Receiver) -> None:
    simulator = start()
    merchant.hold()
    simulator.push("254700000021", merchant.url)
    wait_until(lambda: merchant.received)
    simulator.kill()
    merchant.release()
    with start() as again:
        wait_until(lambda: len(merchant.received) == 2)
        wait_until(lambda: [one["error"] for one in again.deliveries()] == ["Killed", None])


def test_the_clock_goes_on_after_a_kill(start: Callable[..., Simulator]) -> None:
    simulator = start()
    simulator.advance(3600)
    before = simulator.now()
    simulator.kill()
    with start() as again:
        assert 0 <= (again.now() - before).total_seconds() < 30


def ids_of(simulator: Simulator, merchant: Receiver, phones: list[str]) -> list[str]:
    """The receipts and ids that a few requests of each phone bring, without the day that is in them."""
    ids: list[str] = []
    for phone in phones:
        ids.append(simulator.push(phone, merchant.url).json()["MerchantRequestID"])
        receipt = wait_until(lambda: simulator.prompts()[-1]["receipt"])
        ids += [receipt[3:], str(simulator.pay_bill(phone, 70, "X"))[3:]]
        taken = simulator.reversal(receipt, merchant.url).json()
        ids += [taken["OriginatorConversationID"], taken["ConversationID"][12:]]
        ids.append(wait_until(lambda: (last := simulator.ledger()[-1])["kind"] == "reversal" and last["receipt"])[3:])
    return ids


def test_a_seed_decides_receipts_and_ids_across_a_kill(start: Callable[..., Simulator], merchant: Receiver) -> None:
    with start_simulator(SIM_SEED="kibera") as simulator:
        whole = ids_of(simulator, merchant, PHONES[:4])
        simulator.reset()
        assert ids_of(simulator, merchant, PHONES[:4]) == whole
    simulator = start(SIM_SEED="kibera")
    first_half = ids_of(simulator, merchant, PHONES[:2])
    simulator.kill()
    with start(SIM_SEED="kibera") as again:
        assert first_half + ids_of(again, merchant, PHONES[2:4]) == whole
    assert len(set(whole)) == len(whole)


def test_without_a_seed_no_ledger_repeats_a_receipt_of_another(
    start: Callable[..., Simulator], merchant: Receiver, fast: Simulator
) -> None:
    ids = ids_of(fast, merchant, PHONES[:2])
    fast.reset()
    ids += ids_of(fast, merchant, PHONES[:2])
    simulator = start()
    ids += ids_of(simulator, merchant, PHONES[:1])
    simulator.kill()
    with start() as again:
        ids += ids_of(again, merchant, PHONES[1:2])
    assert len(set(ids)) == len(ids) == 36


def test_a_temporary_ledger_goes_with_the_process(tmp_path: Path) -> None:
    simulator = start_simulator(TMPDIR=tmp_path)
    assert list(tmp_path.iterdir())
    simulator.stop()
    assert list(tmp_path.iterdir()) == []


def test_many_buyers_at_once_are_all_served(merchant: Receiver) -> None:
    with start_simulator(SIM_SINGLE_TOKEN=0, SIM_AUTO_PAY_SECONDS=1) as simulator:
        token = simulator.token()
        bodies = [simulator.push_body(f"25471{number:07}", merchant.url, Amount=10) for number in range(200)]
        with ThreadPoolExecutor(30) as threads:
            path = "/mpesa/stkpush/v1/processrequest"
            answers = list(threads.map(lambda body: simulator.post(path, token=token, json=body), bodies))
        assert {answer.status_code for answer in answers} == {200}
        wait_until(lambda: len(merchant.received) == 200, seconds=60)
        assert simulator.shop_balance() == 2000
        assert_balanced(simulator)
