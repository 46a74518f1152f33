"""What the documents list is what there is, no more and no less."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import Enum
from pathlib import Path

import pytest
from flask import Blueprint, Flask

from daraja_simulator.chance import CALL_KINDS, DELIVERY_KINDS
from daraja_simulator.control import control
from daraja_simulator.daraja import daraja
from daraja_simulator.scenarios import ROWS, SCRIPTED_NUMBERS
from daraja_simulator.settings import Settings
from models import ORDER_MOVES, PAYMENT_MOVES, PaymentStatus

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its own heading and without their backticks."""
    _, found, section = (DOCS / document).read_text(encoding="utf-8").partition(f"# {heading}\n")
    assert found, heading
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert table is not None
    lines = table[1].splitlines()
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(document: str, heading: str) -> list[str]:
    """The first cells."""
    return [cells[0] for cells in rows(document, heading)]


def calls_of(blueprint: Blueprint) -> set[str]:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(blueprint)
    plain = {"GET", "POST"}
    return {f"{method} {rule.rule}" for rule in app.url_map.iter_rules() for method in plain & (rule.methods or set())}


def once(listed: list[str]) -> set[str]:
    assert len(listed) == len(set(listed))
    return set(listed)


def test_the_simulators_settings_and_their_defaults_are_in_its_table() -> None:
    once(names("simulator.md", "Settings"))
    documented = {cells[0]: cells[1] for cells in rows("simulator.md", "Settings")}
    assert documented == {
        one.name: str(one.default).removesuffix(".0") if isinstance(one.default, float) else str(one.default)
        for one in fields(Settings)
    }


def test_the_control_planes_calls_are_in_its_table() -> None:
    assert once(names("simulator.md", "The control plane")) == calls_of(control)


def test_the_apis_the_simulator_speaks_are_in_its_table() -> None:
    assert once(names("simulator.md", "What it speaks")) == calls_of(daraja)


def test_the_numbers_that_play_a_part_are_in_their_table() -> None:
    assert names("simulator.md", "Numbers that play a part") == [SCRIPTED_NUMBERS + row for row in ROWS]


def test_the_kinds_of_faults_are_in_their_table() -> None:
    assert names("simulator.md", "Faults") == [*CALL_KINDS, *DELIVERY_KINDS]


def test_all_that_can_be_tried_out_stands_where_things_go_wrong() -> None:
    tried: set[str] = set()
    for _, numbers, *_ in rows("payments.md", "When things go wrong"):
        for first, last in re.findall(r"`?(\d{3})`?(?: to `(\d{3})`?)?", numbers):
            tried |= {row for row in ROWS if first <= row <= (last or first)}
    assert tried == set(ROWS) - {"070"}, "070 is a refund that arrives"


def test_every_alert_is_explained() -> None:
    services = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "services").glob("*.py"))
    raised = set(re.findall(r'raise_alert\(\s*"(\w+)"', services))
    assert once(names("payments.md", "Alerts")) == raised


# ── States ────────────────────────────────────────────────────────────────────────────────────────────────

#: Allowed, and made by nothing.
NEVER_MADE = {("refused", "failed"), ("refund_due", "partly_refunded")}


def diagram(heading: str) -> set[tuple[str, str]]:
    """The moves of a state diagram. One out of, or into, a state with others in it is one of each of those."""
    _, _, section = (DOCS / "payments.md").read_text(encoding="utf-8").partition(f"## {heading}\n")
    drawn = section.split("```mermaid\n")[1].split("```")[0]
    arrow = r"^ *(\w+) --> (\w+)"
    inner = {
        name: sorted({state for move in re.findall(arrow, body, re.MULTILINE) for state in move})
        for name, body in re.findall(r'^ *state "[^"]*" as (\w+) \{\n(.*?)^ *\}', drawn, re.MULTILINE | re.DOTALL)
    }
    return {
        (here, there)
        for start, end in re.findall(arrow, drawn, re.MULTILINE)
        for here in inner.get(start, [start])
        for there in inner.get(end, [end])
    }


@pytest.mark.parametrize(
    ("heading", "moves"), [("States of a payment", PAYMENT_MOVES), ("States of an order", ORDER_MOVES)]
)
def test_the_state_diagrams_are_the_tables_of_moves(heading: str, moves: dict[Enum, frozenset[Enum]]) -> None:
    allowed = {(here.value, there.value) for here, onward in moves.items() for there in onward}
    assert diagram(heading) == allowed - NEVER_MADE


def test_every_status_of_a_payment_is_explained() -> None:
    assert names("payments.md", "States of a payment") == [status.value for status in PaymentStatus]
