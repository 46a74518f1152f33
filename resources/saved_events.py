"""Events one saves, to find them again."""

from __future__ import annotations

from sqlalchemy import Select

from models import SavedEvent, User
from resources.base import LOGGED_IN, Resource, endpoint
from schemas.common import Nothing, Page
from schemas.saved_events import Saved, SavedOut
from services import saved_events


class EventSaving(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=Saved)
    def post(self, actor: User, event_id: int, body: Nothing) -> Saved:
        """Save an event, or forget it if it is saved."""
        return _tell(is_saved=saved_events.toggle_saved_event(actor=actor, event_id=event_id))

    @endpoint(access=LOGGED_IN, body=Nothing, returns=Saved)
    def put(self, actor: User, event_id: int, body: Nothing) -> Saved:
        """Save an event, whether it is saved already or not."""
        saved_events.save_event(actor=actor, event_id=event_id)
        return _tell(is_saved=True)

    @endpoint(access=LOGGED_IN, returns=Saved)
    def delete(self, actor: User, event_id: int) -> Saved:
        """Forget an event, whether it is saved or not."""
        saved_events.unsave_event(actor=actor, event_id=event_id)
        return _tell(is_saved=False)


def _tell(*, is_saved: bool) -> Saved:
    sentence = "The event is among your saved events." if is_saved else "The event is not saved any more."
    return Saved(message=sentence, saved=is_saved)


class SavedEventList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[SavedOut])
    def get(self, actor: User, query: Page) -> Select[tuple[SavedEvent]]:
        """One's saved events, saved last first."""
        return saved_events.list_saved_events(actor=actor)
