"""Daraja's access token, shared by all processes through one row.

Fetching a new token may end the one before, so processes that each had their own would keep shutting each other out.
One process at a time takes the task of fetching, by a lease and not by a lock: nobody holds a connection meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from config import settings
from models import MpesaAccess
from utils import clock
from utils.database import db
from utils.mpesa import AccessToken, NoAccessToken

_LOOK_AGAIN_SECONDS = 0.05


def share(fetch: Callable[[], AccessToken], refused: str | None) -> AccessToken:
    """A token that is good, as far as any process knows; `refused` is one that is not.

    Raises NoAccessToken when it cannot be fetched, or nobody who tries comes back in time. Call it outside any
    transaction: it uses, and commits, sessions of its own.
    """
    lease_seconds = settings.MPESA_CONNECT_SECONDS + settings.MPESA_ANSWER_SECONDS + 1
    give_up_at = time.monotonic() + lease_seconds
    while True:
        token = _read(refused)
        if token is not None:
            return token
        if _take_task(lease_seconds):
            return _fetch(fetch, refused)
        if time.monotonic() > give_up_at:
            raise NoAccessToken
        time.sleep(_LOOK_AGAIN_SECONDS)


def _read(refused: str | None) -> AccessToken | None:
    with Session(db.engine) as session:
        row = session.get(MpesaAccess, 1)
    if row is None or row.token is None or row.ends_at is None or row.token == refused:
        return None
    seconds = (row.ends_at - clock.now()).total_seconds()
    return AccessToken(row.token, seconds) if seconds > 0 else None


def _take_task(lease_seconds: float) -> bool:
    """Whether it is ours to fetch; of several who ask at once, one is told so."""
    is_free = or_(MpesaAccess.fetching_until.is_(None), MpesaAccess.fetching_until < clock.now())
    with Session(db.engine) as session, session.begin():
        session.execute(insert(MpesaAccess).values(id=1).on_conflict_do_nothing())
        taken = session.scalar(
            update(MpesaAccess)
            .where(MpesaAccess.id == 1, is_free)
            .values(fetching_until=clock.ahead(seconds=lease_seconds))
            .returning(MpesaAccess.id)
        )
    return taken is not None


def _fetch(fetch: Callable[[], AccessToken], refused: str | None) -> AccessToken:
    token: AccessToken | None = None
    try:
        # Looked at again, since the last one with this task may just have come back.
        token = _read(refused) or fetch()
        return token
    finally:
        values: dict[str, object] = {"fetching_until": None}
        if token is not None:
            values |= {"token": token.text, "ends_at": clock.now() + timedelta(seconds=token.seconds)}
        with Session(db.engine) as session, session.begin():
            session.execute(update(MpesaAccess).where(MpesaAccess.id == 1).values(values))
