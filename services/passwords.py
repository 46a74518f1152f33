"""Passwords: another one, by somebody who knows the old one, or who reads the account's e-mail."""

from __future__ import annotations

from sqlalchemy import delete, select

from models import (
    AccountStatus,
    NotificationKind,
    ResetRequest,
    SessionEnd,
    TokenPurpose,
    User,
)
from services import audit, credentials, limits, notifications, one_time, sessions
from services.notifications import Message
from services.sessions import Opened
from utils import clock
from utils.database import transaction
from utils.errors import Invalid
from utils.security import check_password, hash_password

_AT_ONCE = 100


class WeakPassword(Invalid):
    code, message = "weak_password", "This password is too easy to guess. Please choose another one."


def check_strength(password: str, *, known: list[str]) -> None:
    """Raises WeakPassword; `known` is what everybody knows of its owner."""
    try:
        check_password(password, known=known)
    except ValueError as error:
        raise WeakPassword(str(error)) from None


def _check_strength_for(user: User, password: str) -> None:
    check_strength(password, known=[user.first_name, user.last_name, user.email, user.phone])


# ── By who knows the old one ──────────────────────────────────────────────────────────────────────────────────────


def change_password(*, actor: User, current: str, code: str | None, password: str, user_agent: str | None) -> Opened:
    """Give the actor another password and end all sessions, his own as well; he goes on in a new one.

    Raises WeakPassword, WrongPassword.
    """
    _check_strength_for(actor, password)
    proof = credentials.prove(actor, current, code)
    password_hash = hash_password(password)
    with transaction():
        if not credentials.spend(proof):
            raise credentials.WrongPassword
        _set(proof.user, password_hash)
        _tell(proof.user)
        audit.record(actor, "password_changed", actor)
        return sessions.start(proof.user, user_agent=user_agent)


def _set(user: User, password_hash: str) -> None:
    """Whatever was begun with the old one ends with it: sessions, links, a change of the address."""
    user.password_hash = password_hash
    sessions.end_all(user, SessionEnd.PASSWORD)
    one_time.revoke(user, TokenPurpose.RESET_PASSWORD, TokenPurpose.CHANGE_EMAIL)


def _tell(user: User) -> None:
    now = clock.now()
    facts = {"at": clock.to_nairobi(now)}
    notifications.queue(NotificationKind.PASSWORD_CHANGED, [Message(user, f"password {now.timestamp()}", facts)])


# ── By who reads the account's e-mail ─────────────────────────────────────────────────────────────────────────────


def ask_for_reset(email: str) -> None:
    """Note that somebody forgot the password. The same is done, and takes as long, whether there is such an account:
    that is looked up after the answer. Raises MailOff, TooManyAttempts."""
    notifications.check_mail()
    limits.spend("reset", email)
    with transaction() as session:
        session.add(ResetRequest(email=email))


def answer_reset_requests() -> int:
    """Mail a link to each who forgot the password and has an account; returns how many had asked."""
    with transaction() as session:
        first = select(ResetRequest.id).order_by(ResetRequest.id).limit(_AT_ONCE).with_for_update(skip_locked=True)
        asked = session.scalars(
            delete(ResetRequest)
            .where(ResetRequest.id.in_(first))
            .returning(ResetRequest.email)
            .execution_options(synchronize_session=False)
        ).all()
        # In the order of their ids, so that two workers never wait for each other.
        users = session.scalars(
            select(User)
            .where(User.email.in_(asked), User.status == AccountStatus.ACTIVE)
            .order_by(User.id)
            .with_for_update(key_share=True)
        ).all()
        for user in users:
            send_reset(user)
            audit.record(None, "password_reset_sent", user)
    return len(asked)


def send_reset(user: User) -> None:
    """Mail a link to the account's address, within the caller's transaction, which has locked the user."""
    facts = one_time.issue(TokenPurpose.RESET_PASSWORD, user, user.email)
    message = Message(user, f"token {facts['token_id']}", facts)
    notifications.queue(NotificationKind.PASSWORD_RESET, [message])


def reset_password(*, secret: str, password: str) -> None:
    """Choose a new password with the secret of a link, and end all sessions. Two-factor log-in stays on.

    Raises LinkInvalid, WeakPassword.
    """
    with transaction():
        _, user = one_time.find(TokenPurpose.RESET_PASSWORD, secret)
    _check_strength_for(user, password)
    password_hash = hash_password(password)
    with transaction():
        token, user = one_time.take(TokenPurpose.RESET_PASSWORD, secret)
        if token.address != user.email:
            raise one_time.LinkInvalid
        user.email_verified_at = user.email_verified_at or clock.now()
        _set(user, password_hash)
        _tell(user)
        audit.record(user, "password_reset", user)


def disown(user: User, password_hash: str) -> None:
    """Make the password one that nobody knows, within the caller's transaction, and mail a link to choose another."""
    _set(user, password_hash)
    send_reset(user)
