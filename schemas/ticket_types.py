"""Ticket types: what is on sale. The frontend calls them tickets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.common import EMPTY_IS_NONE, Answer, Changes, Label, Moment, Request, When, Whole
from utils.money import MPESA_LIMIT_KES

#: Whole shillings; nobody could pay more with M-PESA.
Price = Annotated[Whole, Field(ge=0, le=MPESA_LIMIT_KES)]
Quantity = Annotated[Whole, Field(ge=0, le=1_000_000)]
PerOrder = Annotated[Whole, Field(ge=1, le=1_000)]


class NewTicketType(Request):
    #: "Early Bird", "Regular", "VIP" or any other.
    name: Label = Field(alias="type")
    price_kes: Price = Field(alias="price")
    quantity: Annotated[Quantity, Field(ge=1)]
    sales_start_at: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="sales_start")
    sales_end_at: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="sales_end")
    min_per_order: PerOrder = 1
    max_per_order: PerOrder = 10


class TicketTypeChanges(Changes):
    clearable: ClassVar[frozenset[str]] = frozenset({"sales_start_at", "sales_end_at"})

    name: Label | None = Field(None, alias="type")
    price_kes: Price | None = Field(None, alias="price")
    quantity: Quantity | None = None
    sales_start_at: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="sales_start")
    sales_end_at: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="sales_end")
    min_per_order: PerOrder | None = None
    max_per_order: PerOrder | None = None


class TicketTypeOut(Answer):
    id: int
    type: str = Field(validation_alias="name")
    price: int = Field(validation_alias="price_kes")
    quantity: int
    sold: int
    #: Places one could order at the moment of this answer.
    available: int
    #: Whether event and sales period allow ordering now, stock aside.
    on_sale: bool = Field(validation_alias="is_on_sale")
    sales_start: When | None = Field(validation_alias="sales_start_at")
    sales_end: When | None = Field(validation_alias="sales_end_at")
    min_per_order: int
    max_per_order: int
