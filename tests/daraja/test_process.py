"""The simulator as a program: when it starts, when it refuses to, how it ends."""

from __future__ import annotations

import subprocess
import threading
import time
from datetime import datetime, timedelta

import pytest
import requests

from tests.waiting import wait_until

from .process import (
    COMMAND,
    ROOT,
    Simulator,
    environment,
    start_simulator,
)
from .receiver import Receiver


def run(**settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=10, check=False
    )


@pytest.mark.parametrize("stage", ["production", "staging", ""])
def test_it_refuses_to_start_where_money_is_real(stage: str) -> None:
    ended = run(FLASK_ENV=stage)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert "FLASK_ENV must be development or testing" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIM_SPEED", "fast"),
        ("SIM_SPEED", "0"),
        ("SIM_SPEED", "nan"),
        ("SIMULATOR_PORT", "70000"),
        ("SIM_PROFILE", "wild"),
    ],
)
def test_it_refuses_to_start_with_a_bad_setting(name: str, value: str) -> None:
    ended = run(**{name: value})
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert name in line


def test_a_taken_port_is_one_clear_line(fast: Simulator) -> None:
    port = fast.url.rpartition(":")[2]
    ended = run(SIMULATOR_PORT=port)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line


def test_sigterm_ends_it_at_once_and_cleanly_whatever_is_pending(merchant: Receiver) -> None:
    simulator = start_simulator()
    merchant.together = threading.Barrier(2)  # which never fills: a callback in flight
    simulator.push("254700000020", merchant.url)
    simulator.push("254700000000", merchant.url)
    wait_until(lambda: merchant.received)
    with pytest.raises(requests.ReadTimeout):
        simulator.push("254700000044", merchant.url, timeout=0.2)
    asked_at = time.monotonic()
    code, complaints = simulator.stop()
    assert (code, complaints) == (0, "")
    assert time.monotonic() - asked_at < 2
    merchant.together.abort()


def test_it_prints_two_addresses_and_no_phone_numbers(merchant: Receiver) -> None:
    simulator = start_simulator()
    assert simulator.phone_url == f"{simulator.url}/phone"
    requests.get(f"{simulator.phone_url}/0712345678", timeout=5)
    simulator.push("254712345678", merchant.url)
    wait_until(lambda: merchant.received)
    code, complaints = simulator.stop()
    assert (code, complaints) == (0, "")


def test_its_clock_is_real_time_until_moved(fast: Simulator) -> None:
    moment = datetime.now().astimezone()
    assert abs(fast.now() - moment) < timedelta(seconds=2)
    fast.advance(3600)
    assert abs(fast.now() - moment - timedelta(hours=1)) < timedelta(seconds=2)
    fast.reset()
    assert abs(fast.now() - moment) < timedelta(seconds=4)
