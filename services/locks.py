"""What is locked before money is judged: an order, then a receipt, each until the transaction ends."""

from __future__ import annotations

from sqlalchemy import Text, func, select
from sqlalchemy.orm import joinedload

from models import Order, Payment
from utils.database import db
from utils.errors import NotFound
from utils.prepared import Prepared, given

_LOCK_ORDER = Prepared(select(Order.id).where(Order.id == given("order_id")).with_for_update(key_share=True))
#: An advisory lock, whose first number keeps it apart from others.
_LOCK_RECEIPT = Prepared(select(func.pg_advisory_xact_lock(2, func.hashtext(given("receipt", type_=Text)))))
_OWNER_OF_RECEIPT = Prepared(select(Payment.id).where(Payment.receipt == given("receipt")))


def lock_order(order_id: int) -> Order:
    """The order with its items, payments and event, its row locked until the transaction ends. Raises NotFound."""
    db.session.connection()  # the lock is the transaction's, not the statement's
    if _LOCK_ORDER.row(order_id=order_id) is None:
        raise NotFound("There is no such order.")
    # A statement of its own: what else the first one read would be as it was before it waited for the lock.
    query = (
        select(Order)
        .where(Order.id == order_id)
        .options(joinedload(Order.items), joinedload(Order.payments), joinedload(Order.event, innerjoin=True))
        .execution_options(populate_existing=True)
    )
    return db.session.scalars(query).unique().one()


def lock_receipt(receipt: str) -> Payment | None:
    """The payment that has this receipt, if any; until the transaction ends nobody else can give it to one."""
    db.session.flush()  # one that this transaction has just given to a payment counts
    _LOCK_RECEIPT.rows(receipt=receipt)
    owner = _OWNER_OF_RECEIPT.row(receipt=receipt)
    return db.session.get_one(Payment, owner[0], populate_existing=True) if owner else None


def claim_receipt(payment: Payment, receipt: str) -> bool:
    """Write the receipt unless another payment has it; of two at once, one waits for the other to decide."""
    owner = lock_receipt(receipt)
    if owner is not None and owner.id != payment.id:
        return False
    payment.receipt = receipt
    return True
