"""Who runs where: what is measured on one core, what measures it on the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

#: Server, worker, PostgreSQL; and load generator, simulator.
MEASURED, MEASURING = 0, 1


def can_pin() -> bool:
    """Whether there are two cores to be had. With one everything shares it, and figures mean less."""
    return len(os.sched_getaffinity(0)) >= 2


@contextmanager
def on_core(which: int) -> Iterator[None]:
    """What this thread starts within the block stays on that core, as with `taskset`: children inherit it."""
    before = os.sched_getaffinity(0)
    if can_pin():
        os.sched_setaffinity(0, {sorted(before)[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
