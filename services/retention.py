"""How long personal data is kept: what Safaricom said of people, and what accounts that were deleted leave behind."""

from __future__ import annotations

from sqlalchemy import func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from config import settings
from models import AccountStatus, Event, MpesaMessage, Order, OrderItem, Payment, Ticket, User
from utils import clock
from utils.blanking import blank
from utils.database import db, transaction

#: What stands where a number or an address stood.
FORGOTTEN = "deleted"
#: So long after an event's end its money may still have to go back.
KEPT_AFTER_DAYS = 30
_AT_ONCE = 500


def blank_old_messages() -> int:
    """Take persons out of raw payment messages that are settled and older than MESSAGE_RETENTION_DAYS; the rows, with
    money, receipts and verdicts, stay. Returns how many were dealt with."""
    old = (
        select(MpesaMessage)
        .where(
            MpesaMessage.blanked_at.is_(None),
            MpesaMessage.settled_at.is_not(None),
            MpesaMessage.received_at <= clock.ago(days=settings.MESSAGE_RETENTION_DAYS),
        )
        .order_by(MpesaMessage.received_at)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with transaction() as session:
        messages = session.scalars(old).all()
        for message in messages:
            message.body, message.blanked_at = blank(message.body), clock.now()
            message.remote_address = None
    return len(messages)


def forget_orders_of_deleted_accounts() -> int:
    """Orders whose event has meanwhile been over for long enough; returns how many were dealt with."""
    with transaction():
        return forget_orders()


def forget_orders(*, buyer_id: int | None = None) -> int:
    """Take the people out of orders whose buyer's account was deleted, and whose event has been over for
    KEPT_AFTER_DAYS or was called off so long ago: until then their money may have to go back. Amounts, receipts and
    tickets stay. Within the caller's transaction; returns how many were dealt with, _AT_ONCE at most of all buyers.
    """
    due = (
        select(Order.id)
        .join(Order.buyer)
        .join(Order.event)
        .where(User.status == AccountStatus.DELETED, Order.phone != FORGOTTEN)
        .where(Event.ends_at <= clock.ago(days=KEPT_AFTER_DAYS))
        .order_by(Order.id)
    )
    due = due.limit(_AT_ONCE) if buyer_id is None else due.where(Order.buyer_id == buyer_id)
    ids = db.session.scalars(due.with_for_update(of=Order)).all()
    if ids:
        nobody = {"first_name": "Deleted", "last_name": "account", "email": FORGOTTEN, "phone": FORGOTTEN}
        places = func.generate_series(1, OrderItem.quantity).table_valued("number")
        nobodies = select(func.jsonb_agg(literal(nobody, JSONB))).select_from(places).scalar_subquery()
        for statement in (
            update(Ticket).where(Ticket.order_id.in_(ids)).values(nobody),
            update(OrderItem).where(OrderItem.order_id.in_(ids)).values(attendees=nobodies),
            update(Payment).where(Payment.order_id.in_(ids), Payment.phone.is_not(None)).values(phone=FORGOTTEN),
            update(Payment).where(Payment.order_id.in_(ids), Payment.payer.is_not(None)).values(payer=FORGOTTEN),
            update(Order).where(Order.id.in_(ids)).values(phone=FORGOTTEN),
        ):
            db.session.execute(statement.execution_options(synchronize_session=False))
    return len(ids)
