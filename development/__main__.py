"""`make run`: all of Ticksy on this machine, with nothing to set up first and nothing left running after.

Starts the embedded PostgreSQL (unless DATABASE_URL names another one), migrates it, fills it with demo data,
and runs the API, the worker, the M-PESA simulator and a mail catcher until Ctrl-C.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from dotenv import dotenv_values

from development.processes import Failed, Processes, Stopped
from utils import postgres

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
READY_SECONDS = 60
#: What processes of a supervisor that was killed may take to end.
RELEASE_SECONDS = 3
#: Every web worker has a pool, and there is one web worker for each core.
DATABASE_OPTIONS = {"max_connections": "400"}
#: The simulator's money, which Ticksy's database goes on about.
LEDGER = "instance/simulator/ledger.sqlite"
#: A shop names a number of its own for M-PESA's list; nobody ever calls this one.
SHOP_PHONE = "254708374149"
FLASK = (sys.executable, "-m", "flask", "--app", "app")
SIMULATOR = (sys.executable, "-m", "daraja_simulator")
CATCHER = (sys.executable, "-m", "development.mail_catcher")
#: Where the catcher keeps its mail, a Maildir.
MAILBOX = "instance/mail"
#: Ports that are not given follow PORT, in this order.
FOLLOWING = ("SIMULATOR_PORT", "MAIL_PORT", "SMTP_PORT")

WELCOME = """
Ticksy is running.

  API             {PUBLIC_URL}{simulator}{catcher}

  Demo accounts   admin@ticksy.co.ke, organizer@ticksy.co.ke, attendee@ticksy.co.ke
  Their password  demo-pass-2026

  Ctrl-C stops everything.
"""
WELCOME_TO_SIMULATOR = """
  M-PESA          {MPESA_BASE_URL} (simulated)
  Virtual phone   {MPESA_BASE_URL}/phone"""
WELCOME_TO_CATCHER = """
  E-mail          http://127.0.0.1:{MAIL_PORT} (caught, not sent)"""


def main() -> int:
    processes, database = Processes(ROOT), None
    processes.listen()
    try:
        environment = prepare_environment()
        simulates = environment["MPESA_BASE_URL"] == _address(environment["SIMULATOR_PORT"])
        catches = environment["MAIL_URL"] == f"smtp://{HOST}:{environment['SMTP_PORT']}"
        names = ["PORT"] + ["SIMULATOR_PORT"] * simulates + ["MAIL_PORT", "SMTP_PORT"] * catches
        ports = check_ports(environment, names)
        if not environment.get("DATABASE_URL"):
            database = postgres.start(
                ROOT / "instance" / "postgres",
                database="ticksy",
                options=DATABASE_OPTIONS,
                die_with_parent=True,
            )
            environment["DATABASE_URL"] = database.url
        processes.run("flask db upgrade", *FLASK, "db", "upgrade", environment=environment)
        processes.run("flask seed", *FLASK, "seed", "--if-empty", environment=environment)

        processes.start("The API", *FLASK, "serve", environment=environment)
        processes.start("The worker", *FLASK, "worker", environment=environment)
        if simulates:
            processes.start("The simulator", *SIMULATOR, environment=environment, is_called_by_others=True)
            wait_for(processes, ports["SIMULATOR_PORT"], "/phone")
            register_addresses(processes, environment)
        if catches:
            command = (*CATCHER, environment["MAILBOX"], environment["SMTP_PORT"], environment["MAIL_PORT"])
            processes.start("The mail catcher", *command, environment=environment, is_called_by_others=True)
            wait_for(processes, ports["MAIL_PORT"], "/messages.json")
        wait_for(processes, ports["PORT"], "/ready")
        simulator = WELCOME_TO_SIMULATOR.format(**environment) if simulates else ""
        catcher = WELCOME_TO_CATCHER.format(**environment) if catches else ""
        _say(WELCOME.format(**environment, simulator=simulator, catcher=catcher))
        processes.wait()
    except Stopped:
        _say("\nStopping.")
        return 0
    except (Failed, postgres.PostgresUnavailable) as failure:
        _say(str(failure))
        return 1
    finally:
        processes.stop()
        if database is not None:
            database.stop()
    return 0


