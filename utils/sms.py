"""Text messages: what fits into one, and the services that carry them."""

from __future__ import annotations

import unicodedata
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import requests

from utils.callers import LOOPBACK
from utils.delivery import NotDelivered, Refused, ServiceDown

#: Characters of one message; a longer one is paid for twice.
LIMIT = 160
#: 3GPP TS 23.038, 6.2.1, and what takes two characters each.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "^{}\\[~]|€"
#: Quotation marks, dashes, an ellipsis and a hard space as word processors put them.
_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014", "-"),
        "\u2026": "...",
        "\u00a0": " ",
    }
)
#: To connect, and between two bytes of the answer.
_TIMEOUT_SECONDS = (5, 15)


def plain(text: str) -> str:
    """The text in the alphabet of text messages: without accents it does not know, `?` for all else."""
    return "".join(_plain_char(char) for char in text.translate(_TYPOGRAPHIC))


def _plain_char(char: str) -> str:
    if char in _BASIC or char in _EXTENDED:
        return char
    base = "".join(one for one in unicodedata.normalize("NFKD", char) if one in _BASIC)
    return base or ("" if unicodedata.combining(char) else "?")


def length(text: str) -> int:
    """Of text in that alphabet, as it is counted."""
    return len(text) + sum(char in _EXTENDED for char in text)


def fit(text: str, room: int) -> str:
    """The text in that alphabet, cut to `room` characters; two dots say that something is missing."""
    text = plain(" ".join(text.split()))
    if length(text) <= room:
        return text
    while text and length(text) > room - 2:
        text = text[:-1]
    return text.rstrip(" ,.-") + ".."


class Texter(Protocol):
    """A service that carries text messages."""

    def send(self, phone: str, text: str) -> None:
        """Hand a message in; `phone` is in its stored form. Raises NotDelivered, Refused, ServiceDown."""

    def close(self) -> None: ...


class AfricasTalking:
    """Africa's Talking, "Bulk SMS": `africastalking://username:api-key@api.africastalking.com?from=SENDER`."""

    _WANTED = "must be africastalking://username:api-key@api.africastalking.com?from=SENDER"
    #: `statusCode` of a recipient: taken; or a fault of the message or its recipient, for good; or one of our account.
    _TAKEN = frozenset({100, 101, 102})
    _HOPELESS = frozenset({403, 404, 406, 409})
    _OURS = frozenset({402, 405})

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:  # whose own words may be a piece of the key
            raise ValueError(self._WANTED) from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if not (parts.hostname and parts.username and parts.password) or parts.path not in ("", "/"):
            raise ValueError(self._WANTED)
        if options.keys() - {"from"}:
            raise ValueError("may have ?from=SENDER and nothing else")
        # The key never leaves in the clear.
        scheme = "http" if parts.hostname in LOOPBACK else "https"
        self._address = f"{scheme}://{parts.netloc.rpartition('@')[2]}/version1/messaging"
        self._username, self._sender = unquote(parts.username), options.get("from")
        self._http = requests.Session()
        # A proxy or .netrc of the machine has no business in it.
        self._http.trust_env = False
        self._http.headers.update({"apiKey": unquote(parts.password), "Accept": "application/json"})

    def send(self, phone: str, text: str) -> None:
        form = {"username": self._username, "to": f"+{phone}", "message": text}
        if self._sender:
            form["from"] = self._sender
        try:
            answer = self._http.post(self._address, data=form, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceDown(f"Africa's Talking cannot be reached: {type(error).__name__}") from None
        if answer.status_code not in (200, 201):
            raise ServiceDown(f"Africa's Talking answered {answer.status_code}")
        self._judge(answer)

    def close(self) -> None:
        self._http.close()

    def _judge(self, answer: requests.Response) -> None:
        try:
            told: Any = answer.json()["SMSMessageData"]
            [recipient] = told["Recipients"] or [None]
            code, status = (recipient["statusCode"], recipient["status"]) if recipient else (None, told["Message"])
        except (ValueError, KeyError, TypeError):
            raise ServiceDown("Africa's Talking answered something unknown") from None
        if code in self._TAKEN:
            return
        words = f"Africa's Talking: {status} ({code})" if code else f"Africa's Talking: {status}"
        if code in self._HOPELESS:
            raise Refused(words[:300])
        # Without a recipient, it is the sender or the account that is not right.
        raise (ServiceDown if code is None or code in self._OURS else NotDelivered)(words[:300])


_SERVICES = {"africastalking": AfricasTalking}


def connect(url: str) -> Texter:
    """The service that an address names. Raises ValueError with what is wrong with it."""
    service = _SERVICES.get(url.partition("://")[0])
    if service is None:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in _SERVICES)}")
    return service(url)
