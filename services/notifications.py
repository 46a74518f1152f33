"""The outbox: what people are to be told, written in the transaction of what it tells. The worker sends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, or_, select, union
from sqlalchemy.dialects.postgresql import JSONB, insert

from config import settings
from models import (
    LINK_NOTIFICATIONS,
    OPTIONAL_NOTIFICATIONS,
    AccountStatus,
    Notification,
    NotificationChannel,
    NotificationKind,
    NotificationState,
    Order,
    OrderStatus,
    Ticket,
    TicketStatus,
    TicketType,
    User,
)
from services import audit
from utils import clock, phone, references
from utils.database import db, transaction
from utils.errors import Conflict, NotFound

#: Kinds that are worth the price of a text message.
_TEXTED = frozenset({NotificationKind.ORDER_PAID, NotificationKind.REFUND_DONE, NotificationKind.EVENT_CANCELLED})
#: And to who can be reached no other way: a ticket was passed on to their number.
_TEXTED_TO_NUMBERS = frozenset({NotificationKind.EVENT_CANCELLED, NotificationKind.EVENT_CHANGED})


class MailOff(Conflict):
    code, message = "mail_off", "No e-mail is sent from here. Please ask us in another way."


def check_mail() -> None:
    """Raises MailOff where no e-mail can be sent."""
    if not is_set_up(NotificationChannel.EMAIL):
        raise MailOff


def is_set_up(channel: NotificationChannel) -> bool:
    """Whether there is somebody to carry it."""
    return bool(settings.MAIL_URL if channel is NotificationChannel.EMAIL else settings.SMS_URL)


def channels_of(kind: NotificationKind) -> list[NotificationChannel]:
    """How it is told; by none that is not set up, since nobody wants to hear next month what happened today."""
    channels = [NotificationChannel.EMAIL]
    if kind in _TEXTED:
        channels.append(NotificationChannel.SMS)
    return [channel for channel in channels if is_set_up(channel)]


@dataclass(frozen=True)
class Message:
    """What one person is to be told of one occasion."""

    user: User
    #: Told once, however often it is queued: "order 12".
    occasion: str
    #: JSON, and what `services.letters` wants of the kind.
    facts: dict[str, Any]
    #: Where to, by e-mail, if not to the account's own address.
    address: str | None = None


def queue(kind: NotificationKind, messages: Sequence[Message]) -> None:
    """Tell people, within the caller's transaction, in one statement for each channel."""
    wanted = [one for one in messages if is_wanted(kind, one.user)]
    for channel in channels_of(kind) if wanted else []:
        rows = [
            {
                "key": f"{kind.value}/{one.occasion}/{one.user.id}/{channel.value}",
                "kind": kind,
                "channel": channel,
                "user_id": one.user.id,
                "address": (one.address or one.user.email) if channel is NotificationChannel.EMAIL else one.user.phone,
                "facts": {"first_name": one.user.first_name} | one.facts,
                "next_try_at": clock.now(),
            }
            for one in wanted
        ]
        db.session.execute(insert(Notification).values(rows).on_conflict_do_nothing(index_elements=["key"]))


@dataclass(frozen=True)
class Contact:
    """Where one person is reached: their account's addresses, or those they have without one. Either may be empty."""

    email: str
    phone: str
    user_id: int | None = None


def channel_to(contact: Contact) -> NotificationChannel | None:
    """E-mail before text message; None when neither is set up for them."""
    ways = {NotificationChannel.EMAIL: contact.email, NotificationChannel.SMS: contact.phone}
    return next((channel for channel, address in ways.items() if address and is_set_up(channel)), None)


def queue_to(kind: NotificationKind, contact: Contact, *, occasion: str, facts: dict[str, Any]) -> None:
    """Tell one person by one way, within the caller's transaction. `facts` have their `first_name`."""
    channel = channel_to(contact)
    if channel is None:
        return
    address = contact.email if channel is NotificationChannel.EMAIL else contact.phone
    db.session.add(
        Notification(
            key=f"{kind.value}/{occasion}/{contact.user_id or address}/{channel.value}",
            kind=kind,
            channel=channel,
            user_id=contact.user_id,
            address=address,
            facts=facts,
            next_try_at=clock.now(),
        )
    )


def is_wanted(kind: NotificationKind, user: User) -> bool:
    """Whether there is somebody to hear it, who has not chosen otherwise where one may choose."""
    if kind not in OPTIONAL_NOTIFICATIONS:
        return user.status is not AccountStatus.DELETED
    return user.status is AccountStatus.ACTIVE and kind.value not in user.muted_notifications


