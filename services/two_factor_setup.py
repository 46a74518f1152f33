"""Two-factor log-in as its owner sets it up and takes it off again."""

from __future__ import annotations

from dataclasses import dataclass

import pyotp
from sqlalchemy import select

from models import TwoFactor, User
from services import audit, credentials, two_factor
from utils import clock
from utils.database import lock, transaction
from utils.errors import Conflict, Invalid, NotFound

_ISSUER = "Ticksy"


class TwoFactorOn(Conflict):
    code, message = "two_factor_on", "Two-factor log-in is on already. Turn it off first, to set it up anew."


class TwoFactorOff(Conflict):
    code, message = "two_factor_off", "Two-factor log-in is off."


class TwoFactorNotStarted(Conflict):
    code, message = "two_factor_not_started", "Please start to set up two-factor log-in first."


class WrongCode(Invalid):
    code, message = "wrong_code", "This code is not right. Please type the one that your app shows now."


@dataclass(frozen=True)
class Started:
    """What an app needs, shown this once."""

    #: Base32.
    secret: str
    #: `otpauth://…`, for a QR code.
    url: str


@dataclass(frozen=True)
class Standing:
    is_on: bool
    recovery_codes_left: int


def get_standing(actor: User) -> Standing:
    kept = two_factor.find(actor.id)
    if kept is None or kept.confirmed_at is None:
        return Standing(is_on=False, recovery_codes_left=0)
    return Standing(is_on=True, recovery_codes_left=len(kept.recovery_hashes))


def start(*, actor: User, password: str) -> Started:
    """Make a secret for the actor's app; one that was not confirmed is forgotten. Raises WrongPassword, TwoFactorOn."""
    proof = credentials.prove(actor, password, None)
    secret = pyotp.random_base32()
    with transaction() as session:
        kept = _spend(proof)
        if kept is not None and kept.confirmed_at is not None:
            raise TwoFactorOn
        if kept is None:
            kept = TwoFactor(user_id=actor.id)
            session.add(kept)
        kept.sealed_secret, kept.created_at = two_factor.seal_secret(secret, actor.id), clock.now()
        audit.record(actor, "two_factor_started", actor)
    return Started(secret, pyotp.TOTP(secret).provisioning_uri(name=actor.email, issuer_name=_ISSUER))


def confirm(*, actor: User, code: str) -> list[str]:
    """Turn it on, now that the app shows the right code; returns recovery codes, which are shown this once.

    Raises TwoFactorNotStarted, TwoFactorOn, WrongCode.
    """
    with transaction():
        lock(actor)
        kept = two_factor.find(actor.id)
        if kept is None:
            raise TwoFactorNotStarted
        if kept.confirmed_at is not None:
            raise TwoFactorOn
        use = two_factor.check(kept, code)
        if use is None or use.step is None:
            raise WrongCode
        codes, hashes = two_factor.new_recovery_codes()
        kept.confirmed_at, kept.last_step, kept.recovery_hashes = clock.now(), use.step, hashes
        audit.record(actor, "two_factor_on", actor)
    return codes


def renew_recovery_codes(*, actor: User, password: str, code: str | None) -> list[str]:
    """Ten new ones; those before work no more. Raises WrongPassword, TwoFactorOff."""
    proof = credentials.prove(actor, password, code)
    codes, hashes = two_factor.new_recovery_codes()
    with transaction():
        kept = _spend(proof)
        if kept is None or kept.confirmed_at is None:
            raise TwoFactorOff
        kept.recovery_hashes = hashes
        audit.record(actor, "recovery_codes_renewed", actor)
    return codes


def turn_off(*, actor: User, password: str, code: str | None) -> None:
    """Raises WrongPassword, TwoFactorOff."""
    proof = credentials.prove(actor, password, code)
    with transaction() as session:
        kept = _spend(proof)
        if kept is None or kept.confirmed_at is None:
            raise TwoFactorOff
        session.delete(kept)
        audit.record(actor, "two_factor_off", actor)


def turn_off_for(email: str) -> None:
    """For who has lost the app and the recovery codes, on an operator's word. Raises NotFound, TwoFactorOff."""
    with transaction() as session:
        user = session.scalar(select(User).where(User.email == email.lower()))
        if user is None:
            raise NotFound("There is no account with this e-mail address.")
        lock(user)
        kept = two_factor.find(user.id)
        if kept is None:
            raise TwoFactorOff
        session.delete(kept)
        audit.record(None, "two_factor_off", user)


def _spend(proof: credentials.Proof) -> TwoFactor | None:
    """What is set up, as it is now that the user is locked. Raises WrongPassword."""
    if not credentials.spend(proof):
        raise credentials.WrongPassword
    return two_factor.find(proof.user.id)
