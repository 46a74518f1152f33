"""Reviews: what people who were there say."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from models import Review, TicketStatus, User
from services import admission, audit, events
from utils.database import transaction, violated
from utils.errors import Conflict, Forbidden


def list_reviews(*, actor: User | None, event_id: int) -> Select[tuple[Review]]:
    """Of an event the actor may see, newest first. Raises NotFound."""
    events.get_event(actor=actor, event_id=event_id)
    return (
        select(Review)
        .where(Review.event_id == event_id)
        .options(joinedload(Review.attendee))
        .order_by(Review.id.desc())
    )


def write_review(*, actor: User, event_id: int, rating: int, comment: str | None) -> Review:
    """One for each person, of an event that has started. Raises NotFound, Forbidden without a ticket, Conflict."""
    event = events.get_event(actor=actor, event_id=event_id)
    held = (TicketStatus.VALID, TicketStatus.USED)
    if not admission.holds_ticket(user=actor, event_id=event_id, statuses=held):
        raise Forbidden("Only people with a ticket can review an event.", code="no_ticket")
    if not event.has_started:
        raise Conflict("You can review this event once it has started.", code="event_not_started")
    try:
        with transaction() as session:
            review = Review(event_id=event_id, attendee=actor, rating=rating, comment=comment)
            session.add(review)
            session.flush()
            audit.record(actor, "review_written", review, rating=rating)
    except IntegrityError as error:
        if violated(error) != "one_review_per_attendee":
            raise
        raise Conflict("You have reviewed this event already.", code="already_reviewed") from None
    return review
