"""Safaricom's Daraja API: fire STK pushes, and ask what became of them.

M-PESA's words stay in this file and in `utils.mpesa_reports`, which reads what Safaricom says about money. A push ends
as `Accepted`, `Refused` or `Unknown`. Facts are from Safaricom's portal ("M-PESA Express", "M-PESA Express Query",
"Authorization") unless a comment says otherwise.
"""

from __future__ import annotations

import base64
import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import requests
from flask import current_app
from werkzeug.local import LocalProxy

from utils import clock
from utils.mpesa_reports import SUCCESS, amount_of, field_of, parse, text_of

log = logging.getLogger(__name__)

TRANSACTION_TYPE = "CustomerPayBillOnline"
#: What Safaricom wants to hear from a callback address.
ACKNOWLEDGEMENT = {"ResultCode": 0, "ResultDesc": "Accepted"}

# ── What a push came to ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Accepted:
    """Daraja took the push. The phone is about to ask; nothing is paid."""

    merchant_request_id: str
    checkout_request_id: str


@dataclass(frozen=True)
class Refused:
    """It is certain that no prompt exists: Daraja said no, or was never reached."""

    code: str


@dataclass(frozen=True)
class Unknown:
    """A prompt may exist. Never push again for this one."""

    reason: str


PushOutcome = Accepted | Refused | Unknown


class _Refusal(enum.Enum):
    """What may be done after an error code that means "not executed"."""

    FINAL = "final"
    #: Fetch a new access token and push again.
    TOKEN = "token"
    #: Wait a moment and push again.
    THROTTLED = "throttled"


#: Error codes after which no prompt exists. One that is not here, such as 500.003.1001, leaves the outcome unknown.
_REFUSALS: dict[str, _Refusal] = {
    "400.002.02": _Refusal.FINAL,  # Bad Request - Invalid <field>
    "400.002.05": _Refusal.FINAL,  # Invalid Request Payload
    "400.003.01": _Refusal.TOKEN,  # Invalid Access Token
    "401.002.01": _Refusal.TOKEN,  # Error Occurred - Invalid Access Token
    "401.003.01": _Refusal.TOKEN,
    "404.001.01": _Refusal.FINAL,  # Resource not found
    "404.001.03": _Refusal.TOKEN,  # Invalid Access Token
    "404.001.04": _Refusal.FINAL,  # Invalid Authentication Header
    "405.001": _Refusal.FINAL,  # Method Not Allowed
    "500.001.1001": _Refusal.FINAL,  # Merchant does not exist; Wrong credentials; Unable to lock subscriber
    "500.003.02": _Refusal.THROTTLED,  # System is busy; Spike Arrest Violation
    "500.003.03": _Refusal.FINAL,  # Quota Violation
}

# ── The client ────────────────────────────────────────────────────────────────────────────────────────────────────


class Answer(NamedTuple):
    """An HTTP answer as it came."""

    status: int
    body: bytes


class AccessToken(NamedTuple):
    """Opens Daraja for `seconds` from now, some less than Daraja said."""

    text: str
    seconds: float


class NoAccessToken(Exception):
    """Daraja gave no access token."""


def _keep_to_oneself(fetch: Callable[[], AccessToken], _refused: str | None) -> AccessToken:
    return fetch()


