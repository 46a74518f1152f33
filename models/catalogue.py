"""Catalogue: events and what is on sale for them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKey, Index, inspect, literal, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.event import listens_for
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship

from models.columns import one_of
from models.people import User
from models.states import EVENT_MOVES, EventStatus, ForbiddenMove
from utils import clock
from utils.database import Model

#: What stands between words, as a regular expression that Python and PostgreSQL read alike: punctuation and symbols.
#: PostgreSQL's own parser would make one word of "Node.js", of "24/7", and of words around a long dash.
BETWEEN_WORDS = "[!-/:-@[-`{-\u00bf\u2000-\u2bff\u3000-\u303f\U0001f000-\U0001faff]+"
#: Written as PostgreSQL prints it back, so that Alembic sees no difference.
_WORDS = (
    "regexp_replace(((((((title || ' '::text) || COALESCE(tags, ''::text)) || ' '::text) || location) || ' '::text)"
    f" || description), '{BETWEEN_WORDS}'::text, ' '::text, 'g'::text)"
)


class EventRules:
    """What follows from an event's facts, however they were read."""

    if TYPE_CHECKING:
        id: Any
        organizer_id: Any
        status: Any
        starts_at: Any
        ends_at: Any
        ticket_types: Any

    def is_run_by(self, user: User | None) -> bool:
        """Whether the user is its organizer or an admin."""
        return user is not None and bool(self.organizer_id == user.id or user.is_admin)

    @property
    def has_started(self) -> bool:
        return bool(self.starts_at <= clock.now())

    @property
    def is_over(self) -> bool:
        return bool(self.ends_at <= clock.now())

    @property
    def lowest_price_kes(self) -> int | None:
        return min((ticket_type.price_kes for ticket_type in self.ticket_types), default=None)

    @property
    def attendee_count(self) -> int:
        """Tickets sold."""
        return sum(ticket_type.sold for ticket_type in self.ticket_types)


class TicketTypeRules:
    """What follows from a ticket type's facts and its event's, however they were read."""

    if TYPE_CHECKING:
        quantity: Any
        sold: Any
        held: Any
        held_by_ended: Any
        sales_start_at: Any
        sales_end_at: Any
        event: Any

    @property
    def available(self) -> int:
        """Places one could order now, as true as the query that loaded `held_by_ended`."""
        return int(self.quantity - self.sold - self.held + (self.held_by_ended or 0))

    @property
    def is_on_sale(self) -> bool:
        """Whether its event and its sales period let it be ordered now, stock aside."""
        now = clock.now()
        return bool(
            self.event.status is EventStatus.APPROVED
            and not self.event.has_started
            and (self.sales_start_at is None or self.sales_start_at <= now)
            and (self.sales_end_at is None or now < self.sales_end_at)
        )


class Event(EventRules, Model):
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

    status: Mapped[EventStatus] = mapped_column(one_of(EventStatus), default=EventStatus.PENDING)
    #: Why an admin rejected it; for the organizer's eyes.
    rejection_reason: Mapped[str | None]
    #: Up to how many hours before the start its organizer may refund orders; empty is never.
    refund_until_hours: Mapped[int | None] = mapped_column(BigInteger().evaluates_none(), default=0)
    #: Up to how many hours before the start tickets may be passed on; empty is never.
    transfer_until_hours: Mapped[int | None] = mapped_column(BigInteger().evaluates_none(), default=0)
    #: Whether who went out at the gate may come in again.
    allows_reentry: Mapped[bool] = mapped_column(default=False)

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)
    #: Grows with every change that concerns calendars (RFC 5545, 3.8.7.4).
    calendar_sequence: Mapped[int] = mapped_column(default=0)
    #: Called off while everybody could see it: its calendar file goes on to say so.
    cancelled_in_public: Mapped[bool] = mapped_column(default=False)
    #: When who holds a ticket was reminded of it as it is now, and invited to review it.
    reminded_at: Mapped[datetime | None]
    reviews_invited_at: Mapped[datetime | None]
    #: When those without an account were taken out of its tickets and orders.
    attendees_forgotten_at: Mapped[datetime | None]

    search_words: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            f"(to_tsvector('english'::regconfig, {_WORDS}) || to_tsvector('simple'::regconfig, {_WORDS}))",
            persisted=True,
        ),
        deferred=True,
        deferred_raiseload=True,
    )

    #: Of its reviews, one to five with one decimal; with their number there only if a query asks for it.
    rating: Mapped[float | None] = query_expression()
    review_count: Mapped[int] = query_expression(default_expr=literal(0))

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
        CheckConstraint("transfer_until_hours >= 0", name="transfer_hours_not_negative"),
        Index(None, "organizer_id"),
        # Each says of an event whether it is over, so that those are passed over without being read.
        Index("events_public_idx", "starts_at", "id", "ends_at", postgresql_where="status = 'approved'"),
        Index("events_newest_idx", "created_at", "id", "ends_at", postgresql_where="status = 'approved'"),
        Index(
            "events_of_category_idx",
            text("lower(category)"),
            "starts_at",
            "id",
            "ends_at",
            postgresql_where="status = 'approved'",
        ),
        Index("events_cancelled_idx", "id", postgresql_where="status = 'cancelled'"),
        Index("events_pending_idx", "created_at", "id", postgresql_where="status = 'pending'"),
        Index("events_to_forget_idx", "ends_at", "id", postgresql_where="attendees_forgotten_at IS NULL"),
        Index("events_search_words_idx", "search_words", postgresql_using="gin"),
    )

    def move_to(self, status: EventStatus) -> None:
        """Raises ForbiddenMove unless EVENT_MOVES lists it."""
        if status not in EVENT_MOVES[self.status]:
            raise ForbiddenMove(f"event {self.id}: {self.status.value} → {status.value}")
        if status is EventStatus.CANCELLED:
            self.cancelled_in_public = self.status is EventStatus.APPROVED
        self.status = status


#: What a calendar shows of an event.
_IN_CALENDARS = ("title", "description", "location", "starts_at", "ends_at", "status")


@listens_for(Event, "before_update")
def _count_edit(_mapper: Any, _connection: Any, event: Event) -> None:
    """Here, not in the services: calendars that miss one edit keep showing what was before it."""
    state = inspect(event)
    if any(state.attrs[name].history.has_changes() for name in _IN_CALENDARS):
        event.calendar_sequence += 1


class TicketType(TicketTypeRules, Model):
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
