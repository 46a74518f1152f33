"""Films for the camera that Chromium plays: QR codes held up for a while, one after the other, again and again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import segno
from PIL import Image

WIDTH, HEIGHT, PER_SECOND = 640, 480, 5
#: What is held up, None for nothing, and for how many seconds.
Scene = tuple[str | None, float]


def shoot(path: Path, scenes: Sequence[Scene]) -> Path:
    """An uncompressed film (YUV4MPEG2, 4:2:0), grey as the light at a gate."""
    colours = bytes([128]) * (WIDTH * HEIGHT // 2)
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{PER_SECOND}:1 Ip A1:1 C420\n".encode())
        for text, seconds in scenes:
            frame = b"FRAME\n" + _picture(text) + colours
            for _ in range(round(seconds * PER_SECOND)):
                film.write(frame)
    return path


def flags(film: Path) -> list[str]:
    """Of a Chromium whose camera plays it."""
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]


def _picture(text: str | None) -> bytes:
    picture = Image.new("L", (WIDTH, HEIGHT), 90)
    if text is not None:
        drawn = io.BytesIO()
        segno.make(text, error="m", micro=False).save(drawn, kind="png", scale=7, border=4)
        # As a hand holds it, not quite straight.
        code = Image.open(drawn).convert("L").rotate(5, expand=True, fillcolor=230, resample=Image.Resampling.BICUBIC)
        picture.paste(code, ((WIDTH - code.width) // 2, (HEIGHT - code.height) // 2))
    return picture.tobytes()
