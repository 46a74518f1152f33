"""What a row is. Tables, constraints and relationships; no queries, no HTTP.

users             a person with a login
events            something to go to, published by an organizer once an admin agreed
ticket_types      what is on sale for an event: a price and a number of places
orders            one buyer's claim on places of one event, held until paid, ended or cancelled
order_items       how many places of which ticket type an order claims, at which price
payments          money of an order: one M-PESA prompt, or one payment by Paybill, and what became of it
refunds           money that goes back
mpesa_requests    what we asked Daraja that is answered later, at an address of its own
mpesa_messages    everything Safaricom said, as it came, append-only
claims            what buyers say they paid
tickets           what one person holds
reviews           what an attendee says of an event
mpesa_access      Daraja's access token, shared by all processes
mpesa_line        how fast we may push, whether it works, how far money has been reconciled
idempotency_keys  answers given to requests that carried a key
alerts            what admins have to be told
audit_log         who changed what, when

Every relationship refuses to load by itself: a query names what it needs.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
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


class PaymentMethod(enum.Enum):
    #: A prompt that we put on a phone.
    PROMPT = "prompt"
    #: Paid by hand to our Paybill number.
    PAYBILL = "paybill"


class PaymentStatus(enum.Enum):
    #: Its push waits for its turn: nothing has been sent.
    QUEUED = "queued"
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
    #: M-PESA took the money back without us.
    REVERSED = "reversed"


class RefundMethod(enum.Enum):
    #: M-PESA undoes the whole payment.
    REVERSAL = "reversal"
    #: We pay a part of it to the phone it came from.
    B2C = "b2c"
    #: A person has to send it.
    BY_HAND = "by_hand"


class RefundStatus(enum.Enum):
    #: Decided, not yet sent.
    REQUESTED = "requested"
    #: M-PESA was asked, and has not said how it went.
    SENT = "sent"
    DONE = "done"
    #: M-PESA said no, or cannot be asked; a person has to retry it or send it by hand.
    FAILED = "refund_failed"
    #: Waits for a person to send it.
    BY_HAND = "by_hand"


class RequestKind(enum.Enum):
    REVERSAL = "reversal"
    B2C = "b2c"
    #: What became of a transaction.
    STATUS = "status"


class RequestStatus(enum.Enum):
    #: Committed; on its way to Daraja.
    SENDING = "sending"
    #: Daraja took it; its result is to come.
    SENT = "sent"
    #: Daraja said no: nothing was done.
    REFUSED = "refused"
    #: Nobody knows whether Daraja took it.
    UNKNOWN = "unknown"
    ANSWERED = "answered"


class MessageChannel(enum.Enum):
    #: Posted to the secret address of one payment.
    STK_CALLBACK = "stk_callback"
    #: Posted where anybody can, or from an address that is not Safaricom's: only a reason to ask.
    STK_HINT = "stk_hint"
    #: The answer to our own question.
    STK_QUERY = "stk_query"
    #: Posted to our Paybill's confirmation address: only a reason to ask.
    C2B = "c2b"
    #: The result of one of our requests, posted to its secret address.
    RESULT = "result"
    #: Daraja gave up on one of our requests: says nothing of what became of it.
    TIMEOUT = "timeout"
    #: The answer to our asking for all transactions of a time.
    PULL = "pull"
    #: A line of a statement that a person exported from M-PESA's portal.
    STATEMENT = "statement"
    #: A person decided.
    ADMIN = "admin"


class ClaimStatus(enum.Enum):
    #: The money has not been seen, or is not plainly this order's.
    OPEN = "open"
    #: The order got the money.
    ATTACHED = "attached"
    #: A person decided otherwise.
    CLOSED = "closed"


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
    PaymentStatus.QUEUED: frozenset({PaymentStatus.SUBMITTING, PaymentStatus.REFUSED}),
    PaymentStatus.SUBMITTING: frozenset(
        set(PaymentStatus) - {PaymentStatus.QUEUED, PaymentStatus.SUBMITTING, PaymentStatus.REVERSED}
    ),
    PaymentStatus.PROMPTED: frozenset(
        {PaymentStatus.UNKNOWN, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.UNKNOWN: frozenset(
        {PaymentStatus.REFUSED, PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}
    ),
    PaymentStatus.REFUSED: frozenset({PaymentStatus.FAILED, PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    PaymentStatus.FAILED: frozenset({PaymentStatus.PAID, PaymentStatus.QUARANTINED}),
    #: A person found it in order, or it proved to be a second payment, which goes back by itself.
    PaymentStatus.QUARANTINED: frozenset({PaymentStatus.PAID, PaymentStatus.REVERSED}),
    PaymentStatus.PAID: frozenset({PaymentStatus.REVERSED}),
    PaymentStatus.REVERSED: frozenset(),
}

#: Where a refund may go from where it is. What is done stays done.
REFUND_MOVES: dict[RefundStatus, frozenset[RefundStatus]] = {
    RefundStatus.REQUESTED: frozenset({RefundStatus.SENT, RefundStatus.BY_HAND, RefundStatus.DONE}),
    RefundStatus.SENT: frozenset({RefundStatus.REQUESTED, RefundStatus.DONE, RefundStatus.FAILED}),
    #: Retried; sent by hand; or found done after all.
    RefundStatus.FAILED: frozenset({RefundStatus.REQUESTED, RefundStatus.DONE}),
    RefundStatus.BY_HAND: frozenset({RefundStatus.DONE}),
    RefundStatus.DONE: frozenset(),
}

#: Payments that may still bring money while nobody has heard of it.
OPEN_PAYMENTS = frozenset(
    {PaymentStatus.QUEUED, PaymentStatus.SUBMITTING, PaymentStatus.PROMPTED, PaymentStatus.UNKNOWN}
)


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
    #: Up to how many hours before the start its organizer may refund orders; empty is never.
    refund_until_hours: Mapped[int | None] = mapped_column(BigInteger().evaluates_none(), default=0)

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
        CheckConstraint("refund_until_hours >= 0", name="refund_hours_not_negative"),
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
    refunds: Mapped[list[Refund]] = relationship(lazy="raise", order_by="Refund.id", viewonly=True)

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
    """Money, or the chance of it: a prompt on a phone, or one payment by Paybill. A receipt is one payment.

    Its status is moved under its order's row lock, by `services.settlement` and `services.prompts` alone. Money that
    names no order of ours has no order; it waits, in quarantine, for a person.
    """

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    method: Mapped[PaymentMethod] = mapped_column(_one_of(PaymentMethod), default=PaymentMethod.PROMPT)
    #: The number the prompt went to.
    phone: Mapped[str | None]
    amount_kes: Mapped[int]
    #: The account number that money which came by itself was paid to, as it was typed.
    typed_reference: Mapped[str | None]
    #: The payer's number as Safaricom reports it: whole, masked or hashed.
    payer: Mapped[str | None]

    #: SHA-256 of the secret in its callback address.
    callback_token_hash: Mapped[bytes | None] = mapped_column(LargeBinary, unique=True)
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

    #: Of its money, what is on its way back or has arrived there.
    refunded_kes: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: When its turn in our own queue comes.
    push_at: Mapped[datetime | None]
    #: When its push went out.
    pushed_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    #: When M-PESA's own list of transactions, or its statement, showed the receipt.
    reconciled_at: Mapped[datetime | None]
    #: When a newer prompt took its place; this one is still watched, and its money still counts.
    superseded_at: Mapped[datetime | None]
    #: When to ask Daraja about it next; empty when there is nothing left to ask.
    next_query_at: Mapped[datetime | None]
    queries: Mapped[int] = mapped_column(default=0)
    #: When the public callback address last made us ask.
    hinted_at: Mapped[datetime | None]

    order: Mapped[Order | None] = relationship(lazy="raise", back_populates="payments")
    refunds: Mapped[list[Refund]] = relationship(lazy="raise", back_populates="payment", order_by="Refund.id")

    __table_args__ = (
        CheckConstraint("amount_kes > 0", name="amount_positive"),
        CheckConstraint(
            "method = 'paybill' OR (order_id IS NOT NULL AND phone IS NOT NULL AND callback_token_hash IS NOT NULL)",
            name="prompt_has_order_phone_and_secret",
        ),
        CheckConstraint("method = 'prompt' OR receipt IS NOT NULL", name="paybill_money_has_a_receipt"),
        CheckConstraint(
            "order_id IS NOT NULL OR status IN ('quarantined', 'paid', 'reversed')", name="orphan_money_waits_or_left"
        ),
        CheckConstraint("refunded_kes >= 0 AND refunded_kes <= amount_kes", name="never_more_back_than_came"),
        Index(
            "one_live_prompt_per_order",
            "order_id",
            unique=True,
            postgresql_where="status IN ('queued', 'submitting', 'prompted', 'unknown') AND superseded_at IS NULL",
        ),
        Index(None, "order_id", "id"),
        Index(None, "phone", "created_at"),
        Index(None, "created_at", "id"),
        Index("payments_noted_idx", "id", postgresql_where="note IS NOT NULL"),
        Index("payments_queued_idx", "push_at", postgresql_where="status = 'queued'"),
        Index(
            "payments_unreconciled_idx",
            "paid_at",
            postgresql_where="status = 'paid' AND reconciled_at IS NULL",
        ),
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


class Refund(Model):
    """Money of one payment that goes back. Started, under the order's row lock, by `services.refunds` alone."""

    __tablename__ = "refunds"

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"))
    #: The payment's order, if it has one.
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    amount_kes: Mapped[int]
    method: Mapped[RefundMethod] = mapped_column(_one_of(RefundMethod))
    #: Why, as one word: "sold_out", "paid_twice", "event_cancelled", "requested".
    reason: Mapped[str]
    #: Empty when it goes back without anyone asking.
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    status: Mapped[RefundStatus] = mapped_column(_one_of(RefundStatus), default=RefundStatus.REQUESTED)
    result_code: Mapped[str | None]
    #: Why a person has to look, or what became of it, in a sentence for the admin.
    note: Mapped[str | None]
    #: M-PESA's receipt of the money going back.
    receipt: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    sent_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    #: When the worker looks after it next: to send it, or to ask what became of it. Made without, it has none.
    next_look_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True).evaluates_none(), default=clock.now)
    #: How often M-PESA was asked what became of the present try.
    looks: Mapped[int] = mapped_column(default=0)

    payment: Mapped[Payment] = relationship(lazy="raise", back_populates="refunds")

    __table_args__ = (
        CheckConstraint("amount_kes > 0", name="refund_positive"),
        Index(None, "payment_id"),
        Index(None, "order_id"),
        Index(None, "status", "id"),
        Index("refunds_to_look_after_idx", "next_look_at", postgresql_where="next_look_at IS NOT NULL"),
    )

    def move_to(self, status: RefundStatus) -> None:
        """Raises ForbiddenMove unless REFUND_MOVES lists it."""
        if status not in REFUND_MOVES[self.status]:
            raise ForbiddenMove(f"refund {self.id}: {self.status.value} → {status.value}")
        self.status = status


