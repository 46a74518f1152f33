"""Access tokens: who a request speaks for, signed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from flask import current_app, request
from flask_jwt_extended import JWTManager, create_access_token, decode_token, get_jwt_identity, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException, NoAuthorizationError
from jwt import ExpiredSignatureError, PyJWTError

from utils.errors import Unauthenticated

jwt = JWTManager()


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


def issue(user_id: int) -> str:
    """A token that lasts ACCESS_TOKEN_MINUTES."""
    return str(create_access_token(identity=str(user_id)))


def read() -> int | None:
    """The user id in the request's bearer token; None when there is none. Raises Unauthenticated for a bad one."""
    try:
        verify_jwt_in_request(optional=True)
        identity = get_jwt_identity()
        return None if identity is None else int(identity)
    except NoAuthorizationError:
        return None
    except ExpiredSignatureError:
        raise Unauthenticated("Your session has ended. Please log in again.", code="token_expired") from None
    except (JWTExtendedException, PyJWTError, ValueError):
        raise Unauthenticated("This access token is not valid. Please log in again.", code="token_invalid") from None


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
