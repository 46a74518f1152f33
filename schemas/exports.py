"""Files to download."""

from __future__ import annotations

from typing import Literal

from schemas.common import Answer, Request, When

_Format = Literal["csv", "xlsx"]


class ExportFormat(Request):
    format: _Format = "csv"


class ExportLink(Answer):
    """An address to open in a browser, and until when it works."""

    url: str
    expires_at: When
