"""Results as a table with plots: what stands in `docs/performance.md` between its marks.

`python -m benchmarks.report [results …]`; without any, of the newest full run and the two newest short ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stage import BENCH_PYTHON
from benchmarks.targets import NOT_MEASURED, RATIOS, TARGETS, Results
from config import ROOT

PAGE, PLOTS, RESULTS = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance", ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: made by python -m benchmarks.report -->", "<!-- end of results -->"
_SHORT_RUNS = 2
#: What may be drawn, and what it shows.
_DRAWN = {
    "ratios": "Ratios to the yardstick",
    "on-sale": "Orders placed since the sale began",
    "overload": "Arrivals and orders at what the server bears, and at twice that",
    "growth": "Cost over what is stored",
}


def newest() -> list[Path]:
    """Files are named by when their run began."""
    full, short = (sorted(RESULTS.glob(f"*-{kind}.json")) for kind in ("full", "short"))
    return [*full[-1:], *short[-_SHORT_RUNS:]]


def update(paths: Sequence[Path]) -> None:
    """Write the table and the plots of these runs, the first of which is drawn."""
    page = PAGE.read_text(encoding="utf-8")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for name in _DRAWN:
        _plot(name).unlink(missing_ok=True)
    drawing = [str(BENCH_PYTHON), str(Path(__file__).with_name("plots.py"))]
    subprocess.run([*drawing, str(paths[0]), str(PLOTS), json.dumps(RATIOS)], check=True)
    drawn = [f"![{title}]({PLOTS.name}/{name}.svg)\n" for name, title in _DRAWN.items() if _plot(name).exists()]
    PAGE.write_text(replace_results(page, "\n".join([render(runs), *drawn])), encoding="utf-8")


def _plot(name: str) -> Path:
    return PLOTS / f"{name}.svg"


def replace_results(page: str, results: str) -> str:
    """The page with other results between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{results}\n{END}{after}"


def render(runs: Sequence[Results]) -> str:
    """Tables in Markdown, a column for each run."""
    names = [f"{run['kind']}, {run['started_at'][:16].replace('T', ' ')}" for run in runs]
    lines = _table(["", "Target", "Goal", *names])
    lines += [_row(target.number, target.what, target.goal, *map(target.show, runs)) for target in TARGETS]
    lines += ["", *_on_sale(runs, names), "", *_ratios(runs[0]), "", *_growth(runs[0]), *_conditions(runs)]
    return "\n".join(lines) + "\n"


def _on_sale(runs: Sequence[Results], names: Sequence[str]) -> list[str]:
    lines = _table(["On-sale", *names])
    for number, title in enumerate(("Daraja takes 1.5 s", "Daraja takes 0 s")):
        found = [run.get("on_sale", [{}, {}])[number] for run in runs]
        lines.append(_row(f"{title}: buyers for tickets", *(_told(one, "buyers", "tickets") for one in found)))
        lines.append(_row(f"{title}: orders a minute", *(_told(one, "orders_per_minute") for one in found)))
        lines.append(_row(f"{title}: answers to orders", *map(_answers, found)))
        lines.append(_row(f"{title}: p50, p95, p99 of orders", *(_times(one, "orders") for one in found)))
        lines.append(_row(f"{title}: answers to callbacks", *(_told(one, "callbacks") for one in found)))
        lines.append(_row(f"{title}: most database connections", *(_told(one, "most_connections") for one in found)))
    return lines


def _told(found: dict[str, Any], *names: str) -> str:
    if not found:
        return NOT_MEASURED
    values = (found[name] for name in names)
    return " for ".join(_list(value) if isinstance(value, dict) else str(value) for value in values)


def _answers(found: dict[str, Any]) -> str:
    return _list(found["orders"]["answers"]) if found else NOT_MEASURED


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _times(found: dict[str, Any], kind: str) -> str:
    return ", ".join(f"{found[kind][f'p{part}_ms']:.0f}" for part in (50, 95, 99)) + " ms" if found else NOT_MEASURED


def _ratios(run: Results) -> list[str]:
    lines = _table(["Closed loop, 16 clients", "A second", "Ratio to `hello`", "Least and most", "p50", "p99"])
    for name, one in run.get("medians", {}).items():
        spread = f"{one['ratio_least']:.3f} to {one['ratio_most']:.3f}"
        p99 = f"{one['p99_ms']:.1f} ms" if one["p99_ms"] is not None else NOT_MEASURED
        lines.append(_row(name, f"{one['rate']:.0f}", f"{one['ratio']:.3f}", spread, f"{one['p50_ms']:.1f} ms", p99))
    return lines


def _growth(run: Results) -> list[str]:
    if "growth" not in run:
        return []
    sizes = [size for size, _ in next(iter(run["growth"]["requests"].values()))["points"]]
    lines = _table(["Milliseconds, by orders stored", *(f"{size:,}" for size in sizes), "Exponent"])
    for name, one in run["growth"]["requests"].items():
        lines.append(_row(name, *(f"{cost:.1f}" for _, cost in one["points"]), f"{one['slope']:+.2f}"))
    return [*lines, ""]


def _conditions(runs: Sequence[Results]) -> list[str]:
    lines = []
    for run in runs:
        machine, faults = run["machine"], sum(one["count"] for one in run["verdicts"])
        verdict = "stock, orders, payments, tickets and M-PESA's money agreed after every part"
        commit = f"{run['commit']}{' with changes' if run['has_changes'] else ''}"
        chosen = ", ".join(f"`{name}={value}`" for name, value in run["chosen"].items())
        lines.append(
            f"- {run['kind']}, {run['started_at']}, commit {commit}:"
            f" {machine['cores']} cores ({machine['processor']}), {'pinned' if machine['is_pinned'] else 'not pinned'},"
            f" load {machine['load_at_start']} at the start; {chosen}."
            f" Verified: {verdict if not faults else f'**{faults} faults**'}."
        )
    return lines


def _table(titles: Sequence[str]) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    update([Path(path) for path in sys.argv[1:]] or newest())
