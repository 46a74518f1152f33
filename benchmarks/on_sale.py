"""Target 3: thousands of buyers within seconds for fewer tickets, while Daraja takes its time; and twice too much."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from benchmarks import cores, verify
from benchmarks.client import quantile
from benchmarks.crowd import Crowd, Seen
from benchmarks.endpoints import CATALOGUE, PLENTY, wait_until_settled
from benchmarks.processes import wait_until
from benchmarks.scene import HotType, Scene
from benchmarks.stage import Stage

ARRIVE_WITHIN_SECONDS = 10.0
#: Of the buyers, every so-manieth abandons.
ABANDONS_EVERY = 10
READS_PER_SECOND = 20.0
_PUSH = "/mpesa/stkpush"
#: The simulator's row of a phone that is never answered.
_NO_ANSWER = "004"
_LATE_SECONDS = 0.1
#: M-PESA's list is pulled each minute here, and has a payment some time after it was made.
_MONEY_SECONDS = 240.0

Say = Callable[[str], None]


def run(
    stage: Stage, scene: Scene, *, buyers: int, tickets: int, push_seconds: float, price_kes: int, say: Say
) -> dict[str, Any]:
    """One on-sale from the first buyer to the last, and the rush for what those who abandoned leave."""
    hot = scene.add_hot_type(quantity=tickets, price_kes=price_kes)
    coming, rest = scene.buyers[:buyers], scene.buyers[buyers : buyers + tickets // 2]
    abandoning = frozenset(buyer.user_id for buyer in coming[::ABANDONS_EVERY])
    stage.start_simulator(SIM_AUTO_PAY_SECONDS=5)
    stage.register_at_simulator()
    stage.control_simulator("fault", path=_PUSH, kind="slow", count=1_000_000, delay=push_seconds)
    for buyer in coming[::ABANDONS_EVERY]:
        stage.control_simulator("script", phone=buyer.phone, row=_NO_ANSWER)
    crowd = Crowd(stage.url, hot, catalogue=CATALOGUE, abandoning=abandoning)
    with cores.on_core(cores.MEASURING), _connections_watched(stage) as connections:
        crowd.arrive(
            coming, within=ARRIVE_WITHIN_SECONDS, reads_per_second=READS_PER_SECOND, comes_back=True, polls=True
        )
    first = _stock(stage, hot)
    _let_holds_end(stage, hot)
    with cores.on_core(cores.MEASURING):
        late_comers = Crowd(stage.url, hot, catalogue=CATALOGUE)
        late_comers.arrive(rest, within=ARRIVE_WITHIN_SECONDS / 2, reads_per_second=0, comes_back=True, polls=True)
    wait_until_settled(stage)
    told = {"seconds_until_all_money_was_in": _wait_for_money(stage)}
    told |= _tell(crowd, connections)
    told |= {"buyers": buyers, "tickets": tickets, "push_seconds": push_seconds}
    told |= {"arrive_within": ARRIVE_WITHIN_SECONDS, "placed_by_second": _by_second(crowd.seen.placed_at)}
    told["callbacks"] = _callbacks(stage)
    told |= {"after_the_crowd": first, "in_the_end": _stock(stage, hot), "rest": dict(late_comers.seen.ends)}
    say(
        f"on-sale, Daraja {push_seconds} s: {told['orders_per_minute']:.0f} orders a minute,"
        f" sold {told['in_the_end']['sold']} of {tickets}, answers {told['orders']['answers']},"
        f" p95 of polls {told['polls']['p95_ms']:.0f} ms, of the catalogue {told['reads']['p95_ms']:.0f} ms"
    )
    _warn_if_late(told, say)
    return told


def overload(stage: Stage, scene: Scene, *, rate: float, seconds: float, say: Say) -> list[dict[str, Any]]:
    """Free orders of one type that come as fast as can be borne, and twice as fast."""
    steps = []
    for times in (1, 2):
        hot = scene.add_hot_type(quantity=PLENTY)
        count = min(len(scene.buyers), max(1, round(rate * times * seconds)))
        crowd = Crowd(stage.url, hot, catalogue=CATALOGUE)
        with cores.on_core(cores.MEASURING):
            crowd.arrive(scene.buyers[:count], within=seconds, reads_per_second=0, comes_back=False, polls=False)
        good = sum(moment <= seconds for moment in crowd.seen.placed_at)
        step = {"times": times, "arrivals_per_second": count / seconds, "goodput_per_second": good / seconds}
        step |= {"orders": crowd.seen.orders.as_json(), "late_p95_ms": _late_ms(crowd)}
        steps.append(step)
        say(
            f"overload x{times}: {step['arrivals_per_second']:.0f} arrivals and {step['goodput_per_second']:.0f} orders"
            f" a second, answers {step['orders']['answers']}"
        )
        _warn_if_late(step, say)
        wait_until_settled(stage)
    return steps


def _tell(crowd: Crowd, connections: list[int]) -> dict[str, Any]:
    seen: Seen = crowd.seen
    placed = sorted(seen.placed_at)
    # From the first to the last: how fast they were served, whatever came before or after.
    lasted = placed[-1] if placed else 0.0
    rate = len(placed) / lasted if lasted else 0.0
    return {
        "orders": seen.orders.as_json(),
        "polls": seen.polls.as_json(),
        "reads": seen.reads.as_json(),
        "ends": dict(seen.ends),
        "placed": len(placed),
        "seconds_to_last_order": round(lasted, 2),
        "orders_per_second": round(rate, 2),
        "orders_per_minute": round(rate * 60),
        "most_connections": max(connections, default=0),
        "late_p95_ms": _late_ms(crowd),
    }


def _callbacks(stage: Stage) -> dict[str, int]:
    """How what the simulator posted was received: it waits ten seconds, as Safaricom does, and never posts again."""
    with closing(sqlite3.connect(f"file:{stage.ledgers[-1]}?mode=ro", uri=True, timeout=30)) as books:
        query = "SELECT coalesce(CAST(status AS TEXT), error), count(*) FROM deliveries GROUP BY 1"
        return dict(books.execute(query).fetchall())


def _wait_for_money(stage: Stage) -> float:
    """Seconds until what phones paid was all known here, 240 at most."""
    began = time.monotonic()
    while not verify.is_money_in(stage.plain_url, stage.ledgers[-1]) and time.monotonic() - began < _MONEY_SECONDS:
        time.sleep(1)
    return round(time.monotonic() - began, 1)


def _by_second(moments: list[float]) -> list[int]:
    counts = Counter(int(moment) for moment in moments)
    return [counts[second] for second in range(max(counts, default=-1) + 1)]


def _late_ms(crowd: Crowd) -> float:
    return round(quantile(crowd.timetable.late, 0.95) * 1000, 1)


def _warn_if_late(told: dict[str, Any], say: Say) -> None:
    if told["late_p95_ms"] > _LATE_SECONDS * 1000:
        say(f"WARNING: the generator itself was late by {told['late_p95_ms']:.0f} ms (p95): these figures are too bad")


def _stock(stage: Stage, hot: HotType) -> dict[str, int]:
    [row] = stage.rows("SELECT sold, held, quantity FROM ticket_types WHERE id = %s", (hot.id,))
    return row


def _let_holds_end(stage: Stage, hot: HotType) -> None:
    """Minutes pass: what was held for those who abandoned is free again, once their prompts are over."""
    open_prompts = """SELECT count(*) AS left FROM payments p JOIN orders o ON o.id = p.order_id
        WHERE o.event_id = %s AND p.status IN ('queued', 'submitting', 'prompted')"""
    wait_until(
        lambda: stage.rows(open_prompts, (hot.event_id,))[0]["left"] == 0, seconds=180, what="the end of all prompts"
    )
    stage.rows("UPDATE orders SET expires_at = now() WHERE event_id = %s AND status = 'pending'", (hot.event_id,))


@contextmanager
def _connections_watched(stage: Stage) -> Iterator[list[int]]:
    """How many connections Ticksy has to the database, looked at twice a second."""
    found: list[int] = []
    over = threading.Event()
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ticksy'"

    def watch() -> None:
        while not over.wait(0.5):
            found.append(stage.rows(query)[0]["count"])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
