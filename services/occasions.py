"""What happens that people are told of, and what there is to tell. Each within the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from models import (
    OPEN_PAYMENTS,
    AccountStatus,
    Event,
    EventStatus,
    NotificationChannel,
    NotificationKind,
    Order,
    Payment,
    PaymentStatus,
    Refund,
    Review,
    Ticket,
    TicketType,
    Transfer,
    User,
)
from services import notifications
from services.notifications import Contact, Message
from utils import clock
from utils.database import db, transaction

#: Payments that say that an order did not end without money, or that nobody knows yet.
_NOT_WITHOUT_MONEY = OPEN_PAYMENTS | {PaymentStatus.PAID, PaymentStatus.QUARANTINED, PaymentStatus.REVERSED}
#: So long before an event its ticket holders are reminded, and so long after it invited to review it.
_REMINDER, _INVITATION = timedelta(hours=24), timedelta(hours=24)
#: Nobody is asked about what is over for longer: e-mail may have been set up only now.
_LATEST_INVITATION = timedelta(days=7)


# ── Orders ────────────────────────────────────────────────────────────────────────────────────────────────────────


def tell_order_paid(order: Order, tickets: Sequence[Ticket]) -> None:
    """Its tickets, which were issued just now; needs `payments`."""
    kind = NotificationKind.ORDER_PAID
    if not notifications.channels_of(kind):
        return
    wanted = {ticket.ticket_type_id for ticket in tickets}
    named = db.session.execute(select(TicketType.id, TicketType.name).where(TicketType.id.in_(wanted)))
    names = dict(named.tuples().all())
    facts = {
        "event": _event(db.session.get_one(Event, order.event_id)),
        "order": order.reference,
        "tickets": [{"code": ticket.code, "type": names[ticket.ticket_type_id]} for ticket in tickets],
        "paid_kes": order.total_kes,
        "receipt": order.receipt,
    }
    buyer = db.session.get_one(User, order.buyer_id)
    notifications.queue(kind, [Message(buyer, f"order {order.id}", facts)])


def tell_orders_ended(order_ids: Sequence[int]) -> None:
    """Orders that are over without tickets: those are told of whose prompts have all failed for certain."""
    kind = NotificationKind.PAYMENT_FAILED
    if not order_ids or not notifications.channels_of(kind):
        return
    payments = select(Payment.id).where(Payment.order_id == Order.id)
    ended = db.session.execute(
        select(Order, Event, User)
        .join(Event, Event.id == Order.event_id)
        .join(User, User.id == Order.buyer_id)
        .where(
            Order.id.in_(order_ids),
            payments.where(Payment.status == PaymentStatus.FAILED).exists(),
            ~payments.where(Payment.status.in_(_NOT_WITHOUT_MONEY)).exists(),
        )
    ).tuples()
    messages = [
        Message(
            buyer,
            f"order {order.id}",
            {"event": _event(event), "order": order.reference, "amount_kes": order.total_kes},
        )
        for order, event, buyer in ended
    ]
    notifications.queue(kind, messages)


# ── Money back ────────────────────────────────────────────────────────────────────────────────────────────────────


def tell_refund_started(refund: Refund) -> None:
    _tell_of_refund(NotificationKind.REFUND_STARTED, refund)


def tell_refund_done(refund: Refund) -> None:
    _tell_of_refund(NotificationKind.REFUND_DONE, refund)


def _tell_of_refund(kind: NotificationKind, refund: Refund) -> None:
    """Of money that names no order nobody knows whom to tell."""
    if refund.order_id is None or not notifications.channels_of(kind):
        return
    order, event, buyer = (
        db.session.execute(
            select(Order, Event, User)
            .join(Event, Event.id == Order.event_id)
            .join(User, User.id == Order.buyer_id)
            .where(Order.id == refund.order_id)
        )
        .tuples()
        .one()
    )
    facts = {
        "event": _event(event),
        "order": order.reference,
        "amount_kes": refund.amount_kes,
        "reason": refund.reason,
        "receipt": refund.receipt,
    }
    notifications.queue(kind, [Message(buyer, f"refund {refund.id}", facts)])


# ── Events ────────────────────────────────────────────────────────────────────────────────────────────────────────


def tell_decision(event: Event) -> None:
    """Its organizer, of what an admin just decided."""
    is_approved = event.status is EventStatus.APPROVED
    kind = NotificationKind.EVENT_APPROVED if is_approved else NotificationKind.EVENT_REJECTED
    if notifications.channels_of(kind):
        organizer = db.session.get_one(User, event.organizer_id)
        facts = {"event": _event(event), "reason": event.rejection_reason}
        notifications.queue(kind, [Message(organizer, _edition(event), facts)])


def tell_event_changed(event: Event, *, was_at: datetime, was_in: str) -> None:
    """Who holds a ticket, of another time or place. They are told before an admin has agreed: they see it already."""
    facts = {"event": _event(event), "was_at": clock.to_nairobi(was_at), "was_in": was_in}
    notifications.queue_for_holders(
        NotificationKind.EVENT_CHANGED, event_id=event.id, occasion=_edition(event), facts=facts
    )


def tell_event_cancelled(event: Event) -> None:
    """Who holds a ticket, or bought one. Before their refunds are started, after which none do."""
    notifications.queue_for_holders(
        NotificationKind.EVENT_CANCELLED,
        event_id=event.id,
        occasion=f"event {event.id}",
        facts={"event": _event(event)},
        buyers_too=True,
    )


def _edition(event: Event) -> str:
    """Names the event as it is after its latest change."""
    db.session.flush()
    return f"event {event.id} #{event.calendar_sequence}"


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "title": event.title,
        "location": event.location,
        "starts_at": clock.to_nairobi(event.starts_at),
        "ends_at": clock.to_nairobi(event.ends_at),
    }


# ── Tickets that change hands ─────────────────────────────────────────────────────────────────────────────────────


def tell_transfer_offered(transfer: Transfer, ticket: Ticket) -> None:
    """Who is to get it. The address that accepts it is made when this is sent: none of it is kept."""
    facts = {"first_name": transfer.first_name or "", "sender": transfer.from_name, "transfer": transfer.id}
    contact = Contact(transfer.to_email or "", transfer.to_phone or "")
    occasion = f"transfer {transfer.id}"
    notifications.queue_to(NotificationKind.TRANSFER_OFFERED, contact, occasion=occasion, facts=_ticket(ticket) | facts)


def tell_transfer_accepted(transfer: Transfer, ticket: Ticket) -> None:
    """Who passed it on, and who has it now."""
    occasion = f"transfer {transfer.id}"
    contact, first_name = _reach(transfer.from_id, transfer.from_email, transfer.from_phone, transfer.from_name)
    facts = {"first_name": first_name, "receiver": f"{ticket.first_name} {ticket.last_name}"}
    notifications.queue_to(
        NotificationKind.TRANSFER_ACCEPTED, contact, occasion=occasion, facts=_ticket(ticket) | facts
    )
    _tell_holder(NotificationKind.TICKET_RECEIVED, ticket, occasion)


def tell_ticket_reissued(ticket: Ticket) -> None:
    """Its holder, with its new address."""
    _tell_holder(NotificationKind.TICKET_REISSUED, ticket, f"ticket {ticket.id} #{ticket.rotation}")


def tell_tickets_ended(order: Order, tickets: Sequence[Ticket], *, is_reversed: bool) -> None:
    """Who held tickets that are no good any more, though the order's `event` goes on: M-PESA took their payment back,
    or who was passed one on agreed to its refund, of which its buyer is told apart."""
    if order.event.status is EventStatus.CANCELLED or order.event.is_over:
        return
    ended = [ticket for ticket in tickets if is_reversed or ticket.passed_on_at is not None]
    wanted = {ticket.ticket_type_id for ticket in ended}
    named = db.session.execute(select(TicketType.id, TicketType.name).where(TicketType.id.in_(wanted)))
    names = dict(named.tuples().all())
    holders = select(User).where(User.id.in_({ticket.holder_id for ticket in ended}))
    db.session.scalars(holders).all()  # all at once, for `_reach`
    told: dict[tuple[Contact, str], list[Ticket]] = {}
    for ticket in ended:
        held_by = _reach(ticket.holder_id, ticket.email, ticket.phone, ticket.first_name)
        told.setdefault(held_by, []).append(ticket)
    for (contact, first_name), theirs in told.items():
        facts = {
            "first_name": first_name,
            "event": _event(order.event),
            "types": [names[ticket.ticket_type_id] for ticket in theirs],
            "is_reversed": is_reversed,
        }
        if contact.user_id == order.buyer_id:
            facts["order"] = order.reference
        occasion = f"ticket {theirs[0].id}"
        notifications.queue_to(NotificationKind.TICKET_ENDED, contact, occasion=occasion, facts=facts)


def _tell_holder(kind: NotificationKind, ticket: Ticket, occasion: str) -> None:
    contact, first_name = _reach(ticket.holder_id, ticket.email, ticket.phone, ticket.first_name)
    facts = {"first_name": first_name, "ticket": [ticket.id, ticket.rotation]}
    notifications.queue_to(kind, contact, occasion=occasion, facts=_ticket(ticket) | facts)


def _reach(user_id: int | None, email: str, phone: str, name: str) -> tuple[Contact, str]:
    """How, and by which name: as the account says, if there is one; in no way, if it was deleted."""
    if user_id is None:
        return Contact(email, phone), name
    user = db.session.get_one(User, user_id)
    if user.status is AccountStatus.DELETED:
        return Contact("", "", user.id), user.first_name
    return Contact(user.email, user.phone, user.id), user.first_name


def _ticket(ticket: Ticket) -> dict[str, Any]:
    """What it is for; needs its type and event."""
    return {"event": _event(ticket.ticket_type.event), "type": ticket.ticket_type.name}


# ── What the worker notices ───────────────────────────────────────────────────────────────────────────────────────


def remind_holders() -> int:
    """Remind who holds a ticket for an event that begins within a day; returns of how many events.

    Who bought it only now needs no reminder.
    """
    now, reminded = clock.now(), 0
    if not notifications.is_set_up(NotificationChannel.EMAIL):
        return 0
    is_due = (Event.reminded_at.is_(None), Event.starts_at > now, Event.starts_at <= now + _REMINDER)
    while True:
        with transaction():
            event = _take(*is_due)
            if event is None:
                return reminded
            notifications.queue_for_holders(
                NotificationKind.EVENT_REMINDER,
                event_id=event.id,
                occasion=f"event {event.id} at {int(event.starts_at.timestamp())}",
                facts={"event": _event(event)},
                issued_until=event.starts_at - _REMINDER,
            )
            _mark(event, reminded_at=now)
        reminded += 1


def invite_reviews() -> int:
    """Ask who was at an event a day ago what it was like, unless they have said so; returns of how many events."""
    now, invited = clock.now(), 0
    if not notifications.is_set_up(NotificationChannel.EMAIL):
        return 0
    is_due = (
        Event.reviews_invited_at.is_(None),
        Event.ends_at <= now - _INVITATION,
        Event.ends_at > now - _LATEST_INVITATION,
    )
    while True:
        with transaction():
            event = _take(*is_due)
            if event is None:
                return invited
            reviewed = select(Review.id).where(Review.event_id == event.id, Review.attendee_id == User.id)
            notifications.queue_for_holders(
                NotificationKind.REVIEW_INVITATION,
                event_id=event.id,
                occasion=f"event {event.id}",
                facts={"event": _event(event)},
                only=[~reviewed.exists()],
            )
            _mark(event, reviews_invited_at=now)
        invited += 1


def _take(*is_due: Any) -> Event | None:
    """One event that is due, and that no other worker is at."""
    return db.session.scalar(
        select(Event)
        .where(Event.status == EventStatus.APPROVED, *is_due)
        .order_by(Event.starts_at, Event.id)
        .limit(1)
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )


def _mark(event: Event, **when: datetime) -> None:
    """Not a change of the event: whoever keeps a copy of it has nothing to fetch."""
    db.session.execute(
        update(Event)
        .where(Event.id == event.id)
        .values(updated_at=Event.updated_at, **when)
        .execution_options(synchronize_session=False)
    )
