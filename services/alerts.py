"""What admins have to be told: a row in the transaction that makes it necessary, a line in the log, a webhook."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import requests
from sqlalchemy import Select, func, insert, select

from config import settings
from models import Alert, MessageChannel, MpesaMessage, Payment, PaymentMethod
from utils import clock
from utils.database import db, transaction
from utils.logger import redact

log = logging.getLogger(__name__)

#: Keeps this advisory lock apart from others.
_LOCK_ALERT = 3
_AT_ONCE = 20
_TRIES = 20
#: An alert that could not be delivered is sent again after so many seconds, the last pause repeated.
_PAUSES_SECONDS = (60, 300, 1800, 3600)
#: To connect, and between two bytes of the answer.
_TIMEOUT_SECONDS = (5, 10)
#: An initiator's password ends after 90 days (Safaricom's portal, "Transaction Status").
_PASSWORD_DAYS = 80
_SILENCE_MINUTES, _SILENT_PAYMENTS = 30, 3
#: Prompts older than this are not asked about any more; looking no further back keeps to the index.
_PROMPTS_HOURS = 48


class _HasId(Protocol):
    @property
    def id(self) -> Any: ...


def raise_alert(kind: str, message: str, *, target: _HasId | None = None, once_per_hours: float = 0) -> None:
    """Add an alert to the caller's transaction; at most one of a kind and target within `once_per_hours`.

    `message` is a sentence for admins. It leaves the house: phone numbers and secrets in it are masked.
    """
    message = redact(message)
    target_type = type(target).__name__.lower() if target is not None else None
    target_id = target.id if target is not None else None
    if once_per_hours and _was_raised(kind, target_type, target_id, hours=once_per_hours):
        return
    # Not by way of an object: there, None would be replaced with the column's default.
    db.session.execute(
        insert(Alert).values(
            kind=kind,
            message=message,
            target_type=target_type,
            target_id=target_id,
            next_try_at=clock.now() if settings.ALERT_URL else None,
        )
    )
    log.error("alert %s: %s", kind, message)


def _was_raised(kind: str, target_type: str | None, target_id: int | None, *, hours: float) -> bool:
    """Whether it was lately. Of two at once, one waits for the other to decide."""
    name = f"{kind} {target_type} {target_id}"
    db.session.execute(select(func.pg_advisory_xact_lock(_LOCK_ALERT, func.hashtext(name))))
    recent = select(Alert.id).where(
        Alert.kind == kind,
        Alert.created_at > clock.ago(hours=hours),
        Alert.target_type.is_not_distinct_from(target_type),
        Alert.target_id.is_not_distinct_from(target_id),
    )
    return db.session.scalar(recent.limit(1)) is not None


def list_alerts() -> Select[tuple[Alert]]:
    """Newest first."""
    return select(Alert).order_by(Alert.id.desc())


def send_due_alerts() -> int:
    """Post alerts to ALERT_URL, oldest first, until one does not arrive; returns how many did."""
    if not settings.ALERT_URL:
        return 0
    arrived = 0
    while arrived < _AT_ONCE and (alert := _take_due()) is not None and _post(alert):
        with transaction():
            alert.sent_at, alert.next_try_at = clock.now(), None
        arrived += 1
    return arrived


def _take_due() -> Alert | None:
    """One whose time has come. The next try is written before the present one is made, so that nobody else has it."""
    with transaction() as session:
        alert = session.scalar(
            select(Alert)
            .where(Alert.next_try_at <= clock.now())
            .order_by(Alert.next_try_at, Alert.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        if alert is not None:
            pause = _PAUSES_SECONDS[min(alert.tries, len(_PAUSES_SECONDS) - 1)]
            alert.tries += 1
            alert.next_try_at = clock.ahead(seconds=pause) if alert.tries < _TRIES else None
    return alert


def _post(alert: Alert) -> bool:
    """Whether it arrived. The address may hold a secret, so it is in no line of the log."""
    body = {
        "kind": alert.kind,
        "message": alert.message,
        "target_type": alert.target_type,
        "target_id": alert.target_id,
        "created_at": clock.to_nairobi(alert.created_at),
    }
    try:
        with requests.Session() as http:
            # A proxy or .netrc of the machine has no business in it.
            http.trust_env = False
            # What is answered is not read: it could be without end.
            with http.post(
                settings.ALERT_URL, json=body, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
    except requests.RequestException as error:
        log.warning("alert %s not delivered: %s", alert.id, type(error).__name__)
        return False
    if not 200 <= status < 300:
        log.warning("alert %s not delivered: status %s", alert.id, status)
        return False
    return True


def check_initiator_password() -> int:
    """Tell, once a day, that the initiator's password is about to end, and refunds with it."""
    set_on = settings.MPESA_INITIATOR_PASSWORD_SET_ON
    if set_on is None:
        return 0
    age = (clock.now().astimezone(clock.NAIROBI).date() - set_on).days
    if age >= _PASSWORD_DAYS:
        with transaction():
            sentence = f"The initiator's password is {age} days old: M-PESA ends it after 90, and refunds with it."
            raise_alert("initiator_password", sentence, once_per_hours=24)
    return 0


def check_silent_callbacks() -> int:
    """Tell, once an hour, that prompts are settled without their callbacks: Safaricom's posts do not reach us."""
    since = clock.ago(minutes=_SILENCE_MINUTES)
    with transaction() as session:
        settled = session.scalar(
            select(func.count()).where(
                Payment.created_at > clock.ago(hours=_PROMPTS_HOURS),
                Payment.paid_at > since,
                # Money paid by hand to our Paybill has no callback.
                Payment.method == PaymentMethod.PROMPT,
                Payment.paid_through.in_([MessageChannel.STK_QUERY, MessageChannel.PULL, MessageChannel.C2B]),
            )
        )
        if (settled or 0) < _SILENT_PAYMENTS:
            return 0
        last_at = session.scalar(
            select(MpesaMessage.received_at)
            .where(MpesaMessage.channel == MessageChannel.STK_CALLBACK)
            .order_by(MpesaMessage.id.desc())
            .limit(1)
        )
        if last_at is None or last_at <= since:
            sentence = (
                f"{settled} payments in {_SILENCE_MINUTES} minutes, and not one callback: please check CALLBACK_URL and"
                " MPESA_CALLBACK_ADDRESSES."
            )
            raise_alert("silent_callbacks", sentence, once_per_hours=1)
    return 0
