"""Sessions: one log-in on one device, told by an access token for hours and a refresh token for weeks.

A refresh token is `<family>.<secret>`. The first half stays with its session, the second is another one each time. So
an old token is known for one of the session's, and means that two have it: the session ends for both. Only within
REFRESH_GRACE of its first use is it answered once more, and alike: a second tab, or an answer that was lost.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, delete, literal, or_, select, update
from sqlalchemy.orm import make_transient_to_detached, with_expression
from sqlalchemy.orm.util import identity_key

from config import settings
from models import AccountStatus, Role, Session, SessionEnd, User
from services import audit
from utils import clock, tokens
from utils.database import db, transaction
from utils.errors import NotFound, Unauthenticated
from utils.prepared import Prepared, as_read, given
from utils.security import derive_secret, hash_secret, new_secret

log = logging.getLogger(__name__)

REFRESH_GRACE = timedelta(seconds=10)
#: How long one that is over is kept.
_KEPT = timedelta(days=30)
_AT_ONCE = 1_000


class AccountBanned(Unauthenticated):
    code, message = (
        "account_banned",
        "This account has been banned. Please contact us if you think this is a mistake.",
    )


class SessionEnded(Unauthenticated):
    code, message = "session_ended", "You have been logged out. Please log in again."


class RefreshTokenReused(Unauthenticated):
    code, message = (
        "refresh_token_reused",
        "For your safety you have been logged out: this refresh token had been used before. Please log in again.",
    )


@dataclass(frozen=True)
class Opened:
    """A session with its tokens, which are shown this once."""

    user: User
    access_token: str
    refresh_token: str


def start(user: User, *, user_agent: str | None) -> Opened:
    """A session of somebody who has proved who he is, within the caller's transaction."""
    family, secret = new_secret(), new_secret()
    session = Session(
        user_id=user.id,
        family_hash=hash_secret(family),
        refresh_hash=hash_secret(secret),
        user_agent=user_agent,
        expires_at=_end(),
    )
    db.session.add(session)
    db.session.flush()
    return Opened(user, tokens.issue(user.id, session.id), f"{family}.{secret}")


def _end() -> datetime:
    return clock.ahead(days=settings.REFRESH_TOKEN_DAYS)


def authenticate(claims: tokens.Claims) -> User:
    """Whom an access token speaks for, as the account is now; one statement tells of the session as well.

    Raises Unauthenticated, AccountBanned, SessionEnded.
    """
    row = _CALLER.row(user_id=claims.user_id, session_id=claims.session_id)
    if row is None:
        raise Unauthenticated
    *values, session_id = row
    user = _user_of(dict(zip(_USER_COLUMNS, values, strict=True)))
    if user.status is AccountStatus.DELETED:
        raise Unauthenticated
    if user.status is AccountStatus.BANNED:
        raise AccountBanned
    if session_id is None:
        raise SessionEnded
    return user


_USER_COLUMNS = [column.name for column in User.__table__.columns]
_CALLER = Prepared(
    select(*User.__table__.columns, Session.id)
    .outerjoin(
        Session,
        and_(Session.id == given("session_id"), Session.user_id == User.id, Session.ended_at.is_(None)),
    )
    .where(User.id == given("user_id"))
)


def _user_of(values: dict[str, Any]) -> User:
    """The account, as if the session had read it: it is read with nearly every request."""
    known = db.session.identity_map.get(identity_key(User, values["id"]))
    if known is not None:
        db.session.refresh(known)
        return known
    user = as_read(User, values | {"role": Role(values["role"]), "status": AccountStatus(values["status"])})
    make_transient_to_detached(user)
    db.session.add(user)
    return user


