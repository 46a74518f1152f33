"""What is left of an event's tickets, at this moment and as it changes."""

from __future__ import annotations

from flask import Response

from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.availability import Availability, to_json
from services import availability
from utils import http


class EventAvailability(Resource):
    @endpoint(access=PUBLIC, returns=Availability)
    def get(self, actor: User | None, event_id: int) -> Response:
        """What is left at this moment. It may be kept for a second, and asked for again with its ETag."""
        left = availability.read_left(actor=actor, event_id=event_id)
        return http.answer_cacheable(to_json(left), max_age=1, is_public=left.is_public)


class EventAvailabilityStream(Resource):
    @endpoint(access=PUBLIC, returns=None)
    def get(self, actor: User | None, event_id: int) -> Response:
        """The same as Server-Sent Events: at once, and whenever it changes."""
        stream = availability.follow_left(actor=actor, event_id=event_id)
        bodies = (None if left is None else to_json(left) for left in stream.states)
        return http.answer_stream(bodies, close=stream.close)
