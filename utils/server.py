"""The server of production, granian, in this process, whose copies are its workers."""

from __future__ import annotations

import multiprocessing
import sys

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server


def run(factory: str, *, host: str, port: int, workers: int, threads: int, stop_seconds: int) -> None:
    """Serve until told to stop. For a process of one thread, without open connections.

    `factory` is `module:function`. Each worker calls it for an app of its own; where processes can be forked, what was
    imported before is there already, and in memory once.
    """
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
        backpressure=threads * 4,
        websockets=False,
        http1_settings=HTTP1Settings(),
        log_level=LogLevels.error,
    ).serve()
