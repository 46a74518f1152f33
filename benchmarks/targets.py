"""What was to be reached, and what a run reached of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.endpoints import AVAILABILITY, CACHED, DETAIL, FREE, FRESH, PROMPTED, SCAN, SOLD_OUT, UNCHANGED

#: Of each process, beside its pool: what stores Safaricom's posts, and who listens or watches.
_INBOX, _LISTENERS = 4, 2
_MOST_LOG_IN_RATIO, _MOST_SECONDS_TO_START, _MOST_MEMORY_MB, _MOST_GROWTH_MB = 3.0, 2.0, 150.0, 50.0

#: What stands in tables where a run has no figure.
NOT_MEASURED = "-"

#: How requests of the growth part begin that are reports.
_REPORTS = ("organizer's", "dashboard", "report")
#: Ratios to the yardstick.
RATIOS = {
    FRESH: 0.25,
    CACHED: 1.5,
    UNCHANGED: 1.5,
    DETAIL: 0.30,
    AVAILABILITY: 0.30,
    FREE: 0.10,
    PROMPTED: 0.05,
    SCAN: 0.08,
}

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One line of the table. `measure` is None where the run did not measure it."""

    number: int
    what: str
    goal: str
    measure: Callable[[Results], float | None]
    is_met: Callable[[float], bool]
    unit: str = ""
    digits: int = 2

    def read(self, results: Results) -> float | None:
        """None where it was not measured, in a run of some parts only."""
        try:
            return self.measure(results)
        except (KeyError, IndexError, ZeroDivisionError, ValueError):
            return None

    def show(self, results: Results) -> str:
        """As in the table: the figure, and a word on it."""
        found = self.read(results)
        if found is None:
            return NOT_MEASURED
        return f"{found:.{self.digits}f}{self.unit} {'✓' if self.is_met(found) else '**missed**'}"


def _ratio(number: int, name: str) -> Target:
    return _at_least(
        number, f"`{name}`, ratio to `hello`", RATIOS[name], lambda run: run["medians"][name]["ratio"], digits=3
    )


def _at_least(
    number: int, what: str, least: float, measure: Callable[[Results], float | None], unit: str = "", digits: int = 2
) -> Target:
    return Target(number, what, f"≥ {least:g}{unit}", measure, lambda found: found >= least, unit, digits)


def _at_most(
    number: int, what: str, most: float, measure: Callable[[Results], float | None], unit: str = "", digits: int = 0
) -> Target:
    return Target(number, what, f"< {most:g}{unit}", measure, lambda found: found < most, unit, digits)


def _none(number: int, what: str, measure: Callable[[Results], float | None]) -> Target:
    return Target(number, what, "0", measure, lambda found: found == 0, digits=0)


# ── Of the on-sale: the first is with Daraja as slow as in life, the second with one that answers at once ─────────────


def _slow(results: Results) -> Results:
    return dict(results["on_sale"][0])


def dishonest(answers: dict[str, int]) -> int:
    """Answers that a buyer may not be given: faults, none at all, or a 503 that does not say when to come back."""
    return sum(
        count
        for name, count in answers.items()
        if name == "no answer" or (name.startswith("5") and (not name.startswith("503") or "without" in name))
    )


def _dishonest(results: Results) -> float:
    return sum(dishonest(one[kind]["answers"]) for one in results["on_sale"] for kind in ("orders", "polls", "reads"))


def _not_sold_exactly(results: Results) -> float:
    return sum(abs(one["in_the_end"]["sold"] - one["tickets"]) for one in results["on_sale"])


def _free_connections(results: Results) -> float:
    """Of those that the pools of all processes may have, how many were never used."""
    settings = results["settings"]
    pools = (settings["WEB_WORKERS"] + 1) * (settings["DATABASE_POOL"] + _INBOX + _LISTENERS)
    return float(pools - max(one["most_connections"] for one in results["on_sale"]))


