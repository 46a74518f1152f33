"""What the worker does. Work is found in the tables, so nothing is lost with a process and any number may run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from services import prompts, settlement, stock
from utils.database import transaction

log = logging.getLogger("ticksy.worker")


@dataclass(frozen=True)
class Task:
    """Something to look for; run again and again, with a pause after each time."""

    name: str
    #: Does some of the work there is and returns how much.
    run: Callable[[], int]
    #: How many times the worker's usual pause to rest.
    pauses: int = 1


def expire_orders() -> int:
    """Write down that orders have expired whose time is over. Only tidies up: nobody waits for it."""
    with transaction():
        freed = stock.expire_ended_orders()
        stock.release(freed)
    return sum(freed.values())


TASKS = (
    Task("settle waiting messages", settlement.settle_waiting_messages),
    Task("ask about silent payments", prompts.query_due_payments),
    Task("mark lost prompts", prompts.mark_lost_prompts, pauses=10),
    Task("expire orders", expire_orders, pauses=10),
)


def run_forever(app: Flask, *, pause_seconds: float, stop: threading.Event) -> None:
    """Run every task in a thread of its own until `stop` is set, then let the running ones finish."""
    threads = [
        threading.Thread(target=_repeat, args=(app, task, pause_seconds, stop), name=task.name) for task in TASKS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _repeat(app: Flask, task: Task, pause_seconds: float, stop: threading.Event) -> None:
    while not stop.is_set():
        done = run_once(app, task)
        if not done:
            stop.wait(pause_seconds * task.pauses)


def run_once(app: Flask, task: Task) -> int:
    """One run of one task. What it raises is logged: the next run tries again."""
    with app.app_context():
        try:
            return task.run()
        except Exception:
            log.exception("task %r failed", task.name)
            return 0
