"""Payments: how one stands."""

from __future__ import annotations

from typing import Any, ClassVar

from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.orders import PollOut, PollPending, PollResult
from services import orders
from services.limits import TooManyAttempts


class PaymentCheck(Resource):
    #: For the frontend, which polls on as long as it is given this, whatever the status.
    while_busy: ClassVar[dict[str, Any]] = {"data": {}}

    @endpoint(access=PUBLIC, returns=PollOut, errors=(TooManyAttempts,))
    def get(self, _actor: User | None, poll_id: str) -> PollOut:
        """Whether an order is paid ("0") or over ("1032"). With empty `data`, also of 429 and 503: ask again."""
        poll = orders.poll_order(poll_id)
        if poll.is_paid:
            return PollOut(data=PollResult(ResultCode="0", ResultDesc="The order is paid."))
        if poll.is_over:
            return PollOut(data=PollResult(ResultCode="1032", ResultDesc="The payment failed or was cancelled."))
        return PollOut(data=PollPending())
