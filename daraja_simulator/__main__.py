"""`python -m daraja_simulator`: serve until SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from daraja_simulator.app import create_app
from daraja_simulator.settings import Settings, load


class QuietHandler(WSGIRequestHandler):
    """Logs no requests: their addresses contain phone numbers."""

    def log_request(self, *_: Any) -> None:
        pass


def main() -> None:
    # SIGTERM ends the process as Ctrl-C does. All other threads are daemons, so nothing holds it up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        serve(load(os.environ))


def serve(settings: Settings) -> None:
    host, port = settings.SIMULATOR_HOST, settings.SIMULATOR_PORT
    with listen(host, port) as listener:
        app = create_app(settings)
        server = make_server(host, port, app, threaded=True, request_handler=QuietHandler, fd=listener.fileno())
        address = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
        print(f"Daraja simulator: {address}", flush=True)
        print(f"Virtual phone:    {address}/phone", flush=True)
        server.serve_forever()


def listen(host: str, port: int) -> socket.socket:
    """Take the port, or end the process with one line saying why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise SystemExit(f"The Daraja simulator cannot start: {host}:{port}: {error.strerror}") from None


if __name__ == "__main__":
    main()
