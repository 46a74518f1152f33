"""Requests that may be repeated: a key that the client chose stands for one request, and for its one answer.

The key is taken in a transaction of its own before the work, and given its answer in another one after it; no
connection is held meanwhile. A key that nobody answers, since its process was killed, is free again once its lease
ends. Whether its work had been done by then is not guessed: the transaction that places an order, or opens a prompt,
writes so into the key's row. Whoever takes that over shows the order as it stands, and does nothing.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from config import settings
from models import IdempotencyKey, User
from utils import clock
from utils.database import db, transaction
from utils.errors import Conflict, Invalid

log = logging.getLogger(__name__)

#: Printable ASCII.
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
#: A push may go out four times (`utils.mpesa`: once more for its token, twice for throttling); and so many seconds
#: for all else that a request does.
_PUSHES, _BESIDES_SECONDS = 4, 60
_REMOVED_AT_ONCE = 1_000
_TOO_MANY_REQUESTS, _FAULT_OF_OURS = 429, 500


class KeyReused(Invalid):
    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request. Please choose a new one."


class InProgress(Conflict):
    code, retry_after = "request_in_progress", 2
    message = "This request is being worked on. Please ask again in a moment."


@dataclass(frozen=True)
class Answer:
    """What the client was told: an HTTP status and a body in JSON."""

    status: int
    body: bytes

    @property
    def is_final(self) -> bool:
        """Whether the same request would be told the same for good. Refusals by a rule are; "not now" is not."""
        return self.status < _FAULT_OF_OURS and self.status != _TOO_MANY_REQUESTS


@dataclass(frozen=True)
class Taken:
    """The right to work on a request. The end of its lease tells it from that of anybody who takes over."""

    key_id: int
    working_until: datetime
    #: Who had the right before did the work, which was about this order, and was killed before it could say so.
    done_order_id: int | None = None


def hash_request(method: str, path: str, body: bytes) -> bytes:
    """SHA-256 of what makes two requests the same; `body` are the bytes as they came."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


def take(*, actor: User, key: str, request_hash: bytes) -> Taken | Answer:
    """The right to work on this request, or the answer it was given. Never inside a transaction.

    Raises Invalid for a malformed key, KeyReused, InProgress.
    """
    if not _KEY.fullmatch(key):
        sentence = "Please give an Idempotency-Key of 1 to 255 printable ASCII characters."
        raise Invalid(sentence, errors=[{"field": "Idempotency-Key", "message": sentence}])
    wanted = {"request_hash": request_hash, "working_until": clock.ahead(seconds=_lease_seconds())}
    with transaction() as session:
        taken = _insert(actor.id, key, wanted) or _take_over(actor.id, key, wanted)
        if taken is not None:
            return taken
        known = session.scalar(
            select(IdempotencyKey)
            .where(IdempotencyKey.user_id == actor.id, IdempotencyKey.key == key)
            .execution_options(populate_existing=True)
        )
    if known is not None and known.request_hash != request_hash:
        raise KeyReused
    if known is None or known.status is None:  # none: it was freed a moment ago
        raise InProgress
    return Answer(known.status, known.body or b"")


def _insert(user_id: int, key: str, wanted: dict[str, Any]) -> Taken | None:
    """A key that is new. Who meets its row does not wait: whoever works on it may have it locked for seconds."""
    new = insert(IdempotencyKey).values(user_id=user_id, key=key, created_at=clock.now(), **wanted)
    key_id = db.session.scalar(new.on_conflict_do_nothing().returning(IdempotencyKey.id))
    return None if key_id is None else Taken(key_id, wanted["working_until"])


def _take_over(user_id: int, key: str, wanted: dict[str, Any]) -> Taken | None:
    """A key that is past its hours, or was left by who was killed at the same request."""
    is_past = IdempotencyKey.created_at <= clock.ago(hours=settings.IDEMPOTENCY_HOURS)
    was_left = and_(IdempotencyKey.status.is_(None), IdempotencyKey.request_hash == wanted["request_hash"])
    row = db.session.execute(
        update(IdempotencyKey)
        .where(
            IdempotencyKey.user_id == user_id,
            IdempotencyKey.key == key,
            IdempotencyKey.working_until <= clock.now(),
            or_(is_past, was_left),
        )
        .values(
            order_id=case((is_past, None), else_=IdempotencyKey.order_id),
            status=None,
            body=None,
            created_at=clock.now(),
            **wanted,
        )
        .returning(IdempotencyKey.id, IdempotencyKey.order_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Taken(row.id, wanted["working_until"], row.order_id)


def _lease_seconds() -> float:
    return _PUSHES * (settings.MPESA_CONNECT_SECONDS + settings.MPESA_ANSWER_SECONDS) + _BESIDES_SECONDS


def note_order(taken: Taken | None, order_id: int) -> None:
    """The caller's transaction does the work, which is about this order: the key knows so from its commit on.

    Raises InProgress where we were so slow that somebody took over: the work is theirs then, and ours must not happen.
    Nothing to do for a request without a key.
    """
    if taken is None:
        return
    ours = update(IdempotencyKey).where(_is_ours(taken)).values(order_id=order_id).returning(IdempotencyKey.id)
    if db.session.scalar(ours.execution_options(synchronize_session=False)) is None:
        raise InProgress


def _is_ours(taken: Taken) -> ColumnElement[bool]:
    return and_(IdempotencyKey.id == taken.key_id, IdempotencyKey.working_until == taken.working_until)


def finish(taken: Taken, answer: Answer | None) -> None:
    """Keep the answer, or free the key where there is none or it is not final. Never inside a transaction.

    Whoever took over after the lease has the key: nothing is done then.
    """
    if answer is None:
        db.session.rollback()  # what failed may have left its transaction broken
    try:
        with transaction() as session:
            if answer is not None and answer.is_final:
                values = {"status": answer.status, "body": answer.body}
                session.execute(update(IdempotencyKey).where(_is_ours(taken)).values(values))
                return
            if answer is None:  # it may have failed after its work was done, which must not be done again
                is_done = and_(_is_ours(taken), IdempotencyKey.order_id.is_not(None))
                session.execute(update(IdempotencyKey).where(is_done).values(working_until=clock.now()))
            session.execute(delete(IdempotencyKey).where(_is_ours(taken)))
    except SQLAlchemyError:  # the work is done, and who asked for it has to be told so
        log.exception("the answer to key %s is not kept", taken.key_id)


def remove_old_keys() -> int:
    """Remove keys past their hours; returns how many."""
    old = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.created_at <= clock.ago(hours=settings.IDEMPOTENCY_HOURS))
        .order_by(IdempotencyKey.created_at)
        .limit(_REMOVED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with transaction() as session:
        removed = session.scalars(
            delete(IdempotencyKey).where(IdempotencyKey.id.in_(old)).returning(IdempotencyKey.id)
        ).all()
    return len(removed)
