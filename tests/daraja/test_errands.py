"""Reversals, payouts, status questions and balances: accepted at once, carried out and told later."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.waiting import wait_until

from .process import SHORTCODE, Simulator, security_credential, start_simulator
from .receiver import Receiver
from .shapes import parameters, shape
from .test_simulator import assert_refused

PAYER = "254712345678"
Golden = Callable[[str], Any]


@pytest.fixture
def receipt(fast: Simulator, merchant: Receiver) -> str:
    """Of a payment of KES 1,500 by PAYER."""
    return pay(fast, merchant)


def pay(simulator: Simulator, merchant: Receiver, phone: str = PAYER) -> str:
    simulator.push(phone, merchant.url)
    paid = wait_until(lambda: [one for one in simulator.prompts() if (one["phone"], one["status"]) == (phone, "paid")])
    return paid[-1]["receipt"]


def told(merchant: Receiver, end: str = "result", count: int = 1) -> Any:
    """The result posted last, once there are so many."""
    return wait_until(lambda: len(merchant.at(end)) >= count and merchant.at(end))[-1]


def accepted(answer: requests.Response, golden: Golden) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    assert shape(answer.json()) == shape(golden("errand_accepted"))
    assert re.fullmatch(r"AG_\d{8}_[0-9a-f]{20}", answer.json()["ConversationID"])
    return answer.json()


# ── Reversals ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reversal_gives_all_of_a_payment_back(
    fast: Simulator, merchant: Receiver, receipt: str, golden: Golden
) -> None:
    ids = accepted(fast.reversal(receipt, merchant.url), golden)
    result = told(merchant)
    assert shape(result) == shape(golden("reversal_result"))
    assert {name: result["Result"][name] for name in ("OriginatorConversationID", "ConversationID")} == {
        name: ids[name] for name in ("OriginatorConversationID", "ConversationID")
    }
    assert parameters(result)["OriginalTransactionID"] == receipt
    assert (fast.wallets(), fast.shop_balance()) == ({PAYER: 500_000}, 0)
    undone = fast.ledger()[-1]
    assert (undone["kind"], undone["original_receipt"], undone["amount"]) == ("reversal", receipt, 1500)
    assert (undone["receipt"], undone["phone"]) == (result["Result"]["TransactionID"], PAYER)


def test_a_payment_is_reversed_once(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    for count, code in enumerate((0, "R000001"), start=1):
        fast.reversal(receipt, merchant.url)
        assert told(merchant, count=count)["Result"]["ResultCode"] == code
    assert fast.shop_balance() == 0


def test_an_unknown_receipt_is_not_reversed(fast: Simulator, merchant: Receiver, golden: Golden) -> None:
    accepted(fast.reversal("SKC82PACB8", merchant.url), golden)
    result = told(merchant)
    assert shape(result) == shape(golden("reversal_result_failure"))
    assert result["Result"]["ResultCode"] == "R000002"
    assert result["Result"]["ResultDesc"] == golden("reversal_result_failure")["Result"]["ResultDesc"]


def test_a_part_of_a_payment_is_not_reversed(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    fast.reversal(receipt, merchant.url, Amount=1499)
    assert told(merchant)["Result"]["ResultCode"] == 2
    assert fast.shop_balance() == 1500


def test_a_payout_is_not_reversed(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    fast.b2c(PAYER, merchant.url, Amount=100)
    payout = told(merchant)["Result"]["TransactionID"]
    fast.reversal(payout, merchant.url, Amount=100)
    assert told(merchant, count=2)["Result"]["ResultCode"] == "R000002"


def test_safaricom_takes_a_payment_back_and_tells_nobody(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    undone = fast.reverse(receipt)
    assert fast.ledger()[-1]["receipt"] == undone
    assert (merchant.at("result"), fast.shop_balance()) == ([], 0)
    again = requests.post(f"{fast.url}/__sim__/reverse", json={"receipt": receipt}, timeout=5)
    assert again.status_code == 400
    fast.reversal(receipt, merchant.url)
    assert told(merchant)["Result"]["ResultCode"] == "R000001"


def test_the_shop_sends_money_by_hand_as_long_as_it_has_some(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    def send(amount: int) -> requests.Response:
        return requests.post(f"{fast.url}/__sim__/b2c/pay", json={"phone": PAYER, "amount": amount}, timeout=5)

    sent = send(500)
    assert (sent.status_code, sent.json()["receipt"]) == (200, fast.ledger()[-1]["receipt"])
    assert (fast.ledger()[-1]["kind"], fast.shop_balance(), merchant.at("result")) == ("b2c", 1000, [])
    assert send(1001).status_code == 400
    assert fast.shop_balance() == 1000


# ── Payouts ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["v3", "v1"])
def test_a_payout_arrives(fast: Simulator, merchant: Receiver, receipt: str, golden: Golden, version: str) -> None:
    path, body = f"/mpesa/b2c/{version}/paymentrequest", {"OriginatorConversationID": "a-b-c"}
    answer = fast.b2c("254722000000", merchant.url, Amount=1000, **body)
    if version == "v1":
        wait_until(lambda: merchant.at("result"))
        answer = fast.post(path, json=sent(fast, merchant, OriginatorConversationID="d-e-f", Amount=300))
    assert accepted(answer, golden)["OriginatorConversationID"] == {"v3": "a-b-c", "v1": "d-e-f"}[version]
    result = told(merchant, count=2 if version == "v1" else 1)
    assert shape(result) == shape(golden("b2c_result"))
    assert parameters(result)["ReceiverPartyPublicName"] == "254722000000 - JANE DOE"
    paid = fast.ledger()[-1]
    assert (paid["kind"], paid["receipt"]) == ("b2c", result["Result"]["TransactionID"])
    assert fast.shop_balance() == 500 - (300 if version == "v1" else 0)
    assert fast.wallets()["254722000000"] == 501_000 + (300 if version == "v1" else 0)


def sent(simulator: Simulator, merchant: Receiver, **changes: Any) -> dict[str, Any]:
    return {
        "InitiatorName": "simulator-initiator",
        "SecurityCredential": security_credential(),
        "CommandID": "BusinessPayment",
        "PartyA": SHORTCODE,
        "PartyB": "254722000000",
        "Remarks": "Refund",
        "QueueTimeOutURL": f"{merchant.url}/timeout",
        "ResultURL": f"{merchant.url}/result",
    } | changes


def test_an_id_pays_once(fast: Simulator, merchant: Receiver, receipt: str, golden: Golden) -> None:
    for _ in range(2):
        answer = fast.b2c(PAYER, merchant.url, OriginatorConversationID="same", Amount=10)
    assert_refused(answer, 500, "500.002.1001", "Duplicate OriginatorConversationID.", golden)
    told(merchant)
    assert [one["kind"] for one in fast.ledger()] == ["stk", "b2c"]


@pytest.mark.parametrize(("amount", "code"), [(9, 2), (250_001, 3), (1501, 1)])
def test_an_amount_beyond_limits_or_the_account_is_not_paid(
    fast: Simulator, merchant: Receiver, receipt: str, amount: int, code: int
) -> None:
    fast.b2c(PAYER, merchant.url, Amount=amount)
    result = told(merchant)["Result"]
    assert result["ResultCode"] == code
    assert "ResultParameters" not in result
    assert fast.shop_balance() == 1500


# ── The initiator ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"Initiator": "somebody"},
        {"SecurityCredential": "bm90IGVuY3J5cHRlZA=="},
        {"SecurityCredential": "not base64"},
        {"SecurityCredential": None},
    ],
)
def test_a_wrong_initiator_is_told_so_later(
    fast: Simulator, merchant: Receiver, receipt: str, changes: dict[str, Any]
) -> None:
    if changes.get("SecurityCredential", "") is None:
        changes = {"SecurityCredential": security_credential("another password")}
    answer = fast.reversal(receipt, merchant.url, **changes)
    if changes.get("SecurityCredential") == "not base64":
        assert answer.json()["errorMessage"] == "Bad Request - Invalid SecurityCredential"
    else:
        assert told(merchant)["Result"]["ResultCode"] == 2001
    assert fast.shop_balance() == 1500


def test_simulators_started_at_once_share_one_certificate(tmp_path: Any) -> None:
    with ThreadPoolExecutor(3) as threads:
        started = list(threads.map(lambda _: start_simulator(SIM_CERTIFICATE_DIR=tmp_path / "new"), range(3)))
    credential = security_credential(path=tmp_path / "new" / "certificate.cer")
    assert sorted(one.name for one in (tmp_path / "new").iterdir()) == ["certificate.cer", "certificate.key"]
    assert (tmp_path / "new" / "certificate.key").stat().st_mode & 0o777 == 0o600
    with Receiver() as merchant:
        for count, simulator in enumerate(started, start=1):
            simulator.account_balance(merchant.url, SecurityCredential=credential)
            assert told(merchant, count=count)["Result"]["ResultCode"] == 0
            simulator.stop()


# ── Status and balance ────────────────────────────────────────────────────────────────────────────────────


def test_the_status_of_a_payment_is_told_by_its_receipt(
    fast: Simulator, merchant: Receiver, receipt: str, golden: Golden
) -> None:
    accepted(fast.status(merchant.url, TransactionID=receipt), golden)
    result = told(merchant)
    assert shape(result).keys() == shape(golden("status_result")).keys()
    items = result["Result"]["ResultParameters"]["ResultParameter"]
    published = golden("status_result")["Result"]["ResultParameters"]["ResultParameter"]
    assert [item["Key"] for item in items] == [item["Key"] for item in published]
    assert [item["Value"] for item in items[:2]] == [f"{PAYER} - JANE DOE", "174379 - TICKSY"]
    found = parameters(result)
    assert (found["ReceiptNo"], found["Amount"], found["TransactionStatus"]) == (receipt, 1500.0, "Completed")


def test_the_status_of_a_reversed_payment_says_so(fast: Simulator, merchant: Receiver, receipt: str) -> None:
    fast.reverse(receipt)
    fast.status(merchant.url, TransactionID=receipt)
    assert parameters(told(merchant))["TransactionStatus"] == "Reversed"


@pytest.mark.parametrize("name", ["OriginatorConversationID", "OriginalConversationID"])
def test_the_status_of_a_payout_is_told_by_either_of_its_ids(
    fast: Simulator, merchant: Receiver, receipt: str, golden: Golden, name: str
) -> None:
    ids = fast.b2c(PAYER, merchant.url, Amount=200).json()
    payout = told(merchant)["Result"]["TransactionID"]
    for count, value in enumerate((ids["OriginatorConversationID"], ids["ConversationID"]), start=2):
        fast.status(merchant.url, **{name: value})
        result = told(merchant, count=count)
        assert shape(result) == shape(golden("status_result"))
        assert parameters(result)["ReceiptNo"] == payout


@pytest.mark.parametrize("about", [{"TransactionID": "SKC82PACB8"}, {"OriginatorConversationID": "never-sent"}])
def test_the_status_of_nothing_is_a_failure(fast: Simulator, merchant: Receiver, about: dict[str, str]) -> None:
    fast.status(merchant.url, **about)
    result = told(merchant)["Result"]
    assert result["ResultCode"] == "R000002"
    assert "ResultParameters" not in result


def test_the_status_of_a_payout_that_failed_is_a_failure(fast: Simulator, merchant: Receiver) -> None:
    ids = fast.b2c(PAYER, merchant.url).json()
    assert told(merchant)["Result"]["ResultCode"] == 1
    fast.status(merchant.url, OriginatorConversationID=ids["OriginatorConversationID"])
    assert told(merchant, count=2)["Result"]["ResultCode"] == "R000002"


def test_a_balance_is_the_shops(fast: Simulator, merchant: Receiver, receipt: str, golden: Golden) -> None:
    accepted(fast.account_balance(merchant.url), golden)
    result = told(merchant)
    assert shape(result) == shape(golden("balance_result"))
    assert "&Utility Account|KES|1500.00|1500.00|0.00|0.00&" in parameters(result)["AccountBalance"]


# ── What is refused at once ───────────────────────────────────────────────────────────────────────────────

PATHS = {
    "b2c": "/mpesa/b2c/v3/paymentrequest",
    "reversal": "/mpesa/reversal/v1/request",
    "status": "/mpesa/transactionstatus/v1/query",
    "balance": "/mpesa/accountbalance/v1/query",
    "c2b": "/mpesa/c2b/v2/registerurl",
    "pull": "/pulltransactions/v1/query",
}


@pytest.mark.parametrize(
    ("api", "status", "code"),
    [
        ("b2c", 401, "401.002.01"),
        ("balance", 401, "401.002.01"),
        ("reversal", 404, "404.001.03"),
        ("status", 400, "400.003.01"),
        ("c2b", 400, "400.003.01"),
        ("pull", 401, "401.001"),
    ],
)
def test_a_bad_token_has_many_codes(fast: Simulator, api: str, status: int, code: str) -> None:
    answer = fast.post(PATHS[api], token="x" * 28, json={})
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert ("x" * 28 in answer.text) == (code == "401.002.01")


@pytest.mark.parametrize(
    ("api", "field", "value"),
    [
        ("b2c", "CommandID", "Payment"),
        ("b2c", "Amount", "10.50"),
        ("b2c", "PartyA", "600000"),
        ("b2c", "PartyB", "0712345678"),
        ("b2c", "Remarks", "x"),
        ("b2c", "ResultURL", "https://ticksy.co.ke/result"),
        ("reversal", "RecieverIdentifierType", "4"),
        ("reversal", "TransactionID", ""),
        ("reversal", "ReceiverParty", "600000"),
        ("status", "IdentifierType", "1"),
        ("status", "TransactionID", ""),
        ("account_balance", "CommandID", "Balance"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(
    fast: Simulator, merchant: Receiver, golden: Golden, api: str, field: str, value: str
) -> None:
    about = (merchant.url,) if api in ("status", "account_balance") else (PAYER, merchant.url)
    answer = getattr(fast, api)(*about, **{field: value})
    assert_refused(answer, 400, "400.002.02", f"Bad Request - Invalid {field}", golden)


# ── Numbers that decide about refunds ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("row", "code"), [("070", 0), ("071", 1), ("072", 2001), ("073", 2040)])
@pytest.mark.parametrize("way", ["b2c", "reversal"])
def test_refunds_to_a_scripted_number_end_as_it_says(
    fast: Simulator, merchant: Receiver, row: str, code: int, way: str
) -> None:
    phone = f"254700000{row}"
    paid = pay(fast, merchant, phone)
    refund(fast, merchant, way, phone, paid)
    assert told(merchant)["Result"]["ResultCode"] == code
    assert fast.shop_balance() == (1500 if code else 0)


@pytest.mark.parametrize(("row", "ends"), [("074", ["timeout"]), ("075", [])])
@pytest.mark.parametrize("way", ["b2c", "reversal"])
def test_a_refund_can_arrive_without_a_result(
    fast: Simulator, merchant: Receiver, row: str, ends: list[str], way: str
) -> None:
    phone = f"254700000{row}"
    paid = pay(fast, merchant, phone)
    ids = refund(fast, merchant, way, phone, paid)
    wait_until(lambda: fast.shop_balance() == 0)
    fast.status(merchant.url, OriginatorConversationID=ids["OriginatorConversationID"])
    assert parameters(told(merchant))["TransactionStatus"] == "Completed"
    assert [one.path.rpartition("/")[2] for one in merchant.received if "ConversationID" in str(one.body)] == [
        *ends,
        "result",
    ]


def refund(simulator: Simulator, merchant: Receiver, way: str, phone: str, paid: str) -> dict[str, str]:
    if way == "b2c":
        return simulator.b2c(phone, merchant.url).json()
    return simulator.reversal(paid, merchant.url).json()
