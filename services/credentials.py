"""Whether somebody is who he says: the one place where a password, and the code that goes with it, is checked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select

from models import TwoFactor, User
from services import log_in_limits, two_factor
from services.log_in_limits import Caller
from utils.database import lock, transaction
from utils.errors import Forbidden, Unauthenticated
from utils.security import password_matches


class WrongCredentials(Unauthenticated):
    """The same, to the letter, whatever of it is wrong: who guesses is not told that the password was right."""

    code, message = (
        "wrong_credentials",
        "The e-mail address or the password is wrong. With two-factor log-in, type the code right after the password.",
    )


class WrongPassword(Forbidden):
    """The same for somebody who is logged in: 401 would say that the token is bad."""

    code, message = (
        "wrong_password",
        "The password is wrong. With two-factor log-in, it needs the code of your app as well.",
    )


@dataclass(frozen=True)
class Proof:
    """Somebody typed the right things. It counts once it is spent."""

    user: User
    password_hash: str
    use: two_factor.Use | None


def prove_by_email(email: str, password: str, code: str | None, *, caller: Caller) -> Proof:
    """Raises WrongCredentials, TooManyAttempts."""
    proof = _prove(User.email == email, password, code, caller=caller, email=email)
    if proof is None:
        raise WrongCredentials
    return proof


def prove(actor: User, password: str, code: str | None) -> Proof:
    """The same of somebody who is logged in. Raises WrongPassword, TooManyAttempts."""
    caller = Caller(held_token_of=actor.id)
    proof = _prove(User.id == actor.id, password, code, caller=caller, email=actor.email)
    if proof is None:
        raise WrongPassword
    log_in_limits.note_success(caller, user=actor)
    return proof


def _prove(who: object, password: str, code: str | None, *, caller: Caller, email: str) -> Proof | None:
    """Every guess at a password or a code comes through here.

    `code` may be typed after the password instead. It takes as long for an unknown address, a wrong password or a
    wrong code.
    """
    with transaction() as session:  # hashing takes a while: let somebody else have the connection
        is_on = and_(TwoFactor.user_id == User.id, TwoFactor.confirmed_at.is_not(None))
        found = session.execute(
            select(User, TwoFactor)
            .outerjoin(TwoFactor, is_on)
            .where(who)  # type: ignore[arg-type]
            .execution_options(populate_existing=True)
        ).first()
    user, kept = found or (None, None)
    log_in_limits.count_try(caller, email=email, user=user)
    if kept is not None and not code:
        password, code = two_factor.split(password)
    use = two_factor.check(kept, code or "") if kept is not None else None
    password_hash = user.password_hash if user else None
    is_right = password_matches(password, password_hash)
    if user is None or password_hash is None or not is_right or (kept is not None and use is None):
        return None
    return Proof(user, password_hash, use)


def spend(proof: Proof) -> bool:
    """Whether it still counts: the password has not been changed since, and nobody has used the code.

    Within the caller's transaction; from here on the user is locked, and as he is now.
    """
    lock(proof.user)
    if proof.user.password_hash != proof.password_hash:
        return False
    return proof.use is None or two_factor.spend(proof.use)
