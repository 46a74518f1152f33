"""What a row is. Tables, constraints and relationships; no queries, no HTTP.

users             a person with a login
events            something to go to, published by an organizer once an admin agreed
ticket_types      what is on sale for an event: a price and a number of places
orders            one buyer's claim on places of one event, held until paid, ended or cancelled
order_items       how many places of which ticket type an order claims, at which price
payments          one M-PESA prompt for an order and what became of it
mpesa_messages    everything Safaricom said, as it came, append-only
tickets           what one person holds
reviews           what an attendee says of an event
mpesa_access      Daraja's access token, shared by all processes
audit_log         who changed what, when

Every relationship refuses to load by itself: a query names what it needs.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from utils import clock
from utils.database import Model

# ── Enums ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Role(enum.Enum):
    ATTENDEE = "attendee"
    ORGANIZER = "organizer"
    ADMIN = "admin"


class AccountStatus(enum.Enum):
    ACTIVE = "active"
    BANNED = "banned"


class EventStatus(enum.Enum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class OrderStatus(enum.Enum):
    #: Open: its places are held until `expires_at`.
    PENDING = "pending"
    PAID = "paid"
    #: Every prompt it may have has failed.
    FAILED = "failed"
    #: The hold ran out before money came.
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    #: Money came that cannot become tickets, or no longer is worth any: it has to go back.
    REFUND_DUE = "refund_due"
    REFUNDED = "refunded"
    PARTLY_REFUNDED = "partly_refunded"


class PaymentStatus(enum.Enum):
    #: Committed; the push is on its way to Daraja.
    SUBMITTING = "submitting"
    #: Daraja accepted the push: the phone shows, or will show, the prompt.
    PROMPTED = "prompted"
    #: Nobody knows: the push's answer was lost, or its result has a code we do not know.
    UNKNOWN = "unknown"
    #: Daraja said no before any prompt appeared.
    REFUSED = "refused"
    #: The prompt ended without money.
    FAILED = "failed"
    PAID = "paid"
    #: Something about the money is odd; a person has to look (`note` says why).
    QUARANTINED = "quarantined"


class MessageChannel(enum.Enum):
    #: Posted to the secret address of one payment.
    STK_CALLBACK = "stk_callback"
    #: Posted to the public address: only a reason to ask.
    STK_HINT = "stk_hint"
    #: The answer to our own question.
    STK_QUERY = "stk_query"


class TicketStatus(enum.Enum):
    VALID = "valid"
    USED = "used"
    VOID = "void"


#: Where an event may go from where it is.
EVENT_MOVES: dict[EventStatus, frozenset[EventStatus]] = {
    EventStatus.PENDING: frozenset({EventStatus.APPROVED, EventStatus.REJECTED, EventStatus.CANCELLED}),
    EventStatus.APPROVED: frozenset({EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED}),
    EventStatus.REJECTED: frozenset({EventStatus.PENDING, EventStatus.APPROVED, EventStatus.CANCELLED}),
    EventStatus.CANCELLED: frozenset(),
}

#: Where an order may go from where it is. `paid` is left only towards a refund.
ORDER_MOVES: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset(
        {
            OrderStatus.PAID,
            OrderStatus.FAILED,
            OrderStatus.EXPIRED,
            OrderStatus.CANCELLED,
            OrderStatus.REFUND_DUE,
        }
    ),
    OrderStatus.FAILED: frozenset({OrderStatus.PAID, OrderStatus.REFUND_DUE}),
    OrderStatus.EXPIRED: frozenset({OrderStatus.PAID, OrderStatus.REFUND_DUE}),
    OrderStatus.CANCELLED: frozenset({OrderStatus.REFUND_DUE}),
    OrderStatus.PAID: frozenset({OrderStatus.REFUND_DUE, OrderStatus.REFUNDED, OrderStatus.PARTLY_REFUNDED}),
    OrderStatus.REFUND_DUE: frozenset({OrderStatus.REFUNDED, OrderStatus.PARTLY_REFUNDED}),
    OrderStatus.PARTLY_REFUNDED: frozenset({OrderStatus.REFUND_DUE, OrderStatus.REFUNDED}),
    OrderStatus.REFUNDED: frozenset(),
}

#: Where a payment may go from where it is. Money that came is never un-come.
PAYMENT_MOVES: dict[PaymentStatus, frozenset[PaymentStatus]] = {
    PaymentStatus.SUBMITTING: frozenset(set(PaymentStatus) - {PaymentStatus.SUBMITTING}),
    PaymentStatus.PROMPTED: frozenset(
        {PaymentStatus.UNKNOWN, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.UNKNOWN: frozenset(
        {PaymentStatus.REFUSED, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.REFUSED: frozenset({PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    PaymentStatus.FAILED: frozenset({PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    PaymentStatus.QUARANTINED: frozenset(),
    PaymentStatus.PAID: frozenset(),
}

#: Payments that may still bring money while nobody has heard of it.
OPEN_PAYMENTS = frozenset({PaymentStatus.SUBMITTING, PaymentStatus.PROMPTED, PaymentStatus.UNKNOWN})


class ForbiddenMove(RuntimeError):
    """A bug: some code tried a state move that its table does not list."""


def _one_of(kind: type[enum.Enum]) -> Enum:
    """Text in the column, checked by the database, an enum in Python."""
    name = "".join("_" + char.lower() if char.isupper() else char for char in kind.__name__).lstrip("_")
    return Enum(
        kind,
        name=f"known_{name}",
        native_enum=False,
        length=20,
        create_constraint=True,
        values_callable=lambda members: [member.value for member in members],
    )


# ── People ────────────────────────────────────────────────────────────────────────────────────────────────────────


class User(Model):
    """A person with a login. Written by sign-up, the owner and admins."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    #: Always lower case, so that unique means unique.
    email: Mapped[str] = mapped_column(unique=True)
    #: `2547XXXXXXXX` or `2541XXXXXXXX`.
    phone: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[Role] = mapped_column(_one_of(Role), default=Role.ATTENDEE)
    status: Mapped[AccountStatus] = mapped_column(_one_of(AccountStatus), default=AccountStatus.ACTIVE)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_in_lower_case"),
        CheckConstraint("phone ~ '^254[17][0-9]{8}$'", name="phone_is_kenyan"),
    )

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


# ── Catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────────


#: What stands between words, as a regular expression that Python and PostgreSQL read alike: punctuation and symbols.
#: PostgreSQL's own parser would make one word of "Node.js", of "24/7", and of words around a long dash.
BETWEEN_WORDS = "[!-/:-@[-`{-\u00bf\u2000-\u2bff\u3000-\u303f\U0001f000-\U0001faff]+"
#: Written as PostgreSQL prints it back, so that Alembic sees no difference.
_WORDS = (
    "regexp_replace(((((((title || ' '::text) || COALESCE(tags, ''::text)) || ' '::text) || location) || ' '::text)"
    f" || description), '{BETWEEN_WORDS}'::text, ' '::text, 'g'::text)"
)


class Event(Model):
    """Something to go to. Written by its organizer; its status also by admins."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    organizer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    title: Mapped[str]
    description: Mapped[str]
    location: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    category: Mapped[str]
    #: Comma-separated, as the forms send it.
    tags: Mapped[str | None]
    #: File name in the upload folder.
    image: Mapped[str | None]

    status: Mapped[EventStatus] = mapped_column(_one_of(EventStatus), default=EventStatus.PENDING)
    #: Why an admin rejected it; for the organizer's eyes.
    rejection_reason: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    search_words: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            f"(to_tsvector('english'::regconfig, {_WORDS}) || to_tsvector('simple'::regconfig, {_WORDS}))",
            persisted=True,
        ),
        deferred=True,
        deferred_raiseload=True,
    )

    organizer: Mapped[User] = relationship(lazy="raise")
    ticket_types: Mapped[list[TicketType]] = relationship(
        lazy="raise",
        back_populates="event",
        order_by="(TicketType.price_kes, TicketType.id)",
        passive_deletes="all",
    )

    __table_args__ = (
        CheckConstraint("starts_at < ends_at", name="starts_before_it_ends"),
        Index(None, "organizer_id"),
        Index("events_public_idx", "starts_at", "id", postgresql_where="status = 'approved'"),
        Index("events_pending_idx", "created_at", "id", postgresql_where="status = 'pending'"),
        Index("events_search_words_idx", "search_words", postgresql_using="gin"),
    )

    def move_to(self, status: EventStatus) -> None:
        """Raises ForbiddenMove unless EVENT_MOVES lists it."""
        if status not in EVENT_MOVES[self.status]:
            raise ForbiddenMove(f"event {self.id}: {self.status.value} → {status.value}")
        self.status = status

    def is_run_by(self, user: User | None) -> bool:
        """Whether the user is its organizer or an admin."""
        return user is not None and (self.organizer_id == user.id or user.is_admin)

    @property
    def has_started(self) -> bool:
        return self.starts_at <= clock.now()

    @property
    def is_over(self) -> bool:
        return self.ends_at <= clock.now()

    @property
    def lowest_price_kes(self) -> int | None:
        return min((ticket_type.price_kes for ticket_type in self.ticket_types), default=None)

    @property
    def attendee_count(self) -> int:
        """Tickets sold."""
        return sum(ticket_type.sold for ticket_type in self.ticket_types)


class TicketType(Model):
    """What is on sale: a price and a number of places. `sold` and `held` are moved by `services.stock` alone."""

    __tablename__ = "ticket_types"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))

    #: "Early Bird", "Regular", "VIP"; unique in its event whatever the case.
    name: Mapped[str]
    price_kes: Mapped[int]
    quantity: Mapped[int]
    sold: Mapped[int] = mapped_column(default=0)
    #: Places of orders that are still open, their time over or not.
    held: Mapped[int] = mapped_column(default=0)
    sales_start_at: Mapped[datetime | None]
    sales_end_at: Mapped[datetime | None]
    min_per_order: Mapped[int] = mapped_column(default=1)
    max_per_order: Mapped[int] = mapped_column(default=10)

    #: Of `held`, what belongs to orders whose time is over: free in truth, 0 unless a query asks for it.
    held_by_ended: Mapped[int] = query_expression(default_expr=literal(0))

    event: Mapped[Event] = relationship(lazy="raise_on_sql", back_populates="ticket_types")

    __table_args__ = (
        CheckConstraint("sold >= 0 AND held >= 0 AND (sold + held) <= quantity", name="not_oversold"),
        CheckConstraint("price_kes >= 0", name="price_not_negative"),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
        CheckConstraint("min_per_order >= 1 AND min_per_order <= max_per_order", name="order_limits_in_order"),
        CheckConstraint("sales_start_at < sales_end_at", name="sales_start_before_they_end"),
        Index("one_ticket_type_of_a_name", "event_id", text("lower(name)"), unique=True),
    )

    @property
    def available(self) -> int:
        """Places one could order now, as true as the query that loaded `held_by_ended`."""
        return self.quantity - self.sold - self.held + (self.held_by_ended or 0)

    @property
    def is_on_sale(self) -> bool:
        """Whether its event and its sales period let it be ordered now, stock aside."""
        now = clock.now()
        return (
            self.event.status is EventStatus.APPROVED
            and not self.event.has_started
            and (self.sales_start_at is None or self.sales_start_at <= now)
            and (self.sales_end_at is None or now < self.sales_end_at)
        )


# ── Sales ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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

    status: Mapped[OrderStatus] = mapped_column(_one_of(OrderStatus), default=OrderStatus.PENDING)
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

    __table_args__ = (
        CheckConstraint("total_kes >= 0", name="total_not_negative"),
        Index(None, "buyer_id", "id"),
        Index(None, "event_id", "status"),
        Index("orders_open_idx", "expires_at", "id", postgresql_where="status = 'pending'"),
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
    def receipt(self) -> str | None:
        """M-PESA's receipt of the payment that paid it; needs `payments`."""
        return next((payment.receipt for payment in self.payments if payment.status is PaymentStatus.PAID), None)


