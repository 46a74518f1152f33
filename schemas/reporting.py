"""Figures: what was sold and what it brought, in whole shillings of settled money."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from schemas.common import EMPTY_IS_NONE, Answer, Day, Line, Request, When, Whole, Word, refuse

# ── The dashboard and its charts ──────────────────────────────────────────────────────────────────────────────────


class DashboardSummary(Answer):
    total_users: int = Field(validation_alias="users")
    total_events: int = Field(validation_alias="events")
    #: Approved and not over.
    active_events: int
    pending_events: int
    tickets_sold: int = Field(validation_alias="tickets")
    #: Less what was refunded.
    total_revenue: int = Field(validation_alias="revenue_kes")


class Dashboard(Answer):
    summary: DashboardSummary


class AnalyticsSummary(Answer):
    #: Gross less refunds.
    total_revenue: int = Field(validation_alias="revenue_kes")
    total_gross: int = Field(validation_alias="gross_kes")
    total_refunded: int = Field(validation_alias="refunded_kes")
    total_events: int = Field(validation_alias="events")
    total_users: int = Field(validation_alias="users")
    #: Orders and tickets whose money is not on its way back.
    total_orders: int = Field(validation_alias="orders")
    total_tickets: int = Field(validation_alias="tickets")


class TrendQuery(Request):
    #: Of Nairobi; the present one when empty.
    year: Annotated[Annotated[Whole, Field(ge=2000, le=2200)] | None, EMPTY_IS_NONE] = None


class TopQuery(Request):
    limit: Annotated[Whole, Field(ge=1, le=1_000)] = 10


class MonthSales(Answer):
    #: "Jan".
    month: str
    #: Tickets.
    sales: int


class TypeRevenue(Answer):
    type: str
    revenue: int = Field(validation_alias="revenue_kes")
    tickets: int


class EventRevenue(Answer):
    #: Tells events of one title apart.
    event_id: int
    title: str
    revenue: int = Field(validation_alias="revenue_kes")
    tickets: int


class CategoryCount(Answer):
    category: str
    #: Events.
    count: int


# ── The report of a period ────────────────────────────────────────────────────────────────────────────────────────


class ReportQuery(Request):
    #: Days of Nairobi, both included.
    start_date: Annotated[Day | None, EMPTY_IS_NONE] = None
    end_date: Annotated[Day | None, EMPTY_IS_NONE] = None
    #: A part of the title.
    event_name: Annotated[Line | None, EMPTY_IS_NONE] = None
    #: `csv` gives all rows, in no pages.
    format: Literal["json", "csv"] = "json"
    page: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[Whole, Field(ge=1, le=1_000)] = 1_000

    @field_validator("end_date")
    @classmethod
    def _does_not_end_before_it_starts(cls, end: Day | None, info: ValidationInfo) -> Day | None:
        start = info.data.get("start_date")
        if start is not None and end is not None and end < start:
            raise refuse("The end date must not be before the start date.")
        return end


class Figures(Answer):
    """Of the period: sales by when their money was settled, refunds by when they were started."""

    orders: int
    tickets: int
    gross: int
    refunds: int
    net: int
    #: Of these tickets, those that were used at the gate and not refunded.
    attendance: int = Field(validation_alias="attended")
    #: Mean of all reviews, 1 to 5; null without any.
    rating: float | None


class ReportedEvent(Answer):
    event_id: int
    title: str
    start_time: When = Field(validation_alias="starts_at")
    status: Word


class EventFigures(Figures, ReportedEvent):
    """One event of the report."""


class Totals(Figures):
    """Of all events of the report, on this page or not."""

    events: int


class ReportOut(Answer):
    events: list[EventFigures]
    totals: Totals


class _NamedLine(Answer):
    event_id: int | None
    title: str
    start_time: When | None = Field(validation_alias="starts_at")
    status: Word | None


class ReportLine(Figures, _NamedLine):
    """One line of the report as a table: an event's, or the totals in the last."""
