"""Payments by hand to the Paybill: what is asked, what is told, and the list of all transactions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.waiting import wait_until

from .process import SHORTCODE, Simulator, start_simulator
from .receiver import Receiver
from .shapes import shape
from .test_simulator import assert_refused

PAYER = "254712345678"
ACCEPTED = {"ResultCode": "0", "ResultDesc": "Accepted"}
Golden = Callable[[str], Any]


@pytest.fixture
def shop(fast: Simulator, merchant: Receiver) -> Receiver:
    """A merchant whose addresses are registered, and who accepts what it is asked about."""
    fast.register_c2b(merchant.url)
    merchant.answers["validation"] = ACCEPTED
    return merchant


# ── Registration ──────────────────────────────────────────────────────────────────────────────────────────


def test_registering_has_the_published_answer_and_can_be_repeated(
    fast: Simulator, merchant: Receiver, golden: Golden
) -> None:
    for version in (2, 1, 2):
        answer = fast.register_c2b(merchant.url, version)
        assert answer.status_code == 200
        assert shape(answer.json()) == shape(golden("c2b_registered"))


def test_in_production_addresses_are_registered_once(merchant: Receiver, golden: Golden) -> None:
    with start_simulator(SIM_C2B_REGISTER_ONCE=1) as strict:
        assert strict.register_c2b(merchant.url).status_code == 200
        answer = strict.register_c2b(merchant.url)
        assert_refused(answer, 500, "500.003.1001", "Urls are already registered.", golden)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ShortCode", "600000"),
        ("ResponseType", "Perhaps"),
        ("ConfirmationURL", "http://127.0.0.1/mpesa/confirmation"),
        ("ConfirmationURL", "https://ticksy.co.ke/confirmation"),
        ("ValidationURL", "http://127.0.0.1/hooks/SQL"),
    ],
)
def test_a_bad_registration_is_refused(
    fast: Simulator, merchant: Receiver, golden: Golden, field: str, value: str
) -> None:
    answer = fast.register_c2b(merchant.url, **{field: value})
    assert_refused(answer, 400, "400.002.02", f"Bad Request - Invalid {field}", golden)


# ── Payments ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payment_is_asked_about_then_confirmed(fast: Simulator, shop: Receiver, golden: Golden) -> None:
    receipt = fast.pay_bill("0712 345 678", 250, " tix-7k ")
    [asked] = shop.at("validation")
    [told] = wait_until(lambda: shop.at("confirmation"))
    assert shape(told) == shape(asked) == shape(golden("c2b_confirmation"))
    assert {one["TransID"] for one in (asked, told, {"TransID": receipt})} == {receipt}
    assert (told["TransAmount"], told["BillRefNumber"], told["MSISDN"]) == ("250.00", " tix-7k ", "2547 ***** 678")
    assert (told["OrgAccountBalance"], told["BusinessShortCode"]) == ("250.00", SHORTCODE)
    [paid] = fast.ledger()
    assert (paid["receipt"], paid["kind"], paid["phone"], paid["amount"]) == (receipt, "c2b", PAYER, 250)
    assert [one["kind"] for one in fast.deliveries()] == ["validation", "confirmation"]


def test_version_1_hashes_the_phone(fast: Simulator, merchant: Receiver) -> None:
    fast.register_c2b(merchant.url, 1, ValidationURL="")
    fast.pay_bill(PAYER, 250, "X")
    [told] = wait_until(lambda: merchant.at("confirmation"))
    assert told["MSISDN"] == hashlib.sha256(PAYER.encode()).hexdigest()


def test_what_the_merchant_refuses_is_not_paid(fast: Simulator, shop: Receiver) -> None:
    shop.answers["validation"] = {"ResultCode": "C2B00012", "ResultDesc": "Rejected"}
    assert fast.pay_bill(PAYER, 250, "X") is None
    assert (fast.ledger(), fast.wallets(), shop.at("confirmation")) == ([], {}, [])


@pytest.mark.parametrize(("response_type", "is_paid"), [("Completed", True), ("Cancelled", False)])
def test_without_an_answer_the_registration_decides(
    fast: Simulator, merchant: Receiver, response_type: str, is_paid: bool
) -> None:
    fast.register_c2b(merchant.url, ResponseType=response_type)
    merchant.status = 500
    assert (fast.pay_bill(PAYER, 250, "X") is not None) == is_paid
    assert len(fast.ledger()) == is_paid


def test_an_id_the_merchant_gives_comes_back(fast: Simulator, shop: Receiver) -> None:
    shop.answers["validation"] = ACCEPTED | {"ThirdPartyTransID": "ours-1"}
    fast.pay_bill(PAYER, 250, "X")
    assert wait_until(lambda: shop.at("confirmation"))[0]["ThirdPartyTransID"] == "ours-1"


def test_validation_can_be_off_and_stk_payments_confirmed(merchant: Receiver) -> None:
    with start_simulator(SIM_C2B_VALIDATION=0, SIM_C2B_FOR_STK=1) as simulator:
        simulator.register_c2b(merchant.url)
        simulator.pay_bill(PAYER, 250, "X")
        simulator.push(PAYER, merchant.url)
        wait_until(lambda: len(merchant.at("confirmation")) == 2)
        assert [one["BillRefNumber"] for one in merchant.at("confirmation")] == ["X", "ABC123"]
        assert merchant.at("validation") == []


def test_without_registration_a_payment_is_told_nobody(fast: Simulator, merchant: Receiver) -> None:
    assert fast.pay_bill(PAYER, 250, "X")
    fast.push(PAYER, merchant.url)
    wait_until(lambda: merchant.received)
    assert {one["kind"] for one in fast.deliveries()} == {"callback"}


def test_too_little_money_pays_nothing(fast: Simulator, shop: Receiver) -> None:
    assert fast.pay_bill(PAYER, 500_001, "X") is None
    assert (fast.ledger(), shop.received) == ([], [])


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_the_sandbox_simulates_a_payment(fast: Simulator, shop: Receiver, golden: Golden, version: str) -> None:
    body = {"ShortCode": SHORTCODE, "CommandID": "CustomerPayBillOnline", "Amount": 5, "Msisdn": PAYER}
    answer = fast.post(f"/mpesa/c2b/{version}/simulate", json=body | {"BillRefNumber": "X"})
    assert shape(answer.json()) == shape(golden("c2b_registered"))
    assert wait_until(lambda: shop.at("confirmation"))[0]["TransAmount"] == "5.00"


# ── The list of transactions ──────────────────────────────────────────────────────────────────────────────


def rows(answer: Any) -> list[dict[str, Any]]:
    return answer.json()["Response"][0]


def test_registering_for_the_list_has_the_published_answer(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    body = {"ShortCode": SHORTCODE, "RequestType": "Pull", "NominatedNumber": PAYER, "CallBackURL": merchant.url}
    for status in ("1000", "1001"):
        answer = fast.post("/pulltransactions/v1/register", json=body).json()
        assert shape(answer) == shape(golden("pull_registered"))
        assert answer["ResponseStatus"] == status


def test_the_list_has_what_was_paid_and_what_was_taken_back(
    fast: Simulator, merchant: Receiver, golden: Golden
) -> None:
    first, second = fast.pay_bill(PAYER, 168, "37207636392"), fast.pay_bill(PAYER, 200, "X")
    assert first
    undone = fast.reverse(first)
    fast.b2c(PAYER, merchant.url, Amount=10)
    wait_until(lambda: merchant.at("result"))
    answer = fast.pull()
    assert shape(answer.json()) | {"Response": None} == shape(golden("pull_page")) | {"Response": None}
    assert {str(shape(row)) for row in rows(answer)} == {str(shape(golden("pull_page")["Response"][0][0]))}
    assert [(row["transactionId"], row["transactiontype"], row["billreference"]) for row in rows(answer)] == [
        (first, "c2b-pay-bill-debit", "37207636392"),
        (second, "c2b-pay-bill-debit", "X"),
        (undone, "c2b-reversal", first),
    ]
    assert (rows(answer)[0]["msisdn"], rows(answer)[0]["amount"]) == (int(PAYER), "168.00")


def test_the_list_comes_in_pages(merchant: Receiver) -> None:
    with start_simulator(SIM_PULL_PAGE=2) as simulator:
        receipts = [simulator.pay_bill(PAYER, 1, "X") for _ in range(5)]
        pages = [rows(simulator.pull(offset)) for offset in (0, 2, 4)]
        assert [row["transactionId"] for page in pages for row in page] == receipts
        past = simulator.pull(5).json()
        assert (past["ResponseCode"], past["Response"]) == ("1001", [[]])


def test_the_list_ends_after_two_days_and_keeps_to_its_times(fast: Simulator) -> None:
    fast.pay_bill(PAYER, 1, "old")
    fast.advance(49 * 3600)
    fast.pay_bill(PAYER, 1, "new")
    long_ago = f"{fast.now() - timedelta(days=30):%Y-%m-%d %H:%M:%S}"
    assert [row["billreference"] for row in rows(fast.pull(StartDate=long_ago))] == ["new"]
    assert fast.pull(StartDate=long_ago, EndDate=long_ago).json()["ResponseCode"] == "1001"


@pytest.mark.parametrize(("field", "value"), [("StartDate", "2026-11-24"), ("OffSetValue", "-1"), ("ShortCode", "6")])
def test_a_bad_question_for_the_list_is_refused(fast: Simulator, golden: Golden, field: str, value: str) -> None:
    assert_refused(fast.pull(**{field: value}), 400, "400.001", f"Bad Request - Invalid {field}", golden)
