"""What admins decide about events."""

from __future__ import annotations

from sqlalchemy import select

from config import settings
from models import Event, EventStatus, User
from services import audit, email_addresses, events, occasions
from utils.database import transaction
from utils.errors import Conflict


class OrganizerUnverified(Conflict):
    code, message = (
        "organizer_unverified",
        "Its organizer has not confirmed their e-mail address yet. We have sent a link: approve it once that is used.",
    )


def decide_event(*, actor: User, event_id: int, is_approved: bool, reason: str | None) -> Event:
    """Approve or reject an event; `reason` is for its organizer. The same decision twice is fine.

    Rejecting an approved event takes it off sale. Raises NotFound, OrganizerUnverified, Conflict for one that is
    cancelled or over.
    """
    if is_approved and settings.REQUIRE_VERIFIED_EMAIL:
        _check_organizer(event_id)
    status = EventStatus.APPROVED if is_approved else EventStatus.REJECTED
    with transaction():
        event = events.lock_own_event(actor=actor, event_id=event_id)
        if event.status is EventStatus.CANCELLED:
            raise Conflict("This event has been cancelled by its organizer.", code="event_cancelled")
        if is_approved and event.is_over:
            raise Conflict("This event is over.", code="event_over")
        is_changed = event.status is not status
        if is_changed:
            event.move_to(status)
        event.rejection_reason = None if is_approved else reason
        audit.record(actor, f"event_{status.value}", event, reason=reason)
        if is_changed:
            occasions.tell_decision(event)
    return events.get_event(actor=actor, event_id=event_id)


def _check_organizer(event_id: int) -> None:
    """Raises OrganizerUnverified, having asked them for it."""
    with transaction() as session:
        organizer = session.scalar(select(User).join(Event, Event.organizer_id == User.id).where(Event.id == event_id))
        if organizer is None or organizer.email_verified_at is not None:
            return
        email_addresses.remind_to_verify(organizer)
    raise OrganizerUnverified
