"""The audit log, read: who changed what, and when. `services.audit` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import joinedload

from models import AuditLog, User
from services import users
from utils import references
from utils.database import stream


@dataclass(frozen=True)
class Search:
    """What an admin looks for; every part may be missing."""

    #: An id, or parts of a name, an e-mail address or a phone number.
    user: str | None = None
    action: str | None = None
    target_type: str | None = None
    target_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_lines(search: Search) -> Select[tuple[AuditLog]]:
    """Newest first, with who did it."""
    lines = select(AuditLog).options(joinedload(AuditLog.user))
    if search.user is not None:
        lines = lines.where(_is_by(search.user))
    if search.action is not None:
        lines = lines.where(AuditLog.action == search.action)
    if search.target_type is not None:
        lines = lines.where(AuditLog.target_type == search.target_type)
    if search.target_id is not None:
        lines = lines.where(AuditLog.target_id == search.target_id)
    if search.since is not None:
        lines = lines.where(AuditLog.created_at >= search.since)
    if search.until is not None:
        lines = lines.where(AuditLog.created_at <= search.until)
    return lines.order_by(AuditLog.created_at.desc(), AuditLog.id.desc())


def stream_lines(search: Search) -> Iterator[AuditLog]:
    """The same, all of them, to be read once the request is over."""
    return (line for (line,) in stream(list_lines(search)))


def _is_by(text: str) -> ColumnElement[bool]:
    """Digits alone are an id, unless they begin as phone numbers do."""
    user_id = references.id_in(text)
    if user_id is not None and not text.startswith(("0", "254")):
        return AuditLog.user_id == user_id
    return AuditLog.user_id.in_(select(User.id).where(users.has_words(text)))
