"""Whose a ticket is: who may pass it on, have it issued anew, or agree to its refund."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from models import Ticket, User
from services import gate
from services.holders import TicketSuperseded
from utils import references, signing, ticket_address
from utils.database import db
from utils.errors import Forbidden, NotFound

_NONE = "There is no such ticket."


class LoginNeeded(Forbidden):
    code, message = "login_needed", "This ticket belongs to an account: please log in to do this."


@dataclass(frozen=True)
class Possession:
    """What somebody says: this ticket is mine. Whether it is, `lock` tells."""

    ticket_id: int
    #: By login; or else by the address of the page of this issue.
    holder: User | None = None
    rotation: int | None = None

    def lock(self) -> Ticket:
        """The ticket with its type and event, its row locked until the transaction ends.

        Who has an account logs in: the address of a page may be in other hands. Raises NotFound, TicketSuperseded,
        LoginNeeded.
        """
        ticket = gate.lock_ticket(self.ticket_id)
        if self.holder is not None:
            if ticket.holder_id != self.holder.id:
                raise NotFound(_NONE)
            return ticket
        if ticket.rotation != self.rotation:
            raise TicketSuperseded
        if ticket.holder_id is not None:
            raise LoginNeeded
        return ticket


def by_login(actor: User, code: str) -> Possession:
    """Raises NotFound."""
    own = select(Ticket.id).where(Ticket.code == references.grouped(code), Ticket.holder_id == actor.id)
    ticket_id = db.session.scalar(own)
    if ticket_id is None:
        raise NotFound(_NONE)
    return Possession(ticket_id, holder=actor)


def by_address(address: str) -> Possession:
    """Raises NotFound."""
    try:
        ticket_id, rotation = ticket_address.read(address)
    except signing.NotSigned:
        raise NotFound("There is no ticket at this address.") from None
    return Possession(ticket_id, rotation=rotation)
