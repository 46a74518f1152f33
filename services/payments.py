"""What admins look up about payments, and decide about money that nothing else could decide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, joinedload, load_only

from config import settings
from models import AuditLog, MpesaMessage, MpesaRequest, Order, Payment, PaymentStatus, Refund, RequestKind, User
from services import audit, locks, orders, paybill, questions
from utils import clock
from utils import phone as phones
from utils.database import db, transaction
from utils.errors import Conflict, NotFound

#: Lines of a story, and characters of one message in it.
_MOST_LINES, _MOST_CHARACTERS = 500, 4_000
#: A number that stands across the cut is read whole, so that it is masked.
_LONGEST_NUMBER = 20
_Row = TypeVar("_Row", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Search:
    """What an admin looks for; every part may be missing. The times bound when the payment was made."""

    status: PaymentStatus | None = None
    receipt: str | None = None
    #: In its stored form.
    phone: str | None = None
    #: An order's reference, as people type it, or its id.
    order: str | None = None
    since: datetime | None = None
    until: datetime | None = None


# ── Looking up ────────────────────────────────────────────────────────────────────────────────────────────────────


def list_payments(search: Search) -> Select[tuple[Payment]]:
    """Newest first, with their orders."""
    payments = _with_order().order_by(Payment.id.desc())
    if search.status is not None:
        payments = payments.where(Payment.status == search.status)
    if search.receipt is not None:
        payments = payments.where(Payment.receipt == search.receipt)
    if search.phone is not None:
        payments = payments.where(or_(Payment.phone == search.phone, Payment.payer == search.phone))
    if search.order is not None:
        payments = payments.where(Payment.order_id.in_(orders.named_by(search.order).with_only_columns(Order.id)))
    if search.since is not None:
        payments = payments.where(Payment.created_at >= search.since)
    if search.until is not None:
        payments = payments.where(Payment.created_at <= search.until)
    return payments


def list_suspense() -> Select[tuple[Payment]]:
    """Money that waits for a person, longest waiting first: its `note` says why."""
    in_quarantine = and_(Payment.status == PaymentStatus.QUARANTINED, Payment.refunded_kes == 0)
    return _with_order().where(or_(in_quarantine, Payment.note.is_not(None))).order_by(Payment.id)


def get_payment(payment_id: int) -> Payment:
    """A payment with its order. Raises NotFound."""
    payment = db.session.scalar(_with_order().where(Payment.id == payment_id).execution_options(populate_existing=True))
    if payment is None:
        raise _no_such_payment()
    return payment


def _with_order() -> Select[tuple[Payment]]:
    return select(Payment).options(joinedload(Payment.order))


def _no_such_payment() -> NotFound:
    return NotFound("There is no such payment.")


# ── One payment's story ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class StoryLine:
    """One thing that happened. `kind` is "message", "request", "refund" or "audit"."""

    at: datetime
    kind: str
    what: str
    status: str | None = None
    text: str | None = None
    user_id: int | None = None


def tell_story(payment: Payment) -> list[StoryLine]:
    """Everything that happened to a payment in the order it did: the last five hundred lines of it."""
    refunds = db.session.scalars(_last(select(Refund).where(Refund.payment_id == payment.id), Refund.id)).all()
    refund_ids = [refund.id for refund in refunds]
    about = or_(MpesaRequest.refund_id.in_(refund_ids), _names(MpesaRequest.receipt, payment))
    requests = db.session.scalars(_last(select(MpesaRequest).where(about), MpesaRequest.id)).all()
    lines = [
        *_tell_messages(payment, [request.id for request in requests]),
        *(StoryLine(one.created_at, "request", one.kind.value, one.status.value) for one in requests),
        *(StoryLine(one.created_at, "refund", one.method.value, one.status.value, one.note) for one in refunds),
        *_tell_changes(payment, refund_ids),
    ]
    return sorted(lines, key=lambda line: line.at)[-_MOST_LINES:]


def _tell_messages(payment: Payment, request_ids: list[int]) -> Iterator[StoryLine]:
    about = or_(
        MpesaMessage.payment_id == payment.id,
        MpesaMessage.request_id.in_(request_ids),
        _names(MpesaMessage.receipt, payment),
    )
    # Of a body that may be long, its beginning is fetched alone.
    start = func.substr(MpesaMessage.body, 1, _MOST_CHARACTERS + _LONGEST_NUMBER)
    kept = load_only(MpesaMessage.channel, MpesaMessage.received_at, MpesaMessage.verdict, raiseload=True)
    rows = db.session.execute(_last(select(MpesaMessage, start).where(about).options(kept), MpesaMessage.id)).all()
    for message, body in rows:
        text = _readable(bytes(body), payment.phone)
        yield StoryLine(message.received_at, "message", message.channel.value, message.verdict, text)


def _tell_changes(payment: Payment, refund_ids: Iterable[int]) -> Iterator[StoryLine]:
    about = or_(
        and_(AuditLog.target_type == "payment", AuditLog.target_id == payment.id),
        and_(AuditLog.target_type == "refund", AuditLog.target_id.in_(list(refund_ids))),
        and_(AuditLog.target_type == "order", AuditLog.target_id == payment.order_id),
    )
    for one in db.session.scalars(_last(select(AuditLog).where(about), AuditLog.id)):
        details = json.dumps(one.details, ensure_ascii=False) if one.details else None
        yield StoryLine(one.created_at, "audit", one.action, text=details, user_id=one.user_id)


def _last(rows: Select[_Row], row_id: InstrumentedAttribute[int]) -> Select[_Row]:
    return rows.order_by(row_id.desc()).limit(_MOST_LINES)


def _names(receipt: InstrumentedAttribute[str | None], payment: Payment) -> ColumnElement[bool]:
    return receipt == payment.receipt if payment.receipt is not None else false()


def _readable(body: bytes, phone: str | None) -> str:
    """A message as text without the numbers in it. Safaricom's ids for a prompt end in the phone's last digits."""
    text = phones.mask_all(body.decode(errors="replace"))
    if phone is not None:
        text = text.replace(phone[-9:], phones.mask(phone)[-9:])
    return text[:_MOST_CHARACTERS]


# ── Deciding ──────────────────────────────────────────────────────────────────────────────────────────────────────


def recheck_payment(*, actor: User, payment_id: int) -> Payment:
    """Ask M-PESA about a payment now, by all ways there are. Never inside a transaction. Raises NotFound.

    Its receipt tells more than its prompt: the amount, and whether the money was taken back.
    """
    question = None
    with transaction():
        _order, payment = paybill.lock_payment(payment_id)
        if payment is None:
            raise _no_such_payment()
        audit.record(actor, "payment_rechecked", payment)
        if payment.receipt is not None and settings.MPESA_INITIATOR_NAME:
            question = questions.open_question(RequestKind.STATUS, receipt=payment.receipt)
        elif payment.checkout_request_id is not None:
            payment.next_query_at = clock.now()
        paybill.pull_soon()
    if question is not None:
        questions.send(question)
    return get_payment(payment_id)


def mark_seen(*, actor: User, payment_id: int) -> Payment:
    """A person has looked: take the payment off the suspense list. Raises NotFound; Conflict for money in quarantine,
    which leaves the list by being attached or refunded alone."""
    with transaction():
        _order, payment = paybill.lock_payment(payment_id)
        if payment is None:
            raise _no_such_payment()
        if payment.status is PaymentStatus.QUARANTINED and payment.refunded_kes == 0:
            raise Conflict("This money has to be attached to an order or refunded.", code="in_quarantine")
        audit.record(actor, "payment_seen", payment, note=payment.note)
        payment.note, payment.seen_at = None, clock.now()
    return get_payment(payment_id)


def attach_payment(*, actor: User, payment_id: int, order: str) -> Payment:
    """Give money in quarantine to the order that `order` names: its reference, or its id. Raises NotFound, Conflict."""
    with transaction():
        order_id = db.session.scalar(orders.named_by(order).with_only_columns(Order.id).limit(1))
        if order_id is None:
            raise NotFound("There is no such order.")
        locked = locks.lock_order(order_id)
        payment = db.session.scalar(
            select(Payment).where(Payment.id == payment_id).with_for_update().execution_options(populate_existing=True)
        )
        if payment is None:
            raise _no_such_payment()
        paybill.attach(locked, payment, actor=actor)
    return get_payment(payment_id)
