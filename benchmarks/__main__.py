"""`make bench` and `make bench-short`: start what production runs, measure it, verify what it did, write it down."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import facts, parts, report, targets, wrk
from benchmarks.processes import Failed
from benchmarks.stage import Stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--short", action="store_true", help="five minutes instead of twenty")
    parser.add_argument(
        "--only", choices=list(parts.PARTS), action="append", help="these parts; may be given several times"
    )
    parser.add_argument("--rounds", type=int, help="of the closed loop")
    parser.add_argument("--seconds", type=float, help="for each measure of a round")
    parser.add_argument("--people", type=int, help="how many are logged in")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of Ticksy's")
    parser.add_argument("--keep", type=Path, help="keep database and logs in this folder")
    parser.add_argument("--output", type=Path, help="write the results to this file")
    given = parser.parse_args()
    plan = parts.plan(is_short=given.short, rounds=given.rounds, seconds=given.seconds, people=given.people)
    overrides = dict(one.split("=", 1) for one in given.set)
    # Ctrl-C and its like unwind, so that everything that was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wrk.install()
    began = datetime.now(timezone.utc)
    try:
        with tempfile.TemporaryDirectory(prefix="ticksy-bench-") as temporary:
            folder = given.keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            results = _run(folder, overrides, plan, given.only or list(parts.PARTS))
    except Failed as failure:
        print(f"The benchmark failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    results["started_at"] = began.isoformat(timespec="seconds")
    kind = "short" if plan.is_short else "full"
    path = given.output or report.RESULTS / f"{began:%Y-%m-%dT%H%M%SZ}-{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    say(f"written to {path}")
    for line in targets.summarise(results):
        print(line)
    if given.output is None and not given.only:
        report.update(report.newest())
        say(f"drawn in {report.PAGE}")
    return 1 if any(verdict["faults"] for verdict in results["verdicts"]) else 0


def _run(folder: Path, overrides: dict[str, str], plan: parts.Plan, names: list[str]) -> dict[str, Any]:
    stage = Stage(folder, overrides)
    try:
        results = facts.gather(stage, plan)
        parts.play(stage, plan, names, results, say)
        stage.check_alive()
        return results
    finally:
        stage.close()


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
