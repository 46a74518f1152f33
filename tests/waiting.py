"""The one way tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


def wait_until(condition: Callable[[], _Found], *, seconds: float = 15) -> _Found:
    """The condition's first true value; fails after so many seconds. The only place where tests sleep."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.01)
    return found
