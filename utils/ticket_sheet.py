"""Tickets on paper: a PDF of A4 pages, one ticket each, that can be read on a phone as well."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from utils import qr, writing

Style = Literal["", "B"]

_FONTS = Path(__file__).parent / "fonts"
_FONT = "DejaVu"
#: Millimetres.
_PAGE_WIDTH, _MARGIN, _QR = 210, 18, 92
_WIDTH = _PAGE_WIDTH - 2 * _MARGIN
_INK, _QUIET, _BRAND = (23, 23, 28), (98, 98, 108), (15, 81, 64)
#: What no font of ours draws and nobody misses: emoji and what holds them together.
_PICTURES = re.compile("[\U0001f000-\U0001faff\u2300-\u23ff\u25a0-\u27bf\u2b00-\u2bff\ufe00-\ufe0f\u200d\u20e3]")


@dataclass(frozen=True)
class Sheet:
    """What is printed of one ticket, as it stands there."""

    title: str
    place: str
    map_url: str
    day: str
    hours: str
    holder: str
    ticket_type: str
    code: str
    #: Empty where it is nobody's business who holds the ticket.
    order: str | None
    #: For the QR code.
    token: str
    terms: Sequence[str]


def write(sheets: Sequence[Sheet]) -> bytes:
    """A PDF with a page for each."""
    pdf = FPDF(format="A4", unit="mm")
    pdf.set_auto_page_break(False)
    pdf.set_margins(_MARGIN, _MARGIN)
    pdf.add_font(_FONT, "", _FONTS / "DejaVuSans.ttf")
    pdf.add_font(_FONT, "B", _FONTS / "DejaVuSans-Bold.ttf")
    pdf.set_title(sheets[0].title)
    pdf.set_creator("Ticksy")
    pdf.set_lang("en")
    for sheet in sheets:
        pdf.add_page()
        _draw(pdf, sheet)
    return bytes(pdf.output())


def _draw(pdf: FPDF, sheet: Sheet) -> None:
    _band(pdf, sheet)
    top = pdf.get_y() + 10
    column = _WIDTH - _QR + 4
    # The white around the code is wider than the margin asks for.
    pdf.image(io.BytesIO(qr.png(sheet.token)), x=_MARGIN + column, y=top - 8, w=_QR, h=_QR, alt_text="QR code")
    pdf.set_y(top)
    for label, text, size, most in (
        ("When", f"{sheet.day}\n{sheet.hours} (Nairobi)", 12, 4),
        ("Where", sheet.place, 12, 4),
        ("Holder", sheet.holder, 12, 3),
        ("Ticket", sheet.ticket_type, 12, 3),
    ):
        _label(pdf, label)
        _text(pdf, text, width=column - 4, size=size, most=most, style="B")
        if label == "Where":
            _link(pdf, "Open the map", sheet.map_url)
        pdf.ln(4)
    pdf.set_y(max(pdf.get_y(), top + _QR - 6))
    _code(pdf, sheet)
    _terms(pdf, sheet)


def _band(pdf: FPDF, sheet: Sheet) -> None:
    """The event's title on a dark ground, as high as it needs."""
    size = 24 if len(sheet.title) <= 50 else 17
    lines = _lines(pdf, sheet.title, width=_WIDTH, size=size, most=4, style="B")
    height = 26 + len(lines) * _line_height(size)
    pdf.set_fill_color(*_BRAND)
    pdf.rect(0, 0, _PAGE_WIDTH, height, style="F")
    pdf.set_text_color(255, 255, 255)
    pdf.set_xy(_MARGIN, 9)
    pdf.set_font(_FONT, "", 10)
    pdf.cell(_WIDTH, 6, "Ticksy · Ticket", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_y(17)
    _print(pdf, lines, width=_WIDTH, size=size, style="B")
    pdf.set_text_color(*_INK)
    pdf.set_y(height)


def _code(pdf: FPDF, sheet: Sheet) -> None:
    pdf.ln(4)
    pdf.set_draw_color(*_QUIET)
    pdf.set_line_width(0.2)
    pdf.line(_MARGIN, pdf.get_y(), _PAGE_WIDTH - _MARGIN, pdf.get_y())
    pdf.ln(5)
    _label(pdf, "Code", align="C")
    pdf.set_font(_FONT, "B", 30)
    pdf.set_text_color(*_INK)
    pdf.cell(_WIDTH, 15, sheet.code, align="C", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    if sheet.order:
        _label(pdf, f"Order {sheet.order}", align="C")
    pdf.ln(3)
    pdf.line(_MARGIN, pdf.get_y(), _PAGE_WIDTH - _MARGIN, pdf.get_y())
    pdf.ln(6)


def _terms(pdf: FPDF, sheet: Sheet) -> None:
    pdf.set_text_color(*_QUIET)
    for term in sheet.terms:
        _text(pdf, term, width=_WIDTH, size=9, most=3, color=_QUIET)
        pdf.ln(1.5)


def _label(pdf: FPDF, text: str, *, align: str = "L") -> None:
    pdf.set_font(_FONT, "", 9)
    pdf.set_text_color(*_QUIET)
    pdf.cell(_WIDTH, 5, text, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_text_color(*_INK)


def _link(pdf: FPDF, text: str, url: str) -> None:
    pdf.set_font(_FONT, "U", 9)
    pdf.set_text_color(*_BRAND)
    pdf.cell(pdf.get_string_width(text) + 2, 6, text, link=url, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_text_color(*_INK)


def _text(
    pdf: FPDF,
    text: str,
    *,
    width: float,
    size: int,
    most: int,
    style: Style = "",
    color: tuple[int, int, int] = _INK,
) -> None:
    """A text of at most so many lines; what is longer ends in an ellipsis."""
    pdf.set_text_color(*color)
    _print(pdf, _lines(pdf, text, width=width, size=size, most=most, style=style), width=width, size=size, style=style)
    pdf.set_text_color(*_INK)


def _lines(pdf: FPDF, text: str, *, width: float, size: int, most: int, style: Style) -> list[str]:
    """Broken before they are turned round, so that a text from right to left begins in its first line."""
    pdf.set_font(_FONT, style, size)
    text = writing.join(_drawable(text))
    found = pdf.multi_cell(width, text=text, dry_run=True, output=MethodReturnValue.LINES)
    assert isinstance(found, list)
    lines = [str(line) for line in found]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-1].rstrip() + "…"]
    return lines


def _print(pdf: FPDF, lines: Sequence[str], *, width: float, size: int, style: Style) -> None:
    pdf.set_font(_FONT, style, size)
    for line in lines:
        pdf.cell(width, _line_height(size), writing.turn(line), new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _drawable(text: str) -> str:
    lines = (" ".join(_PICTURES.sub("", line).split()) for line in unicodedata.normalize("NFC", text).splitlines())
    return "\n".join(lines)


def _line_height(size: int) -> float:
    """Millimetres, of a size in points."""
    return size * 0.3528 * 1.3
