"""Interleaved rounds, and what they come to: ratios to the yardstick of the same round, their median and spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.wrk import Sample

YARDSTICK = "hello"

#: Samples by the name of what was measured.
Round = Mapping[str, Sample]


@dataclass(frozen=True)
class Measure:
    """Something that is measured once in each round. `run` is given the seconds it may take."""

    name: str
    run: Callable[[float], Sample]


@dataclass(frozen=True)
class Summary:
    """One measure over all rounds."""

    rate: float
    #: To the yardstick of the same round: median, least and most.
    ratio: float
    ratio_least: float
    ratio_most: float
    p50_ms: float
    p99_ms: float | None


def play(
    measures: Sequence[Measure], *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[dict[str, Sample]]:
    """All of them in turn, so that what slows the machine for a while slows them alike."""
    for measure in measures:
        measure.run(1)
    played: list[dict[str, Sample]] = []
    for number in range(1, rounds + 1):
        samples: dict[str, Sample] = {}
        for measure in measures:
            samples[measure.name] = sample = measure.run(seconds)
            ratio = sample.rate / samples[YARDSTICK].rate if YARDSTICK in samples else float("nan")
            say(f"round {number}/{rounds}  {measure.name:<28} {sample.rate:>8.0f}/s  {ratio:>6.3f} of {YARDSTICK}")
        played.append(samples)
    return played


def summarise(played: Sequence[Round]) -> dict[str, Summary]:
    """By name. Each ratio is taken within its own round, and only then is the median."""
    names = {name: None for one in played for name in one}
    return {name: _summary([(one[name], one[YARDSTICK]) for one in played if name in one]) for name in names}


def _summary(samples: Sequence[tuple[Sample, Sample]]) -> Summary:
    ratios = [sample.rate / yardstick.rate for sample, yardstick in samples]
    return Summary(
        rate=median(sample.rate for sample, _ in samples),
        ratio=median(ratios),
        ratio_least=min(ratios),
        ratio_most=max(ratios),
        p50_ms=median(sample.p50_ms for sample, _ in samples),
        p99_ms=median(p99) if (p99 := [one.p99_ms for one, _ in samples if one.p99_ms is not None]) else None,
    )


def ratio_between(played: Sequence[Round], name: str, other: str) -> float:
    """The median over rounds of one rate to another one of the same round."""
    return median(one[name].rate / one[other].rate for one in played)


def as_json(played: Sequence[Round]) -> list[dict[str, Any]]:
    return [{name: sample.as_json() for name, sample in one.items()} for one in played]
