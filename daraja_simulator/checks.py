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


PULL_TIME = "%Y-%m-%d %H:%M:%S"
RULES: dict[str, Rule] = {
    "shortcode": _matches(r"[0-9]{5,7}"),
    "phone": _matches(r"254[17][0-9]{8}"),
    "amount": _matches(r"0*[1-9][0-9]{0,8}"),
    "url": is_loopback_url,
    "c2b-url": _is_c2b_url,
    "stamp": _is_stamp,
    "time": _is_calendar_time,
    "offset": _matches(r"[0-9]{1,9}"),
    "word": _matches(r"\S{1,1000}"),
    "reference": _matches(r"[A-Za-z0-9]{1,12}"),
    "typed-reference": _matches(r".{1,20}"),
    "description": _matches(r".{1,13}"),
    "remarks": _matches(r".{2,100}"),
    "comment": _matches(r".{0,100}"),
    "anything": _matches(r"(?s).*"),
}
_RESULT = "ResultURL=url QueueTimeOutURL=url Remarks=remarks"
_INITIATOR = "Initiator=word SecurityCredential=word"
#: By API: its fields in the order they are looked at, each with a rule of RULES or the values it may have.
#: Those with a question mark may be left out, or be empty. The spelling is Safaricom's.
FIELDS = {
    # The sandbox's shortcode is a paybill, which CustomerBuyGoodsOnline does not fit.
    "push": "BusinessShortCode=shortcode Timestamp=stamp TransactionType=CustomerPayBillOnline Amount=amount"
    " PartyA=phone PartyB=shortcode PhoneNumber=phone CallBackURL=url AccountReference=reference"
    " TransactionDesc?=description Password?=anything",
    "query": "BusinessShortCode=shortcode Timestamp=stamp CheckoutRequestID=word Password?=anything",
    "b2c": "OriginatorConversationID?=word InitiatorName=word SecurityCredential=word"
    " CommandID=BusinessPayment|SalaryPayment|PromotionPayment Amount=amount PartyA=shortcode PartyB=phone"
    f" {_RESULT} Occassion?=comment",
    "reversal": f"{_INITIATOR} CommandID=TransactionReversal TransactionID=word Amount=amount ReceiverParty=shortcode"
    f" RecieverIdentifierType=11 {_RESULT} Occasion?=comment",
    "status": f"{_INITIATOR} CommandID=TransactionStatusQuery TransactionID?=word OriginalConversationID?=word"
    f" OriginatorConversationID?=word PartyA=shortcode IdentifierType=4 {_RESULT} Occasion?=comment",
    "balance": f"{_INITIATOR} CommandID=AccountBalance PartyA=shortcode IdentifierType=4 {_RESULT}",
    "c2b register": "ShortCode=shortcode ResponseType=Completed|Cancelled ConfirmationURL=c2b-url"
    " ValidationURL?=c2b-url",
    "c2b simulate": "ShortCode=shortcode CommandID=CustomerPayBillOnline Amount=amount Msisdn=phone"
    " BillRefNumber=typed-reference",
    "pull register": "ShortCode=shortcode RequestType=Pull|PULL NominatedNumber=word CallBackURL=url",
    "pull": "ShortCode=shortcode StartDate=time EndDate=time OffSetValue=offset",
}
#: Where the shop's own shortcode is named, and what is said when it is another's.
_OWN = ("PartyA", "ReceiverParty", "ShortCode")
#: What the status of a transaction can be asked by.
_ABOUT = ("TransactionID", "OriginalConversationID", "OriginatorConversationID")


def check_fields(given: Json, api: str) -> dict[str, str]:
    """The named fields, as text: Daraja takes numbers and strings alike. Raises Refusal."""
    fields = {}
    for entry in FIELDS[api].split():
        marked, _, rule = entry.partition("=")
        name = marked.removesuffix("?")
        fields[name] = _text(given.get(name))
        is_left_out = name != marked and given.get(name) in (None, "")
        if not is_left_out and not RULES.get(rule, _matches(rule))(fields[name]):
            raise invalid(name, api)
    if api == "status" and not any(fields[name] for name in _ABOUT):
        raise invalid("TransactionID")
    return fields


def check_shop(fields: dict[str, str], api: str, settings: Settings) -> None:
    """Raises Refusal for somebody else's shortcode."""
    for name in _OWN:
        if api not in ("push", "query") and fields.get(name, settings.MPESA_SHORTCODE) != settings.MPESA_SHORTCODE:
            raise invalid(name, api)


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


def invalid(field: str, api: str = "") -> Refusal:
    return Refusal(400, "400.001" if api.startswith("pull") else "400.002.02", f"Bad Request - Invalid {field}")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=EAST_AFRICA)


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""
