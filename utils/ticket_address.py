"""The secret part of the address of a ticket's page, `/t/<address>`: who has it has what the ticket's holder gets.

It is made anew each time, out of SECRET_KEY, so nothing in the database or a copy of it opens a ticket. It names the
rotation, so it ends when the ticket is issued anew. A new SECRET_KEY changes it.
"""

from __future__ import annotations

from utils import signing

_PURPOSE = "ticket page"


def make(ticket_id: int, rotation: int) -> str:
    return signing.sign(_PURPOSE, (ticket_id, rotation), expires_at=None)


def read(address: str) -> tuple[int, int]:
    """The ticket's id, and which issue of it. Raises signing.NotSigned."""
    ticket_id, rotation = signing.verify(_PURPOSE, address)
    return int(ticket_id), int(rotation)
