"""The table of result codes: what each decides, and for whom."""

from __future__ import annotations

import pytest

from utils import mpesa_reports
from utils.mpesa_codes import CARRIED_OUT, CODES, FAILURES, IN_PROGRESS, NOT_CARRIED_OUT, SUCCESS, Code, Meaning, Said

#: Published for M-PESA Express (prompts), and known from merchants only.
OF_PROMPTS = {"1", "2", "3", "4", "8", "11", "17", "21", "26", "1001", "1019", "1025", "1031", "1032", "1037", "2001"}
OF_PROMPTS |= {"2006", "2028", "8006", "SFC_IC0003"}
REPORTED = {"1036", "1101", "1102", "2002", "2008", "2026", "9999"}
#: Published for B2C, Reversal and Transaction Status.
OF_REQUESTS = {"1", "2", "3", "4", "8", "11", "21", "2001", "2006", "2028", "2040", "8006", "R000002", "SFC_IC0003"}


def test_every_code_is_of_a_list_that_is_known() -> None:
    assert set(CODES) == OF_PROMPTS | REPORTED | OF_REQUESTS | {SUCCESS, IN_PROGRESS, "R000001"}
    assert {code for code, row in CODES.items() if row.is_reported} == REPORTED


def test_what_ends_a_prompt_and_what_ends_a_request() -> None:
    assert set(FAILURES) == OF_PROMPTS | REPORTED
    assert set(NOT_CARRIED_OUT) == OF_REQUESTS
    assert set(CARRIED_OUT) == {SUCCESS, "R000001"}


def test_nothing_known_by_hearsay_decides_about_a_payout() -> None:
    assert not [code for code, row in CODES.items() if row.is_reported and Said.REQUEST in row.said_of]


def test_no_code_says_two_things() -> None:
    assert not set(FAILURES) & {SUCCESS, IN_PROGRESS}
    assert not NOT_CARRIED_OUT & CARRIED_OUT
    assert CODES[SUCCESS].meaning is CODES["R000001"].meaning is Meaning.DONE
    assert [code for code, row in CODES.items() if row.meaning is Meaning.WAITING] == [IN_PROGRESS]


@pytest.mark.parametrize(("code", "row"), CODES.items(), ids=list(CODES))
def test_a_buyer_is_told_a_whole_sentence_without_codes(code: str, row: Code) -> None:
    assert row.sentence[0].isupper()
    assert row.sentence.endswith(".")
    assert code not in row.sentence.split() or len(code) == 1
    assert len(row.sentence) <= 120
    assert row.text


def test_those_who_read_reports_find_the_table_there_too() -> None:
    assert mpesa_reports.FAILURES is FAILURES
    assert mpesa_reports.SUCCESS == SUCCESS
