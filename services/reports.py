"""The report of a period: what each event sold, gave back and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Label,
    Numeric,
    Row,
    Select,
    Subquery,
    and_,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from models import Event, Order, Review, Ticket, TicketStatus, TicketType
from services.revenue import COUNTS, ENDED_AT, Period
from utils.database import db, stream


@dataclass(frozen=True)
class Report:
    """One page of its rows, and the totals of all of them."""

    events: Sequence[Row[Any]]
    totals: Row[Any]


def make_report(period: Period, *, title: str | None, page: int, per_page: int) -> Report:
    """Of events of which something was sold or given back in the period, by when they start; `title` is part of it.

    Sales are those whose money was settled in it, refunds those that were started in it, whenever the ticket was sold.
    `attended` are the tickets of those sales that count and were used.
    """
    rows = _select_rows(period, title).order_by(None).cte("rows")
    shown = select(rows, cast(null(), BigInteger).label("events")).order_by(rows.c.starts_at, rows.c.event_id)
    shown = shown.limit(per_page).offset((page - 1) * per_page)
    # Both at once: what they are made of is read once.
    both = union_all(select(shown.subquery("shown")), _totals(rows)).order_by("starts_at", "event_id")
    *events, totals = db.session.execute(both).all()  # which has no start, and comes last
    return Report(events, totals)


def stream_report(period: Period, *, title: str | None) -> Iterator[Row[Any]]:
    """All its rows, to be read once the request is over, and the totals after them."""
    rows = _select_rows(period, title)
    return _then(stream(rows), db.session.execute(_totals(rows.order_by(None).subquery("rows"))).one())


def _then(rows: Iterator[Row[Any]], last: Row[Any]) -> Iterator[Row[Any]]:
    yield from rows
    yield last


# ── How it is counted ─────────────────────────────────────────────────────────────────────────────────────────────


def _select_rows(period: Period, title: str | None) -> Select[Any]:
    sold = _figures_of_types(period)
    summed = [_sum(sold.c[name]) for name in ("tickets", "gross", "refunds", "attended")]
    figures = (
        select(TicketType.event_id, *summed)
        .join(sold, sold.c.id == TicketType.id)
        .group_by(TicketType.event_id)
        .subquery("figures")
    )
    # Each has tickets, issued when it was paid.
    paid = (
        select(Order.event_id, func.count().label("orders"))
        .where(*period.has(Order.paid_at))
        .group_by(Order.event_id)
        .subquery("paid")
    )
    ratings = (
        select(Review.event_id, func.count().label("reviews"), _sum(Review.rating))
        .group_by(Review.event_id)
        .subquery("ratings")
    )
    reviews, stars = func.coalesce(ratings.c.reviews, 0), func.coalesce(ratings.c.rating, 0)
    rows = (
        select(
            Event.id.label("event_id"),
            Event.title,
            Event.starts_at,
            Event.status,
            func.coalesce(paid.c.orders, 0).label("orders"),
            *(figures.c[name] for name in ("tickets", "gross", "refunds", "attended")),
            (figures.c.gross - figures.c.refunds).label("net"),
            reviews.label("reviews"),
            stars.label("stars"),
            _mean(stars, reviews),
        )
        .join(figures, figures.c.event_id == Event.id)
        .outerjoin(paid, paid.c.event_id == Event.id)
        .outerjoin(ratings, ratings.c.event_id == Event.id)
        .order_by(Event.starts_at, Event.id)
    )
    return rows if title is None else rows.where(Event.title.icontains(title, autoescape=True))


def _figures_of_types(period: Period) -> Subquery:
    """SQL, by the id of a ticket type: of its tickets that were sold in the period, and of those whose money started
    back in it, in one look at them."""
    is_sold, is_ended = and_(*period.has(Ticket.issued_at)), and_(*period.has(ENDED_AT))
    is_attended = and_(is_sold, COUNTS, Ticket.status == TicketStatus.USED)
    return (
        select(
            Ticket.ticket_type_id.label("id"),
            func.count().filter(is_sold).label("tickets"),
            func.sum(Ticket.price_kes).filter(is_sold).label("gross"),
            func.sum(Ticket.price_kes).filter(is_ended).label("refunds"),
            func.count().filter(is_attended).label("attended"),
        )
        .where(or_(is_sold, is_ended))
        .group_by(Ticket.ticket_type_id)
        .subquery("sold")
    )


def _totals(rows: FromClause) -> Select[Any]:
    """One row of the same names, and `events`: how many there are."""
    summed = ("orders", "tickets", "gross", "refunds", "attended", "net", "reviews", "stars")
    return select(
        cast(null(), BigInteger).label("event_id"),
        literal("Total").label("title"),
        cast(null(), Event.starts_at.type).label("starts_at"),
        cast(null(), Event.status.type).label("status"),
        *(_sum(rows.c[name]) for name in summed),
        _mean(_sum(rows.c.stars), _sum(rows.c.reviews)),
        func.count().label("events"),
    ).select_from(rows)


def _sum(column: ColumnElement[Any] | InstrumentedAttribute[int]) -> Label[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger).label(column.key)


def _mean(stars: ColumnElement[Any], reviews: ColumnElement[Any]) -> Label[Any]:
    """Of reviews whenever they were written, to two decimals; null without any."""
    return func.round(cast(stars, Numeric) / func.nullif(reviews, 0), 2).label("rating")
