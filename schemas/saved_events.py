"""Saved events."""

from __future__ import annotations

from pydantic import Field

from schemas.common import Answer, Message, When
from schemas.events import EventBrief


class SavedOut(Answer):
    """A saved event; what it is about stands below `event`."""

    event: EventBrief
    saved_at: When = Field(validation_alias="created_at")


class Saved(Message):
    #: Whether the event is saved now.
    saved: bool
