"""What `make run` promises: one command starts everything, Ctrl-C or a crash leaves nothing."""

from __future__ import annotations

import html
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
import requests

from tests.development.conftest import Supervisor, processes_in
from tests.waiting import wait_until
from utils import postgres

Run = Callable[..., Supervisor]


def is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def child(supervisor: Supervisor, what: str) -> psutil.Process:
    children = psutil.Process(supervisor.process.pid).children()
    return next(one for one in children if what in one.cmdline())


def simulator(supervisor: Supervisor) -> str:
    return f"http://127.0.0.1:{supervisor.simulator_port}/__sim__"


def everything_is_gone(supervisor: Supervisor) -> bool:
    ports = (supervisor.port, supervisor.simulator_port, supervisor.mail_port)
    return not processes_in(supervisor.checkout) and all(is_free(port) for port in ports)


@pytest.mark.parametrize("name", ["PORT", "SIMULATOR_PORT", "MAIL_PORT", "SMTP_PORT"])
def test_a_taken_port_is_named_in_one_line(run: Run, name: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        supervisor = run(**{name: str(port)})
        assert supervisor.wait() == 1
    assert supervisor.output == (
        f"Port {port} is taken: stop what uses it, or choose another one: {name}={port + 50} make run\n"
    )


def test_a_port_that_is_no_number_is_named_in_one_line(run: Run) -> None:
    supervisor = run(PORT="http")
    assert supervisor.wait() == 1
    assert supervisor.output == "PORT must be a number from 1 to 65535, not http.\n"


@pytest.mark.parametrize("kind", ["production", "staging", "testing"])
def test_it_refuses_to_be_anything_but_development(run: Run, kind: str) -> None:
    supervisor = run(FLASK_ENV=kind)
    assert supervisor.wait() == 1
    assert supervisor.output.count("\n") == 1
    assert f"FLASK_ENV is {kind}" in supervisor.output


def test_wrong_settings_end_the_start_with_what_is_wrong(run: Run) -> None:
    supervisor = run(HOLD_MINUTES="many")
    assert supervisor.wait() == 1
    assert "HOLD_MINUTES" in supervisor.output
    assert "flask db upgrade failed with exit code 1." in supervisor.output
    assert "Traceback" not in supervisor.output
    assert everything_is_gone(supervisor)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_gets_ready_and_a_signal_stops_it_without_leaving_anything(run: Run, number: signal.Signals) -> None:
    supervisor = run()
    supervisor.wait_until_ready()
    assert f"http://127.0.0.1:{supervisor.port}" in supervisor.output
    assert f"http://127.0.0.1:{supervisor.simulator_port}/phone" in supervisor.output
    assert requests.get(f"http://127.0.0.1:{supervisor.port}/ready", timeout=10).status_code == 200
    assert len(requests.get(f"http://127.0.0.1:{supervisor.port}/events", timeout=10).json()) > 0

    supervisor.send(number)
    assert supervisor.wait() == 0
    assert everything_is_gone(supervisor)
    assert "Traceback" not in supervisor.output


def test_a_signal_during_the_start_stops_it_too(run: Run) -> None:
    supervisor = run()
    wait_until(lambda: len(psutil.Process(supervisor.process.pid).children()) > 0, seconds=30)
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0
    assert everything_is_gone(supervisor)
    assert "Traceback" not in supervisor.output


def test_money_paid_by_hand_arrives_and_is_on_both_sides_after_a_restart(run: Run, checkout: Path) -> None:
    first = run(SIM_C2B_VALIDATION="0")
    first.wait_until_ready()
    paid = {"phone": "0712345678", "amount": 70, "reference": "KANISA"}
    receipt = requests.post(f"{simulator(first)}/c2b/pay", json=paid, timeout=10).json()["receipt"]
    known = f"SELECT status FROM payments WHERE receipt = '{receipt}'"
    status = wait_until(lambda: execute(checkout, known))
    first.send(signal.SIGINT)
    first.wait()

    second = run()
    second.wait_until_ready()
    assert execute(checkout, known) == status
    ledger = requests.get(f"{simulator(second)}/ledger", timeout=10).json()
    assert [one["amount"] for one in ledger["transactions"] if one["receipt"] == receipt] == [70]


def execute(checkout: Path, statement: str) -> object:
    server = postgres.start(checkout / "instance" / "postgres", database="ticksy")
    assert not server.started_here
    dsn = server.url.replace("postgresql+psycopg2", "postgresql")
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_kill_9_of_the_supervisor_leaves_nothing_running(run: Run) -> None:
    supervisor = run()
    supervisor.wait_until_ready()
    supervisor.send(signal.SIGKILL)
    wait_until(lambda: everything_is_gone(supervisor), seconds=15)

    again = run(PORT=str(supervisor.port), SIMULATOR_PORT=str(supervisor.simulator_port))
    again.wait_until_ready()


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("serve", "The API"),
        ("worker", "The worker"),
        ("daraja_simulator", "The simulator"),
        ("development.mail_catcher", "The mail catcher"),
    ],
)
def test_a_child_that_dies_is_named_and_the_rest_is_stopped(run: Run, what: str, name: str) -> None:
    supervisor = run()
    supervisor.wait_until_ready()
    child(supervisor, what).kill()
    assert supervisor.wait() == 1
    assert f"{name} ended unexpectedly with signal SIGKILL." in supervisor.output
    assert everything_is_gone(supervisor)


def test_the_demo_buys_a_ticket(run: Run) -> None:
    supervisor = run()
    supervisor.wait_until_ready()
    demo = run_demo(supervisor.checkout, supervisor.port, supervisor.simulator_port)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "is paid, receipt" in demo.stdout
    assert demo.stdout.count("Ticket   ") == 1

    caught = f"http://127.0.0.1:{supervisor.mail_port}"

    [code] = re.findall(r"Ticket +([0-9A-Z-]+)", demo.stdout)

    def told() -> list[str]:
        messages = requests.get(f"{caught}/messages.json", timeout=10).json()
        return [one["subject"] for one in messages if code in one["text"] and one["to"] == "attendee@ticksy.co.ke"]

    [subject] = wait_until(told)
    assert subject in html.unescape(requests.get(caught, timeout=10).text)


def test_the_demo_says_when_nothing_runs(checkout: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        demo = run_demo(checkout, unused.getsockname()[1], unused.getsockname()[1])
    assert demo.returncode == 1
    assert demo.stderr.count("\n") == 1
    assert "Start it with `make run` first." in demo.stderr


def run_demo(checkout: Path, port: int, simulator_port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "development.demo"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "PORT": str(port), "SIMULATOR_PORT": str(simulator_port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
