"""The URL table: one line for each resource, with every address it answers to.

The customer's addresses and the frontend's name some things twice; both work.
"""

from __future__ import annotations

from flask_restful import Api

from resources import (
    accounts,
    admin,
    events,
    health,
    media,
    orders,
    payments,
    profile,
    reviews,
    ticket_types,
    tickets,
)
from resources.base import Resource

URLS: list[tuple[type[Resource], list[str]]] = [
    (health.Home, ["/"]),
    (health.Health, ["/health"]),
    (health.Readiness, ["/ready"]),
    # Accounts
    (accounts.SignUp, ["/signup"]),
    (accounts.LogIn, ["/login"]),
    (accounts.UserDetail, ["/users/<id:user_id>"]),
    (profile.Profile, ["/profile/me"]),
    # Events
    (events.EventList, ["/events"]),
    (events.EventDetail, ["/events/<id:event_id>"]),
    (events.EventCancellation, ["/events/<id:event_id>/cancel"]),
    (events.MyEventList, ["/my-events"]),
    (ticket_types.TicketTypeList, ["/events/<id:event_id>/tickets"]),
    (ticket_types.TicketTypeDetail, ["/events/<id:event_id>/tickets/<id:ticket_type_id>"]),
    (reviews.ReviewList, ["/events/<id:event_id>/reviews", "/events/<id:event_id>/review"]),
    (media.Picture, ["/media/<secret:name>.webp"]),
    # Orders and payments
    (orders.OrderList, ["/orders"]),
    (orders.OrderDetail, ["/orders/<id:order_id>"]),
    (orders.OrderPayment, ["/orders/<id:order_id>/pay"]),
    (payments.PaymentCheck, ["/payments/check/<secret:poll_id>"]),
    (payments.Callback, ["/api/payment/callback/<secret:token>"]),
    (payments.Hint, ["/api/payment/callback", "/payments/callback"]),
    # Tickets
    (tickets.MyTicketList, ["/my-tickets"]),
    (profile.UpcomingEventList, ["/profile/my-upcoming-events"]),
    (profile.UpcomingEventDetail, ["/profile/my-upcoming-events/<id:event_id>"]),
    (profile.PastEventList, ["/profile/my-past-events"]),
    (profile.PastEventDetail, ["/profile/my-past-events/<id:event_id>"]),
    # Admin
    (admin.PendingEventList, ["/admin/pending"]),
    (admin.EventApproval, ["/admin/approve/<id:event_id>", "/admin/<id:event_id>"]),
    (admin.AllOrderList, ["/admin/orders"]),
]


def register(api: Api) -> None:
    for resource, addresses in URLS:
        api.add_resource(resource, *addresses)
