"""Tickets people hold: what their holder gets for them, and what anybody may ask about a code."""

from __future__ import annotations

from flask import Response
from sqlalchemy import Select

from models import Ticket, User
from resources.base import LOGGED_IN, PUBLIC, Resource, endpoint
from schemas.common import Page
from schemas.tickets import HeldTicketOut, TicketCheck, TicketOut, TicketWord
from services import admission, holders
from services.check_in import TicketVoid
from utils import http, qr, tables

#: A GET that shows the first ticket of an event makes the key that it signs with, and writes nothing else.
_REFUSALS = (TicketVoid, holders.EventCancelled)


class MyTicketList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[TicketOut])
    def get(self, actor: User, query: Page) -> Select[tuple[Ticket]]:
        """One's own tickets, newest first."""
        return admission.list_tickets(actor=actor)


class TicketChecking(Resource):
    @endpoint(access=PUBLIC, query=TicketCheck, returns=TicketWord)
    def get(self, _actor: User | None, query: TicketCheck) -> holders.Checked:
        """Whether a ticket is still good, for who has its code; not whose it is."""
        return holders.check_code(query.code)


class TicketDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=HeldTicketOut)
    def get(self, actor: User, ticket_code: str) -> holders.HeldTicket:
        """One's own ticket, with what its QR code holds and the addresses that show it without a login."""
        return holders.get_ticket(actor=actor, code=ticket_code)


class TicketQrSvg(Resource):
    @endpoint(access=LOGGED_IN, returns=None, produces=("image/svg+xml",), errors=_REFUSALS)
    def get(self, actor: User, ticket_code: str) -> Response:
        """Its QR code, for screens."""
        held = holders.get_ticket(actor=actor, code=ticket_code)
        return http.answer_secret(qr.svg(holders.show_token(held)), "image/svg+xml")


class TicketQrPng(Resource):
    @endpoint(access=LOGGED_IN, returns=None, produces=("image/png",), errors=_REFUSALS)
    def get(self, actor: User, ticket_code: str) -> Response:
        """Its QR code, for programs that show no SVG."""
        held = holders.get_ticket(actor=actor, code=ticket_code)
        return http.answer_secret(qr.png(holders.show_token(held)), "image/png")


class TicketPdf(Resource):
    @endpoint(access=LOGGED_IN, returns=None, produces=("application/pdf",), errors=_REFUSALS)
    def get(self, actor: User, ticket_code: str) -> Response:
        """It to print."""
        sheets = holders.print_ticket(holders.get_ticket(actor=actor, code=ticket_code))
        name = tables.disposition(sheets.name, "pdf", is_shown=True)
        return http.answer_secret(sheets.pdf, "application/pdf", disposition=name)


class OrderTicketsPdf(Resource):
    @endpoint(
        access=LOGGED_IN,
        returns=None,
        produces=("application/pdf",),
        errors=(*_REFUSALS, holders.NoTickets, holders.PassedOn, holders.TooManyTickets),
    )
    def get(self, actor: User, order_id: int) -> Response:
        """All tickets of an order that are good, to print: a page each."""
        sheets = holders.print_order(actor=actor, order_id=order_id)
        name = tables.disposition(sheets.name, "pdf", is_shown=True)
        return http.answer_secret(sheets.pdf, "application/pdf", disposition=name)
