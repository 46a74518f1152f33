"""What every e-mail is made of, for the one layout that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
    why: str = "You get this since it is about your own account, order or event at Ticksy."


def day_and_time(moment: datetime) -> str:
    return f"{moment:%A}, {moment.day} {moment:%B %Y}, {moment:%H:%M}"
