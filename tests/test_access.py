"""Who may call what: every method of every address, as everybody who could call it."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import resources
from models import (
    Claim,
    Event,
    EventStatus,
    Notification,
    NotificationChannel,
    NotificationKind,
    Order,
    RequestKind,
    Review,
    Role,
    Session,
    Ticket,
    TokenPurpose,
    User,
)
from resources.base import PUBLIC, Endpoint
from services import calendars, claims, exports, gate_passes, possession, preferences, questions, scans, transfers
from services.gate_passes import NewPass
from services.scans import Presented
from tests.kept import Kept
from tests.support import PASSWORD, Maker, cart, changed_settings, failure, mailed_secret, open_session
from utils import clock, ticket_address, tokens
from utils.database import db, transaction

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CALLERS = ("nobody", "attendee", "other attendee", "organizer", "other organizer", "admin", "banned")

# What each caller is answered, in the order of CALLERS. The attendee owns the order and the tickets, the organizer
# the event and the ticket type.
EVERYBODY = (200, 200, 200, 200, 200, 200, 200)
LOGGED_IN = (401, 200, 200, 200, 200, 200, 401)
ORGANIZERS = (401, 403, 403, 200, 200, 200, 401)
ADMINS = (401, 403, 403, 403, 403, 200, 401)
OWNER = (401, 200, 404, 404, 404, 404, 401)
OWNER_OR_ADMIN = (401, 200, 404, 404, 404, 200, 401)
OWN_EVENT = (401, 403, 403, 200, 404, 200, 401)

EVENT = {
    "title": "Kisumu Lakeside Run",
    "description": "Ten kilometres along the lake.",
    "location": "Dunga Beach, Kisumu",
    "start_time": "2035-01-01T08:00",
    "end_time": "2035-01-01T12:00",
    "category": "Sport",
}

GUEST = {"first_name": "Kamau", "last_name": "Njoroge"}

TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/health"): EVERYBODY,
    ("GET", "/ready"): EVERYBODY,
    ("GET", "/openapi.json"): EVERYBODY,
    ("GET", "/docs"): EVERYBODY,
    ("GET", "/docs/assets/<string:asset>"): EVERYBODY,
    ("GET", "/gate"): EVERYBODY,
    ("GET", "/gate/worker.js"): EVERYBODY,
    ("GET", "/gate/assets/<string:asset>"): EVERYBODY,
    ("POST", "/signup"): (201,) * 7,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/refresh"): EVERYBODY,
    ("POST", "/logout"): LOGGED_IN,
    ("POST", "/logout-all"): LOGGED_IN,
    ("GET", "/profile/me/sessions"): LOGGED_IN,
    ("DELETE", "/profile/me/sessions/<id:session_id>"): OWNER,
    # Nobody carries e-mail here.
    ("POST", "/password/forgot"): (409,) * 7,
    ("POST", "/password/reset"): EVERYBODY,
    ("GET", "/password/reset/<secret:mailed>"): EVERYBODY,
    ("POST", "/password/reset/<secret:mailed>"): EVERYBODY,
    ("PUT", "/profile/me/password"): LOGGED_IN,
    ("POST", "/verify-email"): EVERYBODY,
    ("POST", "/verify-email/again"): (401, 409, 409, 409, 409, 409, 401),
    ("GET", "/verify-email/<secret:mailed>"): EVERYBODY,
    ("POST", "/verify-email/<secret:mailed>"): EVERYBODY,
    ("GET", "/profile/me/email"): LOGGED_IN,
    ("POST", "/profile/me/email"): (401, 202, 202, 202, 202, 202, 401),
    ("POST", "/email/confirm"): EVERYBODY,
    ("GET", "/email/confirm/<secret:mailed>"): EVERYBODY,
    ("POST", "/email/confirm/<secret:mailed>"): EVERYBODY,
    ("POST", "/email/undo"): EVERYBODY,
    ("GET", "/email/undo/<secret:mailed>"): EVERYBODY,
    ("POST", "/email/undo/<secret:mailed>"): EVERYBODY,
    ("GET", "/profile/me/two-factor"): LOGGED_IN,
    ("POST", "/profile/me/two-factor"): (401, 201, 201, 201, 201, 201, 401),
    # It is off.
    ("POST", "/profile/me/two-factor/confirm"): (401, 409, 409, 409, 409, 409, 401),
    ("POST", "/profile/me/two-factor/recovery-codes"): (401, 409, 409, 409, 409, 409, 401),
    ("POST", "/profile/me/two-factor/remove"): (401, 409, 409, 409, 409, 409, 401),
    ("GET", "/users/<id:user_id>"): ADMINS,
    ("GET", "/profile/me"): LOGGED_IN,
    ("PUT", "/profile/me"): LOGGED_IN,
    # With a password that is not theirs.
    ("DELETE", "/profile/me"): (401, 403, 403, 403, 403, 403, 401),
    ("GET", "/profile/me/export"): LOGGED_IN,
    ("GET", "/profile/me/consents"): LOGGED_IN,
    ("GET", "/profile/me/notifications"): LOGGED_IN,
    ("PUT", "/profile/me/notifications"): LOGGED_IN,
    ("GET", "/unsubscribe/<signed:choice>"): EVERYBODY,
    ("POST", "/unsubscribe/<signed:choice>"): EVERYBODY,
    ("GET", "/events"): EVERYBODY,
    ("POST", "/events"): (401, 403, 403, 201, 201, 201, 401),
    ("GET", "/events/<id:event_id>"): EVERYBODY,
    ("PUT", "/events/<id:event_id>"): OWN_EVENT,
    ("DELETE", "/events/<id:event_id>"): OWN_EVENT,
    ("POST", "/events/<id:event_id>/cancel"): OWN_EVENT,
    ("GET", "/events/<id:event_id>/refunds"): OWN_EVENT,
    ("GET", "/events/<id:event_id>/availability"): EVERYBODY,
    ("GET", "/events/<id:event_id>/availability/stream"): EVERYBODY,
    ("GET", "/my-events"): ORGANIZERS,
    ("GET", "/events/<id:event_id>/tickets"): EVERYBODY,
    ("POST", "/events/<id:event_id>/tickets"): (401, 403, 403, 201, 404, 201, 401),
    ("PATCH", "/events/<id:event_id>/tickets/<id:ticket_type_id>"): OWN_EVENT,
    ("DELETE", "/events/<id:event_id>/tickets/<id:ticket_type_id>"): OWN_EVENT,
    ("GET", "/events/<id:event_id>/reviews"): EVERYBODY,
    ("GET", "/events/<id:event_id>/review"): EVERYBODY,
    ("POST", "/events/<id:event_id>/reviews"): (401, 201, 403, 403, 403, 403, 401),
    ("POST", "/events/<id:event_id>/review"): (401, 201, 403, 403, 403, 403, 401),
    ("PUT", "/events/<id:event_id>/reviews"): (401, 404, 200, 404, 404, 404, 401),
    ("PUT", "/events/<id:event_id>/review"): (401, 404, 200, 404, 404, 404, 401),
    ("DELETE", "/events/<id:event_id>/reviews"): (401, 404, 200, 404, 404, 404, 401),
    ("DELETE", "/events/<id:event_id>/review"): (401, 404, 200, 404, 404, 404, 401),
    ("POST", "/events/<id:event_id>/save"): LOGGED_IN,
    ("PUT", "/events/<id:event_id>/save"): LOGGED_IN,
    ("DELETE", "/events/<id:event_id>/save"): LOGGED_IN,
    ("GET", "/my-saved-events"): LOGGED_IN,
    ("GET", "/media/<secret:name>.webp"): EVERYBODY,
    ("GET", "/events/<id:event_id>/calendar.ics"): EVERYBODY,
    ("GET", "/calendar/<signed:address>.ics"): EVERYBODY,
    ("GET", "/profile/me/calendar"): LOGGED_IN,
    ("POST", "/profile/me/calendar"): LOGGED_IN,
    ("GET", "/events/<id:event_id>/attendees/export"): OWN_EVENT,
    ("GET", "/events/<id:event_id>/attendees/export/<signed:token>"): EVERYBODY,
    ("POST", "/events/<id:event_id>/attendees/export-link"): (401, 403, 403, 201, 404, 201, 401),
    ("GET", "/orders"): LOGGED_IN,
    ("POST", "/orders"): (401, 201, 201, 201, 201, 201, 401),
    ("GET", "/orders/<id:order_id>"): OWNER_OR_ADMIN,
    ("DELETE", "/orders/<id:order_id>"): OWNER,
    ("POST", "/orders/<id:order_id>/pay"): OWNER,
    ("PATCH", "/orders/<id:order_id>/pay"): OWNER,
    ("POST", "/payments"): OWNER,
    ("POST", "/orders/<id:order_id>/refund"): OWN_EVENT,
    ("POST", "/orders/<id:order_id>/claim"): (401, 202, 404, 404, 404, 404, 401),
    ("GET", "/payments/check/<secret:poll_id>"): EVERYBODY,
    ("POST", "/api/payment/callback/<secret:token>"): EVERYBODY,
    ("POST", "/api/payment/callback"): EVERYBODY,
    ("POST", "/payments/callback"): EVERYBODY,
    ("POST", "/api/payment/result/<secret:result_token>"): EVERYBODY,
    ("POST", "/api/payment/timeout/<secret:result_token>"): EVERYBODY,
    ("POST", "/api/payment/c2b/<secret:secret>/validation"): EVERYBODY,
    ("POST", "/api/payment/c2b/<secret:secret>/confirmation"): EVERYBODY,
    ("GET", "/my-tickets"): LOGGED_IN,
    ("GET", "/tickets/check"): EVERYBODY,
    ("GET", "/tickets/<code:ticket_code>"): OWNER,
    ("GET", "/tickets/<code:ticket_code>/qr.svg"): OWNER,
    ("GET", "/tickets/<code:ticket_code>/qr.png"): OWNER,
    ("GET", "/tickets/<code:ticket_code>/ticket.pdf"): OWNER,
    ("GET", "/tickets/<code:ticket_code>/transfer"): OWNER,
    ("POST", "/tickets/<code:ticket_code>/transfer"): (401, 409, 404, 404, 404, 404, 401),
    ("DELETE", "/tickets/<code:ticket_code>/transfer"): OWNER,
    ("POST", "/tickets/<code:ticket_code>/reissue"): OWNER,
    ("POST", "/tickets/<code:ticket_code>/refund-agreement"): (401, 409, 404, 404, 404, 404, 401),
    ("DELETE", "/tickets/<code:ticket_code>/refund-agreement"): (401, 409, 404, 404, 404, 404, 401),
    ("GET", "/transfers/<signed:offer_address>"): EVERYBODY,
    ("POST", "/transfers/<signed:offer_address>"): EVERYBODY,
    ("GET", "/transfers/<signed:offer_address>/acceptance"): EVERYBODY,
    ("POST", "/transfers/<signed:offer_address>/acceptance"): EVERYBODY,
    ("GET", "/orders/<id:order_id>/tickets.pdf"): OWNER,
    ("GET", "/t/<signed:ticket_address>"): EVERYBODY,
    ("GET", "/t/<signed:ticket_address>/qr.svg"): EVERYBODY,
    ("GET", "/t/<signed:ticket_address>/qr.png"): EVERYBODY,
    ("GET", "/t/<signed:ticket_address>/ticket.pdf"): EVERYBODY,
    ("GET", "/t/<signed:ticket_address>/manage"): EVERYBODY,
    ("POST", "/t/<signed:ticket_address>/manage"): EVERYBODY,
    ("GET", "/profile/my-upcoming-events"): LOGGED_IN,
    ("GET", "/profile/my-upcoming-events/<id:event_id>"): OWNER,
    ("GET", "/profile/my-past-events"): LOGGED_IN,
    ("GET", "/attendee/upcoming-events"): LOGGED_IN,
    ("GET", "/attendee/past-events"): LOGGED_IN,
    ("GET", "/profile/my-past-events/<id:event_id>"): OWNER,
    ("GET", "/organizer/overview"): ORGANIZERS,
    ("GET", "/organizer/stats"): ORGANIZERS,
    ("GET", "/organizer/events/<id:event_id>/attendees"): OWN_EVENT,
    ("PATCH", "/organizer/checkin/<id:ticket_id>"): OWN_EVENT,
    ("PATCH", "/organizer/checkout/<id:ticket_id>"): OWN_EVENT,
    ("POST", "/organizer/tickets/<id:ticket_id>/reissue"): OWN_EVENT,
    ("GET", "/organizer/events/<id:event_id>/transfers"): OWN_EVENT,
    ("POST", "/checkin/scans"): OWN_EVENT,
    ("POST", "/checkin/scans/<id:scan_id>/undo"): OWN_EVENT,
    ("GET", "/checkin/manifest"): OWN_EVENT,
    ("GET", "/organizer/events/<id:event_id>/gate"): OWN_EVENT,
    ("GET", "/organizer/events/<id:event_id>/gate-passes"): OWN_EVENT,
    ("POST", "/organizer/events/<id:event_id>/gate-passes"): (401, 403, 403, 201, 404, 201, 401),
    ("DELETE", "/organizer/events/<id:event_id>/gate-passes/<id:pass_id>"): OWN_EVENT,
    ("GET", "/admin/pending"): ADMINS,
    ("PATCH", "/admin/approve/<id:event_id>"): ADMINS,
    ("PATCH", "/admin/<id:event_id>"): ADMINS,
    ("GET", "/admin/users"): ADMINS,
    ("PATCH", "/admin/users/<id:user_id>/status"): ADMINS,
    ("PATCH", "/admin/users/<id:user_id>/role"): ADMINS,
    ("GET", "/admin/dashboard"): ADMINS,
    ("GET", "/admin/analytics/summary"): ADMINS,
    ("GET", "/admin/analytics/ticket-sales-trends"): ADMINS,
    ("GET", "/admin/analytics/revenue-by-ticket-type"): ADMINS,
    ("GET", "/admin/analytics/top-events-by-revenue"): ADMINS,
    ("GET", "/admin/analytics/top-event-types"): ADMINS,
    ("GET", "/admin/reports"): ADMINS,
    ("GET", "/admin/logs"): ADMINS,
    ("GET", "/admin/orders"): ADMINS,
    ("GET", "/admin/reconciliation"): ADMINS,
    ("GET", "/admin/claims"): ADMINS,
    ("POST", "/admin/claims/<id:claim_id>/close"): ADMINS,
    ("GET", "/admin/alerts"): ADMINS,
    ("GET", "/admin/notifications"): ADMINS,
    ("POST", "/admin/notifications/<id:notification_id>/retry"): (401, 403, 403, 403, 403, 409, 401),
    ("GET", "/admin/payments"): ADMINS,
    ("GET", "/admin/payments/<id:payment_id>"): ADMINS,
    ("POST", "/admin/payments/<id:payment_id>/recheck"): (401, 403, 403, 403, 403, 202, 401),
    ("POST", "/admin/payments/<id:payment_id>/attach"): ADMINS,
    ("POST", "/admin/payments/<id:payment_id>/refund"): ADMINS,
    ("POST", "/admin/payments/<id:payment_id>/seen"): ADMINS,
    ("GET", "/admin/suspense"): ADMINS,
    ("GET", "/admin/refunds"): ADMINS,
    ("POST", "/admin/refunds/<id:refund_id>/retry"): ADMINS,
    ("POST", "/admin/refunds/<id:refund_id>/by-hand"): ADMINS,
}

#: What the links in e-mails are for, by the start of the address.
MAILED = {
    "/verify-email": TokenPurpose.VERIFY_EMAIL,
    "/password/reset": TokenPurpose.RESET_PASSWORD,
    "/email/confirm": TokenPurpose.CHANGE_EMAIL,
    "/email/undo": TokenPurpose.UNDO_EMAIL_CHANGE,
}

#: What the holder of a gate pass for the event is answered; everywhere else he is nobody.
WITH_A_PASS: dict[tuple[str, str], int] = {
    ("POST", "/checkin/scans"): 200,
    ("POST", "/checkin/scans/<id:scan_id>/undo"): 200,
    ("GET", "/checkin/manifest"): 200,
    ("GET", "/organizer/events/<id:event_id>/gate"): 200,
}


def every_endpoint() -> list[tuple[str, str, Endpoint]]:
    """(method, address, declaration) of all there is."""
    return [
        (method, address, getattr(resource, method.lower()).endpoint)
        for resource, addresses in resources.URLS
        for address in addresses
        for method in METHODS
        if hasattr(resource, method.lower())
    ]


class World:
    """One of each caller, and something of theirs at every address."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        organizer, attendee = make.organizer(), make.attendee()
        self.callers: dict[str, User | None] = {
            "nobody": None,
            "attendee": attendee,
            "other attendee": make.attendee(),
            "organizer": organizer,
            "other organizer": make.organizer(),
            "admin": make.admin(),
            "banned": make.attendee(),
        }
        banned = self.callers["banned"]
        assert banned is not None
        make.ban(banned)

        upcoming = make.event(organizer)
        self.free = make.ticket_type(upcoming, name="Free", price=0)
        self.free_order, _ = make.order(attendee, self.free)
        self.free_tickets = [ticket.id for ticket in make.tickets() if ticket.order_id == self.free_order.id]
        [ticket] = self.free_order.tickets
        with clock.set_to(clock.ago(minutes=3)):  # so long ago that another prompt may follow
            order, token = make.order(attendee, make.ticket_type(upcoming))
        make.deliver(token, failure())
        past = make.event(organizer, starts_at=clock.ago(days=2))
        with clock.set_to(clock.ago(days=5)):
            make.order(attendee, make.ticket_type(past, price=0))
        self._review(past, self.callers["other attendee"])
        event = make.event(organizer)
        ticket_type = make.ticket_type(event, quantity=3)

        self.export_token = self._export(organizer, event)
        self.gate_event = make.event(organizer)
        self.gate_pass = self._gate_pass(organizer, self.gate_event)
        self.passed_on = self._passed_on(self.gate_event)
        self.order_payment_id = order.payments[0].id
        self.ids = {
            "user_id": attendee.id,
            "event_id": event.id,
            "ticket_type_id": ticket_type.id,
            "order_id": order.id,
            "ticket_id": self.free_tickets[0],
            "ticket_code": ticket.code,
            "ticket_address": self._page(ticket),
            "offer_address": self._offer(attendee, ticket),
            "poll_id": order.poll_id,
            "token": token,
            "result_token": self._question(),
            "address": self._calendar(attendee),
            "secret": make.app.extensions["settings"].MPESA_C2B_SECRET,
            "payment_id": make.suspense(order.total_kes).id,
            "refund_id": make.failed_refund().id,
            "claim_id": self._claim(order).id,
            "name": self._picture(),
            "asset": "start.js",
            "pass_id": self.gate_pass.gate_pass.id,
            "scan_id": self._scan(self.gate_event),
            "choice": self._unsubscribe(attendee),
            "notification_id": self._notification(attendee),
        }
        self.mailed = {start: self._mailed(attendee, purpose) for start, purpose in MAILED.items()}
        with make.app.app_context():
            self.refresh_token = open_session(attendee).refresh_token
        self.ids["session_id"] = make.rows(Session)[-1].id
        self.events = {
            "/profile/my-upcoming": upcoming,
            "/profile/my-past": past,
            "/events/<id:event_id>/rev": past,
            "/organizer/events/<id:event_id>/gate": self.gate_event,
        }

    def _question(self) -> str:
        """The secret of the address at which the answer to a question is expected."""
        with self.make.app.app_context(), transaction():
            return questions.open_question(RequestKind.STATUS, receipt="UKN7RT61SV").token

    def _claim(self, order: Order) -> Claim:
        """Of money that nobody has seen."""
        with self.make.app.app_context():
            buyer = db.session.get_one(User, order.buyer_id)
            claims.claim_payment(actor=buyer, order_id=order.id, receipt="SG632NMUAA")
        return self.make.rows(Claim)[0]

    def _calendar(self, owner: User) -> str:
        """The secret part of the address of somebody's calendar."""
        with self.make.app.app_context():
            return calendars.get_address(owner).rsplit("/", 1)[1].removesuffix(".ics")

    def _unsubscribe(self, reader: User) -> str:
        """The secret part of the address that ends somebody's reminders."""
        with self.make.app.app_context():
            url = preferences.unsubscribe_url(user_id=reader.id, kind=NotificationKind.EVENT_REMINDER)
        return url.rsplit("/", 1)[1]

    def _notification(self, reader: User) -> int:
        """One that is still to be sent."""
        row = Notification(
            key="1",
            kind=NotificationKind.ORDER_PAID,
            channel=NotificationChannel.EMAIL,
            user_id=reader.id,
            address=reader.email,
            facts={},
            next_try_at=clock.now(),
        )
        with self.make.app.app_context(), transaction() as session:
            session.add(row)
        return row.id

    def _mailed(self, reader: User, purpose: TokenPurpose) -> str:
        """The secret of a link that somebody was mailed."""
        is_changing = purpose is TokenPurpose.CHANGE_EMAIL
        return mailed_secret(self.make.app, reader, purpose, "another@example.co.ke" if is_changing else None)

    def _export(self, owner: User, event: Event) -> str:
        """The secret part of the address of an event's attendees."""
        with self.make.app.app_context():
            link = exports.make_link(actor=owner, event_id=event.id, file_format="csv")
        return link.url.rsplit("/", 1)[1].partition("?")[0]

    def _page(self, ticket: Ticket) -> str:
        """The secret part of the address of a ticket's page."""
        with self.make.app.app_context():
            return ticket_address.make(ticket.id, ticket.rotation)

    def _offer(self, holder: User, ticket: Ticket) -> str:
        """The secret part of the address that accepts the ticket."""
        app = self.make.app
        with app.app_context(), changed_settings(app, MAIL_URL="smtp://127.0.0.1:9"):
            own = possession.by_login(holder, ticket.code)
            transfer = transfers.offer(own, email="kamau@example.co.ke", phone=None)
            return ticket_address.make_offer(transfer.id)

    def _passed_on(self, event: Event) -> str:
        """The secret part of the address of the page of a ticket whose holder has no account."""
        order, _ = self.make.order(self.make.attendee(), self.make.ticket_type(event, name="Guest", price=0))
        [ticket] = [one for one in self.make.tickets() if one.order_id == order.id]
        with self.make.app.app_context(), transaction() as session:
            row = session.get_one(Ticket, ticket.id)
            row.holder_id, row.passed_on_at = None, clock.now()
        return self._page(ticket)

    def _gate_pass(self, owner: User, event: Event) -> NewPass:
        with self.make.app.app_context():
            return gate_passes.make_pass(actor=owner, event_id=event.id, name="Juma", gates=[], expires_at=None)

    def _scan(self, event: Event) -> int:
        """The id of one that let somebody in, with the gate pass, of a ticket nothing else is done to."""
        order, _ = self.make.order(self.make.attendee(), self.make.ticket_type(event, name="Crew", price=0))
        [ticket] = [one for one in self.make.tickets() if one.order_id == order.id]
        with self.make.app.app_context(), clock.set_to(event.starts_at):
            holder = gate_passes.authenticate(self.gate_pass.secret)
            presented = Presented(nonce="0123456789abcdef", code=ticket.code)
            [answered] = scans.record_scans(actor=holder, event_id=None, scans=[presented])
            return answered.scan.id

    def _review(self, event: Event, writer: User | None) -> None:
        """Of somebody whose ticket is gone since."""
        assert writer is not None
        with self.make.app.app_context(), transaction() as session:
            session.add(Review(event_id=event.id, attendee_id=writer.id, rating=3))

    def _picture(self) -> str:
        folder = self.make.app.extensions["settings"].UPLOAD_DIR
        (folder / f"{'0' * 32}.webp").write_bytes(b"RIFF")
        return "0" * 32

    def fill(self, address: str) -> str:
        """The address with ids of this world in it."""
        for start, event in self.events.items():
            if address.startswith(start):
                address = address.replace("<id:event_id>", str(event.id))
        others = {
            "/orders/<id:order_id>/refund": {"order_id": self.free_order.id},
            "/orders/<id:order_id>/tickets.pdf": {"order_id": self.free_order.id},
            "/events/<id:event_id>/attendees/export/<signed:token>": {"token": self.export_token},
            "/t/<signed:ticket_address>/manage": {"ticket_address": self.passed_on},
            "/gate/assets/<string:asset>": {"asset": "page.js"},
            "/admin/payments/<id:payment_id>/seen": {"payment_id": self.order_payment_id},
        }
        ids = self.ids | others.get(address, {}) | {"mailed": self.mailed.get(address.rpartition("/")[0])}
        return re.sub(r"<\w+:(\w+)>", lambda found: str(ids[found[1]]), address)

    def query(self, address: str) -> dict[str, Any]:
        """What has to be asked there."""
        asked = {
            "/tickets/check": {"code": self.ids["ticket_code"]},
            "/checkin/manifest": {"event_id": self.gate_event.id},
        }
        return asked.get(address, {})

    def body(self, method: str, address: str) -> dict[str, Any] | None:
        """Something right to send there."""
        person = {"first_name": "A", "last_name": "B", "email": "new@example.co.ke", "phone": "0799999999"}
        password = {"password": PASSWORD}
        attendee = self.callers["attendee"]
        assert attendee is not None
        return {
            ("POST", "/signup"): person | password,
            ("POST", "/login"): {"email": attendee.email} | password,
            ("POST", "/refresh"): {"refresh_token": self.refresh_token},
            ("POST", "/password/forgot"): {"email": attendee.email},
            ("PUT", "/profile/me/password"): {"current_password": PASSWORD, "password": "kahawa-chungu-41"},
            ("POST", "/password/reset/<secret:mailed>"): {"password": "kahawa-chungu-41"},
            ("POST", "/profile/me/email"): {"email": "another@example.co.ke"} | password,
            ("POST", "/profile/me/two-factor"): password,
            ("POST", "/profile/me/two-factor/confirm"): {"code": "492039"},
            ("POST", "/profile/me/two-factor/recovery-codes"): password,
            ("POST", "/profile/me/two-factor/remove"): password,
            **{("POST", start): {"token": secret} for start, secret in self.mailed.items()},
            ("POST", "/password/reset"): {
                "token": self.mailed["/password/reset"],
                "password": "kahawa-chungu-41",
            },
            ("PUT", "/profile/me"): {"first_name": "Zawadi"},
            ("DELETE", "/profile/me"): {"password": "not-the-password"},
            ("PUT", "/profile/me/notifications"): {"event_reminder": False},
            ("POST", "/events"): EVENT,
            ("PUT", "/events/<id:event_id>"): {"title": "Another title"},
            ("POST", "/events/<id:event_id>/tickets"): {"type": "VIP", "price": 10, "quantity": 5},
            ("PATCH", "/events/<id:event_id>/tickets/<id:ticket_type_id>"): {"price": 900},
            ("POST", "/events/<id:event_id>/reviews"): {"rating": 5},
            ("POST", "/events/<id:event_id>/review"): {"rating": 5},
            ("PUT", "/events/<id:event_id>/reviews"): {"rating": 1, "comment": "Too loud."},
            ("PUT", "/events/<id:event_id>/review"): {"rating": 1, "comment": "Too loud."},
            ("POST", "/payments"): {"order_id": self.ids["order_id"], "phone": attendee.phone},
            ("POST", "/orders"): cart((self.free, 2)),
            ("POST", "/orders/<id:order_id>/refund"): {"tickets": self.free_tickets},
            ("POST", "/orders/<id:order_id>/claim"): {"code": "SG632NMUAB"},
            ("POST", "/tickets/<code:ticket_code>/transfer"): {"email": "kamau@example.co.ke", "first_name": "Kamau"},
            ("POST", "/transfers/<signed:offer_address>"): dict(GUEST),
            ("POST", "/transfers/<signed:offer_address>/acceptance"): dict(GUEST),
            ("POST", "/t/<signed:ticket_address>/manage"): {"action": "agree_to_refund"},
            ("PATCH", "/admin/approve/<id:event_id>"): {"status": "approved"},
            ("PATCH", "/admin/<id:event_id>"): {"status": "rejected", "reason": "Too loud"},
            ("PATCH", "/admin/users/<id:user_id>/status"): {"status": "banned"},
            ("PATCH", "/admin/users/<id:user_id>/role"): {"role": "organizer"},
            ("POST", "/admin/payments/<id:payment_id>/attach"): {"order": self.ids["order_id"]},
            ("POST", "/admin/refunds/<id:refund_id>/by-hand"): {"receipt": "SG632NMUAB"},
            ("POST", "/checkin/scans"): {
                "event_id": self.gate_event.id,
                "scans": [{"code": "TK7P-4M2Q-9XWD", "nonce": "7f3a9c52e1b04d68"}],
            },
            ("POST", "/organizer/events/<id:event_id>/gate-passes"): {"name": "Achieng", "gates": ["North"]},
        }.get((method, address))

    def call(self, client: FlaskClient, caller: str, method: str, address: str) -> TestResponse:
        user = self.callers[caller]
        return self.call_with(client, self.make.headers(user) if user else {}, method, address)

    def call_with(self, client: FlaskClient, headers: dict[str, str], method: str, address: str) -> TestResponse:
        sent: dict[str, Any] = {"query_string": self.query(address)}
        if (body := self.body(method, address)) is not None:
            sent["json"] = body
        return client.open(self.fill(address), method=method, headers=headers, buffered=True, **sent)


