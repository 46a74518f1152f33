"""People: who they are and how they prove it."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from models import AccountStatus, NotificationChannel, Role, User
from services import audit, consents, credentials, email_addresses, log_in_limits, notifications, passwords, sessions
from services.email_addresses import EmailTaken
from services.log_in_limits import Caller
from services.sessions import AccountBanned, Opened
from utils import clock
from utils.database import db, transaction, violated
from utils.errors import Conflict, NotFound, Unauthenticated
from utils.security import hash_password


class PhoneTaken(Conflict):
    code, message = "phone_taken", "There is an account with this phone number already."


#: Classes, not instances: one exception raised again and again would keep every traceback, passwords and all.
_TAKEN: dict[str | None, type[Conflict]] = {"users_email_key": EmailTaken, "users_phone_key": PhoneTaken}


def sign_up(
    *,
    first_name: str,
    last_name: str,
    email: str,
    phone: str,
    password: str,
    role: Role,
    is_verified: bool = False,
) -> User:
    """Open an account. `email` is in lower case, `phone` in its stored form. Unless its owner `is_verified`, who is
    asked by e-mail whether the address is his. Raises Conflict, Invalid."""
    passwords.check_strength(password, known=[first_name, last_name, email, phone])
    user = User(
        first_name=first_name,
        last_name=last_name,
        email=email,
        phone=phone,
        password_hash=hash_password(password),
        role=role,
        email_verified_at=clock.now() if is_verified else None,
    )
    try:
        with transaction() as session:
            session.add(user)
            session.flush()
            email_addresses.send_verification(user)
            audit.record(user, "account_created", user, role=role.value)
            consents.record(user, consents.TERMS, is_given=True)
    except IntegrityError as error:
        raise _taken(error) from None
    return user


def open_first_session(user: User, *, user_agent: str | None) -> Opened:
    """For somebody who has just signed up."""
    with transaction():
        return sessions.start(user, user_agent=user_agent)


def log_in(*, email: str, password: str, code: str | None, user_agent: str | None, caller: Caller) -> Opened:
    """A session for who has this address and password, and the code of his app if he has set one up.

    Raises WrongCredentials, AccountBanned, TooManyAttempts.
    """
    proof = credentials.prove_by_email(email, password, code, caller=caller)
    with transaction():
        if not credentials.spend(proof):
            raise credentials.WrongCredentials
        if proof.user.status is AccountStatus.BANNED:
            raise AccountBanned
        opened = sessions.start(proof.user, user_agent=user_agent)
        audit.record(proof.user, "logged_in", proof.user)
    log_in_limits.note_success(caller, user=proof.user)
    return opened


def authenticate(user_id: int) -> User:
    """The account, as it is now, on whose behalf something is done. Raises Unauthenticated, AccountBanned."""
    user = db.session.get(User, user_id)
    if user is None or user.status is AccountStatus.DELETED:
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
    """Change one's own `first_name`, `last_name`, `email` or `phone`. Raises Conflict, NeedsPassword.

    An address that could be confirmed has to be: whoever got hold of a token could take the account with another one.
    """
    is_another = changes.get("email", actor.email) != actor.email
    if is_another and notifications.is_set_up(NotificationChannel.EMAIL):
        raise email_addresses.NeedsPassword
    try:
        with transaction():
            changed = sorted(name for name, value in changes.items() if getattr(actor, name) != value)
            for name in changed:
                setattr(actor, name, changes[name])
            if "email" in changed:
                actor.email_verified_at = None
            if changed:
                audit.record(actor, "profile_updated", actor, changed=changed)
    except IntegrityError as error:
        raise _taken(error) from None
    return actor


def _taken(error: IntegrityError) -> Exception:
    taken = _TAKEN.get(violated(error))
    return taken() if taken else error
