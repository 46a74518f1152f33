"""Answers that are kept for a moment as ready bytes: what hundreds ask for in one second is worked out once.

Only for what is the same for everybody, whoever asks: a method that is answered from here never learns who that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Response

#: Answers that are kept at once, and how long the last one is shown while the next is worked out.
_MOST, _STALE_SECONDS = 1_000, 10


@dataclass(slots=True)
class _Kept:
    body: bytes
    headers: list[tuple[str, str]]
    until: float
    is_made_anew: bool = field(default=False)


class ReadyAnswers:
    """Of one process, by address. Among those who come when one has become old, one works it out anew and the others
    are shown the old one meanwhile."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def answer(self, address: str, *, seconds: float, make: Callable[[], Response]) -> Response:
        kept, now = self._kept.get(address), time.monotonic()
        if kept is not None and (now < kept.until or (kept.is_made_anew and now < kept.until + _STALE_SECONDS)):
            return Response(kept.body, headers=kept.headers)
        if kept is not None:
            kept.is_made_anew = True
        try:
            response = make()
        finally:
            if kept is not None:
                kept.is_made_anew = False
        if response.status_code == 200:
            if len(self._kept) >= _MOST:
                self._kept = {}
            self._kept[address] = _Kept(response.get_data(), list(response.headers), time.monotonic() + seconds)
        return response
