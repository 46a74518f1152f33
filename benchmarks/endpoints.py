"""Targets 1, 2 and a part of 5: single endpoints in a closed loop, interleaved with the yardstick."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import requests

from benchmarks import bare, wrk
from benchmarks.gate import Gate
from benchmarks.processes import Failed, wait_until
from benchmarks.rounds import YARDSTICK, Measure
from benchmarks.scene import CATALOGUE_EVENTS, HotType, Scene
from benchmarks.stage import Stage
from benchmarks.wrk import Sample

PING, BARE = "ping", "booking as bare SQL"
CATALOGUE = f"/events?per_page={CATALOGUE_EVENTS}"
FRESH, CACHED, UNCHANGED = "events, from the database", "events", "events, 304"
DETAIL, AVAILABILITY = "event", "availability"
FREE, PROMPTED, SOLD_OUT, SCAN = "order, free", "order, with prompt", "order, sold out", "scan"
#: More than any run could book.
PLENTY = 10_000_000
#: Between the last push of a measure and the first callback: settling is not measured here.
_UNHURRIED_SECONDS = 3.0
#: Of a circle, a step that comes near no place again for long.
_GOLDEN = 0.618034


class Endpoints:
    """What is measured, of servers that run already."""

    def __init__(self, stage: Stage, scene: Scene, *, seconds: float) -> None:
        self._stage, self._scene = stage, scene
        self._turn = 0
        self._hot_and_bare = scene.add_hot_type(quantity=PLENTY)
        self._none_left = scene.add_hot_type(quantity=0)
        self.gate = Gate(scene)
        stage.start_simulator(SIM_AUTO_PAY_SECONDS=seconds + _UNHURRIED_SECONDS)

    def measures(self) -> list[Measure]:
        """The yardstick comes first: ratios are to the latest one."""
        fresh, event = self._stage.uncached_url, f"/events/{self._scene.event_ids[0]}"
        return [
            Measure(YARDSTICK, self._getting(self._stage.hello_url)),
            Measure(PING, self._getting(f"{self._stage.url}/health")),
            Measure(FRESH, self._getting(fresh + CATALOGUE)),
            Measure(CACHED, self._getting(self._stage.url + CATALOGUE)),
            Measure(UNCHANGED, self._get_unchanged),
            Measure(DETAIL, self._getting(fresh + event)),
            Measure(AVAILABILITY, self._getting(f"{fresh}{event}/availability")),
            Measure(FREE, self._order_free),
            Measure(SOLD_OUT, self._order_sold_out),
            Measure(PROMPTED, self._order_with_prompt),
            Measure(SCAN, self._scan),
            Measure(BARE, self._book_bare),
        ]

    def _getting(self, url: str) -> Callable[[float], Sample]:
        return lambda seconds: wrk.get(self._stage, url, seconds=seconds)

    def _get_unchanged(self, seconds: float) -> Sample:
        url = self._stage.url + CATALOGUE
        tag = requests.get(url, timeout=10).headers["ETag"]
        headers = {"If-None-Match": tag}
        sample = wrk.get(self._stage, url, seconds=seconds, headers=headers)
        if requests.get(url, headers=headers, timeout=10).status_code != 304:
            raise Failed("the catalogue changed while its 304 was measured")
        return sample

    # ── Orders ───────────────────────────────────────────────────────────────────────────────────────────

    def _order_free(self, seconds: float) -> Sample:
        """Each time another type: a buyer's second order of the same cart would be the first one again."""
        return self._order(self._scene.add_hot_type(quantity=PLENTY), seconds, wanted=201)

    def _order_sold_out(self, seconds: float) -> Sample:
        return self._order(self._none_left, seconds, wanted=409)

    def _order_with_prompt(self, seconds: float) -> Sample:
        """Each time at another price, which a phone may be asked for at once."""
        sample = self._order(self._scene.add_hot_type(quantity=PLENTY, price_kes=100 + self._turn), seconds, wanted=201)
        wait_until_settled(self._stage)
        return sample

    def _order(self, hot: HotType, seconds: float, *, wanted: int) -> Sample:
        """One place for each buyer, beginning with others than last time."""
        self._turn += 1
        first = int(self._turn * _GOLDEN * len(self._scene.buyers)) % len(self._scene.buyers)
        buyers = self._scene.buyers[first:] + self._scene.buyers[:first]
        body = json.dumps({"tickets": [{"ticket_id": hot.id, "quantity": 1}]})
        lines = self._scene.write_requests("orders.txt", [(buyer.bearer, body) for buyer in buyers])
        return wrk.post(self._stage, f"{self._stage.url}/orders", lines, seconds=seconds, wanted=wanted)

    def _scan(self, seconds: float) -> Sample:
        return wrk.post(self._stage, f"{self._stage.url}/checkin/scans", self.gate.scans(), seconds=seconds, wanted=200)

    def _book_bare(self, seconds: float) -> Sample:
        return bare.book(self._stage, self._scene, self._hot_and_bare, seconds=seconds)


def wait_until_settled(stage: Stage, *, seconds: float = 150) -> int:
    """Nothing M-PESA said waits for being understood, and no order for its money; how many do all the same.

    An order stays open, with its places held, for as long as its prompt may still be paid: minutes, where the answer to
    its push was lost. That is for the verification to look at. Raises Failed.
    """
    messages = "SELECT count(*) FROM mpesa_messages WHERE settled_at IS NULL"
    orders = "SELECT count(*) FROM orders WHERE status = 'pending'"
    give_up_at = time.monotonic() + seconds
    while (left := stage.rows(orders)[0]["count"]) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    wait_until(lambda: stage.rows(messages)[0]["count"] == 0, seconds=seconds, what="settling what M-PESA said")
    return int(left)
