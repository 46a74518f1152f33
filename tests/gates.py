"""Words about a gate: an event whose gates are open, tickets for it, and scans of them."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from flask.testing import FlaskClient

from models import Ticket
from services import gate_passes, ticket_keys
from tests.support import Maker
from utils import clock
from utils.database import db

SCANS = "/checkin/scans"
_nonces = itertools.count(1)


class Gate:
    """An event whose gates are open, and somebody who scans there."""

    def __init__(self, client: FlaskClient, make: Maker, **facts: Any) -> None:
        self.client, self.make = client, make
        self.organizer = make.organizer()
        self.event = make.event(self.organizer, starts_at=clock.ago(hours=1), **facts)
        with clock.set_to(clock.ago(days=2)):
            self.ticket_type = make.ticket_type(self.event, name="VIP", price=0, quantity=600)
        self.headers = make.headers(self.organizer)

    def tickets(self, count: int = 1) -> list[Ticket]:
        before = {one.id for one in self.make.tickets()}
        with clock.set_to(clock.ago(days=1)):
            buyer = self.make.attendee(first_name="Akinyi", last_name="Oduor")
            self.make.order(buyer, self.ticket_type, quantity=count)
        return [one for one in self.make.tickets() if one.id not in before]

    def token(self, ticket: Ticket, **facts: Any) -> str:
        with self.make.app.app_context():
            return ticket_keys.make_token(db.session.get_one(Ticket, ticket.id), self.event)

    def send(self, *scans: dict[str, Any], headers: dict[str, str] | None = None, **common: Any) -> dict[str, Any]:
        body = {"scans": list(scans)} | common
        if headers is None:
            body = {"event_id": self.event.id} | body
        answer = self.client.post(SCANS, json=body, headers=headers or self.headers)
        assert answer.status_code == 200, answer.json
        told: dict[str, Any] = answer.json
        return told

    def scan(self, ticket: Ticket, **facts: Any) -> dict[str, Any]:
        one: dict[str, Any] = self.send(scan_of(ticket, **facts))["results"][0]
        return one

    def a_pass(self, **facts: Any) -> dict[str, str]:
        """Headers of somebody with a gate pass."""
        facts = {"name": "Juma", "gates": [], "expires_at": None} | facts
        with self.make.app.app_context():
            made = gate_passes.make_pass(actor=self.organizer, event_id=self.event.id, **facts)
        return {"Authorization": f"Gate {made.secret}"}


def scan_of(ticket: Ticket, **facts: Any) -> dict[str, Any]:
    return {"code": ticket.code, "nonce": new_nonce()} | facts


def new_nonce() -> str:
    return f"nonce-{next(_nonces):012d}"


def at(moment: datetime) -> str:
    return moment.isoformat()
