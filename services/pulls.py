"""M-PESA's own list of our transactions, pulled again and again, and what it tells of money nobody told us of.

The list settles what no callback did: it names the reference of every payment. What it does not name was not paid.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from config import settings
from models import (
    MessageChannel,
    MpesaLine,
    MpesaMessage,
    MpesaRequest,
    Payment,
    PaymentMethod,
    PaymentStatus,
    RequestKind,
    RequestStatus,
)
from services import alerts, audit, inbox, ledger, locks, questions, settlement
from services.judge import AWAITS_RECEIPTS
from services.paybill import PULL_LEASE_SECONDS
from utils import clock
from utils.database import db, transaction
from utils.mpesa import Answer, daraja
from utils.mpesa_reports import MoneyIn, count_listed, read_pull_page

log = logging.getLogger(__name__)

#: M-PESA lists 48 hours (portal, "Pull Transactions"); a little less, since its clock is not ours.
_LISTED_FOR = timedelta(hours=47, minutes=55)
#: What is pulled twice, since a transaction is listed some time after it was made.
_OVERLAP = timedelta(minutes=10)
#: Once a day, from this hour of Nairobi on, all that is still listed is pulled again: something may have come late.
_REREAD_HOUR = 5
#: Stops a Daraja that counts pages in another way than we think, and never ends.
_PAGES_AT_MOST = 2000
_FAILING_FOR = timedelta(hours=6)
#: Each page is asked for so often before the whole pull waits for its next turn: of hundreds one fails now and then.
_TRIES_PER_PAGE = 4
_PAUSE_BETWEEN_TRIES_SECONDS = 1.0

#: A prompt nobody heard of is over when the list reaches so far beyond its push.
_UNHEARD_FOR = timedelta(minutes=15)
#: A line of the list that cannot be settled holds this up so many times, and then no more.
_TRIES_WAITED_FOR = 5
_AT_ONCE, _QUESTIONS_AT_ONCE = 100, 10
NOT_PAID, NOT_PAID_TEXT = (
    "not_paid",
    "M-PESA has no payment for this request. If you want the tickets, please try again.",
)


# ── Pulling ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Turn:
    """From when to when to pull."""

    start: datetime
    end: datetime
    #: Whether all that is listed before `start` is to be pulled again as well.
    is_first_of_day: bool


@dataclass(frozen=True)
class _Page:
    """An answer that is a page of the list, or should be one."""

    answer: Answer
    money: list[MoneyIn]
    #: Those that cannot be read included.
    rows: int


def pull_transactions() -> int:
    """Pull M-PESA's list of our transactions when it is time to; returns how many rows came.

    A pull that comes to nothing half way is begun anew; what it brought until then stays settled.
    """
    turn = _take_turn() if settings.PULL_MINUTES > 0 else None
    if turn is None:
        return 0
    rows = _pull_turn(turn)
    if rows is None:
        _put_off()
        return 0
    _finish(turn)
    close_unheard()
    close_counted()
    ask_about_missing()
    return rows


def _take_turn() -> _Turn | None:
    """What to pull, if it is time; of several workers one is told so. Moving the next time on is its lease."""
    now = clock.now()
    is_due = or_(MpesaLine.next_pull_at.is_(None), MpesaLine.next_pull_at <= now)
    with transaction() as session:
        session.execute(insert(MpesaLine).values(id=1, next_push_at=func.now()).on_conflict_do_nothing())
        taken = session.execute(
            update(MpesaLine)
            .where(MpesaLine.id == 1, is_due)
            .values(next_pull_at=_lease())
            .returning(MpesaLine.pulled_until)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if taken is None:
            return None
        listed_from = now - _LISTED_FOR
        if taken.pulled_until is None:
            return _Turn(listed_from, now, is_first_of_day=False)
        start = taken.pulled_until - _OVERLAP
        if start < listed_from:
            since = clock.to_nairobi(taken.pulled_until)
            sentence = f"M-PESA's list was not read since {since}, and it goes back 48 hours: import its statement."
            alerts.raise_alert("pull_gap", sentence, once_per_hours=24)
            return _Turn(listed_from, now, is_first_of_day=False)
    return _Turn(start, now, is_first_of_day=taken.pulled_until < clock.last_time_at(_REREAD_HOUR))


def _lease() -> datetime:
    return clock.ahead(seconds=PULL_LEASE_SECONDS)


def _renew_lease() -> None:
    """In the caller's transaction."""
    db.session.execute(
        update(MpesaLine)
        .where(MpesaLine.id == 1)
        .values(next_pull_at=_lease())
        .execution_options(synchronize_session=False)
    )


def _pull_turn(turn: _Turn) -> int | None:
    """How many rows came, or None when a page did not; then all of the turn is due again, the day's rereading too."""
    rows = _pull(turn.start, turn.end)
    if rows is None or not turn.is_first_of_day:
        return rows
    reread = _pull(turn.end - _LISTED_FOR, turn.start)
    return None if reread is None else rows + reread


