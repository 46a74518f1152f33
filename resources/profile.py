"""The logged-in user: own data, and the events they go to or went to."""

from __future__ import annotations

from sqlalchemy import Select

from models import Event, User
from resources.base import LOGGED_IN, Resource, endpoint
from schemas.accounts import ProfileChanges, UserOut
from schemas.common import Page
from schemas.events import EventBrief
from schemas.tickets import AttendanceOut
from services import accounts, admission
from services.admission import Attendance
from services.email_addresses import EmailTaken, NeedsPassword


class Profile(Resource):
    @endpoint(access=LOGGED_IN, returns=UserOut)
    def get(self, actor: User) -> User:
        """One's own account."""
        return actor

    @endpoint(
        access=LOGGED_IN, body=ProfileChanges, returns=UserOut, errors=(EmailTaken, accounts.PhoneTaken, NeedsPassword)
    )
    def put(self, actor: User, body: ProfileChanges) -> User:
        """Change one's name or phone number; the e-mail address as well where no e-mail is sent."""
        return accounts.update_profile(actor=actor, changes=body.given())


class UpcomingEventList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[EventBrief])
    def get(self, actor: User, query: Page) -> Select[tuple[Event]]:
        """Events one holds tickets for that are not over, soonest first."""
        return admission.list_upcoming_events(actor=actor)


class UpcomingEventDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=AttendanceOut)
    def get(self, actor: User, event_id: int) -> Attendance:
        """One of them, with one's tickets and receipt."""
        return admission.get_attendance(actor=actor, event_id=event_id, is_over=False)


class PastEventList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[EventBrief])
    def get(self, actor: User, query: Page) -> Select[tuple[Event]]:
        """Events one held tickets for that are over, latest first."""
        return admission.list_past_events(actor=actor)


class PastEventDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=AttendanceOut)
    def get(self, actor: User, event_id: int) -> Attendance:
        """One of them, with one's tickets and receipt."""
        return admission.get_attendance(actor=actor, event_id=event_id, is_over=True)
