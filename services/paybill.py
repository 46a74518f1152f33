"""Money that comes by itself: paid by hand to our Paybill, or told of by M-PESA's list of transactions.

Safaricom signs nothing, so a confirmation that is posted to us is only a reason to ask. What settles is M-PESA's answer
to our own question: the status of the transaction, or its list.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import selectinload

from config import settings
from models import (
    MessageChannel,
    MpesaLine,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    PaymentStatus,
    Refund,
    RefundStatus,
    RequestKind,
    User,
)
from services import alerts, audit, inbox, ledger, locks, questions
from services.judge import (
    AWAITS_RECEIPTS,
    Adopt,
    Ignore,
    MoneyVerdict,
    Open,
    OpenQuarantined,
    OpenSurplus,
    Suspect,
    TakenBack,
    judge_money,
)
from utils import clock, references
from utils.database import db, transaction
from utils.errors import Conflict
from utils.mpesa_reports import MoneyIn, read_confirmation, read_pull_page
from utils.statement import read_stored_line, store_line

log = logging.getLogger(__name__)

#: Daraja's words for refusing a payment before money moves (portal, "C2B").
ACCEPTED, WRONG_ACCOUNT, WRONG_AMOUNT, UNREADABLE = "0", "C2B00012", "C2B00013", "C2B00016"
_CONFIRMATIONS_AT_ONCE = 10
_MAY_BE_TAKEN_BACK = (PaymentStatus.PAID, PaymentStatus.QUARANTINED)
_ASK_FOR_HOURS = 48
#: One page of the list is expected within so many seconds, and a pull that failed is tried again after so many.
PULL_LEASE_SECONDS = 60
_PULLS_APART_SECONDS = 15


def check_payment(*, reference: str, amount: Decimal | None) -> str:
    """What to answer Safaricom before somebody's money moves: ACCEPTED, WRONG_ACCOUNT or WRONG_AMOUNT."""
    # Safaricom waits for eight seconds, and then lets the money in as it was told to once for all.
    with inbox.own_connection() as session:
        order = session.scalar(find_named(reference))
        if order is None or not order.is_open:
            return WRONG_ACCOUNT
        return ACCEPTED if amount == order.total_kes else WRONG_AMOUNT


def find_named(reference: str | None) -> Select[tuple[Order]]:
    """The order that a typed reference names."""
    return select(Order).where(Order.reference == references.normalise(reference or ""))


# ── Confirmations ─────────────────────────────────────────────────────────────────────────────────────────────────


def ask_about_confirmations() -> int:
    """Ask M-PESA about confirmations that nothing has confirmed yet; returns how many were."""
    with transaction() as session:
        waiting = session.scalars(
            select(MpesaMessage.id)
            .where(
                MpesaMessage.settled_at.is_(None),
                MpesaMessage.channel == MessageChannel.C2B,
                MpesaMessage.next_try_at <= clock.now(),
            )
            .order_by(MpesaMessage.id)
            .limit(_CONFIRMATIONS_AT_ONCE)
        ).all()
    for message_id in waiting:
        ask_about(message_id)
    return len(waiting)


def ask_about(message_id: int) -> None:
    """Ask for the status of the transaction that a stored confirmation tells of, unless it is known. Never inside a
    transaction.

    One from an address that is not Safaricom's waits for the list of transactions, which names references too.
    """
    with transaction() as session:
        message = session.scalar(
            select(MpesaMessage)
            .where(MpesaMessage.id == message_id, MpesaMessage.settled_at.is_(None))
            .with_for_update(skip_locked=True)
        )
        if message is None:
            return
        receipt = message.receipt
        known = session.scalar(select(Payment).where(Payment.receipt == receipt)) if receipt else None
        if receipt is None or known is not None:
            _close(message, "Ignore: unreadable" if receipt is None else "Ignore: known")
            return
        if message.received_at < clock.ago(hours=_ASK_FOR_HOURS):
            _close(message, "Suspect: never confirmed")
            alerts.raise_alert("confirmation_unconfirmed", f"M-PESA never confirmed receipt {receipt}.")
            return
        pauses = settings.QUERY_PAUSES_SECONDS
        message.next_try_at = clock.ahead(seconds=pauses[min(message.tries, len(pauses) - 1)])
        message.tries += 1
        pull_soon()
        question = (
            questions.open_question(RequestKind.STATUS, receipt=receipt) if inbox.is_from_safaricom(message) else None
        )
    if question is not None:
        questions.send(question)