def _pull(start: datetime, end: datetime) -> int | None:
    """Store and settle all pages of the list; returns how many rows they had, or None when one did not come."""
    seen: set[MoneyIn] = set()
    offset = 0
    for _ in range(_PAGES_AT_MOST):
        page = _fetch_page(start, end, offset)
        if page is None:
            return None
        if seen.issuperset(page.money):  # past the end; or Daraja took no notice of the offset
            return offset
        seen.update(page.money)
        offset += page.rows
        with transaction():
            message_id = inbox.store(None, MessageChannel.PULL, page.answer.body, http_status=page.answer.status)
            _tell_of_unreadable(page.rows - len(page.money))
            _renew_lease()
        settlement.try_to_settle(message_id)
    log.error("M-PESA's list of transactions has no end")
    return None


def _fetch_page(start: datetime, end: datetime, offset: int) -> _Page | None:
    """One page, past the end of the list an empty one. Daraja fails now and then, so it is asked for a few times; None
    when it does not come all the same, or without a row that can be read."""
    unread: _Page | None = None
    for number in range(_TRIES_PER_PAGE):
        if number:
            time.sleep(_PAUSE_BETWEEN_TRIES_SECONDS)
            with transaction():
                _renew_lease()
        answer = daraja.pull(start=start, end=end, offset=offset)
        if answer is None:
            continue
        money, rows = read_pull_page(answer.body), count_listed(answer.body)
        page = _Page(answer, money or [], rows)
        if money is not None and (money or not rows):
            return page
        unread = page
    log.warning("M-PESA's list of transactions: no answer, or none that can be read")
    if unread is not None:
        _keep_unread(unread)
    return None


def _keep_unread(page: _Page) -> None:
    """As it came, for a person: nothing can be settled by it."""
    with transaction() as session:
        session.add(
            MpesaMessage(
                channel=MessageChannel.PULL,
                body=page.answer.body,
                http_status=page.answer.status,
                settled_at=clock.now(),
                verdict="Unreadable",
            )
        )
        _tell_of_unreadable(page.rows)


def _tell_of_unreadable(rows: int) -> None:
    """In the caller's transaction; nothing where all rows could be read."""
    if rows:
        sentence = f"{rows} rows of M-PESA's list of transactions cannot be read: has it changed?"
        alerts.raise_alert("pull_unreadable", sentence, once_per_hours=24)


def _finish(turn: _Turn) -> None:
    with transaction() as session:
        session.execute(
            update(MpesaLine)
            .where(MpesaLine.id == 1)
            .values(
                pulled_until=func.greatest(MpesaLine.pulled_until, turn.end),
                next_pull_at=clock.ahead(minutes=settings.PULL_MINUTES),
            )
            .execution_options(synchronize_session=False)
        )


def _put_off() -> None:
    with transaction() as session:
        pulled_until = session.scalar(
            update(MpesaLine)
            .where(MpesaLine.id == 1)
            .values(next_pull_at=_lease())
            .returning(MpesaLine.pulled_until)
            .execution_options(synchronize_session=False)
        )
        if pulled_until is None or pulled_until < clock.now() - _FAILING_FOR:
            since = "yet: was it registered (flask mpesa register)?"
            if pulled_until is not None:
                since = f"since {clock.to_nairobi(pulled_until)}."
            sentence = f"M-PESA's list of transactions could not be read {since}"
            alerts.raise_alert("pull_failing", sentence, once_per_hours=24)


def read_pulled_until() -> datetime | None:
    """Up to when M-PESA's list has been read; None when it never was, or is not to be."""
    if settings.PULL_MINUTES <= 0:
        return None
    return db.session.scalar(select(MpesaLine.pulled_until).where(MpesaLine.id == 1))


# ── Prompts nobody heard of ───────────────────────────────────────────────────────────────────────────────────────


def close_unheard() -> int:
    """End prompts whose push was never answered, now that the list shows no money with their reference.

    Returns how many. A success that comes later still counts.
    """
    with transaction() as session:
        pulled_until = read_pulled_until()
        if pulled_until is None or _is_being_settled():
            return 0
        found = session.execute(
            select(Payment.id, Payment.order_id)
            .where(_is_unheard(pulled_until))
            .order_by(Payment.created_at)
            .limit(_AT_ONCE)
        ).all()
    return sum(_close(order_id, payment_id, pulled_until) for payment_id, order_id in found)


def _is_being_settled() -> bool:
    """Whether the list told something that is not settled yet, though it may be."""
    being_settled = select(MpesaMessage.id).where(
        MpesaMessage.settled_at.is_(None),
        MpesaMessage.channel == MessageChannel.PULL,
        MpesaMessage.tries < _TRIES_WAITED_FOR,
    )
    return db.session.scalar(being_settled.limit(1)) is not None


