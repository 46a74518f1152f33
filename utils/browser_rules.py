"""What a browser is told about every answer, so that it does nothing with it that nobody meant."""

from __future__ import annotations

from flask import Response

#: Neither JSON nor a file is a page: should a browser ever take it for one, it loads, runs and sends nothing.
_NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: A browser's own viewer shows a PDF as a page, with scripts and styles of its own.
_VIEWED = "frame-ancestors 'none'"
_YEAR_SECONDS = 31_536_000


#: Of all answers alike.
_ALWAYS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # Addresses carry secrets: of tickets, calendars, exports.
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


def apply(response: Response, *, is_https: bool) -> None:
    """Add the rules; an answer that has some of its own keeps them. What says nothing else is kept by nobody.

    Pictures may be shown by pages of any origin, as the frontend's. All else is read across origins by who asks for it
    as CORS wants, and is embedded nowhere.
    """
    mimetype = response.mimetype or ""
    rules = [
        *_ALWAYS,
        ("Content-Security-Policy", _VIEWED if mimetype == "application/pdf" else _NO_PAGE),
        ("Cross-Origin-Resource-Policy", "cross-origin" if mimetype.startswith("image/") else "same-origin"),
    ]
    if is_https:
        rules.append(("Strict-Transport-Security", f"max-age={_YEAR_SECONDS}"))
    # Every answer comes by here, and `setdefault` reads all headers again for each rule.
    given = {name.lower() for name, _ in response.headers}
    for name, rule in rules:
        if name.lower() not in given:
            response.headers.add(name, rule)
