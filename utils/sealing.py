"""Secrets that have to be read again: sealed before they are stored, so that the database alone tells nobody."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class CannotOpen(ValueError):
    """Sealed with another key, for another purpose, or beside something else."""


def seal(plain: bytes, *, key: str, purpose: str, beside: bytes) -> bytes:
    """`beside` is what it belongs to, such as the row's id: put beside anything else, it does not open."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(key, purpose).encrypt(nonce, plain, beside)


def unseal(sealed: bytes, *, keys: Iterable[str], purpose: str, beside: bytes) -> bytes:
    """With whichever of the keys it was sealed. Raises CannotOpen."""
    nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    for key in keys:
        try:
            return _cipher(key, purpose).decrypt(nonce, encrypted, beside)
        except (InvalidTag, ValueError):
            continue
    raise CannotOpen


def _cipher(key: str, purpose: str) -> ChaCha20Poly1305:
    """With a key of its own for each purpose."""
    derive = HKDF(SHA256(), length=32, salt=None, info=f"ticksy/{purpose}".encode())
    return ChaCha20Poly1305(derive.derive(key.encode()))