_kept: dict[str, tuple[World, Kept]] = {}


def the_world(make: Maker) -> World:
    """As `World(make)` in an empty database: made once by each process, and put back as it was."""
    settings = make.app.extensions["settings"]
    if settings.DATABASE_URL not in _kept:
        world = World(make)
        folder = Path(tempfile.mkdtemp(prefix="ticksy-kept-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _kept[settings.DATABASE_URL] = (world, Kept(settings.DATABASE_URL, settings.UPLOAD_DIR, folder))
        return world
    world, kept = _kept[settings.DATABASE_URL]
    kept.put_back()
    world.make = make
    return world


# ── The matrix ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_method_declares_who_may_call_it() -> None:
    for resource, _ in resources.URLS:
        methods = [method for method in METHODS if hasattr(resource, method.lower())]
        assert methods, resource
        for method in methods:
            assert isinstance(getattr(getattr(resource, method.lower()), "endpoint", None), Endpoint), resource


def test_every_resource_of_the_app_is_in_the_url_table(app: Flask) -> None:
    served = {rule.rule for rule in app.url_map.iter_rules()}
    assert served == {address for _, addresses in resources.URLS for address in addresses}


def test_the_table_has_a_row_for_every_method_of_every_address() -> None:
    assert set(TABLE) == {(method, address) for method, address, _ in every_endpoint()}


@pytest.mark.parametrize(("method", "address"), TABLE)
def test_everybody_is_answered_as_the_table_says(client: FlaskClient, make: Maker, method: str, address: str) -> None:
    answers, world = {}, the_world(make)
    for caller in CALLERS:
        answers[caller] = world.call(client, caller, method, address).status_code
        if method != "GET" and answers[caller] < 300:
            world = the_world(make)
    assert answers == dict(zip(CALLERS, TABLE[method, address], strict=True))


def test_a_gate_pass_opens_the_gates_of_its_event_and_nothing_else(client: FlaskClient, make: Maker) -> None:
    """Where it is not for gates, it is no token: nobody's answer, and refused where somebody has to be named."""
    world = the_world(make)
    headers = {"Authorization": f"Gate {world.gate_pass.secret}"}
    for method, address, endpoint in every_endpoint():
        if (method, address) in WITH_A_PASS or endpoint.access is not PUBLIC:
            answer = world.call_with(client, headers, method, address)
            assert answer.status_code == WITH_A_PASS.get((method, address), 401), (method, address)
        elif method == "GET":
            answer = world.call_with(client, headers, method, address)
            assert answer.status_code == TABLE[method, address][0], (method, address)


@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED])
@pytest.mark.parametrize("below", ["", "/tickets", "/reviews", "/review"])
def test_an_unpublished_event_exists_for_its_owner_and_admins_alone(
    client: FlaskClient, make: Maker, status: EventStatus, below: str
) -> None:
    organizer = make.organizer()
    address = f"/events/{make.event(organizer, status=status).id}{below}"
    for user in (organizer, make.admin()):
        assert client.get(address, headers=make.headers(user)).status_code == 200
    for user in (make.organizer(), make.attendee()):
        assert client.get(address, headers=make.headers(user)).status_code == 404
    assert client.get(address).status_code == 404


