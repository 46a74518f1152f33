"""What stands in front of Flask hears of answers here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]
Address = tuple[str, ...]


class Answer(NamedTuple):
    status: str
    headers: Headers
    body: bytes


def ask(
    app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse, *, wanted: str
) -> Answer | Iterable[bytes]:
    """The answer, whole and still to be told, if the app has set `environ[wanted]` when it begins to answer.

    Any other goes its way to the client, whose pieces these are then.
    """
    told: list[Any] = []

    def hear(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        told[:] = [status, headers]
        return start_response(status, headers, exc_info) if environ.get(wanted) is None else told.append

    pieces = app(environ, hear)
    if environ.get(wanted) is None:
        return pieces
    body = b"".join(pieces)
    if callable(close := getattr(pieces, "close", None)):
        close()
    status, headers = told
    return Answer(status, headers, body)


def address(environ: WSGIEnvironment, *more: str) -> Address:
    """All that an answer to anybody may depend on: CORS answers each origin in its own way, and HTTPS has rules of its
    own."""
    told = ("wsgi.url_scheme", "PATH_INFO", "HTTP_ORIGIN", *more)
    return tuple([environ.get(name, "") for name in told])
