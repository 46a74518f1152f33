"""Where links in e-mails lead: small pages with a form each. To look at one, as mail programs do, uses nothing up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Response, render_template

from models import TokenPurpose, User
from resources.base import PUBLIC, Resource, endpoint
from schemas.accounts import ChosenPassword
from schemas.common import Nothing
from services import email_addresses, one_time, passwords
from utils import http
from utils.errors import Conflict, Invalid, TicksyError


@dataclass(frozen=True)
class Words:
    """What a page says."""

    heading: str
    text: str
    button: str
    done: str
    then: str


class _LinkPage(Resource):
    purpose: TokenPurpose
    words: Words

    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None, mailed: str) -> Response:
        """The page of a link in an e-mail; to look at it changes nothing."""
        return self._answer(mailed)

    def _answer(self, mailed: str, *, fault: TicksyError | None = None) -> Response:
        """The form, with what was wrong before; or, without one where the link does not work."""
        try:
            one_time.find(self.purpose, mailed)
        except one_time.LinkInvalid as error:
            return _page(error.status, heading="This link does not work", text=error.message)
        words = self.words
        return _page(
            fault.status if fault else 200,
            heading=words.heading,
            text=words.text,
            button=words.button,
            fault=fault.message if fault else None,
            wants_password=self.purpose is TokenPurpose.RESET_PASSWORD,
        )

    def _do(self, mailed: str, act: Callable[[], object]) -> Response:
        """What the form asks about; it is shown again where that cannot be."""
        try:
            act()
        except (one_time.LinkInvalid, Conflict, Invalid) as error:
            return self._answer(mailed, fault=error)
        return _page(200, heading=self.words.done, text=self.words.then)


class _ButtonPage(_LinkPage):
    @staticmethod
    def act(secret: str) -> object:
        """What the button does, with the secret of the link."""
        raise NotImplementedError

    @endpoint(access=PUBLIC, body=Nothing, returns=None, produces=("text/html",))
    def post(self, _actor: User | None, mailed: str, body: Nothing) -> Response:
        """Do what the page asks about: its button."""
        return self._do(mailed, lambda: self.act(mailed))


class PasswordResetPage(_LinkPage):
    purpose = TokenPurpose.RESET_PASSWORD
    words = Words(
        heading="Choose a new password",
        text="You are logged out everywhere once you have.",
        button="Set this password",
        done="Your new password is set",
        then="Please log in with it.",
    )

    @endpoint(access=PUBLIC, body=ChosenPassword, returns=None, produces=("text/html",))
    def post(self, _actor: User | None, mailed: str, body: ChosenPassword) -> Response:
        """Set the password that was typed on the page."""
        return self._do(mailed, lambda: passwords.reset_password(secret=mailed, password=body.password))


class EmailVerificationPage(_ButtonPage):
    purpose = TokenPurpose.VERIFY_EMAIL
    act = staticmethod(email_addresses.verify)
    words = Words(
        heading="Is this your e-mail address?",
        text="With the button you confirm that you read what comes to it.",
        button="Yes, it is mine",
        done="Thank you",
        then="Your e-mail address is confirmed.",
    )


class EmailConfirmationPage(_ButtonPage):
    purpose = TokenPurpose.CHANGE_EMAIL
    act = staticmethod(email_addresses.confirm_change)
    words = Words(
        heading="Use this e-mail address?",
        text="Your account at Ticksy gets it in place of the one that it has.",
        button="Yes, use this address",
        done="Your e-mail address is changed",
        then="From now on you log in with the new one.",
    )


class EmailUndoingPage(_ButtonPage):
    purpose = TokenPurpose.UNDO_EMAIL_CHANGE
    act = staticmethod(email_addresses.undo_change)
    words = Words(
        heading="Take the change back?",
        text="Your account gets this e-mail address again, everybody is logged out, and the password works no more.",
        button="Yes, take it back",
        done="Your account has its old address back",
        then="We have mailed you a link to choose a new password.",
    )


def _page(
    status: int,
    *,
    heading: str,
    text: str,
    button: str | None = None,
    fault: str | None = None,
    wants_password: bool = False,
) -> Response:
    page = render_template(
        "account_link.html", heading=heading, text=text, button=button, fault=fault, wants_password=wants_password
    )
    return http.answer_form(page, status)
