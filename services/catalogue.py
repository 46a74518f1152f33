"""The catalogue as visitors read it: hundreds of times a second, so by statements that are prepared once.

What is read is plain rows; what follows from them is what `models.catalogue` says of the models, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache, reduce
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Float, ScalarSelect, Text, case, cast, func, select

from models import BETWEEN_WORDS, Event, EventStatus, Review, TicketType, User
from models.catalogue import EventRules, TicketTypeRules
from services import events, stock
from utils import clock
from utils.errors import NotFound
from utils.pagination import Page
from utils.prepared import Prepared, given

#: Words of a search that are looked at.
_MOST_WORDS = 20


class Sort(Enum):
    SOONEST = "soonest"
    NEWEST = "newest"
    CHEAPEST = "cheapest"


@dataclass(frozen=True)
class Search:
    """What a visitor looks for; every part may be missing. `starts_from` and `starts_until` bound the start."""

    words: str | None = None
    category: str | None = None
    location: str | None = None
    starts_from: datetime | None = None
    starts_until: datetime | None = None
    max_price_kes: int | None = None
    sort: Sort = Sort.SOONEST


class Organizer(NamedTuple):
    id: int
    first_name: str
    last_name: str


class Listed(NamedTuple):
    """An event in the catalogue."""

    id: int
    title: str
    description: str
    location: str
    starts_at: datetime
    ends_at: datetime
    category: str
    tags: str | None
    image: str | None
    status: str
    created_at: datetime
    lowest_price_kes: int | None
    attendee_count: int
    rating: float | None
    review_count: int
    organizer: Organizer


@dataclass(slots=True)
class TypeSeen(TicketTypeRules):
    """A ticket type as it is at the moment."""

    id: int
    name: str
    price_kes: int
    quantity: int
    sold: int
    held: int
    sales_start_at: datetime | None
    sales_end_at: datetime | None
    min_per_order: int
    max_per_order: int
    held_by_ended: int
    event: EventSeen


@dataclass(slots=True)
class EventSeen(EventRules):
    """An event as it is at the moment, with its ticket types, cheapest first."""

    id: int
    title: str
    description: str
    location: str
    starts_at: datetime
    ends_at: datetime
    category: str
    tags: str | None
    image: str | None
    status: EventStatus
    created_at: datetime
    organizer_id: int
    rejection_reason: str | None
    refund_until_hours: int | None
    transfer_until_hours: int | None
    allows_reentry: bool
    rating: float | None
    review_count: int
    organizer: Organizer
    ticket_types: list[TypeSeen] = field(default_factory=list)


_SHOWN = (
    *(Event.id, Event.title, Event.description, Event.location, Event.starts_at, Event.ends_at),
    *(Event.category, Event.tags, Event.image, Event.status, Event.created_at),
)


def _reviewed(event_id: Any) -> tuple[ScalarSelect[float], ScalarSelect[int]]:
    """SQL for what an event's reviews come to, one to five with one decimal, and how many there are."""
    rating = select(cast(func.round(func.avg(Review.rating), 1), Float)).where(Review.event_id == event_id)
    count = select(func.count()).where(Review.event_id == event_id)
    return rating.scalar_subquery(), count.scalar_subquery()


# ── One event ─────────────────────────────────────────────────────────────────────────────────────────────────────


def get_event(*, actor: User | None, event_id: int) -> EventSeen:
    """An event as `services.events.get_event` finds it. Raises NotFound."""
    row = _EVENT.row(event_id=event_id)
    if row is None:
        raise NotFound("There is no such event.")
    *facts, organizer_id, first_name, last_name = row
    event = EventSeen(*[*facts, Organizer(organizer_id, first_name, last_name)])
    event.status = EventStatus(event.status)
    if not events.may_see(actor, event):
        raise NotFound("There is no such event.")
    types = _TYPES.rows(event_id=event_id, now=clock.now())
    event.ticket_types = [TypeSeen(*[*one, event]) for one in types]
    return event


_EVENT = Prepared(
    select(
        *_SHOWN,
        *(Event.organizer_id, Event.rejection_reason, Event.refund_until_hours, Event.transfer_until_hours),
        Event.allows_reentry,
        *_reviewed(Event.id),
        *(User.id, User.first_name, User.last_name),
    )
    .join(User, User.id == Event.organizer_id)
    .where(Event.id == given("event_id"))
)
_TYPES = Prepared(
    select(
        *(TicketType.id, TicketType.name, TicketType.price_kes, TicketType.quantity, TicketType.sold, TicketType.held),
        *(TicketType.sales_start_at, TicketType.sales_end_at, TicketType.min_per_order, TicketType.max_per_order),
        stock.held_by_ended_orders(given("now")),
    )
    .where(TicketType.event_id == given("event_id"))
    .order_by(TicketType.price_kes, TicketType.id)
)


