"""What the worker does. Work is found in the tables, so nothing is lost with a process and any number may run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from services import (
    alerts,
    availability,
    claims,
    delivery,
    idempotency,
    limits,
    occasions,
    one_time,
    passwords,
    paybill,
    payouts,
    pulls,
    pushes,
    queries,
    reconciliation,
    refunds,
    retention,
    sessions,
    settlement,
    stock,
)
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
    #: Its own rest instead, in seconds, also after work.
    seconds: float | None = None
    #: How many run at once; each finds work of its own. While there is none, the second rests twice as long as the
    #: first, and so on: many who look for nothing are work, too.
    threads: int = 1


def expire_orders() -> int:
    """Write down that orders have expired whose time is over. Only tidies up: nobody waits for it."""
    with transaction():
        freed = stock.expire_ended_orders()
        stock.release(freed)
    return sum(freed.values())


TASKS = (
    Task("settle waiting messages", settlement.settle_waiting_messages),
    Task("send queued prompts", pushes.send_queued_prompt, threads=24),
    Task("ask about silent payments", queries.query_due_payments),
    Task("mark lost prompts", pushes.mark_lost_prompts, pauses=10),
    Task("note unheard prompts", queries.note_unheard_prompts, pauses=600),
    Task("expire orders", expire_orders, pauses=10),
    Task("look after refunds", payouts.look_after_refunds, threads=4),
    Task("refund cancelled events", refunds.refund_cancelled_events),
    Task("ask about Paybill payments", paybill.ask_about_confirmations),
    Task("pull M-PESA's list", pulls.pull_transactions, pauses=2),
    Task("report on yesterday", reconciliation.report_yesterday, pauses=60),
    Task("remove old idempotency keys", idempotency.remove_old_keys, pauses=600),
    Task("remove old sessions", sessions.remove_old, pauses=600),
    Task("remove old one-time tokens", one_time.remove_old, pauses=600),
    Task("take people out of old messages", retention.blank_old_messages, pauses=600),
    Task("forget orders of deleted accounts", retention.forget_orders_of_deleted_accounts, pauses=3600),
    Task("forget attendees without an account", retention.forget_attendees, pauses=3600),
    Task("remove ended counters", limits.remove_ended, pauses=600),
    Task("match claims", claims.match_open_claims, pauses=5),
    Task("answer who forgot a password", passwords.answer_reset_requests),
    Task("send e-mails", delivery.send_mails, pauses=5, threads=2),
    Task("send text messages", delivery.send_texts, pauses=5, threads=2),
    Task("remind ticket holders", occasions.remind_holders, pauses=60),
    Task("invite reviews", occasions.invite_reviews, pauses=600),
    Task("send alerts", alerts.send_due_alerts, pauses=5),
    Task("check the initiator's password", alerts.check_initiator_password, pauses=600),
    # At most four times a second: an announcement makes every commit wait for it, for a moment.
    Task("announce availability", availability.announce_changes, seconds=0.25),
    Task("check that callbacks come", alerts.check_silent_callbacks, pauses=60),
)


def run_forever(app: Flask, *, pause_seconds: float, stop: threading.Event) -> None:
    """Run every task in threads of its own until `stop` is set, then let the running ones finish."""
    threads = [
        threading.Thread(target=_repeat, args=(app, task, pause_seconds * number, stop), name=task.name)
        for task in TASKS
        for number in range(1, task.threads + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _repeat(app: Flask, task: Task, pause_seconds: float, stop: threading.Event) -> None:
    while not stop.is_set():
        done = run_once(app, task)
        if task.seconds is not None:
            stop.wait(task.seconds)
        elif not done:
            stop.wait(pause_seconds * task.pauses)


def run_once(app: Flask, task: Task) -> int:
    """One run of one task. What it raises is logged: the next run tries again."""
    with app.app_context():
        try:
            return task.run()
        except Exception:
            log.exception("task %r failed", task.name)
            return 0
