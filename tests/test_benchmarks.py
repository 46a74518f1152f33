"""The benchmark itself: it finds what is wrong after a run, figures as it says, and still fits the code."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from benchmarks import crowd, on_sale, report, rounds, scene, statements, targets, verify
from benchmarks.client import quantile
from benchmarks.endpoints import FREE, FRESH, SOLD_OUT, wait_until_settled
from benchmarks.gate import Gate
from benchmarks.scene import Scene
from benchmarks.stage import Stage
from benchmarks.wrk import Sample
from config import ROOT, Settings
from daraja_simulator.store import SCHEMA
from tests.daraja.process import Simulator
from tests.support import Maker

# ── Verifying ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ledger(tmp_path: Path, make: Maker) -> Path:
    """The simulator's money of an order that is paid, beside one that is open."""
    order = make.paid_order(quantity=2)
    make.order(make.attendee())
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as books, books:
        books.executescript(SCHEMA)
        note(books, order.receipt or "", order.total_kes)
    return path


def note(books: sqlite3.Connection, receipt: str, amount: int) -> None:
    row = (receipt, "stk", "254700000000", amount, "2026-11-24")
    books.execute("INSERT INTO transactions (receipt, kind, phone, amount, at) VALUES (?, ?, ?, ?, ?)", row)


@pytest.fixture
def connection(database_url: str, ledger: Path) -> Iterator[Any]:
    """What a test does to the database is undone."""
    with closing(psycopg2.connect(plain(database_url))) as connection:
        yield connection
        connection.rollback()


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


SPOILT = {
    "more sold and held than there is": """
        ALTER TABLE ticket_types DROP CONSTRAINT not_oversold; UPDATE ticket_types SET quantity = 1 WHERE sold = 2""",
    "more tickets than places": """
        ALTER TABLE ticket_types DROP CONSTRAINT not_oversold; UPDATE ticket_types SET quantity = 1 WHERE sold = 2""",
    "sold is not what there are tickets of": "UPDATE ticket_types SET sold = sold + 1 WHERE sold = 2",
    "held is not what open orders want": "UPDATE ticket_types SET held = held - 1 WHERE held > 0",
    "paid, but not with its tickets": "DELETE FROM tickets WHERE id = (SELECT max(id) FROM tickets)",
    "tickets of an order that is not paid": "UPDATE orders SET status = 'failed' WHERE status = 'paid'",
    "paid without the money": "UPDATE payments SET status = 'failed' WHERE status = 'paid'",
    "money without tickets or a refund": "UPDATE orders SET status = 'expired' WHERE status = 'paid'",
    "a refund that is due, but not on its way": "UPDATE orders SET status = 'refund_due' WHERE status = 'paid'",
}


def test_each_check_finds_what_it_is_for(connection: Any, ledger: Path) -> None:
    assert SPOILT.keys() == verify.CHECKS.keys()
    assert verify.find_faults(connection, [ledger]) == []
    for name, spoiling in SPOILT.items():
        with connection.cursor() as cursor:
            cursor.execute(spoiling)
        found = verify.find_faults(connection, [ledger])
        connection.rollback()
        assert any(fault.startswith(f"{name}: ") for fault in found), name


def test_money_is_held_against_the_ledger(connection: Any, ledger: Path) -> None:
    [fault] = verify.find_faults(connection, [])
    assert fault.startswith("paid with money that never came: ")
    with closing(sqlite3.connect(ledger)) as books, books:
        note(books, "UKZ0000001", 700)
    assert verify.find_faults(connection, [ledger]) == [
        "money that came and was not taken in: UKZ0000001, KES 700, is unknown here with KES 0"
    ]


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def sample(rate: float) -> Sample:
    return Sample(rate, p50_ms=1.0, p99_ms=2.0)


def test_a_ratio_is_to_the_yardstick_of_its_own_round() -> None:
    played = [
        {"hello": sample(1000), "event": sample(500)},
        {"hello": sample(100), "event": sample(40)},
        {"hello": sample(10), "event": sample(9)},
    ]
    found = rounds.summarise(played)["event"]
    assert (found.ratio_least, found.ratio, found.ratio_most) == (0.4, 0.5, 0.9)
    assert found.rate == 40
    assert rounds.ratio_between(played, "hello", "event") == 2


def test_a_quantile_is_a_value_that_was_seen() -> None:
    assert [quantile(range(1, 101), part) for part in (0.5, 0.95, 0.99)] == [51, 96, 100]
    assert quantile([], 0.95) == 0


def test_an_answer_that_is_no_honest_503_counts_as_dishonest() -> None:
    answers = {"201": 5, "409 sold_out": 4, "503 busy": 3}
    assert targets.dishonest(answers) == 0
    assert targets.dishonest(answers | {"500 internal": 2, "no answer": 1, "503 busy without Retry-After": 1}) == 4


# ── The report ────────────────────────────────────────────────────────────────────────────────────────────────────


