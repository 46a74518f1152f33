""" "I paid": a buyer names the M-PESA code of money that has not found its order.

The answer is always the same, so that nobody learns from it which codes exist. Money that names another order is never
moved; what is not plainly this order's waits for a person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Row, Select, select, update
from sqlalchemy.orm import joinedload, selectinload

from config import settings
from models import AuditLog, Claim, ClaimStatus, Order, OrderStatus, Payment, PaymentMethod, PaymentStatus, User
from services import alerts, audit, locks, paybill
from utils import clock
from utils import phone as phones
from utils.database import db, transaction
from utils.errors import Conflict, NotFound, TooManyRequests

_TRY = "claim_made"
_AT_ONCE = 200
#: Orders that money may still turn into tickets, or that owe it back.
_AWAIT_MONEY = (OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.EXPIRED, OrderStatus.CANCELLED)


class TooManyClaims(TooManyRequests):
    code, message = "too_many_claims", "You have named too many codes today. Please try again tomorrow, or ask us."


# ── A buyer claims ────────────────────────────────────────────────────────────────────────────────────────────────


def claim_payment(*, actor: User, order_id: int, receipt: str) -> None:
    """Note that the actor says this receipt paid this order, and attach its money where that is certain.

    Raises NotFound, Conflict for an order that is paid, TooManyClaims.
    """
    with transaction() as session:
        # One claim of an account at a time: parallel tries are counted like any others.
        session.execute(select(User.id).where(User.id == actor.id).with_for_update(key_share=True))
        order = locks.lock_order(order_id)
        if order.buyer_id != actor.id:
            raise NotFound("There is no such order.")
        if order.status is OrderStatus.PAID or order.evidence is not None:
            raise Conflict("This order is paid already.", code="already_paid")
        _count_try(actor, order)
        claim = session.scalar(
            select(Claim)
            .where(Claim.order_id == order.id, Claim.receipt == receipt)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        is_new = claim is None
        if claim is None:
            claim = Claim(order_id=order.id, user_id=actor.id, receipt=receipt, status=ClaimStatus.OPEN)
            session.add(claim)
            session.flush()
        if _attach(claim, order):
            return
        paybill.pull_soon()
        if is_new:
            sentence = f"Claim {claim.id}: a buyer says that order {order.id} is paid."
            alerts.raise_alert("claim_open", sentence, target=claim)


def _count_try(actor: User, order: Order) -> None:
    since = clock.ago(hours=24)
    tries = select(AuditLog.created_at).where(
        AuditLog.user_id == actor.id, AuditLog.action == _TRY, AuditLog.created_at > since
    )
    made = db.session.scalars(tries.order_by(AuditLog.created_at)).all()
    if len(made) >= settings.CLAIMS_PER_DAY:
        again_at = made[-settings.CLAIMS_PER_DAY] + timedelta(hours=24)
        raise TooManyClaims(retry_after=max(1, math.ceil((again_at - clock.now()).total_seconds())))
    audit.record(actor, _TRY, order)


# ── Whose money it is ─────────────────────────────────────────────────────────────────────────────────────────────


def _attach(claim: Claim, order: Order) -> bool:
    """Give the claimed money to the order if it is plainly its own; returns whether it was. Needs both locked."""
    payment = db.session.scalar(
        select(Payment)
        .where(Payment.receipt == claim.receipt)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if payment is None or claim.status is not ClaimStatus.OPEN or not is_plainly_of(payment, order):
        return False
    claim.status = ClaimStatus.ATTACHED
    audit.record(None, "claim_attached", claim)
    paybill.attach(order, payment, actor=None)
    return True


def is_plainly_of(payment: Payment, order: Order) -> bool:
    """Whether money that has no order is certainly this one's: the account number it names, or else whose it is.

    The payer's number proves nothing about an order that was placed when the money had moved already, nor about one
    that never had a prompt on that phone: anybody who knows of the money may order with that number. Needs `payments`.
    """
    is_free = (
        payment.order_id is None
        and payment.method is PaymentMethod.PAYBILL
        and payment.status is PaymentStatus.QUARANTINED
        and payment.refunded_kes == 0
        and payment.amount_kes == order.total_kes
        and order.status in _AWAIT_MONEY
    )
    if not is_free:
        return False
    named = db.session.scalar(paybill.find_named(payment.typed_reference).with_only_columns(Order.id))
    if named is not None:
        return named == order.id
    if payment.moved_at is None or payment.moved_at < order.created_at:
        return False
    return phones.is_told(payment.payer, order.phone) and any(_was_shown(prompt) for prompt in order.payments)


def _was_shown(payment: Payment) -> bool:
    """Whether it is a prompt that the order's phone did or may have seen."""
    return payment.pushed_at is not None and payment.status not in (PaymentStatus.QUEUED, PaymentStatus.REFUSED)


