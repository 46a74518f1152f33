"""What can go wrong, as a small tree. Every leaf has a status, a stable code and a sentence for a person.

TicksyError
├── Malformed 400          the request cannot be read
├── Unauthenticated 401    no token, a bad one, or a banned account
├── Forbidden 403          the caller may see the thing but not do this
├── NotFound 404           there is no such thing, or the caller may not know of it
├── Conflict 409           a rule of stock or state says no
├── TooLarge 413           the body is over the limit of its route
├── WrongType 415          the body is neither JSON nor a form
├── Invalid 422            well-formed but wrong
├── TooManyRequests 429    later; `retry_after` says when
└── Unavailable 503        not now; `retry_after` says when
"""

from __future__ import annotations

from typing import TypedDict


class FieldError(TypedDict):
    field: str
    message: str


class TicksyError(Exception):
    """Answered as `{"message", "code"}`; raise a subclass."""

    status = 500
    code = "internal_error"
    message = "Something went wrong on our side. Please try again."
    #: Seconds after which asking again makes sense; sent as `Retry-After`.
    retry_after: int | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        errors: list[FieldError] | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message or self.message
        self.code = code or self.code
        self.errors = errors or []
        self.retry_after = retry_after if retry_after is not None else self.retry_after
        super().__init__(self.message)


class Malformed(TicksyError):
    status, code, message = 400, "malformed", "The request could not be read."


class Unauthenticated(TicksyError):
    status, code, message = 401, "unauthenticated", "Please log in."


class Forbidden(TicksyError):
    status, code, message = 403, "forbidden", "You are not allowed to do this."


class NotFound(TicksyError):
    status, code, message = 404, "not_found", "There is nothing here."


class Conflict(TicksyError):
    status, code, message = 409, "conflict", "This is not possible in the present state."


class TooLarge(TicksyError):
    status, code, message = 413, "too_large", "The request is too big."


class WrongType(TicksyError):
    status, code, message = 415, "wrong_type", "Please send JSON or a form."


class Invalid(TicksyError):
    status, code, message = 422, "invalid", "Some of the values are not right."


class TooManyRequests(TicksyError):
    status, code, message, retry_after = 429, "too_many_requests", "Too many tries. Please wait a little.", 60


class Unavailable(TicksyError):
    status, code, message, retry_after = 503, "unavailable", "We are very busy. Please try again.", 2