def results() -> dict[str, Any]:
    """Of a small run, as it is stored."""
    played = [{name: sample(300).as_json() for name in ("hello", SOLD_OUT, *targets.RATIOS)}]
    median = {"rate": 300.0, "ratio": 1.0, "ratio_least": 0.9, "ratio_most": 1.1, "p50_ms": 1.0, "p99_ms": None}
    times = {"count": 10, "p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "answers": {"201": 9, "500": 1}}
    sale = {"orders": times, "polls": times, "reads": times, "tickets": 9, "buyers": 10, "push_seconds": 1.5}
    sale |= {"in_the_end": {"sold": 9}, "orders_per_second": 240.0, "orders_per_minute": 14400, "most_connections": 12}
    sale["callbacks"] = {"200": 9}
    stored = {
        "kind": "short",
        "started_at": "2026-11-28T01:00:00+00:00",
        "commit": "0123456",
        "has_changes": False,
        "machine": {"cores": 2, "processor": "any", "is_pinned": True, "load_at_start": 0.1},
        "chosen": {"RATELIMIT_ENABLED": "false"},
        "settings": {"WEB_WORKERS": 2, "DATABASE_POOL": 16},
        "verdicts": [{"after": "endpoints", "count": 0, "faults": []}],
        "statements": {FRESH: 3, "event": 2, "availability": 1},
        "rounds": played,
        "medians": dict.fromkeys(played[0], median),
        "on_sale": [sale, sale],
        "growth": {
            "axis": "orders",
            "requests": {
                "list": {"points": [[1_000, 5.0], [10_000, 5.5]], "slope": 0.04},
                "dashboard": {"points": [[1_000, 20.0], [10_000, 340.0]], "slope": 1.23},
            },
        },
    }
    return json.loads(json.dumps(stored))  # type: ignore[no-any-return]


def test_the_report_says_what_was_reached_missed_and_not_measured() -> None:
    table = report.render([results()])
    assert f"| 1 | `{FRESH}`, ratio to `hello` | ≥ 0.25 | 1.000 ✓ |" in table
    assert "| 1 | `events`, ratio to `hello` | ≥ 1.5 | 1.000 **missed** |" in table
    assert "| 3 | answers that are faults, or no honest 503 | 0 | 6 **missed** |" in table
    assert "| 3 | orders a second to those of a closed loop | ≥ 0.8 | 0.80 ✓ |" in table
    assert "| 6 | slowest report over the most orders there were, warm | < 300 ms | 340 ms **missed** |" in table
    assert "| dashboard | 20.0 | 340.0 | +1.23 |" in table
    assert "| 8 | start-up | < 2 s | - |" in table
    assert "agreed after every part" in table


def test_faults_stand_in_the_report() -> None:
    run = results()
    run["verdicts"][0]["count"] = 3
    assert "**3 faults**" in report.render([run])


def test_the_page_has_the_marks_that_results_go_between() -> None:
    page = report.PAGE.read_text()
    replaced = report.replace_results(page, "NEW")
    assert "NEW" in replaced
    assert report.replace_results(replaced, "NEWER").count("NEW") == 1
    with pytest.raises(ValueError, match="marks"):
        report.replace_results("no marks", "NEW")


# ── Still fitting the code ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stage(tmp_path: Path, settings: Settings, simulator: Simulator) -> Stage:
    """Programs that run already, and the tests' own database."""
    stage = Stage.__new__(Stage)
    stage.folder, stage.ledgers, stage.environment = tmp_path, [tmp_path / "empty.sqlite"], {}
    with closing(sqlite3.connect(stage.ledgers[0])) as books:
        books.executescript(SCHEMA)
    stage.database_url, stage.url = settings.DATABASE_URL, f"http://127.0.0.1:{settings.PORT}"
    stage.simulator_url = simulator.url
    stage.start_simulator = lambda **_: None  # type: ignore[method-assign]
    stage.register_at_simulator = lambda: None  # type: ignore[method-assign]
    return stage


@pytest.fixture
def furnished(monkeypatch: pytest.MonkeyPatch, app: Flask, stage: Stage) -> Scene:
    monkeypatch.setattr(scene, "load", lambda _: None)
    monkeypatch.setattr(scene, "create_app", lambda _: app)
    return Scene(stage, buyers=30)


def test_the_scene_is_one_that_the_code_works_with(furnished: Scene, stage: Stage) -> None:
    counts = statements.count(furnished)
    assert 1 <= counts[FRESH] <= 3
    assert counts[FREE] > 1
    gate = Gate(furnished, tickets=4)
    assert gate.verify_offline(seconds=0.01)["verified_per_second"] > 0
    bearer, body = gate.scans().read_text().splitlines()[0].split("\t")
    answer = furnished.app.test_client().post(
        "/checkin/scans", data=body, headers={"Authorization": bearer, "Content-Type": "application/json"}
    )
    assert [one["result"] for one in answer.get_json()["results"]] == ["ok"]
    assert verify.judge(stage.plain_url, []) == []


def test_an_on_sale_sells_all_there_is_and_no_more(
    monkeypatch: pytest.MonkeyPatch, furnished: Scene, stage: Stage, simulator: Simulator
) -> None:
    monkeypatch.setattr(crowd, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(on_sale, "ARRIVE_WITHIN_SECONDS", 0.5)
    said: list[str] = []
    told = on_sale.run(stage, furnished, buyers=20, tickets=8, push_seconds=0.1, price_kes=500, say=said.append)
    assert told["in_the_end"] == {"sold": 8, "held": 0, "quantity": 8}
    assert sum(told["ends"].values()) == told["orders"]["count"] == 20
    assert told["ends"]["409 sold_out"] == 20 - told["placed"]
    assert sum(told["placed_by_second"]) == told["placed"] == 8
    assert told["polls"]["count"] > 0
    assert told["reads"]["answers"].keys() == {"200"}
    assert told["most_connections"] > 0
    assert "sold 8 of 8" in said[0]
    wait_until_settled(stage)
    with closing(psycopg2.connect(stage.plain_url)) as connection:
        faults = verify.find_faults(connection, [])
    # The money is in the simulator's own ledger, which the tests share.
    assert {fault.partition(":")[0] for fault in faults} == {"paid with money that never came"}
    assert len(faults) == 8


def test_the_yardstick_is_the_flask_that_is_locked() -> None:
    locked = json.loads((ROOT / "Pipfile.lock").read_text())["default"]["flask"]["version"]
    assert f"flask{locked}\n" in (ROOT / "benchmarks" / "requirements.txt").read_text()
