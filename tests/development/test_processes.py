"""Programs that are stopped together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil

from development.processes import Processes
from tests.waiting import wait_until

#: Told to stop, it says so, waits until all it is named after its own name have said the same, and says that it ended.
PROGRAM = """
import pathlib, signal, sys, time
name, *others = sys.argv[1:]
def stop(*_):
    pathlib.Path(name + ".asked").touch()
    while not all(pathlib.Path(other).exists() for other in others):
        time.sleep(0.01)
    pathlib.Path(name + ".ended").touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path(name + ".ready").touch()
while True:
    signal.pause()
"""


def test_programs_are_told_to_stop_at_once_and_what_they_call_after_them(tmp_path: Path) -> None:
    processes = Processes(tmp_path)

    def start(name: str, *others: str, is_called: bool = False) -> None:
        command, environment = (sys.executable, "-c", PROGRAM, name, *others), {"PATH": os.environ["PATH"]}
        processes.start(name, *command, environment=environment, patience=30, is_called_by_others=is_called)

    start("simulator", is_called=True)
    start("api", "worker.asked")
    start("worker", "api.asked")
    wait_until(lambda: len(list(tmp_path.glob("*.ready"))) == 3)
    processes.stop()
    asked_at = {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("*.asked")}
    ended_at = {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("*.ended")}
    assert ended_at.keys() == {"simulator", "api", "worker"}
    assert max(ended_at["api"], ended_at["worker"]) <= asked_at["simulator"]


def test_one_that_does_not_listen_is_ended_and_so_are_its_children(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    script = "trap '' TERM; sleep 600 & echo $! > child.draft; mv child.draft child; wait"
    processes.start("deaf", "sh", "-c", script, environment={"PATH": os.environ["PATH"]}, patience=0.2)
    child = tmp_path / "child"
    wait_until(child.exists)
    processes.stop()
    wait_until(lambda: not is_running(int(child.read_text())))


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
