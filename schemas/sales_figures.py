"""An organizer's figures."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import AliasPath, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.common import EMPTY_IS_NONE, Answer, Day, Page, Request, When, Word
from utils import clock


class PeriodQuery(Request):
    """Days of Nairobi, both included, or a period that ends today. Without any of them, all there is."""

    from_: Annotated[Day | None, EMPTY_IS_NONE] = Field(None, alias="from")
    to: Annotated[Day | None, EMPTY_IS_NONE] = None
    period: Annotated[Literal["7d", "30d", "12m", "all"] | None, EMPTY_IS_NONE] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> PeriodQuery:
        if self.period is not None and (self.from_ or self.to):
            raise PydanticCustomError("sentence", "Please give either a period, or from and to.")
        if self.from_ and self.to and self.from_ > self.to:
            raise PydanticCustomError("sentence", "The first day must not be after the last one.")
        return self

    @property
    def days(self) -> tuple[date | None, date | None]:
        """The first and the last."""
        today = clock.today()
        match self.period:
            case "7d":
                return today - timedelta(days=6), today
            case "30d":
                return today - timedelta(days=29), today
            case "12m":
                tomorrow = today + timedelta(days=1)
                is_leap_day = (tomorrow.month, tomorrow.day) == (2, 29)
                return tomorrow.replace(year=tomorrow.year - 1, day=28 if is_leap_day else tomorrow.day), today
        return self.from_, self.to


class StatsQuery(Page, PeriodQuery):
    pass


class RevenueOut(Answer):
    """Whole shillings. Gross is what was paid for tickets; refunded, what of it went back or is on its way."""

    gross: int = Field(validation_alias="gross_kes")
    refunded: int = Field(validation_alias="refunded_kes")
    net: int = Field(validation_alias="net_kes")


class OverviewOut(Answer):
    model_config = ConfigDict(serialize_by_alias=True)

    #: The days it is about; null is without end.
    first_day: date | None = Field(validation_alias=AliasPath("period", "first"), serialization_alias="from")
    last_day: date | None = Field(validation_alias=AliasPath("period", "last"), serialization_alias="to")
    revenue: RevenueOut
    #: Tickets that are still good.
    tickets_sold: int
    checked_in: int
    orders: int
    #: Approved events that have not started, whatever the days.
    upcoming_events: int


class PlacesOut(Answer):
    quantity: int
    sold: int
    #: For orders that are open at this moment.
    held: int
    available: int
    revenue: RevenueOut
    #: Sold of quantity, from 0 to 1; null where there is no place.
    sell_through: float | None
    checked_in: int
    #: Checked in of the tickets that are good, from 0 to 1; null where there is none.
    check_in_rate: float | None


class TypeStatsOut(PlacesOut):
    id: int
    type: str = Field(validation_alias="name")
    price: int = Field(validation_alias="price_kes")


class DayStatsOut(Answer):
    day: date
    tickets: int
    #: What was paid for them, in whole shillings, whatever became of them since.
    revenue: int = Field(validation_alias="gross_kes")


class EventStatsOut(PlacesOut):
    event_id: int = Field(validation_alias=AliasPath("event", "id"))
    title: str = Field(validation_alias=AliasPath("event", "title"))
    status: Word = Field(validation_alias=AliasPath("event", "status"))
    start_time: When = Field(validation_alias=AliasPath("event", "starts_at"))
    end_time: When = Field(validation_alias=AliasPath("event", "ends_at"))
    ticket_types: list[TypeStatsOut]
    #: Days without sales are left out.
    sales_per_day: list[DayStatsOut] = Field(validation_alias="days")
