"""While very many come at once, those who find no room are told so with the bytes that one was told a moment ago.

In front of Flask, whose own work would be nearly all of such an answer: thousands who are turned away and come again
would take the time of those who were let in. Nobody who is answered from here is asked who they are, or counted.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from utils import logger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: How long an answer is repeated, and of how many addresses; each origin is one of its own.
_SECONDS, _MOST = 5, 100
_ROUTE = "ticksy.refused"
_OWN = frozenset({"x-request-id", "retry-after"})

_Address = tuple[str, ...]


def keep(environ: WSGIEnvironment, *, route: str) -> None:
    """Ask, while a request is refused, that others be told the same."""
    environ[_ROUTE] = route


class ReadyRefusals:
    """Of one process, by address, and only while it `is_crowded`. `come_again` says after how many seconds, each time
    anew; `log` is told method, route, status, seconds, and who asked."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        is_crowded: Callable[[], bool],
        come_again: Callable[[], int],
        log: Callable[[str, str, int, float, str | None], None],
    ) -> None:
        self._app, self._is_crowded, self._come_again, self._log = app, is_crowded, come_again, log
        self._kept: dict[_Address, tuple[float, str, str, list[tuple[str, str]], bytes]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or not self._is_crowded():
            return self._app(environ, start_response)
        began, address = time.monotonic(), _address(environ)
        kept = self._kept.get(address)
        if kept is None or kept[0] < began:
            return self._ask(address, environ, start_response)
        _, route, status, headers, body = kept
        logger.request_id.set(request_id := uuid.uuid4().hex[:12])
        own = [("Retry-After", str(self._come_again())), ("X-Request-Id", request_id)]
        start_response(status, [*headers, *own])
        self._log("POST", route, int(status[:3]), time.monotonic() - began, environ.get("REMOTE_ADDR"))
        return [body]

    def _ask(self, address: _Address, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        told: list[Any] = []

        def hear(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            told[:] = [status, headers]
            return start_response(status, headers, exc_info)

        pieces = self._app(environ, hear)
        if _ROUTE not in environ:
            return pieces
        body = b"".join(pieces)
        if callable(close := getattr(pieces, "close", None)):
            close()
        status, headers = told
        if len(self._kept) >= _MOST:
            self._kept = {}
        common = [(name, value) for name, value in headers if name.lower() not in _OWN]
        self._kept[address] = (time.monotonic() + _SECONDS, environ[_ROUTE], status, common, body)
        return [body]


def _address(environ: WSGIEnvironment) -> _Address:
    """All that the answer may depend on: CORS answers each origin in its own way, and HTTPS has rules of its own."""
    told = ("wsgi.url_scheme", "PATH_INFO", "HTTP_ORIGIN")
    return tuple([environ.get(name, "") for name in told])
