"""Everybody's accounts, as admins look them up and change them."""

from __future__ import annotations

from typing import Annotated, Literal

from schemas.common import EMPTY_IS_NONE, Line, Page, Request


class UserSearch(Page):
    #: Parts of a name, an e-mail address or a phone number.
    q: Annotated[Line | None, EMPTY_IS_NONE] = None
    role: Annotated[Literal["attendee", "organizer", "admin"] | None, EMPTY_IS_NONE] = None
    status: Annotated[Literal["active", "banned", "deleted"] | None, EMPTY_IS_NONE] = None


class NewStatus(Request):
    status: Literal["active", "banned"]


class NewRole(Request):
    role: Literal["attendee", "organizer", "admin"]
