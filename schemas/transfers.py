"""Passing tickets on: what the sender says, what the receiver sees, and who held a ticket before."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasPath, ConfigDict, Field, model_validator

from schemas.common import EMPTY_IS_NONE, Answer, Email, Name, Phone, Request, When, Word, refuse
from schemas.events import EventBrief

_Name = Annotated[Name | None, EMPTY_IS_NONE]
_ONE_WAY = "Please give either an e-mail address or a phone number."


class NewTransfer(Request):
    """Whom to send the address to that accepts the ticket: an `email` or a `phone`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"phone": "254712345678", "first_name": "Kamau", "last_name": "Njoroge"}],
        }
    )

    email: Annotated[Email | None, EMPTY_IS_NONE] = None
    phone: Annotated[Phone | None, EMPTY_IS_NONE] = None
    #: Who it is for; they can say so themselves.
    first_name: _Name = None
    last_name: _Name = None

    @model_validator(mode="after")
    def _check_goes_one_way(self) -> NewTransfer:
        if (self.email is None) == (self.phone is None):
            raise refuse(_ONE_WAY)
        return self


class TicketAction(Request):
    """What the form of a ticket's page asks for; an `email` or a `phone` is where to send it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": "transfer", "email": "kamau@example.co.ke"}]})

    action: Literal["transfer", "withdraw", "reissue", "agree_to_refund", "refuse_refund"]
    email: Annotated[Email | None, EMPTY_IS_NONE] = None
    phone: Annotated[Phone | None, EMPTY_IS_NONE] = None

    @model_validator(mode="after")
    def _check_goes_one_way(self) -> TicketAction:
        if self.action == "transfer" and (self.email is None) == (self.phone is None):
            raise refuse(_ONE_WAY)
        return self


class TransferAcceptance(Request):
    """Who comes; as the sender said, or as the account says, when left out."""

    first_name: _Name = None
    last_name: _Name = None


class TransferOut(Answer):
    """A ticket on its way to somebody, or past that, as its sender sees it."""

    id: int
    #: `offered`, `accepted` or `withdrawn`.
    status: Word
    email: str | None = Field(validation_alias="to_email")
    phone: str | None = Field(validation_alias="to_phone")
    first_name: str | None
    last_name: str | None
    offered_at: When
    ended_at: When | None


class OfferOut(Answer):
    """A ticket that somebody may accept, for who has its address."""

    #: `open`; or why it cannot be accepted: `offer_accepted`, `offer_withdrawn`, `transfers_closed`, `ticket_void` …
    status: str
    message: str
    sender: str = Field(validation_alias=AliasPath("transfer", "from_name"))
    first_name: str | None = Field(validation_alias=AliasPath("transfer", "first_name"))
    last_name: str | None = Field(validation_alias=AliasPath("transfer", "last_name"))
    type: str = Field(validation_alias="ticket_type")
    event: EventBrief


class TransferListed(Answer):
    """One step of a ticket's way, for the organizer: who had it, and who has got it."""

    id: int
    ticket_id: int
    type: str = Field(validation_alias=AliasPath("ticket", "ticket_type", "name"))
    status: Word
    sender: str = Field(validation_alias="from_name")
    #: Null until it is accepted.
    receiver: str | None
    #: `email` or `sms`.
    channel: str
    offered_at: When
    ended_at: When | None
