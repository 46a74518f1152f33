"""Who changed what, when: one line for each change, in the change's own transaction."""

from __future__ import annotations

from typing import Any, Protocol

from models import AuditLog, User
from utils.database import db
from utils.logger import remote_address


class _HasId(Protocol):
    @property
    def id(self) -> Any: ...


def record(actor: User | None, action: str, target: _HasId, **details: Any) -> None:
    """Add a line; without it the change is not complete. `actor` is None when Ticksy acts on M-PESA's word."""
    db.session.add(
        AuditLog(
            user_id=actor.id if actor else None,
            action=action,
            target_type=type(target).__name__.lower(),
            target_id=target.id,
            details=details,
            ip_address=remote_address.get(),
        )
    )
