"""Tickets people hold."""

from __future__ import annotations

from sqlalchemy import Select

from models import Ticket, User
from resources.base import LOGGED_IN, Resource, endpoint
from schemas.common import Page
from schemas.tickets import TicketOut
from services import admission


class MyTicketList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[TicketOut])
    def get(self, actor: User, query: Page) -> Select[tuple[Ticket]]:
        """One's own tickets, newest first."""
        return admission.list_tickets(actor=actor)
