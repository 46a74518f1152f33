"""The audit log."""

from __future__ import annotations

from flask import Response
from sqlalchemy import Select

from models import AuditLog, User
from resources.base import ADMINS, Resource, endpoint
from schemas.logs import LogLine, LogSearch
from services import logs
from utils.tables import csv_response


class LogList(Resource):
    @endpoint(access=ADMINS, query=LogSearch, returns=list[LogLine], produces=("text/csv",))
    def get(self, _actor: User, query: LogSearch) -> Select[tuple[AuditLog]] | Response:
        """Who changed what, newest first; `format=csv` gives all of it as a file."""
        search = logs.Search(
            user=query.user,
            action=query.action,
            target_type=query.target_type,
            target_id=query.target_id,
            since=query.from_,
            until=query.to,
        )
        if query.format == "csv":
            lines = logs.stream_lines(search)
            return csv_response("audit-log", LogLine.columns(), (LogLine.cells(line) for line in lines))
        return logs.list_lines(search)
