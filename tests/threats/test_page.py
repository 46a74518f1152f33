"""The threat model and the attacks tell of the same, and the tests that the model names are there."""

from __future__ import annotations

import importlib
import pkgutil
import re

import tests.threats
from config import ROOT
from tests.threats.field import ATTACKED

PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_attack_of_the_model_is_made_and_every_one_that_is_made_is_in_the_model() -> None:
    for module in pkgutil.iter_modules(tests.threats.__path__, "tests.threats."):
        importlib.import_module(module.name)
    model = PAGE[PAGE.index("## Threat model") : PAGE.index("## Limits")]
    rows = re.findall(r"^\| (?!Attack \||---)([^|]+) \|", model, re.MULTILINE)
    assert len(rows) == len(set(rows)) > 40
    assert set(rows) == ATTACKED


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 50
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), (path, name)
