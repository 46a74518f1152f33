"""Calendars."""

from __future__ import annotations

from schemas.common import Answer


class CalendarLinks(Answer):
    """Addresses that put an event into a calendar: a file, Google's and Microsoft's."""

    ics_url: str
    google_url: str
    outlook_url: str


class CalendarAddress(Answer):
    """Where a calendar program subscribes to one's own events. Whoever has it sees them."""

    url: str
