"""Answers that are kept for a moment as ready bytes: what hundreds ask for in one second is worked out once.

In front of Flask, since of such an answer Flask's own work would be the most. Only for what is the same for everybody,
whoever asks: nobody who is answered from here is asked who they are, or counted.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from werkzeug.http import parse_etags

from utils import logger, wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Answers that are kept at once, and how long the last one is shown while the next is worked out.
_MOST, _STALE_SECONDS = 1_000, 10
_WANTED = "ticksy.ready"
_ID = "X-Request-Id"
#: What an answer without a body does not tell (RFC 9110, 15.4.5).
_OF_BODIES = frozenset({"content-type", "content-length"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    seconds: float
    route: str


@dataclass(slots=True)
class _Kept:
    body: bytes
    headers: wsgi.Headers
    tag: str
    route: str
    until: float
    is_made_anew: bool = field(default=False)


def keep(environ: WSGIEnvironment, *, seconds: float, route: str) -> bool:
    """Ask, while a request is answered, that its answer be kept. False where that cannot be.

    The answer has an ETag, and is to be whole: whether it is told as 304 is decided in here, and so is what the log
    says of it.
    """
    if _WANTED not in environ:
        return False
    environ[_WANTED] = _Wanted(seconds, route)
    return True


def is_kept(environ: WSGIEnvironment) -> bool:
    return environ.get(_WANTED) is not None


class ReadyAnswers:
    """Of one process, by address. Among those who come when one has become old, one works it out anew and the others
    are shown the old one meanwhile.

    `log` is told method, route, status, seconds, and who asked.
    """

    def __init__(self, app: WSGIApplication, log: Callable[[str, str, int, float, str | None], None]) -> None:
        self._app, self._log = app, log
        self._kept: dict[wsgi.Address, _Kept] = {}

    def clear(self) -> None:
        self._kept = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or environ.get("CONTENT_LENGTH", "") not in ("", "0"):
            return self._app(environ, start_response)
        began = time.monotonic()
        address = wsgi.address(environ, "QUERY_STRING")
        kept = self._kept.get(address)
        if kept is not None:
            if began < kept.until or (kept.is_made_anew and began < kept.until + _STALE_SECONDS):
                logger.request_id.set(request_id := uuid.uuid4().hex[:12])
                return self._answer(kept, request_id, began, environ, start_response)
            kept.is_made_anew = True
        try:
            return self._make(address, began, environ, start_response)
        finally:
            if kept is not None:
                kept.is_made_anew = False

    def _make(
        self, address: wsgi.Address, began: float, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        environ[_WANTED] = None
        heard = wsgi.ask(self._app, environ, start_response, wanted=_WANTED)
        if not isinstance(heard, wsgi.Answer):
            return heard
        status, headers, body = heard
        wanted: _Wanted = environ[_WANTED]
        if not status.startswith("200"):
            start_response(status, headers)
            self._log("GET", wanted.route, int(status[:3]), time.monotonic() - began, environ.get("REMOTE_ADDR"))
            return [body]
        named = {name.lower(): value for name, value in headers}
        kept = _Kept(
            body,
            [(name, value) for name, value in headers if name != _ID],
            named["etag"].strip('"'),
            wanted.route,
            time.monotonic() + wanted.seconds,
        )
        if wanted.seconds:
            if len(self._kept) >= _MOST:
                self._kept = {}
            self._kept[address] = kept
        return self._answer(kept, named[_ID.lower()], began, environ, start_response)

    def _answer(
        self, kept: _Kept, request_id: str, began: float, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        known = environ.get("HTTP_IF_NONE_MATCH")
        is_known = known is not None and parse_etags(known).contains_weak(kept.tag)
        headers = [*kept.headers, (_ID, request_id)]
        if is_known:
            start_response("304 NOT MODIFIED", [one for one in headers if one[0].lower() not in _OF_BODIES])
        else:
            start_response("200 OK", headers)
        self._log("GET", kept.route, 304 if is_known else 200, time.monotonic() - began, environ.get("REMOTE_ADDR"))
        return [b"" if is_known else kept.body]
