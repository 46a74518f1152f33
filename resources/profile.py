"""The logged-in user: own data, and the events they go to or went to."""

from __future__ import annotations

from flask import Response
from sqlalchemy import Select

from models import Consent, Event, User
from resources.base import LOGGED_IN, Resource, endpoint
from schemas.accounts import ConsentOut, Deletion, ProfileChanges, UserOut
from schemas.common import Message, Page
from schemas.events import EventBrief
from schemas.tickets import AttendanceOut
from services import accounts, admission, consents, privacy
from services.admission import Attendance
from services.credentials import WrongPassword
from services.email_addresses import EmailTaken, NeedsPassword
from services.limits import TooManyAttempts
from utils import tables


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

    @endpoint(
        access=LOGGED_IN,
        body=Deletion,
        returns=Message,
        errors=(
            WrongPassword,
            TooManyAttempts,
            privacy.LastAdmin,
            privacy.MoneyUnderWay,
            privacy.EventsAhead,
            privacy.TicketsAhead,
        ),
    )
    def delete(self, actor: User, body: Deletion) -> Message:
        """Delete one's account, for good. What the books must keep stays, without the person."""
        privacy.delete_account(actor=actor, password=body.password, code=body.code, is_forced=body.force)
        return Message(message="Your account has been deleted.")


class ProfileExport(Resource):
    @endpoint(access=LOGGED_IN, returns=None, produces=("application/zip",))
    def get(self, actor: User) -> Response:
        """All that is stored of oneself, as a ZIP of JSON files."""
        file = privacy.export(actor=actor)
        return tables.file_response(file, "application/zip", f"ticksy-{actor.id}", "zip")


class ConsentList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[ConsentOut])
    def get(self, actor: User, query: Page) -> Select[tuple[Consent]]:
        """What one agreed to, and took back; newest first."""
        return consents.list_consents(actor=actor)


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
