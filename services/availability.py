"""Live availability: what is left of an event's tickets, read at this moment, or followed as it changes.

Nobody who buys announces anything: PostgreSQL hands announcements out in the order of commits, so that every commit
with one waits for all others. One worker compares what is on sale with what it announced last, a few times a second,
and says which events changed. Each web process listens once, reads those that somebody follows, and hands them on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Connection, Engine, Select, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import DBAPIError

from config import settings
from models import Event, EventStatus, Order, OrderItem, OrderStatus, TicketType, User
from models.catalogue import EventRules, TicketTypeRules
from services import events, stock
from utils import background, clock, live, stopping
from utils.database import connect_alone, db
from utils.errors import NotFound, Unavailable
from utils.prepared import Prepared, given

log = logging.getLogger(__name__)

_CHANNEL = "ticksy_availability"
#: Keeps this advisory lock apart from others, which have two numbers.
_LOCK_NOTIFIER = 7_001
#: A worker that hangs for so long is cut off, so that another one takes over.
_HANGS_AFTER_MS = 3_000
#: As many ids as are announced at once: a payload has less than 8,000 bytes, an id at most 19 digits.
_MOST_IDS = 300


class TooManyStreams(Unavailable):
    code, message, retry_after = "too_many_streams", "Too many people are watching. Please ask again now and then.", 10


@dataclass(frozen=True)
class TypeLeft:
    """What is left of one ticket type."""

    id: int
    name: str
    available: int
    is_on_sale: bool


@dataclass(frozen=True)
class Left:
    """What is left of an event's tickets, cheapest first, at one moment."""

    event_id: int
    status: EventStatus
    ticket_types: tuple[TypeLeft, ...]

    @property
    def is_public(self) -> bool:
        return self.status is EventStatus.APPROVED

    @property
    def is_sold_out(self) -> bool:
        """Whether there are ticket types and nothing is left of any."""
        return bool(self.ticket_types) and all(one.available <= 0 for one in self.ticket_types)


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read_left(*, actor: User | None, event_id: int) -> Left:
    """Of an event the actor may see. Raises NotFound."""
    event = _read([event_id]).get(event_id)
    if event is None or not events.may_see(actor, event):
        raise NotFound("There is no such event.")
    return _left_of(event)


def _read_all(event_ids: Collection[int]) -> dict[int, Left]:
    return {event_id: _left_of(event) for event_id, event in _read(event_ids).items()}


@dataclass(slots=True)
class _Type(TicketTypeRules):
    event: _Event
    id: int
    name: str
    quantity: int
    sold: int
    held: int
    sales_start_at: datetime | None
    sales_end_at: datetime | None
    held_by_ended: int


@dataclass(slots=True)
class _Event(EventRules):
    id: int
    status: EventStatus
    starts_at: datetime
    organizer_id: int
    ticket_types: list[_Type] = field(default_factory=list)


def _read(event_ids: Collection[int]) -> dict[int, _Event]:
    found: dict[int, _Event] = {}
    for event_id, status, starts_at, organizer_id, *facts in _LEFT.rows(event_ids=list(event_ids), now=clock.now()):
        event = found.get(event_id)
        if event is None:
            event = found[event_id] = _Event(event_id, EventStatus(status), starts_at, organizer_id)
        if facts[0] is not None:
            event.ticket_types.append(_Type(event, *facts))
    return found


_LEFT = Prepared(
    select(
        *(Event.id, Event.status, Event.starts_at, Event.organizer_id),
        *(TicketType.id, TicketType.name, TicketType.quantity, TicketType.sold, TicketType.held),
        *(TicketType.sales_start_at, TicketType.sales_end_at, stock.held_by_ended_orders(given("now"))),
    )
    .outerjoin(TicketType, TicketType.event_id == Event.id)
    .where(Event.id == func.any(given("event_ids", type_=ARRAY(BigInteger))))
    .order_by(Event.id, TicketType.price_kes, TicketType.id)
)


def _left_of(event: _Event) -> Left:
    types = tuple(TypeLeft(one.id, one.name, one.available, one.is_on_sale) for one in event.ticket_types)
    return Left(event.id, event.status, types)


# ── Following ─────────────────────────────────────────────────────────────────────────────────────────────────────

#: One for the process, or rather for each database it uses.
_feeds: dict[Engine, live.Feed[Left]] = {}
_feeds_lock = threading.Lock()


