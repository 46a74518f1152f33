"""Tickets that change hands: what their holders send, what receivers are sent, and what a gate says."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from models import Event, MessageChannel, Notification, NotificationChannel, NotificationKind, Order, Ticket, User
from services import letters, paybill, texts
from tests.gates import SCANS, new_nonce
from tests.support import Maker
from utils import clock, ticket_address
from utils.database import db, transaction

#: Settings with which both kinds of messages are written.
CHANNELS = {
    "MAIL_URL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "tickets@ticksy.example.com",
    "SMS_URL": "africastalking://ticksy:key@127.0.0.1:9",
}
KAMAU = {"first_name": "Kamau", "last_name": "Njoroge"}
EMAIL, PHONE = "kamau@example.co.ke", "254711222333"


class Passing:
    """Somebody who bought a ticket, and everybody it may go to."""

    def __init__(self, client: FlaskClient, make: Maker, *, price: int = 500, quantity: int = 1, **facts: Any) -> None:
        self.client, self.make = client, make
        self.organizer = make.organizer()
        self.event: Event = make.event(self.organizer, **facts)
        self.ticket_type = make.ticket_type(self.event, name="VIP", price=price)
        self.buyer = make.attendee(first_name="Akinyi", last_name="Oduor")
        self.order: Order = make.paid_order(self.buyer, self.ticket_type, quantity=quantity)
        self.tickets = self.order.tickets
        self.ticket = self.tickets[0]

    # ── As the sender

    def offer(self, ticket: Ticket | None = None, *, by: User | None = None, **to: str) -> TestResponse:
        path = f"/tickets/{(ticket or self.ticket).code}/transfer"
        return self.client.post(path, json=to or {"email": EMAIL}, headers=self.make.headers(by or self.buyer))

    def as_buyer(self, path: str, method: str = "GET") -> TestResponse:
        return self.client.open(path, method=method, headers=self.make.headers(self.buyer), buffered=True)

    # ── As the receiver

    def link(self) -> str:
        """Out of the last message with an offer, as whoever gets it reads it."""
        return link_in(self.sent(NotificationKind.TRANSFER_OFFERED)[-1], self.make)

    def accept(self, link: str | None = None, *, by: User | None = None, **names: str) -> TestResponse:
        headers = self.make.headers(by) if by else {}
        return self.client.post(f"{link or self.link()}/acceptance", json=names or KAMAU, headers=headers)

    def pass_on(self, *, by: User | None = None, ticket: Ticket | None = None, **to: str) -> Ticket:
        """From the buyer to somebody, by link; the ticket as it is then."""
        assert self.offer(ticket, **to).status_code == 201
        answer = self.accept(by=by)
        assert answer.status_code == 200, answer.json
        return self.now(ticket)

    # ── What is there

    def now(self, ticket: Ticket | None = None) -> Ticket:
        with self.make.app.app_context():
            found = select(Ticket).where(Ticket.id == (ticket or self.ticket).id)
            return db.session.scalars(found).one()

    def sent(self, kind: NotificationKind) -> list[Notification]:
        return [one for one in self.make.rows(Notification) if one.kind is kind]

    def page(self, ticket: Ticket | None = None) -> str:
        now = self.now(ticket)
        with self.make.app.app_context():
            return f"/t/{ticket_address.make(now.id, now.rotation)}"

    # ── At the gate

    def scan(self, **shown: str) -> dict[str, Any]:
        """What the gate says, during the event, of a `token` or a `code`."""
        sent = {"event_id": self.event.id, "nonce": new_nonce()} | shown
        with clock.set_to(self.event.starts_at):
            answer = self.client.post(SCANS, json=sent, headers=self.make.headers(self.organizer))
        told: dict[str, Any] = answer.json["results"][0]
        return told

    def check(self, code: str) -> str:
        """What anybody is told of a code."""
        return str(self.client.get("/tickets/check", query_string={"code": code}).json["status"])


def take_back(passing: Passing) -> None:
    """M-PESA reverses the payment by itself."""
    with passing.make.app.app_context(), transaction():
        paybill.take_back(passing.order.receipt or "", channel=MessageChannel.PULL)


def link_in(message: Notification, make: Maker) -> str:
    """The path of the link to a ticket or an offer, in the words that are sent."""
    with make.app.app_context():
        is_mail = message.channel is NotificationChannel.EMAIL
        words = letters.render(message).text if is_mail else texts.write_text(message)
        [url] = re.findall(r"https?://\S+/(?:transfers|t)/\S+", words)
    return urlsplit(url).path
