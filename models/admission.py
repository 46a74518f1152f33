"""Admission: what lets a person in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from models.catalogue import Event, TicketType
from models.columns import one_of
from models.orders import Order
from models.states import Direction, ScanResult, TicketStatus, TransferStatus
from utils import clock
from utils.database import Model


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
    #: Either may be "" once it was passed on: who got it through one of them has not told the other. And both are when
    #: attendees are forgotten.
    email: Mapped[str]
    phone: Mapped[str]

    #: Whose account holds it; empty for who got it without logging in, whose `email` or `phone` is proven then.
    holder_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    #: When it was passed on last; empty while who bought it holds it.
    passed_on_at: Mapped[datetime | None]
    #: Since when whoever got it agrees that its price goes back to who bought it.
    refund_agreed_at: Mapped[datetime | None]

    #: Grows when the ticket is issued anew; what was shown or printed before is superseded then.
    rotation: Mapped[int] = mapped_column(SmallInteger, default=1)

    status: Mapped[TicketStatus] = mapped_column(one_of(TicketStatus), default=TicketStatus.VALID)
    #: The very moment at which its order was paid (`Order.paid_at`).
    issued_at: Mapped[datetime] = mapped_column(default=clock.now)
    checked_in_at: Mapped[datetime | None]
    #: When its holder went out; empty while he is in, or has not come.
    left_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    #: When M-PESA took back its money although it had been used: it is not void, but counts no more.
    taken_back_at: Mapped[datetime | None]
    #: The refund that carries its price back.
    refund_id: Mapped[int | None] = mapped_column(ForeignKey("refunds.id"))
    #: For devices at the gate, which ask what is new.
    changed_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)

    order: Mapped[Order] = relationship(lazy="raise")
    ticket_type: Mapped[TicketType] = relationship(lazy="raise")

    __table_args__ = (
        CheckConstraint("(status = 'void') = (voided_at IS NOT NULL)", name="void_since_a_moment"),
        CheckConstraint("taken_back_at IS NULL OR status = 'used'", name="taken_back_though_used"),
        CheckConstraint("refund_agreed_at IS NULL OR passed_on_at IS NOT NULL", name="who_got_it_agrees"),
        Index(None, "order_id"),
        Index(None, "holder_id", "id"),
        Index(None, "ticket_type_id", "id"),
        Index(None, "ticket_type_id", "changed_at"),
        Index(None, "refund_id"),
        Index(None, "issued_at"),
        Index(
            "tickets_ended_at_idx",
            text("COALESCE(voided_at, taken_back_at)"),
            postgresql_where="COALESCE(voided_at, taken_back_at) IS NOT NULL",
        ),
    )

    @property
    def is_checked_in(self) -> bool:
        return self.status is TicketStatus.USED


class SupersededCode(Model):
    """A code that a ticket had before it was issued anew. It never becomes another ticket's."""

    __tablename__ = "superseded_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
    code: Mapped[str] = mapped_column(unique=True)
    superseded_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (Index(None, "ticket_id"),)


class Transfer(Model):
    """A ticket that its holder passes on, or wanted to. Rows stay: they are the chain of who held it.

    Its address for the receiver is made out of its id and SECRET_KEY: nothing here opens it.
    """

    __tablename__ = "transfers"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))

    #: Who passes it on: as the ticket named and reached them, and their account if they have one.
    from_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    from_name: Mapped[str]
    from_email: Mapped[str]
    from_phone: Mapped[str]

    #: Where the address was sent: one of the two.
    to_email: Mapped[str | None]
    to_phone: Mapped[str | None]
    #: Who it is for, as the sender says, or who came.
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    #: The account that accepted; empty for who did without one.
    to_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    status: Mapped[TransferStatus] = mapped_column(one_of(TransferStatus), default=TransferStatus.OFFERED)
    offered_at: Mapped[datetime] = mapped_column(default=clock.now)
    ended_at: Mapped[datetime | None]

    ticket: Mapped[Ticket] = relationship(lazy="raise")

    __table_args__ = (
        CheckConstraint("(to_email IS NULL) <> (to_phone IS NULL)", name="offered_one_way"),
        CheckConstraint("(status = 'offered') = (ended_at IS NULL)", name="offered_until_it_ends"),
        Index("one_offer_of_a_ticket", "ticket_id", unique=True, postgresql_where="status = 'offered'"),
        Index(None, "ticket_id", "id"),
        Index(None, "from_id"),
        Index(None, "to_id"),
    )

    @property
    def receiver(self) -> str | None:
        """Who has got it; nobody until it is accepted."""
        return f"{self.first_name} {self.last_name}" if self.status is TransferStatus.ACCEPTED else None

    @property
    def channel(self) -> str:
        """How its address was sent."""
        return "email" if self.to_email else "sms"


