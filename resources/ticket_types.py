"""Ticket types of an event. The frontend calls them tickets."""

from __future__ import annotations

from collections.abc import Sequence

from models import TicketType, User
from resources.base import ORGANIZERS, PUBLIC, Resource, endpoint
from schemas.common import Message
from schemas.ticket_types import NewTicketType, TicketTypeChanges, TicketTypeOut
from services import ticket_types

_REFUSALS = (ticket_types.TicketTypeExists, ticket_types.LimitsOutOfOrder, ticket_types.SalesOutOfOrder)


class TicketTypeList(Resource):
    @endpoint(access=PUBLIC, returns=list[TicketTypeOut], conditional=True)
    def get(self, actor: User | None, event_id: int) -> Sequence[TicketType]:
        """What an event has on sale, cheapest first, with what is left of it at this moment."""
        return ticket_types.list_ticket_types(actor=actor, event_id=event_id)

    @endpoint(access=ORGANIZERS, body=NewTicketType, returns=TicketTypeOut, status=201, errors=_REFUSALS)
    def post(self, actor: User, event_id: int, body: NewTicketType) -> TicketType:
        """Put another ticket type on sale."""
        return ticket_types.add_ticket_type(actor=actor, event_id=event_id, facts=body.model_dump())


class TicketTypeDetail(Resource):
    @endpoint(access=ORGANIZERS, body=TicketTypeChanges, returns=TicketTypeOut, errors=_REFUSALS)
    def patch(self, actor: User, event_id: int, ticket_type_id: int, body: TicketTypeChanges) -> TicketType:
        """Change name, price, quantity, sales period or limits."""
        return ticket_types.update_ticket_type(
            actor=actor, event_id=event_id, ticket_type_id=ticket_type_id, changes=body.given()
        )

    @endpoint(access=ORGANIZERS, returns=Message)
    def delete(self, actor: User, event_id: int, ticket_type_id: int) -> Message:
        """Take back a ticket type nobody ordered."""
        ticket_types.delete_ticket_type(actor=actor, event_id=event_id, ticket_type_id=ticket_type_id)
        return Message(message="The ticket type has been deleted.")
