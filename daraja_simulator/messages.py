"""What Daraja says about pushes, in its own shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from daraja_simulator.prompts import Prompt, mask
from daraja_simulator.scenarios import PAID, QUERY_RESULTS, RESULTS, UNPUBLISHED_RESULT
from daraja_simulator.settings import IN_FLIGHT
from daraja_simulator.wire import Json, Refusal


def acceptance(prompt: Prompt) -> Json:
    return {
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
        "ResponseCode": "0",
        "ResponseDescription": "Success. Request accepted for processing",
        "CustomerMessage": "Success. Request accepted for processing",
    }


def callback(prompt: Prompt, twist: str | None, *, has_balance: bool) -> Json | str:
    """The posted result. Its ResultCode is a number; only a success has metadata."""
    assert prompt.result is not None
    assert prompt.ended_at is not None
    result: Json = {
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
        "ResultCode": prompt.result,
        "ResultDesc": RESULTS.get(prompt.result, UNPUBLISHED_RESULT),
    }
    if prompt.result == PAID:
        items: list[Json] = [
            {"Name": "Amount", "Value": float(prompt.amount)},
            {"Name": "MpesaReceiptNumber", "Value": prompt.receipt},
            *([{"Name": "Balance"}] if has_balance else []),
            {"Name": "TransactionDate", "Value": int(f"{prompt.ended_at:%Y%m%d%H%M%S}")},
            {"Name": "PhoneNumber", "Value": int(prompt.phone)},
        ]
        if twist in TWISTS:
            items = TWISTS[twist](items)
        result["CallbackMetadata"] = {"Item": items}
    body = {"Body": {"stkCallback": result}}
    return json.dumps(body)[:-20] if twist == "malformed" else body


def _changed(items: list[Json], name: str, value: Any) -> list[Json]:
    return [item | ({"Value": value} if item["Name"] == name else {}) for item in items]


#: What can be wrong with the items of a callback; one that is "malformed" ends in its middle.
TWISTS: dict[str, Callable[[list[Json]], list[Json]]] = {
    "amount": lambda items: _changed(items, "Amount", items[0]["Value"] + 1),
    "masked": lambda items: _changed(items, "PhoneNumber", mask(str(items[-1]["Value"]))),
    "reordered": lambda items: items[:0:-1],
}


def query_answer(prompt: Prompt) -> Json:
    """The answer about a prompt that has ended. Its ResultCode is text; it has no amount and no receipt."""
    is_contradicted = prompt.scenario.query_result is not None and prompt.result == PAID
    result = prompt.scenario.query_result if is_contradicted else prompt.result
    assert result is not None
    return _query(prompt, str(result), QUERY_RESULTS.get(result, UNPUBLISHED_RESULT))


def query_in_flight(prompt: Prompt, shape: str) -> tuple[int, Json]:
    """HTTP status and body while there is no result, in one of IN_FLIGHT, or in each of them in turn (`rotate`)."""
    if shape == "rotate":
        shape = IN_FLIGHT[(prompt.queries - 1) % len(IN_FLIGHT)]
    if shape == "4999":
        return 200, _query(prompt, "4999", "The transaction is still under processing")
    if shape == "empty":
        return 200, {"errorCode": "500.001.1001", "errorMessage": ""}
    return 500, Refusal(500, "500.001.1001", "The transaction is being processed").body


def _query(prompt: Prompt, code: str, text: str) -> Json:
    return {
        "ResponseCode": "0",
        # Three times s: Safaricom's spelling.
        "ResponseDescription": "The service request has been accepted successsfully",
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
        "ResultCode": code,
        "ResultDesc": text,
    }


def read_object(body: bytes) -> Json | None:
    """The JSON object in a request's body, or None."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