class TicketKey(Model):
    """A key pair that tickets of one event are signed with. Older ones still verify."""

    __tablename__ = "ticket_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    #: Ed25519, 32 bytes.
    public_key: Mapped[bytes]
    #: Nonce and ciphertext, under a key derived from SECRET_KEY.
    sealed_private_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (Index(None, "event_id", "id"),)


class GatePass(Model):
    """Lets somebody without an account work at the gates of one event. Who has its secret has the pass."""

    __tablename__ = "gate_passes"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    made_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    #: Whose it is, or which phone's.
    name: Mapped[str]
    #: Where it works; empty is everywhere.
    gates: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret_hash: Mapped[bytes] = mapped_column(unique=True)

    #: Empty: as long as the event's gates are open, whenever that will be.
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    #: When it was scanned with last, only if a query asks for it.
    last_used_at: Mapped[datetime | None] = query_expression()

    event: Mapped[Event] = relationship(lazy="raise")

    __table_args__ = (Index(None, "event_id", "id"),)


class Scan(Model):
    """Something was held up at a gate, and what became of it. Written by `services.scans`; never changed."""

    __tablename__ = "scans"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    #: Empty when it is no ticket of this event.
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"))
    #: Of what is no ticket: enough of its SHA-256 to recognise it.
    presented_hash: Mapped[bytes | None]

    #: Who scanned: one of the two.
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    gate_pass_id: Mapped[int | None] = mapped_column(ForeignKey("gate_passes.id", ondelete="CASCADE"))
    gate: Mapped[str | None]
    device: Mapped[str | None]
    #: The device's name for it: sent again, it is answered again. Empty for what no device sent.
    nonce: Mapped[str | None]

    direction: Mapped[Direction] = mapped_column(one_of(Direction), default=Direction.IN)
    result: Mapped[ScanResult] = mapped_column(one_of(ScanResult))
    #: A double entry: a device without network let in who was in already.
    is_conflict: Mapped[bool] = mapped_column(default=False)
    #: When and where its ticket was used first, as was answered.
    used_at: Mapped[datetime | None]
    used_gate: Mapped[str | None]
    #: The scan that this one takes back.
    undoes_id: Mapped[int | None] = mapped_column(ForeignKey("scans.id", ondelete="CASCADE"))

    #: By the device's clock, but never later than it was received.
    scanned_at: Mapped[datetime] = mapped_column(default=clock.now)
    received_at: Mapped[datetime] = mapped_column(default=clock.now)

    ticket: Mapped[Ticket | None] = relationship(lazy="raise")
    event: Mapped[Event] = relationship(lazy="raise")

    __table_args__ = (
        CheckConstraint("(result = 'undone') = (undoes_id IS NOT NULL)", name="undone_is_of_a_scan"),
        CheckConstraint("(user_id IS NULL) <> (gate_pass_id IS NULL)", name="scanned_by_one"),
        Index("one_scan_of_a_nonce", "event_id", "nonce", unique=True),
        Index("one_undoing_of_a_scan", "undoes_id", unique=True),
        Index(None, "ticket_id", "id"),
        Index(None, "event_id", "scanned_at"),
        Index(None, "gate_pass_id", "received_at"),
    )