@dataclass(frozen=True)
class Stream:
    """What is left now, then each time it changed; None is a sign of life. `close` it in any case."""

    states: Iterator[Left | None]
    close: Callable[[], None]


def follow_left(*, actor: User | None, event_id: int) -> Stream:
    """Of an event the actor may see, for STREAM_MINUTES or until its status changes: then it has to be asked anew who
    may see it. Needs no database connection of the caller's. Raises NotFound, TooManyStreams.
    """
    first = read_left(actor=actor, event_id=event_id)
    try:
        reader = _feed().follow(event_id, most=settings.most_streams, seconds=settings.STREAM_MINUTES * 60)
    except live.Full:
        raise TooManyStreams from None
    return Stream(_follow(first, reader), reader.close)


def _follow(first: Left, reader: live.Reader[Left]) -> Iterator[Left | None]:
    yield first
    for left in reader:
        if left is not None and left.status is not first.status:
            return
        yield left


def _feed() -> live.Feed[Left]:
    with _feeds_lock:
        feed = _feeds.get(db.engine)
        if feed is None:
            feed = live.Feed(
                channel=_CHANNEL, connect=background.bound(connect_alone), read=background.bound(_read_all)
            )
            _feeds[db.engine] = feed
            stopping.when_told(feed.end)
        return feed


# ── Announcing ────────────────────────────────────────────────────────────────────────────────────────────────────


class Notifier:
    """Announces which events changed. Of all workers one does: the one whose connection has the advisory lock."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        #: A fingerprint of each event on sale as it was announced last; None before the first look.
        self._told: dict[int, str] | None = None

    def look(self) -> int:
        """Announce what changed since the last look; returns how many events. The first one says: look at all."""
        try:
            return self._announce(self._connection or self._connect())
        except DBAPIError as error:
            if self._connection is not None:  # said once, however often it is tried again
                log.warning("availability is not announced: %s", type(error).__name__)
            self.close()
            return 0

    def close(self) -> None:
        """Let another worker do it."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._told = None

    def _connect(self) -> Connection:
        connection = self._connection = connect_alone()
        connection.exec_driver_sql(f"SET idle_session_timeout = {_HANGS_AFTER_MS}")
        return connection

    def _announce(self, connection: Connection) -> int:
        if self._told is None and not connection.scalar(select(func.pg_try_advisory_lock(_LOCK_NOTIFIER))):
            return 0
        seen = dict(connection.execute(_on_sale()).tuples().all())
        told, self._told = self._told, seen
        changed = [] if told is None else [one for one in told.keys() | seen if told.get(one) != seen.get(one)]
        if told is None or len(changed) > _MOST_IDS:
            connection.execute(select(func.pg_notify(_CHANNEL, "")))
        elif changed:
            connection.execute(select(func.pg_notify(_CHANNEL, " ".join(map(str, changed)))))
        return len(changed)


def _on_sale() -> Select[tuple[int, str]]:
    """SQL for the events that may be on sale, each with a fingerprint of all that a reader is shown of it.

    It reads the small index of what is open and over once, and locks nothing, however hot the rows are.
    """
    now = clock.now()
    ended = (
        select(OrderItem.ticket_type_id, func.sum(OrderItem.quantity).label("places"))
        .join(Order, Order.id == OrderItem.order_id)
        .where(Order.status == OrderStatus.PENDING, Order.expires_at <= now)
        .group_by(OrderItem.ticket_type_id)
        .subquery()
    )
    is_in_period = and_(
        or_(TicketType.sales_start_at.is_(None), TicketType.sales_start_at <= now),
        or_(TicketType.sales_end_at.is_(None), TicketType.sales_end_at > now),
    )
    available = TicketType.quantity - TicketType.sold - TicketType.held + func.coalesce(ended.c.places, 0)
    shown = func.concat_ws(":", TicketType.id, available, is_in_period, TicketType.price_kes, TicketType.name)
    all_shown = func.string_agg(shown, aggregate_order_by(literal(","), TicketType.id))
    return (
        select(Event.id, func.md5(all_shown))
        .join(Event.ticket_types)
        .outerjoin(ended, ended.c.ticket_type_id == TicketType.id)
        .where(Event.status == EventStatus.APPROVED, Event.starts_at > now)
        .group_by(Event.id)
    )


_notifiers: dict[Engine, Notifier] = {}


def announce_changes() -> int:
    """The worker's look: see Notifier."""
    return _notifiers.setdefault(db.engine, Notifier()).look()
