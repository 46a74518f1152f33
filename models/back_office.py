"""Back office: what Ticksy keeps to run itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.people import User
from utils import clock
from utils.database import Model


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
    #: When the worker may ask about silent prompts again.
    next_sweep_at: Mapped[datetime | None]
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
    #: What its work placed or prompted: written in that work's own transaction, so that it is known to be done even if
    #: nobody lived to give the answer.
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    status: Mapped[int | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (UniqueConstraint("user_id", "key"), Index(None, "created_at"))


class Counter(Model):
    """How much of something has been spent, by whom or about what. Written by `services.limits`."""

    __tablename__ = "counters"

    #: One word: what is limited.
    purpose: Mapped[str] = mapped_column(primary_key=True)
    #: HMAC-SHA-256 of an e-mail address, a poll id or the like: nobody reads it from here.
    subject_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    #: When all that was spent will have come back, and the row means nothing any more.
    ends_at: Mapped[datetime]

    __table_args__ = (Index(None, "ends_at"),)


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

    user: Mapped[User | None] = relationship(lazy="raise")

    __table_args__ = (
        Index(None, "target_type", "target_id"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "action", "created_at", "id"),
        Index(None, "created_at", "id"),
    )

    @property
    def user_name(self) -> str:
        """Who did it; needs `user`."""
        return f"{self.user.first_name} {self.user.last_name}" if self.user else "Ticksy"
