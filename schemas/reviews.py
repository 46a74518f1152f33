"""Reviews."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.accounts import PersonOut
from schemas.common import EMPTY_IS_NONE, Answer, Changes, Note, Request, When, Whole

Rating = Annotated[Whole, Field(ge=1, le=5)]


class NewReview(Request):
    rating: Rating
    comment: Annotated[Note | None, EMPTY_IS_NONE] = None


class ReviewChanges(Changes):
    clearable: ClassVar[frozenset[str]] = frozenset({"comment"})

    rating: Rating | None = None
    comment: Annotated[Note | None, EMPTY_IS_NONE] = None


class ReviewOut(Answer):
    id: int
    rating: int
    comment: str | None
    created_at: When
    attendee: PersonOut
