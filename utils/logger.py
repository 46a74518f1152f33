"""Logs to standard error, one line an event, with the request's id and without anybody's phone number or secret."""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar

#: Who is being served, for logs and the audit trail; set at the edge of every request.
request_id: ContextVar[str] = ContextVar("request_id", default="-")
remote_address: ContextVar[str | None] = ContextVar("remote_address", default=None)

# Not \b: a number may follow `%2B` or an underscore.
_PHONE = re.compile(r"(?<!\d)(254[17]\d{2}|0[17]\d{2})\d{3}(\d{3})(?!\d)")
_SECRET = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def redact(text: str) -> str:
    """Mask what looks like a Kenyan phone number or one of our 128-bit secrets."""
    return _PHONE.sub(r"\1***\2", _SECRET.sub("<secret>", text))


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        return redact(super().format(record))


def configure(level: str) -> None:
    """Send every logger of the process through one redacting handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _RedactingFormatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    # They tell each step of making a PDF, and each letter of somebody's name that a font does not have.
    for name in ("fontTools", "fpdf"):
        logging.getLogger(name).setLevel(logging.ERROR)
