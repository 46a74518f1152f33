"""Tickets in the hands of somebody: what happens to them, and how others read what is shown of them."""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import Any

import pypdfium2
import zxingcpp
from PIL import Image

from models import Event, Ticket
from services import check_in, events, refunds, reissues
from tests.support import Maker
from utils import ticket_address
from utils.clock import NAIROBI
from utils.database import transaction


def evening(make: Maker) -> Event:
    """An event whose day and hours are known."""
    starts_at, ends_at = (datetime(2035, 6, 2, hour, tzinfo=NAIROBI) for hour in (18, 22))
    return make.event(starts_at=starts_at, ends_at=ends_at)


def page_of(make: Maker, ticket: Ticket, rotation: int = 1) -> str:
    with make.app.app_context():
        return f"/t/{ticket_address.make(ticket.id, rotation)}"


def change(make: Maker, ticket: Ticket, **facts: Any) -> None:
    with make.app.app_context(), transaction() as session:
        row = session.get_one(Ticket, ticket.id)
        for name, value in facts.items():
            setattr(row, name, value)


def give_back(make: Maker, ticket: Ticket) -> None:
    with make.app.app_context():
        refunds.refund_order(actor=make.admin(), order_id=ticket.order_id, ticket_ids=[ticket.id])


def use(make: Maker, ticket: Ticket) -> None:
    with make.app.app_context():
        check_in.check_in(actor=make.admin(), ticket_id=ticket.id)


def reissue(make: Maker, ticket: Ticket) -> None:
    with make.app.app_context():
        reissues.reissue_for_holder(actor=make.admin(), ticket_id=ticket.id)


def cancel(make: Maker, ticket: Ticket) -> None:
    event_id = ticket.ticket_type.event_id
    with make.app.app_context():
        events.cancel_event(actor=make.admin(), event_id=event_id)


def scan(picture: bytes | Image.Image) -> str:
    """What a reader that is not ours finds in a picture with one code."""
    image = picture if isinstance(picture, Image.Image) else Image.open(io.BytesIO(picture))
    [found] = zxingcpp.read_barcodes(image.convert("L"))
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return str(found.text)


def read_pdf(body: bytes) -> list[tuple[Image.Image, str]]:
    """Each page as a picture, as a phone shows it, and its text."""
    document = pypdfium2.PdfDocument(body)
    pages = [(page.render(scale=1.5).to_pil(), page.get_textpage().get_text_bounded()) for page in document]
    document.close()
    return pages


def draw(svg: str) -> Image.Image:
    """Our SVG as pixels: one path of horizontal strokes, each `[mM]x y` and `h<length>`."""
    assert '<path fill="#fff" d="M0 0h49v49h-49z"/>' in svg
    image = Image.new("L", (49, 49), 255)
    x = y = 0.0
    [strokes] = re.findall(r'<path stroke="#000" d="([^"]+)"', svg)
    for move, dx, dy, length in re.findall(r"([mM])(-?[\d.]+) ?(-?[\d.]+)h(\d+)", strokes):
        x, y = (float(dx), float(dy)) if move == "M" else (x + float(dx), y + float(dy))
        for step in range(int(length)):
            image.putpixel((int(x) + step, int(y)), 0)
        x += int(length)
    return image.resize((490, 490), Image.Resampling.NEAREST)
