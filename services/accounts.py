"""People: who they are and how they prove it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models import AccountStatus, Role, User
from services import audit, log_in_limits
from services.log_in_limits import Caller
from utils.database import db, transaction, violated
from utils.errors import Conflict, Invalid, NotFound, Unauthenticated
from utils.security import check_password, hash_password, password_matches


class EmailTaken(Conflict):
    code, message = "email_taken", "There is an account with this e-mail address already."


class PhoneTaken(Conflict):
    code, message = "phone_taken", "There is an account with this phone number already."


#: Classes, not instances: one exception raised again and again would keep every traceback, passwords and all.
_TAKEN: dict[str | None, type[Conflict]] = {"users_email_key": EmailTaken, "users_phone_key": PhoneTaken}


class AccountBanned(Unauthenticated):
    code, message = (
        "account_banned",
        "This account has been banned. Please contact us if you think this is a mistake.",
    )


def sign_up(*, first_name: str, last_name: str, email: str, phone: str, password: str, role: Role) -> User:
    """Open an account. `email` is in lower case, `phone` in its stored form. Raises Conflict, Invalid."""
    try:
        check_password(password, known=[first_name, last_name, email, phone])
    except ValueError as error:
        raise Invalid(str(error), code="weak_password") from None
    user = User(
        first_name=first_name,
        last_name=last_name,
        email=email,
        phone=phone,
        password_hash=hash_password(password),
        role=role,
    )
    try:
        with transaction() as session:
            session.add(user)
            session.flush()
            audit.record(user, "account_created", user, role=role.value)
    except IntegrityError as error:
        raise _taken(error) from None
    return user


def log_in(*, email: str, password: str, caller: Caller | None = None) -> User:
    """The account with this address and password. Raises Unauthenticated, AccountBanned, TooManyAttempts."""
    with transaction() as session:  # hashing takes a while: let somebody else have the connection
        user = session.scalar(select(User).where(User.email == email))
    caller = caller or Caller()
    log_in_limits.count_try(caller, email=email, user=user)
    if not password_matches(password, user.password_hash if user else None) or user is None:
        raise Unauthenticated("The e-mail address or the password is wrong.", code="wrong_credentials")
    if user.status is AccountStatus.BANNED:
        raise AccountBanned
    log_in_limits.note_success(caller, user=user)
    return user


def authenticate(user_id: int) -> User:
    """The account a token speaks for, as it is now. Raises Unauthenticated, AccountBanned."""
    user = db.session.get(User, user_id)
    if user is None:
        raise Unauthenticated
    if user.status is AccountStatus.BANNED:
        raise AccountBanned
    return user


def get_user(user_id: int) -> User:
    """Raises NotFound."""
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def update_profile(*, actor: User, changes: dict[str, str]) -> User:
    """Change one's own `first_name`, `last_name`, `email` or `phone`. Raises Conflict."""
    try:
        with transaction():
            changed = sorted(name for name, value in changes.items() if getattr(actor, name) != value)
            for name in changed:
                setattr(actor, name, changes[name])
            if changed:
                audit.record(actor, "profile_updated", actor, changed=changed)
    except IntegrityError as error:
        raise _taken(error) from None
    return actor


def _taken(error: IntegrityError) -> Exception:
    taken = _TAKEN.get(violated(error))
    return taken() if taken else error
