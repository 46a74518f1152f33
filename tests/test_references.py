"""References as people type them."""

from __future__ import annotations

import pytest

from utils import references, security


@pytest.mark.parametrize(
    "typed",
    [
        "7K2M0V1XQ4",
        "7k2m0v1xq4",
        " 7K2M0V1XQ4\n",
        "7K2M 0V1X Q4",
        "7K2-M0V-1XQ4",
        "7K2\u2013M0V\u20141XQ4",
        "7K2M\xa00V1XQ4",
        "7K2MOV1XQ4",
        "7k2movixq4",
        "7K2M0VLXQ4",
        "7k2m0u1xq4",
        "7k2mouixq4",
        "#7K2M0V1XQ4.",
    ],
)
def test_a_reference_is_the_same_however_it_is_typed(typed: str) -> None:
    assert references.normalise(typed) == "7K2M0V1XQ4"


@pytest.mark.parametrize("typed", ["", " ", "-", "…", "\u0667", "\u212a", "\x00", "é"])
def test_what_has_no_letter_and_no_digit_names_nothing(typed: str) -> None:
    assert references.normalise(typed) == ""


def test_other_references_stay_others() -> None:
    typed = ["7K2M0V1XQ4", "7K2M0V1XQ5", "7K2M0V1XQ", "7K2M0V1XQ44", "B", "8", "S", "5", "Z", "2"]
    assert len({references.normalise(one) for one in typed}) == len(typed)


def test_references_that_ticksy_makes_are_in_this_form_already() -> None:
    for _ in range(200):
        reference = security.new_code(10)
        assert references.normalise(reference) == reference
        assert references.normalise(reference.lower()) == reference


@pytest.mark.parametrize(
    ("text", "row_id"),
    [
        ("1", 1),
        ("007", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("9" * 5_000, None),
        ("٣", None),
        ("", None),
    ],
)
def test_an_id_is_what_a_row_can_have(text: str, row_id: int | None) -> None:
    assert references.id_in(text) == row_id
