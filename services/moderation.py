"""What admins decide about events."""

from __future__ import annotations

from models import Event, EventStatus, User
from services import audit, events, occasions
from utils.database import transaction
from utils.errors import Conflict


def decide_event(*, actor: User, event_id: int, is_approved: bool, reason: str | None) -> Event:
    """Approve or reject an event; `reason` is for its organizer. The same decision twice is fine.

    Rejecting an approved event takes it off sale. Raises NotFound, Conflict for one that is cancelled or over.
    """
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
