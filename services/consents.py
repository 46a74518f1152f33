"""What people agreed to, and took back: one line each time, never changed."""

from __future__ import annotations

from sqlalchemy import Select, select

from models import Consent, User
from utils.database import db
from utils.logger import remote_address

#: The terms and privacy notice that opening an account accepts. A new text has a new name, and old lines keep theirs.
TERMS = "terms-2026-11"


def record(user: User, purpose: str, *, is_given: bool) -> None:
    """Within the caller's transaction. `purpose` is TERMS or a kind of notification that one may choose."""
    line = Consent(user_id=user.id, purpose=purpose, is_given=is_given, ip_address=remote_address.get())
    db.session.add(line)


def list_consents(*, actor: User) -> Select[tuple[Consent]]:
    """The actor's own, newest first."""
    return select(Consent).where(Consent.user_id == actor.id).order_by(Consent.id.desc())
