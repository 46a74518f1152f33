"""Safaricom's Daraja API: fire STK pushes, ask what became of them, pay back, and list what came in.

M-PESA's words stay in the files `utils/mpesa*.py`: `mpesa_wire` sends, `mpesa_reports` reads what Safaricom says about
money. A push ends as `Accepted`, `Refused` or `Unknown`, a request whose result is posted later as `Taken`, `Refused`
or `Unknown`. Facts are from Safaricom's portal ("M-PESA Express", "M-PESA Express Query") unless a comment says
otherwise.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from flask import current_app
from werkzeug.local import LocalProxy

from utils import clock
from utils.mpesa_reports import field_of, parse, text_of
from utils.mpesa_wire import (
    PUSH_REFUSALS,
    AccessToken,
    Answer,
    NoAccessToken,
    Refused,
    Unknown,
    Wire,
    keep_to_oneself,
    not_answered,
    read_refusal,
)

# Named here too, for those who use the client.
__all__ = ["AccessToken", "Answer", "NoAccessToken", "Refused", "Unknown"]

log = logging.getLogger(__name__)

#: What Safaricom wants to hear from a callback address.
ACKNOWLEDGEMENT = {"ResultCode": 0, "ResultDesc": "Accepted"}

# ── What a push or a request came to ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Accepted:
    """Daraja took the push. The phone is about to ask; nothing is paid."""

    merchant_request_id: str
    checkout_request_id: str


PushOutcome = Accepted | Refused | Unknown


@dataclass(frozen=True)
class Taken:
    """Daraja took a request whose result it posts later. Nothing has been done yet."""

    conversation_id: str
    originator_conversation_id: str | None


RequestOutcome = Taken | Refused | Unknown


# ── The client ────────────────────────────────────────────────────────────────────────────────────────────────────


class Daraja:
    """One shop's access to Daraja. Safe to share between threads. Call no method of it inside a transaction."""

    def __init__(
        self,
        *,
        base_url: str,
        consumer_key: str,
        consumer_secret: str,
        shortcode: str,
        passkey: str,
        callback_url: str,
        transaction_type: str = "CustomerPayBillOnline",
        party_b: str = "",
        initiator_name: str = "",
        security_credential: Callable[[], str] | None = None,
        connect_seconds: float,
        answer_seconds: float,
        throttle_pauses_seconds: tuple[float, ...] = (0.5, 1.5),
        sleep: Callable[[float], None] = time.sleep,
        share_token: Callable[[Callable[[], AccessToken], str | None], AccessToken] = keep_to_oneself,
    ) -> None:
        """A new token may end the one before (portal, FAQ), so processes share theirs.

        `share_token` is given a way to fetch one, and the one last refused, if any; it returns one that is good.
        Results are posted beside the callbacks, to `…/result/<token>` and `…/timeout/<token>`.
        """
        self._shortcode = shortcode
        self._passkey = passkey
        self._callback_url = callback_url
        self._result_url = callback_url.rsplit("/", 1)[0]
        self._transaction_type = transaction_type
        self._party_b = party_b or shortcode
        self._initiator_name = initiator_name
        self._security_credential = security_credential
        self._wire = Wire(
            base_url=base_url,
            key=(consumer_key, consumer_secret),
            timeout=(connect_seconds, answer_seconds),
            throttle_pauses_seconds=throttle_pauses_seconds,
            sleep=sleep,
            share_token=share_token,
        )

    # ── Prompts ───────────────────────────────────────────────────────────────────────────────────────────────────

    def push(
        self, *, phone: str, amount_kes: int, reference: str, description: str, callback_token: str
    ) -> PushOutcome:
        """Ask `phone` to pay. It may take as long as both timeouts together.

        `reference` is at most 12 letters or digits and is shown to the payer; `description` at most 13. Goes out again
        only after a refusal for the token or for throttling.
        """
        payload = self._password() | {
            "TransactionType": self._transaction_type,
            "Amount": amount_kes,
            "PartyA": phone,
            "PartyB": self._party_b,
            "PhoneNumber": phone,
            "CallBackURL": f"{self._callback_url}/{callback_token}",
            "AccountReference": reference[:12],
            "TransactionDesc": description[:13],
        }
        try:
            answer = self._wire.send("/mpesa/stkpush/v1/processrequest", payload, refusals=PUSH_REFUSALS, waits=True)
        except (NoAccessToken, requests.RequestException) as error:
            return not_answered(error)
        return _read_push_answer(answer)

    def query(self, checkout_request_id: str) -> Answer | None:
        """Ask what became of a push; None when Daraja could not be asked. Read it with `read_query_answer`."""
        return self._ask("/mpesa/stkpushquery/v1/query", self._password() | {"CheckoutRequestID": checkout_request_id})

    # ── Requests whose results are posted later ───────────────────────────────────────────────────────────────────

    def reverse(self, *, receipt: str, amount_kes: int, result_token: str, remarks: str) -> RequestOutcome:
        """Ask M-PESA to undo a whole payment to us (portal, "Reversal"). `remarks` have 2 to 100 characters."""
        payload = {
            "Initiator": self._initiator_name,
            "CommandID": "TransactionReversal",
            "TransactionID": receipt,
            "Amount": amount_kes,
            "ReceiverParty": self._shortcode,
            "RecieverIdentifierType": "11",  # Safaricom's spelling
            "Remarks": remarks,
            "Occasion": remarks,
        }
        return self._request("/mpesa/reversal/v1/request", payload, result_token)

    def pay_out(
        self, *, originator_conversation_id: str, phone: str, amount_kes: int, result_token: str, remarks: str
    ) -> RequestOutcome:
        """Pay a person from our account (portal, "B2C", version 3), KES 10 to 250,000. `remarks` as for `reverse`.

        The id is ours, and serves once: with one that was taken before the outcome is `Unknown("duplicate")`, since
        the first payout may have been made.
        """
        payload = {
            "OriginatorConversationID": originator_conversation_id,
            "InitiatorName": self._initiator_name,
            "CommandID": "BusinessPayment",
            "Amount": amount_kes,
            "PartyA": self._shortcode,
            "PartyB": phone,
            "Remarks": remarks,
            "Occassion": remarks,  # Safaricom's spelling
        }
        return self._request("/mpesa/b2c/v3/paymentrequest", payload, result_token)

    def ask_status(
        self, *, receipt: str | None = None, originator_conversation_id: str | None = None, result_token: str
    ) -> RequestOutcome:
        """Ask what became of a transaction, by its receipt or by the id its request had ("Transaction Status").

        Changes nothing, so it is repeated after throttling too.
        """
        payload = {
            "Initiator": self._initiator_name,
            "CommandID": "TransactionStatusQuery",
            "PartyA": self._shortcode,
            "IdentifierType": "4",
            "Remarks": "Status",
            "Occasion": "Status",
        }
        if receipt is not None:
            payload["TransactionID"] = receipt
        elif originator_conversation_id is not None:
            # The portal's text of 2025 has the first name, the one before it the second.
            payload["OriginalConversationID"] = originator_conversation_id
            payload["OriginatorConversationID"] = originator_conversation_id
        return self._request("/mpesa/transactionstatus/v1/query", payload, result_token, waits=True)

    # ── Lists and addresses ───────────────────────────────────────────────────────────────────────────────────────

    def pull(self, *, start: datetime, end: datetime, offset: int) -> Answer | None:
        """One page of our transactions of a time, at most 48 hours back; None when Daraja could not be asked.

        Read it with `read_pull_page` (portal, "Pull Transactions").
        """
        payload = {
            "ShortCode": self._shortcode,
            "StartDate": f"{start.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}",
            "EndDate": f"{end.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}",
            "OffSetValue": str(offset),
        }
        return self._ask("/pulltransactions/v1/query", payload, waits=True)

    def register_c2b(
        self, *, confirmation_url: str, validation_url: str, response_type: str = "Completed"
    ) -> Answer | None:
        """Tell Safaricom where to tell of Paybill payments. In production this works once.

        `response_type` is what becomes of a payment when validation does not answer: Completed or Cancelled.
        """
        payload = {
            "ShortCode": self._shortcode,
            "ResponseType": response_type,
            "ConfirmationURL": confirmation_url,
            "ValidationURL": validation_url,
        }
        return self._ask("/mpesa/c2b/v2/registerurl", payload)

    def register_pull(self, *, nominated_number: str, callback_url: str) -> Answer | None:
        """Have Safaricom list our transactions from now on. `nominated_number` is the shop's own phone."""
        payload = {
            "ShortCode": self._shortcode,
            "RequestType": "Pull",
            "NominatedNumber": nominated_number,
            "CallBackURL": callback_url,
        }
        return self._ask("/pulltransactions/v1/register", payload)

    # ── Whether all is well ───────────────────────────────────────────────────────────────────────────────────────

    def check_access(self) -> bool:
        """Whether Daraja gives a new access token for our key and secret. It replaces the one in use, for all."""
        try:
            self._wire.renew_token()
        except NoAccessToken:
            return False
        return True

    def read_clock(self) -> datetime | None:
        """Daraja's clock, which the header of any answer tells; None when it does not, or is not reached."""
        return self._wire.read_clock()

    def _ask(self, path: str, payload: dict[str, Any], *, waits: bool = False) -> Answer | None:
        """The answer to what may be asked as often as one likes; None when Daraja could not be asked."""
        try:
            return self._wire.send(path, payload, waits=waits)
        except (requests.RequestException, NoAccessToken) as error:
            log.warning("%s not answered: %s", path, type(error).__name__)
            return None

    def _request(self, path: str, payload: dict[str, Any], result_token: str, *, waits: bool = False) -> RequestOutcome:
        """Send what is answered later. Unless it `waits`, it goes out again only after a refusal for the token."""
        if self._security_credential is None or not self._initiator_name:
            return Refused("no_initiator")
        try:
            credential = self._security_credential()
        except (OSError, ValueError):
            log.exception("the certificate cannot be used")
            return Refused("no_certificate")
        payload = payload | {
            "SecurityCredential": credential,
            "ResultURL": f"{self._result_url}/result/{result_token}",
            "QueueTimeOutURL": f"{self._result_url}/timeout/{result_token}",
        }
        try:
            answer = self._wire.send(path, payload, waits=waits)
        except (NoAccessToken, requests.RequestException) as error:
            return not_answered(error)
        return _read_acknowledgement(answer)

    def _password(self) -> dict[str, Any]:
        """The stamp is East Africa Time, and the same inside the password: built once."""
        stamp = east_africa_stamp(clock.now())
        password = base64.b64encode(f"{self._shortcode}{self._passkey}{stamp}".encode()).decode()
        return {"BusinessShortCode": self._shortcode, "Password": password, "Timestamp": stamp}


