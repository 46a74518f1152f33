"""Reading what Safaricom says about money: its published messages, and everything that may be wrong with them."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils import clock
from utils.mpesa_codes import NOT_CARRIED_OUT
from utils.mpesa_reports import (
    FAILURES,
    MoneyIn,
    Outcome,
    Report,
    Result,
    ResultOutcome,
    amount_of,
    count_listed,
    moment_of,
    read_callback,
    read_confirmation,
    read_pull_page,
    read_query_answer,
    read_result,
    read_validation,
    receipt_of,
)

STK = Path(__file__).parent / "daraja" / "golden"
GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def nairobi(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=clock.NAIROBI)  # type: ignore[arg-type,misc]


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


# ── Prompts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["callback_success_portal", "callback_success_production"])
def test_the_published_success_is_read_right(name: str) -> None:
    assert read_callback((STK / f"{name}.json").read_bytes()) == Report(
        Outcome.PAID,
        "0",
        checkout_request_id="ws_CO_191220191020363925",
        merchant_request_id="29115-34620561-1",
        amount=Decimal(1),
        receipt="NLJ7RT61SV",
    )


def test_the_published_failure_is_read_right() -> None:
    report = read_callback((STK / "callback_failure.json").read_bytes())
    assert report == Report(
        Outcome.FAILED,
        "1032",
        checkout_request_id="ws_CO_191220191020363925",
        merchant_request_id="29115-34620561-1",
    )


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("query_success", Outcome.PAID),
        ("query_in_flight_4999", Outcome.WAITING),
        ("query_in_flight_empty", Outcome.WAITING),
        ("query_in_flight_error", Outcome.WAITING),
        ("error", Outcome.WAITING),
    ],
)
def test_the_published_answers_to_questions_are_read_right(name: str, outcome: Outcome) -> None:
    report = read_query_answer((STK / f"{name}.json").read_bytes())
    assert (report.outcome, report.amount, report.receipt) == (outcome, None, None)


@pytest.mark.parametrize("code", [*FAILURES, 1, 1032])
def test_a_published_failure_is_a_failure_in_text_or_number(code: str | int) -> None:
    for read, body in (
        (read_callback, {"Body": {"stkCallback": {"ResultCode": code}}}),
        (read_query_answer, {"ResultCode": code}),
    ):
        assert read(json.dumps(body).encode()).outcome is Outcome.FAILED


@pytest.mark.parametrize("code", ["7777", 7777, "00", "-1", "500.001.1001", "O", "0x0", "10320"])
def test_a_code_nobody_has_published_is_unknown(code: Any) -> None:
    assert (
        read_callback(json.dumps({"Body": {"stkCallback": {"ResultCode": code}}}).encode()).outcome is Outcome.UNKNOWN
    )


# ── Money that came in ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_published_confirmation_is_read_right() -> None:
    body = (GOLDEN / "confirmation.json").read_bytes()
    assert read_confirmation(body) == MoneyIn(
        receipt="RKL51ZDR4F",
        amount=Decimal(5),
        reference="Sample Transaction",
        at=nairobi(2023, 11, 21, 12, 13, 25),
        payer="2547 ***** 126",
    )
    assert read_validation(body) == ("Sample Transaction", Decimal(5))


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"TransAmount": 5}, "amount", Decimal(5)),
        ({"TransAmount": 5.5}, "amount", Decimal("5.5")),
        ({"MSISDN": 254712345678}, "payer", "254712345678"),
        ({"MSISDN": "9f86d081884c7d659a2feaa0c55ad015"}, "payer", "9f86d081884c7d659a2feaa0c55ad015"),
        ({"MSISDN": None}, "payer", None),
        ({"BillRefNumber": ""}, "reference", None),
        ({"BillRefNumber": " tix7 k3q "}, "reference", "tix7 k3q"),
        ({"BillRefNumber": 4711}, "reference", "4711"),
        ({"BillRefNumber": ["x"]}, "reference", None),
        ({"BillRefNumber": "x" * 200}, "reference", None),
        ({"BillRefNumber": "a\0b"}, "reference", None),
        ({"TransTime": 20231121121325}, "at", nairobi(2023, 11, 21, 12, 13, 25)),
        ({"TransTime": "yesterday"}, "at", None),
        ({"TransID": " RKL51ZDR4F "}, "receipt", "RKL51ZDR4F"),
    ],
    ids=str,
)
def test_a_confirmation_is_read_leniently(changes: dict[str, Any], field: str, expected: object) -> None:
    money = read_confirmation(encoded(golden("confirmation") | changes))
    assert getattr(money, field) == expected
    assert money is not None
    assert not money.is_reversal


@pytest.mark.parametrize(
    "changes",
    [
        {"TransID": None},
        {"TransID": "rkl51zdr4f"},
        {"TransID": "RKL51ZDR4"},
        {"TransAmount": None},
        {"TransAmount": "five"},
        {"TransAmount": "NaN"},
        {"TransAmount": "1e400"},
        {"TransAmount": True},
    ],
    ids=str,
)
def test_a_confirmation_without_receipt_or_amount_tells_of_no_money(changes: dict[str, Any]) -> None:
    assert read_confirmation(encoded(golden("confirmation") | changes)) is None


def test_a_question_without_reference_is_none() -> None:
    assert read_validation(encoded({"TransAmount": "5"})) is None
    assert read_validation(b"<html>") is None


# ── M-PESA's own list ─────────────────────────────────────────────────────────────────────────────────────────────

LISTED = MoneyIn(
    receipt="LHG31AA5TX",
    amount=Decimal(168),
    reference="37207636392",
    at=nairobi(2020, 8, 5, 10, 13),
    payer="72200000",
)


def test_the_published_list_is_read_right() -> None:
    body = (GOLDEN / "pull_page.json").read_bytes()
    assert read_pull_page(body) == [LISTED]
    assert count_listed(body) == 1
    body = (GOLDEN / "pull_end.json").read_bytes()
    assert (read_pull_page(body), count_listed(body)) == ([], 0)


def test_rows_may_stand_in_a_list_or_in_a_list_of_lists() -> None:
    page = golden("pull_page")
    row = page["Response"][0][0]
    for nested in (row, [row], [[row]], [[[row]]]):
        assert read_pull_page(encoded(page | {"Response": nested})) == [LISTED]
    other = row | {"transactionId": "LHG31AA5TY"}
    flat = read_pull_page(encoded(page | {"Response": [row, other]}))
    assert flat == read_pull_page(encoded(page | {"Response": [[row], [other]]}))
    assert [money.receipt for money in flat or []] == ["LHG31AA5TX", "LHG31AA5TY"]


def test_a_row_that_cannot_be_read_is_counted_and_left_out() -> None:
    page = golden("pull_page")
    row = page["Response"][0][0]
    # As the portal has it, in its own sample.
    body = encoded(page | {"Response": [[row | {"transactionId": "yzlyrEsRG1"}, row, {}, None, 7]]})
    assert read_pull_page(body) == [LISTED]
    assert count_listed(body) == 3


@pytest.mark.parametrize("kind", ["c2b-pay-bill-reversal", "Reversal", "organization-reversal-of-c2b"])
def test_a_row_of_a_reversal_names_the_receipt_it_undoes(kind: str) -> None:
    page = golden("pull_page")
    row = page["Response"][0][0] | {"transactiontype": kind, "billreference": "LHG31AA5TA"}
    [money] = read_pull_page(encoded(page | {"Response": [row]})) or []
    assert (money.is_reversal, money.reverses, money.reference) == (True, "LHG31AA5TA", None)
    [money] = read_pull_page(encoded(page | {"Response": [row | {"billreference": "ABC"}]})) or []
    assert (money.is_reversal, money.reverses) == (True, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"ResponseCode": "1002"}',
        b'{"errorCode": "500.003.1001", "errorMessage": "Internal Server Error"}',
    ],
)
def test_what_is_no_list_is_none(body: bytes) -> None:
    assert read_pull_page(body) is None


def test_a_list_of_many_lists_is_read_to_its_end() -> None:
    body = b'{"ResponseCode": 1000, "Response": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert (read_pull_page(body), count_listed(body)) == ([], 0)


# ── Results posted later ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_published_result_of_a_question_is_read_right() -> None:
    """The payer's name comes twice: first the shop's number, then the person's."""
    assert read_result((GOLDEN / "result_status.json").read_bytes()) == Result(
        ResultOutcome.DONE,
        "0",
        text="The service request is processed successfully.",
        conversation_id="AG_20180223_0000493344ae97d86f75",
        originator_conversation_id="3213-416199-2",
        transaction_id="MBN0000000",
        amount=Decimal(300),
        receipt="MBN31H462N",
        transaction_status="Completed",
        payer="254708374149",
        finished_at=nairobi(2018, 2, 23, 5, 41, 12),
    )


