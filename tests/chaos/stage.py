"""What is on the stage: PostgreSQL, Ticksy's web and worker, and the simulator, each to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import requests

from config import ROOT
from tests.support import free_port
from utils import launch, postgres

WEB, WORKER, SIMULATOR, DATABASE = "web", "worker", "simulator", "PostgreSQL"
#: As often as it stands here.
VICTIMS = (WEB, WEB, WORKER, WORKER, SIMULATOR, DATABASE)
_READY_SECONDS = 60


class Stage:
    """Runs the code in `root`, all it writes being in `folder`. Start and kill from one thread, which must live on.

    Life is `speed` times faster: M-PESA's delays, and those of ours that answer to them.
    """

    def __init__(self, folder: Path, *, root: Path = ROOT, speed: float, seed: str) -> None:
        self._folder, self._root = folder, root
        self.ledger = folder / "ledger.sqlite"
        self._ports = {WEB: free_port(), SIMULATOR: free_port(), DATABASE: free_port()}
        self.url, self.simulator_url = (f"http://127.0.0.1:{self._ports[name]}" for name in (WEB, SIMULATOR))
        self.kills: Counter[str] = Counter()
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._postgres = self._start_postgres()
        self.database_url = self._postgres.url
        self.environment = self._environment(speed, seed)

    def _environment(self, speed: float, seed: str) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("MPESA", "FLASK", "SIM"))
        }
        ticksy = {
            "FLASK_ENV": "testing",
            "FLASK_SKIP_DOTENV": "1",
            "FLASK_APP": "app",
            "PORT": self._ports[WEB],
            "PUBLIC_URL": self.url,
            "DATABASE_URL": self.database_url,
            "SECRET_KEY": "only-for-chaos-0123456789-abcdefghij",
            "BCRYPT_ROUNDS": 4,
            "LOG_LEVEL": "WARNING",
            "STOP_SECONDS": 5,
            "RATELIMIT_ENABLED": "false",
            "WEB_WORKERS": 2,
            "WEB_THREADS": 192,
            "WORKER_PAUSE_SECONDS": 0.2,
            "MPESA_BASE_URL": self.simulator_url,
            "MPESA_ANSWER_SECONDS": 2,
            "MPESA_CERTIFICATE": self._folder / "certificate.cer",
            "MPESA_INITIATOR_NAME": "simulator-initiator",
            "MPESA_INITIATOR_PASSWORD": "simulator-initiator-password",
            "MPESA_MAX_PUSHES_PER_SECOND": 30,
            "HOLD_MINUTES": 15 / speed,
            "PROMPT_SECONDS": 125 / speed,
            "PROMPT_GRACE_MINUTES": 3 / speed,
            "HOLD_EXTENSION_MINUTES": 10 / speed,
            "QUERY_PAUSES_SECONDS": ",".join(f"{pause / speed:.2f}" for pause in (15, 15, 15, 30, 30, 60, 300)),
            "PULL_MINUTES": 4 / speed,
            "LISTED_WITHIN_MINUTES": 60 / speed,
            "PROMPTS_PER_PHONE_AND_HOUR": 1_000_000,
            "PROMPTS_PER_BUYER_AND_HOUR": 1_000_000,
            "CLAIMS_PER_DAY": 1_000_000,
        }
        simulator = {
            "SIMULATOR_PORT": self._ports[SIMULATOR],
            "SIM_SPEED": speed,
            "SIM_SEED": seed,
            "SIM_PROFILE": "realistic",
            "SIM_LEDGER": self.ledger,
            "SIM_CERTIFICATE_DIR": self._folder,
            "SIM_WALLET_KES": 1_000_000,
        }
        return inherited | {name: str(value) for name, value in (ticksy | simulator).items()}

    # ── Starting ─────────────────────────────────────────────────────────────────────────────────────────

    def migrate(self) -> None:
        self.run("db", "upgrade")

    def open(self) -> None:
        """Start all, and have Safaricom told our addresses."""
        for name in (SIMULATOR, WEB, WORKER):
            self.start(name)
        self.wait_until_ready()
        self.run("mpesa", "register", "--phone", "254700000000")

    def run(self, *command: str) -> None:
        """Run a `flask` command to its end."""
        subprocess.run(
            [sys.executable, "-m", "flask", *command],
            cwd=self._root,
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def start(self, name: str) -> None:
        if name == DATABASE:
            self._postgres = self._start_postgres()
            return
        module = {WEB: ("flask", "serve"), WORKER: ("flask", "worker"), SIMULATOR: ("daraja_simulator",)}[name]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._programs[name] = subprocess.Popen(
                launch.command(sys.executable, "-m", *module, end_with=signal.SIGKILL),
                cwd=self._root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _start_postgres(self) -> postgres.EmbeddedPostgres:
        """With all its care for what is committed."""
        port = self._ports[DATABASE]
        return postgres.start(self._folder / "data", database="ticksy", port=port, die_with_parent=True)

    def wait_until_ready(self) -> None:
        for address in (f"{self.simulator_url}/__sim__/clock", f"{self.url}/ready"):
            _wait_until(lambda address=address: _answers(address), address)

    # ── Killing ──────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, name: str, dice: Random) -> None:
        """End it without a warning: kill -9, or for PostgreSQL as often a restart. It stays down until `start`."""
        self.kills[name] += 1
        if name == DATABASE:
            dice.choice([self._postgres.kill, self._postgres.stop])()
        else:
            self._end(name)

    def _end(self, name: str) -> None:
        """With its own children, which are in the group it leads."""
        program = self._programs[name]
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()

    def died(self) -> list[str]:
        """Programs that ended by themselves, which none may."""
        return [name for name, program in self._programs.items() if program.poll() not in (None, -signal.SIGKILL)]

    def close(self) -> None:
        for name in self._programs:
            self._end(name)
        self._postgres.stop()


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{what} does not answer")
        time.sleep(0.1)
