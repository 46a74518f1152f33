"""HTTP to Safaricom's Daraja: its access tokens, what goes out and how often, and what its errors mean.

Facts are from Safaricom's portal ("Authorization", error codes of "M-PESA Express") unless a comment says otherwise.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import requests

from utils import turns
from utils.mpesa_codes import SUCCESS
from utils.mpesa_reports import amount_of, field_of, parse, text_of

log = logging.getLogger(__name__)

#: Daraja may ask for a pause of so many seconds; for a longer one nobody can wait.
PATIENCE_SECONDS = 3


class Answer(NamedTuple):
    """An HTTP answer as it came."""

    status: int
    body: bytes
    #: How long Daraja wants us to wait, where it says so in seconds.
    retry_after_seconds: float = 0


class AccessToken(NamedTuple):
    """Opens Daraja for `seconds` from now, some less than Daraja said."""

    text: str
    seconds: float


class NoAccessToken(Exception):
    """Daraja gave no access token."""


@dataclass(frozen=True)
class Refused:
    """It is certain that nothing was done, that no prompt exists: Daraja said no, or was never reached."""

    code: str


@dataclass(frozen=True)
class Unknown:
    """It may have been done; a prompt may exist. Never send it again."""

    reason: str


# ── What errors mean ──────────────────────────────────────────────────────────────────────────────────────────────


class Refusal(enum.Enum):
    """What may be done after an error that means "not executed"."""

    FINAL = "final"
    #: Fetch a new access token and send it again.
    TOKEN = "token"
    #: Wait a moment and send it again.
    THROTTLED = "throttled"


NO_PRODUCT, EDGE_BLOCKED, TOO_MANY = "no_product", "edge_blocked", "429"
#: Errors after which nothing was done. One that is not here, such as 500.003.1001, leaves that open.
REFUSALS: dict[str, Refusal] = {
    "400.002.02": Refusal.FINAL,  # Bad Request - Invalid <field>
    "400.002.05": Refusal.FINAL,  # Invalid Request Payload
    "400.003.01": Refusal.TOKEN,  # Invalid Access Token
    "401.001": Refusal.TOKEN,  # Invalid Access Token (portal, "Pull Transactions")
    "401.002.01": Refusal.TOKEN,  # Error Occurred - Invalid Access Token
    "401.003.01": Refusal.TOKEN,
    "400.008.01": Refusal.FINAL,  # Invalid authentication type
    "404.001.01": Refusal.FINAL,  # Resource not found
    "404.001.03": Refusal.TOKEN,  # Invalid Access Token
    "404.001.04": Refusal.FINAL,  # Invalid Authentication Header
    "405.001": Refusal.FINAL,  # Method Not Allowed
    "500.003.02": Refusal.THROTTLED,  # System is busy; Spike Arrest Violation
    "500.003.03": Refusal.FINAL,  # Quota Violation
    # "Invalid API call as no apiproduct match found": the app has not this product. No other token changes that.
    NO_PRODUCT: Refusal.FINAL,
}
#: The same of a push, of which a wrong guess costs a second prompt and not a second payout.
PUSH_REFUSALS = REFUSALS | {
    "500.001.1001": Refusal.FINAL,  # Merchant does not exist; Wrong credentials; Unable to lock subscriber
    EDGE_BLOCKED: Refusal.FINAL,  # HTML with status 403, of the firewall in front of every API (seen in the sandbox)
    TOO_MANY: Refusal.THROTTLED,  # reported by merchants, without an envelope
}
#: "Duplicate OriginatorConversationID": a payout with this id was taken before, and may have been carried out.
_DUPLICATE = "500.002.1001"


def read_refusal(answer: Answer, refusals: Mapping[str, Refusal] = REFUSALS) -> Refused | Unknown | None:
    """What an error says, if the answer is one."""
    code = error_code(answer)
    if code is not None:
        return Refused(code) if code in refusals else Unknown("duplicate" if code == _DUPLICATE else code)
    response_code = text_of(field_of(parse(answer.body), "ResponseCode"))
    return None if response_code in (None, SUCCESS) else Refused(response_code)


def not_answered(error: NoAccessToken | requests.RequestException) -> Refused | Unknown:
    """What it means that no answer came."""
    if isinstance(error, NoAccessToken):
        return Refused("no_token")
    return Refused("unreachable") if _never_sent(error) else Unknown(type(error).__name__)


def error_code(answer: Answer) -> str | None:
    """The code of Daraja's error envelope, which comes with any status, 200 included; or what stands for one."""
    body = parse(answer.body)
    code = text_of(field_of(body, "errorCode"))
    if (code is not None or answer.status == 401) and b"no apiproduct match" in answer.body:
        return NO_PRODUCT
    if code is None and not isinstance(body, dict):
        if answer.status == 403 and answer.body.lstrip().startswith(b"<"):
            return EDGE_BLOCKED
        if answer.status == 429:
            return TOO_MANY
    return code


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the connection was never made, so that nothing can have reached Daraja."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectionError) and type(reason).__name__ in (
        "NewConnectionError",
        "NameResolutionError",
    )