def test_the_published_result_of_a_payout_is_read_right() -> None:
    result = read_result((GOLDEN / "result_payout.json").read_bytes())
    assert (result.outcome, result.amount, result.receipt) == (ResultOutcome.DONE, Decimal(10), "NLJ41HAY6Q")
    assert (result.conversation_id, result.transaction_id) == ("AG_20191219_00004e48cf7e3533f581", "NLJ41HAY6Q")
    assert result.finished_at == nairobi(2019, 12, 19, 11, 45, 50)


def test_the_published_results_of_a_reversal_are_read_right() -> None:
    result = read_result((GOLDEN / "result_reversal.json").read_bytes())
    assert (result.outcome, result.amount, result.transaction_id) == (ResultOutcome.DONE, Decimal(1), "SKE52PAWR9")
    assert result.finished_at == nairobi(2021, 11, 14, 13, 27, 11)
    result = read_result((GOLDEN / "result_reversal_refused.json").read_bytes())
    assert (result.outcome, result.code) == (ResultOutcome.FAILED, "R000002")
    assert result.text == "The OriginalTransactionID is invalid."


def test_what_was_reversed_before_counts_as_reversed() -> None:
    assert read_result(encoded({"Result": {"ResultCode": "R000001"}})).outcome is ResultOutcome.DONE


