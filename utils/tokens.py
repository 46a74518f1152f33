"""Access tokens: who a request speaks for, and in which session, signed."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from flask import current_app, request
from flask_jwt_extended import JWTManager, create_access_token, decode_token, get_jwt, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException, NoAuthorizationError
from jwt import ExpiredSignatureError, PyJWTError

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
    keys: tuple[str, ...] = (current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"])
    return next((key for key in keys if _key_id(key) == header.get("kid")), keys[0])


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
    try:
        if verify_jwt_in_request(optional=True) is None:
            return None
        claims = get_jwt()
        user_id, session_id = (id_in(str(claims.get(name))) for name in ("sub", _SESSION))
    except NoAuthorizationError:
        return None
    except ExpiredSignatureError:
        raise Unauthenticated("Your session has ended. Please log in again.", code="token_expired") from None
    except (JWTExtendedException, PyJWTError, ValueError):
        raise TokenInvalid from None
    if user_id is None or session_id is None:
        raise TokenInvalid
    return Claims(user_id, session_id)


def session_id() -> int:
    """The session of a request whose token has been read, and is good."""
    return int(get_jwt()[_SESSION])


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