class Daraja:
    """One shop's access to Daraja. Safe to share between threads."""

    def __init__(
        self,
        *,
        base_url: str,
        consumer_key: str,
        consumer_secret: str,
        shortcode: str,
        passkey: str,
        callback_url: str,
        connect_seconds: float,
        answer_seconds: float,
        throttle_pauses_seconds: tuple[float, ...] = (0.5, 1.5),
        sleep: Callable[[float], None] = time.sleep,
        share_token: Callable[[Callable[[], AccessToken], str | None], AccessToken] = _keep_to_oneself,
    ) -> None:
        """A new token may end the one before (portal, FAQ), so processes share theirs.

        `share_token` is given a way to fetch one, and the one last refused, if any; it returns one that is good.
        """
        self._base_url = base_url
        self._key = (consumer_key, consumer_secret)
        self._shortcode = shortcode
        self._passkey = passkey
        self._callback_url = callback_url
        self._timeout = (connect_seconds, answer_seconds)
        self._throttle_pauses = throttle_pauses_seconds
        self._sleep = sleep
        self._http = requests.Session()
        # A proxy or .netrc of the machine has no business between us and the money.
        self._http.trust_env = False
        self._http.mount(base_url, requests.adapters.HTTPAdapter(pool_maxsize=64, max_retries=0))
        self._token: str | None = None
        self._token_ends = 0.0
        self._token_missed_at = 0.0
        self._token_refused: str | None = None
        self._share_token = share_token
        self._token_lock = threading.Lock()

    def push(
        self, *, phone: str, amount_kes: int, reference: str, description: str, callback_token: str
    ) -> PushOutcome:
        """Ask `phone` to pay. Call it outside any transaction: it may take as long as both timeouts together.

        `reference` is at most 12 letters or digits and is shown to the payer; `description` at most 13. Goes out again
        only after a refusal for the token or for throttling.
        """
        payload = self._password() | {
            "TransactionType": TRANSACTION_TYPE,
            "Amount": amount_kes,
            "PartyA": phone,
            "PartyB": self._shortcode,
            "PhoneNumber": phone,
            "CallBackURL": f"{self._callback_url}/{callback_token}",
            "AccountReference": reference[:12],
            "TransactionDesc": description[:13],
        }
        pauses = list(self._throttle_pauses)
        is_token_fresh = False
        while True:
            try:
                token = self._access_token()
            except NoAccessToken:
                return Refused("no_token")
            outcome = self._push_once(payload, token)
            refusal = _REFUSALS.get(outcome.code) if isinstance(outcome, Refused) else None
            if refusal is _Refusal.TOKEN and not is_token_fresh:
                self._forget_token(token)
                is_token_fresh = True
            elif refusal is _Refusal.THROTTLED and pauses:
                self._sleep(pauses.pop(0))
            else:
                return outcome

    def query(self, checkout_request_id: str) -> Answer | None:
        """Ask what became of a push; None when Daraja could not be asked. Read it with `read_query_answer`."""
        payload = self._password() | {"CheckoutRequestID": checkout_request_id}
        for is_token_fresh in (False, True):
            try:
                token = self._access_token()
                answer = self._post("/mpesa/stkpushquery/v1/query", payload, token)
            except (requests.RequestException, NoAccessToken) as error:
                log.warning("query not answered: %s", type(error).__name__)
                return None
            if is_token_fresh or _REFUSALS.get(_error_code(answer.body) or "") is not _Refusal.TOKEN:
                break
            self._forget_token(token)
        return answer

    def _push_once(self, payload: dict[str, Any], token: str) -> PushOutcome:
        try:
            answer = self._post("/mpesa/stkpush/v1/processrequest", payload, token)
        except requests.RequestException as error:
            if _never_sent(error):
                return Refused("unreachable")
            return Unknown(type(error).__name__)
        return _read_push_answer(answer)

    def _password(self) -> dict[str, Any]:
        """The stamp is East Africa Time, and the same inside the password: built once."""
        stamp = east_africa_stamp(clock.now())
        password = base64.b64encode(f"{self._shortcode}{self._passkey}{stamp}".encode()).decode()
        return {"BusinessShortCode": self._shortcode, "Password": password, "Timestamp": stamp}

    def _post(self, path: str, payload: dict[str, Any], token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._http.post(
            self._base_url + path, json=payload, headers=headers, timeout=self._timeout, allow_redirects=False
        )
        return Answer(answer.status_code, answer.content)

    def _access_token(self) -> str:
        """The cached token, or a new one, fetched by one thread while the others wait for it, or fail with it.

        Raises NoAccessToken.
        """
        asked_at = time.monotonic()
        with self._token_lock:
            if self._token is None or time.monotonic() >= self._token_ends:
                if asked_at < self._token_missed_at:
                    raise NoAccessToken
                try:
                    self._token, seconds = self._share_token(self._fetch_token, self._token_refused)
                except NoAccessToken:
                    self._token_missed_at = time.monotonic()
                    raise
                self._token_ends = time.monotonic() + seconds
            return self._token

    def _forget_token(self, refused: str) -> None:
        """Unless another thread has replaced it already."""
        with self._token_lock:
            self._token_refused = refused
            if self._token == refused:
                self._token = None

    def _fetch_token(self) -> AccessToken:
        try:
            answer = self._http.get(
                self._base_url + "/oauth/v1/generate",
                params={"grant_type": "client_credentials"},
                auth=self._key,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            log.error("no access token from Daraja: %s", type(error).__name__)
            raise NoAccessToken from None
        body = parse(answer.content)
        token, seconds = text_of(field_of(body, "access_token")), amount_of(field_of(body, "expires_in"))
        if token is None:
            log.error("no access token from Daraja: HTTP %s", answer.status_code)
            raise NoAccessToken
        lasts = float(seconds or 3599)
        return AccessToken(token, lasts - min(60, lasts / 10))


def _read_push_answer(answer: Answer) -> PushOutcome:
    body = parse(answer.body)
    error_code = _error_code(answer.body)
    if error_code is not None:
        return Refused(error_code) if error_code in _REFUSALS else Unknown(error_code)
    response_code = text_of(field_of(body, "ResponseCode"))
    if response_code is not None and response_code != SUCCESS:
        return Refused(response_code)
    merchant, checkout = text_of(field_of(body, "MerchantRequestID")), text_of(field_of(body, "CheckoutRequestID"))
    if response_code is None or merchant is None or checkout is None:
        return Unknown(f"unreadable answer, HTTP {answer.status}")
    return Accepted(merchant_request_id=merchant, checkout_request_id=checkout)


def _error_code(body: bytes) -> str | None:
    """The code of Daraja's error envelope, which comes with any status, 200 included."""
    return text_of(field_of(parse(body), "errorCode"))


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the connection was never made, so that nothing can have reached Daraja."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectionError) and type(reason).__name__ in (
        "NewConnectionError",
        "NameResolutionError",
    )


def east_africa_stamp(instant: datetime) -> str:
    """`YYYYMMDDHHmmss` in Nairobi, whatever zone the server lives in."""
    return instant.astimezone(clock.NAIROBI).strftime("%Y%m%d%H%M%S")


#: The running app's client.
daraja: Daraja = LocalProxy(lambda: current_app.extensions["daraja"])  # type: ignore[assignment]
