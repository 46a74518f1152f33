"""The report of a period: what each event sold, gave back and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Label,
    Numeric,
    Row,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from models import Event, Order, Review, Ticket, TicketStatus
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
    rows = _select_rows(period, title)
    events = db.session.execute(rows.limit(per_page).offset((page - 1) * per_page)).all()
    return Report(events, _read_totals(rows))


def stream_report(period: Period, *, title: str | None) -> Iterator[Row[Any]]:
    """All its rows, to be read once the request is over, and the totals after them."""
    rows = _select_rows(period, title)
    return _then(stream(rows), _read_totals(rows))


def _then(rows: Iterator[Row[Any]], last: Row[Any]) -> Iterator[Row[Any]]:
    yield from rows
    yield last


# ── How it is counted ─────────────────────────────────────────────────────────────────────────────────────────────


def _select_rows(period: Period, title: str | None) -> Select[Any]:
    moves = _moves(period).subquery("moves")
    figures = (
        select(
            moves.c.event_id,
            func.count(moves.c.order_id.distinct()).label("orders"),
            *(_sum(moves.c[name]) for name in ("tickets", "gross", "refunds", "attended")),
        )
        .group_by(moves.c.event_id)
        .subquery("figures")
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
            *(figures.c[name] for name in ("orders", "tickets", "gross", "refunds", "attended")),
            (figures.c.gross - figures.c.refunds).label("net"),
            reviews.label("reviews"),
            stars.label("stars"),
            _mean(stars, reviews),
        )
        .join(figures, figures.c.event_id == Event.id)
        .outerjoin(ratings, ratings.c.event_id == Event.id)
        .order_by(Event.starts_at, Event.id)
    )
    return rows if title is None else rows.where(Event.title.icontains(title, autoescape=True))


def _moves(period: Period) -> CompoundSelect[Any]:
    """SQL: a row for each ticket that was sold in the period, and one for each whose money started back in it."""
    is_attended = and_(COUNTS, Ticket.status == TicketStatus.USED)
    sold = select(
        Order.event_id,
        Order.id.label("order_id"),
        literal(1).label("tickets"),
        Ticket.price_kes.label("gross"),
        literal(0).label("refunds"),
        case((is_attended, 1), else_=0).label("attended"),
    )
    ended = select(Order.event_id, null(), literal(0), literal(0), Ticket.price_kes, literal(0))
    return union_all(
        sold.join(Ticket.order).where(*period.has(Order.paid_at)),
        ended.join(Ticket.order).where(*period.has(ENDED_AT)),
    )


def _read_totals(rows: Select[Any]) -> Row[Any]:
    """One row of the same names, and `events`: how many there are."""
    all_ = rows.order_by(None).subquery("rows")
    summed = ("orders", "tickets", "gross", "refunds", "attended", "net", "reviews", "stars")
    return db.session.execute(
        select(
            null().label("event_id"),
            literal("Total").label("title"),
            null().label("starts_at"),
            null().label("status"),
            func.count().label("events"),
            *(_sum(all_.c[name]) for name in summed),
            _mean(_sum(all_.c.stars), _sum(all_.c.reviews)),
        )
    ).one()


def _sum(column: ColumnElement[Any] | InstrumentedAttribute[int]) -> Label[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger).label(column.key)


def _mean(stars: ColumnElement[Any], reviews: ColumnElement[Any]) -> Label[Any]:
    """Of reviews whenever they were written, to two decimals; null without any."""
    return func.round(cast(stars, Numeric) / func.nullif(reviews, 0), 2).label("rating")