def test_a_ticket_type_is_found_under_its_own_event_alone(client: FlaskClient, make: Maker) -> None:
    """Owning an event gives no power over the ticket types of another."""
    organizer = make.organizer()
    own, foreign = make.event(organizer), make.on_sale()
    address = f"/events/{own.id}/tickets/{foreign.id}"
    for method in ("PATCH", "DELETE"):
        assert client.open(address, method=method, json={}, headers=make.headers(organizer)).status_code == 404


# ── Tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────


def token(app: Flask, user: User, *, key: str = "", is_signed: bool = True, **claims: Any) -> str:
    """A token of the user, with other claims, another key or no signature."""
    with app.app_context():
        payload = jwt.decode(open_session(user).access_token, options={"verify_signature": False})
    payload = {name: value for name, value in (payload | claims).items() if value is not None}
    if not is_signed:
        return jwt.encode(payload, None, algorithm="none")
    return jwt.encode(payload, key or app.config["SECRET_KEY"], algorithm="HS256")


def bad_authorization(app: Flask, user: User) -> dict[str, str]:
    good = token(app, user)
    head, payload, signature = good.split(".")
    past = clock.now() - timedelta(seconds=5)
    return {
        "empty": "",
        "only the word": "Bearer",
        "the word and a blank": "Bearer ",
        "another scheme": "Basic YTpi",
        "no scheme": good,
        "nonsense": "Bearer nonsense",
        "three dots": "Bearer ...",
        "not ASCII": "Bearer caf\xe9.\xff.\xfe",
        "cut off": f"Bearer {head}.{payload}.{signature[:-4]}",
        "no signature": f"Bearer {head}.{payload}.",
        "another payload": f"Bearer {head}.{payload[:-2]}.{signature}",
        "expired": f"Bearer {token(app, user, exp=past)}",
        "not yet valid": f"Bearer {token(app, user, nbf=clock.ahead(hours=1))}",
        "another key": f"Bearer {token(app, user, key='another-secret-of-the-right-length-0123456789')}",
        "no algorithm": f"Bearer {token(app, user, is_signed=False)}",
        "another algorithm": f"Bearer {jwt.encode({'sub': '1'}, 'x' * 64, algorithm='HS512')}",
        "a refresh token": f"Bearer {token(app, user, type='refresh')}",
        "nobody's": f"Bearer {token(app, user, sub=None)}",
        "a number for a name": f"Bearer {token(app, user, sub='abc')}",
        "without a session": f"Bearer {token(app, user, sid=None)}",
        "a session that never was": f"Bearer {token(app, user, sid='999999')}",
        "a huge session": f"Bearer {token(app, user, sid=str(10**30))}",
        "a list for a session": f"Bearer {token(app, user, sid=['a'])}",
        "a huge id": f"Bearer {token(app, user, sub=str(10**30))}",
        "somebody who is gone": f"Bearer {token(app, user, sub='999999')}",
        "a list": f"Bearer {jwt.encode({'sub': '1', 'iat': [1]}, app.config['SECRET_KEY'], algorithm='HS256')}",
    }


