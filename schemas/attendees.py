"""Attendees and their check-in, as the organizer's pages read them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasPath, Field

from schemas.common import EMPTY_IS_NONE, Answer, Label, Line, Request, When


class AttendeeSearch(Request):
    """Without `page` it is the whole event."""

    #: A part of a name, e-mail address, phone number or ticket code.
    q: Annotated[Line | None, EMPTY_IS_NONE] = None
    ticket_type: Annotated[Label | None, EMPTY_IS_NONE] = None
    checked_in: Annotated[bool | None, EMPTY_IS_NONE] = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    per_page: Annotated[int, Field(ge=1, le=1_000)] = 100


class AttendeeOut(Answer):
    """One ticket; the frontend calls it a pass."""

    id: int
    ticket_code: str = Field(validation_alias="code")
    ticket_type: str = Field(validation_alias=AliasPath("ticket_type", "name"))
    attendee_first_name: str = Field(validation_alias="first_name")
    attendee_last_name: str = Field(validation_alias="last_name")
    attendee_email: str = Field(validation_alias="email")
    attendee_phone: str = Field(validation_alias="phone")
    checked_in: bool = Field(validation_alias="is_checked_in")
    checked_in_at: When | None


class Attendees(Answer):
    attendees: list[AttendeeOut] = Field(validation_alias="rows")


class CheckInOut(Answer):
    """What became of it. `changed` is false when it was so already."""

    message: str
    changed: bool = Field(validation_alias="is_changed")
    ticket: AttendeeOut