class MpesaRequest(Model):
    """One thing we asked Daraja whose result is posted later. Written down, with its ids, before it is sent."""

    __tablename__ = "mpesa_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[RequestKind] = mapped_column(_one_of(RequestKind))
    #: The refund it carries out or asks about.
    refund_id: Mapped[int | None] = mapped_column(ForeignKey("refunds.id"))
    #: The transaction it is about.
    receipt: Mapped[str | None]
    #: SHA-256 of the secret in its result address.
    result_token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    #: Ours where Daraja lets us choose it, else Daraja's.
    originator_conversation_id: Mapped[str | None] = mapped_column(unique=True)
    #: Daraja's; a result is believed only if it names it.
    conversation_id: Mapped[str | None]
    status: Mapped[RequestStatus] = mapped_column(_one_of(RequestStatus), default=RequestStatus.SENDING)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    answered_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "refund_id"), Index(None, "receipt"))


class MpesaMessage(Model):
    """One thing Safaricom said, exactly as it came. Stored before anything else; only its verdict is added later."""

    __tablename__ = "mpesa_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: What it came about, where its address or our question says so.
    payment_id: Mapped[int | None] = mapped_column(ForeignKey("payments.id"))
    request_id: Mapped[int | None] = mapped_column(ForeignKey("mpesa_requests.id"))
    #: The one transaction it tells of, where it came about none of these.
    receipt: Mapped[str | None]
    channel: Mapped[MessageChannel] = mapped_column(_one_of(MessageChannel))
    #: Bytes, since what comes need be neither JSON nor text.
    body: Mapped[bytes] = mapped_column(LargeBinary)
    #: The answer's HTTP status, for what we asked ourselves.
    http_status: Mapped[int | None]
    remote_address: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(default=clock.now)

    settled_at: Mapped[datetime | None]
    #: How often settling it has failed, and when to try again.
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    #: What it was taken to mean: a verdict's name and reason.
    verdict: Mapped[str | None]

    __table_args__ = (
        Index(None, "payment_id", "id"),
        Index(None, "request_id"),
        Index("mpesa_messages_receipt_idx", "receipt", postgresql_where="receipt IS NOT NULL"),
        Index("mpesa_messages_to_settle_idx", "id", postgresql_where="settled_at IS NULL"),
    )