def test_the_app_under_test_handles_errors_as_in_production(app: Flask) -> None:
    assert not app.testing
    assert not app.debug
    assert app.config["PROPAGATE_EXCEPTIONS"] is None


def test_a_bad_token_is_401_and_never_500(app: Flask, client: FlaskClient, make: Maker) -> None:
    for kind, value in bad_authorization(app, make.attendee()).items():
        answer = client.get("/profile/me", headers={"Authorization": value})
        assert answer.status_code == 401, kind
        assert set(answer.json) == {"message", "code"}, kind
        assert answer.headers["WWW-Authenticate"] == "Bearer", kind


def test_no_token_is_401_at_every_address_that_wants_one(client: FlaskClient) -> None:
    for method, address, endpoint in every_endpoint():
        if endpoint.access is not PUBLIC:
            answer = client.open(re.sub("<[^>]+>", "1" * 12, address), method=method)
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), (method, address)


def test_an_expired_token_is_told_apart(app: Flask, client: FlaskClient, make: Maker) -> None:
    expired = bad_authorization(app, make.attendee())["expired"]
    assert client.get("/profile/me", headers={"Authorization": expired}).json["code"] == "token_expired"


def test_a_token_that_was_good_ends_all_the_same(app: Flask, client: FlaskClient, make: Maker) -> None:
    headers = {"Authorization": f"Bearer {token(app, make.attendee(), exp=clock.ahead(seconds=1.5))}"}
    assert client.get("/profile/me", headers=headers).status_code == 200
    assert client.get("/profile/me", headers=headers).status_code == 200
    time.sleep(1.6)
    assert client.get("/profile/me", headers=headers).json["code"] == "token_expired"


