"""What organizers see of their own events: who comes, what was sold, who is in."""

from __future__ import annotations

from models import User
from resources.base import ORGANIZERS, Resource, endpoint
from schemas.attendees import Attendees, AttendeeSearch, CheckInOut
from schemas.common import Nothing
from schemas.sales_figures import EventStatsOut, OverviewOut, PeriodQuery, StatsQuery
from services import attendees, check_in, sales_figures
from services.check_in import Outcome
from services.revenue import Period
from utils.pagination import Page


class Overview(Resource):
    @endpoint(access=ORGANIZERS, query=PeriodQuery, returns=OverviewOut)
    def get(self, actor: User, query: PeriodQuery) -> sales_figures.Overview:
        """Revenue, tickets, check-ins and orders of one's own events, in all or of some days."""
        return sales_figures.get_overview(actor=actor, period=Period(*query.days))


class Statistics(Resource):
    @endpoint(access=ORGANIZERS, query=StatsQuery, returns=list[EventStatsOut])
    def get(self, actor: User, query: StatsQuery) -> Page:
        """How each of one's own events and their ticket types sells, and sales per day."""
        period = Period(*query.days)
        return sales_figures.list_stats(actor=actor, period=period, number=query.page, size=query.per_page)


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