# ── The wire ──────────────────────────────────────────────────────────────────────────────────────────────────────


def keep_to_oneself(fetch: Callable[[], AccessToken], _refused: str | None) -> AccessToken:
    """For a process that is alone."""
    return fetch()


class Wire:
    """One app's connections to Daraja. Safe to share between threads."""

    def __init__(
        self,
        *,
        base_url: str,
        key: tuple[str, str],
        timeout: tuple[float, float],
        throttle_pauses_seconds: tuple[float, ...],
        sleep: Callable[[float], None],
        share_token: Callable[[Callable[[], AccessToken], str | None], AccessToken],
    ) -> None:
        """`key` is the consumer's key and secret, `timeout` the seconds to connect and to be answered."""
        self.base_url = base_url
        self._key = key
        self._timeout = timeout
        self._throttle_pauses = throttle_pauses_seconds
        self._sleep = sleep
        self._share_token = share_token
        self._http = requests.Session()
        # A proxy or .netrc of the machine has no business between us and the money.
        self._http.trust_env = False
        self._http.mount(base_url, requests.adapters.HTTPAdapter(pool_maxsize=64, max_retries=0))
        self._token: str | None = None
        self._token_ends = 0.0
        self._token_missed_at = 0.0
        self._token_refused: str | None = None
        self._token_lock = threading.Lock()

    def send(
        self,
        path: str,
        payload: dict[str, Any],
        *,
        refusals: Mapping[str, Refusal] = REFUSALS,
        waits: bool,
    ) -> Answer:
        """Post it, and again only after it was refused: once for its token and, if it `waits`, for throttling.

        Raises NoAccessToken, requests.RequestException.
        """
        with turns.step_aside():
            return self._send(path, payload, refusals, waits=waits)

    def _send(self, path: str, payload: dict[str, Any], refusals: Mapping[str, Refusal], *, waits: bool) -> Answer:
        pauses: Iterator[float] = iter(self._throttle_pauses if waits else ())
        is_token_fresh = False
        while True:
            token = self._access_token()
            answer = self._post(path, payload, token)
            refusal = refusals.get(error_code(answer) or "")
            if refusal is Refusal.TOKEN and not is_token_fresh:
                self._forget_token(token)
                is_token_fresh = True
                continue
            pause = next(pauses, None) if refusal is Refusal.THROTTLED else None
            if pause is None or answer.retry_after_seconds > PATIENCE_SECONDS:
                return answer
            self._sleep(max(pause, answer.retry_after_seconds))

    def renew_token(self) -> None:
        """Fetch a new token whatever is at hand, for all who share it. Raises NoAccessToken."""
        fetched: list[str] = []

        def fetch() -> AccessToken:
            token = self._fetch_token()
            fetched.append(token.text)
            return token

        token = self._share_token(fetch, None)
        if not fetched:
            token = self._share_token(fetch, token.text)
        with self._token_lock:
            self._keep(token)

    def read_clock(self) -> datetime | None:
        """Daraja's clock, which the header of any answer tells; None when it does not, or is not reached."""
        try:
            answer = self._http.get(self.base_url + "/", timeout=self._timeout, allow_redirects=False)
            return parsedate_to_datetime(answer.headers.get("Date", ""))
        except (requests.RequestException, ValueError):
            return None

    def _post(self, path: str, payload: dict[str, Any], token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self._http.post(
            self.base_url + path, json=payload, headers=headers, timeout=self._timeout, allow_redirects=False
        )
        pause = answer.headers.get("Retry-After", "")
        return Answer(answer.status_code, answer.content, float(pause) if pause.isdecimal() else 0)

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
                    token = self._share_token(self._fetch_token, self._token_refused)
                except NoAccessToken:
                    self._token_missed_at = time.monotonic()
                    raise
                self._keep(token)
                return token.text
            return self._token

    def _keep(self, token: AccessToken) -> None:
        self._token, self._token_ends = token.text, time.monotonic() + token.seconds

    def _forget_token(self, refused: str) -> None:
        """Unless another thread has replaced it already."""
        with self._token_lock:
            self._token_refused = refused
            if self._token == refused:
                self._token = None

    def _fetch_token(self) -> AccessToken:
        try:
            answer = self._http.get(
                self.base_url + "/oauth/v1/generate",
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
