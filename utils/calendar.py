"""Files for calendars (RFC 5545)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from icalendar import Calendar, Event, Timezone, TimezoneStandard, vDuration, vText

from utils import clock

#: How often a program that is subscribed should look.
REFRESH = timedelta(hours=1)


@dataclass(frozen=True)
class Entry:
    """One thing to go to."""

    #: The same for ever, whatever is edited.
    uid: str
    #: Grows with each edit; a program keeps the entry with the highest.
    sequence: int
    #: CONFIRMED, TENTATIVE or CANCELLED.
    status: str
    title: str
    description: str
    location: str
    starts_at: datetime
    ends_at: datetime
    url: str
    created_at: datetime
    changed_at: datetime


def write(name: str, entries: Iterable[Entry]) -> bytes:
    """A calendar file, the same bytes for the same entries."""
    calendar = Calendar()
    calendar.add("prodid", "-//Ticksy//Ticksy//EN")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    # The library does not know that these are text, and would not escape them.
    for title in ("name", "x-wr-calname"):
        calendar.add(title, vText(" ".join(name.split())))
    calendar.add("x-wr-timezone", clock.NAIROBI.key)
    # RFC 7986, and what Outlook reads.
    calendar.add("refresh-interval", vDuration(REFRESH), parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", vDuration(REFRESH))
    calendar.add_component(_nairobi())
    for entry in entries:
        calendar.add_component(_component(entry))
    return bytes(calendar.to_ical())


def _nairobi() -> Timezone:
    """Nairobi's clocks have not been moved since 1960."""
    zone, standard = Timezone(), TimezoneStandard()
    zone.add("tzid", clock.NAIROBI.key)
    standard.add("dtstart", datetime(1970, 1, 1))  # noqa: DTZ001  # local by definition (RFC 5545, 3.6.5)
    standard.add("tzoffsetfrom", timedelta(hours=3))
    standard.add("tzoffsetto", timedelta(hours=3))
    standard.add("tzname", "EAT")
    zone.add_component(standard)
    return zone


def _component(entry: Entry) -> Event:
    event = Event()
    event.add("uid", entry.uid)
    event.add("sequence", entry.sequence)
    event.add("status", entry.status)
    event.add("summary", _text(entry.title))
    event.add("description", _text(entry.description))
    event.add("location", _text(entry.location))
    event.add("dtstart", entry.starts_at.astimezone(clock.NAIROBI).replace(microsecond=0))
    event.add("dtend", _end(entry).astimezone(clock.NAIROBI))
    event.add("url", entry.url)
    event.add("created", entry.created_at.astimezone(timezone.utc))
    # Without METHOD it is when the entry was last changed (RFC 5545, 3.8.7.2), so that the file stays the same.
    event.add("dtstamp", entry.changed_at.astimezone(timezone.utc))
    event.add("last-modified", entry.changed_at.astimezone(timezone.utc))
    return event


def _end(entry: Entry) -> datetime:
    """In whole seconds, and after the start, which RFC 5545 wants."""
    return max(entry.ends_at.replace(microsecond=0), entry.starts_at.replace(microsecond=0) + timedelta(seconds=1))


def _text(value: str) -> str:
    """With one kind of line end, the one that can be written."""
    return "\n".join(value.splitlines())
