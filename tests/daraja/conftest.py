"""A simulator for the session, and somebody to receive its callbacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .process import Simulator, start_simulator
from .receiver import Receiver

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def _fast_simulator() -> Iterator[Simulator]:
    with start_simulator() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def _slow_simulator() -> Iterator[Simulator]:
    with start_simulator(SIM_SPEED=1, SIM_AUTO_PAY_SECONDS=0) as simulator:
        yield simulator


@pytest.fixture
def fast(_fast_simulator: Simulator) -> Simulator:
    """Fifty times as fast as life."""
    _fast_simulator.reset()
    return _fast_simulator


@pytest.fixture
def slow(_slow_simulator: Simulator) -> Simulator:
    """As slow as life: only moving its clock brings anything about. Its phones never pay by themselves."""
    _slow_simulator.reset()
    return _slow_simulator


@pytest.fixture
def merchant() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """`golden("callback_success")` is that file's content."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
