"""Passing tickets on and having them issued anew, by who is logged in; and accepting one, by who has the address."""

from __future__ import annotations

from flask import Response, render_template
from sqlalchemy import Select

from models import Transfer, User
from resources.base import LOGGED_IN, ORGANIZERS, PUBLIC, Resource, endpoint
from schemas.common import Message, Nothing, Page
from schemas.tickets import HeldTicketOut
from schemas.transfers import NewTransfer, OfferOut, TransferAcceptance, TransferListed, TransferOut
from services import possession, reissues, transfers
from services.holders import HeldTicket
from services.transfers import ChannelOff, NotPassedOn, OfferAccepted, OfferOpen, OfferWithdrawn, TooManyOffers
from utils import http
from utils.errors import Conflict, Invalid

_NOT_OFFERED = (*transfers.REFUSALS, OfferOpen, TooManyOffers, ChannelOff)
_NOT_ACCEPTED = (*transfers.REFUSALS, OfferAccepted, OfferWithdrawn)


class TicketTransfer(Resource):
    @endpoint(access=LOGGED_IN, returns=TransferOut)
    def get(self, actor: User, ticket_code: str) -> Transfer:
        """To whom one's ticket is on its way."""
        return transfers.get_offer(actor=actor, code=ticket_code)

    @endpoint(access=LOGGED_IN, body=NewTransfer, returns=TransferOut, status=201, errors=_NOT_OFFERED)
    def post(self, actor: User, ticket_code: str, body: NewTransfer) -> Transfer:
        """Send somebody a link that accepts one's ticket; until they use it, nothing changes."""
        return transfers.offer(possession.by_login(actor, ticket_code), **body.model_dump())

    @endpoint(access=LOGGED_IN, returns=TransferOut)
    def delete(self, actor: User, ticket_code: str) -> Transfer:
        """Take it back: the link ends."""
        return transfers.withdraw(possession.by_login(actor, ticket_code))


class TicketReissue(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=HeldTicketOut, errors=reissues.REFUSALS)
    def post(self, actor: User, ticket_code: str, body: Nothing) -> HeldTicket:
        """Another QR code, code and page for one's ticket, for a lost phone; the old ones end at once."""
        return reissues.reissue(possession.by_login(actor, ticket_code))


class TicketRefundAgreement(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=HeldTicketOut, errors=(NotPassedOn,))
    def post(self, actor: User, ticket_code: str, body: Nothing) -> HeldTicket:
        """Agree that the money of a ticket that was passed on to one may go back to its buyer; the ticket ends then."""
        return transfers.set_refund_agreement(possession.by_login(actor, ticket_code), agrees=True)

    @endpoint(access=LOGGED_IN, returns=HeldTicketOut, errors=(NotPassedOn,))
    def delete(self, actor: User, ticket_code: str) -> HeldTicket:
        """Not agree any more."""
        return transfers.set_refund_agreement(possession.by_login(actor, ticket_code), agrees=False)


class TransferPage(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None, offer_address: str) -> Response:
        """A page with a button that accepts a ticket; to look at it, as mail programs do, accepts nothing."""
        return _show(offer_address)

    @endpoint(
        access=PUBLIC, body=TransferAcceptance, returns=None, produces=("text/html",), errors=(*_NOT_ACCEPTED, Invalid)
    )
    def post(self, actor: User | None, offer_address: str, body: TransferAcceptance) -> Response:
        """Accept it: the page's button."""
        try:
            held = transfers.accept(offer_address, actor=actor, **body.model_dump())
        except (Conflict, Invalid) as refusal:
            return _show(offer_address, refusal)
        page = HeldTicketOut.model_validate(held).links.page
        return http.answer_form(render_template("transfer.html", held=held, page=page))


class TransferAccepting(Resource):
    @endpoint(access=PUBLIC, returns=OfferOut)
    def get(self, actor: User | None, offer_address: str) -> transfers.Offer:
        """What there is to accept, and from whom."""
        return transfers.read_offer(offer_address)

    @endpoint(access=PUBLIC, body=TransferAcceptance, returns=HeldTicketOut, errors=_NOT_ACCEPTED)
    def post(self, actor: User | None, offer_address: str, body: TransferAcceptance) -> HeldTicket:
        """Accept it, once: into one's account when logged in, or else without one."""
        return transfers.accept(offer_address, actor=actor, **body.model_dump())


class EventTransferList(Resource):
    @endpoint(access=ORGANIZERS, query=Page, returns=list[TransferListed])
    def get(self, actor: User, event_id: int, query: Page) -> Select[tuple[Transfer]]:
        """Who passed which ticket of one's own event on, newest first."""
        return transfers.list_transfers(actor=actor, event_id=event_id)


class TicketReissueForHolder(Resource):
    @endpoint(access=ORGANIZERS, body=Nothing, returns=Message, errors=(*reissues.REFUSALS, ChannelOff))
    def post(self, actor: User, ticket_id: int, body: Nothing) -> Message:
        """Issue a ticket anew for its holder, who alone is sent the new one."""
        reissues.reissue_for_holder(actor=actor, ticket_id=ticket_id)
        return Message(message="The ticket has been issued anew. Its holder has the new one; the old one has ended.")


def _show(address: str, refusal: Conflict | Invalid | None = None) -> Response:
    offer = transfers.read_offer(address)
    page = render_template("transfer.html", offer=offer, refusal=refusal)
    return http.answer_form(page, 200 if refusal is None else refusal.status)
