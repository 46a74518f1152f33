"""What people do not want to be told, and the addresses in e-mails that end it."""

from __future__ import annotations

from config import settings
from models import OPTIONAL_NOTIFICATIONS, NotificationKind, User
from services import audit, consents
from utils import signing
from utils.database import lock, transaction
from utils.errors import NotFound

_PURPOSE = "unsubscribe"


def get_preferences(actor: User) -> dict[str, bool]:
    """By kind, whether the actor wants it; kinds that are about one's own order or event cannot be chosen."""
    return {kind.value: kind.value not in actor.muted_notifications for kind in sorted_kinds()}


def sorted_kinds() -> list[NotificationKind]:
    return [kind for kind in NotificationKind if kind in OPTIONAL_NOTIFICATIONS]


def change_preferences(*, actor: User, changes: dict[str, bool]) -> dict[str, bool]:
    """`changes` are wishes by kind; what it does not name stays as it is."""
    with transaction():
        lock(actor)
        wanted = get_preferences(actor) | changes
        _mute(actor, [kind for kind, is_wanted in wanted.items() if not is_wanted])
    return get_preferences(actor)


def _mute(user: User, kinds: list[str]) -> None:
    if kinds != user.muted_notifications:
        for kind in sorted_kinds():
            if (kind.value in kinds) is not (kind.value in user.muted_notifications):
                consents.record(user, kind.value, is_given=kind.value not in kinds)
        user.muted_notifications = kinds
        audit.record(user, "notifications_chosen", user, muted=kinds)


# ── By one click, without logging in ──────────────────────────────────────────────────────────────────────────────


def unsubscribe_url(*, user_id: int, kind: NotificationKind) -> str:
    """Where whoever has the e-mail ends this kind; it works as long as SECRET_KEY is the same."""
    return f"{settings.PUBLIC_URL}/unsubscribe/{signing.sign(_PURPOSE, (user_id, kind.value), expires_at=None)}"


def read_choice(token: str) -> NotificationKind:
    """The kind that this address ends. Raises NotFound."""
    return _read(token)[1]


def unsubscribe(token: str) -> NotificationKind:
    """End the kind; doing it twice is fine. Raises NotFound."""
    user_id, kind = _read(token)
    with transaction() as session:
        user = session.get(User, user_id)
        if user is None:
            raise NotFound("There is no such account any more.")
        lock(user)
        _mute(user, [one.value for one in sorted_kinds() if one is kind or one.value in user.muted_notifications])
    return kind


def _read(token: str) -> tuple[int, NotificationKind]:
    try:
        user_id, kind = signing.verify(_PURPOSE, token)
        return int(user_id), next(one for one in sorted_kinds() if one.value == kind)
    except (signing.NotSigned, StopIteration):
        raise NotFound("This address does not work. Your profile has the same choice.", code="link_invalid") from None
