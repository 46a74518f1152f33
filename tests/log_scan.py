"""Looks for secrets in what was logged while the tests ran: with eyes of its own, not with those that masked them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

#: What secrets look like.
SHAPES = {
    "an access token": r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}",
    "a secret of 32 digits": r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])",
    "a signed address": r"[\w-]{8,}\.[\w-]{43}(?![\w-])",
    "a phone number": r"(?<![0-9a-z])(?:\+?254|0)[17]\d{8}(?![0-9a-z])",
    "a ticket's code": r"\b[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}\b",
    "what a ticket's QR code holds": r"[A-Z2-7]{120,}",
    "a password's hash": r"\$2[aby]\$\d\d\$",
    "a secret of the settings": (
        "only-for-(?:tests|chaos)-|simulator-(?:passkey|consumer-secret|initiator-password)|very-secret"
    ),
    "a password": "maziwa-lala-2026|chapati-na-chai-2026",
}


def find_secrets(folder: Path) -> Iterator[str]:
    """A sentence for each line with a secret in it."""
    for file in sorted(folder.glob("*.log")):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            for name, shape in SHAPES.items():
                if re.search(shape, line):
                    yield f"{name} in {file.name}, line {number}: {line[:500]}"


def count_lines(folder: Path) -> int:
    return sum(len(file.read_text(errors="replace").splitlines()) for file in folder.glob("*.log"))
