"""`make chaos`: thousands of purchases under every fault and many kills; fails unless the referee finds nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--purchases", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--speed", type=float, default=30, help="how many times faster than life")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--keep", type=Path, help="keep databases and logs in this folder")
    given = parser.parse_args()
    plan = Plan(given.purchases, given.kills, given.speed, given.seed)
    with tempfile.TemporaryDirectory(prefix="ticksy-chaos-") as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(plan, folder, say)
    say(f"\n{outcome.placed} orders in {outcome.seconds:.0f} s; killed: {outcome.kills}")
    say(
        f"an operator sent {outcome.sent_back} payments back, retried {outcome.retried} refunds"
        f" and sent {outcome.sent_by_hand} by hand"
    )
    say(str(outcome.findings))
    for name, count in outcome.unsettled.items():
        say(f"  still unsettled: {count} {name}")
    for error in outcome.errors[:10]:
        say(f"  {error}")
    return 0 if outcome.findings.is_clean and not outcome.unsettled and not outcome.errors else 1


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
