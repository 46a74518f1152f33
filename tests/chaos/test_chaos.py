"""Chaos in short, and what the referee makes of a shop that has lost one of its rules."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from config import ROOT
from tests.chaos.run import Plan, run

#: Neither installed things nor what a run leaves behind.
LEFT_OUT = shutil.ignore_patterns(".*", "instance", "tests", "docs", "__pycache__")


def test_under_every_fault_and_some_kills_nothing_is_lost_free_double_or_oversold(tmp_path: Path) -> None:
    outcome = run(Plan(purchases=60, kills=5, speed=60, settle_seconds=240), tmp_path, print)
    assert outcome.findings.is_clean, str(outcome.findings)
    assert (outcome.unsettled, outcome.errors) == ({}, [])
    assert outcome.placed >= 60
    assert sum(outcome.kills.values()) == 5
    assert outcome.findings.ticketed > 0
    assert outcome.findings.unpaid > 0


#: By rule: how to take it out of a copy of the code, and out of the database.
RULES: dict[str, tuple[list[tuple[str, str, str]], str]] = {
    "the order's row lock": (
        [
            ("services/locks.py", '== given("order_id")).with_for_update(key_share=True))', '== given("order_id")))'),
            ("services/locks.py", "from sqlalchemy import Text", "import time\n\nfrom sqlalchemy import Text"),
            (
                # Who is no longer kept out has time to come.
                "services/locks.py",
                "    return db.session.scalars(query).unique().one()\n",
                "    order = db.session.scalars(query).unique().one()\n    time.sleep(0.3)\n    return order\n",
            ),
        ],
        "",
    ),
    "a receipt serves once": (
        [
            (
                "services/locks.py",
                "    owner = _OWNER_OF_RECEIPT.row(receipt=receipt)\n",
                "    owner = None\n",
            ),
            (
                "services/paybill.py",
                "select(Payment).where(Payment.receipt.in_(named))",
                "select(Payment).where(Payment.id < 0)",
            ),
        ],
        "ALTER TABLE payments DROP CONSTRAINT payments_receipt_key",
    ),
}


_TRIES = 4


@pytest.mark.parametrize("rule", RULES)
def test_the_referee_sees_when_a_rule_is_missing(tmp_path: Path, rule: str) -> None:
    changes, spoiling = RULES[rule]
    copy = Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT))
    for name, with_rule, without in changes:
        text = (copy / name).read_text()
        assert text.count(with_rule) == 1, name
        (copy / name).write_text(text.replace(with_rule, without))
    # Five callbacks at once, or a callback together with a confirmation. Not every race is lost.
    for seed in range(_TRIES):
        (folder := tmp_path / f"run {seed}").mkdir()
        plan = Plan(
            60,
            kills=0,
            seed=str(seed),
            speed=60,
            settle_seconds=15,
            supply=3,
            rows=("022", "033"),
            root=copy,
            spoiling=spoiling,
        )
        findings = run(plan, folder, print).findings
        if findings.free or findings.double or findings.miscounted:
            return
    # What is lost yet may only be late.
    pytest.fail(f"The referee saw nothing: {findings}")