def _is_unheard(pulled_until: datetime) -> ColumnElement[bool]:
    """Those with a note are for a person: somebody claims that they were paid."""
    return and_(
        Payment.method == PaymentMethod.PROMPT,
        Payment.status.in_([PaymentStatus.SUBMITTING, PaymentStatus.UNKNOWN]),
        Payment.checkout_request_id.is_(None),
        Payment.receipt.is_(None),
        Payment.note.is_(None),
        Payment.created_at > pulled_until - _LISTED_FOR,
        func.coalesce(Payment.pushed_at, Payment.created_at) < pulled_until - _UNHEARD_FOR,
    )


def _close(order_id: int, payment_id: int, pulled_until: datetime) -> bool:
    with transaction() as session:
        order = locks.lock_order(order_id)
        if session.scalar(select(Payment.id).where(Payment.id == payment_id, _is_unheard(pulled_until))) is None:
            return False
        payment = order.payment(payment_id)
        settlement.end_prompt(order, payment, NOT_PAID, NOT_PAID_TEXT)
        audit.record(None, "payment_not_paid", payment, pulled_until=pulled_until.isoformat())
    return True


# ── Second payments that were none ────────────────────────────────────────────────────────────────────────────────


def close_counted() -> int:
    """End prompts that seemed to be a second payment of their order, now that the list shows one receipt only: what a
    query said of them is the money of that receipt, which another prompt of the order had adopted. Returns how many.

    Should a receipt of their own turn up all the same, it goes back like any second payment.
    """
    with transaction():
        pulled_until = read_pulled_until()
        if pulled_until is None or _is_being_settled():
            return 0
        found = db.session.execute(
            select(Payment.id, Payment.order_id).where(_seems_second(pulled_until)).order_by(Payment.id).limit(_AT_ONCE)
        ).all()
    return sum(_close_counted(order_id, payment_id, pulled_until) for payment_id, order_id in found)


def _seems_second(pulled_until: datetime) -> ColumnElement[bool]:
    return and_(
        Payment.status == PaymentStatus.QUARANTINED,
        Payment.note == AWAITS_RECEIPTS,
        Payment.receipt.is_(None),
        Payment.created_at > pulled_until - _LISTED_FOR,
        func.coalesce(Payment.pushed_at, Payment.created_at) < pulled_until - _listed_within(),
    )


def _close_counted(order_id: int, payment_id: int, pulled_until: datetime) -> bool:
    with transaction() as session:
        order = locks.lock_order(order_id)
        is_still = session.scalar(select(Payment.id).where(Payment.id == payment_id, _seems_second(pulled_until)))
        if is_still is None or order.receipt is None:
            return False
        ledger.count_once(order.payment(payment_id), order.receipt)
    return True


# ── Payments that the list does not show ──────────────────────────────────────────────────────────────────────────


def _listed_within() -> timedelta:
    """A payment is missing from the list when that reaches so far beyond it."""
    return timedelta(minutes=settings.LISTED_WITHIN_MINUTES)


def is_missing(pulled_until: datetime | None) -> ColumnElement[bool]:
    """SQL for: paid by what we were told, and neither list nor statement has shown its receipt, which they should."""
    is_unseen = and_(Payment.status == PaymentStatus.PAID, Payment.reconciled_at.is_(None))
    if pulled_until is None:
        return and_(is_unseen, Payment.receipt.is_(None))
    return and_(is_unseen, or_(Payment.receipt.is_(None), Payment.paid_at < pulled_until - _listed_within()))


def ask_about_missing() -> int:
    """Ask M-PESA what became of payments that its list should show and does not, until it answers; returns how many.

    It may have taken their money back by itself. Never inside a transaction.
    """
    pulled_until = read_pulled_until()
    if pulled_until is None or not settings.MPESA_INITIATOR_NAME:
        return 0
    # A question that M-PESA refused was none, and the answer to one may be lost; but it is not put again at once.
    was_asked = select(MpesaRequest.id).where(
        MpesaRequest.receipt == Payment.receipt,
        MpesaRequest.kind == RequestKind.STATUS,
        MpesaRequest.created_at > Payment.paid_at,
        or_(MpesaRequest.status == RequestStatus.ANSWERED, MpesaRequest.created_at > clock.ago(hours=1)),
    )
    with transaction() as session:
        receipts = session.scalars(
            select(Payment.receipt)
            .where(
                is_missing(pulled_until),
                Payment.receipt.is_not(None),
                Payment.paid_at > clock.ago(hours=48),
                ~was_asked.exists(),
            )
            .order_by(Payment.paid_at)
            .limit(_QUESTIONS_AT_ONCE)
        ).all()
        opened = [questions.open_question(RequestKind.STATUS, receipt=receipt) for receipt in receipts]
    for question in opened:
        questions.send(question)
    return len(opened)
