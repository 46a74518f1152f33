"""Logs to standard error, one event a line, with the request's id and without anybody's phone number or secret.

Code logs with `logging`, as libraries do; `structlog` writes it down: as JSON where programs read it, else as text.
What is logged in `extra` under one of FIELDS is a field of its own. Masking is done last, on tracebacks too.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

#: Who is being served, for logs and the audit trail; set at the edge of every request.
request_id: ContextVar[str] = ContextVar("request_id", default="-")
remote_address: ContextVar[str | None] = ContextVar("remote_address", default=None)

FIELDS = ("method", "route", "status", "milliseconds", "address", "requests")
_MASK = "<secret>"
#: Nobody else has a say in these, and a number in them may look like somebody's by chance.
_OURS = frozenset({"request_id", "timestamp"})
_SHORT = 60

# Not \b: a number may follow `%2B` or an underscore.
_PHONE = re.compile(r"(?<!\d)(254[ -]?[17]\d{2}|0[17]\d{2})[ -]?\d{3}[ -]?(\d{3})(?!\d)")
_NAMED = re.compile(
    r"""
    (
        (?<!<)(?:authorization|token|secret|password|passkey|credential|cookie)["']?\s*[=:]\s*(?:b?["'])?
        (?:(?:bearer|gate|basic)\s+)?(?!(?:bearer|gate|basic)\s)
    |
        \b(?:bearer|gate|basic)\s+(?=\S{16})
    )
    [^\s"'&,;<>()}\]]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SECRET = re.compile(
    r"""
    (?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])           # ours: of callbacks, polls, gate passes
    | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+               # access tokens
    | (?<![\w.-])\.?[\w-]{8,}\.[\w-]{43}(?![\w-])   # signed addresses
    | (?<![\w-])(?=[\w-]*[0-9])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{43}(?![\w-])  # 256 bits in base64
    | (?<![A-Z2-7])[A-Z2-7]{100,}(?![A-Z2-7])       # what a ticket's QR code holds
    | (?<![\w-])[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){2}(?![\w-])  # a ticket's code
    | \$2[aby]\$\d\d\$[./A-Za-z0-9]{53}             # bcrypt's hashes
    """,
    re.VERBOSE,
)
#: What this process was configured with.
_known: list[str] = []


def redact(text: str) -> str:
    """Mask what looks like a Kenyan phone number or like a secret, and what is one of the settings'."""
    for secret in _known:
        text = text.replace(secret, _MASK)
    return _PHONE.sub(r"\1***\2", _SECRET.sub(_MASK, _NAMED.sub(rf"\1{_MASK}", text)))


def configure(level: str, *, is_json: bool, secrets: Iterable[str] = ()) -> None:
    """Send every logger of the process through one handler that masks. `secrets` are masked wherever they stand."""
    # The longest first: one may be part of another.
    _known[:] = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
    _redact_short.cache_clear()
    handler = _Lines(sys.stderr)
    handler.setFormatter(formatter(is_json=is_json))
    handler.setLevel(level)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    # They tell each step of making a PDF, and each letter of somebody's name that a font does not have.
    for name in ("fontTools", "fpdf"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # The server's own, should it be told to write who called which address.
    for name in ("_granian", "granian.access"):
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True


class _Lines(logging.StreamHandler):  # type: ignore[type-arg]  # which is generic from Python 3.11 on
    """Writes each line at once, and takes no lock, at which all threads of a busy server would queue: not that of
    `logging`, and not that of a buffered stream, which is held until its thread has the interpreter again."""

    def handle(self, record: logging.LogRecord) -> bool:
        is_wanted = bool(self.filter(record))
        if is_wanted:
            self.emit(record)
        return is_wanted

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self.stream.fileno(), f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001  # a line that cannot be written ends no request
            self.handleError(record)


def formatter(*, is_json: bool) -> logging.Formatter:
    """Writes a record as one line of JSON, or as text for a person."""
    renderer: Processor = structlog.processors.JSONRenderer()
    if not is_json:
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_request_id,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _mask,
            renderer,
        ],
    )


def _add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if (current := request_id.get()) != "-":
        event["request_id"] = current
    return event


def _mask(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str) and name not in _OURS:
            event[name] = _redact_short(value) if len(value) <= _SHORT else redact(value)
    return event


@lru_cache(maxsize=1_000)
def _redact_short(text: str) -> str:
    """`redact`, of what every other line says again."""
    return redact(text)
