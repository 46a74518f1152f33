"""What a browser is told about every answer, so that it does nothing with it that nobody meant."""

from __future__ import annotations

from flask import Response

#: Neither JSON nor a file is a page: should a browser ever take it for one, it loads, runs and sends nothing.
_NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: A browser's own viewer shows a PDF as a page, with scripts and styles of its own.
_VIEWED = "frame-ancestors 'none'"
_YEAR_SECONDS = 31_536_000


def apply(response: Response, *, is_https: bool) -> None:
    """Add the rules; a page that has some of its own keeps them.

    Pictures may be shown by pages of any origin, as the frontend's. All else is read across origins by who asks for it
    as CORS wants, and is embedded nowhere.
    """
    is_picture = (response.mimetype or "").startswith("image/")
    rules = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": _VIEWED if response.mimetype == "application/pdf" else _NO_PAGE,
        # Addresses carry secrets: of tickets, calendars, exports.
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "cross-origin" if is_picture else "same-origin",
    }
    if is_https:
        rules["Strict-Transport-Security"] = f"max-age={_YEAR_SECONDS}"
    for name, rule in rules.items():
        response.headers.setdefault(name, rule)
