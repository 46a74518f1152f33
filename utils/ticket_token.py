"""What stands in a ticket's QR code: a few facts, signed. `docs/tickets.md` has it byte by byte, and test vectors.

Pure: keys and facts in, text out, and the other way round. Whoever has the event's public key can read and check it
without a network.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

VERSION = 1
#: Signed before the facts, so that a signature made for anything else is never one for a ticket.
_PURPOSE = b"ticksy-ticket\x00"
#: Version; event, ticket and ticket type, 48 bits each; from and until, seconds UTC; rotation. Big-endian.
_FACTS = struct.Struct(">B6s6s6sIIH")
_SIGNATURE_BYTES = 64
TOKEN_BYTES = _FACTS.size + _SIGNATURE_BYTES
#: Base32 without padding, in capital letters: what a QR code packs into its alphanumeric mode.
TOKEN_CHARACTERS = -(-TOKEN_BYTES * 8 // 5)
#: The last second that fits.
LAST_INSTANT = datetime(2106, 2, 7, 6, 28, 15, tzinfo=timezone.utc)
#: Bits of the last character that are no byte's, and 0.
_SPARE_BITS = TOKEN_CHARACTERS * 5 - TOKEN_BYTES * 8
_LETTERS, _DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv"
#: To the digits of `int(…, 32)`; what is no letter of ours, to what is no digit.
_TO_DIGITS = bytes(_DIGITS[_LETTERS.index(one)] if one in _LETTERS else ord("!") for one in range(256))


class NotAToken(ValueError):
    """It does not have the form of a token, or is of a version that is not known."""


class BadSignature(ValueError):
    """It has the form, but none of the keys signed it."""


@dataclass(frozen=True)
class Facts:
    """What a token says."""

    event_id: int
    ticket_id: int
    ticket_type_id: int
    #: Whole seconds; the first that counts, and the first that does not any more.
    valid_from: datetime
    valid_until: datetime
    #: Grows when the ticket is issued anew: lower ones are superseded.
    rotation: int


def sign(facts: Facts, key: Ed25519PrivateKey) -> str:
    """The token: TOKEN_CHARACTERS letters and digits 2-7."""
    packed = _pack(facts)
    return _encode(packed + key.sign(_PURPOSE + packed))


def read(token: str) -> Facts:
    """What it says, whether true or not. Raises NotAToken."""
    return _unpack(_decode(token))


def verify(token: str, keys: Iterable[Ed25519PublicKey]) -> Facts:
    """What it says, signed by one of an event's keys. Raises NotAToken, BadSignature."""
    data = _decode(token)
    facts = _unpack(data)
    packed, signature = data[: _FACTS.size], data[_FACTS.size :]
    for key in keys:
        try:
            key.verify(signature, _PURPOSE + packed)
        except InvalidSignature:
            continue
        return facts
    raise BadSignature


def _pack(facts: Facts) -> bytes:
    return _FACTS.pack(
        VERSION,
        *(number.to_bytes(6, "big") for number in (facts.event_id, facts.ticket_id, facts.ticket_type_id)),
        int(facts.valid_from.timestamp()),
        int(facts.valid_until.timestamp()),
        facts.rotation,
    )


def _unpack(data: bytes) -> Facts:
    version, *ids, valid_from, valid_until, rotation = _FACTS.unpack_from(data)
    if version != VERSION:
        raise NotAToken
    event_id, ticket_id, ticket_type_id = (int.from_bytes(one, "big") for one in ids)
    return Facts(event_id, ticket_id, ticket_type_id, _instant(valid_from), _instant(valid_until), rotation)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _encode(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")


def _decode(token: str) -> bytes:
    """Capital letters only, and no spelling but the one that `_encode` makes: no bit of it can be changed unnoticed.

    Base32 is a number of so many digits, which Python reads thirty times faster than `base64` does.
    """
    if len(token) != TOKEN_CHARACTERS or not token.isascii():
        raise NotAToken
    try:
        number = int(token.encode().translate(_TO_DIGITS), 32)
    except ValueError:
        raise NotAToken from None
    if number & ((1 << _SPARE_BITS) - 1):
        raise NotAToken
    return (number >> _SPARE_BITS).to_bytes(TOKEN_BYTES, "big")
