"""Who changed what, when: one line for each change, in the change's own transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from models import AuditLog, User
from utils.database import db
from utils.logger import remote_address


class _HasId(Protocol):
    @property
    def id(self) -> Any: ...


def record(actor: User | None, action: str, target: _HasId, **details: Any) -> None:
    """Add a line; without it the change is not complete. `actor` is None when Ticksy acts on M-PESA's word."""
    record_all(actor, action, type(target), [target.id], **details)


def record_all(actor: User | None, action: str, kind: type[_HasId], ids: Iterable[int], **details: Any) -> None:
    """Add a line for each of many rows of a kind that were changed by one statement."""
    db.session.add_all(line(actor, action, kind, one, **details) for one in ids)


def line(actor: User | None, action: str, kind: type[_HasId], target_id: int | None, **details: Any) -> AuditLog:
    """A line that the caller writes, with the id of what it is about."""
    return AuditLog(
        user_id=actor.id if actor else None,
        action=action,
        target_type=kind.__name__.lower(),
        target_id=target_id,
        details=details,
        ip_address=remote_address.get(),
    )
