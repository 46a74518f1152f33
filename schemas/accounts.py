"""Accounts: signing up, logging in, one's own profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from models import User
from schemas.common import (
    EMPTY_IS_NONE,
    Answer,
    Changes,
    Email,
    Flag,
    Name,
    Phone,
    Request,
    Text,
    When,
    Word,
    noted,
    parse_email,
)

#: Any characters at all: a password is never stored or shown, only hashed.
_Password = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


#: Six digits of an app, or a recovery code; empty where they were typed after the password.
_Code = Annotated[Text, Field(max_length=20), noted(examples=["492039"])]


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


_TypedEmail = Annotated[
    Text, Field(max_length=254), AfterValidator(_as_signed_up), noted(examples=["njeri@example.co.ke"])
]


class _Proof(Request):
    #: With two-factor log-in, the code of the app may follow right after it instead.
    password: _Password
    code: Annotated[_Code | None, EMPTY_IS_NONE] = None


class LogIn(Request):
    email: _TypedEmail
    #: With two-factor log-in, the code of the app may follow right after it instead.
    password: _Password
    code: Annotated[_Code | None, EMPTY_IS_NONE] = None


class ProfileChanges(Changes):
    first_name: Name | None = None
    last_name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None


class Deletion(_Proof):
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
    #: Exchanged at `/refresh` for new ones of both.
    refresh_token: str
    user: Myself

    @classmethod
    def of(cls, user: User, *, access_token: str, refresh_token: str) -> Session:
        out = UserOut.model_validate(user)
        return cls(access_token=access_token, refresh_token=refresh_token, user=Myself(user=out, **dict(out)))


# ── Sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Refresh(Request):
    refresh_token: Annotated[Text, Field(max_length=100)]


class SessionOut(Answer):
    """Somewhere one is logged in."""

    id: int
    #: What the program said it is, cut short; null when it said nothing.
    user_agent: str | None
    created_at: When
    #: When it was opened or last refreshed.
    last_used_at: When
    #: Whether it is the one that asks.
    is_current: bool


# ── Passwords and addresses ───────────────────────────────────────────────────────────────────────────────────────


class NewPassword(Request):
    current_password: _Password
    code: Annotated[_Code | None, EMPTY_IS_NONE] = None
    password: _Password


class ForgottenPassword(Request):
    email: _TypedEmail


#: The secret at the end of a link.
_Secret = Annotated[Text, Field(max_length=64), noted(examples=["0f4c1c7b5f0e4a8e9d9b1f2a3c4d5e6f"])]


class LinkSecret(Request):
    token: _Secret


class PasswordReset(LinkSecret):
    password: _Password


class ChosenPassword(Request):
    """What a page's form sends."""

    password: _Password


class NewEmail(_Proof):
    email: Email


class EmailOut(Answer):
    """One's own address, and whether one has shown that it is."""

    email: str
    is_verified: bool


# ── Two-factor log-in ─────────────────────────────────────────────────────────────────────────────────────────────


class Proof(_Proof):
    """That it is the owner who asks."""


class AppCode(Request):
    code: _Code


class TwoFactorOut(Answer):
    is_on: bool
    recovery_codes_left: int


class TwoFactorSecret(Answer):
    """What an app needs. It is shown this once."""

    #: To be typed where no picture can be taken.
    secret: str
    #: The same as an address that apps open.
    url: str
    #: The same as a picture.
    qr_svg: str


class RecoveryCodes(Answer):
    """For when the app is lost, each to be used once. They are shown this once."""

    recovery_codes: list[str]


class PersonOut(Answer):
    """As much of a person as the public may see."""

    id: int
    first_name: str
    last_name: str
