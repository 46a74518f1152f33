"""What admins see and decide."""

from __future__ import annotations

from sqlalchemy import Select

from models import Event, Order, OrderStatus, User
from resources.base import ADMINS, Resource, endpoint
from schemas.common import Page
from schemas.events import EventDecision, EventSaved, OwnEventListed
from schemas.orders import AdminOrder, OrderSearch
from services import events, moderation, orders


class PendingEventList(Resource):
    @endpoint(access=ADMINS, query=Page, returns=list[OwnEventListed])
    def get(self, _actor: User, query: Page) -> Select[tuple[Event]]:
        """Events that wait for a decision, longest waiting first."""
        return events.list_pending_events()


class EventApproval(Resource):
    @endpoint(access=ADMINS, body=EventDecision, returns=EventSaved, errors=(moderation.OrganizerUnverified,))
    def patch(self, actor: User, event_id: int, body: EventDecision) -> Event:
        """Approve or reject an event; the reason is for its organizer."""
        return moderation.decide_event(
            actor=actor, event_id=event_id, is_approved=body.status == "approved", reason=body.reason
        )


class AllOrderList(Resource):
    @endpoint(access=ADMINS, query=OrderSearch, returns=list[AdminOrder])
    def get(self, _actor: User, query: OrderSearch) -> Select[tuple[Order]]:
        """Everybody's orders, newest first; `needs_attention=true` lists the money somebody must look after."""
        status = OrderStatus(query.status) if query.status else None
        return orders.list_all_orders(status=status, needs_attention=query.needs_attention)
