"""Secrets in e-mails that are good once, for a while, and only until the next one for the same purpose.

The database has their hashes. Until it is sent, the e-mail has the secret itself, sealed.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update

from config import settings
from models import AccountStatus, OneTimeToken, TokenPurpose, User
from utils import clock, sealing
from utils.database import db, lock, transaction
from utils.errors import NotFound
from utils.security import hash_secret, new_secret

#: How long each is good.
LIFETIMES = {
    TokenPurpose.VERIFY_EMAIL: timedelta(days=3),
    TokenPurpose.RESET_PASSWORD: timedelta(hours=1),
    TokenPurpose.CHANGE_EMAIL: timedelta(days=1),
    TokenPurpose.UNDO_EMAIL_CHANGE: timedelta(days=7),
}
#: Where each is used: a page at this address, with the secret at its end.
PAGES = {
    TokenPurpose.VERIFY_EMAIL: "/verify-email",
    TokenPurpose.RESET_PASSWORD: "/password/reset",
    TokenPurpose.CHANGE_EMAIL: "/email/confirm",
    TokenPurpose.UNDO_EMAIL_CHANGE: "/email/undo",
}
_SEALED = "one-time token"
#: How long one that is over is kept.
_KEPT = timedelta(days=30)
_AT_ONCE = 1_000


class LinkInvalid(NotFound):
    """Unknown, used, replaced or too old: which of these is nobody's business."""

    code, message = "link_invalid", "This link does not work any more. Please ask for another one."


def issue(purpose: TokenPurpose, user: User, address: str) -> dict[str, Any]:
    """Facts for the e-mail that is to carry it, within the caller's transaction, which has locked the user."""
    if purpose is not TokenPurpose.UNDO_EMAIL_CHANGE:
        revoke(user, purpose)
    secret = new_secret()
    token = OneTimeToken(
        purpose=purpose,
        user_id=user.id,
        token_hash=hash_secret(secret),
        address=address,
        expires_at=clock.now() + LIFETIMES[purpose],
    )
    db.session.add(token)
    db.session.flush()
    sealed = sealing.seal(secret.encode(), key=settings.SECRET_KEY, purpose=_SEALED, beside=_beside(token.id))
    return {"token_id": token.id, "purpose": purpose.value, "sealed": base64.b64encode(sealed).decode()}


def link(facts: dict[str, Any]) -> str:
    """The address to be mailed, of what `issue` returned. Raises sealing.CannotOpen after another SECRET_KEY."""
    sealed = base64.b64decode(facts["sealed"])
    secret = sealing.unseal(sealed, keys=settings.secret_keys, purpose=_SEALED, beside=_beside(facts["token_id"]))
    return f"{settings.PUBLIC_URL}{PAGES[TokenPurpose(facts['purpose'])]}/{secret.decode()}"


def _beside(token_id: int) -> bytes:
    return str(token_id).encode()


def is_open(token_id: int) -> bool:
    """Whether it could still be used."""
    token = db.session.get(OneTimeToken, token_id, populate_existing=True)
    return token is not None and token.ended_at is None and token.expires_at > clock.now()


def find(purpose: TokenPurpose, secret: str) -> tuple[OneTimeToken, User]:
    """The token and whose it is; it stays good. Raises LinkInvalid."""
    found = db.session.execute(
        select(OneTimeToken, User)
        .join(User, User.id == OneTimeToken.user_id)
        .where(
            OneTimeToken.token_hash == hash_secret(secret),
            OneTimeToken.purpose == purpose,
            OneTimeToken.ended_at.is_(None),
            OneTimeToken.expires_at > clock.now(),
            User.status == AccountStatus.ACTIVE,
        )
    ).first()
    if found is None:
        raise LinkInvalid
    token, user = found
    return token, user


def take(purpose: TokenPurpose, secret: str) -> tuple[OneTimeToken, User]:
    """The same, used up and with the user locked, within the caller's transaction. Of two at once, one gets it.

    Raises LinkInvalid.
    """
    token, user = find(purpose, secret)
    # First the user, as everybody does who issues or revokes tokens.
    lock(user)
    taken = db.session.scalar(
        update(OneTimeToken)
        .where(OneTimeToken.id == token.id, OneTimeToken.ended_at.is_(None), OneTimeToken.expires_at > clock.now())
        .values(ended_at=clock.now())
        .returning(OneTimeToken.id)
        .execution_options(synchronize_session=False)
    )
    if taken is None or user.status is not AccountStatus.ACTIVE:
        raise LinkInvalid
    return token, user


def revoke(user: User, *purposes: TokenPurpose, after_id: int = 0) -> None:
    """Those of these purposes, made after that one, are good no more; within the caller's transaction, as above."""
    db.session.execute(
        update(OneTimeToken)
        .where(
            OneTimeToken.user_id == user.id,
            OneTimeToken.purpose.in_(purposes),
            OneTimeToken.ended_at.is_(None),
            OneTimeToken.id > after_id,
        )
        .values(ended_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def remove_old() -> int:
    """Forget those that are long over; returns how many."""
    long_ago = clock.now() - _KEPT
    old = select(OneTimeToken.id).where(OneTimeToken.expires_at < long_ago).limit(_AT_ONCE)
    with transaction() as session:
        removed = session.scalars(
            delete(OneTimeToken)
            .where(OneTimeToken.id.in_(old))
            .returning(OneTimeToken.id)
            .execution_options(synchronize_session=False)
        )
        return len(removed.all())
