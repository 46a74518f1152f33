"""Addresses that add one entry to Google's calendar and to Microsoft's."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from urllib.parse import urlencode

from utils import clock

#: Of a description in an address: browsers and servers take a few thousand characters in all.
_DETAILS = 500
#: Events whose addresses are kept, since everybody asks for the same few.
_KEPT = 500


@lru_cache(maxsize=_KEPT)
def google_url(*, title: str, description: str, location: str, starts_at: datetime, ends_at: datetime) -> str:
    """Opens Google Calendar with the entry filled in."""
    query = {
        "action": "TEMPLATE",
        "text": title,
        "dates": "/".join(f"{moment.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}" for moment in (starts_at, ends_at)),
        "details": _shortened(description),
        "location": location,
        "ctz": clock.NAIROBI.key,
    }
    return "https://calendar.google.com/calendar/render?" + urlencode(query)


@lru_cache(maxsize=_KEPT)
def outlook_url(*, title: str, description: str, location: str, starts_at: datetime, ends_at: datetime) -> str:
    """Opens Outlook's calendar with the entry filled in."""
    query = {
        "path": "/calendar/action/compose",
        "rru": "addevent",
        "subject": title,
        "startdt": f"{starts_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "enddt": f"{ends_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "body": _shortened(description),
        "location": location,
    }
    return "https://outlook.live.com/calendar/0/deeplink/compose?" + urlencode(query)


def _shortened(text: str) -> str:
    return text if len(text) <= _DETAILS else text[: _DETAILS - 1] + "…"
