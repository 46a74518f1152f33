"""What production runs, started here: a PostgreSQL that keeps what is committed, server, worker; and the simulator."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import requests
from sqlalchemy.engine import make_url

from benchmarks import cores
from config import ROOT
from utils import launch, postgres

SERVER, UNCACHED, WORKER, SIMULATOR, HELLO = "server", "server without its cache", "worker", "simulator", "hello"
READY_SECONDS = 180
#: What the yardstick and the plots need, kept apart from Ticksy's own packages.
BENCH_PYTHON = ROOT / ".tools" / "bench" / "bin" / "python"
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class Failed(Exception):
    """The benchmark cannot go on. Says why, in a line."""


class Stage:
    """Runs the code of this checkout; all it writes is in `folder`. To be used from one thread, which must live on.

    `overrides` are settings of Ticksy's to be tried instead of production's defaults.
    """

    def __init__(self, folder: Path, overrides: Mapping[str, str] = {}) -> None:
        self.folder = folder
        #: Of every simulator there was, with the money that went through it.
        self.ledgers: list[Path] = []
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: _free_port() for name in (SERVER, UNCACHED, SIMULATOR, HELLO)}
        self.url, self.uncached_url, self.simulator_url, self.hello_url = (
            f"http://127.0.0.1:{port}" for port in self._ports.values()
        )
        with cores.on_core(cores.MEASURED):
            self._postgres = postgres.start(
                folder / "data", database="ticksy", options={"max_connections": "200"}, die_with_parent=True
            )
        self.database_url = self._postgres.url
        self.chosen = {
            "FLASK_ENV": "testing",
            "LOG_FORMAT": "json",
            "RATELIMIT_ENABLED": "false",
            "MPESA_MAX_PUSHES_PER_SECOND": "0",
            **overrides,
        }
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        prefixes = ("MPESA", "FLASK", "SIM", "WEB_", "DATABASE", "RATELIMIT", "BCRYPT", "CATALOGUE")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
        return inherited | {
            "FLASK_SKIP_DOTENV": "1",
            "FLASK_APP": "app",
            "PORT": str(self._ports[SERVER]),
            "PUBLIC_URL": self.url,
            "DATABASE_URL": self.database_url,
            "SECRET_KEY": "only-for-benchmarks-0123456789-abcdefghij",
            "UPLOAD_DIR": str(self.folder / "uploads"),
            "MPESA_BASE_URL": self.simulator_url,
            "MPESA_CERTIFICATE": str(self.folder / "certificate.cer"),
            "MPESA_INITIATOR_NAME": "simulator-initiator",
            "MPESA_INITIATOR_PASSWORD": "simulator-initiator-password",
            **self.chosen,
        }

    # ── The database ─────────────────────────────────────────────────────────────────────────────────────

    def rows(self, query: str, values: Any = None, *, database: str | None = None) -> list[dict[str, Any]]:
        """Run a statement and commit it; its rows, if it has any."""
        connecting = closing(psycopg2.connect(self.plain_url(database)))
        with connecting as connection, connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []

    def plain_url(self, database: str | None = None) -> str:
        """For libpq and its programs."""
        url = make_url(self.database_url).set(drivername="postgresql")
        return url.set(database=database or url.database).render_as_string(hide_password=False)

    def check_durability(self) -> dict[str, str]:
        """What keeps a committed booking through a crash is on, or there is no benchmark."""
        found = {name: self.rows(f"SHOW {name}")[0][name] for name in _DURABLE}
        if set(found.values()) != {"on"}:
            raise Failed(f"PostgreSQL does not keep what is committed: {found}")
        return found

    def migrate(self) -> None:
        self._run_to_end([sys.executable, "-m", "flask", "db", "upgrade"])

    # ── Programs ─────────────────────────────────────────────────────────────────────────────────────────

    def start_server(self) -> float:
        """Ticksy as in production; the seconds until it was ready."""
        return self._serve(SERVER, self.url, {})

    def start_uncached_server(self) -> None:
        """The same beside it, for what is read straight from the database."""
        changes = {"PORT": str(self._ports[UNCACHED]), "CATALOGUE_CACHE_SECONDS": "0"}
        self._serve(UNCACHED, self.uncached_url, changes)

    def _serve(self, name: str, url: str, changes: Mapping[str, str]) -> float:
        began = time.perf_counter()
        self._start(name, cores.MEASURED, [sys.executable, "-m", "flask", "serve"], changes)
        self._wait_for(f"{url}/ready", name)
        return time.perf_counter() - began

    def start_worker(self) -> None:
        self._start(WORKER, cores.MEASURED, [sys.executable, "-m", "flask", "worker"], {})

    def start_simulator(self, **settings: object) -> None:
        """Another one, with a ledger of its own. Nothing may be under way at the one before."""
        self.stop(SIMULATOR)
        self.ledgers.append(self.folder / f"ledger-{len(self.ledgers)}.sqlite")
        changes = {
            "SIMULATOR_PORT": str(self._ports[SIMULATOR]),
            "SIM_LEDGER": str(self.ledgers[-1]),
            "SIM_CERTIFICATE_DIR": str(self.folder),
            "SIM_WALLET_KES": "1000000",
            **{name: str(value) for name, value in settings.items()},
        }
        self._start(SIMULATOR, cores.MEASURING, [sys.executable, "-m", "daraja_simulator"], changes)
        self._wait_for(f"{self.simulator_url}/__sim__/clock", SIMULATOR)

    def control_simulator(self, call: str, /, **body: object) -> None:
        requests.post(f"{self.simulator_url}/__sim__/{call}", json=body, timeout=10).raise_for_status()

    def start_hello(self) -> None:
        address = f"127.0.0.1:{self._ports[HELLO]}"
        gunicorn = [str(BENCH_PYTHON), "-m", "gunicorn", "--bind", address, "--log-level", "error"]
        self._start(HELLO, cores.MEASURED, [*gunicorn, "--workers", "2", "benchmarks.hello:app"], {})
        self._wait_for(self.hello_url, HELLO)

    def _start(self, name: str, core: int, program: list[str], changes: Mapping[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log, cores.on_core(core):
            self._programs[name] = subprocess.Popen(
                launch.command(*program, end_with=signal.SIGTERM),
                cwd=ROOT,
                env=self.environment | dict(changes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_for(self, address: str, name: str) -> None:
        give_up_at = time.monotonic() + READY_SECONDS
        while not _answers(address):
            if time.monotonic() > give_up_at or self._programs[name].poll() is not None:
                raise Failed(f"the {name} did not get ready:\n{self.end_of_log(name)}")
            time.sleep(0.01)

    def end_of_log(self, name: str) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def measure_with(self, *program: str, environment: Mapping[str, str] = {}) -> str:
        """Run a program that measures to its end; what it printed. It is ended when we are."""
        with cores.on_core(cores.MEASURING):
            return self._run_to_end(list(program), environment)

    def _run_to_end(self, program: list[str], environment: Mapping[str, str] = {}) -> str:
        process = subprocess.Popen(
            launch.command(*program, end_with=signal.SIGTERM),
            cwd=ROOT,
            env=self.environment | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, complaints = process.communicate()
        finally:
            _end(process)
        if process.returncode != 0:
            raise Failed(
                f"{' '.join(program)[:200]} failed:\n{(complaints or output).decode(errors='replace')[-2000:]}"
            )
        return output.decode(errors="replace")

    def memory_mb(self, name: str) -> list[float]:
        """Resident memory of a program and its children, each; the first is the program itself."""
        main = psutil.Process(self._programs[name].pid)
        return [process.memory_info().rss / 1e6 for process in (main, *main.children(recursive=True))]

    def check_alive(self) -> None:
        """Nothing may have ended by itself."""
        for name, program in self._programs.items():
            if program.poll() is not None:
                raise Failed(f"the {name} ended by itself:\n{self.end_of_log(name)}")

    def stop(self, name: str) -> None:
        if (program := self._programs.pop(name, None)) is not None:
            _end(program)

    def close(self) -> None:
        for name in list(self._programs):
            self.stop(name)
        self._postgres.stop()


def _end(process: subprocess.Popen[bytes]) -> None:
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


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
