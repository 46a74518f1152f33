"""What buyers say they paid."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.accounts import PersonOut
from schemas.common import Answer, Page, Request, When, Word
from schemas.payments import PaidOrder, Receipt


class NewClaim(Request):
    #: M-PESA's code of the payment, from its SMS.
    code: Receipt


class ClaimSearch(Page):
    status: Literal["open", "attached", "closed"] | None = None


class ClaimOut(Answer):
    id: int
    #: `attached` once the order got the money, `closed` when a person decided otherwise.
    status: Word
    code: str = Field(validation_alias="receipt")
    order: PaidOrder
    #: Who says so.
    user: PersonOut
    created_at: When
