"""Calendars: a file of one event, and a feed of all that somebody goes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, or_, select, update

from config import settings
from models import AccountStatus, Event, EventStatus, SavedEvent, Ticket, TicketStatus, TicketType, User
from services import admission, audit, events
from utils import clock, signing
from utils.database import db, transaction
from utils.errors import NotFound

#: How long a feed keeps what is over.
PAST_DAYS = 90
_PURPOSE = "calendar"
_STATUSES = {EventStatus.APPROVED: "CONFIRMED", EventStatus.CANCELLED: "CANCELLED"}


@dataclass(frozen=True)
class CalendarFile:
    name: str
    body: bytes
    #: Whether everybody may see it.
    is_public: bool


def write_event(*, actor: User | None, event_id: int) -> CalendarFile:
    """The file of an event the actor may see, or that was called off before everybody's eyes. Raises NotFound."""
    event = db.session.scalar(select(Event).where(Event.id == event_id))
    if event is None or not event.cancelled_in_public:
        event = events.get_event(actor=actor, event_id=event_id)
    is_public = event.status is EventStatus.APPROVED or event.cancelled_in_public
    return _write(event.title, [event], is_public=is_public)


def get_address(actor: User) -> str:
    """Where a program subscribes to the actor's feed, without logging in.

    The address is made anew each time, out of SECRET_KEY and `calendar_version`. So it can be shown again, nothing in
    the database or a copy of it opens anybody's feed, and looking it up writes nothing. The price is that an
    address ends when SECRET_KEYS_OLD has the key no more that it was signed with.
    """
    token = signing.sign(_PURPOSE, (actor.id, actor.calendar_version), expires_at=None)
    return f"{settings.PUBLIC_URL}/calendar/{token}.ics"


def renew_address(*, actor: User) -> str:
    """Another address; the one before works no more."""
    with transaction() as session:
        # In the database, so that two who do it at once do not end up with the same.
        version = session.scalar(
            update(User)
            .where(User.id == actor.id)
            .values(calendar_version=User.calendar_version + 1)
            .returning(User.calendar_version)
            .execution_options(synchronize_session=False)
        )
        session.refresh(actor, ["calendar_version"])
        audit.record(actor, "calendar_renewed", actor, version=version)
    return get_address(actor)


def write_feed(token: str) -> CalendarFile:
    """What the owner of the address goes to, and went to in the last PAST_DAYS. Raises NotFound."""
    user = _owner(token)
    query = (
        select(Event)
        .where(Event.ends_at > clock.ago(days=PAST_DAYS), _belongs_to(user))
        .order_by(Event.starts_at, Event.id)
    )
    return _write("Ticksy", db.session.scalars(query), is_public=False)


def _owner(token: str) -> User:
    try:
        user_id, version = signing.verify(_PURPOSE, token)
    except signing.NotSigned:
        raise NotFound("There is no such calendar.") from None
    user = db.session.get(User, user_id)
    if user is None or user.calendar_version != version or user.status is not AccountStatus.ACTIVE:
        raise NotFound("There is no such calendar.")
    return user


def _belongs_to(user: User) -> ColumnElement[bool]:
    """SQL: whether an event is in the user's feed: there are tickets for it, or it was saved and may be seen."""
    saved = select(SavedEvent.id).where(SavedEvent.user_id == user.id, SavedEvent.event_id == Event.id).exists()
    visible = or_(Event.status == EventStatus.APPROVED, Event.cancelled_in_public)
    return or_(_has_tickets(user), and_(saved, visible))


def _has_tickets(user: User) -> ColumnElement[bool]:
    """Tickets given back do not count, unless all were because the event was called off: the feed has to say so."""
    held = admission.held_by(user).where(TicketType.event_id == Event.id)
    return or_(
        held.where(Ticket.status != TicketStatus.VOID).exists(),
        and_(Event.status == EventStatus.CANCELLED, held.exists()),
    )


def _write(name: str, shown: Iterable[Event], *, is_public: bool) -> CalendarFile:
    from utils import calendar  # noqa: PLC0415  # brings eighty modules, for who keeps a calendar

    entries = [
        calendar.Entry(
            uid=f"event-{event.id}@{urlsplit(settings.PUBLIC_URL).hostname}",
            sequence=event.calendar_sequence,
            # Before an admin has agreed to a change, or after one said no, it may take place or not.
            status=_STATUSES.get(event.status, "TENTATIVE"),
            title=event.title,
            description=event.description,
            location=event.location,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            url=f"{settings.PUBLIC_URL}/events/{event.id}",
            created_at=event.created_at,
            changed_at=event.updated_at,
        )
        for event in shown
    ]
    return CalendarFile(name, calendar.write(name, entries), is_public)
