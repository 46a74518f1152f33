"""Credentials: where people are logged in, and what they prove with that it is them. Secrets are kept as hashes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, query_expression

from models.columns import one_of
from models.states import SessionEnd, TokenPurpose
from utils import clock
from utils.database import Model


class Session(Model):
    """One log-in on one device: the family of its refresh tokens, of which the newest is good, and of the access tokens
    that name it. Written by `services.sessions`."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    #: Of the half of its refresh tokens that stays, by which an old one is known for one of this family.
    family_hash: Mapped[bytes] = mapped_column(unique=True)
    #: Of the other half, of the token that is good now, and of the one before.
    refresh_hash: Mapped[bytes]
    previous_refresh_hash: Mapped[bytes | None]
    #: What the program said it is, cut short.
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: When it was opened or last refreshed.
    last_used_at: Mapped[datetime] = mapped_column(default=clock.now)
    #: Until when it can be refreshed; later with each time.
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[SessionEnd | None] = mapped_column(one_of(SessionEnd))

    #: Whether it is the one that asks; where a query says so.
    is_current: Mapped[bool] = query_expression()

    __table_args__ = (
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by_something"),
        Index("open_sessions_idx", "user_id", "last_used_at", "id", postgresql_where="ended_at IS NULL"),
        Index(None, "user_id"),
        Index(None, "expires_at"),
        Index("ended_sessions_idx", "ended_at", postgresql_where="ended_at IS NOT NULL"),
    )


class OneTimeToken(Model):
    """A secret that was mailed to somebody, to be used once. Written by `services.one_time`."""

    __tablename__ = "one_time_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[TokenPurpose] = mapped_column(one_of(TokenPurpose))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    #: The e-mail address that it is about, to which it was mailed: who uses it can read what comes there.
    address: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    expires_at: Mapped[datetime]
    #: When it was used, or a newer one took its place.
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        # Of each change of an address there may be one to undo it: a second change must not take the first one's.
        Index(
            "only_the_newest_is_good",
            "user_id",
            "purpose",
            unique=True,
            postgresql_where="ended_at IS NULL AND purpose <> 'undo_email_change'",
        ),
        Index(None, "user_id", "id"),
        Index(None, "expires_at"),
    )


class ResetRequest(Model):
    """Somebody who says that he forgot his password. Whether he has an account is looked up after the answer."""

    __tablename__ = "reset_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    #: As it was typed, in lower case.
    email: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class TwoFactor(Model):
    """What the six digits of somebody's app are made of, and codes for when that is lost. Written by its owner."""

    __tablename__ = "two_factors"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    #: Sealed with SECRET_KEY: it has to be read to be used.
    sealed_secret: Mapped[bytes]
    #: Not asked for until its owner has shown once that the app has it.
    confirmed_at: Mapped[datetime | None]
    #: The half minute (since 1970) of the last code that was used: no code is good twice.
    last_step: Mapped[int | None]
    #: Of the codes that are left.
    recovery_hashes: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), default=list)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
