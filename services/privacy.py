"""Everything that Ticksy knows of a person, for that person; and forgetting it (Kenya's Data Protection Act, 2019:
sections 26, 38 and 40)."""

from __future__ import annotations

import json
import tempfile
import zipfile
from datetime import datetime
from enum import Enum
from typing import IO, Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, literal, or_, select, update

from models import (
    OPEN_PAYMENTS,
    AccountStatus,
    AuditLog,
    Claim,
    Consent,
    Event,
    EventStatus,
    IdempotencyKey,
    Notification,
    OneTimeToken,
    Order,
    OrderItem,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    ResetRequest,
    Review,
    Role,
    SavedEvent,
    Session,
    Ticket,
    TicketStatus,
    TicketType,
    Transfer,
    TwoFactor,
    User,
)
from services import audit, credentials
from services.credentials import WrongPassword
from services.retention import forget_orders, forget_received_tickets, forget_transfers
from utils import clock
from utils.database import db, stream, transaction
from utils.errors import Conflict
from utils.security import hash_password, new_secret


class LastAdmin(Conflict):
    code, message = "last_admin", "You are the only admin. Make somebody else one first."


class MoneyUnderWay(Conflict):
    code = "money_under_way"
    message = (
        "A payment or a refund of yours is still under way. Please wait until it is done: we need to know you for it."
    )


class EventsAhead(Conflict):
    code = "events_ahead"
    message = "People hold tickets for an event of yours that is not over. Cancel it first, or wait until it is."


class TicketsAhead(Conflict):
    code = "tickets_ahead"
    message = (
        "You hold tickets for events that are not over. Without your account they cannot be shown again or refunded"
        ' at your request. Send `"force": true` if you want that.'
    )


# ── What we know ──────────────────────────────────────────────────────────────────────────────────────────────────


def export(*, actor: User) -> IO[bytes]:
    """A ZIP of JSON files, on disk until it is closed, with all that is stored of the actor. At its beginning."""
    # The caller closes it; without a name in the file system it ends with the process at the latest.
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, query in _files(actor).items():
                with archive.open(f"{name}.json", "w") as part:
                    _write_rows(part, query)
        with transaction():
            audit.record(actor, "data_exported", actor)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _files(user: User) -> dict[str, Select[Any]]:
    """What stands in each file. Secrets, such as the hash of the password, are nobody's to read."""
    own_orders = select(Order.id).where(Order.buyer_id == user.id)
    own_events = select(Event.id).where(Event.organizer_id == user.id)
    return {
        "account": _all_of(User, User.id == user.id, without=("password_hash",)),
        "sessions": _all_of(
            Session, Session.user_id == user.id, without=("family_hash", "refresh_hash", "previous_refresh_hash")
        ),
        "links_mailed_to_me": _all_of(OneTimeToken, OneTimeToken.user_id == user.id, without=("token_hash",)),
        "two_factor": _all_of(TwoFactor, TwoFactor.user_id == user.id, without=("sealed_secret", "recovery_hashes")),
        "consents": _all_of(Consent, Consent.user_id == user.id),
        "orders": _all_of(Order, Order.buyer_id == user.id, without=("poll_id",)),
        "order_items": _all_of(OrderItem, OrderItem.order_id.in_(own_orders)),
        "payments": _all_of(Payment, Payment.order_id.in_(own_orders), without=("callback_token_hash",)),
        "refunds": _all_of(Refund, Refund.order_id.in_(own_orders)),
        "claims": _all_of(Claim, Claim.user_id == user.id),
        "tickets": _all_of(Ticket, Ticket.holder_id == user.id),
        # Without what only the other one knows.
        "tickets_passed_on": _all_of(Transfer, Transfer.from_id == user.id, without=_OF_RECEIVERS),
        "tickets_received": _all_of(Transfer, Transfer.to_id == user.id, without=_OF_SENDERS),
        "reviews": _all_of(Review, Review.attendee_id == user.id),
        "saved_events": _all_of(SavedEvent, SavedEvent.user_id == user.id),
        "messages_to_me": _all_of(Notification, Notification.user_id == user.id),
        "my_events": _all_of(Event, Event.organizer_id == user.id, without=("search_words",)),
        "my_ticket_types": _all_of(TicketType, TicketType.event_id.in_(own_events)),
        "what_i_did": _all_of(AuditLog, AuditLog.user_id == user.id),
    }


_OF_RECEIVERS, _OF_SENDERS = ("first_name", "last_name", "to_id"), ("from_id", "from_name", "from_email", "from_phone")


def _all_of(model: Any, condition: ColumnElement[bool], *, without: tuple[str, ...] = ()) -> Select[Any]:
    columns = [column for column in model.__table__.columns if column.name not in without]
    return select(*columns).where(condition).order_by(*model.__table__.primary_key.columns)


