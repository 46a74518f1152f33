"""What Safaricom posts. All of it is stored before it is answered, and thought about after."""

from __future__ import annotations

import secrets

from flask import request

from config import settings
from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.payments import Acknowledgement, ValidationAnswer
from services import inbox, paybill, settlement
from utils import background, http
from utils.errors import NotFound
from utils.mpesa import ACKNOWLEDGEMENT
from utils.mpesa_reports import read_validation

#: Ten times what Safaricom has ever been seen to send.
_MAX_BYTES = 64 * 1024


class FromSafaricom(Resource):
    """Heard however much of it comes: what is not heard is money without a ticket."""

    is_never_flooded = True


class Callback(FromSafaricom):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None, token: str) -> dict[str, object]:
        """Safaricom's word on one prompt, at an address only it was told."""
        message_id = inbox.receive_callback(token=token, body=http.read_body(), remote_address=request.remote_addr)
        background.run(settlement.settle_message, message_id)
        return ACKNOWLEDGEMENT


class Hint(FromSafaricom):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None) -> dict[str, object]:
        """A result at the public address: anybody may have sent it, so it only makes us ask M-PESA ourselves."""
        message_id = inbox.receive_hint(body=http.read_body(), remote_address=request.remote_addr)
        if message_id is not None:
            background.run(settlement.settle_message, message_id)
        return ACKNOWLEDGEMENT


class RequestResult(FromSafaricom):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None, result_token: str) -> dict[str, object]:
        """The result of one refund or question, at an address only Safaricom was told."""
        return _receive_result(result_token, is_timeout=False)


class RequestTimeout(FromSafaricom):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None, result_token: str) -> dict[str, object]:
        """Daraja gave up on one refund or question; what became of it is asked next."""
        return _receive_result(result_token, is_timeout=True)


def _receive_result(token: str, *, is_timeout: bool) -> dict[str, object]:
    message_id = inbox.receive_result(
        token=token, body=http.read_body(), remote_address=request.remote_addr, is_timeout=is_timeout
    )
    background.run(settlement.settle_message, message_id)
    return ACKNOWLEDGEMENT


class PaybillValidation(FromSafaricom):
    @endpoint(access=PUBLIC, returns=ValidationAnswer, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None, secret: str) -> ValidationAnswer:
        """Whether a payment to our Paybill, not made yet, is welcome. Safaricom waits for the answer."""
        _check_secret(secret)
        told = read_validation(http.read_body())
        code = paybill.UNREADABLE
        if told is not None:
            reference, amount = told
            code = paybill.check_payment(reference=reference, amount=amount)
        return ValidationAnswer(ResultCode=code, ResultDesc="Accepted" if code == paybill.ACCEPTED else "Rejected")


class PaybillConfirmation(FromSafaricom):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_MAX_BYTES, takes_anything=True)
    def post(self, _actor: User | None, secret: str) -> dict[str, object]:
        """Word that somebody paid our Paybill: a reason to ask M-PESA about it."""
        _check_secret(secret)
        message_id = inbox.receive_confirmation(body=http.read_body(), remote_address=request.remote_addr)
        background.run(paybill.ask_about, message_id)
        return ACKNOWLEDGEMENT


def _check_secret(secret: str) -> None:
    if not settings.MPESA_C2B_SECRET or not secrets.compare_digest(secret, settings.MPESA_C2B_SECRET):
        raise NotFound
