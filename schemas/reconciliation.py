"""The report of a day's money."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AliasPath, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from schemas.common import EMPTY_IS_NONE, Answer, Request, When, Word
from schemas.payments import AdminPayment, RefundOut


def _written_out(value: Any) -> Any:
    """Dates as people write them only: pydantic would also take seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"2[01][0-9]{2}-[0-9]{2}-[0-9]{2}", value):
        raise PydanticCustomError("sentence", "Please give a day such as 2026-11-23.")
    return value


class DayQuery(Request):
    #: A day of Nairobi; the one before today when empty.
    day: Annotated[date | None, BeforeValidator(_written_out), EMPTY_IS_NONE] = None


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