def _to_closed_loop(results: Results) -> float:
    return float(_slow(results)["orders_per_second"] / results["medians"][PROMPTED]["rate"])


def _slow_to_quick(results: Results) -> float:
    slow, quick = results["on_sale"]
    return float(slow["orders_per_second"] / quick["orders_per_second"])


def _goodput(results: Results) -> float:
    steps = [step["goodput_per_second"] for step in results["overload"]["steps"]]
    return float(steps[-1] / max(steps))


def _export_ratio(results: Results) -> float:
    return median(one["copy_seconds"] / one["export_seconds"] for one in results["export"]["tries"])


def _most_statements(results: Results) -> float:
    return float(max(results["statements"][name] for name in (FRESH, DETAIL, AVAILABILITY)))


def _slowest_report(results: Results) -> float:
    """Of admins and of organizers, where most is stored: a million orders in a full run."""
    requests = results["growth"]["requests"]
    return float(max(one["points"][-1][1] for name, one in requests.items() if name.startswith(_REPORTS)))


def _sold_out_to_free(results: Results) -> float:
    return float(median(one[SOLD_OUT]["rate"] / one[FREE]["rate"] for one in results["rounds"]))


TARGETS = (
    _ratio(1, FRESH),
    _ratio(1, CACHED),
    _ratio(1, UNCHANGED),
    _ratio(1, DETAIL),
    _ratio(1, AVAILABILITY),
    Target(1, "SQL statements of each of these", "≤ 3", _most_statements, lambda found: found <= 3, digits=0),
    _ratio(2, FREE),
    _ratio(2, PROMPTED),
    _at_least(2, "a free order to the same as bare SQL", 0.40, lambda run: run["free_to_bare"]),
    _at_least(2, "“sold out” to a free order", 2, _sold_out_to_free),
    _none(3, "tickets more or fewer sold than on sale", _not_sold_exactly),
    _none(3, "answers that are faults, or no honest 503", _dishonest),
    _at_least(3, "orders a second to those of a closed loop", 0.8, _to_closed_loop),
    _at_least(3, "orders a second, Daraja at 1.5 s to Daraja at 0 s", 0.8, _slow_to_quick),
    _at_least(3, "database connections that were left of the pools", 0, _free_connections, digits=0),
    _at_most(3, "p95 of reading the catalogue meanwhile", 1000, lambda run: _slow(run)["reads"]["p95_ms"], " ms"),
    _at_most(3, "p95 of polls", 1000, lambda run: _slow(run)["polls"]["p95_ms"], " ms"),
    _at_least(3, "orders a second at twice what it bears, to its best", 0.8, _goodput),
    _at_most(
        4,
        "p99 of the catalogue beside 20 log-ins a second, to p99 alone",
        _MOST_LOG_IN_RATIO,
        lambda run: run["log_ins"]["p99_ratio"],
        digits=2,
    ),
    _ratio(5, SCAN),
    _at_least(
        5,
        "tickets verified offline, per second and core",
        5000,
        lambda run: run["offline"]["verified_per_second"],
        digits=0,
    ),
    _at_least(6, "CSV export to `psql \\copy`", 0.30, _export_ratio),
    _at_most(
        6,
        "memory an export takes",
        _MOST_GROWTH_MB,
        lambda run: max(one["growth_mb"] for one in run["export"]["tries"]),
        " MB",
    ),
    _at_most(6, "slowest report over the most orders there were, warm", 300, _slowest_report, " ms"),
    _at_most(8, "start-up", _MOST_SECONDS_TO_START, lambda run: run["seconds_to_start"], " s", 2),
    _at_most(8, "memory of a worker after the run", _MOST_MEMORY_MB, lambda run: max(run["memory_mb"]), " MB"),
)


def summarise(results: Results) -> Iterator[str]:
    """A run's targets as lines for a terminal."""
    for target in TARGETS:
        yield f"{target.number}  {target.what:<62} {target.goal:>10}  {target.show(results).replace('**', '')}"
