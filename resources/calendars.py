"""Files and feeds for calendar programs."""

from __future__ import annotations

from flask import Response

from models import User
from resources.base import LOGGED_IN, PUBLIC, Resource, endpoint
from schemas.calendars import CalendarAddress
from schemas.common import Nothing
from services import calendars
from utils import http, tables


class EventCalendar(Resource):
    @endpoint(access=PUBLIC, returns=None)
    def get(self, actor: User | None, event_id: int) -> Response:
        """One event as a calendar file; of one that was cancelled it says so."""
        return _file(calendars.write_event(actor=actor, event_id=event_id))


class PersonalCalendar(Resource):
    # The address is the permission, whoever's token comes with it.
    @endpoint(access=PUBLIC, returns=None)
    def get(self, _actor: User | None, address: str) -> Response:
        """What its owner goes to, to subscribe to."""
        return _file(calendars.write_feed(address))


class MyCalendar(Resource):
    @endpoint(access=LOGGED_IN, returns=CalendarAddress)
    def get(self, actor: User) -> CalendarAddress:
        """The address of one's own calendar."""
        return CalendarAddress(url=calendars.get_address(actor))

    @endpoint(access=LOGGED_IN, body=Nothing, returns=CalendarAddress)
    def post(self, actor: User, body: Nothing) -> CalendarAddress:
        """Another address; the one before ends at once."""
        return CalendarAddress(url=calendars.renew_address(actor=actor))


def _file(file: calendars.CalendarFile) -> Response:
    #: Programs ask once an hour or so; who just edited an event should not wait for one.
    cache = "public, max-age=300" if file.is_public else "private, max-age=60"
    name = tables.disposition(file.name, "ics", is_shown=True)
    return http.answer_file(file.body, "text/calendar; charset=utf-8", cache=cache, disposition=name)
