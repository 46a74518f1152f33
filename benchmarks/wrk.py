"""The closed loop: sixteen clients that keep their connections and ask again as soon as they are answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed
from benchmarks.stage import Stage

CONNECTIONS = 16
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sample:
    """What one run of a closed loop came to."""

    #: Answers a second: to wrk all of them, to a measure those it wanted.
    rate: float
    p50_ms: float
    #: None where it is not known.
    p99_ms: float | None
    #: How many were answered with which status, where the statuses differ.
    statuses: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def get(stage: Stage, url: str, *, seconds: float, headers: Mapping[str, str] = {}) -> Sample:
    """Every answer is to be one of success, 304 among them. Raises Failed."""
    given = [f"{name}={value}" for name, value in headers.items()]
    told = _run(stage, url, "get.lua", given, seconds)
    if told["refused"] or told["broken"]:
        raise Failed(f"{url}: {told['refused']} refused and {told['broken']} broken of {told['requests']} requests")
    return _sample(told, told["requests"])


def post(stage: Stage, url: str, lines: Path, *, seconds: float, wanted: int) -> Sample:
    """Each line of the file is sent once; the rate is that of answers with status `wanted`."""
    told = _run(stage, url, "lines.lua", [str(lines)], seconds)
    if told["broken"]:
        raise Failed(f"{url}: {told['broken']} broken of {told['requests']} requests")
    return _sample(told, told["statuses"].get(str(wanted), 0))


def _run(stage: Stage, url: str, script: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    # wrk counts in whole seconds.
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    output = stage.measure_with(*command, "-s", str(_HERE / script), url, "--", *arguments)
    found = [line.removeprefix("RESULT ") for line in output.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise Failed(f"wrk said nothing of {url}:\n{output[-1000:]}")
    return dict(json.loads(found[0]))


def _sample(told: dict[str, Any], count: int) -> Sample:
    seconds = told["microseconds"] / 1e6
    return Sample(count / seconds, told["p50_us"] / 1e3, told["p99_us"] / 1e3, told["statuses"])


def install() -> None:
    """With apt-get, as root, where it is missing. Ends the program with a sentence where that cannot be."""
    if shutil.which("wrk"):
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        sys.exit("wrk is missing, and only root can install it, with apt-get. Please install it yourself.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "wrk"]):
        if subprocess.run([apt, *command], env=quiet, check=False).returncode != 0:
            sys.exit(f"apt-get {command[0]} failed: wrk could not be installed.")