def _close(message: MpesaMessage, verdict: str) -> None:
    message.settled_at, message.verdict, message.next_try_at = clock.now(), verdict, None


def settle_confirmed(receipt: str, amount: Decimal, *, channel: MessageChannel) -> MoneyVerdict:
    """M-PESA answered that this transaction is complete: settle the confirmations that told of it."""
    messages = db.session.scalars(
        select(MpesaMessage)
        .where(MpesaMessage.receipt == receipt, MpesaMessage.channel == MessageChannel.C2B)
        .order_by(MpesaMessage.id)
    ).all()
    told = [money for message in messages if (money := read_confirmation(message.body)) is not None]
    named = {references.normalise(money.reference or "") for money in told}
    if len(named) != 1:
        pull_soon()
        return Ignore("what it was paid for is told in the list of transactions only")
    verdict = settle_money(replace(told[0], amount=amount), channel=channel, received_at=messages[0].received_at)
    for message in messages:
        if message.settled_at is None:
            _close(message, "Confirmed")
    return verdict


def pull_soon() -> None:
    """Have the worker pull the list of transactions at once.

    Not sooner than moments after the last time, and not where it comes within a minute anyhow: many who wish for it
    must not keep Daraja busy, nor have it pulled by two workers while one is at it, or while it fails.
    """
    db.session.execute(
        update(MpesaLine)
        .where(MpesaLine.id == 1, MpesaLine.next_pull_at > clock.ahead(seconds=PULL_LEASE_SECONDS))
        .values(
            next_pull_at=func.greatest(clock.now(), MpesaLine.pulled_until + timedelta(seconds=_PULLS_APART_SECONDS))
        )
        .execution_options(synchronize_session=False)
    )


# ── M-PESA's list of transactions ─────────────────────────────────────────────────────────────────────────────────


def settle_listed(message: MpesaMessage) -> tuple[object, list[int]]:
    """Settle one stored page of the list, or one line of it or of a statement; returns a verdict and what to settle
    next.

    Each line of a page that is news becomes a message of its own, since each has an order and ticket types to lock:
    one transaction for several would lock orders after ticket types, and one that fails would hold up all others.
    """
    page = read_pull_page(message.body) if message.channel is MessageChannel.PULL else None
    if page is None:
        return _settle_line(message), []
    news = _leave_out_known(page)
    lines = [
        inbox.store(None, message.channel, store_line(money), receipt=money.receipt)
        # Money comes before it is taken back.
        for money in sorted(news, key=lambda one: one.is_reversal)
    ]
    return f"Listed: {len(page)}, not known before: {len(news)}", lines


def _settle_line(message: MpesaMessage) -> object:
    for money in _leave_out_known(read_stored_line(message.body)):
        if not money.is_reversal:
            return settle_money(money, channel=message.channel, received_at=message.received_at)
        take_back(money.reverses or "", channel=message.channel)
        return TakenBack(money.reverses or "")
    return Ignore("nothing new")


