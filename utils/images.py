"""Pictures people upload: really decoded, bounded, re-encoded without anything that came along."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import Invalid
from utils.security import new_secret

FORMATS = ("PNG", "JPEG", "WEBP")
#: What a phone's camera makes, with room; more is an attack on our memory. JPEG can be decoded at a smaller size.
MAX_PIXELS = {"JPEG": 50_000_000, "PNG": 20_000_000, "WEBP": 20_000_000}
#: Longest side after re-encoding, in pixels.
MAX_SIDE = 2_000
_QUALITY = 85
#: Pictures one process decodes at the same time: each may take a hundred megabytes.
_decoders = threading.BoundedSemaphore(2)
#: Pillow's decoders raise whatever they trip over.
_TRIPPED = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)


class BadImage(Invalid):
    code, message = "bad_image", "Please send a picture as PNG, JPEG or WebP."


@contextmanager
def stored(data: bytes | None, folder: Path) -> Iterator[str | None]:
    """Re-encode a picture into `folder` and yield its file name; gone again if the block fails. Raises BadImage."""
    if data is None:
        yield None
        return
    name = f"{new_secret()}.webp"
    folder.mkdir(parents=True, exist_ok=True)
    with _decoders:
        clean = _reencode(data)
    (folder / name).write_bytes(clean)
    try:
        yield name
    except BaseException:
        remove(name, folder)
        raise


def remove(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)


def _reencode(data: bytes) -> bytes:
    """A WebP without metadata, upright, its first frame, at most MAX_SIDE long."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # few send a picture

    try:
        with warnings.catch_warnings():
            # Broken metadata, which is thrown away, and sizes, which are checked here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS[picture.format or ""]:
                    raise BadImage("This picture has too many pixels. Please send a smaller one.")
                picture.draft("RGB", (MAX_SIDE, MAX_SIDE))
                upright = ImageOps.exif_transpose(picture)
                upright.thumbnail((MAX_SIDE, MAX_SIDE))
                if upright.mode == "I;16":
                    # Pillow would cut sixteen bits off at 255, which makes them white.
                    upright = upright.point(lambda level: level / 257).convert("L")
                clean = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (*_TRIPPED, Image.DecompressionBombError):
        raise BadImage from None
    clean.info.clear()
    encoded = io.BytesIO()
    clean.save(encoded, "WEBP", quality=_QUALITY)
    return encoded.getvalue()