# ── Money that comes after its claim ──────────────────────────────────────────────────────────────────────────────


def match_open_claims() -> int:
    """Look again at open claims whose money has come since; returns how many were attached."""
    attached, last_id = _note_settled(), 0
    while found := _find_matches(after_id=last_id):
        last_id = found[-1].Claim.id
        # Looked at without locks first: most of them wait for a person.
        plain = [row.Claim for row in found if is_plainly_of(row.Payment, row.Order)]
        attached += sum(_match(claim.id, claim.order_id) for claim in plain)
    return attached


def _note_settled() -> int:
    """Claims whose order has got the money in another way: it named the order, or an admin attached it."""
    with transaction() as session:
        noted = session.scalars(
            update(Claim)
            .where(
                Claim.status == ClaimStatus.OPEN,
                Claim.receipt == Payment.receipt,
                Claim.order_id == Payment.order_id,
                Payment.status == PaymentStatus.PAID,
            )
            .values(status=ClaimStatus.ATTACHED)
            .returning(Claim.id)
            .execution_options(synchronize_session=False)
        ).all()
        audit.record_all(None, "claim_attached", Claim, noted)
    return len(noted)


def _find_matches(*, after_id: int) -> Sequence[Row[tuple[Claim, Payment, Order]]]:
    with transaction() as session:
        return session.execute(
            select(Claim, Payment, Order)
            .join(Payment, Payment.receipt == Claim.receipt)
            .join(Order, Order.id == Claim.order_id)
            .where(
                Claim.id > after_id,
                Claim.status == ClaimStatus.OPEN,
                Payment.order_id.is_(None),
                Payment.status == PaymentStatus.QUARANTINED,
                Payment.refunded_kes == 0,
                Payment.amount_kes == Order.total_kes,
                Order.status.in_(_AWAIT_MONEY),
            )
            .options(selectinload(Order.payments))
            .order_by(Claim.id)
            .limit(_AT_ONCE)
            .execution_options(populate_existing=True)
        ).all()


def _match(claim_id: int, order_id: int) -> bool:
    with transaction() as session:
        order = locks.lock_order(order_id)
        claim = session.get_one(Claim, claim_id, with_for_update=True, populate_existing=True)
        return _attach(claim, order)


# ── A person decides ──────────────────────────────────────────────────────────────────────────────────────────────


def list_claims(*, status: ClaimStatus | None) -> Select[tuple[Claim]]:
    """Newest first, with order and claimant."""
    claims = select(Claim).options(joinedload(Claim.order), joinedload(Claim.user)).order_by(Claim.id.desc())
    return claims if status is None else claims.where(Claim.status == status)


def close_claim(*, actor: User, claim_id: int) -> Claim:
    """A person has decided otherwise. Raises NotFound, Conflict."""
    with transaction() as session:
        claim = session.scalar(
            select(Claim)
            .where(Claim.id == claim_id)
            .with_for_update(of=Claim)
            .options(joinedload(Claim.order), joinedload(Claim.user))
        )
        if claim is None:
            raise NotFound("There is no such claim.")
        if claim.status is not ClaimStatus.OPEN:
            raise Conflict("This claim has been decided.", code="claim_decided")
        claim.status = ClaimStatus.CLOSED
        audit.record(actor, "claim_closed", claim)
    return claim