class OrderItem(Model):
    """How many places of one ticket type an order claims, and for whom."""

    __tablename__ = "order_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    ticket_type_id: Mapped[int] = mapped_column(ForeignKey("ticket_types.id"))
    quantity: Mapped[int]
    #: The price when the order was placed.
    unit_price_kes: Mapped[int]
    #: One `{first_name, last_name, email, phone}` for each place, none of them empty.
    attendees: Mapped[list[dict[str, str]]] = mapped_column(JSONB)

    ticket_type: Mapped[TicketType] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("order_id", "ticket_type_id"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("unit_price_kes >= 0", name="unit_price_not_negative"),
        CheckConstraint("jsonb_array_length(attendees) = quantity", name="one_attendee_for_each_place"),
        Index(None, "ticket_type_id"),
    )


class Payment(Model):
    """One M-PESA prompt. Its status is moved under its order's row lock, by `services.settlement` and `.prompts`."""

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    phone: Mapped[str]
    amount_kes: Mapped[int]

    #: SHA-256 of the secret in its callback address.
    callback_token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    merchant_request_id: Mapped[str | None]
    checkout_request_id: Mapped[str | None] = mapped_column(unique=True)
    #: M-PESA's receipt number: serves once, ever.
    receipt: Mapped[str | None] = mapped_column(unique=True)

    status: Mapped[PaymentStatus] = mapped_column(_one_of(PaymentStatus), default=PaymentStatus.SUBMITTING)
    #: M-PESA's result code, as text: "0", "1032", "SFC_IC0003", "500.001.1001".
    result_code: Mapped[str | None]
    #: What became of it, in a sentence for its buyer.
    result_text: Mapped[str | None]
    #: Why a person has to look, in a sentence for the admin.
    note: Mapped[str | None]
    #: How we know it is paid.
    paid_through: Mapped[MessageChannel | None] = mapped_column(_one_of(MessageChannel))

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    paid_at: Mapped[datetime | None]
    #: When a newer prompt took its place; this one is still watched, and its money still counts.
    superseded_at: Mapped[datetime | None]
    #: When to ask Daraja about it next; empty when there is nothing left to ask.
    next_query_at: Mapped[datetime | None]
    queries: Mapped[int] = mapped_column(default=0)
    #: When the public callback address last made us ask.
    hinted_at: Mapped[datetime | None]

    order: Mapped[Order] = relationship(lazy="raise", back_populates="payments")

    __table_args__ = (
        CheckConstraint("amount_kes > 0", name="amount_positive"),
        Index(
            "one_live_prompt_per_order",
            "order_id",
            unique=True,
            postgresql_where="status IN ('submitting', 'prompted', 'unknown') AND superseded_at IS NULL",
        ),
        Index(None, "order_id", "id"),
        Index(None, "phone", "created_at"),
        Index("payments_noted_idx", "order_id", postgresql_where="note IS NOT NULL"),
        Index("payments_to_query_idx", "next_query_at", postgresql_where="next_query_at IS NOT NULL"),
        Index("payments_submitting_idx", "created_at", postgresql_where="status = 'submitting'"),
    )

    def move_to(self, status: PaymentStatus) -> None:
        """Raises ForbiddenMove unless PAYMENT_MOVES lists it."""
        if status not in PAYMENT_MOVES[self.status]:
            raise ForbiddenMove(f"payment {self.id}: {self.status.value} → {status.value}")
        self.status = status

    def is_live(self, *, for_seconds: float) -> bool:
        """Whether its prompt may still be on the phone, given that a prompt lasts `for_seconds`."""
        return (
            self.status in OPEN_PAYMENTS
            and self.superseded_at is None
            and clock.now() < self.created_at + timedelta(seconds=for_seconds)
        )


