"""What Daraja refuses in a request, in the order it looks."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from daraja_simulator.clock import EAST_AFRICA
from daraja_simulator.messages import Json, Refusal, invalid
from daraja_simulator.settings import Settings

Rule = Callable[[str], bool]
#: Far less than the three hours a client is off that stamps in UTC.
STAMP_TOLERANCE = timedelta(minutes=10)


def _matches(pattern: str) -> Rule:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_stamp(text: str) -> bool:
    try:
        _moment(text)
    except ValueError:
        return False
    return len(text) == 14


def _is_loopback_url(text: str) -> bool:
    """Stricter than Safaricom: this process calls nobody outside its machine."""
    # Printable ASCII without a backslash, about which URL parsers disagree.
    if not re.fullmatch(r"https?://[!-\[\]-~]+", text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


_SHORTCODE = _matches(r"[0-9]{5,7}")
_PHONE = _matches(r"254[17][0-9]{8}")

PUSH_FIELDS: dict[str, Rule] = {
    "BusinessShortCode": _SHORTCODE,
    "Timestamp": _is_stamp,
    # The sandbox's shortcode is a paybill, which CustomerBuyGoodsOnline does not fit.
    "TransactionType": _matches("CustomerPayBillOnline"),
    "Amount": _matches(r"0*[1-9][0-9]{0,8}"),
    "PartyA": _PHONE,
    "PartyB": _SHORTCODE,
    "PhoneNumber": _PHONE,
    "CallBackURL": _is_loopback_url,
    "AccountReference": _matches(r"[A-Za-z0-9]{1,12}"),
}
OPTIONAL_PUSH_FIELDS: dict[str, Rule] = {"TransactionDesc": _matches(r".{1,13}")}
QUERY_FIELDS: dict[str, Rule] = {
    "BusinessShortCode": _SHORTCODE,
    "Timestamp": _is_stamp,
    "CheckoutRequestID": _matches(r"\S{1,100}"),
}


def check_fields(given: Json, required: dict[str, Rule], optional: dict[str, Rule]) -> dict[str, str]:
    """The named fields and the password, as text: Daraja takes numbers and strings alike. Raises Refusal."""
    fields = {name: _text(given.get(name)) for name in [*required, *optional, "Password"]}
    for name, rule in (required | optional).items():
        is_left_out = name in optional and given.get(name) is None
        if not is_left_out and not rule(fields[name]):
            raise invalid(name)
    return fields


def check_merchant(fields: dict[str, str], settings: Settings) -> None:
    """Raises Refusal unless the shortcode is ours and the password is made of it, passkey and stamp."""
    shortcode = settings.MPESA_SHORTCODE
    if fields["BusinessShortCode"] != shortcode:
        raise Refusal(500, "500.001.1001", "Merchant does not exist")
    password = f"{shortcode}{settings.MPESA_PASSKEY}{fields['Timestamp']}"
    if fields["Password"] != base64.b64encode(password.encode()).decode():
        raise Refusal(500, "500.001.1001", "Wrong credentials")


def check_stamp(fields: dict[str, str], now: datetime) -> None:
    """Raises Refusal when the stamp is not the present in East Africa Time."""
    if abs(_moment(fields["Timestamp"]) - now) > STAMP_TOLERANCE:
        raise invalid("Timestamp")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""
