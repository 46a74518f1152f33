"""The server of production, granian, in this process, whose copies are its workers."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from contextlib import suppress

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

#: Of a worker at once, most of them idle: browsers and proxies keep them for their next request. Who finds none left is
#: not heard at all, be it Safaricom.
_MOST_CONNECTIONS = 4_000


def run(factory: str, *, host: str, port: int, workers: int, threads: int, stop_seconds: int) -> None:
    """Serve until told to stop. For a process of one thread, without open connections.

    `factory` is `module:function`. Each worker calls it for an app of its own; where processes can be forked, what was
    imported before is there already, and in memory once.
    """
    _allow_many_files()
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork")  # from Python 3.14 on it is not the default
    Server(
        factory,
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        respawn_failed_workers=True,
        # A worker that is told to stop while it starts does not hear it, and would be waited for without end.
        workers_kill_timeout=stop_seconds,
        blocking_threads=threads,
        backpressure=_MOST_CONNECTIONS,
        websockets=False,
        http1_settings=HTTP1Settings(),
        log_level=LogLevels.error,
    ).serve()


def _allow_many_files() -> None:
    """As many as the system lets this process have; each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "without limit", and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))
