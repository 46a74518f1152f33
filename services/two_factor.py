"""Two-factor log-in: six digits of an app (TOTP, RFC 6238), and codes for when the app is lost."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyotp
from sqlalchemy import func, or_, select, update

from config import settings
from models import AccountStatus, Role, TwoFactor, User
from utils import clock, sealing
from utils.database import db
from utils.references import normalise
from utils.security import hash_secret, new_code

RECOVERY_CODES = 10
_STEP_SECONDS = 30
#: Half minutes before and after ours: a phone's clock may be a little off, and typing takes a while.
_STEPS_OFF = 1
_SEALED = "two-factor"
#: What may be typed right after a password.
_DIGITS, _RECOVERY_CODE = re.compile(r"[0-9]{6}"), re.compile(r"[0-9A-Za-z]{5}-[0-9A-Za-z]{5}")
_TYPED_AFTER = re.compile(rf"(?s)(.*?)({_DIGITS.pattern}|{_RECOVERY_CODE.pattern})")


@dataclass(frozen=True)
class Use:
    """A code that is right; it counts once it is spent."""

    user_id: int
    step: int | None = None
    recovery_hash: bytes | None = None


def split(typed: str) -> tuple[str, str]:
    """The password and the code that was typed after it, "" if there is none."""
    found = _TYPED_AFTER.fullmatch(typed)
    return (found[1], found[2]) if found else (typed, "")


def find(user_id: int) -> TwoFactor | None:
    """What the user has set up, confirmed or not, as it is now."""
    return db.session.get(TwoFactor, user_id, populate_existing=True)


def check(kept: TwoFactor, code: str) -> Use | None:
    """How the code is right, if it is. Asks nobody, and takes as long for a wrong one."""
    step = _find_step(kept, code)
    given = hash_secret(normalise(code))
    recovery = next((one for one in kept.recovery_hashes if hmac.compare_digest(one, given)), None)
    if step is not None and (kept.last_step is None or step > kept.last_step):
        return Use(kept.user_id, step=step)
    return Use(kept.user_id, recovery_hash=recovery) if recovery is not None else None


def _find_step(kept: TwoFactor, code: str) -> int | None:
    """The half minute whose code this is. None as well when the secret was sealed with another SECRET_KEY."""
    try:
        app = pyotp.TOTP(open_secret(kept), interval=_STEP_SECONDS)
    except sealing.CannotOpen:
        return None
    now = int(clock.now().timestamp()) // _STEP_SECONDS
    steps = range(now - _STEPS_OFF, now + _STEPS_OFF + 1)
    given = "".join(code.split()).encode()  # apps show it as two groups of three
    right = [step for step in steps if hmac.compare_digest(app.generate_otp(step).encode(), given)]
    return max(right, default=None)


def spend(use: Use) -> bool:
    """Use the code up, within the caller's transaction; of two who do at once, one is told yes."""
    changes = update(TwoFactor).where(TwoFactor.user_id == use.user_id)
    if use.step is not None:
        is_new = or_(TwoFactor.last_step.is_(None), TwoFactor.last_step < use.step)
        changes = changes.where(is_new).values(last_step=use.step)
    else:
        is_left = TwoFactor.recovery_hashes.any(use.recovery_hash)  # type: ignore[arg-type]
        changes = changes.where(is_left).values(
            recovery_hashes=func.array_remove(TwoFactor.recovery_hashes, use.recovery_hash)
        )
    spent = db.session.scalar(changes.returning(TwoFactor.user_id).execution_options(synchronize_session=False))
    return spent is not None


def seal_secret(secret: str, user_id: int) -> bytes:
    return sealing.seal(secret.encode(), key=settings.SECRET_KEY, purpose=_SEALED, beside=str(user_id).encode())


def open_secret(kept: TwoFactor) -> str:
    """Base32, as apps take it. Raises sealing.CannotOpen."""
    beside = str(kept.user_id).encode()
    return sealing.unseal(kept.sealed_secret, keys=settings.secret_keys, purpose=_SEALED, beside=beside).decode()


def new_recovery_codes() -> tuple[list[str], list[bytes]]:
    """Ten codes of 50 random bits each, and what is kept of them."""
    codes = [new_code(10, group=5) for _ in range(RECOVERY_CODES)]
    return codes, [hash_secret(normalise(code)) for code in codes]


def admins_without() -> Sequence[str]:
    """The addresses of active admins who log in with a password alone."""
    has = select(TwoFactor.user_id).where(TwoFactor.user_id == User.id, TwoFactor.confirmed_at.is_not(None))
    return db.session.scalars(
        select(User.email)
        .where(User.role == Role.ADMIN, User.status == AccountStatus.ACTIVE, ~has.exists())
        .order_by(User.id)
    ).all()