def queue_for_holders(
    kind: NotificationKind,
    *,
    event_id: int,
    occasion: str,
    facts: dict[str, Any],
    only: Sequence[ColumnElement[bool]] = (),
    issued_until: datetime | None = None,
    buyers_too: bool = False,
) -> None:
    """Tell everybody who holds a good ticket for the event and meets `only` (SQL about User), as `queue` does, however
    many they are; or those alone whose ticket was issued by then. `buyers_too`: also who bought one and passed it on.

    Of each person, the facts also have `paid_kes`, the price of their orders. Who holds a ticket without an account is
    told what cannot be turned off, by the way that the ticket came to them.
    """
    good = [Ticket.status != TicketStatus.VOID, TicketType.event_id == event_id]
    if issued_until is not None:
        good.append(Ticket.issued_at <= issued_until)
    tickets = select(Ticket.holder_id).join(Ticket.ticket_type).where(*good)
    of_good_ones = select(Ticket.order_id).join(Ticket.ticket_type).where(*good)
    is_paid = Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED])
    bought = (Order.event_id == event_id, is_paid, Order.id.in_(of_good_ones))
    who: Any = union(tickets, select(Order.buyer_id).where(*bought)) if buyers_too else tickets
    paid = select(func.coalesce(func.sum(Order.total_kes), 0)).where(Order.buyer_id == User.id, *bought)
    for channel in channels_of(kind):
        own = func.jsonb_build_object("first_name", User.first_name, "paid_kes", paid.scalar_subquery())
        row: dict[str, Any] = {
            "key": func.concat(f"{kind.value}/{occasion}/", User.id, f"/{channel.value}"),
            "kind": literal(kind, Notification.kind.type),
            "channel": literal(channel, Notification.channel.type),
            "user_id": User.id,
            "address": User.email if channel is NotificationChannel.EMAIL else User.phone,
            "facts": own.op("||")(literal(facts, JSONB)),
            "next_try_at": literal(clock.now()),
        }
        holders = select(*row.values()).where(User.id.in_(who), User.status != AccountStatus.DELETED, *only)
        if kind in OPTIONAL_NOTIFICATIONS:
            is_muted = User.muted_notifications.any(kind.value)  # type: ignore[arg-type]
            holders = holders.where(User.status == AccountStatus.ACTIVE, ~is_muted)
        _insert(row, holders)
    for channel in NotificationChannel if kind not in OPTIONAL_NOTIFICATIONS else ():
        if is_set_up(channel) and (channel is NotificationChannel.EMAIL or kind in _TEXTED_TO_NUMBERS):
            _queue_for_strangers(kind, channel, good, occasion, facts)


def _queue_for_strangers(
    kind: NotificationKind,
    channel: NotificationChannel,
    good: Sequence[ColumnElement[bool]],
    occasion: str,
    facts: dict[str, Any],
) -> None:
    """Who holds good tickets without an account and is reached by the channel: once each, of the first of them."""
    is_mail = channel is NotificationChannel.EMAIL
    address = Ticket.email if is_mail else Ticket.phone
    named = func.jsonb_build_object("first_name", Ticket.first_name, "paid_kes", 0)
    own = named.op("||")(func.jsonb_build_object("ticket", func.jsonb_build_array(Ticket.id, Ticket.rotation)))
    row: dict[str, Any] = {
        "key": func.concat(f"{kind.value}/{occasion}/", address, f"/{channel.value}"),
        "kind": literal(kind, Notification.kind.type),
        "channel": literal(channel, Notification.channel.type),
        "address": address,
        "facts": own.op("||")(literal(facts, JSONB)),
        "next_try_at": literal(clock.now()),
    }
    strangers = select(*row.values()).join(Ticket.ticket_type).where(*good, Ticket.holder_id.is_(None), address != "")
    if not is_mail:
        strangers = strangers.where(Ticket.email == "")
    _insert(row, strangers.distinct(address).order_by(address, Ticket.id))


def _insert(row: dict[str, Any], rows: Select[Any]) -> None:
    found = insert(Notification).from_select(list(row), rows)
    db.session.execute(found.on_conflict_do_nothing(index_elements=["key"]))


# ── What admins see ───────────────────────────────────────────────────────────────────────────────────────────────


def list_notifications(
    *, kind: NotificationKind | None, state: NotificationState | None, recipient: str | None
) -> Select[tuple[Notification]]:
    """Newest first. `recipient` is a user's id, an e-mail address or a phone number."""
    messages = select(Notification).order_by(Notification.id.desc())
    if kind is not None:
        messages = messages.where(Notification.kind == kind)
    if state is not None:
        messages = messages.where(Notification.state == state)
    return messages if recipient is None else messages.where(_is_for(recipient))


def _is_for(text: str) -> ColumnElement[bool]:
    found = Notification.address == text.lower()
    try:
        found = or_(found, Notification.address == phone.parse(text))
    except ValueError:
        if (user_id := references.id_in(text)) is not None:
            found = or_(found, Notification.user_id == user_id)
    return found


def retry(*, actor: User, notification_id: int) -> Notification:
    """Send one that failed, or was dropped, after all; to the address that its account has now, unless it has a link
    for whoever reads the old one. Raises NotFound, Conflict."""
    with transaction() as session:
        message = session.get(Notification, notification_id, with_for_update=True, populate_existing=True)
        if message is None:
            raise NotFound("There is no such notification.")
        if message.state not in (NotificationState.FAILED, NotificationState.DROPPED):
            sentence = "Only a notification that failed or was dropped can be sent again."
            raise Conflict(sentence, code="notification_not_failed")
        if not is_set_up(message.channel):
            raise Conflict(f"Nobody carries {message.channel.value} at the moment.", code="channel_off")
        if message.user_id is not None and message.kind not in LINK_NOTIFICATIONS:
            user = session.get_one(User, message.user_id)
            message.address = user.email if message.channel is NotificationChannel.EMAIL else user.phone
        message.state, message.tries, message.next_try_at = NotificationState.QUEUED, 0, clock.now()
        message.error = None
        audit.record(actor, "notification_retried", message)
    return message