# ── Many ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def search_events(search: Search, *, page: int, per_page: int) -> Page:
    """Approved events that are not over, each a Listed."""
    words = re.sub(BETWEEN_WORDS, " ", search.words).split()[:_MOST_WORDS] if search.words is not None else None
    wanted: dict[str, Any] = {
        "now": clock.now(),
        "category": search.category and search.category.lower(),
        "location": search.location and re.sub(r"([/%_])", r"/\1", search.location),
        "starts_from": search.starts_from,
        "starts_until": search.starts_until,
        "max_price_kes": search.max_price_kes,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if words is not None:
        wanted |= {f"word_{number}": f"{word}:*" for number, word in enumerate(words)}
    kind = _Kind(frozenset(wanted), None if words is None else len(words), search.sort)
    rows = _page_of(kind).rows(**wanted, size=per_page, skip=(page - 1) * per_page)
    listed = [Listed._make((*row[:-3], Organizer._make(row[-3:]))) for row in rows]
    if 0 < len(rows) < per_page or (page == 1 and not rows):
        return Page(listed, page, per_page, (page - 1) * per_page + len(rows))
    counted = _count_of(kind).row(**wanted)
    return Page(listed, page, per_page, counted[0] if counted else 0)


class _Kind(NamedTuple):
    """Searches of one kind have one statement: which facts they have, how many words (None: no search by words)."""

    facts: frozenset[str]
    word_count: int | None
    sort: Sort

    @property
    def is_plain(self) -> bool:
        """As the frontend asks for first; there are few of these."""
        return self.facts == {"now"} and self.word_count is None


@lru_cache(maxsize=256)
def _page_of(kind: _Kind) -> Prepared:
    """The page is cut first: what costs more is asked only of what is on it."""
    cut = select(*_SHOWN, Event.organizer_id).where(*_conditions(kind)).limit(given("size")).offset(given("skip"))
    if kind.sort is Sort.CHEAPEST:
        cut = cut.add_columns(_lowest_price(Event.id).label("lowest"))
    page = cut.order_by(*_order(kind.sort, Event, _lowest_price(Event.id))).subquery("page").c
    sold = select(cast(func.coalesce(func.sum(TicketType.sold), 0), BigInteger)).where(TicketType.event_id == page.id)
    return Prepared(
        select(
            *(page[column.name] for column in _SHOWN),
            *(_lowest_price(page.id), sold.scalar_subquery(), *_reviewed(page.id)),
            *(User.id, User.first_name, User.last_name),
        )
        .join(User, User.id == page.organizer_id)
        .order_by(*_order(kind.sort, page, page.get("lowest"))),
        is_planned_once=kind.is_plain,
    )


@lru_cache(maxsize=256)
def _count_of(kind: _Kind) -> Prepared:
    counted = select(func.count()).select_from(Event).where(*_conditions(kind))
    return Prepared(counted, is_planned_once=kind.is_plain)


def _conditions(kind: _Kind) -> list[ColumnElement[bool]]:
    conditions: dict[str, ColumnElement[bool]] = {
        "category": func.lower(Event.category) == given("category"),
        "location": Event.location.icontains(given("location"), escape="/"),
        "starts_from": Event.starts_at >= given("starts_from"),
        "starts_until": Event.starts_at <= given("starts_until"),
        "max_price_kes": _lowest_price(Event.id) <= given("max_price_kes"),
    }
    always = [Event.status == EventStatus.APPROVED, Event.ends_at > given("now")]
    by_words = [] if kind.word_count is None else [_has_words(kind.word_count)]
    return always + by_words + [condition for name, condition in conditions.items() if name in kind.facts]


def _order(sort: Sort, of: Any, lowest: Any) -> Sequence[ColumnElement[Any]]:
    match sort:
        case Sort.SOONEST:
            return (of.starts_at, of.id)
        case Sort.NEWEST:
            return (of.created_at.desc(), of.id.desc())
        case Sort.CHEAPEST:
            return (lowest.asc().nulls_last(), of.starts_at, of.id)


def _lowest_price(event_id: Any) -> ScalarSelect[int | None]:
    return select(func.min(TicketType.price_kes)).where(TicketType.event_id == event_id).scalar_subquery()


def _has_words(count: int) -> ColumnElement[bool]:
    """Whether an event has every word of the text as a stem or a beginning: people search while they type.

    Words too common to have a stem are passed over unless there is no other, or the event has them all.
    """
    words: list[ColumnElement[str]] = [given(f"word_{number}", type_=Text()) for number in range(count)]
    beginnings = [func.to_tsquery("simple", word) for word in words]
    if not words:
        return Event.search_words.bool_op("@@")(func.to_tsquery("simple", ""))
    stems = reduce(func.tsquery_and, map(_stem_or_beginning, words))
    return Event.search_words.bool_op("@@")(func.tsquery_or(reduce(func.tsquery_and, beginnings), stems))


def _stem_or_beginning(word: ColumnElement[str]) -> ColumnElement[Any]:
    """SQL: nothing for a word without a stem. A tsquery of nothing drops out of those it is joined with."""
    stem = func.to_tsquery("english", word)
    return case((func.numnode(stem) > 0, func.tsquery_or(stem, func.to_tsquery("simple", word))), else_=stem)
