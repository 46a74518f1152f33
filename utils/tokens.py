"""Access tokens: who a request speaks for, and in which session, signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, decode_token, get_jwt, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException, NoAuthorizationError
from jwt import ExpiredSignatureError, PyJWTError, decode

from utils.errors import Unauthenticated
from utils.references import id_in

jwt = JWTManager()
_SESSION = "sid"


@jwt.additional_headers_loader
def _name_key(_identity: object) -> dict[str, str]:
    """So that a token says which key it was signed with, which tells nothing of the key."""
    return {"kid": _key_id(current_app.config["SECRET_KEY"])}


@jwt.decode_key_loader
def _find_key(header: dict[str, Any], _claims: dict[str, Any]) -> str:
    """The key of now, unless the token names one of before."""
    keys: tuple[str, ...] = (current_app.config["SECRET_KEY"], *_old_keys())
    return next((key for key in keys if _key_id(key) == header.get("kid")), keys[0])


def _old_keys() -> Sequence[str]:
    keys: Sequence[str] = current_app.config["SECRET_KEY_FALLBACKS"]
    return keys


def _key_id(key: str) -> str:
    return hmac.new(key.encode(), b"ticksy/key-id", hashlib.sha256).hexdigest()[:8]


class TokenInvalid(Unauthenticated):
    code, message = "token_invalid", "This access token is not valid. Please log in again."


@dataclass(frozen=True)
class Claims:
    """What an access token says."""

    user_id: int
    session_id: int


def issue(user_id: int, session_id: int) -> str:
    """A token that lasts ACCESS_TOKEN_MINUTES, if its session does."""
    return str(create_access_token(identity=str(user_id), additional_claims={_SESSION: str(session_id)}))


def read() -> Claims | None:
    """What the request's bearer token says; None when there is none. Raises Unauthenticated for a bad one."""
    header = request.headers.get("Authorization")
    # Who shows none is never taken for who showed one, wherever else a token might one day be read from.
    shown = None if header is None else (header, current_app.config["SECRET_KEY"], *_old_keys())
    claims, ends_at = (None, 0.0) if shown is None else _read.get(shown, (None, 0.0))
    if claims is None or ends_at <= time.time():
        claims, ends_at = _read_in_full()
        if claims is not None and shown is not None:
            if len(_read) >= _MOST_READ:
                _read.clear()
            _read[shown] = claims, ends_at
    g.claims = claims
    return claims


#: What good tokens say, and when they end: whoever is logged in shows the same one for minutes, and it takes long to
#: check a signature. By all that a check depends on.
_read: dict[tuple[str, ...], tuple[Claims, float]] = {}
_MOST_READ = 10_000


def _read_in_full() -> tuple[Claims | None, float]:
    """And when it ends, in seconds since 1970."""
    try:
        told = _read_plain()
        if told is None:
            if verify_jwt_in_request(optional=True) is None:
                return None, 0
            told = get_jwt()
        user_id, session_id = (id_in(str(told.get(name))) for name in ("sub", _SESSION))
    except NoAuthorizationError:
        return None, 0
    except ExpiredSignatureError:
        raise Unauthenticated("Your session has ended. Please log in again.", code="token_expired") from None
    except (JWTExtendedException, PyJWTError, ValueError):
        raise TokenInvalid from None
    if user_id is None or session_id is None:
        raise TokenInvalid
    return Claims(user_id, session_id), told.get("exp", 0)


def _read_plain() -> dict[str, Any] | None:
    """What the bearer token says if it is good and signed with the key of now, as nearly all are.

    Flask-JWT-Extended takes a token apart four times, to choose a key by what it says before that is checked. Whatever
    is not plainly good is for it to judge, and to refuse.
    """
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind != "Bearer":
        return None
    try:
        told: dict[str, Any] = decode(
            token,
            current_app.config["SECRET_KEY"],
            algorithms=[current_app.config["JWT_ALGORITHM"]],
            options={"require": ["exp", "iat", "nbf", "sub"]},
        )
    except PyJWTError:
        return None
    return told if told.get("type") == "access" else None


def session_id() -> int:
    """The session of a request whose token has been read, and is good."""
    claims: Claims = g.claims
    return claims.session_id


def read_holder() -> int | None:
    """The user id in the request's bearer token, also in one that has ended: whoever shows it was logged in once."""
    given = request.authorization
    if given is None or given.type != "bearer":
        return None
    try:
        return int(decode_token(given.token or "", allow_expired=True)["sub"])
    except (JWTExtendedException, PyJWTError, ValueError, KeyError):
        return None


def read_gate_secret() -> str | None:
    """The secret of `Authorization: Gate <secret>`; None when the request has no such header."""
    given = request.authorization
    return (given.token or "") if given is not None and given.type == "gate" else None
