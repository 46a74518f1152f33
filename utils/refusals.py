"""While very many come at once, those who find no room are told so with the bytes that one was told a moment ago.

In front of Flask, whose own work would be nearly all of such an answer: thousands who are turned away and come again
would take the time of those who were let in. Nobody who is answered from here is asked who they are; the log has one
line for all of a second, since a line for each would be a third of the work.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from utils import logger, wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: How long an answer is repeated, and of how many addresses; each origin is one of its own.
_SECONDS, _MOST = 5, 100
_TELL_SECONDS = 1
_ROUTE = "ticksy.refused"
_OWN = frozenset({"x-request-id", "retry-after"})


class _Kept(NamedTuple):
    route: str
    answer: wsgi.Answer
    until: float


def keep(environ: WSGIEnvironment, *, route: str) -> None:
    """Ask, while a request is refused, that others be told the same."""
    environ[_ROUTE] = route


class ReadyRefusals:
    """Of one process, by address, and only while it `is_crowded`. `come_again` says after how many seconds, each time
    anew; `log` is told route and status, and how many were answered so since it was told last."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        is_crowded: Callable[[], bool],
        come_again: Callable[[], int],
        log: Callable[[str, int, int], None],
    ) -> None:
        self._app, self._is_crowded, self._come_again, self._log = app, is_crowded, come_again, log
        self._kept: dict[wsgi.Address, _Kept] = {}
        self._untold: Counter[tuple[str, int]] = Counter()
        self._tell_at, self._lock = 0.0, threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return self._app(environ, start_response)
        began = time.monotonic()
        if self._untold and began >= self._tell_at:
            self._tell()
        if not self._is_crowded():
            return self._app(environ, start_response)
        address = wsgi.address(environ)
        kept = self._kept.get(address)
        if kept is None or kept.until < began:
            return self._ask(address, environ, start_response)
        status, headers, body = kept.answer
        own = [("Retry-After", str(self._come_again())), ("X-Request-Id", uuid.uuid4().hex[:12])]
        start_response(status, [*headers, *own])
        with self._lock:
            self._untold[kept.route, int(status[:3])] += 1
        return [body]

    def _tell(self) -> None:
        with self._lock:
            told, self._untold = self._untold, Counter()
            self._tell_at = time.monotonic() + _TELL_SECONDS
        logger.request_id.set("-")  # whatever this thread has served before
        for (route, status), count in told.items():
            self._log(route, status, count)

    def _ask(self, address: wsgi.Address, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        heard = wsgi.ask(self._app, environ, start_response, wanted=_ROUTE)
        if not isinstance(heard, wsgi.Answer):
            return heard
        if len(self._kept) >= _MOST:
            self._kept = {}
        common = [(name, value) for name, value in heard.headers if name.lower() not in _OWN]
        self._kept[address] = _Kept(environ[_ROUTE], heard._replace(headers=common), time.monotonic() + _SECONDS)
        start_response(heard.status, heard.headers)
        return [heard.body]
