"""The parts of a run, in order, each with a verification after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks import cores, export, logins, on_sale, rounds, statements, verify
from benchmarks.endpoints import BARE, FREE, Endpoints, wait_until_settled
from benchmarks.scene import Scene
from benchmarks.stage import HELLO, SERVER, UNCACHED, Stage

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long a run is to take."""

    is_short: bool
    rounds: int
    seconds: float
    #: How many are logged in; of them, how many come to the on-sale, and for how many tickets.
    people: int
    buyers: int
    tickets: int
    #: How long each step of the overload lasts, and each of the two measures beside log-ins.
    step_seconds: float
    #: Rows of the export, and how often it is made.
    rows: int
    exports: int


def plan(*, is_short: bool, rounds: int | None = None, seconds: float | None = None, people: int | None = None) -> Plan:
    if is_short:
        return Plan(True, rounds or 3, seconds or 1, people or 8_000, 1_000, 400, 5, 20_000, 1)
    return Plan(False, rounds or 3, seconds or 4, people or 20_000, 5_000, 2_000, 10, 100_000, 3)


@dataclass(frozen=True)
class Run:
    """What every part is given. It adds what it found to `results`."""

    stage: Stage
    scene: Scene
    plan: Plan
    results: dict[str, Any]
    say: Say


def play(stage: Stage, plan: Plan, names: list[str], results: dict[str, Any], say: Say) -> None:
    """Fills `results` in."""
    if not cores.can_pin():
        say("There is one core only: everything shares it, and figures mean less.")
    say(f"making an empty database, and {plan.people} people who are logged in")
    stage.migrate()
    run = Run(stage, Scene(stage, buyers=plan.people), plan, results, say)
    stage.start_simulator()
    results["seconds_to_start"] = stage.start_server()
    stage.start_worker()
    say(f"ready after {results['seconds_to_start']:.2f} s")
    for name, part in PARTS.items():
        if name in names:
            part(run)
            stage.check_alive()
            _verify(run, name)
    results["memory_mb"] = stage.memory_mb(SERVER)[1:]
    say(f"memory of each worker: {', '.join(f'{one:.0f} MB' for one in results['memory_mb'])}")


def _measure_endpoints(run: Run) -> None:
    stage, plan, results = run.stage, run.plan, run.results
    stage.start_hello()
    stage.start_uncached_server()
    results["statements"] = statements.count(run.scene)
    run.say(f"statements: {results['statements']}")
    endpoints = Endpoints(stage, run.scene, seconds=plan.seconds)
    played = rounds.play(endpoints.measures(), rounds=plan.rounds, seconds=plan.seconds, say=run.say)
    for name in (UNCACHED, HELLO):
        stage.stop(name)
    results["rounds"] = rounds.as_json(played)
    results["medians"] = {name: asdict(one) for name, one in rounds.summarise(played).items()}
    results["free_to_bare"] = rounds.ratio_between(played, FREE, BARE)
    for name, one in results["medians"].items():
        run.say(f"median  {name:<26} {one['ratio']:.3f}  ({one['ratio_least']:.3f} to {one['ratio_most']:.3f})")
    run.say(f"a free order is {results['free_to_bare']:.2f} of the same as bare SQL")
    results["offline"] = endpoints.gate.verify_offline(seconds=1)
    run.say(f"offline: {results['offline']['verified_per_second']:.0f} tickets a second on one core")


def _measure_on_sale(run: Run) -> None:
    sizes = {"buyers": run.plan.buyers, "tickets": run.plan.tickets, "say": run.say}
    run.results["on_sale"] = [
        on_sale.run(run.stage, run.scene, push_seconds=push_seconds, price_kes=price_kes, **sizes)
        for push_seconds, price_kes in ((1.5, 2_500), (0, 2_600))
    ]


def _measure_overload(run: Run) -> None:
    """At the rate that a closed loop has just reached; where none has, at one that is found first."""
    known = run.results.get("medians", {}).get(FREE)
    rate = known["rate"] if known else _find_rate(run)
    steps = on_sale.overload(run.stage, run.scene, rate=rate, seconds=run.plan.step_seconds, say=run.say)
    run.results["overload"] = {"rate": rate, "steps": steps}


def _find_rate(run: Run) -> float:
    endpoints = Endpoints(run.stage, run.scene, seconds=run.plan.seconds)
    [free] = [one for one in endpoints.measures() if one.name == FREE]
    return free.run(run.plan.seconds).rate


def _measure_logins(run: Run) -> None:
    run.results["log_ins"] = logins.run(run.stage, run.scene, seconds=run.plan.step_seconds, say=run.say)


def _measure_export(run: Run) -> None:
    run.results["export"] = export.run(run.stage, run.scene, rows=run.plan.rows, rounds=run.plan.exports, say=run.say)


def _measure_growth(run: Run) -> None:
    """How costs grow with what is stored, up to a million orders, in databases of its own on the same server."""
    if find_spec("benchmarks.growth") is None:
        run.say("growth: there is no such part")
        return
    growth = import_module("benchmarks.growth")
    with cores.on_core(cores.MEASURING):
        url, is_short = run.stage.database_url, run.plan.is_short
        run.results["growth"] = growth.measure(url, is_short=is_short, tell=run.say)


PARTS: dict[str, Callable[[Run], None]] = {
    "endpoints": _measure_endpoints,
    "on-sale": _measure_on_sale,
    "overload": _measure_overload,
    "log-ins": _measure_logins,
    "export": _measure_export,
    "growth": _measure_growth,
}


def _verify(run: Run, after: str) -> None:
    """Says whether promises were kept; what is found makes the run fail in the end."""
    still_open = wait_until_settled(run.stage)
    faults = verify.judge(run.stage.plain_url, run.stage.ledgers)
    run.results["verdicts"].append(
        {"after": after, "open_orders": still_open, "count": len(faults), "faults": faults[:50]}
    )
    if still_open:
        run.say(f"{still_open} orders are still open, since nobody knows yet what became of their prompts")
    run.say(f"verified after {after}: " + ("everything agrees" if not faults else f"{len(faults)} FAULTS"))
    for fault in faults[:10]:
        run.say(f"  {fault}")