def test_a_token_that_was_good_under_one_key_is_not_under_another(
    app: Flask, client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Authorization": f"Bearer {token(app, make.attendee())}"}
    assert client.get("/profile/me", headers=headers).status_code == 200
    monkeypatch.setitem(app.config, "SECRET_KEY", "another-secret-of-the-right-length-0123456789")
    assert client.get("/profile/me", headers=headers).json["code"] == "token_invalid"


def test_who_shows_no_token_is_nobody_even_after_one_was_read_from_elsewhere(
    app: Flask, client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(app.config, "JWT_TOKEN_LOCATION", ["cookies"])
        patched.setitem(app.config, "JWT_COOKIE_CSRF_PROTECT", False)
        client.set_cookie(app.config["JWT_ACCESS_COOKIE_NAME"], token(app, make.attendee()))
        assert client.get("/profile/me").status_code == 200
    assert client.get("/profile/me").status_code == 401


def test_no_more_tokens_are_remembered_than_fit(
    client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_MOST_READ", 2)
    for _ in range(5):
        assert client.get("/profile/me", headers=make.headers(make.attendee())).status_code == 200
    assert 0 < len(tokens._read) <= 2


def test_on_public_routes_a_bad_token_is_nobody(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    published = make.event().id
    hidden = make.event(status=EventStatus.PENDING).id
    for kind, value in bad_authorization(app, user).items():
        headers = {"Authorization": value}
        assert client.get("/events", headers=headers).status_code == 200, kind
        assert client.get(f"/events/{published}", headers=headers).status_code == 200, kind
        assert client.get(f"/events/{hidden}", headers=headers).status_code == 404, kind
        known = {"email": user.email, "password": "maziwa-lala-2026"}
        assert client.post("/login", json=known, headers=headers).status_code == 200, kind


def test_a_token_lasts_as_long_as_the_settings_say(app: Flask, make: Maker) -> None:
    payload = jwt.decode(token(app, make.attendee()), options={"verify_signature": False})
    assert payload["exp"] - payload["iat"] == 1440 * 60


def test_a_new_role_acts_at_once(client: FlaskClient, make: Maker) -> None:
    """The role is not in the token."""
    user = make.attendee()
    headers = make.headers(user)
    assert client.get("/admin/pending", headers=headers).status_code == 403
    with make.app.app_context(), transaction() as session:
        session.get_one(User, user.id).role = Role.ADMIN
    assert client.get("/admin/pending", headers=headers).status_code == 200
