"""Community: what attendees say and what they keep an eye on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.catalogue import Event
from models.people import User
from utils import clock
from utils.database import Model


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


class SavedEvent(Model):
    """An event that somebody wants to find again. Its user alone makes and removes it."""

    __tablename__ = "saved_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)

    event: Mapped[Event] = relationship(lazy="raise")

    __table_args__ = (
        UniqueConstraint("user_id", "event_id", name="saved_once"),
        Index(None, "event_id"),
    )