@pytest.mark.parametrize("code", [*sorted(NOT_CARRIED_OUT), 1, 2001])
def test_a_code_published_for_requests_is_a_failure_in_text_or_number(code: str | int) -> None:
    assert read_result(encoded({"Result": {"ResultType": 0, "ResultCode": code}})).outcome is ResultOutcome.FAILED


@pytest.mark.parametrize("code", ["26", "17", "1037", "9999", "7777", 7777, "00", "r000001"])
def test_any_other_code_decides_nothing_about_a_request(code: Any) -> None:
    """Those of prompts too: a payout that is wrongly taken for failed is paid twice."""
    assert read_result(encoded({"Result": {"ResultCode": code}})).outcome is ResultOutcome.UNKNOWN


@pytest.mark.parametrize("kind", [1, "1"])
@pytest.mark.parametrize("code", [0, "0", 2001])
def test_more_is_to_come_whatever_the_code_says(kind: Any, code: Any) -> None:
    body = encoded({"Result": {"ResultType": kind, "ResultCode": code}})
    assert read_result(body).outcome is ResultOutcome.WAITING


def parameters(listed: Any) -> Result:
    return read_result(encoded({"Result": {"ResultCode": 0, "ResultParameters": {"ResultParameter": listed}}}))


def test_parameters_come_in_all_shapes() -> None:
    assert parameters({"Key": "ReceiptNo", "Value": "MBN31H462N"}).receipt == "MBN31H462N"
    assert parameters([{"Key": "ReceiptNo"}, {"Key": "ReceiptNo", "Value": "MBN31H462N"}]).receipt == "MBN31H462N"
    assert parameters([None, 7, "x", {"Value": 1}, {"Key": 7, "Value": 1}]).receipt is None
    assert parameters([{"Key": "Amount", "Value": "300.00"}, {"Key": "Amount", "Value": 7}]).amount == Decimal(300)
    assert parameters(None).amount is None
    assert read_result(encoded({"Result": {"ResultCode": 0, "ResultParameters": []}})).outcome is ResultOutcome.DONE


@pytest.mark.parametrize(
    ("name", "payer"),
    [
        ("254712345678 - JANE DOE", "254712345678"),
        ("0712345678-JANE", "0712345678"),
        (254712345678, "254712345678"),
        ("600310 - Safaricom333", None),
        ("2547***678 - JANE", None),
        ("JANE DOE", None),
        ("2547123456781234567", None),
        ("", None),
        (None, None),
    ],
)
def test_the_payer_is_the_number_before_the_name(name: Any, payer: str | None) -> None:
    assert parameters([{"Key": "DebitPartyName", "Value": name}]).payer == payer


def test_a_long_description_is_cut() -> None:
    text = read_result(encoded({"Result": {"ResultCode": 1, "ResultDesc": "x" * 1024}})).text
    assert text == "x" * 100


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>", b'{"Result": []}', b'{"Result": {}}'])
def test_what_is_no_result_is_unreadable(body: bytes) -> None:
    assert read_result(body).outcome is ResultOutcome.UNREADABLE


# ── Values ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "receipt"),
    [
        ("NLJ7RT61SV", "NLJ7RT61SV"),
        (" NLJ7RT61SV\n", "NLJ7RT61SV"),
        (1234567890, "1234567890"),
        ("nlj7rt61sv", None),
        ("NLJ7RT61S", None),
        ("NLJ7RT61SVX", None),
        ("NLJ7RT61S\u00dc", None),
        ("\u0661" * 10, None),
        (None, None),
        (True, None),
        (["NLJ7RT61SV"], None),
    ],
)
def test_a_receipt_is_ten_capital_letters_and_digits(value: Any, receipt: str | None) -> None:
    assert receipt_of(value) == receipt


