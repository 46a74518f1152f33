"""A merchant's end: a small HTTP server that keeps every callback it is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: Any
    #: On the monotonic clock.
    at: float

    @property
    def result(self) -> dict[str, Any]:
        return self.body["Body"]["stkCallback"]


class Receiver:
    """A context manager. It answers every request with `status` and, by the end of its path, one of `answers`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status = 200
        self.answers: dict[str, object] = {}
        #: `came` and `answered`, in the order in which that happened.
        self.events: list[str] = []
        #: When there is one, requests are answered only once so many are there together.
        self.together: threading.Barrier | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hooks/p/some-token/stk"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        """Answer nobody until `release`."""
        self.together = threading.Barrier(2)

    def release(self) -> None:
        assert self.together is not None
        self.together, held = None, self.together
        held.abort()

    def at(self, end: str) -> list[Any]:
        """The bodies of what came to a path with this end."""
        return [one.body for one in self.received if one.path.endswith(f"/{end}")]

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805, `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = _parse(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.received.append(Received(self.path, self.headers, body, time.monotonic()))
                receiver.events.append("came")
                if receiver.together is not None:
                    receiver.together.wait(timeout=5)
                receiver.events.append("answered")
                self.send_response(receiver.status)
                self.end_headers()
                if answer := receiver.answers.get(self.path.rpartition("/")[2]):
                    self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _parse(content: bytes) -> Any:
    """Text, where it is no JSON."""
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()
