"""Kenyan mobile numbers. One form inside Ticksy: `2547XXXXXXXX` or `2541XXXXXXXX`."""

from __future__ import annotations

import hashlib
import re

import phonenumbers

#: What Daraja takes as PartyA (M-PESA Express).
_STORED = re.compile(r"^254[17]\d{8}$")
#: Digits and what people, and their address books, put between them. `phonenumbers` would also skip words around a
#: number and read letters as the keys they are on.
_TYPED = re.compile(r"[+\d\s().\u2010-\u2015\u200e\u200f\u202a-\u202e\u2066-\u2069-]+")
#: A Kenyan mobile number inside other text.
_IN_TEXT = re.compile(r"(?<!\d)((?:254|0)[17]\d\d)\d{3}(\d{3})(?!\d)")


def parse(text: str) -> str:
    """The stored form of `0712…`, `712…`, `+254 712 …` or `254712…`. Raises ValueError on anything else."""
    digits = text.strip()
    if digits.startswith("254"):
        digits = "+" + digits
    try:
        number = phonenumbers.parse(digits, "KE") if _TYPED.fullmatch(digits) else None
    except phonenumbers.NumberParseException:
        number = None
    stored = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:] if number else ""
    if number is None or number.extension or not phonenumbers.is_valid_number(number) or not _STORED.match(stored):
        raise ValueError("Please give a Kenyan mobile number such as 0712 345 678.")
    return stored


def is_told(told: str | None, phone: str) -> bool:
    """Whether what Safaricom tells of a payer is this phone for certain: its number, or the SHA-256 of it.

    A masked number (`2547 ***** 126`) is that of many.
    """
    return told is not None and told.lower() in (phone, hashlib.sha256(phone.encode()).hexdigest())


def mask_all(text: str) -> str:
    """The text with every Kenyan mobile number in it masked."""
    return _IN_TEXT.sub(r"\1***\2", text)


def mask(phone: str) -> str:
    """`254712***678`: enough to recognise one's own number, not enough to call it."""
    return f"{phone[:6]}***{phone[-3:]}"
