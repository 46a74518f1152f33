"""Whether a day's money adds up."""

from __future__ import annotations

from models import User
from resources.base import ADMINS, Resource, endpoint
from schemas.reconciliation import DayQuery, ReconciliationOut
from services import reconciliation
from services.reconciliation import Reconciliation


class DayReconciliation(Resource):
    @endpoint(access=ADMINS, query=DayQuery, returns=ReconciliationOut)
    def get(self, _actor: User, query: DayQuery) -> Reconciliation:
        """Money without an order, orders without money, and refunds that do not arrive, of one day."""
        return reconciliation.report(query.day or reconciliation.yesterday())