def refresh(refresh_token: str) -> Opened:
    """New tokens for the session of this one. Raises SessionEnded, AccountBanned, RefreshTokenReused."""
    family, _, secret = refresh_token.partition(".")
    with transaction() as database:
        found = database.execute(
            select(Session, User)
            .join(User, User.id == Session.user_id)
            .where(Session.family_hash == hash_secret(family))
            .with_for_update(of=Session)
            .execution_options(populate_existing=True)
        ).first()
        if found is None:
            raise SessionEnded
        session, user = found
        if user.status is AccountStatus.BANNED:
            raise AccountBanned
        if session.ended_at is not None or session.expires_at <= clock.now():
            raise SessionEnded
        following = _rotate(session, family, secret)
        if following is None:
            session.ended_at, session.ended_by = clock.now(), SessionEnd.REUSE
            audit.record(user, "refresh_token_reused", session)
    if following is None:  # only now, for the session's end to be kept
        log.warning("a refresh token of session %s was used again: the session is ended", session.id)
        raise RefreshTokenReused
    return Opened(user, tokens.issue(user.id, session.id), f"{family}.{following}")


def _rotate(session: Session, family: str, secret: str) -> str | None:
    """The second half of the session's next token; None when this one has been used before."""
    given, now = hash_secret(secret), clock.now()
    # Made of the token before, so that whoever sends that twice is told the same: no hash could be turned back into it.
    following = derive_secret(f"{family}.{secret}", key=settings.SECRET_KEY, purpose="refresh")
    if hmac.compare_digest(given, session.refresh_hash):
        session.previous_refresh_hash, session.refresh_hash = given, hash_secret(following)
        session.last_used_at, session.expires_at = now, _end()
        return following
    is_previous = hmac.compare_digest(given, session.previous_refresh_hash or b"")
    is_recent = now - session.last_used_at <= REFRESH_GRACE
    # After another SECRET_KEY it cannot be made again.
    is_same = hmac.compare_digest(hash_secret(following), session.refresh_hash)
    return following if is_previous and is_recent and is_same else None


# ── Ending ────────────────────────────────────────────────────────────────────────────────────────────────────────


def end(*, actor: User, session_id: int) -> None:
    """Log out there, at once; twice is fine. Raises NotFound for somebody else's."""
    with transaction() as database:
        session = database.scalar(
            select(Session).where(Session.id == session_id, Session.user_id == actor.id).with_for_update()
        )
        if session is None:
            raise NotFound("There is no such session.")
        if session.ended_at is None:
            session.ended_at, session.ended_by = clock.now(), SessionEnd.LOGOUT
            audit.record(actor, "logged_out", session)


def log_out_everywhere(actor: User) -> None:
    with transaction():
        count = end_all(actor, SessionEnd.LOGOUT_ALL)
        audit.record(actor, "logged_out_everywhere", actor, sessions=count)


def end_all(user: User, why: SessionEnd) -> int:
    """End all of somebody's, within the transaction of what is the reason, which leaves the line in the audit log.

    Returns how many there were. A log-in at the same time does not outlive a new password or a ban if the caller has
    locked the user.
    """
    ended = db.session.scalars(
        update(Session)
        .where(Session.user_id == user.id, Session.ended_at.is_(None))
        .values(ended_at=clock.now(), ended_by=why)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def remove_old() -> int:
    """Forget sessions that are long over; returns how many."""
    long_ago = clock.now() - _KEPT
    is_over = or_(Session.expires_at < long_ago, and_(Session.ended_at.is_not(None), Session.ended_at < long_ago))
    old = select(Session.id).where(is_over).limit(_AT_ONCE).with_for_update(skip_locked=True)
    with transaction() as database:
        removed = database.scalars(
            delete(Session)
            .where(Session.id.in_(old))
            .returning(Session.id)
            .execution_options(synchronize_session=False)
        )
        return len(removed.all())


def list_sessions(*, actor: User, current_id: int) -> Select[tuple[Session]]:
    """Where the actor is logged in, last used first."""
    return (
        select(Session)
        .where(Session.user_id == actor.id, Session.ended_at.is_(None), Session.expires_at > clock.now())
        .options(with_expression(Session.is_current, Session.id == literal(current_id)))
        .order_by(Session.last_used_at.desc(), Session.id.desc())
    )
