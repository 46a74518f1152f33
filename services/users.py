"""Everybody's accounts, for admins: who there is, who may log in, who may do what."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from models import AccountStatus, Role, SessionEnd, User
from services import audit, sessions
from utils.database import db, transaction
from utils.errors import Conflict, Forbidden, NotFound

#: Words of a search that are looked at.
_MOST_WORDS = 10


class AccountDeleted(Conflict):
    code, message = "account_deleted", "This account was deleted by its owner. Nobody can use it again."


class OwnAccount(Conflict):
    code, message = "own_account", "You cannot ban yourself or change your own role. Another admin can."


def list_users(*, words: str | None, role: Role | None, status: AccountStatus | None) -> Select[tuple[User]]:
    """Newest first; `words` are looked for in names, e-mail addresses and phone numbers."""
    users = select(User).order_by(User.id.desc())
    if words is not None:
        users = users.where(has_words(words))
    if role is not None:
        users = users.where(User.role == role)
    if status is not None:
        users = users.where(User.status == status)
    return users


def has_words(text: str) -> ColumnElement[bool]:
    """SQL: whether a user's name, address or number has every word of the text somewhere."""
    told = func.concat_ws(" ", User.first_name, User.last_name, User.email, User.phone)
    words = [
        # Numbers are stored with the country's code and typed with a zero, or with a plus.
        or_(told.icontains(word, autoescape=True), User.phone.startswith(_as_stored(word), autoescape=True))
        for word in text.split()[:_MOST_WORDS]
    ]
    return and_(*words)


def _as_stored(word: str) -> str:
    return "254" + word[1:] if word.startswith("0") else word.removeprefix("+")


def set_status(*, actor: User, user_id: int, status: AccountStatus) -> User:
    """Ban somebody, which ends their sessions, or let them log in again. Raises NotFound, OwnAccount,
    AccountDeleted, Forbidden."""
    with transaction():
        user = _lock_other(actor, user_id)
        if user.status is not status:
            user.status = status
            if status is AccountStatus.BANNED:
                sessions.end_all(user, SessionEnd.BAN)
            audit.record(actor, "user_banned" if status is AccountStatus.BANNED else "user_unbanned", user)
    return user


def set_role(*, actor: User, user_id: int, role: Role) -> User:
    """Change what somebody may do, which ends their sessions. Raises NotFound, OwnAccount, AccountDeleted,
    Forbidden."""
    with transaction():
        user = _lock_other(actor, user_id)
        if user.role is not role:
            audit.record(actor, "role_changed", user, was=user.role.value, role=role.value)
            user.role = role
            sessions.end_all(user, SessionEnd.ROLE)
    return user


def _lock_other(actor: User, user_id: int) -> User:
    """The user, with all admins locked, so that of two who demote each other the second is none any more.

    The actor is an admin and nobody changes himself: that alone leaves an active admin, whatever is changed here.
    """
    if user_id == actor.id:
        raise OwnAccount
    is_admin = and_(User.role == Role.ADMIN, User.status == AccountStatus.ACTIVE)
    locked = db.session.scalars(
        select(User)
        .where(or_(is_admin, User.id == user_id))
        .order_by(User.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).all()
    found = {user.id: user for user in locked}
    if actor.id not in found:
        raise Forbidden("Only admins can do this.")
    if user_id not in found:
        raise NotFound("There is no such user.")
    if found[user_id].status is AccountStatus.DELETED:
        raise AccountDeleted
    return found[user_id]