def prepare_environment() -> dict[str, str]:
    """What the children are to find: the environment, then `.env`, then what suits this machine."""
    environment = {
        **{name: value for name, value in dotenv_values(ROOT / ".env").items() if value},
        **os.environ,
    }
    kind = _default(environment, "FLASK_ENV", "development")
    if kind != "development":
        raise Failed(f"`make run` is for development, but FLASK_ENV is {kind}: see Procfile for what to run.")
    port = _default(environment, "PORT", "5000")
    for number, name in enumerate(FOLLOWING, start=1):
        _default(environment, name, str(int(port) + number) if port.isdecimal() else port)
    own, simulator = _address(port), _address(environment["SIMULATOR_PORT"])
    _default(environment, "PUBLIC_URL", own)
    _default(environment, "CALLBACK_URL", f"{own}/api/payment/callback")
    _default(environment, "MPESA_BASE_URL", simulator)
    _default(environment, "SIM_LEDGER", LEDGER)
    _default(environment, "MAIL_URL", f"smtp://{HOST}:{environment['SMTP_PORT']}")
    _default(environment, "MAILBOX", MAILBOX)
    # Whoever tries it out, by hand or with Postman, need not open the mail of every organizer first.
    _default(environment, "REQUIRE_VERIFIED_EMAIL", "false")
    _default(environment, "MAIL_FROM", "Ticksy <tickets@ticksy.example.com>")
    # A web worker told to stop while it starts misses that, and would be waited for without end.
    _default(environment, "STOP_SECONDS", "3")
    # No proxy stands between parts of one machine.
    environment["NO_PROXY"] = environment["no_proxy"] = ",".join(
        filter(None, [environment.get("NO_PROXY") or environment.get("no_proxy"), HOST, "localhost"])
    )
    return environment


def _default(environment: dict[str, str], name: str, value: str) -> str:
    """The setting, after giving it a value if it has none; an empty one counts as none."""
    environment[name] = environment.get(name, "").strip() or value
    return environment[name]


def wait_for(processes: Processes, port: int, path: str) -> None:
    processes.wait_until(partial(_answers, port, path), seconds=READY_SECONDS, name=path)


def register_addresses(processes: Processes, environment: dict[str, str]) -> None:
    """Have money that is paid by hand told to Ticksy. If that cannot be, everything else works all the same."""
    command = (*FLASK, "mpesa", "register", "--phone", SHOP_PHONE)
    try:
        processes.run("flask mpesa register", *command, environment=environment, is_quiet=True)
    except Failed as failure:
        _say(f"{failure} Payments to the Paybill will not be told to Ticksy.")


def check_ports(environment: dict[str, str], names: list[str]) -> dict[str, int]:
    """The ports by name. Raises Failed unless all of them are numbers, different and free."""
    ports: dict[str, int] = {}
    for name in names:
        given = environment[name]
        if not given.isdecimal() or not 0 < int(given) < 65536:
            raise Failed(f"{name} must be a number from 1 to 65535, not {given}.")
        port = int(given)
        example = f"{name}={port + 50} make run"
        if port in ports.values():
            raise Failed(f"{name} is {port}, which is taken by the API: choose another one: {example}")
        give_up_at = time.monotonic() + RELEASE_SECONDS
        while not _is_free(port):
            if time.monotonic() > give_up_at:
                raise Failed(f"Port {port} is taken: stop what uses it, or choose another one: {example}")
            time.sleep(0.1)
        ports[name] = port
    return ports


def _is_free(port: int) -> bool:
    """Neither connecting nor binding alone tells: macOS binds beside a listener on all addresses."""
    with closing(socket.socket()) as probe:
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        with closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def _address(port: str) -> str:
    return f"http://{HOST}:{port}"


def _say(text: str) -> None:
    with suppress(OSError):  # nobody is left to read it when a terminal was closed
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
