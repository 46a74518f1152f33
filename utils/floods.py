"""A coarse net: how many requests one address may send. What protects accounts and money is counted in PostgreSQL.

Mobile carriers put thousands of buyers behind one address, so this stops floods and nothing finer. Each process counts
its own requests, or all of them together in a Redis; while that is away, each its own again.
"""

from __future__ import annotations

import math
import time

from flask import Flask, Response, request
from flask_limiter import Limiter, RateLimitExceeded

from utils import callers, http
from utils.errors import TooManyRequests

#: What a Redis that does not answer may cost a request, in seconds.
_PATIENCE = 0.3


def init_app(app: Flask, *, per_minute: int, redis_url: str) -> None:
    """Turn away what is more; but never what must always be heard, nor what a browser asks before it asks."""
    limiter = Limiter(
        _caller,
        app=app,
        application_limits=[f"{per_minute} per minute"],
        storage_uri=redis_url or "memory://",
        storage_options={"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE} if redis_url else {},  # type: ignore[dict-item]  # seconds may be parts of one
        in_memory_fallback_enabled=True,
        request_identifier=lambda: request.endpoint or "(no such address)",
        key_prefix="ticksy",
    )
    limiter.request_filter(_is_exempt)

    def refuse(_error: RateLimitExceeded) -> Response:
        limit = limiter.current_limit
        wait = 60 if limit is None else math.ceil(limit.reset_at - time.time())
        return http.answer_error(TooManyRequests(retry_after=max(1, wait)))

    app.register_error_handler(RateLimitExceeded, refuse)


def _caller() -> str:
    return callers.subscriber_of(request.remote_addr) or "unknown"


def _is_exempt() -> bool:
    return request.method == "OPTIONS" or bool(http.declared_by_view("is_never_flooded", False))
