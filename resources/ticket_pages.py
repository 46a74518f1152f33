"""A ticket's page for a phone, and its files, at an address that is the permission, whoever's token comes with it."""

from __future__ import annotations

from flask import Response, render_template

from models import User
from resources.base import PUBLIC, Resource, endpoint
from services import holders
from services.check_in import TicketVoid
from utils import http, qr, tables

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