class MpesaMessage(Model):
    """One thing Safaricom said, exactly as it came. Stored before anything else; only its verdict is added later."""

    __tablename__ = "mpesa_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"))
    channel: Mapped[MessageChannel] = mapped_column(_one_of(MessageChannel))
    #: Bytes, since what comes need be neither JSON nor text.
    body: Mapped[bytes] = mapped_column(LargeBinary)
    #: The answer's HTTP status, for what we asked ourselves.
    http_status: Mapped[int | None]
    remote_address: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(default=clock.now)

    settled_at: Mapped[datetime | None]
    #: What it was taken to mean: a verdict's name and reason.
    verdict: Mapped[str | None]

    __table_args__ = (
        Index(None, "payment_id", "id"),
        Index("mpesa_messages_to_settle_idx", "id", postgresql_where="settled_at IS NULL"),
    )


# ── Admission ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Ticket(Model):
    """What one person holds. Made by `services.admission` in the transaction that pays its order."""

    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    ticket_type_id: Mapped[int] = mapped_column(ForeignKey("ticket_types.id"))

    #: Sixty random bits in Crockford's base32, typed as `XXXX-XXXX-XXXX`.
    code: Mapped[str] = mapped_column(unique=True)
    #: What was paid for it.
    price_kes: Mapped[int]
    first_name: Mapped[str]
    last_name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]

    status: Mapped[TicketStatus] = mapped_column(_one_of(TicketStatus), default=TicketStatus.VALID)
    issued_at: Mapped[datetime] = mapped_column(default=clock.now)
    checked_in_at: Mapped[datetime | None]

    order: Mapped[Order] = relationship(lazy="raise")
    ticket_type: Mapped[TicketType] = relationship(lazy="raise")

    __table_args__ = (Index(None, "order_id"), Index(None, "ticket_type_id"))


# ── Community ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Review(Model):
    """What somebody who held a ticket says of the event."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    attendee_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    rating: Mapped[int]
    comment: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    attendee: Mapped[User] = relationship(lazy="raise")

    __table_args__ = (
        CheckConstraint("rating >= 1 AND rating <= 5", name="rating_one_to_five"),
        UniqueConstraint("event_id", "attendee_id", name="one_review_per_attendee"),
        Index(None, "attendee_id"),
    )


# ── Back office ───────────────────────────────────────────────────────────────────────────────────────────────────


class MpesaAccess(Model):
    """Daraja's access token, one for all processes. One row, written by `services.access_tokens`."""

    __tablename__ = "mpesa_access"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str | None]
    #: Until when the token may be used.
    ends_at: Mapped[datetime | None]
    #: Until when one process has the task of fetching the next one.
    fetching_until: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class AuditLog(Model):
    """One change and who made it. Written by `services.audit` in the same transaction; never changed."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: Empty when Ticksy itself acted, on M-PESA's word.
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str]
    target_type: Mapped[str]
    target_id: Mapped[int]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    ip_address: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        Index(None, "target_type", "target_id"),
        Index(None, "user_id"),
        Index(None, "created_at", "id"),
    )
