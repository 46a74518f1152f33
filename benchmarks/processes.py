"""Programs in sessions of their own, which end when we do, by whatever cause."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import requests

from config import ROOT
from utils import launch


class Failed(Exception):
    """The benchmark cannot go on. Says why, in a line."""


def spawn(program: list[str], environment: Mapping[str, str], log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start it on the cores of the calling thread, which must live on; what it prints is kept, in `log` if given."""
    output = log.open("ab") if log else None
    try:
        return subprocess.Popen(
            launch.command(*program, end_with=signal.SIGTERM),
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        if output is not None:
            output.close()


def run(program: list[str], environment: Mapping[str, str]) -> str:
    """Run it to its end; what it printed. Raises Failed."""
    process = spawn(program, environment)
    try:
        output, complaints = process.communicate()
    finally:
        end(process)
    if process.returncode != 0:
        raise Failed(f"{program[0]} failed:\n{(complaints or output).decode(errors='replace')[-2000:]}")
    return output.decode(errors="replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """With its own children, which are in the group it leads."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Raises Failed when the time is over."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            raise Failed(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.1)


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
