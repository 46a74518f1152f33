"""What organizers see of their own events: who comes, what was sold, who is in."""

from __future__ import annotations

from models import User
from resources.base import ORGANIZERS, Resource, endpoint
from schemas.attendees import Attendees, AttendeeSearch, CheckInOut
from schemas.common import Nothing
from services import attendees, check_in
from services.check_in import Outcome
from utils.pagination import Page


class AttendeeList(Resource):
    @endpoint(access=ORGANIZERS, query=AttendeeSearch, returns=Attendees)
    def get(self, actor: User, event_id: int, query: AttendeeSearch) -> Page:
        """Who has a ticket for one's own event: everybody, or a page when asked for one."""
        search = attendees.Search(words=query.q, ticket_type=query.ticket_type, is_checked_in=query.checked_in)
        return attendees.list_attendees(
            actor=actor, event_id=event_id, search=search, number=query.page, size=query.per_page
        )


class CheckIn(Resource):
    @endpoint(access=ORGANIZERS, body=Nothing, returns=CheckInOut)
    def patch(self, actor: User, ticket_id: int, body: Nothing) -> Outcome:
        """Let a ticket's holder in; one who is in already stays so."""
        return check_in.check_in(actor=actor, ticket_id=ticket_id)


class CheckOut(Resource):
    @endpoint(access=ORGANIZERS, body=Nothing, returns=CheckInOut)
    def patch(self, actor: User, ticket_id: int, body: Nothing) -> Outcome:
        """Undo a check-in."""
        return check_in.check_out(actor=actor, ticket_id=ticket_id)
