"""E-mail addresses: whether an account's is its owner's, and how it gets another one.

A new address is the account's once somebody who reads what comes to it says so; the old one is then told, with a link
that takes the change back. Where no e-mail is sent, none of this can be, and an address is believed.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models import (
    NotificationChannel,
    NotificationKind,
    OneTimeToken,
    SessionEnd,
    TokenPurpose,
    TwoFactor,
    User,
)
from services import audit, credentials, notifications, one_time, passwords, sessions
from services.notifications import Message
from utils import clock
from utils.database import db, lock, transaction, violated
from utils.errors import Conflict
from utils.security import hash_password, new_secret

#: A link that is asked for again so soon is on its way.
_PAUSE_SECONDS = 3600
#: What was set up so shortly before a change may be of who made it.
_TOGETHER = timedelta(days=1)


class EmailTaken(Conflict):
    code, message = "email_taken", "There is an account with this e-mail address already."


class AlreadyVerified(Conflict):
    code, message = "already_verified", "You have confirmed your e-mail address already."


class SameAddress(Conflict):
    code, message = "same_address", "This is your e-mail address already."


class NeedsPassword(Conflict):
    code, message = (
        "email_needs_password",
        "Nothing was changed: a new e-mail address has to be given with your password, and confirmed.",
    )


# ── Is it the owner's? ────────────────────────────────────────────────────────────────────────────────────────────


def send_verification(user: User) -> None:
    """Ask at the account's address, within the caller's transaction, which has made or locked the user."""
    if user.email_verified_at is None and notifications.is_set_up(NotificationChannel.EMAIL):
        _mail(NotificationKind.VERIFY_EMAIL, TokenPurpose.VERIFY_EMAIL, user, user.email)


def send_verification_again(actor: User) -> None:
    """Raises MailOff, AlreadyVerified."""
    notifications.check_mail()
    with transaction():
        lock(actor)
        if actor.email_verified_at is not None:
            raise AlreadyVerified
        send_verification(actor)
        audit.record(actor, "verification_sent", actor)


def remind_to_verify(user: User) -> None:
    """Ask again, unless that was just done: something waits for the answer. Within the caller's transaction."""
    lock(user)
    recent = select(OneTimeToken.id).where(
        OneTimeToken.user_id == user.id,
        OneTimeToken.purpose == TokenPurpose.VERIFY_EMAIL,
        OneTimeToken.created_at > clock.ago(seconds=_PAUSE_SECONDS),
    )
    if db.session.scalar(recent.limit(1)) is None:
        send_verification(user)


def verify(secret: str) -> None:
    """Raises LinkInvalid, also for an address that is not the account's any more."""
    with transaction():
        token, user = one_time.take(TokenPurpose.VERIFY_EMAIL, secret)
        if token.address != user.email:
            raise one_time.LinkInvalid
        user.email_verified_at = user.email_verified_at or clock.now()
        audit.record(user, "email_verified", user)


# ── Another one ───────────────────────────────────────────────────────────────────────────────────────────────────


def change_email(*, actor: User, email: str, password: str, code: str | None) -> bool:
    """Ask at the new address whether it is the actor's; whether it is the account's at once, as where no mail is sent.

    Raises WrongPassword, SameAddress, EmailTaken.
    """
    proof = credentials.prove(actor, password, code)
    is_mailed = notifications.is_set_up(NotificationChannel.EMAIL)
    try:
        with transaction() as session:
            if not credentials.spend(proof):
                raise credentials.WrongPassword
            user = proof.user
            if email == user.email:
                raise SameAddress
            if session.scalar(select(User.id).where(User.email == email)) is not None:
                raise EmailTaken
            if is_mailed:
                _mail(NotificationKind.EMAIL_CHANGE, TokenPurpose.CHANGE_EMAIL, user, email)
                audit.record(actor, "email_change_asked", actor)
            else:
                _set(user, email, is_verified=False)
                audit.record(actor, "email_changed", actor)
    except IntegrityError as error:
        raise _taken(error) from None
    return not is_mailed


def confirm_change(secret: str) -> None:
    """Raises LinkInvalid, EmailTaken when somebody else has it by now."""
    try:
        with transaction():
            token, user = one_time.take(TokenPurpose.CHANGE_EMAIL, secret)
            old = user.email
            _set(user, token.address, is_verified=True)
            _mail(
                NotificationKind.EMAIL_CHANGED,
                TokenPurpose.UNDO_EMAIL_CHANGE,
                user,
                old,
                new_address=token.address,
            )
            audit.record(user, "email_changed", user)
    except IntegrityError as error:
        raise _taken(error) from None


def undo_change(secret: str) -> None:
    """Give the account its old address back, and take it from whoever has it now: all sessions end, the password is
    nobody's until its owner chooses one, later links are void, and so is two-factor log-in that was set up since, or
    within a day before. One that is older stays: the old address may be the one that somebody else reads.

    Raises LinkInvalid, EmailTaken when somebody else has the old address by now.
    """
    nobodys = hash_password(new_secret())
    try:
        with transaction() as session:
            token, user = one_time.take(TokenPurpose.UNDO_EMAIL_CHANGE, secret)
            _set(user, token.address, is_verified=True)
            one_time.revoke(user, TokenPurpose.UNDO_EMAIL_CHANGE, after_id=token.id)
            kept = session.get(TwoFactor, user.id)
            if kept is not None and (kept.confirmed_at or clock.now()) > token.created_at - _TOGETHER:
                session.delete(kept)
            sessions.end_all(user, SessionEnd.UNDO)
            passwords.disown(user, nobodys)
            audit.record(user, "email_change_undone", user)
    except IntegrityError as error:
        raise _taken(error) from None


def _set(user: User, email: str, *, is_verified: bool) -> None:
    """What was mailed to the old address works no more."""
    user.email = email
    user.email_verified_at = clock.now() if is_verified else None
    one_time.revoke(user, TokenPurpose.VERIFY_EMAIL, TokenPurpose.RESET_PASSWORD, TokenPurpose.CHANGE_EMAIL)
    db.session.flush()


def _mail(kind: NotificationKind, purpose: TokenPurpose, user: User, address: str, **more: str) -> None:
    facts = one_time.issue(purpose, user, address) | more
    notifications.queue(kind, [Message(user, f"token {facts['token_id']}", facts, address=address)])


def _taken(error: IntegrityError) -> Exception:
    return EmailTaken() if violated(error) == "users_email_key" else error
