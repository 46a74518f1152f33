"""What admins have to be told."""

from __future__ import annotations

from schemas.common import Answer, When


class AlertOut(Answer):
    id: int
    #: One word: "refund_failed", "claim_open", "silent_callbacks".
    kind: str
    message: str
    #: What it is about, where it is about one thing: "payment" and its id.
    target_type: str | None
    target_id: int | None
    created_at: When
    #: When it reached ALERT_URL; null where there is none, or it has not arrived.
    sent_at: When | None
