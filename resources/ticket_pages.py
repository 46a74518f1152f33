"""A ticket's page for a phone, and its files, at an address that is the permission, whoever's token comes with it."""

from __future__ import annotations

from flask import Response, render_template

from models import User
from resources.base import PUBLIC, Resource, endpoint
from schemas.transfers import TicketAction
from services import holders, possession, reissues, transfers
from services.check_in import TicketVoid
from utils import http, qr, tables
from utils.errors import Conflict, Forbidden, NotFound

_REFUSALS = (TicketVoid, holders.TicketSuperseded, holders.EventCancelled)
#: The page brings its own style, loads nothing and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class TicketPage(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None, ticket_address: str) -> Response:
        """The ticket as one shows it at the door; of one that lets nobody in, why that is."""
        held = holders.open_ticket(ticket_address)
        picture = qr.svg(held.token).decode() if held.token else None
        page = render_template(
            "ticket.html", held=held, standing=held.standing.value, picture=picture, address=ticket_address
        )
        response = http.answer_secret(page, "text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = _POLICY
        return response


class TicketPageQrSvg(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("image/svg+xml",), errors=_REFUSALS)
    def get(self, _actor: User | None, ticket_address: str) -> Response:
        """Its QR code, for screens."""
        return http.answer_secret(qr.svg(holders.show_token(holders.open_ticket(ticket_address))), "image/svg+xml")


class TicketPageQrPng(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("image/png",), errors=_REFUSALS)
    def get(self, _actor: User | None, ticket_address: str) -> Response:
        """Its QR code, for programs that show no SVG."""
        return http.answer_secret(qr.png(holders.show_token(holders.open_ticket(ticket_address))), "image/png")


class TicketPagePdf(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("application/pdf",), errors=_REFUSALS)
    def get(self, _actor: User | None, ticket_address: str) -> Response:
        """The ticket to print."""
        sheets = holders.print_ticket(holders.open_ticket(ticket_address))
        name = tables.disposition(sheets.name, "pdf", is_shown=True)
        return http.answer_secret(sheets.pdf, "application/pdf", disposition=name)


class TicketManagement(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None, ticket_address: str) -> Response:
        """What who holds a ticket without an account can do with it: pass it on, have it issued anew."""
        return _manage(ticket_address)

    @endpoint(
        access=PUBLIC,
        body=TicketAction,
        returns=None,
        produces=("text/html",),
        errors=(
            *(*transfers.REFUSALS, *reissues.REFUSALS, holders.TicketSuperseded, possession.LoginNeeded),
            *(transfers.OfferOpen, transfers.TooManyOffers, transfers.ChannelOff, transfers.NotPassedOn),
        ),
    )
    def post(self, _actor: User | None, ticket_address: str, body: TicketAction) -> Response:
        """Do it: the page's buttons."""
        try:
            return _manage(ticket_address, _act(ticket_address, body))
        except (Conflict, Forbidden, NotFound) as refusal:
            return _manage(ticket_address, refusal.message, refusal.status)


def _act(address: str, body: TicketAction) -> str:
    """What was done, in a sentence."""
    own = possession.by_address(address)
    match body.action:
        case "transfer":
            transfers.offer(own, email=body.email, phone=body.phone)
            return "The ticket is on its way. It stays yours until it is accepted."
        case "withdraw":
            transfers.withdraw(own)
            return "The ticket is not on its way to anybody any more."
        case "reissue":
            return (
                f"The ticket has been issued anew. We have sent its new address to {reissues.reissue_by_message(own)}."
            )
        case "agree_to_refund":
            transfers.set_refund_agreement(own, agrees=True)
            return "You agree that the ticket may be refunded. It stays good until it is."
        case "refuse_refund":
            transfers.set_refund_agreement(own, agrees=False)
            return "The ticket will not be refunded."


def _manage(address: str, note: str | None = None, status: int = 200) -> Response:
    held = holders.open_ticket(address)
    page = render_template(
        "manage.html",
        held=held,
        standing=held.standing.value,
        is_managed_here=held.is_managed_here,
        offer=transfers.waiting_offer(held) if held.is_managed_here else None,
        note=note,
    )
    return http.answer_form(page, status)