@pytest.mark.parametrize(
    "text",
    [
        "20260901143005",
        20260901143005,
        "2026-09-01T14:30:05Z",
        "2026-09-01T14:30:05",
        "2026-09-01 14:30:05",
        "2026-09-01 14:30:05.000",
        "01-09-2026 14:30:05",
        "01/09/2026 14:30:05",
        "1/9/2026 14:30:05",
        "01.09.2026 14:30:05",
    ],
)
def test_a_moment_is_east_africa_time_however_it_is_written(text: Any) -> None:
    assert moment_of(text) == nairobi(2026, 9, 1, 14, 30, 5)


@pytest.mark.parametrize(
    "text", ["", "now", "2026-09-01", "00010101000000", "99991231235959", "20261301000000", None, True, 1.5]
)
def test_what_is_no_moment_of_a_payment_is_none(text: Any) -> None:
    assert moment_of(text) is None


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (1, Decimal(1)),
        (1.10, Decimal("1.1")),
        ("1.10", Decimal("1.1")),
        ("-33.00", Decimal(-33)),
        ("0.00", Decimal(0)),
        ("1e15", None),
        ("1e-999999", None),
        ("1,000", None),
        ("", None),
        (None, None),
        (False, None),
        (float("inf"), None),
    ],
)
def test_an_amount_is_a_number_that_a_payment_may_have(value: Any, amount: Decimal | None) -> None:
    assert amount_of(value) == amount


# ── Whatever comes ────────────────────────────────────────────────────────────────────────────────────────────────

_WORDS = [
    "Body", "stkCallback", "ResultCode", "CallbackMetadata", "Item", "Name", "Value", "CheckoutRequestID", "Amount",
    "MpesaReceiptNumber", "Result", "ResultType", "ResultParameters", "ResultParameter", "Key", "ReceiptNo",
    "DebitPartyName", "FinalisedTime", "ResponseCode", "1000", "Response", "transactionId", "transactiontype",
    "reversal", "trxDate", "billreference", "TransID", "TransAmount", "TransTime", "BillRefNumber", "MSISDN",
    "NLJ7RT61SV", "254712345678 - JANE", "20191219102115", "0", "1", "\0", "\ud800", "",
]  # fmt: skip
_WORD = st.sampled_from(_WORDS)
_LEAVES = st.none() | st.booleans() | st.integers() | st.just(10**40) | st.floats() | _WORD | st.text(max_size=5)
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORD, inner, max_size=5), max_leaves=20
)


def _mutated(message: Any) -> st.SearchStrategy[Any]:
    """A published message in which some values have become anything."""
    if isinstance(message, dict):
        same: st.SearchStrategy[Any] = st.fixed_dictionaries(
            {}, optional={key: _mutated(value) for key, value in message.items()}
        )
    elif isinstance(message, list):
        same = st.tuples(*(_mutated(one) for one in message)).map(list)
    else:
        return st.just(message) | _LEAVES
    return st.integers(0, 9).flatmap(lambda dice: same if dice else _ANYTHING)


_PUBLISHED = [json.loads(path.read_text()) for folder in (STK, GOLDEN) for path in sorted(folder.glob("*.json"))]
_BODIES = st.binary(max_size=50) | st.one_of(_ANYTHING, *map(_mutated, _PUBLISHED)).map(encoded)


@settings(max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(_BODIES)
def test_reading_never_fails_whatever_comes(body: bytes) -> None:
    money = [read_confirmation(body), *(read_pull_page(body) or [])]
    for report in (read_callback(body), read_query_answer(body)):
        assert isinstance(report.outcome, Outcome)
        _keep(report.code, report.receipt, report.checkout_request_id, report.merchant_request_id, report.amount)
    for one in filter(None, money):
        assert receipt_of(one.receipt) == one.receipt
        _keep(one.receipt, one.amount, one.reference, one.at, one.payer, one.reverses)
    result = read_result(body)
    assert isinstance(result.outcome, ResultOutcome)
    _keep(*vars(result).values())
    _keep(*(read_validation(body) or ()))
    assert count_listed(body) >= len(read_pull_page(body) or [])


def _keep(*values: object) -> None:
    """Whether PostgreSQL could keep them."""
    for value in values:
        if isinstance(value, str):
            assert "\0" not in value
            assert value.encode()
        elif isinstance(value, Decimal):
            assert len(format(value, ",.2f")) < 30
            assert len(str(int(value))) < 20
        elif isinstance(value, datetime):
            assert clock.to_utc(value)
