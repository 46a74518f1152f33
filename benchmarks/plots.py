"""Draws a run. Runs in an environment of its own, which has matplotlib: `python plots.py results.json folder goals`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "ticksy", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}

from matplotlib import pyplot as plt  # noqa: E402  # the kind of drawing is chosen first


def main(source: Path, folder: Path, goals: str) -> None:
    run = json.loads(source.read_text(encoding="utf-8")) | {"goals": json.loads(goals)}
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"ratios": draw_ratios, "on-sale": draw_on_sale, "overload": draw_overload, "growth": draw_growth}
    for name, draw in drawn.items():
        figure = draw(run)
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)


def draw_ratios(run: dict[str, Any]) -> Any:
    medians = run.get("medians")
    if not medians:
        return None
    names = list(medians)[::-1]
    found = [medians[name]["ratio"] for name in names]
    spread = [
        [medians[name]["ratio"] - medians[name]["ratio_least"] for name in names],
        [medians[name]["ratio_most"] - medians[name]["ratio"] for name in names],
    ]
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.barh(names, found, xerr=spread, color="#4878a8", ecolor="#333333", capsize=2, height=0.6)
    for at, name in enumerate(names):
        if name in run["goals"]:
            axes.plot([run["goals"][name]] * 2, [at - 0.4, at + 0.4], color="#c03028", linewidth=2)
    axes.plot([], [], color="#c03028", linewidth=2, label="target")
    axes.set_xscale("log")
    axes.set_xlabel("answers a second, as a ratio to a plain Flask view (median, least and most of the rounds)")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_on_sale(run: dict[str, Any]) -> Any:
    if not run.get("on_sale"):
        return None
    figure, axes = plt.subplots(figsize=(7, 3.4))
    for one, color in zip(run["on_sale"], ("#4878a8", "#e08a3c"), strict=False):
        total, totals = 0, [0]
        for count in one["placed_by_second"]:
            total += count
            totals.append(total)
        axes.plot(range(len(totals)), totals, color=color, label=f"orders, Daraja takes {one['push_seconds']} s")
    first = run["on_sale"][0]
    axes.plot([0, first["arrive_within"]], [0, first["buyers"]], color="#888888", linestyle=":", label="buyers arrived")
    axes.axhline(first["tickets"], color="#c03028", linewidth=1, label="on sale")
    axes.set_ylim(0, first["tickets"] * 1.3)
    axes.set_xlabel("seconds since the sale began")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_overload(run: dict[str, Any]) -> Any:
    steps = run.get("overload", {}).get("steps")
    if not steps:
        return None
    figure, axes = plt.subplots(figsize=(5, 3))
    names = [f"{step['times']} times what it bears" for step in steps]
    axes.bar(names, [step["arrivals_per_second"] for step in steps], color="#cccccc", label="arrivals a second")
    axes.bar(names, [step["goodput_per_second"] for step in steps], width=0.5, color="#4878a8", label="orders a second")
    axes.legend(frameon=False, loc="upper left")
    return figure


def draw_growth(run: dict[str, Any]) -> Any:
    """Each cost over what is stored: what everybody asks for, and reports."""
    growth = run.get("growth")
    if not growth:
        return None
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), sharey=True)
    for number, (name, one) in enumerate(growth["requests"].items()):
        axes = panels[int(any(word in name for word in ("report", "dashboard", "organizer")))]
        sizes, costs = zip(*one["points"], strict=True)
        # There are ten colours.
        line = {"color": f"C{number % 10}", "linestyle": ("-", "--")[number // 10 % 2]}
        axes.plot(sizes, costs, marker="o", markersize=3, label=f"{name} ({one['slope']:+.2f})", **line)
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"{growth['axis']} stored (with the exponent that fits)")
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.15), ncols=2)
    panels[0].set_ylabel("milliseconds")
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
