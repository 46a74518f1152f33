"""What admins have to be told."""

from __future__ import annotations

from sqlalchemy import Select

from models import Alert, User
from resources.base import ADMINS, Resource, endpoint
from schemas.alerts import AlertOut
from schemas.common import Page
from services import alerts


class AlertList(Resource):
    @endpoint(access=ADMINS, query=Page, returns=list[AlertOut])
    def get(self, _actor: User, query: Page) -> Select[tuple[Alert]]:
        """All alerts, newest first."""
        return alerts.list_alerts()
