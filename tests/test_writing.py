"""Text for paper, where nothing joins or turns letters round but we."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import writing


@pytest.mark.parametrize(
    ("read", "joined"),
    [
        ("\u0645\u062d\u0645\u062f", "\ufee3\ufea4\ufee4\ufeaa"),  # Muhammad: begins, continues, ends
        ("\u0633\u0644\u0627\u0645", "\ufeb3\ufefc\ufee1"),  # salaam: lam and alef are one
        ("\u0627\u0644\u0623\u0645\u0644", "\ufe8d\ufef7\ufee3\ufede"),  # al-amal: alef joins nothing after it
        ("\u0645\u064f\u062d", "\ufee3\u064f\ufea2"),  # a mark parts nothing
        ("\u0628\u0640\u0628", "\ufe91\u0640\ufe90"),  # the stretcher joins
        ("Wanjiku\u0303", "Wanjik\u0169"),
    ],
)
def test_letters_take_the_form_that_their_neighbours_ask_for(read: str, joined: str) -> None:
    assert writing.join(read) == joined


def test_words_from_right_to_left_are_turned_round_and_others_stay() -> None:
    assert writing.turn("Amina \ufecb\ufee4\ufeae") == "Amina \ufeae\ufee4\ufecb"
    assert writing.turn("\u05e9\u05e8\u05d4 12") == "12 \u05d4\u05e8\u05e9"
    assert writing.turn("Njeri Mwangi") == "Njeri Mwangi"


@given(st.text())
def test_no_text_breaks_it_or_loses_a_letter(text: str) -> None:
    joined = writing.join(text)
    assert unicodedata.normalize("NFKC", joined) == unicodedata.normalize("NFKC", text)
    writing.turn(joined)
