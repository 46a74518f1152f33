"""`make postman`: run the Postman collection with newman, against a Ticksy of its own or against POSTMAN_URL.

With POSTMAN_URL (and POSTMAN_SIMULATOR_URL) only the flows are run: the list of all requests also deletes and cancels.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import requests

from development import postman
from development.__main__ import DATABASE_OPTIONS, HOST, ROOT
from development.postman_flows import FLOWS
from development.processes import Failed, Processes, Stopped
from utils import postgres

NEWMAN = "newman@6.2.2"
HOME = ROOT / ".tools" / "newman"
PROGRAM = HOME / "node_modules" / ".bin" / "newman"
#: For the database to be migrated and filled, and the server to start.
READY_SECONDS = 180


def main() -> int:
    given = os.environ.get("POSTMAN_URL", "").rstrip("/")
    try:
        install()
        if given:
            simulator = os.environ.get("POSTMAN_SIMULATOR_URL") or postman.VALUES["simulatorUrl"]
            return run(given, simulator, folders=[name for name, _, _ in FLOWS])
        with tempfile.TemporaryDirectory(prefix="ticksy-postman-") as folder:
            return run_on_own_server(Path(folder))
    except Stopped:
        return 130
    except (Failed, postgres.PostgresUnavailable) as failure:
        print(failure, file=sys.stderr)
        return 1


def install() -> None:
    """Put newman into .tools, unless it is there. Raises Failed."""
    if PROGRAM.exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Failed("`make postman` needs Node.js with npm.")
    HOME.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(HOME), NEWMAN]
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed(f"npm could not install {NEWMAN}.")


def run_on_own_server(folder: Path) -> int:
    """`make run` on free ports, with data that goes when it ends."""
    port, simulator_port, mail_port, smtp_port = (str(_free_port()) for _ in range(4))
    processes = Processes(ROOT)
    processes.listen()
    database = postgres.start(folder / "postgres", database="ticksy", options=DATABASE_OPTIONS, die_with_parent=True)
    environment = os.environ | {
        "FLASK_ENV": "development",
        "PORT": port,
        "SIMULATOR_PORT": simulator_port,
        "MAIL_PORT": mail_port,
        "SMTP_PORT": smtp_port,
        "MAILBOX": str(folder / "mail"),
        "PUBLIC_URL": f"http://{HOST}:{port}",
        "CALLBACK_URL": f"http://{HOST}:{port}/api/payment/callback",
        "MPESA_BASE_URL": f"http://{HOST}:{simulator_port}",
        "DATABASE_URL": database.url,
        "SIM_LEDGER": str(folder / "ledger.sqlite"),
        "UPLOAD_DIR": str(folder / "uploads"),
        "LOG_LEVEL": "WARNING",
        "BCRYPT_ROUNDS": "4",
        "RATELIMIT_ENABLED": "false",
        # A stream ends soon, since newman waits for its end.
        "STREAM_MINUTES": "0.05",
    }
    try:
        processes.start("Ticksy", sys.executable, "-m", "development", environment=environment, patience=20)
        ready = f"{environment['PUBLIC_URL']}/ready"
        processes.wait_until(lambda: _is_ok(ready), seconds=READY_SECONDS, name="Ticksy")
        return run(environment["PUBLIC_URL"], environment["MPESA_BASE_URL"], folders=[])
    finally:
        processes.stop()
        database.stop()


def _is_ok(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between parts of one machine
        try:
            return session.get(url, timeout=2).ok
        except requests.RequestException:
            return False


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def run(url: str, simulator: str, *, folders: list[str]) -> int:
    """newman's exit code. Without folders, all of them."""
    chosen = [part for name in folders for part in ("--folder", name)]
    values = [part for pair in (f"baseUrl={url}", f"simulatorUrl={simulator}") for part in ("--env-var", pair)]
    command = [str(PROGRAM), "run", str(postman.COLLECTION), "-e", str(postman.ENVIRONMENT), *values, *chosen]
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
    environment = os.environ | proxies
    return subprocess.run([*command, "--timeout-request", "30000"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
