""" "I paid": what buyers say, and what admins see of it."""

from __future__ import annotations

from sqlalchemy import Select

from models import Claim, ClaimStatus, User
from resources.base import ADMINS, LOGGED_IN, Resource, endpoint
from schemas.claims import ClaimOut, ClaimSearch, NewClaim
from schemas.common import Message, Nothing
from services import claims


class OrderClaim(Resource):
    @endpoint(access=LOGGED_IN, body=NewClaim, returns=Message, status=202, errors=(claims.TooManyClaims,))
    def post(self, actor: User, order_id: int, body: NewClaim) -> Message:
        """Name the M-PESA code of a payment that the order does not show; the answer tells nothing of the code."""
        claims.claim_payment(actor=actor, order_id=order_id, receipt=body.code)
        return Message(
            message="Thank you. We are checking this code with M-PESA. Your order shows your tickets once the payment"
            " is found; if it is not plain whose it is, we look at it ourselves."
        )


class ClaimList(Resource):
    @endpoint(access=ADMINS, query=ClaimSearch, returns=list[ClaimOut])
    def get(self, _actor: User, query: ClaimSearch) -> Select[tuple[Claim]]:
        """What buyers say they paid, newest first."""
        return claims.list_claims(status=ClaimStatus(query.status) if query.status else None)


class ClaimClosing(Resource):
    @endpoint(access=ADMINS, body=Nothing, returns=ClaimOut)
    def post(self, actor: User, claim_id: int, body: Nothing) -> Claim:
        """Decide that a claim is not to be followed any more."""
        return claims.close_claim(actor=actor, claim_id=claim_id)
