"""References that people type: forgiving about case, blanks and the letters people confuse."""

from __future__ import annotations

#: A bigint's.
BIGGEST_ID = 2**63 - 1
_CONFUSED = str.maketrans("OILU", "011V")


def normalise(text: str) -> str:
    """The reference as it was made: capital letters and digits of Crockford's base32, whatever was typed.

    O is taken for zero, I and L for one, U for V; what is neither letter nor digit does not count.
    """
    return "".join(char for char in text.upper() if char.isascii() and char.isalnum()).translate(_CONFUSED)


def grouped(text: str, group: int = 4) -> str:
    """The same with a dash after every `group`, as codes of tickets are kept."""
    plain = normalise(text)
    return "-".join(plain[start : start + group] for start in range(0, len(plain), group))


def id_in(text: str) -> int | None:
    """The row's id that the text is; None when no row can have it."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(BIGGEST_ID))):
        return None
    return number if (number := int(text)) <= BIGGEST_ID else None
