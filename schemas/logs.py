"""The audit log, as admins read it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from schemas.common import EMPTY_IS_NONE, END_OF_DAY, Answer, Label, Line, Moment, Page, RowId, When


class LogSearch(Page):
    #: An id, or parts of a name, an e-mail address or a phone number.
    user: Annotated[Line | None, EMPTY_IS_NONE] = None
    action: Annotated[Label | None, EMPTY_IS_NONE] = None
    target_type: Annotated[Label | None, EMPTY_IS_NONE] = None
    target_id: Annotated[RowId | None, EMPTY_IS_NONE] = None
    from_: Annotated[Moment | None, EMPTY_IS_NONE] = Field(None, alias="from")
    #: A day without time is meant to its end.
    to: Annotated[Moment | None, END_OF_DAY, EMPTY_IS_NONE] = None
    #: `csv` gives all lines, in no pages.
    format: Literal["json", "csv"] = "json"


def _in_words(details: Any) -> Any:
    """As text, since people read it; null where there is nothing to say."""
    return json.dumps(details, ensure_ascii=False) if details else None


class LogLine(Answer):
    """One change. A change and its line are written together or not at all, so all of them succeeded."""

    id: int
    #: Null where Ticksy itself acted.
    user_id: int | None
    user_name: str
    action: str
    target_type: str
    target_id: int
    status: Literal["Success"] = "Success"
    ip_address: str | None
    timestamp: When = Field(validation_alias="created_at")
    #: More about it, as JSON in a text.
    extra_data: Annotated[str | None, BeforeValidator(_in_words)] = Field(validation_alias="details")
