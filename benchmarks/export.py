"""Target 6: a big export beside what PostgreSQL itself can copy out, and the memory it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import requests

from benchmarks import cores
from benchmarks.processes import Failed
from benchmarks.scene import Scene
from benchmarks.stage import SERVER, Stage
from utils.postgres_programs import programs_for

#: What the export shows, of all tickets of one event at once.
_COPY = """\\copy (SELECT k.code, k.first_name, k.last_name, k.email, k.phone, t.name, k.price_kes, o.reference,
(SELECT p.receipt FROM payments p WHERE p.order_id = o.id AND p.status = 'paid'
ORDER BY coalesce(p.paid_at, p.created_at), p.id LIMIT 1), k.issued_at, k.checked_in_at IS NOT NULL, k.checked_in_at
FROM tickets k JOIN orders o ON o.id = k.order_id JOIN ticket_types t ON t.id = k.ticket_type_id
WHERE t.event_id = {event_id} AND k.status <> 'void' ORDER BY k.ticket_type_id, k.id) TO STDOUT (FORMAT csv)"""


def run(stage: Stage, scene: Scene, *, rows: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Both in turn, several times, after one that does not count."""
    hot = scene.add_hot_type(quantity=rows)
    scene.add_tickets(hot, rows)
    _export(stage, scene, hot.event_id, rows)
    tries = []
    for _ in range(rounds):
        copied = _copy(stage, hot.event_id, rows)
        exported, growth_mb = _export(stage, scene, hot.event_id, rows)
        tries.append({"copy_seconds": copied, "export_seconds": exported, "growth_mb": growth_mb})
        say(f"export of {rows}: {exported:.1f} s, psql copies in {copied:.2f} s, {growth_mb:.1f} MB more memory")
    return {"rows": rows, "tries": tries}


def _copy(stage: Stage, event_id: int, rows: int) -> float:
    psql = programs_for(stage.folder / "data").folder / "psql"
    query = " ".join(_COPY.format(event_id=event_id).split("\n"))
    began = time.perf_counter()
    told = stage.measure_with(str(psql), "-X", "-q", stage.plain_url, "-c", query)
    took = time.perf_counter() - began
    if told.count("\n") != rows:
        raise Failed(f"psql copied {told.count(chr(10))} rows of {rows}")
    return took


def _export(stage: Stage, scene: Scene, event_id: int, rows: int) -> tuple[float, float]:
    """Seconds, and by how much the server's memory grew at its worst, in MB."""
    address = f"{stage.url}/events/{event_id}/attendees/export?format=csv"
    before, most, over = sum(stage.memory_mb(SERVER)), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], sum(stage.memory_mb(SERVER)) - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with cores.on_core(cores.MEASURING):
            began, lines = time.perf_counter(), 0
            with requests.get(address, headers={"Authorization": scene.organizer}, stream=True, timeout=300) as answer:
                answer.raise_for_status()
                for piece in answer.iter_content(64 * 1024):
                    lines += piece.count(b"\n")
            took = time.perf_counter() - began
    finally:
        over.set()
        thread.join()
    if lines != rows + 1:
        raise Failed(f"the export has {lines} lines, and should have {rows + 1}")
    return took, most[0]
