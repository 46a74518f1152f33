"""What production runs, started here: a PostgreSQL that keeps what is committed, server, worker; and the simulator."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks import cores, database, processes
from benchmarks.processes import Failed
from config import ROOT

SERVER, UNCACHED, WORKER, SIMULATOR, HELLO = "server", "server without its cache", "worker", "simulator", "hello"
READY_SECONDS = 180
#: What the yardstick and the plots need, kept apart from Ticksy's own packages.
BENCH_PYTHON = ROOT / ".tools" / "bench" / "bin" / "python"


class Stage:
    """Runs the code of this checkout; all it writes is in `folder`. To be used from one thread, which must live on.

    `overrides` are settings of Ticksy's to be tried instead of production's defaults.
    """

    def __init__(self, folder: Path, overrides: Mapping[str, str] = {}) -> None:
        self.folder = folder
        #: Of every simulator there was, with the money that went through it.
        self.ledgers: list[Path] = []
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: processes.free_port() for name in (SERVER, UNCACHED, SIMULATOR, HELLO)}
        self.url, self.uncached_url, self.simulator_url, self.hello_url = (
            f"http://127.0.0.1:{port}" for port in self._ports.values()
        )
        self._postgres = database.start(folder)
        self.database_url = self._postgres.url
        self.chosen = {
            "FLASK_ENV": "testing",
            "LOG_FORMAT": "json",
            "RATELIMIT_ENABLED": "false",
            "MPESA_MAX_PUSHES_PER_SECOND": "0",
            "PULL_MINUTES": "1",
            "CATALOGUE_CACHE_SECONDS": "1",
            **({"WEB_WORKERS": "1"} if cores.can_pin() else {}),
            **overrides,
        }
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        # With Python's own settings a start might compile all modules anew, which what is installed need not.
        prefixes = ("MPESA", "PULL", "FLASK", "SIM", "WEB_", "DATABASE", "RATELIMIT", "BCRYPT", "CATALOGUE", "PYTHON")
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

    def rows(self, query: str, values: Any = None) -> list[dict[str, Any]]:
        """Run a statement and commit it; its rows, if it has any."""
        return database.rows(self.database_url, query, values)

    @property
    def plain_url(self) -> str:
        return database.plain(self.database_url)

    def migrate(self, url: str | None = None) -> None:
        changes = {"DATABASE_URL": url or self.database_url}
        processes.run([sys.executable, "-m", "flask", "db", "upgrade"], self.environment | changes)

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

    def register_at_simulator(self) -> None:
        """For M-PESA's list of what was paid. Needs the database."""
        processes.run([sys.executable, "-m", "flask", "mpesa", "register", "--phone", "254700000000"], self.environment)

    def control_simulator(self, call: str, /, **body: object) -> None:
        requests.post(f"{self.simulator_url}/__sim__/{call}", json=body, timeout=10).raise_for_status()

    def start_hello(self) -> None:
        address = f"127.0.0.1:{self._ports[HELLO]}"
        gunicorn = [str(BENCH_PYTHON), "-m", "gunicorn", "--bind", address, "--log-level", "error"]
        self._start(HELLO, cores.MEASURED, [*gunicorn, "--workers", "2", "benchmarks.hello:app"], {})
        self._wait_for(self.hello_url, HELLO)

    def _start(self, name: str, core: int, program: list[str], changes: Mapping[str, str]) -> None:
        with cores.on_core(core):
            environment = self.environment | dict(changes)
            self._programs[name] = processes.spawn(program, environment, self.folder / f"{name}.log")

    def _wait_for(self, address: str, name: str) -> None:
        give_up_at = time.monotonic() + READY_SECONDS
        while not processes.answers(address):
            if time.monotonic() > give_up_at or self._programs[name].poll() is not None:
                raise Failed(f"the {name} did not get ready:\n{self.end_of_log(name)}")
            time.sleep(0.01)

    def end_of_log(self, name: str) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def measure_with(self, *program: str) -> str:
        """Run a program that measures to its end; what it printed. It is ended when we are."""
        with cores.on_core(cores.MEASURING):
            return processes.run(list(program), self.environment)

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
            processes.end(program)

    def close(self) -> None:
        for name in list(self._programs):
            self.stop(name)
        self._postgres.stop()
