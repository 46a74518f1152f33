"""Passwords, secrets and codes."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flask import current_app
from flask_bcrypt import Bcrypt

from utils import turns
from utils.errors import Unavailable

#: bcrypt reads 72 bytes; with BCRYPT_HANDLE_LONG_PASSWORDS it is given a SHA-256 digest instead.
bcrypt = Bcrypt()

_Hash = TypeVar("_Hash")

#: Crockford's base32: no I, L, O, U, so that a code survives being read out or typed.
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

MIN_PASSWORD, MAX_PASSWORD = 8, 128
#: zxcvbn's estimate of the guesses needed, as a power of ten; below it are the words of every cracking list.
_MIN_GUESSES_LOG10 = 6
#: It takes seconds over long ones; what is not guessed by then is no word of a list.
_ZXCVBN_READS = 24
#: It keeps the words known of one person in a global.
_zxcvbn_lock = threading.Lock()


def hash_password(password: str) -> str:
    """Raises Unavailable where very many wait already."""
    return str(_hash_aside(lambda: bcrypt.generate_password_hash(password)).decode())


def password_matches(password: str, password_hash: str | None) -> bool:
    """Takes as long without a hash as with one, so that the time tells nobody which accounts exist.

    Raises Unavailable where very many wait already.
    """
    compared = _decoy() if password_hash is None else password_hash
    is_right = _hash_aside(lambda: bcrypt.check_password_hash(compared, password))
    return bool(is_right) and password_hash is not None


def _decoy() -> str:
    """A hash of a password nobody has, made once a process at the running app's cost."""
    decoy: str | None = current_app.extensions.get("ticksy_decoy_hash")
    if decoy is None:
        decoy = current_app.extensions["ticksy_decoy_hash"] = hash_password(secrets.token_urlsafe())
    return decoy


def _step_back() -> None:
    """Linux counts niceness by thread; elsewhere it is the process's, and stays."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


#: A hash is a quarter of a second of a core, by design: whoever reads meanwhile comes first, and no more are made at
#: once than leave the others a core's worth.
_hashers = ThreadPoolExecutor(2, thread_name_prefix="bcrypt", initializer=_step_back)
_MOST_WAITING = 40
_waiting = threading.BoundedSemaphore(_MOST_WAITING)


def _hash_aside(work: Callable[[], _Hash]) -> _Hash:
    if not _waiting.acquire(blocking=False):
        raise Unavailable("Very many people are logging in at this moment. Please try again in a little while.")
    try:
        with turns.step_aside():
            return _hashers.submit(work).result()
    finally:
        _waiting.release()


def check_password(password: str, *, known: list[str]) -> None:
    """Raise ValueError with a sentence when a password is too easy.

    `known` are words an attacker would try first: the owner's names, address, number.
    """
    from zxcvbn import zxcvbn  # noqa: PLC0415  # its lists of words take megabytes

    if len(password) < MIN_PASSWORD:
        raise ValueError(f"Please choose a password of at least {MIN_PASSWORD} characters.")
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"Please choose a password of at most {MAX_PASSWORD} characters.")
    with _zxcvbn_lock:
        guesses = zxcvbn(password[:_ZXCVBN_READS], user_inputs=[word for word in known if word])["guesses_log10"]
    if guesses < _MIN_GUESSES_LOG10:
        raise ValueError("This password is too easy to guess. Please choose another one.")


def new_secret() -> str:
    """128 random bits as 32 lower-case hex digits: safe in any URL, whatever a gateway does to its case."""
    return secrets.token_hex(16)


def hash_secret(secret: str) -> bytes:
    """What is kept of a secret that only has to be recognised. It is random, so no salt is needed."""
    return hashlib.sha256(secret.encode()).digest()


def derive_secret(secret: str, *, key: str, purpose: str) -> str:
    """The secret that follows another: like a new one to who does not have the key, always the same to who does."""
    return hmac.new(key.encode(), f"ticksy/{purpose}/{secret}".encode(), hashlib.sha256).hexdigest()[:32]


def new_code(length: int, *, group: int = 0) -> str:
    """`length` random Crockford characters (5 bits each), with a dash after every `group`."""
    text = "".join(CROCKFORD[byte % len(CROCKFORD)] for byte in secrets.token_bytes(length))
    if not group:
        return text
    return "-".join(text[start : start + group] for start in range(0, length, group))
