"""One run: open the stage, let the crowd in, kill at random, let everything settle, ask the referee."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

from app import create_app
from config import ROOT, load
from daraja_simulator.scenarios import ROWS
from tests.chaos import referee
from tests.chaos.buyers import Crowd, Offer, Operator, Person, Server, may_be_taken_back
from tests.chaos.referee import Findings
from tests.chaos.stage import DATABASE, SIMULATOR, VICTIMS, WEB, WORKER, Stage
from tests.support import Maker
from utils.database import db

_BUYERS_AT_ONCE = 32
_EVENTS = 6


@dataclass(frozen=True)
class Plan:
    purchases: int
    kills: int
    speed: float = 30
    seed: str = "1"
    #: How long everything may take to settle.
    settle_seconds: float = 600
    #: Of what the crowd wants, so much is on sale: late money must sometimes find no place.
    supply: float = 0.6
    #: What phones do, as the simulator numbers it, that do nothing ordinary.
    rows: Sequence[str] = tuple(ROWS)
    #: Whose code is run, and what is done to its database first: to see what happens without a rule.
    root: Path = ROOT
    spoiling: str = ""


@dataclass(frozen=True)
class Outcome:
    findings: Findings
    placed: int
    kills: dict[str, int]
    #: 5xx answers that no kill explains.
    errors: list[str]
    #: What had still not settled at the end.
    unsettled: dict[str, int]
    sent_back: int
    retried: int
    sent_by_hand: int
    seconds: float


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Everything, in the calling thread and in threads of its own."""
    started = time.monotonic()
    stage = Stage(folder, root=plan.root, speed=plan.speed, seed=plan.seed)
    try:
        stage.migrate()
        if plan.spoiling:
            _execute(stage, plan.spoiling)
        crowd = _furnish(stage, plan)
        stage.open()
        say(f"open: {len(crowd.people)} buyers, {len(crowd.offers)} ticket types")
        director = _Director(stage, crowd, plan, say)
        director.play()
        operator = Operator(crowd.ticksy, crowd.daraja, crowd.admin)
        unsettled = director.let_settle(operator)
        findings = referee.judge(stage.ledger, stage.database_url)
        return Outcome(
            findings=findings,
            placed=director.orders(),
            kills=dict(stage.kills),
            errors=crowd.errors,
            unsettled=unsettled,
            sent_back=operator.sent_back,
            retried=operator.retried,
            sent_by_hand=operator.sent_by_hand,
            seconds=time.monotonic() - started,
        )
    finally:
        stage.close()


def _furnish(stage: Stage, plan: Plan) -> Crowd:
    """People and events, made through the services before anything runs."""
    app = create_app(load(stage.environment))
    make = Maker(app)
    organizer, admin = make.organizer(), make.admin()
    each = max(4, int(plan.purchases * 1.8 * plan.supply / _EVENTS / 2))
    offers = []
    for number in range(_EVENTS):
        event = make.event(organizer, title=f"Night {number}", refund_until_hours=0)
        for name, price in (("Regular", 300 + 100 * number), ("VIP", 1_000 + 100 * number)):
            offers.append(Offer(make.ticket_type(event, name=name, price=price, quantity=each).id, price))
    buyers = [make.attendee() for _ in range(min(240, plan.purchases))]
    people = [Person(user.phone, make.headers(user)) for user in buyers]
    ticksy, daraja = Server(stage.url), Server(stage.simulator_url)
    crowd = Crowd(ticksy, daraja, people, offers, Person(admin.phone, make.headers(admin)), plan.rows)
    with app.app_context():
        db.engine.dispose()
    return crowd


