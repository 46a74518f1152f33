"""Events and what an admin decides about them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, computed_field

from config import settings
from schemas.accounts import PersonOut
from schemas.calendars import CalendarLinks
from schemas.common import (
    EMPTY_IS_NONE,
    END_OF_DAY,
    Answer,
    Changes,
    Flag,
    Label,
    Line,
    Moment,
    Note,
    Page,
    Prose,
    Request,
    Text,
    When,
    Whole,
    Word,
)
from schemas.ticket_types import TicketTypeOut
from utils import calendar_addresses

Title = Annotated[Text, Field(max_length=200)]
#: So many hours before the start, at most a year; null is never.
HoursBefore = Annotated[Annotated[Whole, Field(ge=0, le=8_760)] | None, EMPTY_IS_NONE]


class NewEvent(Request):
    title: Title
    description: Prose
    location: Line
    starts_at: Moment = Field(alias="start_time")
    ends_at: Moment = Field(alias="end_time")
    category: Label
    #: Comma-separated.
    tags: Annotated[Line | None, EMPTY_IS_NONE] = None
    #: Until then its organizer may refund orders.
    refund_until_hours: HoursBefore = 0
    #: Until then tickets may be passed on.
    transfer_until_hours: HoursBefore = 0
    #: Whether who went out at the gate may come in again.
    allows_reentry: Flag = False


class EventChanges(Changes):
    clearable: ClassVar[frozenset[str]] = frozenset({"tags", "refund_until_hours", "transfer_until_hours"})

    title: Title | None = None
    description: Prose | None = None
    location: Line | None = None
    starts_at: Moment | None = Field(None, alias="start_time")
    ends_at: Moment | None = Field(None, alias="end_time")
    category: Label | None = None
    tags: Annotated[Line | None, EMPTY_IS_NONE] = None
    refund_until_hours: HoursBefore = None
    transfer_until_hours: HoursBefore = None
    allows_reentry: Annotated[Flag | None, EMPTY_IS_NONE] = None


class EventSearch(Page):
    #: Words of title, description, location or tags; their beginnings will do.
    q: Annotated[Title | None, EMPTY_IS_NONE] = None
    category: Annotated[Label | None, EMPTY_IS_NONE] = None
    location: Annotated[Line | None, EMPTY_IS_NONE] = None
    from_: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="from")
    #: A day without time is meant to its end.
    to: Annotated[Moment | None, END_OF_DAY, EMPTY_IS_NONE] = None
    max_price: Annotated[Annotated[Whole, Field(ge=0, le=1_000_000)] | None, EMPTY_IS_NONE] = None
    sort: Literal["soonest", "newest", "cheapest"] = "soonest"


class EventDecision(Request):
    status: Literal["approved", "rejected"]
    reason: Annotated[Note | None, EMPTY_IS_NONE] = None


def _image_url(name: Any) -> Any:
    return f"{settings.PUBLIC_URL}/media/{name}" if name else None


class EventBrief(Answer):
    """An event as tickets and orders mention it."""

    id: int
    title: str
    location: str
    start_time: When = Field(validation_alias="starts_at")
    end_time: When = Field(validation_alias="ends_at")
    image_url: Annotated[str | None, BeforeValidator(_image_url)] = Field(validation_alias="image")
    status: Word


class EventListed(EventBrief):
    """An event in the catalogue."""

    description: str
    category: str
    tags: str | None
    organizer: PersonOut
    #: The lowest price of its ticket types, in whole shillings; null while it has none.
    from_price: int | None = Field(validation_alias="lowest_price_kes")
    #: Tickets sold.
    attendee_count: int
    #: Of its reviews, one to five with one decimal; null while it has none.
    rating: float | None
    review_count: int
    created_at: When


class EventOut(EventListed):
    """One event with its ticket types."""

    tickets: list[TicketTypeOut] = Field(validation_alias="ticket_types")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def calendar(self) -> CalendarLinks:
        """Addresses that put it into one's calendar."""
        told: dict[str, Any] = {"title": self.title, "description": self.description, "location": self.location}
        told |= {"starts_at": self.start_time, "ends_at": self.end_time}
        return CalendarLinks(
            ics_url=f"{settings.PUBLIC_URL}/events/{self.id}/calendar.ics",
            google_url=calendar_addresses.google_url(**told),
            outlook_url=calendar_addresses.outlook_url(**told),
        )


class OwnEventListed(EventListed):
    """An event in its organizer's and the admins' lists."""

    rejection_reason: str | None


class OwnEvent(EventOut):
    """One event as its organizer and admins see it."""

    rejection_reason: str | None
    #: Up to how many hours before the start its organizer may refund orders; null is never.
    refund_until_hours: int | None
    #: Up to how many hours before the start tickets may be passed on; null is never.
    transfer_until_hours: int | None
    #: Whether who went out at the gate may come in again.
    allows_reentry: bool


class EventSaved(OwnEvent):
    """The event after a change, with a sentence about where it stands."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def message(self) -> str:
        return _WHERE_IT_STANDS[self.status]


_WHERE_IT_STANDS = {
    "pending": "Saved. The event is published once an admin has approved it.",
    "approved": "The event is published.",
    "rejected": "The event has been rejected.",
    "cancelled": "The event has been cancelled.",
}