def _write_rows(part: IO[bytes], query: Select[Any]) -> None:
    """As a JSON array, a row at a time."""
    separator = b"[\n"
    for row in stream(query):
        part.write(separator + json.dumps(row._asdict(), default=_told, ensure_ascii=False).encode())
        separator = b",\n"
    part.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _told(value: Any) -> Any:
    match value:
        case datetime():
            return clock.to_nairobi(value)
        case Enum():
            return value.value
        case bytes() | memoryview():
            return bytes(value).hex()
    return str(value)


# ── Forgetting it ─────────────────────────────────────────────────────────────────────────────────────────────────


def delete_account(*, actor: User, password: str, code: str | None, is_forced: bool) -> None:
    """Delete what is the actor's alone, and take the person out of what the books must keep: for good.

    Numbers that money went to or came from stay with their orders until the event is long over
    (`retention.forget_orders`), since it may have to go back. Tickets for events that are not over stay good.
    Raises WrongPassword, LastAdmin, MoneyUnderWay, EventsAhead, TicketsAhead (unless forced).
    """
    proof = credentials.prove(actor, password, code)
    nobodys = hash_password(new_secret())
    with transaction() as session:
        # Whoever places an order needs this row to stay as it is; all admins, so that the last one is seen as such.
        is_admin = (User.role == Role.ADMIN) & (User.status == AccountStatus.ACTIVE)
        is_concerned = or_(User.id == actor.id, is_admin) if actor.is_admin else User.id == actor.id
        locked = select(User).where(is_concerned).order_by(User.id).with_for_update()
        concerned = session.scalars(locked.execution_options(populate_existing=True)).all()
        if actor.is_admin and len(concerned) < 2:
            raise LastAdmin
        if not credentials.spend(proof):
            raise WrongPassword
        _refuse_what_is_ahead(actor, is_forced=is_forced)
        for model, owner in (
            (SavedEvent, SavedEvent.user_id),
            (Review, Review.attendee_id),
            (Notification, Notification.user_id),
            (IdempotencyKey, IdempotencyKey.user_id),
            (Session, Session.user_id),
            (OneTimeToken, OneTimeToken.user_id),
            (TwoFactor, TwoFactor.user_id),
        ):
            session.execute(delete(model).where(owner == actor.id))
        session.execute(delete(ResetRequest).where(ResetRequest.email == actor.email))
        audit.record(actor, "account_deleted", actor, forced=is_forced)
        session.flush()
        session.execute(update(AuditLog).where(AuditLog.user_id == actor.id).values(ip_address=None))
        session.execute(update(Consent).where(Consent.user_id == actor.id).values(ip_address=None))
        _anonymise(actor, nobodys)
        forget_transfers(actor)
        forget_orders(buyer_id=actor.id)
        forget_received_tickets(holder_id=actor.id)


def _anonymise(user: User, password_hash: str) -> None:
    user.status, user.role = AccountStatus.DELETED, Role.ATTENDEE
    user.first_name, user.last_name = "Deleted", "account"
    user.email, user.phone = f"deleted-{user.id}@deleted.invalid", f"deleted-{user.id}"
    user.password_hash, user.email_verified_at = password_hash, None
    user.muted_notifications = []
    user.calendar_version += 1


def _refuse_what_is_ahead(user: User, *, is_forced: bool) -> None:
    own = Order.buyer_id == user.id
    is_open = or_(Order.status.in_([OrderStatus.PENDING, OrderStatus.REFUND_DUE]), _has_open_payment())
    is_going_back = exists(select(literal(1)).where(Refund.order_id == Order.id, Refund.status != RefundStatus.DONE))
    will_go_back = and_(
        Event.status == EventStatus.CANCELLED,
        Order.status.in_([OrderStatus.PAID, OrderStatus.PARTLY_REFUNDED]),
        Order.total_kes > 0,
    )
    if _is_any(select(Order.id).join(Order.event).where(own, or_(is_open, is_going_back, will_go_back))):
        raise MoneyUnderWay
    is_ahead = Event.ends_at > clock.now()
    is_good = Ticket.status != TicketStatus.VOID
    sold = (
        select(Event.id)
        .join(Event.ticket_types)
        .where(Event.organizer_id == user.id, is_ahead, Event.status != EventStatus.CANCELLED, TicketType.sold > 0)
    )
    if _is_any(sold):
        raise EventsAhead
    held = (
        select(Ticket.id)
        .join(Ticket.ticket_type)
        .join(TicketType.event)
        .where(Ticket.holder_id == user.id, is_good, is_ahead, Event.status != EventStatus.CANCELLED)
    )
    if not is_forced and _is_any(held):
        raise TicketsAhead


def _has_open_payment() -> ColumnElement[bool]:
    statuses = [*OPEN_PAYMENTS, PaymentStatus.QUARANTINED]
    return exists(
        select(literal(1)).where(
            Payment.order_id == Order.id, Payment.status.in_(statuses), Payment.refunded_kes < Payment.amount_kes
        )
    )


def _is_any(query: Select[Any]) -> bool:
    return db.session.scalar(select(query.exists())) or False
