"""What is in the database before anything is measured: a catalogue, and buyers who are logged in.

Made by SQL, since thousands of log-ins would take minutes. Access tokens are the ones Ticksy itself would hand out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from app import create_app
from benchmarks.stage import Stage
from config import load
from utils import tokens
from utils.database import db
from utils.security import hash_password

PASSWORD = "maziwa-lala-2026"
CATALOGUE_EVENTS = 20
_ORGANIZERS = 5

_PEOPLE = """
INSERT INTO users (first_name, last_name, email, phone, password_hash, role, status, calendar_version,
                   muted_notifications, email_verified_at, created_at)
SELECT 'Wanjiku', 'Kamau ' || n, %(name)s || n || '@example.co.ke', '2547' || lpad((%(first)s + n)::text, 8, '0'),
       %(hash)s, %(role)s, 'active', 1, '{}', now(), now()
FROM generate_series(1, %(count)s) AS n
RETURNING id
"""
_SESSIONS = """
INSERT INTO sessions (user_id, family_hash, refresh_hash, user_agent, created_at, last_used_at, expires_at)
SELECT id, sha256(('family ' || id)::bytea), sha256(('refresh ' || id)::bytea), 'benchmark', now(), now(),
       now() + interval '30 days'
FROM users ORDER BY id
RETURNING id, user_id
"""
_EVENTS = """
INSERT INTO events (organizer_id, title, description, location, starts_at, ends_at, category, tags, status,
                    refund_until_hours, transfer_until_hours, allows_reentry, created_at, updated_at,
                    calendar_sequence, cancelled_in_public)
SELECT (%(organizers)s)[1 + n %% array_length(%(organizers)s, 1)], 'Nairobi Jazz Night ' || n,
       repeat('An evening of live music under the stars, with food from the coast and the highlands. ', 6),
       'Uhuru Gardens, Nairobi', now() + %(days)s::interval + n * interval '1 hour',
       now() + %(days)s::interval + n * interval '1 hour' + interval '5 hours', 'Music', 'jazz,live,outdoor',
       'approved', 0, 0, false, now(), now(), 0, false
FROM generate_series(1, %(count)s) AS n
RETURNING id
"""
_TYPE = """
INSERT INTO ticket_types (event_id, name, price_kes, quantity, sold, held, min_per_order, max_per_order)
VALUES (%s, %s, %s, %s, 0, 0, 1, 10) RETURNING id
"""

#: One free order, paid, for each ticket; buyers in turn.
_TICKETS = """
WITH bought AS (
    INSERT INTO orders (buyer_id, event_id, reference, poll_id, cart, total_kes, phone, status, created_at,
                        expires_at, paid_at)
    SELECT %(buyer)s + n %% %(buyers)s, %(event)s, left(md5(%(type)s || ' ' || n), 12), md5(n || ' ' || %(type)s),
           %(type)s || 'x1', 0, '254712345678', 'paid', now(), now(), now()
    FROM generate_series(1, %(count)s) AS n
    RETURNING id, buyer_id
), item AS (
    INSERT INTO order_items (order_id, ticket_type_id, quantity, unit_price_kes, attendees)
    SELECT id, %(type)s, 1, 0, jsonb_build_array(jsonb_build_object(
        'first_name', 'Wanjiku', 'last_name', 'Njoroge', 'email', 'w@example.co.ke', 'phone', '254712345678'))
    FROM bought
), sold AS (
    UPDATE ticket_types SET sold = sold + %(count)s WHERE id = %(type)s
)
INSERT INTO tickets (order_id, ticket_type_id, code, price_kes, first_name, last_name, email, phone, holder_id,
                     rotation, status, issued_at, changed_at)
SELECT id, %(type)s, upper(left(md5('ticket ' || id), 14)), 0, 'Wanjiku', 'Njoroge ' || id,
       'person' || id || '@example.co.ke', '2547' || lpad((id %% 100000000)::text, 8, '0'), buyer_id, 1, 'valid',
       now(), now()
FROM bought
"""


@dataclass(frozen=True)
class Buyer:
    user_id: int
    phone: str
    email: str
    #: As in an `Authorization` header.
    bearer: str


@dataclass(frozen=True)
class HotType:
    """Something to be sold out: the one ticket type of an event of its own."""

    id: int
    event_id: int


class Scene:
    """The catalogue and its people. `app` is Ticksy in this process, to ask it what HTTP would not tell."""

    def __init__(self, stage: Stage, *, buyers: int) -> None:
        self._stage = stage
        self.app: Flask = create_app(load(stage.environment | {"LOG_LEVEL": "ERROR"}))
        with self.app.app_context():
            self._hash = hash_password(PASSWORD)
        self._organizer_ids = self._add_people("organizer", "organizer", _ORGANIZERS, first=90_000_000)
        admin_ids = self._add_people("admin", "admin", 1, first=91_000_000)
        buyer_ids = self._add_people("buyer", "attendee", buyers, first=10_000_000)
        bearers = self._open_sessions()
        self.organizer, self.admin = bearers[self._organizer_ids[0]], bearers[admin_ids[0]]
        self.buyers = [
            Buyer(user_id, f"2547{10_000_000 + n:08d}", f"buyer{n}@example.co.ke", bearers[user_id])
            for n, user_id in enumerate(buyer_ids, 1)
        ]
        self.event_ids = self._add_events(CATALOGUE_EVENTS, days=20)
        for event_id in self.event_ids:
            for name, price in (("Early Bird", 500), ("Regular", 1_000), ("VIP", 5_000)):
                stage.rows(_TYPE, (event_id, name, price, 1_000))
        stage.rows("ANALYZE users, sessions, events, ticket_types")
        with self.app.app_context():
            db.engine.dispose()

    def _add_people(self, name: str, role: str, count: int, *, first: int) -> list[int]:
        values = {"name": name, "role": role, "count": count, "first": first, "hash": self._hash}
        return sorted(row["id"] for row in self._stage.rows(_PEOPLE, values))

    def _open_sessions(self) -> dict[int, str]:
        """One for everybody; their access tokens by user id."""
        found = self._stage.rows(_SESSIONS)
        with self.app.app_context():
            return {row["user_id"]: f"Bearer {tokens.issue(row['user_id'], row['id'])}" for row in found}

    def _add_events(self, count: int, *, days: int, organizer_ids: list[int] | None = None) -> list[int]:
        values = {"organizers": organizer_ids or self._organizer_ids, "days": f"{days} days", "count": count}
        return sorted(row["id"] for row in self._stage.rows(_EVENTS, values))

    def add_hot_type(self, *, quantity: int, price_kes: int = 0, days: int = 60) -> HotType:
        """Of the first organizer; after all of the catalogue, so that a page of that stays as it is."""
        [event_id] = self._add_events(1, days=days, organizer_ids=self._organizer_ids[:1])
        [row] = self._stage.rows(_TYPE, (event_id, "Regular", price_kes, quantity))
        return HotType(row["id"], event_id)

    def add_tickets(self, hot: HotType, count: int) -> None:
        """So many that somebody holds."""
        values = {"type": hot.id, "event": hot.event_id, "count": count}
        self._stage.rows(_TICKETS, values | {"buyer": self.buyers[0].user_id, "buyers": len(self.buyers)})
        self._stage.rows("ANALYZE orders, order_items, tickets")

    def write_requests(self, name: str, bodies: list[tuple[str, str]]) -> Path:
        """A file for `lines.lua`: who asks, and with which body, one request a line."""
        path = self._stage.folder / name
        path.write_text("".join(f"{bearer}\t{body}\n" for bearer, body in bodies), encoding="utf-8")
        return path
