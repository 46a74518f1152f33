"""Tickets, and events as their ticket holders see them."""

from __future__ import annotations

from pydantic import AliasPath, Field

from schemas.common import Answer, When, Word
from schemas.events import EventBrief


class TicketBrief(Answer):
    """What one person holds."""

    id: int
    ticket_code: str = Field(validation_alias="code")
    type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    status: Word
    attendee_first_name: str = Field(validation_alias="first_name")
    attendee_last_name: str = Field(validation_alias="last_name")
    attendee_email: str = Field(validation_alias="email")
    attendee_phone: str = Field(validation_alias="phone")
    checked_in_at: When | None


class TicketOut(TicketBrief):
    """A ticket with what it is for."""

    issued_at: When
    #: What was paid for it, in whole shillings.
    price: int = Field(validation_alias="price_kes")
    order_id: str = Field(validation_alias=AliasPath("order", "reference"))
    #: M-PESA's receipt number of the payment that paid its order; null if it was free.
    mpesa_receipt: str | None = Field(validation_alias=AliasPath("order", "receipt"))
    event: EventBrief = Field(validation_alias=AliasPath("ticket_type", "event"))


class Pass(Answer):
    """One ticket as the event pages of the profile print it: `#<id> • <type>`."""

    id: str = Field(validation_alias="code")
    type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    #: What was paid for it, in whole shillings.
    price: int = Field(validation_alias="price_kes")
    quantity: int = 1
    status: Word


class OrderBrief(Answer):
    order_id: str = Field(validation_alias="reference")
    created_at: When
    mpesa_receipt: str | None = Field(validation_alias="receipt")
    total_amount: int = Field(validation_alias="total_kes")


class AttendedEvent(EventBrief):
    description: str
    category: str
    tags: str | None


class AttendanceOut(Answer):
    event: AttendedEvent
    tickets: list[Pass]
    #: Of all the orders, in whole shillings.
    total_amount: int = Field(validation_alias="total_kes")
    #: The latest order; `orders` has them all.
    order: OrderBrief
    orders: list[OrderBrief]
