"""One's password and e-mail address: another one, a forgotten one, and whether the address is one's own."""

from __future__ import annotations

from models import User
from resources.base import LOGGED_IN, PUBLIC, Resource, endpoint
from schemas import accounts as shapes
from schemas.common import Message, Nothing
from services import email_addresses, passwords
from services.credentials import WrongPassword
from services.limits import TooManyAttempts
from services.notifications import MailOff
from services.one_time import LinkInvalid
from utils import http


class PasswordForgetting(Resource):
    @endpoint(
        access=PUBLIC, body=shapes.ForgottenPassword, returns=Message, status=202, errors=(MailOff, TooManyAttempts)
    )
    def post(self, _actor: User | None, body: shapes.ForgottenPassword) -> Message:
        """Have a link mailed to choose a new password. The answer is the same whether there is such an account."""
        passwords.ask_for_reset(body.email)
        return Message(message="If there is an account with this address, a link to it is on its way.")


class PasswordReset(Resource):
    @endpoint(access=PUBLIC, body=shapes.PasswordReset, returns=Message, errors=(LinkInvalid, passwords.WeakPassword))
    def post(self, _actor: User | None, body: shapes.PasswordReset) -> Message:
        """Choose a new password with the secret of such a link; all sessions end."""
        passwords.reset_password(secret=body.token, password=body.password)
        return Message(message="Your new password is set. Please log in with it.")


class MyPassword(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=shapes.NewPassword,
        returns=shapes.Session,
        errors=(WrongPassword, TooManyAttempts, passwords.WeakPassword),
    )
    def put(self, actor: User, body: shapes.NewPassword) -> shapes.Session:
        """Choose another password; all sessions end, and one goes on with the tokens of the answer."""
        opened = passwords.change_password(
            actor=actor,
            current=body.current_password,
            code=body.code,
            password=body.password,
            user_agent=http.user_agent(),
        )
        return shapes.Session.of(opened.user, access_token=opened.access_token, refresh_token=opened.refresh_token)


class EmailVerification(Resource):
    @endpoint(access=PUBLIC, body=shapes.LinkSecret, returns=Message, errors=(LinkInvalid,))
    def post(self, _actor: User | None, body: shapes.LinkSecret) -> Message:
        """Confirm that an address is one's own, with the secret of the link that was mailed to it."""
        email_addresses.verify(body.token)
        return Message(message="Thank you, your e-mail address is confirmed.")


class EmailVerificationAgain(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=Nothing,
        returns=Message,
        status=202,
        errors=(email_addresses.AlreadyVerified, MailOff),
    )
    def post(self, actor: User, body: Nothing) -> Message:
        """Have that link mailed again; the one before works no more."""
        email_addresses.send_verification_again(actor)
        return Message(message="The link is on its way.")


class MyEmail(Resource):
    @endpoint(access=LOGGED_IN, returns=shapes.EmailOut)
    def get(self, actor: User) -> shapes.EmailOut:
        """One's own address, and whether one has confirmed it."""
        return shapes.EmailOut(email=actor.email, is_verified=actor.email_verified_at is not None)

    @endpoint(
        access=LOGGED_IN,
        body=shapes.NewEmail,
        returns=Message,
        status=202,
        errors=(WrongPassword, TooManyAttempts, email_addresses.SameAddress, email_addresses.EmailTaken),
    )
    def post(self, actor: User, body: shapes.NewEmail) -> Message:
        """Ask for another address: it is the account's once the link is used that is mailed to it."""
        is_done = email_addresses.change_email(actor=actor, email=body.email, password=body.password, code=body.code)
        told = "Your address is changed." if is_done else "Please use the link that we have mailed to the new address."
        return Message(message=told)


class EmailConfirmation(Resource):
    @endpoint(access=PUBLIC, body=shapes.LinkSecret, returns=Message, errors=(LinkInvalid, email_addresses.EmailTaken))
    def post(self, _actor: User | None, body: shapes.LinkSecret) -> Message:
        """Take a new address, with the secret of the link that was mailed to it."""
        email_addresses.confirm_change(body.token)
        return Message(message="Your account has this address now.")


class EmailUndoing(Resource):
    @endpoint(access=PUBLIC, body=shapes.LinkSecret, returns=Message, errors=(LinkInvalid, email_addresses.EmailTaken))
    def post(self, _actor: User | None, body: shapes.LinkSecret) -> Message:
        """Take a change of address back, with the secret of the link that was mailed to the old one."""
        email_addresses.undo_change(body.token)
        return Message(message="Your account has its old address back. We have mailed you a link to a new password.")