def _leave_out_known(listed: list[MoneyIn]) -> list[MoneyIn]:
    """Those that tell something new; payments that the list agrees with are marked so."""
    named = {one for money in listed for one in (money.receipt, money.reverses) if one is not None}
    known = {
        payment.receipt: payment for payment in db.session.scalars(select(Payment).where(Payment.receipt.in_(named)))
    }
    agreed = [
        known[money.receipt].id
        for money in listed
        if not money.is_reversal and money.receipt in known and known[money.receipt].amount_kes == money.amount
    ]
    db.session.execute(
        update(Payment)
        .where(Payment.id.in_(agreed), Payment.reconciled_at.is_(None))
        .values(reconciled_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    done, receipts = set(agreed), {money.receipt for money in listed if not money.is_reversal}
    ours = _sent_back(known.values())

    def is_news(money: MoneyIn) -> bool:
        payment = known.get((money.reverses or "") if money.is_reversal else money.receipt)
        if not money.is_reversal:
            return payment is None or payment.id not in done
        if payment is None:
            return money.reverses in receipts
        return payment.status in _MAY_BE_TAKEN_BACK and payment.id not in ours

    return [money for money in listed if is_news(money)]


def _sent_back(payments: Iterable[Payment]) -> set[int]:
    """Ids of those that we have reversed ourselves, as we know already."""
    return set(
        db.session.scalars(
            select(Refund.payment_id)
            .join(Refund.payment)
            .where(
                Refund.payment_id.in_([payment.id for payment in payments]),
                Refund.amount_kes == Payment.amount_kes,
                Refund.status == RefundStatus.DONE,
            )
        )
    )


def settle_money(money: MoneyIn, *, channel: MessageChannel, received_at: datetime) -> MoneyVerdict:
    """Give confirmed money to the order its reference names, or keep it for a person. In the caller's transaction."""
    order_id = db.session.scalar(find_named(money.reference).with_only_columns(Order.id))
    order = locks.lock_order(order_id) if order_id is not None else None
    known = locks.lock_receipt(money.receipt)
    verdict = judge_money(order, known, money)
    at = min(money.at, received_at) if money.at else received_at
    match verdict:
        case Adopt(payment_id):
            assert order is not None
            _adopt(order, order.payment(payment_id), money, channel, at)
        case Open():
            assert order is not None
            payment = _open(order, money, PaymentStatus.QUARANTINED)
            ledger.receive_money(order, payment, channel=channel, received_at=at)
        case OpenSurplus():
            payment = _open(order, money, PaymentStatus.QUARANTINED)
            ledger.receive_surplus(payment, channel=channel)
        case OpenQuarantined(reason):
            _keep_for_a_person(order, money, channel, reason)
        case Suspect(reason):
            if known is not None:
                known.note = f"A transaction does not agree with it: {reason}."
                alerts.raise_alert(
                    "payment_differs", f"Payment {known.id} differs: {reason}.", target=known, once_per_hours=24
                )
        case Ignore():
            pass
    if channel in (MessageChannel.PULL, MessageChannel.STATEMENT) and not isinstance(verdict, Suspect):
        db.session.flush()
        db.session.execute(
            update(Payment)
            .where(Payment.receipt == money.receipt)
            .values(reconciled_at=clock.now())
            .execution_options(synchronize_session="fetch")
        )
    log.info("money that came by itself: %s", type(verdict).__name__)
    return verdict


def _adopt(order: Order, payment: Payment, money: MoneyIn, channel: MessageChannel, at: datetime) -> None:
    payment.receipt, payment.payer, payment.typed_reference = money.receipt, money.payer, money.reference
    payment.moved_at = money.at
    if payment.status in (PaymentStatus.PAID, PaymentStatus.QUARANTINED):
        audit.record(None, "receipt_adopted", payment, receipt=money.receipt, channel=channel.value)
        ledger.release_doubles(order)
        return
    ledger.receive_money(order, payment, channel=channel, received_at=at)


def _open(order: Order | None, money: MoneyIn, status: PaymentStatus) -> Payment:
    return ledger.open_paybill_payment(
        order,
        receipt=money.receipt,
        amount_kes=int(money.amount),
        status=status,
        typed_reference=money.reference,
        payer=money.payer,
        moved_at=money.at,
    )


def _keep_for_a_person(order: Order | None, money: MoneyIn, channel: MessageChannel, reason: str) -> None:
    if money.amount < 1 or money.amount != int(money.amount):
        log.error("receipt %s is of KES %s: not whole shillings", money.receipt, money.amount)
        reason = f"{reason}; KES {money.amount} is not an amount in whole shillings"
        money = replace(money, amount=max(Decimal(1), money.amount))
    payment = _open(order, money, PaymentStatus.QUARANTINED)
    payment.paid_through = channel
    ledger.quarantine(payment, reason)


def take_back(receipt: str, *, channel: MessageChannel) -> None:
    """M-PESA reversed this transaction. In the caller's transaction; nothing where it was our own doing."""
    found = db.session.execute(select(Payment.id, Payment.order_id).where(Payment.receipt == receipt)).one_or_none()
    if found is None:
        return
    order = locks.lock_order(found.order_id) if found.order_id is not None else None
    payment = db.session.get_one(Payment, found.id, populate_existing=True, with_for_update=True)
    refund = db.session.scalar(
        select(Refund).where(Refund.payment_id == payment.id, Refund.amount_kes == payment.amount_kes).with_for_update()
    )
    if refund is not None:
        if refund.status is not RefundStatus.DONE:
            ledger.finish_refund(order, refund, receipt=None)
        return
    if payment.status in _MAY_BE_TAKEN_BACK:
        ledger.take_back(order, payment, channel=channel)


# ── A person decides ──────────────────────────────────────────────────────────────────────────────────────────────


def attach(order: Order, payment: Payment, *, actor: User | None) -> None:
    """Give money in quarantine to an order, both locked by the caller: it pays it, or goes back as a second payment.

    Raises Conflict for money that is spoken for, whose receipt or amount is not certain, or is not the order's total.
    """
    if payment.status is not PaymentStatus.QUARANTINED or payment.refunded_kes > 0:
        raise Conflict("This payment is not waiting for a decision.", code="not_in_quarantine")
    if payment.receipt is None:
        raise Conflict(
            "Its receipt is not known yet: it may be money that was counted already.", code="receipt_unknown"
        )
    if payment.amount_kes != order.total_kes:
        raise Conflict("The amount is not this order's total. It can be refunded instead.", code="amount_differs")
    if payment.method is PaymentMethod.PROMPT and payment.reconciled_at is None:
        # Its amount is what we asked for; what came may be another, which is why it is here.
        raise Conflict(
            "M-PESA's list has not confirmed the amount of this payment yet. Please have it rechecked first.",
            code="amount_unconfirmed",
        )
    if payment.order_id not in (None, order.id):
        raise Conflict("This payment names another order.", code="names_another_order")
    if order.status in (OrderStatus.REFUND_DUE, OrderStatus.REFUNDED, OrderStatus.PARTLY_REFUNDED):
        raise Conflict("This order is being refunded, or was. The payment can be refunded too.", code="order_refunded")
    payment.order_id = order.id
    db.session.flush()
    db.session.refresh(order, ["payments"])
    audit.record(actor, "payment_attached", payment, order=order.id, receipt=payment.receipt)
    if order.evidence is None:
        received_at = clock.now()
        ledger.receive_money(order, payment, channel=MessageChannel.ADMIN, received_at=received_at)
    elif order.evidence.receipt is None:
        payment.note = AWAITS_RECEIPTS
    else:
        ledger.receive_surplus(payment, channel=MessageChannel.ADMIN)


def lock_payment(payment_id: int) -> tuple[Order | None, Payment | None]:
    """A payment with its order, both locked, the order first."""
    order_id = db.session.scalar(select(Payment.order_id).where(Payment.id == payment_id))
    order = locks.lock_order(order_id) if order_id is not None else None
    payment = db.session.scalar(
        select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update()
        .options(selectinload(Payment.refunds))
        .execution_options(populate_existing=True)
    )
    return order, payment
