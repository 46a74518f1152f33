"""What is left of an event's tickets."""

from __future__ import annotations

from pydantic import Field

from schemas.common import Answer


class TypeAvailability(Answer):
    id: int
    type: str = Field(validation_alias="name")
    #: Places one could order at the moment of this answer.
    available: int
    #: Whether event and sales period allow ordering now, stock aside.
    on_sale: bool = Field(validation_alias="is_on_sale")


class Availability(Answer):
    event_id: int
    ticket_types: list[TypeAvailability]
    #: There are ticket types, and nothing is left of any.
    sold_out: bool = Field(validation_alias="is_sold_out")


def to_json(left: object) -> bytes:
    """An Availability, read from attributes, as it is sent: equal ones are the same bytes."""
    return Availability.model_validate(left).model_dump_json().encode()
