"""Admission: what lets a person in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.catalogue import TicketType
from models.columns import one_of
from models.orders import Order
from models.states import TicketStatus
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
    email: Mapped[str]
    phone: Mapped[str]

    #: Grows when the ticket is issued anew; what was shown or printed before is superseded then.
    rotation: Mapped[int] = mapped_column(SmallInteger, default=1)

    status: Mapped[TicketStatus] = mapped_column(one_of(TicketStatus), default=TicketStatus.VALID)
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
        Index(None, "ticket_type_id", "id"),
        Index(None, "refund_id"),
    )

    @property
    def is_checked_in(self) -> bool:
        return self.status is TicketStatus.USED


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
