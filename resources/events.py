"""Events: the public catalogue and an organizer's own."""

from __future__ import annotations

from sqlalchemy import Select

from models import Event, User
from resources.base import ORGANIZERS, PUBLIC, Resource, endpoint
from schemas.common import Message, Nothing, Page
from schemas.events import (
    EventChanges,
    EventListed,
    EventOut,
    EventSaved,
    EventSearch,
    NewEvent,
    OwnEvent,
    OwnEventListed,
)
from schemas.payments import EventRefunds
from services import catalogue, events, refunds
from utils import http
from utils.images import BadImage
from utils.pagination import Page as PageOfRows


class EventList(Resource):
    @endpoint(access=PUBLIC, query=EventSearch, returns=list[EventListed], conditional=True, is_for_everyone=True)
    def get(self, _actor: User | None, query: EventSearch) -> PageOfRows:
        """Approved events that are not over."""
        search = catalogue.Search(
            words=query.q,
            category=query.category,
            location=query.location,
            starts_from=query.from_,
            starts_until=query.to,
            max_price_kes=query.max_price,
            sort=catalogue.Sort(query.sort),
        )
        return catalogue.search_events(search, page=query.page, per_page=query.per_page)

    @endpoint(access=ORGANIZERS, body=NewEvent, returns=EventSaved, status=201, takes_image=True, errors=(BadImage,))
    def post(self, actor: User, body: NewEvent) -> Event:
        """Submit an event; an admin looks at it before it is published."""
        return events.create_event(actor=actor, facts=body.model_dump(), image=http.read_file("image"))


class EventDetail(Resource):
    @endpoint(access=PUBLIC, returns=OwnEvent | EventOut, conditional=True)
    def get(self, actor: User | None, event_id: int) -> OwnEvent | EventOut:
        """One event; its organizer and admins also see why it was rejected."""
        event = catalogue.get_event(actor=actor, event_id=event_id)
        return (OwnEvent if event.is_run_by(actor) else EventOut).model_validate(event)

    @endpoint(access=ORGANIZERS, body=EventChanges, returns=EventSaved, takes_image=True, errors=(BadImage,))
    def put(self, actor: User, event_id: int, body: EventChanges) -> Event:
        """Change an event; what the public sees of it goes to an admin again."""
        return events.update_event(actor=actor, event_id=event_id, changes=body.given(), image=http.read_file("image"))

    @endpoint(access=ORGANIZERS, returns=Message)
    def delete(self, actor: User, event_id: int) -> Message:
        """Delete an event without orders."""
        events.delete_event(actor=actor, event_id=event_id)
        return Message(message="The event has been deleted.")


class EventCancellation(Resource):
    @endpoint(access=ORGANIZERS, body=Nothing, returns=EventSaved)
    def post(self, actor: User, event_id: int, body: Nothing) -> Event:
        """Call an event off for good; paid orders are refunded, one after the other."""
        return events.cancel_event(actor=actor, event_id=event_id)


class EventRefundProgress(Resource):
    @endpoint(access=ORGANIZERS, returns=EventRefunds)
    def get(self, actor: User, event_id: int) -> refunds.Progress:
        """How far the refunds of one's own event are."""
        return refunds.get_progress(actor=actor, event_id=event_id)


class MyEventList(Resource):
    @endpoint(access=ORGANIZERS, query=Page, returns=list[OwnEventListed])
    def get(self, actor: User, query: Page) -> Select[tuple[Event]]:
        """One's own events in every state."""
        return events.list_my_events(actor=actor)
