"""Kinds of values that several shapes share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, ClassVar

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from utils import clock
from utils import phone as phones
from utils.references import BIGGEST_ID


class Request(BaseModel):
    """What a client may send: nothing it was not asked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Answer(BaseModel):
    """What a client gets: nothing that is not listed. Read from models by attribute."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    @classmethod
    def columns(cls) -> list[str]:
        """Its names, as the head of a table."""
        return list(cls.model_fields)

    @classmethod
    def cells(cls, row: object) -> list[Any]:
        """What it says of `row`, as a line of that table."""
        shown = cls.model_validate(row)
        return [getattr(shown, name) for name in cls.model_fields]


def refuse(sentence: str) -> PydanticCustomError:
    """An error whose message is a whole sentence, shown to people as it is."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def sentence_of(parse: Callable[[str], str]) -> Callable[[str], str]:
    """Let a parser that raises ValueError("a sentence") serve as a validator."""

    def validate(value: str) -> str:
        try:
            return parse(value)
        except ValueError as error:
            raise refuse(str(error)) from None

    return validate


# ── In ────────────────────────────────────────────────────────────────────────────────────────────────────────────


#: Control characters but for tabs and line ends, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: Stands where bytes of a form were no UTF-8.
_DAMAGED = "\ufffd"


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL; the other control characters have no business in a name either, line ends apart."""
    if _UNSTORABLE.search(text):
        raise refuse("Please remove the control characters.")
    if _DAMAGED in text:
        raise refuse("This text is damaged: please send it in UTF-8.")
    return text


#: A whole number as people type it, "500" or "500.00".
_WHOLE_IN_WORDS = r"^\s*-?[0-9]+(\.0+)?\s*$"


def _whole(value: Any) -> Any:
    """JSON's `true` is no number; forms and careless clients send numbers as text."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(_WHOLE_IN_WORDS, value, re.ASCII)):
        raise refuse("Please give a whole number.")
    return value


def _truth(value: Any) -> Any:
    """Of all the ways to say yes, one."""
    if not (isinstance(value, bool) or value in ("true", "false")):
        raise refuse("Please give true or false.")
    return value


class _Described:
    """Tells the API's description what else a field takes than its type says."""

    def __init__(self, describe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._describe = describe

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self._describe(handler(core_schema))


def also(*others: dict[str, Any]) -> _Described:
    return _Described(lambda schema: {"anyOf": [*schema.get("anyOf", [schema]), *others]})


def noted(**facts: Any) -> _Described:
    return _Described(lambda schema: schema | facts)


def _name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _EmptyIsNone:
    """An empty field of a form says nothing."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_nothing, handler(source))

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return also({"type": "string", "pattern": r"^\s*$"}).__get_pydantic_json_schema__(core_schema, handler)


def _nothing(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _dated(value: Any) -> Any:
    """Dates as text only: a bare number would be read as seconds since 1970."""
    if isinstance(value, str) and not (len(value) >= 10 and value[:4].isdecimal() and value[4] == "-"):
        raise refuse("Please give a date and time such as 2030-12-31T18:00.")
    if not isinstance(value, str | datetime):
        raise refuse("Please give a date and time such as 2030-12-31T18:00.")
    return value


def _written_out(value: Any) -> Any:
    """Dates as people write them only: pydantic would also take seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"2[01][0-9]{2}-[0-9]{2}-[0-9]{2}", value):
        raise refuse("Please give a day such as 2026-11-23.")
    return value


def _end_of_day(value: Any) -> Any:
    return f"{value}T23:59:59.999999" if isinstance(value, str) and len(value) == len("2030-12-31") else value


def _utc(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 2200:
        raise refuse("Please give a date between the years 2000 and 2200.")
    return clock.to_utc(moment)


def parse_email(text: str) -> str:
    """The one form of an address: lower case, its domain in ASCII."""
    try:
        validated = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise refuse("Please give a valid e-mail address.") from None
    return str(validated.ascii_email).lower()


#: Text with something in it, trimmed.
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_storable)]
Name = Annotated[Text, Field(max_length=80)]
Label = Annotated[Text, Field(max_length=60)]
Line = Annotated[Text, Field(max_length=300)]
Note = Annotated[Text, Field(max_length=2_000)]
Prose = Annotated[Text, Field(max_length=20_000)]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(parse_email),
    noted(examples=["njeri@example.co.ke"]),
]
#: A Kenyan number in any form people write it.
Phone = Annotated[
    str,
    StringConstraints(max_length=30),
    AfterValidator(sentence_of(phones.parse)),
    noted(examples=["254712345678"]),
]
Whole = Annotated[int, BeforeValidator(_whole), also({"type": "string", "pattern": _WHOLE_IN_WORDS})]
Flag = Annotated[bool, BeforeValidator(_truth), also({"type": "string", "enum": ["true", "false"]})]
#: An order's reference or its id.
OrderName = Annotated[Label, BeforeValidator(_name), also({"type": "integer"})]
RowId = Annotated[Whole, Field(ge=1, le=BIGGEST_ID)]
#: A moment; without zone it is Nairobi's.
Moment = Annotated[
    datetime,
    BeforeValidator(_dated),
    AfterValidator(_utc),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[0-9]{4}-",
            "description": "ISO 8601; without a zone it is Nairobi's time",
            "examples": ["2030-12-31T18:00"],
        },
        mode="validation",
    ),
]
#: A day of Nairobi, as `2026-11-23`.
Day = Annotated[date, BeforeValidator(_written_out)]
#: Beside `kind | None`: an empty field of a form is None.
EMPTY_IS_NONE = _EmptyIsNone()
#: Beside a Moment that ends a span: a day without time is meant to its end.
END_OF_DAY = BeforeValidator(_end_of_day)


class Changes(Request):
    """What is left out, or null, stays as it is; `clearable` fields are emptied by null."""

    clearable: ClassVar[frozenset[str]] = frozenset()

    def given(self) -> dict[str, Any]:
        """New values by attribute name."""
        values = self.model_dump(exclude_unset=True)
        return {name: value for name, value in values.items() if value is not None or name in self.clearable}


# ── Out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

#: An instant as people in Nairobi read it: ISO 8601 with +03:00.
When = Annotated[
    datetime,
    PlainSerializer(clock.to_nairobi, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2030-12-31T18:00:00+03:00"]}, mode="serialization"
    ),
]


def _value(member: Any) -> Any:
    return member.value if isinstance(member, Enum) else member


#: An enum by its value.
Word = Annotated[str, BeforeValidator(_value)]


class Message(Answer):
    """A sentence for a person."""

    message: str


class Nothing(Request):
    """A body that may be left out and says nothing."""


class Page(Request):
    """Which part of a list."""

    page: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[Whole, Field(ge=1, le=1_000)] = 100
