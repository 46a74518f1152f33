"""What people are told, as admins see it, and what they choose to hear."""

from __future__ import annotations

from typing import Annotated, Literal

from schemas.common import EMPTY_IS_NONE, Answer, Changes, Flag, Line, Page, When, Word

Kind = Literal[
    "order_paid",
    "payment_failed",
    "refund_started",
    "refund_done",
    "event_approved",
    "event_rejected",
    "event_changed",
    "event_cancelled",
    "event_reminder",
    "review_invitation",
    "transfer_offered",
    "transfer_accepted",
    "ticket_received",
    "ticket_reissued",
    "verify_email",
    "password_reset",
    "password_changed",
    "email_change",
    "email_changed",
]


class NotificationSearch(Page):
    kind: Kind | None = None
    state: Literal["queued", "sent", "failed", "dropped"] | None = None
    #: A user's id, an e-mail address or a phone number.
    recipient: Annotated[Line | None, EMPTY_IS_NONE] = None


class NotificationOut(Answer):
    """One message to one person. What it says is theirs alone."""

    id: int
    kind: Word
    #: `email` or `sms`.
    channel: Word
    #: Null for who has no account.
    user_id: int | None
    #: As it was on the occasion, or when it was last retried.
    address: str
    state: Word
    tries: int
    #: Null once it is sent or given up.
    next_try_at: When | None
    sent_at: When | None
    #: Why it is not there yet, or never will be.
    error: str | None
    created_at: When


class Preferences(Answer):
    """Whether one wants to hear it."""

    event_reminder: bool
    review_invitation: bool


class PreferenceChanges(Changes):
    event_reminder: Flag | None = None
    review_invitation: Flag | None = None
