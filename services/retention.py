"""How long personal data is kept: what Safaricom said of people, what accounts that were deleted leave behind, and who
had a ticket without an account."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, column, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from config import settings
from models import (
    AccountStatus,
    Event,
    MpesaMessage,
    Notification,
    NotificationKind,
    Order,
    OrderItem,
    Payment,
    Ticket,
    TicketType,
    Transfer,
    User,
)
from utils import clock
from utils.blanking import blank
from utils.database import db, transaction

#: What stands where a number or an address stood.
FORGOTTEN = "deleted"
#: So long after an event's end its money may still have to go back.
KEPT_AFTER_DAYS = 30
_AT_ONCE = 500
_NO_FIRST_NAME, _NO_LAST_NAME = "Name", "deleted"
_NOBODY = {"first_name": "Deleted", "last_name": "account", "email": FORGOTTEN, "phone": FORGOTTEN}


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
    """Orders, and tickets that were passed on to such accounts, whose event has meanwhile been over for long enough;
    returns how many were dealt with."""
    with transaction():
        return forget_orders() + forget_received_tickets()


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
        places = func.generate_series(1, OrderItem.quantity).table_valued("number")
        nobodies = select(func.jsonb_agg(literal(_NOBODY, JSONB))).select_from(places).scalar_subquery()
        for statement in (
            # What was passed on is about somebody else.
            update(Ticket).where(Ticket.order_id.in_(ids), Ticket.passed_on_at.is_(None)).values(_NOBODY),
            update(OrderItem).where(OrderItem.order_id.in_(ids)).values(attendees=nobodies),
            update(Payment).where(Payment.order_id.in_(ids), Payment.phone.is_not(None)).values(phone=FORGOTTEN),
            update(Payment).where(Payment.order_id.in_(ids), Payment.payer.is_not(None)).values(payer=FORGOTTEN),
            update(Order).where(Order.id.in_(ids)).values(phone=FORGOTTEN),
        ):
            db.session.execute(statement.execution_options(synchronize_session=False))
    return len(ids)


def forget_received_tickets(*, holder_id: int | None = None) -> int:
    """The same of tickets that were passed on to accounts that are deleted."""
    due = (
        select(Ticket.id)
        .join(User, User.id == Ticket.holder_id)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(User.status == AccountStatus.DELETED, Ticket.passed_on_at.is_not(None), Ticket.email != FORGOTTEN)
        .where(Event.ends_at <= clock.ago(days=KEPT_AFTER_DAYS))
        .order_by(Ticket.id)
    )
    due = due.limit(_AT_ONCE) if holder_id is None else due.where(Ticket.holder_id == holder_id)
    ids = db.session.scalars(due.with_for_update(of=Ticket)).all()
    if ids:
        forgotten = update(Ticket).where(Ticket.id.in_(ids)).values(_NOBODY)
        db.session.execute(forgotten.execution_options(synchronize_session=False))
    return len(ids)


def forget_transfers(user: User) -> None:
    """Take the user out of both ends of the tickets that went through their hands. Nobody writes to them any more."""
    sent = update(Transfer).where(Transfer.from_id == user.id)
    received = update(Transfer).where(Transfer.to_id == user.id)
    for statement in (
        sent.values(from_name="Deleted account", from_email=FORGOTTEN, from_phone=FORGOTTEN),
        received.values(first_name=_NOBODY["first_name"], last_name=_NOBODY["last_name"]),
        received.where(Transfer.to_email.is_not(None)).values(to_email=FORGOTTEN),
        received.where(Transfer.to_phone.is_not(None)).values(to_phone=FORGOTTEN),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))


# ── Who has no account ────────────────────────────────────────────────────────────────────────────────────────────


def forget_attendees() -> int:
    """Take those without an account out of events that ended ATTENDEE_RETENTION_DAYS ago: whom orders named, who was
    passed a ticket on, whom one was offered. Tickets, codes, prices and scans stay, and what buyers and receivers with
    an account say of themselves. Returns of how many events.
    """
    forgotten = 0
    while True:
        with transaction() as session:
            event_id = session.scalar(
                select(Event.id)
                .where(
                    Event.attendees_forgotten_at.is_(None),
                    Event.ends_at <= clock.ago(days=settings.ATTENDEE_RETENTION_DAYS),
                )
                .order_by(Event.ends_at, Event.id)
                .limit(1)
                .with_for_update(key_share=True, skip_locked=True)
            )
            if event_id is None:
                return forgotten
            _forget_attendees_of(event_id)
        forgotten += 1


def _forget_attendees_of(event_id: int) -> None:
    is_of_event = and_(Order.event_id == event_id, User.id == Order.buyer_id)
    tickets = select(Ticket.id).join(Ticket.ticket_type).where(TicketType.event_id == event_id)
    passed = update(Transfer).where(Transfer.ticket_id.in_(tickets))
    received = passed.where(Transfer.to_id.is_(None))
    strangers = update(Ticket).where(Ticket.id.in_(tickets), Ticket.holder_id.is_(None))
    about_strangers = or_(Notification.user_id.is_(None), Notification.kind == NotificationKind.TRANSFER_ACCEPTED)
    nameless = {"first_name": _NO_FIRST_NAME, "last_name": _NO_LAST_NAME}
    for statement in (
        update(Ticket)
        .where(is_of_event, Ticket.order_id == Order.id, Ticket.passed_on_at.is_(None))
        .values(_what_is_the_buyers({name: getattr(Ticket, name) for name in _NOBODY})),
        # Nobody writes to an address that is empty.
        strangers.values(nameless | {"email": "", "phone": ""}),
        update(OrderItem).where(is_of_event, OrderItem.order_id == Order.id).values(attendees=_buyers_alone()),
        passed.where(Transfer.from_id.is_(None)).values(
            from_name=f"{_NO_FIRST_NAME} {_NO_LAST_NAME}", from_email=FORGOTTEN, from_phone=FORGOTTEN
        ),
        received.values(nameless),
        received.where(Transfer.to_email.is_not(None)).values(to_email=FORGOTTEN),
        received.where(Transfer.to_phone.is_not(None)).values(to_phone=FORGOTTEN),
        delete(Notification).where(Notification.facts["event"]["id"].as_integer() == event_id, about_strangers),
        # Not a change of the event: whoever keeps a copy of it has nothing to fetch.
        update(Event)
        .where(Event.id == event_id)
        .values(attendees_forgotten_at=clock.now(), updated_at=Event.updated_at),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))


def _what_is_the_buyers(attendee: dict[str, Any]) -> dict[str, ColumnElement[str]]:
    """SQL, with User as the buyer: of an attendee's name, address and number, those that are the buyer's own."""
    is_buyer = and_(attendee["first_name"] == User.first_name, attendee["last_name"] == User.last_name)
    return {
        "first_name": case((is_buyer, attendee["first_name"]), else_=_NO_FIRST_NAME),
        "last_name": case((is_buyer, attendee["last_name"]), else_=_NO_LAST_NAME),
        "email": case((attendee["email"] == User.email, attendee["email"]), else_=""),
        "phone": case((attendee["phone"] == User.phone, attendee["phone"]), else_=""),
    }


def _buyers_alone() -> Any:
    """SQL: the attendees of an OrderItem, in their order."""
    elements = func.jsonb_array_elements(OrderItem.attendees)
    each = elements.table_valued(column("attendee", JSONB), with_ordinality="place", name="each").render_derived()
    kept = _what_is_the_buyers({name: each.c.attendee[name].astext for name in _NOBODY})
    one = func.jsonb_build_object(*(part for pair in kept.items() for part in pair))
    return (
        select(func.jsonb_agg(aggregate_order_by(one, each.c.place)))
        .select_from(each)
        .correlate(OrderItem, User)
        .scalar_subquery()
    )
