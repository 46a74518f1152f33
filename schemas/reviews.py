"""Reviews."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.accounts import PersonOut
from schemas.common import EMPTY_IS_NONE, Answer, Note, Request, When, Whole


class NewReview(Request):
    rating: Annotated[Whole, Field(ge=1, le=5)]
    comment: Annotated[Note | None, EMPTY_IS_NONE] = None


class ReviewOut(Answer):
    id: int
    rating: int
    comment: str | None
    created_at: When
    attendee: PersonOut
