"""Reviews: what people who were there say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from models import Review, TicketStatus, User
from services import admission, audit, events
from utils.database import db, transaction, violated
from utils.errors import Conflict, Forbidden, NotFound


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


def change_review(*, actor: User, event_id: int, changes: dict[str, Any]) -> Review:
    """Change `rating` or `comment` of one's own. Raises NotFound."""
    with transaction():
        review = _lock_own_review(actor, event_id)
        changed = sorted(name for name, value in changes.items() if getattr(review, name) != value)
        for name in changed:
            setattr(review, name, changes[name])
        if changed:
            audit.record(actor, "review_changed", review, changed=changed, rating=review.rating)
    return review


def delete_review(*, actor: User, event_id: int) -> None:
    """Take one's own back; another may be written later. Raises NotFound."""
    with transaction() as session:
        review = _lock_own_review(actor, event_id)
        audit.record(actor, "review_deleted", review, rating=review.rating)
        session.delete(review)


def _lock_own_review(actor: User, event_id: int) -> Review:
    """Whoever wrote one had a ticket, and keeps seeing the event whatever becomes of it."""
    review = db.session.scalar(
        select(Review)
        .where(Review.event_id == event_id, Review.attendee_id == actor.id)
        .options(joinedload(Review.attendee))
        .with_for_update(of=Review)
        .execution_options(populate_existing=True)
    )
    if review is None:
        raise NotFound("You have not reviewed this event.", code="no_review")
    return review
