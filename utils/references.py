"""References that people type: forgiving about case, blanks and the letters people confuse."""

from __future__ import annotations

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
