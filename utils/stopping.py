"""Tells when the process is told to stop, for what would otherwise go on: open streams."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_callbacks: list[Callable[[], None]] = []


def watch() -> None:
    """From now on SIGTERM and SIGINT call what `when_told` was given. For the main thread of a server's process.

    The server takes the handlers of these signals for itself, and then waits for every open answer to end. Python also
    writes each signal's number to a file of one's choice, whoever handles it.
    """
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)

    def wait(_keep_open: socket.socket) -> None:
        while number := ours.recv(1):
            if number[0] in _SIGNALS:
                for callback in list(_callbacks):
                    callback()

    threading.Thread(target=wait, args=(pythons,), name="stopping", daemon=True).start()


def when_told(callback: Callable[[], None]) -> None:
    """Have it called, in a thread, when the process is told to stop. It must not wait for anything."""
    _callbacks.append(callback)
