"""People: who has a login."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.columns import one_of
from models.states import AccountStatus, Role
from utils import clock
from utils.database import Model


class User(Model):
    """A person with a login. Written by sign-up, the owner and admins."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    last_name: Mapped[str]
    #: Always lower case, so that unique means unique.
    email: Mapped[str] = mapped_column(unique=True)
    #: `2547XXXXXXXX` or `2541XXXXXXXX`; of a deleted account, `deleted-<id>`.
    phone: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[Role] = mapped_column(one_of(Role), default=Role.ATTENDEE)
    status: Mapped[AccountStatus] = mapped_column(one_of(AccountStatus), default=AccountStatus.ACTIVE)
    #: Which of its calendar addresses is the one that works.
    calendar_version: Mapped[int] = mapped_column(default=1)
    #: Kinds of notifications that it does not want.
    muted_notifications: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    #: When somebody who can read what comes to `email` said so; None again with another address.
    email_verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_in_lower_case"),
        Index("users_deleted_idx", "id", postgresql_where="status = 'deleted'"),
        CheckConstraint("status = 'deleted' OR phone ~ '^254[17][0-9]{8}$'", name="phone_is_kenyan"),
    )

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


class Consent(Model):
    """One time that a person agreed to something, or took it back. Written by `services.consents`; never changed."""

    __tablename__ = "consents"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    #: The name of the terms, or a kind of notification.
    purpose: Mapped[str]
    is_given: Mapped[bool]
    ip_address: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    __table_args__ = (Index(None, "user_id", "id"),)
