"""Accounts: signing up, logging in, one's own profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from models import User
from schemas.common import Answer, Changes, Email, Flag, Name, Phone, Request, Text, When, Word, parse_email

#: Any characters at all: a password is never stored or shown, only hashed.
_Password = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class NewAdmin(Request):
    first_name: Name
    last_name: Name
    email: Email
    phone: Phone
    password: _Password


class SignUp(NewAdmin):
    role: Literal["attendee", "organizer"] = "attendee"


def _as_signed_up(text: str) -> str:
    """What is no address is not refused: it is nobody's, like any wrong one."""
    try:
        return parse_email(text)
    except PydanticCustomError:
        return text


class LogIn(Request):
    email: Annotated[Text, Field(max_length=254), AfterValidator(_as_signed_up)]
    password: _Password


class ProfileChanges(Changes):
    first_name: Name | None = None
    last_name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None


class Deletion(Request):
    password: _Password
    #: Although one holds tickets for events that are not over.
    force: Flag = False


class ConsentOut(Answer):
    """One time that one agreed to something, or took it back."""

    #: The name of the terms, or a kind of notification.
    purpose: str
    is_given: bool
    ip_address: str | None
    created_at: When


class UserOut(Answer):
    id: int
    first_name: str
    last_name: str
    email: str
    phone: str
    role: Word
    status: Word
    created_at: When


class Myself(UserOut):
    """The logged-in user, with the nested copy that two pages of the frontend read."""

    user: UserOut


class Session(Answer):
    access_token: str
    user: Myself

    @classmethod
    def of(cls, user: User, access_token: str) -> Session:
        out = UserOut.model_validate(user)
        return cls(access_token=access_token, user=Myself(user=out, **dict(out)))


class PersonOut(Answer):
    """As much of a person as the public may see."""

    id: int
    first_name: str
    last_name: str
