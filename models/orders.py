"""Sales: what buyers claim."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.catalogue import Event, TicketType
from models.columns import one_of
from models.people import User
from models.states import ORDER_MOVES, ForbiddenMove, OrderStatus, PaymentStatus
from utils import clock
from utils.database import Model

if TYPE_CHECKING:
    from models.admission import Ticket
    from models.payments import Payment, Refund


class Order(Model):
    """One buyer's claim on places of one event. Its row lock is the lock of everything about its money."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    buyer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))

    #: What people quote and Safaricom prints in its SMS: at most 12 letters and digits (Daraja, AccountReference).
    reference: Mapped[str] = mapped_column(unique=True)
    #: What the buyer's browser polls with, without a token: as hard to guess as one.
    poll_id: Mapped[str] = mapped_column(unique=True)
    #: `<ticket type id>x<quantity>`, sorted: two orders with equal carts buy the same.
    cart: Mapped[str]
    total_kes: Mapped[int]
    #: The number the prompt goes to.
    phone: Mapped[str]

    status: Mapped[OrderStatus] = mapped_column(one_of(OrderStatus), default=OrderStatus.PENDING)
    #: Why money has to go back.
    refund_reason: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: When the hold ends; its places are free from then on, whoever notices first.
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]

    buyer: Mapped[User] = relationship(lazy="raise")
    event: Mapped[Event] = relationship(lazy="raise")
    items: Mapped[list[OrderItem]] = relationship(lazy="raise", order_by="OrderItem.ticket_type_id")
    payments: Mapped[list[Payment]] = relationship(lazy="raise", back_populates="order", order_by="Payment.id")
    tickets: Mapped[list[Ticket]] = relationship(lazy="raise", order_by="Ticket.id", viewonly=True)
    refunds: Mapped[list[Refund]] = relationship(lazy="raise", order_by="Refund.id", viewonly=True)

    __table_args__ = (
        CheckConstraint("total_kes >= 0", name="total_not_negative"),
        Index(None, "buyer_id", "id"),
        Index(None, "event_id", "status"),
        Index("orders_open_idx", "expires_at", "id", postgresql_where="status = 'pending'"),
        Index("orders_open_of_event_idx", "event_id", "expires_at", postgresql_where="status = 'pending'"),
        Index("orders_paid_at_idx", "paid_at", "event_id", postgresql_where="paid_at IS NOT NULL"),
        Index("orders_paid_of_event_idx", "event_id", "paid_at", postgresql_where="paid_at IS NOT NULL"),
        Index("orders_refund_due_idx", "id", postgresql_where="status = 'refund_due'"),
    )

    def move_to(self, status: OrderStatus) -> None:
        """Raises ForbiddenMove unless ORDER_MOVES lists it."""
        if status not in ORDER_MOVES[self.status]:
            raise ForbiddenMove(f"order {self.id}: {self.status.value} → {status.value}")
        self.status = status

    @property
    def is_open(self) -> bool:
        """Whether its places are held for it at this moment."""
        return self.status is OrderStatus.PENDING and clock.now() < self.expires_at

    @property
    def current_status(self) -> OrderStatus:
        """The status as of now: a hold that ran out has expired even if nobody has written so yet."""
        if self.status is OrderStatus.PENDING and not self.is_open:
            return OrderStatus.EXPIRED
        return self.status

    @property
    def wanted(self) -> dict[int, int]:
        """Places by ticket type id; needs `items`."""
        return {item.ticket_type_id: item.quantity for item in self.items}

    def payment(self, payment_id: int) -> Payment:
        """The one of its payments with this id; needs `payments`."""
        return next(payment for payment in self.payments if payment.id == payment_id)

    @property
    def prompts_used(self) -> int:
        """Prompts that the phone did or may have seen: what Daraja refused does not count. Needs `payments`."""
        return sum(payment.status is not PaymentStatus.REFUSED for payment in self.payments)

    @property
    def evidence(self) -> Payment | None:
        """How we know it is paid: the payment that paid it. Needs `payments`."""
        paid = (payment for payment in self.payments if payment.status is PaymentStatus.PAID)
        return min(paid, key=lambda payment: (payment.paid_at or payment.created_at, payment.id), default=None)

    @property
    def receipt(self) -> str | None:
        """M-PESA's receipt of the payment that paid it; needs `payments`."""
        return self.evidence.receipt if self.evidence else None


class OrderItem(Model):
    """How many places of one ticket type an order claims, and for whom."""

    __tablename__ = "order_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    ticket_type_id: Mapped[int] = mapped_column(ForeignKey("ticket_types.id"))
    quantity: Mapped[int]
    #: The price when the order was placed.
    unit_price_kes: Mapped[int]
    #: One `{first_name, last_name, email, phone}` for each place; none is empty until attendees are forgotten.
    attendees: Mapped[list[dict[str, str]]] = mapped_column(JSONB)

    ticket_type: Mapped[TicketType] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("order_id", "ticket_type_id"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price_kes >= 0", name="unit_price_not_negative"),
        CheckConstraint("jsonb_array_length(attendees) = quantity", name="one_attendee_for_each_place"),
        Index(None, "ticket_type_id"),
    )
