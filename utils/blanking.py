"""Takes people out of what Safaricom sent: names and numbers go, money, receipts and times stay."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

#: Fields of callbacks, confirmations, results and lists that are about a person, without case and separators.
_PERSONAL = re.compile(r"phonenumber|phone|msisdn|firstname|middlename|lastname|sender|payer|\w*party(public)?name")
_BLANK = ""


def blank(body: bytes) -> bytes:
    """The message without persons. What is no JSON may have them anywhere: of that nothing is left."""
    try:
        told = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return b""
    return json.dumps(_without_persons(told), default=_number, ensure_ascii=False).encode()


def _without_persons(told: Any) -> Any:
    if isinstance(told, list):
        return [_without_persons(one) for one in told]
    if not isinstance(told, dict):
        return told
    # {"Name": "PhoneNumber", "Value": 254712345678}, and {"Key": …}: Safaricom's way to list things.
    named = next((told[one] for one in ("Name", "Key") if isinstance(told.get(one), str)), None)
    if named is not None and _is_personal(named):
        return {name: told[name] if told[name] == named else _BLANK for name in told}
    return {name: _BLANK if _is_personal(name) else _without_persons(value) for name, value in told.items()}


def _is_personal(name: str) -> bool:
    return _PERSONAL.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def _number(value: Any) -> float:
    """Amounts have two digits after the point: a float tells them without loss."""
    return float(value)
