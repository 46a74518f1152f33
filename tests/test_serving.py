"""How the server starts, goes on without one of its processes, and stops."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
import requests

import config
from config import Settings
from tests import live
from tests.live import Live
from tests.waiting import wait_until

#: They make the start slow and every process big.
SELDOM_USED = {"fontTools", "fpdf", "granian", "icalendar", "PIL", "psutil", "seed", "xlsxwriter", "zxcvbn"}


def test_what_few_requests_need_is_not_imported_at_the_start() -> None:
    program = "import gc, sys, app; print(gc.isenabled(), *sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=config.ROOT, capture_output=True, text=True, check=True)
    collects, *imported = run.stdout.split()
    assert collects == "True"
    assert not SELDOM_USED & set(imported)


@pytest.fixture
def running(settings: Settings) -> Iterator[Live]:
    """Two processes that serve, and the one that minds them."""
    running = live.start({"DATABASE_URL": settings.DATABASE_URL, "WEB_WORKERS": "2"}, has_worker=False)
    yield running
    running.stop()


def is_ready(url: str) -> bool:
    with suppress(requests.ConnectionError):
        return requests.get(f"{url}/ready", timeout=5).ok
    return False


def test_a_process_that_ends_is_replaced_and_all_end_together(running: Live) -> None:
    [started] = running.processes
    minder = psutil.Process(started.pid)
    killed, other = minder.children()
    killed.kill()
    wait_until(lambda: len(serving := minder.children()) == 2 and killed not in serving)
    assert other.is_running()
    wait_until(lambda: is_ready(running.url))  # the other one may not have been yet

    serving = minder.children()
    started.terminate()
    assert started.wait(15) == 0
    assert not [one for one in serving if one.is_running()]
