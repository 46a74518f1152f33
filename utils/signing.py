"""Addresses that carry their own permission: what is signed here can be read by anybody, and changed by nobody."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from utils import clock


class NotSigned(ValueError):
    """Not signed here, or for another purpose."""


class Expired(NotSigned):
    """It was, but its time is over."""


def sign(purpose: str, subject: Sequence[str | int], *, expires_at: datetime | None) -> str:
    """A token of letters, digits, `-`, `_` and `.` that says `subject` to `verify` with the same purpose.

    It works until `expires_at`, or for ever when that is None.
    """
    until = None if expires_at is None else int(expires_at.timestamp())
    return str(_serializer(purpose, _keys()[0]).dumps([until, *subject]))


def verify(purpose: str, token: str) -> tuple[str | int, ...]:
    """The subject that was signed, with the key of now or one of before. Raises NotSigned, Expired."""
    for key in _keys():
        try:
            until, *subject = _serializer(purpose, key).loads(token)
        except (BadData, TypeError, ValueError):
            continue
        # base64 leaves bits over at its end: several spellings would say the same.
        if not hmac.compare_digest(str(_serializer(purpose, key).dumps([until, *subject])), token):
            raise NotSigned
        if until is not None and until <= clock.now().timestamp():
            raise Expired
        return tuple(subject)
    raise NotSigned


def blind(purpose: str, text: str) -> bytes:
    """Stands for a text that can be guessed, such as a phone number, where a copy of the database must not tell it."""
    return hmac.new(_keys()[0], f"{purpose}/{text}".encode(), hashlib.sha256).digest()


def fingerprint(secret: str) -> str:
    """Stands for a secret within a subject, so that the token ends when the secret changes; tells nothing of it."""
    return _fingerprint(secret, _keys()[0])


def is_fingerprint(text: str | int, secret: str) -> bool:
    """Whether it was made of this secret, with the key of now or one of before."""
    return any(hmac.compare_digest(str(text), _fingerprint(secret, key)) for key in _keys())


def _fingerprint(secret: str, key: bytes) -> str:
    return hmac.new(key, b"fingerprint/" + secret.encode(), hashlib.sha256).hexdigest()[:16]


def _keys() -> list[bytes]:
    """The one that signs, and those of before, which only verify."""
    config = current_app.config
    return [key.encode() for key in (config["SECRET_KEY"], *config["SECRET_KEY_FALLBACKS"])]


def _serializer(purpose: str, key: bytes) -> URLSafeSerializer:
    """With a key of its own for each purpose, and for no access token."""
    return URLSafeSerializer(
        key,
        salt=f"ticksy/{purpose}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
