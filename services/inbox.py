"""The inbox: everything Safaricom sends, stored as it came before anybody thinks about it.

Storing has a few database connections of its own: buyers may use up all others, and Safaricom does not try twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from sqlalchemy import func, insert, literal, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from config import settings
from models import MessageChannel, MpesaMessage, MpesaRequest, Payment, PaymentStatus
from utils import clock
from utils.callers import is_listed
from utils.database import db
from utils.errors import NotFound
from utils.mpesa_reports import read_callback, read_confirmation
from utils.prepared import Prepared, given
from utils.security import hash_secret

log = logging.getLogger(__name__)

#: Bodies kept of the public address for one payment.
_HINTS_PER_PAYMENT = 10
_SILENT = (PaymentStatus.PAID, PaymentStatus.QUARANTINED, PaymentStatus.REVERSED)
_strangers = count(1)


def receive_callback(*, token: str, body: bytes, remote_address: str | None) -> int:
    """Store a callback posted to a payment's secret address; returns the message's id, to be settled next.

    From an address that is not Safaricom's it is only a reason to ask. Raises NotFound for a token that is not ours.
    """
    channel = MessageChannel.STK_CALLBACK if _is_safaricom(remote_address) else MessageChannel.STK_HINT
    return _store_about(_ABOUT_PAYMENT, token, channel, body, remote_address)


def receive_hint(*, body: bytes, remote_address: str | None) -> int | None:
    """Take a post to the public callback address for what it is worth: a reason to ask about the payment it names.

    Returns the stored message's id, or None when it names no payment of ours, one that was asked about just now, or
    one that has had its share of such posts.
    """
    checkout_request_id = read_callback(body).checkout_request_id
    if checkout_request_id is None:
        return None
    kept = (
        select(func.count())
        .where(MpesaMessage.payment_id == Payment.id, MpesaMessage.channel == MessageChannel.STK_HINT)
        .correlate(Payment)
        .scalar_subquery()
    )
    with own_connection() as session:
        payment_id = session.scalar(
            update(Payment)
            .where(
                Payment.checkout_request_id == checkout_request_id,
                Payment.status.not_in(_SILENT),
                or_(
                    Payment.hinted_at.is_(None),
                    Payment.hinted_at <= clock.ago(seconds=settings.HINT_PAUSE_SECONDS),
                ),
                kept < _HINTS_PER_PAYMENT,
            )
            .values(hinted_at=clock.now())
            .returning(Payment.id)
            .execution_options(synchronize_session=False)
        )
        if payment_id is None:
            return None
        message = MpesaMessage(
            payment_id=payment_id, channel=MessageChannel.STK_HINT, body=body, remote_address=remote_address
        )
        return _add(session, message)


def receive_result(*, token: str, body: bytes, remote_address: str | None, is_timeout: bool) -> int:
    """Store the result of one of our requests, or Daraja's giving up on it; returns the message's id.

    From an address that is not Safaricom's a result counts as giving up: we ask. Raises NotFound.
    """
    is_result = not is_timeout and _is_safaricom(remote_address)
    channel = MessageChannel.RESULT if is_result else MessageChannel.TIMEOUT
    return _store_about(_ABOUT_REQUEST, token, channel, body, remote_address)


def _store_about(
    statement: Prepared, token: str, channel: MessageChannel, body: bytes, remote_address: str | None
) -> int:
    """Store a message about what has the token; returns the message's id. Raises NotFound when nothing has.

    In one statement: Safaricom waits, and while others settle each way to the database and back is a turn to wait for.
    """
    sent = {"channel": channel, "body": body, "remote_address": remote_address, "received_at": clock.now()}
    row = statement.row(token=hash_secret(token), **sent)
    if row is None:
        raise _stranger()
    message_id: int = row[0]
    return message_id


def _storing_about(
    column: InstrumentedAttribute[int | None], id_column: InstrumentedAttribute[int], token: InstrumentedAttribute[Any]
) -> Prepared:
    told = (MpesaMessage.channel, MpesaMessage.body, MpesaMessage.remote_address, MpesaMessage.received_at)
    named = select(id_column, *(given(one.key, type_=one.type) for one in told), literal(0))
    stored = insert(MpesaMessage).from_select([column, *told, MpesaMessage.tries], named.where(token == given("token")))
    return Prepared(stored.returning(MpesaMessage.id), of=_OWN_CONNECTIONS)


_OWN_CONNECTIONS = "inbox"
_ABOUT_PAYMENT = _storing_about(MpesaMessage.payment_id, Payment.id, Payment.callback_token_hash)
_ABOUT_REQUEST = _storing_about(MpesaMessage.request_id, MpesaRequest.id, MpesaRequest.result_token_hash)


def receive_confirmation(*, body: bytes, remote_address: str | None) -> int:
    """Store the word that somebody paid our Paybill; returns the message's id, to be asked about next."""
    money = read_confirmation(body)
    with own_connection() as session:
        message = MpesaMessage(
            channel=MessageChannel.C2B,
            receipt=money.receipt if money else None,
            body=body,
            remote_address=remote_address,
            next_try_at=clock.now(),
        )
        return _add(session, message)


def store(
    payment_id: int | None,
    channel: MessageChannel,
    body: bytes,
    *,
    receipt: str | None = None,
    remote_address: str | None = None,
    http_status: int | None = None,
) -> int:
    """Add a message to the inbox, in the caller's transaction; returns its id."""
    message = MpesaMessage(
        payment_id=payment_id,
        channel=channel,
        receipt=receipt,
        body=body,
        remote_address=remote_address,
        http_status=http_status,
    )
    db.session.add(message)
    db.session.flush()
    return message.id


@contextmanager
def own_connection() -> Iterator[Session]:
    """A transaction on one of the connections that are there for what Safaricom posts, and for nothing else."""
    with Session(db.engines[_OWN_CONNECTIONS]) as session, session.begin():
        yield session


def _add(session: Session, message: MpesaMessage) -> int:
    session.add(message)
    session.flush()
    return message.id


def is_from_safaricom(message: MpesaMessage) -> bool:
    """Whether it came from an address that Safaricom publishes, as far as we are told to look."""
    return _is_safaricom(message.remote_address)


def _is_safaricom(address: str | None) -> bool:
    return is_listed(address, settings.MPESA_CALLBACK_ADDRESSES)


def _stranger() -> NotFound:
    """Posts to secret addresses that nobody was given are counted, and nothing of them is kept."""
    number = next(_strangers)
    if number & (number - 1) == 0:  # 1, 2, 4, 8 …: the log must not fill up with what anybody can send
        log.warning("%s posts to unknown secret addresses so far, in this process", number)
    return NotFound()
