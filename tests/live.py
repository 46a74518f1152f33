"""Ticksy as it runs in production: the server command and the worker, as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

from config import ROOT
from tests.support import (
    free_port,
)
from tests.waiting import wait_until
from utils import launch


@dataclass
class Live:
    """A running server, with or without a worker."""

    url: str
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: str) -> None:
        """Start `serve` or `worker`, from a thread that lives as long as it should."""
        program = launch.command(sys.executable, "-m", "flask", command, end_with=signal.SIGTERM)
        with _log().open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    program, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
            )

    def kill_last(self) -> None:
        """End what was started last without a warning."""
        process = self.processes.pop()
        _kill_group(process)
        process.wait()

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            finally:
                _kill_group(process)
                process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def start(environment: Mapping[str, str], *, has_worker: bool = True) -> Live:
    """Serve on a free port and wait until it is ready. `environment` adds to a testing one."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MPESA", "FLASK", "SIM"))}
    full = inherited | {
        "FLASK_ENV": "testing",
        "FLASK_SKIP_DOTENV": "1",
        "FLASK_APP": "app",
        "PORT": str(port),
        "PUBLIC_URL": url,
        "SECRET_KEY": "only-for-tests-0123456789-abcdefghij",
        "BCRYPT_ROUNDS": "4",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "json",
        "STOP_SECONDS": "5",
        "RATELIMIT_ENABLED": "false",
        "MPESA_MAX_PUSHES_PER_SECOND": "0",
        **environment,
    }
    live = Live(url, full)
    for command in ["serve", "worker"] if has_worker else ["serve"]:
        live.start(command)
    try:
        wait_until(lambda: _is_ready(url), seconds=90)
    except BaseException:
        live.stop()
        raise
    return live


def _log() -> Path:
    """Where the run keeps what is logged, and looks through it for secrets when it ends."""
    return Path(os.environ["TICKSY_TEST_LOGS"]) / f"live-{uuid.uuid4().hex[:8]}.log"


def _is_ready(url: str) -> bool:
    try:
        return requests.get(url + "/ready", timeout=5).ok
    except requests.ConnectionError:
        return False
