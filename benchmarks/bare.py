"""The same booking without a web server: `pgbench` on the same PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.processes import Failed
from benchmarks.scene import HotType, Scene
from benchmarks.stage import Stage
from benchmarks.wrk import Sample
from utils.postgres_programs import programs_for

#: More of them only queue on the one row.
CLIENTS = (2, 4, 8)
_SCRIPT = Path(__file__).with_name("bare.sql")


def book(stage: Stage, scene: Scene, hot: HotType, *, seconds: float) -> Sample:
    """Free bookings of one type, with as many clients as do best."""
    return max((_run(stage, scene, hot, clients, seconds / len(CLIENTS)) for clients in CLIENTS), key=_rate)


def _rate(sample: Sample) -> float:
    return sample.rate


def _run(stage: Stage, scene: Scene, hot: HotType, clients: int, seconds: float) -> Sample:
    pgbench = programs_for(stage.folder / "data").folder / "pgbench"
    first = scene.buyers[0].user_id
    values = {"type": hot.id, "event": hot.event_id, "first": first, "buyers": len(scene.buyers)}
    flags = [part for name, value in values.items() for part in ("-D", f"{name}={value}")]
    told = stage.measure_with(
        *(str(pgbench), "-n", "-f", str(_SCRIPT), "-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds)))),
        *flags,
        stage.plain_url,
    )
    rate, latency = (re.search(rf"^{name} = ([\d.]+)", told, re.MULTILINE) for name in ("tps", "latency average"))
    if rate is None or latency is None or "number of failed transactions: 0" not in told:
        raise Failed(f"pgbench failed:\n{told[-1000:]}")
    average_ms = float(latency[1])
    return Sample(float(rate[1]), p50_ms=average_ms, p99_ms=None, statuses={f"{clients} clients": 1})
