"""Notifications: what people are told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.columns import one_of
from models.states import NotificationChannel, NotificationKind, NotificationState
from utils import clock
from utils.database import Model


class Notification(Model):
    """One message to one person by one channel. Written in the transaction of what it tells, by
    `services.notifications`; sent by the worker, through `services.delivery`."""

    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: The occasion, the person and the channel: what is told once is not told again.
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[NotificationKind] = mapped_column(one_of(NotificationKind))
    channel: Mapped[NotificationChannel] = mapped_column(one_of(NotificationChannel))
    #: Empty for who has no account: a ticket was passed on to them.
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    #: E-mail address or phone number, as it was on the occasion.
    address: Mapped[str]
    #: What there is to tell, as it was on the occasion; `services.letters` says it in words.
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)

    state: Mapped[NotificationState] = mapped_column(one_of(NotificationState), default=NotificationState.QUEUED)
    tries: Mapped[int] = mapped_column(default=0)
    #: When it may be tried next. While somebody is at it, this is when they are given up for dead.
    next_try_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    #: Why it is not there yet, or never will be.
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        CheckConstraint("(state = 'queued') = (next_try_at IS NOT NULL)", name="tried_again_while_queued"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at_a_moment"),
        Index("notifications_to_send_idx", "channel", "next_try_at", "id", postgresql_where="state = 'queued'"),
        Index(None, "kind", "id"),
        Index(None, "state", "id"),
        Index(None, "user_id", "id"),
        Index(None, "address", "id"),
    )
