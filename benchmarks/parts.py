"""The parts of a run, in order, each with a verification after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import cores, rounds, statements, verify
from benchmarks.endpoints import BARE, FREE, Endpoints, wait_until_settled
from benchmarks.scene import Scene
from benchmarks.stage import Stage

Say = Callable[[str], None]
NAMES = ("endpoints",)


@dataclass(frozen=True)
class Plan:
    """How long a run is to take."""

    is_short: bool
    rounds: int
    seconds: float
    buyers: int = 20_000


def plan(*, is_short: bool, rounds: int | None, seconds: float | None) -> Plan:
    return Plan(is_short, rounds=rounds or 3, seconds=seconds or (2 if is_short else 4))


def play(stage: Stage, plan: Plan, names: list[str], results: dict[str, Any], say: Say) -> None:
    """Fills `results` in."""
    if not cores.can_pin():
        say("There is one core only: everything shares it, and figures mean less.")
    stage.migrate()
    say(f"an empty database; making {plan.buyers} buyers who are logged in")
    scene = Scene(stage, buyers=plan.buyers)
    stage.start_simulator()
    results["seconds_to_start"] = stage.start_server()
    stage.start_worker()
    say(f"ready after {results['seconds_to_start']:.2f} s")
    if "endpoints" in names:
        _play_endpoints(stage, scene, plan, results, say)
        _verify(stage, "endpoints", results, say)


def _play_endpoints(stage: Stage, scene: Scene, plan: Plan, results: dict[str, Any], say: Say) -> None:
    stage.start_hello()
    stage.start_uncached_server()
    results["statements"] = statements.count(scene)
    say(f"statements: {results['statements']}")
    measures = Endpoints(stage, scene, seconds=plan.seconds).measures()
    played = rounds.play(measures, rounds=plan.rounds, seconds=plan.seconds, say=say)
    results["rounds"] = rounds.as_json(played)
    results["medians"] = {name: asdict(one) for name, one in rounds.summarise(played).items()}
    results["free_to_bare"] = rounds.ratio_between(played, FREE, BARE)
    for name, one in results["medians"].items():
        spread = f"{one['ratio_least']:.3f} to {one['ratio_most']:.3f}"
        say(f"median  {name:<28} {one['ratio']:>6.3f}  ({spread})")
    say(f"a free order is {results['free_to_bare']:.2f} of the same as bare SQL")


def _verify(stage: Stage, after: str, results: dict[str, Any], say: Say) -> None:
    """Says whether the run kept its promises; what it found makes the run fail in the end."""
    wait_until_settled(stage)
    faults = verify.judge(stage.plain_url(), stage.ledger if stage.ledger.exists() else None)
    results["verdicts"].append({"after": after, "faults": faults[:50], "count": len(faults)})
    say(
        f"verified after {after}: stock, orders, payments, tickets and M-PESA's money "
        + ("agree" if not faults else "DO NOT AGREE")
    )
    for fault in faults[:10]:
        say(f"  {fault}")
