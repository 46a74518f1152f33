"""Payments: how one stands, and what Safaricom has to say."""

from __future__ import annotations

from flask import request

from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.orders import PollOut, PollPending, PollResult
from schemas.payments import Acknowledgement
from services import orders, settlement
from utils import background, http
from utils.mpesa import ACKNOWLEDGEMENT

#: Ten times what Safaricom has ever been seen to send.
_CALLBACK_MAX_BYTES = 64 * 1024


class PaymentCheck(Resource):
    @endpoint(access=PUBLIC, returns=PollOut)
    def get(self, _actor: User | None, poll_id: str) -> PollOut:
        """Whether an order is paid ("0") or over ("1032"); without a result, ask again."""
        poll = orders.poll_order(poll_id)
        if poll.is_paid:
            return PollOut(data=PollResult(ResultCode="0", ResultDesc="The order is paid."))
        if poll.is_over:
            return PollOut(data=PollResult(ResultCode="1032", ResultDesc="The payment failed or was cancelled."))
        return PollOut(data=PollPending())


class Callback(Resource):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_CALLBACK_MAX_BYTES)
    def post(self, _actor: User | None, token: str) -> dict[str, object]:
        """Safaricom's word on one prompt, at an address only it was told."""
        message_id = settlement.receive_callback(token=token, body=http.read_body(), remote_address=request.remote_addr)
        background.run(settlement.settle_message, message_id)
        return ACKNOWLEDGEMENT


class Hint(Resource):
    @endpoint(access=PUBLIC, returns=Acknowledgement, max_bytes=_CALLBACK_MAX_BYTES)
    def post(self, _actor: User | None) -> dict[str, object]:
        """A result at the public address: anybody may have sent it, so it only makes us ask M-PESA ourselves."""
        message_id = settlement.receive_hint(body=http.read_body(), remote_address=request.remote_addr)
        if message_id is not None:
            background.run(settlement.settle_message, message_id)
        return ACKNOWLEDGEMENT
