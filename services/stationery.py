"""What every e-mail is made of, for the one layout that all of them have, and words that several of them need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from config import settings
from utils import clock, ticket_address

#: Names people have. An account can be opened with somebody else's address, to send them "names" that advertise.
_NAME = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+){0,3}")
_LONGEST_NAME, _LONGEST_TITLE = 40, 90

Facts = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """What an e-mail says."""

    subject: str
    heading: str
    paragraphs: Sequence[str]
    #: Things to look up: (what, value).
    details: Sequence[tuple[str, str]] = ()
    #: Tickets: (code, type).
    codes: Sequence[tuple[str, str]] = ()
    #: A button: (what it says, where it goes).
    action: tuple[str, str] | None = None
    #: Said below all else.
    remarks: Sequence[str] = field(default=())
    #: Why its reader gets it.
    why: str = "You get this because it is about your own account, order, ticket or event at Ticksy."


# ── People and events ─────────────────────────────────────────────────────────────────────────────────────────────


def as_name(told: str) -> str | None:
    """The name, if it looks like one."""
    name = " ".join(str(told).split())
    return name if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) else None


def full_title(event: Facts) -> str:
    return " ".join(event["title"].split())


def short_title(event: Facts) -> str:
    """For subjects and sentences: cut after a word where it is long, if there is one."""
    title = full_title(event)
    if len(title) <= _LONGEST_TITLE:
        return title
    cut = title[:_LONGEST_TITLE]
    return (cut.rpartition(" ")[0] or cut[:-1]).rstrip(" ,.:;-") + "…"


def describe(event: Facts) -> list[tuple[str, str]]:
    """For letters whose heading is not its title."""
    return [("Event", full_title(event)), *place(event)]


def place(event: Facts) -> list[tuple[str, str]]:
    return [("When", _time_span(event)), ("Where", " ".join(event["location"].split()))]


def _time_span(event: Facts) -> str:
    start, end = _start(event), datetime.fromisoformat(event["ends_at"]).astimezone(clock.NAIROBI)
    if start.date() == end.date():
        return f"{day_and_time(start)} to {end:%H:%M}"
    return f"{day_and_time(start)} to {day_and_time(end)}"


def _start(event: Facts) -> datetime:
    return datetime.fromisoformat(event["starts_at"]).astimezone(clock.NAIROBI)


def day_and_time(moment: datetime) -> str:
    return f"{moment:%A}, {moment.day} {moment:%B %Y}, {moment:%H:%M}"


def short_time(event: Facts) -> str:
    start = _start(event)
    return f"{start:%a} {start.day} {start:%b}, {start:%H:%M}"


# ── Links ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def link_to_tickets(facts: Facts, user_id: int | None) -> str:
    """The page of the frontend with one's tickets; of who has no account, that of their ticket."""
    if user_id is None:
        return link_to_page(facts) if "ticket" in facts else settings.frontend_url
    return link_to_profile(user_id)


def link_to_profile(user_id: int | None) -> str:
    return f"{settings.frontend_url}/attendee/{user_id}/profile"


def link_to_event(event: Facts) -> str:
    return f"{settings.frontend_url}/events/{event['id']}"


def link_to_page(facts: Facts) -> str:
    """The page of a ticket, which needs no login."""
    ticket_id, rotation = facts["ticket"]
    return f"{settings.PUBLIC_URL}/t/{ticket_address.make(ticket_id, rotation)}"


def link_to_offer(facts: Facts) -> str:
    """The page that accepts a ticket."""
    return f"{settings.PUBLIC_URL}/transfers/{ticket_address.make_offer(facts['transfer'])}"
