"""Tickets, and events as their ticket holders see them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasPath, Field, StringConstraints, computed_field, model_validator

from config import settings
from models import TicketStatus
from schemas.common import Answer, Request, When, Word
from schemas.events import EventBrief
from utils import ticket_address


class SoldTicket(Answer):
    """A ticket of an order. Of one that was passed on, it is not told who has it, nor its code."""

    id: int
    ticket_code: str | None = Field(validation_alias="code")
    type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    #: `valid`, `used`, `void`, or `passed_on`.
    status: Word
    attendee_first_name: str | None = Field(validation_alias="first_name")
    attendee_last_name: str | None = Field(validation_alias="last_name")
    attendee_email: str | None = Field(validation_alias="email")
    attendee_phone: str | None = Field(validation_alias="phone")
    checked_in_at: When | None
    passed_on_at: When | None

    @model_validator(mode="after")
    def _keep_to_its_holder(self) -> SoldTicket:
        if self.passed_on_at is not None:
            self.ticket_code = self.checked_in_at = None
            self.attendee_first_name = self.attendee_last_name = self.attendee_email = self.attendee_phone = None
            self.status = self.status if self.status == TicketStatus.VOID.value else "passed_on"
        return self


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
    #: Null for one that was passed on to its holder, like the receipt.
    order_id: str | None = Field(validation_alias=AliasPath("order", "reference"))
    #: M-PESA's receipt number of the payment that paid its order; null if it was free.
    mpesa_receipt: str | None = Field(validation_alias=AliasPath("order", "receipt"))
    event: EventBrief = Field(validation_alias=AliasPath("ticket_type", "event"))
    #: When it was passed on to its holder; null for who bought it.
    received_at: When | None = Field(validation_alias="passed_on_at")
    rotation: int = Field(exclude=True)

    @model_validator(mode="after")
    def _keep_to_its_buyer(self) -> TicketOut:
        if self.received_at is not None:
            self.order_id = self.mpesa_receipt = None
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def page_url(self) -> str:
        """The ticket for a phone: whoever has this address can go in with it."""
        return _page_url(self.id, self.rotation)


class TicketLinks(Answer):
    """Addresses that open without a login: whoever has one can go in with it. They end when it is issued anew."""

    page: str
    qr_svg: str
    qr_png: str
    pdf: str


class HeldTicketOut(Answer):
    """One ticket for its holder, with what the door scans."""

    id: int = Field(validation_alias=AliasPath("ticket", "id"))
    ticket_code: str = Field(validation_alias=AliasPath("ticket", "code"))
    type: str = Field(validation_alias=AliasPath("ticket", "ticket_type", "name"))
    #: `event_cancelled` where it is the event that ended, and not the ticket.
    status: Word = Field(validation_alias="standing")
    attendee_first_name: str = Field(validation_alias=AliasPath("ticket", "first_name"))
    attendee_last_name: str = Field(validation_alias=AliasPath("ticket", "last_name"))
    checked_in_at: When | None = Field(validation_alias=AliasPath("ticket", "checked_in_at"))
    #: Null for one that was passed on to its holder.
    order_id: str | None = Field(validation_alias="order")
    received_at: When | None = Field(validation_alias=AliasPath("ticket", "passed_on_at"))
    #: Since when its holder agrees that its money goes back to who bought it.
    refund_agreed_at: When | None = Field(validation_alias=AliasPath("ticket", "refund_agreed_at"))
    event: EventBrief
    map_url: str
    #: What the QR code holds, signed; null when the ticket lets nobody in.
    token: str | None
    rotation: int = Field(validation_alias=AliasPath("ticket", "rotation"), exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def links(self) -> TicketLinks:
        """Its page, and its files; these are 409 when the ticket lets nobody in."""
        page = _page_url(self.id, self.rotation)
        return TicketLinks(page=page, qr_svg=f"{page}/qr.svg", qr_png=f"{page}/qr.png", pdf=f"{page}/ticket.pdf")


class TicketCheck(Request):
    #: A ticket's code, as it is printed or nearly so.
    code: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class TicketWord(Answer):
    """What anybody may know who has a code; nothing of who holds the ticket, or bought it."""

    #: `valid`, `used`, `void`, `superseded`, `event_cancelled`, or `unknown`, with nothing else then.
    status: str
    event_title: str | None
    type: str | None = Field(validation_alias="ticket_type")


def _page_url(ticket_id: int, rotation: int) -> str:
    return f"{settings.PUBLIC_URL}/t/{ticket_address.make(ticket_id, rotation)}"


class Pass(Answer):
    """One ticket as the event pages of the profile print it: `#<id> • <type>`."""

    id: str = Field(validation_alias="code")
    type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    #: What was paid for it, in whole shillings.
    price: int = Field(validation_alias="price_kes")
    quantity: int = 1
    status: Word


class OrderBrief(Answer):
    #: Null where one holds a ticket that somebody passed on, and ordered none.
    order_id: str | None = Field(validation_alias="reference")
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
