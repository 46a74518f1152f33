"""Sends what is in the outbox. No connection to the database is held while a message is on its way.

Whoever takes a message writes first until when it is theirs; then it is sent, then what became of it is written, unless
it is somebody else's by now. So two workers never send one message at once, and one that a worker died over is sent
by another. Only if it died between the carrier's yes and writing that down is it sent twice, under the same Message-ID.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select, update

from config import settings
from models import (
    LINK_NOTIFICATIONS,
    OPTIONAL_NOTIFICATIONS,
    Event,
    EventStatus,
    Notification,
    NotificationChannel,
    NotificationKind,
    NotificationState,
    Transfer,
    TransferStatus,
    User,
)
from services import alerts, enclosures, letters, notifications, one_time, texts
from utils import clock, sms
from utils.database import db, transaction
from utils.delivery import NotDelivered, Refused, ServiceDown
from utils.logger import redact
from utils.mail import Mail, Mailer, parse_url

log = logging.getLogger(__name__)

_AT_ONCE = 100
#: Longer than any message may be on its way, all its time-outs together.
LEASE_SECONDS = 300
#: From one try to the next: a day in all, then it has failed.
PAUSES_SECONDS = (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 28_800)


class _Carrier(Protocol):
    def carry(self, message: Notification) -> None:
        """Raises NotDelivered, Refused, ServiceDown."""

    def close(self) -> None: ...


class _ByMail:
    def __init__(self) -> None:
        self._mailer = Mailer(parse_url(settings.MAIL_URL), sender=settings.MAIL_FROM)

    def carry(self, message: Notification) -> None:
        with transaction():
            files = enclosures.enclose(message)
        letter = letters.render(message, files=files)
        name = f"notification-{message.id}-{int(message.created_at.timestamp())}"
        self._mailer.send(
            Mail(message.address, letter.subject, letter.text, letter.html, name, letter.unsubscribe_url, files)
        )

    def close(self) -> None:
        self._mailer.close()


class _ByText:
    def __init__(self) -> None:
        self._texter = sms.connect(settings.SMS_URL)

    def carry(self, message: Notification) -> None:
        self._texter.send(message.address, texts.write_text(message))

    def close(self) -> None:
        self._texter.close()


def send_mails() -> int:
    """Send e-mails that are due; returns how many were dealt with, 0 where the mail server takes none."""
    return _send_due(NotificationChannel.EMAIL, _ByMail)


def send_texts() -> int:
    """Send text messages that are due; returns how many were dealt with, 0 where the service takes none."""
    return _send_due(NotificationChannel.SMS, _ByText)


def _send_due(channel: NotificationChannel, connect: Callable[[], _Carrier]) -> int:
    """The longest due first, until the carrier takes no more: then those that follow keep their tries, and the worker
    rests."""
    if not notifications.is_set_up(channel):
        return 0
    taken = 0
    with closing(connect()) as carrier:
        while taken < _AT_ONCE and (message := _take(channel)) is not None:
            taken += 1
            if message.state is NotificationState.QUEUED and not _try(carrier, message):
                return 0
    return taken


def _take(channel: NotificationChannel) -> Notification | None:
    """One that is due, as it is now: queued and ours for LEASE_SECONDS, or dropped."""
    with transaction() as session:
        message = session.scalar(
            select(Notification)
            .where(
                Notification.channel == channel,
                Notification.state == NotificationState.QUEUED,
                Notification.next_try_at <= clock.now(),
            )
            .order_by(Notification.next_try_at, Notification.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        if message is None:
            return None
        reason = _why_needless(message)
        if reason is None:
            message.tries += 1
            message.next_try_at = clock.ahead(seconds=LEASE_SECONDS)
        else:
            message.state, message.next_try_at, message.error = NotificationState.DROPPED, None, reason
    return message


def _why_needless(message: Notification) -> str | None:
    """Of what need not be told: it may have waited for a while."""
    if message.kind is NotificationKind.TRANSFER_OFFERED:
        transfer = db.session.get(Transfer, message.facts["transfer"], populate_existing=True)
        is_waiting = transfer is not None and transfer.status is TransferStatus.OFFERED
        return None if is_waiting else "the ticket is no longer offered"
    if message.kind in LINK_NOTIFICATIONS and not one_time.is_open(message.facts["token_id"]):
        return "its link is used, replaced or too old"
    if message.kind not in OPTIONAL_NOTIFICATIONS:
        return None
    user = db.session.get_one(User, message.user_id, populate_existing=True)
    if not notifications.is_wanted(message.kind, user):
        return "no longer wanted"
    told = message.facts["event"]
    event = db.session.get(Event, told["id"], populate_existing=True)
    if event is None or event.status is not EventStatus.APPROVED:
        return "the event is no longer on"
    is_late = event.has_started or clock.to_nairobi(event.starts_at) != told["starts_at"]
    return "the event has begun or been moved" if message.kind is NotificationKind.EVENT_REMINDER and is_late else None


def _try(carrier: _Carrier, message: Notification) -> bool:
    """Whether there is a point in going on with the next one."""
    lease = message.next_try_at
    try:
        carrier.carry(message)
    except Refused as error:
        _give_up(message, lease, str(error))
    except NotDelivered as error:
        _put_off(message, lease, str(error))
        return not isinstance(error, ServiceDown)
    except Exception as error:  # the job edge: one that cannot be written holds up no other
        log.exception("notification %s could not be sent", message.id)
        _put_off(message, lease, type(error).__name__)
    else:
        _write(message, lease, state=NotificationState.SENT, sent_at=clock.now(), next_try_at=None, error=None)
    return True


def _put_off(message: Notification, lease: datetime | None, error: str) -> None:
    if message.tries > len(PAUSES_SECONDS):
        _give_up(message, lease, error)
        return
    pause = PAUSES_SECONDS[message.tries - 1]
    _write(message, lease, next_try_at=clock.ahead(seconds=pause), error=redact(error))
    log.warning("notification %s not delivered: %s", message.id, redact(error))


def _give_up(message: Notification, lease: datetime | None, error: str) -> None:
    with transaction():
        if _write(message, lease, state=NotificationState.FAILED, next_try_at=None, error=redact(error)):
            sentence = (
                f"Notification {message.id} ({message.kind.value} by {message.channel.value}) was not delivered:"
                f" {error}. All of them are in /admin/notifications?state=failed."
            )
            alerts.raise_alert("notification_failed", sentence, once_per_hours=1)


def _write(message: Notification, lease: datetime | None, **facts: Any) -> bool:
    """Whether it was ours to the end."""
    with transaction() as session:
        written = session.scalar(
            update(Notification)
            .where(
                Notification.id == message.id,
                Notification.state == NotificationState.QUEUED,
                Notification.next_try_at == lease,
            )
            .values(facts)
            .returning(Notification.id)
            .execution_options(synchronize_session=False)
        )
    return written is not None
