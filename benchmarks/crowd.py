"""People, each on a path of their own that waits for nobody else: buyers who come, order and poll, and readers.

Who comes when is decided beforehand. A slow server does not slow them down, as it would not in life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.client import Answer, Client, Times, Timetable
from benchmarks.scene import Buyer, HotType

#: How often the frontend asks whether an order is paid, and how long these buyers go on.
POLL_SECONDS, PATIENCE_SECONDS = 12.5, 60.0
#: How often a buyer who is told to come back does.
COMEBACKS = 3


@dataclass
class Seen:
    """What a crowd met with."""

    orders: Times = field(default_factory=Times)
    polls: Times = field(default_factory=Times)
    reads: Times = field(default_factory=Times)
    #: When orders were placed, since the beginning.
    placed_at: list[float] = field(default_factory=list)
    #: How the buyers ended: "paid", "over", "abandoned", "undecided", or the answer that sent them away.
    ends: dict[str, int] = field(default_factory=dict)

    def end(self, how: str) -> None:
        self.ends[how] = self.ends.get(how, 0) + 1


class Crowd:
    """`abandoning` are those of the buyers who never look at their phones again once they have ordered."""

    def __init__(self, url: str, hot: HotType, *, catalogue: str, abandoning: frozenset[int] = frozenset()) -> None:
        self._url, self._hot, self._catalogue, self._abandoning = url, hot, catalogue, abandoning
        self.seen = Seen()
        self.timetable = Timetable()

    def arrive(
        self, buyers: Sequence[Buyer], *, within: float, reads_per_second: float, comes_back: bool, polls: bool
    ) -> None:
        """All of them, spread at random over so many seconds, while others read the catalogue. Returns at the end."""
        asyncio.run(self._arrive(buyers, within, reads_per_second, comes_back, polls))

    async def _arrive(
        self, buyers: Sequence[Buyer], within: float, reads_per_second: float, comes_back: bool, polls: bool
    ) -> None:
        self._client = Client(self._url)
        dice = Random(1)
        moments = sorted(dice.uniform(0, within) for _ in buyers)
        self.timetable, self._still_ordering = Timetable(), len(buyers)
        ordering = [
            asyncio.create_task(self._buy(buyer, moment, comes_back, polls))
            for buyer, moment in zip(buyers, moments, strict=True)
        ]
        await asyncio.gather(*ordering, self._read(reads_per_second))
        await self._client.close()

    async def _buy(self, buyer: Buyer, moment: float, comes_back: bool, polls: bool) -> None:
        answer = await self._order(buyer, moment)
        for _ in range(COMEBACKS if comes_back else 0):
            if answer.status != 503 or answer.retry_after is None:
                break
            answer = await self._order(buyer, self.timetable.now + answer.retry_after)
        self._still_ordering -= 1
        if answer.status != 201:
            self.seen.end(answer.name)
            return
        self.seen.placed_at.append(self.timetable.now)
        if buyer.user_id in self._abandoning:
            self.seen.end("abandoned")
        elif polls:
            self.seen.end(await self._poll(answer.json()["checkoutRequestID"]))
        else:
            self.seen.end("placed")

    async def _order(self, buyer: Buyer, moment: float) -> Answer:
        await self.timetable.wait_until(moment)
        body = {"tickets": [{"ticket_id": self._hot.id, "quantity": 1}]}
        answer = await self._client.ask("POST", "/orders", bearer=buyer.bearer, body=body)
        self.seen.orders.note(answer, self.timetable.now - moment)
        return answer

    async def _poll(self, poll_id: str) -> str:
        began = self.timetable.now
        moment = began + POLL_SECONDS
        while moment <= began + PATIENCE_SECONDS:
            await self.timetable.wait_until(moment)
            answer = await self._client.ask("GET", f"/payments/check/{poll_id}")
            self.seen.polls.note(answer, self.timetable.now - moment)
            result: dict[str, Any] = answer.json()["data"] if answer.status == 200 else {}
            if result:
                return "paid" if result["ResultCode"] == "0" else "over"
            # Never two of one buyer's at once: what came due meanwhile is left out.
            moment += POLL_SECONDS * (1 + max(0, int((self.timetable.now - moment) / POLL_SECONDS)))
        return "undecided"

    async def _read(self, per_second: float) -> None:
        """As many a second, whatever the answers take, while there are buyers who order."""
        reads: list[asyncio.Task[None]] = []
        while per_second and self._still_ordering:
            moment = len(reads) / per_second
            await self.timetable.wait_until(moment)
            reads.append(asyncio.create_task(self._read_once(moment)))
        await asyncio.gather(*reads)

    async def _read_once(self, moment: float) -> None:
        answer = await self._client.ask("GET", self._catalogue)
        self.seen.reads.note(answer, self.timetable.now - moment)
