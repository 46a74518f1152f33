"""Programs that are started together and stopped together, whatever happens to the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from utils import launch

#: How often children are looked at, in seconds.
_GLANCE = 0.1


class Stopped(Exception):
    """A person, or the system, asked to stop."""


class Failed(Exception):
    """A program ended that should not have, or did not get ready. The text says which, in one line."""


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    patience: float
    is_called_by_others: bool = False


class Processes:
    """The children of this process. Each leads a session, where a terminal's Ctrl-C does not reach it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[_Child] = []
        self._stop_is_asked = False

    def listen(self) -> None:
        """From now on Ctrl-C and its like end the next wait with Stopped, and never anything half done."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which is nohup's doing
            signal.signal(signal.SIGHUP, self._ask_to_stop)
        if "MAKELEVEL" in os.environ:
            # Started by make, whose end by kill -9 should be this one's too.
            launch.end_with_parent(signal.SIGTERM)

    def _ask_to_stop(self, *_: object) -> None:
        self._stop_is_asked = True

    def start(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str],
        patience: float = 5,
        is_called_by_others: bool = False,
    ) -> None:
        """Start a program that is to run until `stop`, which gives it `patience` seconds to end by itself.

        One that is called by others ends after them.
        """
        process = self._launch(arguments, environment)
        self._children.append(_Child(name, process, patience, is_called_by_others))

    def run(self, name: str, *arguments: str, environment: Mapping[str, str], is_quiet: bool = False) -> None:
        """Run a program to its end, without what it prints when all goes well. Raises Failed if that is a bad one."""
        process = self._launch(arguments, environment, output=subprocess.DEVNULL if is_quiet else None)
        try:
            self.wait_until(lambda: process.poll() is not None, seconds=300, name=name)
        finally:
            _end([_Child(name, process, patience=5)])
        if process.returncode != 0:
            raise Failed(f"{name} failed with {_fate(process.returncode)}.")

    def _launch(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], output: int | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            launch.command(*arguments, end_with=signal.SIGTERM),
            cwd=self._folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            start_new_session=True,
        )

    def wait_until(self, condition: Callable[[], bool], *, seconds: float, name: str) -> None:
        """Raises Stopped, or Failed if a child ends or the time is over before the condition holds."""
        give_up_at = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up_at:
                raise Failed(f"{name} did not get ready within {seconds:.0f} seconds.")
            self._pause()

    def wait(self) -> None:
        """Returns never: raises Stopped, or Failed when a child ends."""
        while True:
            self._pause()

    def _pause(self) -> None:
        time.sleep(_GLANCE)
        if self._stop_is_asked:
            raise Stopped
        for child in self._children:
            if child.process.poll() is not None:
                raise Failed(f"{child.name} ended unexpectedly with {_fate(child.process.returncode)}.")

    def stop(self) -> None:
        """End the children at the same time, and then those they call, with all that is left of their groups."""
        for is_called in (False, True):
            _end([child for child in self._children if child.is_called_by_others is is_called])
        self._children.clear()


def _end(children: list[_Child]) -> None:
    asked_at = time.monotonic()
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0, asked_at + child.patience - time.monotonic()))
        # Its own children, which outlive it if it was killed, are still in the group it led.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _fate(returncode: int) -> str:
    if returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"exit code {returncode}"
