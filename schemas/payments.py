"""Payments and refunds as admins see them, and what Safaricom is answered."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasPath, Field, StringConstraints

from schemas.common import (
    EMPTY_IS_NONE,
    END_OF_DAY,
    Answer,
    Moment,
    OrderName,
    Page,
    Phone,
    Request,
    When,
    Word,
    sentence_of,
)
from schemas.orders import RefundBrief
from utils import phone as phones


class Acknowledgement(Answer):
    ResultCode: int
    ResultDesc: str


class ValidationAnswer(Answer):
    """Whether a payment by Paybill may go on: "0", or why not."""

    ResultCode: str
    ResultDesc: Literal["Accepted", "Rejected"]


def _check_receipt(text: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{10}", text):
        raise ValueError("Please give M-PESA's receipt number: ten letters and digits, such as SG632NMUAB.")
    return text


Receipt = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_upper=True, max_length=40),
    AfterValidator(sentence_of(_check_receipt)),
]


Masked = Annotated[str, AfterValidator(phones.mask)] | None


class PaymentSearch(Page):
    status: (
        Literal[
            "queued",
            "submitting",
            "prompted",
            "unknown",
            "refused",
            "failed",
            "paid",
            "quarantined",
            "reversed",
        ]
        | None
    ) = None
    receipt: Annotated[Receipt | None, EMPTY_IS_NONE] = None
    #: Of the phone that was prompted, or of the payer as far as Safaricom tells it.
    phone: Annotated[Phone | None, EMPTY_IS_NONE] = None
    order: Annotated[OrderName | None, EMPTY_IS_NONE] = None
    from_: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="from")
    #: A day without time is meant to its end.
    to: Annotated[Moment | None, END_OF_DAY, EMPTY_IS_NONE] = None


class RefundSearch(Page):
    status: Literal["requested", "sent", "done", "refund_failed", "by_hand"] | None = None


class Attachment(Request):
    order: OrderName


class SentByHand(Request):
    #: M-PESA's receipt of the money going back.
    receipt: Receipt


class PaidOrder(Answer):
    """The order that a payment is for."""

    id: int
    order_id: str = Field(validation_alias="reference")
    status: Word = Field(validation_alias="current_status")
    total_amount: int = Field(validation_alias="total_kes")


class AdminPayment(Answer):
    id: int
    method: Word
    status: Word
    amount: int = Field(validation_alias="amount_kes")
    #: Of it, what is on its way back or has arrived there.
    refunded: int = Field(validation_alias="refunded_kes")
    receipt: str | None
    #: The number the prompt went to.
    phone: Masked
    #: The payer's number as Safaricom tells it.
    payer: Masked
    #: What the payer typed as account number.
    typed_reference: str | None
    #: Null for money that names no order.
    order: PaidOrder | None
    #: What became of it, in a sentence for its buyer.
    result: str | None = Field(validation_alias="result_text")
    #: Why a person has to look.
    note: str | None
    #: How we know it is paid.
    paid_through: Word | None
    created_at: When
    paid_at: When | None
    #: When M-PESA's own list showed it.
    reconciled_at: When | None


class StoryLine(Answer):
    """One thing that happened to a payment."""

    at: When
    kind: Literal["message", "request", "refund", "audit"]
    #: A message's channel, a request's kind, a refund's method, or what was done.
    what: str
    #: A message's verdict, or how the request or refund stands.
    status: str | None
    #: What the message says, or the details; phone numbers are masked.
    text: str | None
    #: The user who did it.
    user_id: int | None


class PaymentStory(AdminPayment):
    """A payment with all that happened to it, oldest first."""

    story: list[StoryLine] = Field(default_factory=list)


class RefundOut(RefundBrief):
    """A refund as admins see it."""

    payment_id: int
    #: M-PESA's receipt of the payment.
    payment_receipt: str | None = Field(validation_alias=AliasPath("payment", "receipt"))
    #: Its order's id, if it has one.
    order: int | None = Field(validation_alias="order_id")
    method: Word
    result_code: str | None
    #: Why a person has to look.
    note: str | None
    #: M-PESA's receipt of the money going back.
    receipt: str | None
    sent_at: When | None


class EventRefunds(Answer):
    """How far the refunds of an event are."""

    #: Orders whose refund is still to be started.
    waiting: int
    #: Refunds that were started; of them, those that have arrived, and those a person has to look after.
    started: int
    done: int
    failed: int
    #: Of those that were started, in whole shillings.
    amount: int = Field(validation_alias="amount_kes")
    amount_done: int = Field(validation_alias="done_kes")
