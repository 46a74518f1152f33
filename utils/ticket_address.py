"""Secret parts of addresses: of a ticket's page, `/t/<address>`, and of what accepts one, `/transfers/<address>`.

Who has the first has what the ticket's holder gets; who has the second gets the ticket, once. Both are made anew each
time, out of SECRET_KEY, so nothing in the database or a copy of it opens a ticket. A page's names the rotation, so it
ends when the ticket is issued anew. Both end when SECRET_KEYS_OLD has the key no more that they were signed with.
"""

from __future__ import annotations

from utils import signing

_PURPOSE, _OFFER = "ticket page", "ticket transfer"


def make(ticket_id: int, rotation: int) -> str:
    return signing.sign(_PURPOSE, (ticket_id, rotation), expires_at=None)


def read(address: str) -> tuple[int, int]:
    """The ticket's id, and which issue of it. Raises signing.NotSigned."""
    ticket_id, rotation = signing.verify(_PURPOSE, address)
    return int(ticket_id), int(rotation)


def make_offer(transfer_id: int) -> str:
    return signing.sign(_OFFER, (transfer_id,), expires_at=None)


def read_offer(address: str) -> int:
    """The transfer's id. Raises signing.NotSigned."""
    (transfer_id,) = signing.verify(_OFFER, address)
    return int(transfer_id)
