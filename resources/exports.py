"""An event's attendees as a file."""

from __future__ import annotations

from flask import Response

from models import User
from resources.base import ORGANIZERS, PUBLIC, Resource, endpoint
from schemas.exports import ExportFormat, ExportLink
from services import exports
from services.sessions import AccountBanned
from utils import tables
from utils.errors import Forbidden


class AttendeeExport(Resource):
    @endpoint(access=ORGANIZERS, query=ExportFormat, returns=None)
    def get(self, actor: User, event_id: int, query: ExportFormat) -> Response:
        """Who holds a ticket of one's own event, as CSV or XLSX."""
        return _file(exports.export_attendees(actor=actor, event_id=event_id, file_format=query.format), query.format)


class AttendeeExportLink(Resource):
    @endpoint(access=ORGANIZERS, body=ExportFormat, returns=ExportLink, status=201)
    def post(self, actor: User, event_id: int, body: ExportFormat) -> exports.Link:
        """An address that gives a browser the same file, without a token, for five minutes."""
        return exports.make_link(actor=actor, event_id=event_id, file_format=body.format)


class AttendeeExportByLink(Resource):
    # The signed address is what admits, whoever's token comes with it.
    @endpoint(
        access=PUBLIC,
        query=ExportFormat,
        returns=None,
        errors=(exports.LinkInvalid, exports.LinkExpired, AccountBanned, Forbidden),
    )
    def get(self, _actor: User | None, event_id: int, token: str, query: ExportFormat) -> Response:
        """The file, while the maker of the address may still have it."""
        return _file(exports.export_by_link(event_id=event_id, file_format=query.format, token=token), query.format)


def _file(table: exports.Table, file_format: str) -> Response:
    respond = tables.xlsx_response if file_format == tables.XLSX else tables.csv_response
    return respond(table.name, table.header, table.rows)
