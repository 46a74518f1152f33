"""Tables to download, for spreadsheets to open: CSV as a stream, XLSX through a temporary file.

A cell is text, a whole number, a moment, or None; a moment is shown in Nairobi's time. In CSV, text that a spreadsheet
would take for a formula or a number gets an apostrophe before it (OWASP, "CSV Injection"): who reads the file with a
program takes one leading apostrophe away. Otherwise `=cmd|…` would run, `+254712345678` become 2.54713E+11 and
`00100` a hundred. XLSX says of each cell what it is and needs none of this.
"""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from contextvars import copy_context
from datetime import datetime
from enum import Enum
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from flask import Response, current_app

from utils import clock

if TYPE_CHECKING:
    import xlsxwriter

CSV, XLSX = "csv", "xlsx"
_XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
#: So much is sent at once.
_PIECE_BYTES = 64 * 1024
#: Excel's limits: rows of a sheet, with the header, and characters of a cell.
_SHEET_ROWS, _CELL_CHARACTERS = 1_048_576, 32_767

#: Formulas begin so, also after blanks and in the wide forms of East Asian keyboards; a tab, or the end of a line, at
#: the beginning hides one.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
#: What a spreadsheet takes for a number, and what begins with our own mark.
_NUMBER = re.compile(r"\s*(\d[\d.,\s]*(e[+-]?\d+)?%?|'.*)\s*", re.IGNORECASE | re.DOTALL)


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A file to download, sent while `rows` are read: as many of them as there may be need little memory.

    `rows` are read as fast as the client takes them, which may be slowly: they should hold no connection between two
    of their own queries. They may use the app; they are closed when the client goes away.
    """
    pieces = _with_app(_write_csv(header, rows))
    first = next(pieces, b"")  # what fails at once can still be answered as an error
    response = Response(_begin_with(first, pieces), mimetype="text/csv")
    response.headers["Content-Disposition"] = disposition(name, CSV)
    response.headers["Cache-Control"] = "no-store"
    return response


def _begin_with(first: bytes, pieces: Generator[bytes, None, None]) -> Iterator[bytes]:
    with closing(pieces):
        yield first
        yield from pieces


def _with_app(pieces: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """The pieces, made in an app context that lasts until they end or are closed.

    Unlike Flask's `stream_with_context` it is nobody else's while the client is waited for: not the thread's.
    """
    app_context, context = current_app.app_context(), copy_context()
    context.run(app_context.push)
    try:
        while (piece := context.run(next, pieces, None)) is not None:
            yield piece
    finally:
        context.run(pieces.close)
        context.run(app_context.pop)


def _write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Generator[bytes, None, None]:
    page = io.StringIO(newline="")
    write = csv.writer(page).writerow
    page.write("\ufeff")  # tells Excel that it is UTF-8
    write(header)
    for row in rows:
        write([_csv_cell(cell) for cell in row])
        if page.tell() >= _PIECE_BYTES:
            yield page.getvalue().encode()
            page.seek(0)
            page.truncate()
    yield page.getvalue().encode()


def _csv_cell(cell: object) -> object:
    if type(cell) is str:  # as nearly all are, most of which begin with a letter: neither formula nor number
        return cell if cell[:1].isalpha() or not (_FORMULA.match(cell) or _NUMBER.fullmatch(cell)) else f"'{cell}"
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return _local(cell).isoformat(" ", "seconds")[:19]
        case Enum():
            return _csv_cell(cell.value)
        case str():
            return _csv_cell(str(cell))
    return cell


def xlsx_response(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """A file to download, written to disk before it is sent and gone after it; numbers and dates are such."""
    # Without a name in the file system: it ends with the process at the latest.
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the response
    try:
        _write_xlsx(file, header, rows)
    except BaseException:
        file.close()
        raise
    return file_response(file, _XLSX_TYPE, name, XLSX)


def file_response(file: IO[bytes], kind: str, name: str, extension: str) -> Response:
    """A file to download, closed after it; for its owner's eyes alone."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    response = Response(_read(file), mimetype=kind)
    response.call_on_close(file.close)
    response.content_length = size
    response.headers["Content-Disposition"] = disposition(name, extension)
    response.headers["Cache-Control"] = "no-store"
    return response


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _write_xlsx(file: IO[bytes], header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Row by row; a sheet that is full is followed by another."""
    import xlsxwriter  # noqa: PLC0415  # few ask for a spreadsheet

    with (
        tempfile.TemporaryDirectory(prefix="ticksy-xlsx-") as folder,
        # Closed whatever happens: it has files of its own in that folder.
        xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": folder}) as book,
    ):
        bold, moment = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        sheet, at = None, _SHEET_ROWS
        for row in rows:
            if at == _SHEET_ROWS:
                sheet, at = _begin_sheet(book, header, bold), 1
            for column, cell in enumerate(row):
                _write_cell(sheet, at, column, cell, moment)
            at += 1
        if sheet is None:
            _begin_sheet(book, header, bold)


def _begin_sheet(book: xlsxwriter.Workbook, header: Sequence[str], bold: object) -> xlsxwriter.worksheet.Worksheet:
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(header) - 1, 20)
    for column, title in enumerate(header):
        sheet.write_string(0, column, title, bold)
    return sheet


def _write_cell(sheet: xlsxwriter.worksheet.Worksheet, row: int, column: int, cell: object, moment: object) -> None:
    match cell:
        case None:
            return
        case bool():
            sheet.write_string(row, column, "yes" if cell else "no")
        case int() | float():
            sheet.write_number(row, column, cell)
        case datetime():
            sheet.write_datetime(row, column, _local(cell).replace(tzinfo=None, microsecond=0), moment)
        case _:
            # As text, whatever it looks like: `write` would make formulas and links of it.
            sheet.write_string(row, column, str(cell)[:_CELL_CHARACTERS])


def _local(moment: datetime) -> datetime:
    return moment.astimezone(clock.NAIROBI)


def disposition(name: str, extension: str, *, is_shown: bool = False) -> str:
    """`Content-Disposition` of a file to keep or show (RFC 6266): `name` in ASCII for old programs, and as it is."""
    # What no file system takes, and what would end or leave the header; what turns the writing round would hide the
    # extension.
    clean = re.sub(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]+', " ", name)
    clean = " ".join(clean.removesuffix(f".{extension}").split())[:100].strip(". ") or "export"
    plain = clean.encode("ascii", "ignore").decode().replace("%", "")
    plain = " ".join(plain.split()).strip(". ") or "export"
    how = "inline" if is_shown else "attachment"
    return f"{how}; filename=\"{plain}.{extension}\"; filename*=UTF-8''{quote(clean, safe='')}.{extension}"
