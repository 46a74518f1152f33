"""Saved events: what somebody wants to find again."""

from __future__ import annotations

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import contains_eager

from models import Event, SavedEvent, User
from services import audit, events
from utils import clock
from utils.database import db, transaction, violated
from utils.errors import NotFound


def list_saved_events(*, actor: User) -> Select[tuple[SavedEvent]]:
    """What the actor saved and may see at this moment, saved last first."""
    return (
        select(SavedEvent)
        .join(SavedEvent.event)
        .where(SavedEvent.user_id == actor.id, events.is_visible_to(actor))
        .options(contains_eager(SavedEvent.event))
        .order_by(SavedEvent.id.desc())
    )


def save_event(*, actor: User, event_id: int) -> None:
    """Saving twice is fine. Raises NotFound for what the actor may not see."""
    events.get_event(actor=actor, event_id=event_id)
    new = insert(SavedEvent).values(user_id=actor.id, event_id=event_id, created_at=clock.now())
    try:
        with transaction() as session:
            if session.scalar(new.on_conflict_do_nothing().returning(SavedEvent.id)) is not None:
                _note(actor, event_id, "event_saved")
    except IntegrityError as error:
        if violated(error) != "saved_events_event_id_fkey":
            raise
        raise NotFound("There is no such event.") from None  # deleted since it was seen


def unsave_event(*, actor: User, event_id: int) -> None:
    """Forgetting what is not saved is fine. Raises NotFound for what is neither saved nor to be seen."""
    with transaction():
        was_saved = _remove(actor, event_id)
    if not was_saved:
        events.get_event(actor=actor, event_id=event_id)


def toggle_saved_event(*, actor: User, event_id: int) -> bool:
    """Save what is not saved, forget what is; returns whether it is saved now. Raises NotFound."""
    with transaction() as session:
        # One after the other: two taps at once are two taps.
        session.execute(select(User.id).where(User.id == actor.id).with_for_update(key_share=True))
        if _remove(actor, event_id):
            return False
        save_event(actor=actor, event_id=event_id)
    return True


def _remove(actor: User, event_id: int) -> bool:
    own = delete(SavedEvent).where(SavedEvent.user_id == actor.id, SavedEvent.event_id == event_id)
    if db.session.scalar(own.returning(SavedEvent.id)) is None:
        return False
    _note(actor, event_id, "event_unsaved")
    return True


def _note(actor: User, event_id: int, action: str) -> None:
    audit.record(actor, action, db.session.get_one(Event, event_id))
