"""Target 4: what twenty log-ins a second, each of which hashes a password, do to those who read the catalogue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from benchmarks import cores, wrk
from benchmarks.client import Client, Times, Timetable
from benchmarks.endpoints import CATALOGUE
from benchmarks.scene import PASSWORD, Buyer, Scene
from benchmarks.stage import Stage

PER_SECOND = 20


def run(stage: Stage, scene: Scene, *, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """The catalogue in a closed loop, alone and then beside the log-ins, which come whatever the answers take."""
    url = stage.url + CATALOGUE
    quiet = wrk.get(stage, url, seconds=seconds)
    times = Times()
    people = scene.buyers[-round(PER_SECOND * seconds) :]
    logging_in = threading.Thread(target=_log_in_all, args=(stage.url, people, times))
    logging_in.start()
    try:
        beside = wrk.get(stage, url, seconds=seconds)
    finally:
        logging_in.join()
    told = {"quiet": quiet.as_json(), "beside_log_ins": beside.as_json(), "log_ins": times.as_json()}
    assert quiet.p99_ms
    assert beside.p99_ms
    told["p99_ratio"] = beside.p99_ms / quiet.p99_ms
    say(
        f"log-ins: p99 of the catalogue {quiet.p99_ms:.1f} ms alone, {beside.p99_ms:.1f} ms beside {PER_SECOND}/s"
        f" (times {told['p99_ratio']:.2f}); a log-in took {told['log_ins']['p50_ms']:.0f} ms (p50),"
        f" answers {told['log_ins']['answers']}"
    )
    return told


def _log_in_all(url: str, people: list[Buyer], times: Times) -> None:
    with cores.on_core(cores.MEASURING):
        asyncio.run(_log_in_in_turn(url, people, times))


async def _log_in_in_turn(url: str, people: list[Buyer], times: Times) -> None:
    client, timetable = Client(url), Timetable()

    async def log_in(person: Buyer, moment: float) -> None:
        await timetable.wait_until(moment)
        answer = await client.ask("POST", "/login", body={"email": person.email, "password": PASSWORD})
        times.note(answer, timetable.now - moment)

    await asyncio.gather(*(log_in(person, number / PER_SECOND) for number, person in enumerate(people)))
    await client.close()
