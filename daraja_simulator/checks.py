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
from daraja_simulator.settings import Settings
from daraja_simulator.wire import Json, Refusal

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


def is_loopback_url(text: str) -> bool:
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


def _is_calendar_time(text: str) -> bool:
    try:
        pull_moment(text)
    except ValueError:
        return False
    return True


def _is_c2b_url(text: str) -> bool:
    """Words that the portal forbids in C2B addresses ("Customer To Business (C2B)")."""
    return is_loopback_url(text) and not re.search("m-?pesa|safaricom|exec?|cmd|sql|query", text, re.IGNORECASE)


def _or_none(rule: Rule) -> Rule:
    return lambda text: text == "" or rule(text)


_SHORTCODE = _matches(r"[0-9]{5,7}")
_PHONE = _matches(r"254[17][0-9]{8}")
_AMOUNT = _matches(r"0*[1-9][0-9]{0,8}")
_TEXT = _matches(r"\S{1,1000}")
_REMARKS = _matches(r".{2,100}")
_COMMENT = _matches(r".{0,100}")
_ANYTHING = _matches(r"(?s).*")
PULL_TIME = "%Y-%m-%d %H:%M:%S"

#: By API: the rules of its fields. Those that start with "?" may be left out.
FIELDS: dict[str, dict[str, Rule]] = {
    "push": {
        "BusinessShortCode": _SHORTCODE,
        "Timestamp": _is_stamp,
        # The sandbox's shortcode is a paybill, which CustomerBuyGoodsOnline does not fit.
        "TransactionType": _matches("CustomerPayBillOnline"),
        "Amount": _AMOUNT,
        "PartyA": _PHONE,
        "PartyB": _SHORTCODE,
        "PhoneNumber": _PHONE,
        "CallBackURL": is_loopback_url,
        "AccountReference": _matches(r"[A-Za-z0-9]{1,12}"),
        "?TransactionDesc": _matches(r".{1,13}"),
        "?Password": _ANYTHING,
    },
    "query": {
        "BusinessShortCode": _SHORTCODE,
        "Timestamp": _is_stamp,
        "CheckoutRequestID": _matches(r"\S{1,100}"),
        "?Password": _ANYTHING,
    },
    "b2c": {
        "?OriginatorConversationID": _matches(r"\S{1,100}"),
        "InitiatorName": _TEXT,
        "SecurityCredential": _TEXT,
        "CommandID": _matches("BusinessPayment|SalaryPayment|PromotionPayment"),
        "Amount": _AMOUNT,
        "PartyA": _SHORTCODE,
        "PartyB": _PHONE,
        "Remarks": _REMARKS,
        "QueueTimeOutURL": is_loopback_url,
        "ResultURL": is_loopback_url,
        # Their spelling, here and below.
        "?Occassion": _COMMENT,
    },
    "reversal": {
        "Initiator": _TEXT,
        "SecurityCredential": _TEXT,
        "CommandID": _matches("TransactionReversal"),
        "TransactionID": _TEXT,
        "Amount": _AMOUNT,
        "ReceiverParty": _SHORTCODE,
        "RecieverIdentifierType": _matches("11"),
        "ResultURL": is_loopback_url,
        "QueueTimeOutURL": is_loopback_url,
        "Remarks": _REMARKS,
        "?Occasion": _COMMENT,
    },
    "status": {
        "Initiator": _TEXT,
        "SecurityCredential": _TEXT,
        "CommandID": _matches("TransactionStatusQuery"),
        "?TransactionID": _or_none(_TEXT),
        "?OriginalConversationID": _or_none(_TEXT),
        "?OriginatorConversationID": _or_none(_TEXT),
        "PartyA": _SHORTCODE,
        "IdentifierType": _matches("4"),
        "ResultURL": is_loopback_url,
        "QueueTimeOutURL": is_loopback_url,
        "Remarks": _REMARKS,
        "?Occasion": _COMMENT,
    },
    "balance": {
        "Initiator": _TEXT,
        "SecurityCredential": _TEXT,
        "CommandID": _matches("AccountBalance"),
        "PartyA": _SHORTCODE,
        "IdentifierType": _matches("4"),
        "Remarks": _REMARKS,
        "QueueTimeOutURL": is_loopback_url,
        "ResultURL": is_loopback_url,
    },
    "c2b register": {
        "ShortCode": _SHORTCODE,
        "ResponseType": _matches("Completed|Cancelled"),
        "ConfirmationURL": _is_c2b_url,
        "?ValidationURL": _or_none(_is_c2b_url),
    },
    "c2b simulate": {
        "ShortCode": _SHORTCODE,
        "CommandID": _matches("CustomerPayBillOnline"),
        "Amount": _AMOUNT,
        "Msisdn": _PHONE,
        "BillRefNumber": _matches(r".{1,20}"),
    },
    "pull register": {
        "ShortCode": _SHORTCODE,
        "RequestType": _matches("(?i)pull"),
        "NominatedNumber": _matches(r"(254|0)[17][0-9]{8}"),
        "CallBackURL": is_loopback_url,
    },
    "pull": {
        "ShortCode": _SHORTCODE,
        "StartDate": _is_calendar_time,
        "EndDate": _is_calendar_time,
        "OffSetValue": _matches(r"[0-9]{1,9}"),
    },
}
#: Where the shop's own shortcode is named, and what is said when it is another's.
_OWN = ("PartyA", "ReceiverParty", "ShortCode")
#: What the status of a transaction can be asked by.
_ABOUT = ("TransactionID", "OriginalConversationID", "OriginatorConversationID")


def check_fields(given: Json, api: str) -> dict[str, str]:
    """The named fields, as text: Daraja takes numbers and strings alike. Raises Refusal."""
    fields = {}
    for entry, rule in FIELDS[api].items():
        name = entry.removeprefix("?")
        fields[name] = _text(given.get(name))
        is_left_out = name != entry and given.get(name) is None
        if not is_left_out and not rule(fields[name]):
            raise invalid(name)
    if api == "status" and not any(fields[name] for name in _ABOUT):
        raise invalid("TransactionID")
    return fields


def check_shop(fields: dict[str, str], api: str, settings: Settings) -> None:
    """Raises Refusal for somebody else's shortcode."""
    for name in _OWN:
        if api not in ("push", "query") and fields.get(name, settings.MPESA_SHORTCODE) != settings.MPESA_SHORTCODE:
            raise invalid(name)


def pull_moment(text: str) -> datetime:
    return datetime.strptime(text, PULL_TIME).replace(tzinfo=EAST_AFRICA)


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


def invalid(field: str) -> Refusal:
    return Refusal(400, "400.002.02", f"Bad Request - Invalid {field}")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""
