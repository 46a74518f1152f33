"""Target 5: tickets at a gate, checked by the server and without it."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks import cores
from benchmarks.scene import HotType, Scene
from models import Event, Ticket
from services import ticket_keys
from utils import ticket_token
from utils.database import db

#: Tickets that are there to be scanned.
TICKETS = 8_000


class Gate:
    """An event whose gates are open, and the tokens of its tickets."""

    def __init__(self, scene: Scene, tickets: int = TICKETS) -> None:
        self._scene = scene
        self.hot: HotType = scene.add_hot_type(quantity=tickets, days=0)
        scene.add_tickets(self.hot, tickets)
        with scene.app.app_context():
            event = db.session.get_one(Event, self.hot.event_id)
            sold = db.session.scalars(select(Ticket).where(Ticket.ticket_type_id == self.hot.id)).all()
            self.tokens = ticket_keys.make_tokens(sold, event)
            self.keys = ticket_keys.public_keys(event.id)
            db.engine.dispose()
        self._next = 0

    def scans(self) -> Path:
        """A file of requests, each for another ticket, that begins where the last one may have ended."""
        self._next = (self._next + len(self.tokens) // 4) % len(self.tokens)
        tokens = self.tokens[self._next :] + self.tokens[: self._next]
        bodies = (
            json.dumps({"event_id": self.hot.event_id, "nonce": uuid.uuid4().hex, "token": token}) for token in tokens
        )
        return self._scene.write_requests("scans.txt", [(self._scene.organizer, body) for body in bodies])

    def verify_offline(self, *, seconds: float) -> dict[str, Any]:
        """How many tokens one core checks in a second, with nothing but the event's public key."""
        with cores.on_core(cores.MEASURING):
            began, count = time.perf_counter(), 0
            while (took := time.perf_counter() - began) < seconds:
                for token in self.tokens[:200]:
                    ticket_token.verify(token, self.keys)
                count += 200
        return {"verified_per_second": count / took}
