"""The report of a day's money."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AliasPath, Field

from schemas.common import EMPTY_IS_NONE, Answer, Day, Request, When, Word
from schemas.payments import AdminPayment, RefundOut


class DayQuery(Request):
    #: A day of Nairobi; the one before today when empty.
    day: Annotated[Day | None, EMPTY_IS_NONE] = None


class UnpaidOrder(Answer):
    """An order that counts as paid without anything to show for it."""

    id: int = Field(validation_alias=AliasPath("order", "id"))
    order_id: str = Field(validation_alias=AliasPath("order", "reference"))
    status: Word = Field(validation_alias=AliasPath("order", "current_status"))
    total_amount: int = Field(validation_alias=AliasPath("order", "total_kes"))
    payment_id: int | None
    receipt: str | None
    paid_at: When | None
    #: `no_payment`, `no_receipt`, or `not_listed`: neither M-PESA's list nor its statement shows the receipt.
    why: str


class ReconciliationOut(Answer):
    day: date
    #: Whether nothing is open.
    is_clean: bool
    #: Up to when M-PESA's list has been read; null if it is not pulled.
    pulled_until: When | None
    #: Whole shillings that came, and that went back, on this day.
    amount_in: int = Field(validation_alias="in_kes")
    amount_back: int = Field(validation_alias="back_kes")
    money_without_order: list[AdminPayment]
    orders_without_money: list[UnpaidOrder]
    #: For more than a day.
    open_refunds: list[RefundOut]
    #: Which of these lists are longer than shown here.
    cut_short: list[str]
