"""QR codes as pictures. Capital letters and digits alone, as tickets have them: they need the fewest dots.

Level M bears that one dot in seven is dirt, and the four dots of white around the code belong to it (ISO/IEC 18004).
"""

from __future__ import annotations

import io
from functools import partial

import segno

_BORDER = 4
#: Pixels of a dot: large enough that what smooths pictures as it scales them leaves the edges sharp.
_PIXELS = 10


def png(text: str) -> bytes:
    """Black on white, two colours and no more."""
    picture = io.BytesIO()
    make(text).save(picture, kind="png", scale=_PIXELS, border=_BORDER, dark="black", light="white")
    return picture.getvalue()


def svg(text: str, *, is_any: bool = False) -> bytes:
    """As large as it is given room; white behind it, whatever it stands on. `is_any` text costs more dots."""
    picture = io.BytesIO()
    look = {"dark": "#000", "light": "#fff", "svgclass": None, "lineclass": None, "xmldecl": False, "nl": False}
    code = make(text, mode=None) if is_any else make(text)
    code.save(picture, kind="svg", border=_BORDER, omitsize=True, **look)
    # Without it, browsers leave hairlines between the rows at most sizes.
    return picture.getvalue().replace(b"<svg ", b'<svg shape-rendering="crispEdges" ', 1)


#: Raises ValueError for what cannot be written in capital letters and digits.
make = partial(segno.make, error="m", mode="alphanumeric", boost_error=False, micro=False)
