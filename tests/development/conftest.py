"""`make run` in a copy of this checkout, so that nobody's own data, `.env` or running server is in the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support import (
    free_port,
)
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
#: Neither installed things nor what a run leaves behind.
LEFT_OUT = shutil.ignore_patterns(".*", "instance", "tests", "docs", "node_modules", "__pycache__")
#: The rest of the environment could be of a developer's own Ticksy.
HANDED_DOWN = ("PATH", "HOME", "LANG", "TMPDIR")


class Supervisor:
    """One `python -m development`."""

    def __init__(self, checkout: Path, **settings: str) -> None:
        self.checkout = checkout
        self.port, self.simulator_port, self.mail_port = free_port(), free_port(), free_port()
        environment = {name: os.environ[name] for name in HANDED_DOWN if name in os.environ}
        environment |= {"PORT": str(self.port), "SIMULATOR_PORT": str(self.simulator_port)}
        environment |= {"MAIL_PORT": str(self.mail_port), "SMTP_PORT": str(free_port())}
        environment |= {"BCRYPT_ROUNDS": "4"} | settings
        self._log = checkout / f"run-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "development"],
                cwd=checkout,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self, timeout: float = 90) -> None:
        wait_until(lambda: "Ticksy is running" in self.output or self.process.poll() is not None, seconds=timeout)
        assert self.process.poll() is None, self.output

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        return self.process.wait(timeout)


def processes_in(folder: Path) -> list[psutil.Process]:
    """All that work in a folder, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("run") / "ticksy", ignore=LEFT_OUT))


@pytest.fixture
def run(checkout: Path) -> Iterator[Callable[..., Supervisor]]:
    """Starts a supervisor; what a failed test leaves running is ended."""
    started: list[Supervisor] = []

    def start(**settings: str) -> Supervisor:
        started.append(Supervisor(checkout, **settings))
        return started[-1]

    yield start
    for process in processes_in(checkout):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for supervisor in started:
        supervisor.wait()
