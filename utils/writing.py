"""Text as it is drawn where nothing shapes it: Arabic letters joined, right-to-left words turned round.

fpdf2 leaves this to HarfBuzz: a compiled library, which for a name now and then is much. Unicode knows the forms.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from fpdf.bidi import BidiParagraph

#: How a letter looks alone, and where it begins, ends or continues a word.
_FORMS = ("<isolated>", "<initial>", "<final>", "<medial>")
#: Marks stand on letters and part none; the stretcher joins on both sides.
_MARKS, _STRETCHER = "[\u064b-\u065f\u0670]", "\u0640"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LAM_ALEF = re.compile("\u0644[\u0622\u0623\u0625\u0627]")


def join(text: str) -> str:
    """With each Arabic letter in the form that its neighbours ask for, in the order it is read."""
    text = unicodedata.normalize("NFC", text)
    if not _RIGHT_TO_LEFT.search(text):
        return text
    letters = _letters(text)
    joined = []
    for at, letter in enumerate(letters):
        before = next((one for one in reversed(letters[:at]) if not re.fullmatch(_MARKS, one)), "")
        after = next((one for one in letters[at + 1 :] if not re.fullmatch(_MARKS, one)), "")
        is_joined = (_joins_next(before) and _joins_last(letter), _joins_next(letter) and _joins_last(after))
        form = {(False, False): 0, (False, True): 1, (True, False): 2, (True, True): 3}[is_joined]
        joined.append(_forms().get((letter, _FORMS[form]), letter))
    return "".join(joined)


def turn(line: str) -> str:
    """A line that was joined, in the order it is drawn from the left."""
    return BidiParagraph(line).get_reordered_string() if _RIGHT_TO_LEFT.search(line) else line


def _letters(text: str) -> list[str]:
    """Letters, of which lam and alef together are one."""
    letters, at = [], 0
    while at < len(text):
        length = 2 if _LAM_ALEF.match(text, at) else 1
        letters.append(text[at : at + length])
        at += length
    return letters


def _joins_next(letter: str) -> bool:
    return letter == _STRETCHER or (letter, "<initial>") in _forms()


def _joins_last(letter: str) -> bool:
    return letter == _STRETCHER or (letter, "<final>") in _forms()


@cache
def _forms() -> dict[tuple[str, str], str]:
    """(letter, form) of Unicode's Arabic presentation forms."""
    forms: dict[tuple[str, str], str] = {}
    for code in (*range(0xFB50, 0xFDFE), *range(0xFE70, 0xFEFD)):
        kind, *parts = unicodedata.decomposition(chr(code)).split() or [""]
        letter = "".join(chr(int(part, 16)) for part in parts)
        if kind in _FORMS and (len(letter) == 1 or _LAM_ALEF.fullmatch(letter)):
            forms.setdefault((letter, kind), chr(code))
    return forms