# ── What an answer means ──────────────────────────────────────────────────────────────────────────────────────────


def _read_push_answer(answer: Answer) -> PushOutcome:
    not_taken = read_refusal(answer, PUSH_REFUSALS)
    if not_taken is not None:
        return not_taken
    body = parse(answer.body)
    merchant, checkout = text_of(field_of(body, "MerchantRequestID")), text_of(field_of(body, "CheckoutRequestID"))
    if text_of(field_of(body, "ResponseCode")) is None or merchant is None or checkout is None:
        return Unknown(f"unreadable answer, HTTP {answer.status}")
    return Accepted(merchant_request_id=merchant, checkout_request_id=checkout)


def _read_acknowledgement(answer: Answer) -> RequestOutcome:
    not_taken = read_refusal(answer)
    if not_taken is not None:
        return not_taken
    body = parse(answer.body)
    conversation = text_of(field_of(body, "ConversationID"))
    if text_of(field_of(body, "ResponseCode")) is None or conversation is None:
        return Unknown(f"unreadable answer, HTTP {answer.status}")
    return Taken(conversation, text_of(field_of(body, "OriginatorConversationID")))


def east_africa_stamp(instant: datetime) -> str:
    """`YYYYMMDDHHmmss` in Nairobi, whatever zone the server lives in."""
    return instant.astimezone(clock.NAIROBI).strftime("%Y%m%d%H%M%S")


#: The running app's client.
daraja: Daraja = LocalProxy(lambda: current_app.extensions["daraja"])  # type: ignore[assignment]
