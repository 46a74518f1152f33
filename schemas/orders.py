"""Orders, as the frontend's checkout sends and reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AliasPath, Field, StringConstraints, computed_field, model_validator
from pydantic_core import PydanticCustomError

from config import settings
from models import OrderStatus
from schemas.common import (
    EMPTY_IS_NONE,
    Answer,
    Email,
    Flag,
    OrderName,
    Page,
    Phone,
    Request,
    RowId,
    Text,
    When,
    Whole,
    Word,
)
from schemas.events import EventBrief
from schemas.tickets import SoldTicket
from utils import phone as phones


def _kenyan_if_possible(text: str) -> str:
    """Attendees may come from anywhere; a Kenyan number is brought into its one form."""
    try:
        return phones.parse(text)
    except ValueError:
        return text


_AttendeeName = Annotated[Annotated[Text, Field(max_length=80)] | None, EMPTY_IS_NONE]


class Attendee(Request):
    """Who will come. Anything may be empty: the buyer's own is taken then."""

    first_name: _AttendeeName = None
    last_name: _AttendeeName = None
    email: Annotated[Email | None, EMPTY_IS_NONE] = None
    phone: Annotated[
        Annotated[Text, Field(max_length=30), AfterValidator(_kenyan_if_possible)] | None, EMPTY_IS_NONE
    ] = None
    #: Repeated by the frontend from the line around it; not read.
    ticket_id: RowId | None = None
    ticket_type: Annotated[str, StringConstraints(max_length=200)] | None = None


class NewRefund(Request):
    """Which tickets to refund; all that are left when it does not say."""

    tickets: Annotated[list[RowId], Field(min_length=1, max_length=1_000)] | None = None


class CartLine(Request):
    """So many tickets of one type."""

    ticket_id: RowId
    quantity: Annotated[Whole, Field(ge=1, le=1_000)]
    #: At most one for each ticket.
    attendees: Annotated[list[Attendee], Field(max_length=1_000)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _not_more_attendees_than_tickets(self) -> CartLine:
        if len(self.attendees) > self.quantity:
            raise PydanticCustomError("sentence", "There are more attendees than tickets.")
        return self


class NewOrder(Request):
    """A cart. The prompt goes to `phone`, or else to the buyer's own number."""

    phone: Annotated[Phone | None, EMPTY_IS_NONE] = None
    tickets: Annotated[list[CartLine], Field(min_length=1, max_length=50)]


class NewPayment(Request):
    """Which order to ask for the money of."""

    #: Its reference or its id.
    order_id: OrderName
    #: The number the order was placed with, and no other.
    phone: Annotated[Phone | None, EMPTY_IS_NONE] = None


class OrderSearch(Page):
    #: Only orders with money that somebody must look after: refunds due, and payments with a note.
    needs_attention: Flag = False
    status: (
        Literal["pending", "paid", "failed", "expired", "cancelled", "refund_due", "refunded", "partly_refunded"] | None
    ) = None


class ItemOut(Answer):
    ticket_id: int = Field(validation_alias="ticket_type_id")
    type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    price: int = Field(validation_alias="unit_price_kes")
    quantity: int


class PaymentOut(Answer):
    """One prompt and what became of it."""

    id: int
    status: Word
    amount: int = Field(validation_alias="amount_kes")
    #: The number the prompt went to; null for money paid by hand.
    phone: Annotated[str, AfterValidator(phones.mask)] | None
    #: M-PESA's receipt number.
    receipt: str | None
    #: What became of it, in a sentence.
    result: str | None = Field(validation_alias="result_text")
    created_at: When
    paid_at: When | None
    #: Not shown: its order says what follows from it.
    is_under_review: bool = Field(exclude=True)


class RefundBrief(Answer):
    """Money on its way back, as its buyer sees it."""

    id: int
    amount: int = Field(validation_alias="amount_kes")
    status: Word
    #: Why, as one word.
    reason: str
    created_at: When
    done_at: When | None


class EvidenceOut(Answer):
    """How we know that an order is paid."""

    #: Which way M-PESA told us.
    channel: Word | None = Field(validation_alias="paid_through")
    receipt: str | None
    at: When | None = Field(validation_alias="paid_at")


class PaybillOut(Answer):
    """What to type into the M-PESA menu to pay without a prompt."""

    number: str
    account: str
    amount: int


class OrderOut(Answer):
    id: int
    #: What people quote, and what Safaricom prints in its message.
    order_id: str = Field(validation_alias="reference")
    status: Word = Field(validation_alias="current_status")
    total_amount: int = Field(validation_alias="total_kes")
    phone: str
    mpesa_receipt: str | None = Field(validation_alias="receipt")
    #: Why the money goes back, when it does.
    refund_reason: str | None
    created_at: When
    #: Until when its places are held.
    expires_at: When
    paid_at: When | None
    event: EventBrief
    items: list[ItemOut]
    tickets: list[SoldTicket]
    payments: list[PaymentOut]
    refunds: list[RefundBrief]
    #: How we know that it is paid.
    evidence: EvidenceOut | None
    #: Where its payment request stands in the queue, 1 being next; null when none waits, and in lists.
    queue_position: int | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def paybill(self) -> PaybillOut | None:
        """Another way to pay, while the order is open and no money for it is being looked at."""
        number = settings.paybill_number
        is_under_review = any(payment.is_under_review for payment in self.payments)
        if number is None or self.status != OrderStatus.PENDING.value or is_under_review:
            return None
        return PaybillOut(number=number, account=self.order_id, amount=self.total_amount)


class NotedPayment(PaymentOut):
    """A payment as admins see it."""

    #: Why a person has to look.
    note: str | None


class AdminOrder(OrderOut):
    """An order as admins see it."""

    payments: list[NotedPayment]  # type: ignore[assignment]


class CheckoutOut(Answer):
    """What the frontend's checkout needs to go on."""

    orderId: int  # noqa: N815
    #: Ticksy's own secret for asking how the payment goes; Daraja's id stays on the server.
    checkoutRequestID: str  # noqa: N815
    customerMessage: str  # noqa: N815
    message: str
    order: OrderOut


class PollResult(Answer):
    """M-PESA's words, since the frontend knows them: "0" is paid, "1032" is over."""

    ResultCode: Literal["0", "1032"]
    ResultDesc: str


class PollPending(Answer):
    """Neither: ask again."""


class PollOut(Answer):
    data: PollResult | PollPending
