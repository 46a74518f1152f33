"""Tables for a spreadsheet, sent row by row: however long one is, it is never in memory as a whole."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum
from urllib.parse import quote

from flask import Response

from utils import clock

#: Bytes are sent once there are about so many.
_CHUNK = 32 * 1024
#: What a spreadsheet takes for the start of a formula (OWASP, CSV injection), and digits it would take for a number and
#: print as 2.5E+11 or without their zero: phone numbers.
_NOT_TEXT = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]|(0[0-9]+|[0-9]{11,})$")
#: What a file name may not have in it somewhere.
_NO_NAME = re.compile(r'[\x00-\x1f\x7f"/\\:*?<>|]+')


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Send a table as a file called `name`, with or without its `.csv`. UTF-8 with the mark that makes Excel read it
    so; instants on Nairobi's clock; texts stay texts.

    `rows` is first asked for a row once the answer is on its way, outside of the request, and closed at the end: also
    when the client goes away.
    """
    response = Response(_lines(header, rows), mimetype="text/csv")
    close = getattr(rows, "close", None)
    if close is not None:
        response.call_on_close(close)
    response.headers.set("Content-Disposition", "attachment", **_file_names(name))
    response.headers["Cache-Control"] = "no-store"
    return response


def _lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([_cell(name) for name in header])
    yield b"\xef\xbb\xbf" + _drain(buffer)  # at once: a browser shows that something comes
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        if buffer.tell() >= _CHUNK:
            yield _drain(buffer)
    yield _drain(buffer)


def _drain(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _cell(value: object) -> object:
    """Numbers stay numbers, negative ones too; text is never taken for anything else."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(clock.NAIROBI).strftime("%Y-%m-%d %H:%M:%S")
        case Enum():
            return _cell(value.value)
        case str() if _NOT_TEXT.match(value):
            return "'" + value
    return value


def _file_names(name: str) -> dict[str, str]:
    """In ASCII for old clients, and as it is (RFC 6266)."""
    name = _NO_NAME.sub("-", name.removesuffix(".csv")).strip(" .-")[:120] or "table"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().strip() or "table"
    return {"filename": f"{plain}.csv", "filename*": f"UTF-8''{quote(name, safe='')}.csv"}
