"""The browser that is installed on this machine."""

from __future__ import annotations

import shutil

#: It talks to nobody but the pages that tests open.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    # Pages that tests make up come from no address at all, and may not call one of this machine otherwise.
    "--disable-features=LocalNetworkAccessChecks",
]


def find() -> str | None:
    """The program's path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)