class Claim(Model):
    """A buyer says that the money with this receipt was for this order."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    receipt: Mapped[str]
    status: Mapped[ClaimStatus] = mapped_column(_one_of(ClaimStatus), default=ClaimStatus.OPEN)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    order: Mapped[Order] = relationship(lazy="raise")
    user: Mapped[User] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("order_id", "receipt"),
        Index(None, "user_id", "created_at"),
        Index("claims_open_idx", "receipt", postgresql_where="status = 'open'"),
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
    voided_at: Mapped[datetime | None]
    #: The refund that carries its price back.
    refund_id: Mapped[int | None] = mapped_column(ForeignKey("refunds.id"))

    order: Mapped[Order] = relationship(lazy="raise")
    ticket_type: Mapped[TicketType] = relationship(lazy="raise")

    __table_args__ = (
        CheckConstraint("(status = 'void') = (voided_at IS NOT NULL)", name="void_since_a_moment"),
        Index(None, "order_id"),
        Index(None, "ticket_type_id"),
        Index(None, "refund_id"),
    )


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


class MpesaLine(Model):
    """How things stand between us and Daraja, for all processes. One row."""

    __tablename__ = "mpesa_line"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: When the next push may go out.
    next_push_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: Pushes in a row that Daraja failed to take.
    failures: Mapped[int] = mapped_column(default=0)
    #: Until when no push is tried, since they fail.
    rests_until: Mapped[datetime | None]
    #: Up to when all our transactions have been pulled, and when to pull again.
    pulled_until: Mapped[datetime | None]
    next_pull_at: Mapped[datetime | None]
    #: When the daily report was made last.
    reported_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint("id = 1", name="one_line"),)


class IdempotencyKey(Model):
    """A request that may be repeated, and its answer once there is one."""

    __tablename__ = "idempotency_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    key: Mapped[str]
    #: SHA-256 of method, path and body: the same key means the same request.
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    #: Until when whoever took it is thought to be at work on it.
    working_until: Mapped[datetime]
    status: Mapped[int | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (UniqueConstraint("user_id", "key"), Index(None, "created_at"))


class Alert(Model):
    """Something an admin has to know. Written with what it is about; the worker sends it to ALERT_URL."""

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: One word: "refund_failed", "payment_quarantined", "silent_callbacks", "initiator_password".
    kind: Mapped[str]
    message: Mapped[str]
    target_type: Mapped[str | None]
    target_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    sent_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    #: Empty once it is sent or given up.
    next_try_at: Mapped[datetime | None] = mapped_column(default=clock.now)

    __table_args__ = (
        Index(None, "kind", "created_at"),
        Index("alerts_to_send_idx", "next_try_at", postgresql_where="next_try_at IS NOT NULL"),
    )


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