def _execute(stage: Stage, statement: str) -> list[dict[str, Any]]:
    url = make_url(stage.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []


class _Director:
    def __init__(self, stage: Stage, crowd: Crowd, plan: Plan, say: Callable[[str], None]) -> None:
        self._stage, self._crowd, self._plan, self._say = stage, crowd, plan, say
        self._dice = Random(plan.seed)
        self._victims: list[str] = []
        self._began = time.monotonic()

    # ── The crowd and the kills ──────────────────────────────────────────────────────────────────────────

    def play(self) -> None:
        """Until enough orders were placed and enough was killed."""
        over = threading.Event()
        with ThreadPoolExecutor(_BUYERS_AT_ONCE) as pool:
            buyers = [pool.submit(self._shop, over, number) for number in range(_BUYERS_AT_ONCE)]
            try:
                self._kill_meanwhile(buyers)
            finally:
                over.set()
            for buyer in buyers:
                buyer.result()

    def _shop(self, over: threading.Event, number: int) -> None:
        dice = Random(f"{self._plan.seed} {number}")
        while not over.is_set():
            self._crowd.buy(dice)

    def _kill_meanwhile(self, buyers: list[Future[None]]) -> None:
        kills, next_kill, next_word = 0, self._pause(), time.monotonic()
        down: dict[str, float] = {}
        has_cancelled = False
        while kills < self._plan.kills or len(self._crowd.placed) < self._plan.purchases or down:
            now = time.monotonic()
            if now >= next_word:
                self._say(self._word())
                next_word = now + 5
            # As many purchases as kills, so that neither runs out before the other.
            is_time = now >= next_kill and len(self._crowd.placed) * self._plan.kills >= kills * self._plan.purchases
            if kills < self._plan.kills and is_time:
                victim = self._draw_victim(down)
                self._stage.kill(victim, self._dice)
                down[victim] = now + self._dice.choice([0, 0.5, 2, 4])
                kills, next_kill = kills + 1, self._pause()
            for name in [name for name, until in down.items() if now >= until]:
                self._stage.start(name)
                del down[name]
            if len(self._crowd.placed) > self._plan.purchases / 2 and not has_cancelled:
                has_cancelled = self._cancel_an_event()
            if self._dice.random() < 0.02:
                self._take_money_back()
            assert not self._stage.died(), f"ended by itself: {self._stage.died()}"
            for buyer in buyers:
                if buyer.done():
                    buyer.result()  # raises what ended it
            time.sleep(0.1)
        self._stage.wait_until_ready()

    def _draw_victim(self, down: Collection[str]) -> str:
        """One that is up; each has its turn, in whatever order, before any has another."""
        if not set(self._victims) - set(down):
            self._victims = self._dice.sample(VICTIMS, len(VICTIMS))
        victim = next(one for one in self._victims if one not in down)
        self._victims.remove(victim)
        return victim

    def _pause(self) -> float:
        return time.monotonic() + self._dice.uniform(1, 6)

    def _cancel_an_event(self) -> bool:
        """The first one, with all its orders."""
        answer = self._crowd.ticksy.ask_once("GET", "/admin/orders?per_page=1", headers=self._crowd.admin.headers)
        if answer is None or not answer.ok or not answer.json():
            return False
        event_id = answer.json()[0]["event"]["id"]
        answer = self._crowd.ticksy.ask_once(
            "POST", f"/events/{event_id}/cancel", headers=self._crowd.admin.headers, json={}
        )
        return answer is not None and answer.ok

    def _take_money_back(self) -> None:
        """Safaricom reverses somebody's payment, and tells nobody."""
        seen = self._crowd.daraja.ask_once("GET", "/__sim__/ledger", timeout=5)
        paid = seen.json()["transactions"] if seen is not None and seen.ok else []
        fit = [one for one in paid if one["kind"] in ("stk", "c2b") and may_be_taken_back(one["reference"] or "")]
        if fit:
            receipt = self._dice.choice(fit)["receipt"]
            self._crowd.daraja.ask_once("POST", "/__sim__/reverse", json={"receipt": receipt}, timeout=5)

    def _word(self) -> str:
        passed = int(time.monotonic() - self._began)
        kills = ", ".join(f"{name} {self._stage.kills[name]}" for name in (WEB, WORKER, SIMULATOR, DATABASE))
        orders = f"{len(self._crowd.placed)} of {self._plan.purchases} orders"
        return f"{passed // 60:02d}:{passed % 60:02d}  {orders}; killed: {kills}"

    # ── Settling ─────────────────────────────────────────────────────────────────────────────────────────

    def let_settle(self, operator: Operator) -> dict[str, int]:
        """Wait until nothing moves any more, an operator doing what is an operator's; what still does at the end."""
        give_up_at = time.monotonic() + self._plan.settle_seconds
        quiet_since: float | None = None
        left: dict[str, int] = {}
        said = ""
        while time.monotonic() < give_up_at:
            left = self._unsettled()
            words = ", ".join(f"{count} {name}" for name, count in left.items() if count) or "quiet"
            if words != said:
                self._say(f"settling: {words}")
            said = words
            if not any(left.values()):
                # Once more after the list of transactions was read: it may have brought something.
                if quiet_since is not None and self._has_pulled_since(quiet_since):
                    break
                quiet_since = quiet_since or time.time()
            else:
                quiet_since = None
            operator.work_through()
            time.sleep(2)
        return {name: count for name, count in left.items() if count}

    def _unsettled(self) -> dict[str, int]:
        counts = self._query(_UNSETTLED)[0]
        counts["simulator's plans"] = self._simulator_plans()
        return counts

    def orders(self) -> int:
        return int(self._query("SELECT count(*) AS count FROM orders")[0]["count"])

    def _has_pulled_since(self, moment: float) -> bool:
        query = f"SELECT count(*) AS count FROM mpesa_line WHERE pulled_until > to_timestamp({moment})"
        return bool(self._query(query)[0]["count"])

    def _simulator_plans(self) -> int:
        return int(self._crowd.daraja.ask("GET", "/__sim__/state", timeout=30).json()["planned"])

    def _query(self, query: str) -> list[dict[str, Any]]:
        return _execute(self._stage, query)


#: Forged confirmations stay unconfirmed, and prompts nobody ever heard of unknown, for hours: neither is money.
_UNSETTLED = """
SELECT (SELECT count(*) FROM mpesa_messages WHERE settled_at IS NULL AND channel <> 'c2b') AS "messages",
       (SELECT count(*) FROM orders WHERE status = 'pending') AS "open orders",
       (SELECT count(*) FROM payments WHERE status IN ('queued', 'submitting')) AS "unsent prompts",
       (SELECT count(*) FROM payments WHERE status = 'quarantined' AND refunded_kes = 0) AS "payments in quarantine",
       (SELECT count(*) FROM payments WHERE status = 'paid' AND receipt IS NULL) AS "payments without receipt",
       (SELECT count(*) FROM refunds WHERE status <> 'done') AS "refunds",
       (SELECT count(*) FROM orders o JOIN events e ON e.id = o.event_id
        WHERE e.status = 'cancelled' AND o.status IN ('paid', 'partly_refunded') AND o.total_kes > 0)
       AS "orders of cancelled events"
"""
