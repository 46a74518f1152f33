"""Picture files for tests to upload."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def picture(kind: str = "PNG", *, mode: str = "RGB", size: tuple[int, int] = (60, 40), **saved: Any) -> bytes:
    """A file of one colour, red where the mode knows red."""
    return encode(Image.new("RGB", size, (200, 30, 30)).convert(mode), kind, **saved)


def encode(image: Image.Image, kind: str, **saved: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **saved)
    return file.getvalue()


def upload(data: bytes, name: str = "poster.png") -> tuple[io.BytesIO, str]:
    """As werkzeug's client wants a file."""
    return io.BytesIO(data), name
