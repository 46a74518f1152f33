"""Sales: the money of orders, in and back out, and what we and Safaricom said of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.columns import one_of
from models.orders import Order
from models.people import User
from models.states import (
    OPEN_PAYMENTS,
    PAYMENT_MOVES,
    REFUND_MOVES,
    ClaimStatus,
    ForbiddenMove,
    MessageChannel,
    PaymentMethod,
    PaymentStatus,
    RefundMethod,
    RefundStatus,
    RequestKind,
    RequestStatus,
)
from utils import clock
from utils.database import Model


class Payment(Model):
    """Money, or the chance of it: a prompt on a phone, or one payment by Paybill. A receipt is one payment.

    Its status is moved under its order's row lock, by `services.settlement` and `services.prompts` alone. Money that
    names no order of ours has no order; it waits, in quarantine, for a person.
    """

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    method: Mapped[PaymentMethod] = mapped_column(one_of(PaymentMethod), default=PaymentMethod.PROMPT)
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

    status: Mapped[PaymentStatus] = mapped_column(one_of(PaymentStatus), default=PaymentStatus.SUBMITTING)
    #: M-PESA's result code, as text: "0", "1032", "SFC_IC0003", "500.001.1001".
    result_code: Mapped[str | None]
    #: What became of it, in a sentence for its buyer.
    result_text: Mapped[str | None]
    #: Why a person has to look, in a sentence for the admin.
    note: Mapped[str | None]
    #: How we know it is paid.
    paid_through: Mapped[MessageChannel | None] = mapped_column(one_of(MessageChannel))

    #: Of its money, what is on its way back or has arrived there.
    refunded_kes: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: When its turn in our own queue comes.
    push_at: Mapped[datetime | None]
    #: When its push went out.
    pushed_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    #: When the money moved by M-PESA's own clock, where that was told of money that came by itself.
    moved_at: Mapped[datetime | None]
    #: When an admin last took it off the suspense list.
    seen_at: Mapped[datetime | None]
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
        Index("payments_in_quarantine_idx", "id", postgresql_where="status = 'quarantined'"),
        Index("payments_queued_idx", "push_at", postgresql_where="status = 'queued'"),
        Index(
            "payments_unreconciled_idx",
            "paid_at",
            postgresql_where="status = 'paid' AND reconciled_at IS NULL",
        ),
        Index("payments_to_query_idx", "next_query_at", postgresql_where="next_query_at IS NOT NULL"),
        Index(
            "payments_open_idx",
            "created_at",
            postgresql_where="status IN ('queued', 'submitting', 'prompted', 'unknown')",
        ),
        Index("payments_paid_at_idx", "paid_at", postgresql_where="paid_at IS NOT NULL"),
    )

    def move_to(self, status: PaymentStatus) -> None:
        """Raises ForbiddenMove unless PAYMENT_MOVES lists it."""
        if status not in PAYMENT_MOVES[self.status]:
            raise ForbiddenMove(f"payment {self.id}: {self.status.value} → {status.value}")
        self.status = status

    @property
    def is_queued(self) -> bool:
        """Whether its prompt waits for its turn: nothing has been sent then."""
        return self.status is PaymentStatus.QUEUED

    @property
    def is_under_review(self) -> bool:
        """Whether its money waits for a person's decision: none of it does that goes back, or went."""
        return self.status is PaymentStatus.QUARANTINED and self.refunded_kes < self.amount_kes

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
    method: Mapped[RefundMethod] = mapped_column(one_of(RefundMethod))
    #: Why, as one word: "sold_out", "paid_twice", "event_cancelled", "requested".
    reason: Mapped[str]
    #: Empty when it goes back without anyone asking.
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    status: Mapped[RefundStatus] = mapped_column(one_of(RefundStatus), default=RefundStatus.REQUESTED)
    result_code: Mapped[str | None]
    #: Why a person has to look, or what became of it, in a sentence for the admin.
    note: Mapped[str | None]
    #: M-PESA's receipt of the money going back.
    receipt: Mapped[str | None]

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: When it first went out, since a person last asked for it.
    sent_at: Mapped[datetime | None]
    #: When it arrived. One that is done without never went out: M-PESA took the whole payment back itself.
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
        Index("refunds_done_at_idx", "done_at", postgresql_where="done_at IS NOT NULL"),
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
    kind: Mapped[RequestKind] = mapped_column(one_of(RequestKind))
    #: The refund it carries out or asks about.
    refund_id: Mapped[int | None] = mapped_column(ForeignKey("refunds.id"))
    #: The transaction it is about.
    receipt: Mapped[str | None]
    #: SHA-256 of the secret in its result address.
    result_token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    #: Ours where Daraja lets us choose it, else Daraja's. Empty for a payout that is sent once more: it has the id of
    #: the one before it.
    originator_conversation_id: Mapped[str | None] = mapped_column(unique=True)
    #: Daraja's; a result is believed only if it names it.
    conversation_id: Mapped[str | None]
    status: Mapped[RequestStatus] = mapped_column(one_of(RequestStatus), default=RequestStatus.SENDING)
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
    channel: Mapped[MessageChannel] = mapped_column(one_of(MessageChannel))
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
    #: When the people were taken out of it, since it was old.
    blanked_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "payment_id", "id"),
        Index(None, "request_id"),
        Index("mpesa_messages_receipt_idx", "receipt", postgresql_where="receipt IS NOT NULL"),
        Index("mpesa_messages_to_blank_idx", "received_at", postgresql_where="blanked_at IS NULL"),
        Index("mpesa_messages_to_settle_idx", "id", postgresql_where="settled_at IS NULL"),
    )


class Claim(Model):
    """A buyer says that the money with this receipt was for this order."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    receipt: Mapped[str]
    status: Mapped[ClaimStatus] = mapped_column(one_of(ClaimStatus), default=ClaimStatus.OPEN)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    order: Mapped[Order] = relationship(lazy="raise")
    user: Mapped[User] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("order_id", "receipt"),
        Index(None, "user_id", "created_at"),
        Index("claims_open_idx", "receipt", postgresql_where="status = 'open'"),
    )
