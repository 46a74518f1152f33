"""What counts as sold and what it brought: the one definition behind every figure, report and export.

A ticket is issued when its order's money has come, and counts from then on (`Ticket.issued_at`, which is
`Order.paid_at`) until its money starts on its way back (`ENDED_AT`). Prices of all tickets that were issued are the
gross; of those that ended, the refunds; of those that count, the net, which is what revenue means everywhere. All of
them are at the prices that were paid. So all figures come from tickets alone, however many orders there are.

Money that never became tickets is in none of them: it came too late, twice, or for nothing we know, and goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, and_, cast, func, not_

from models import Ticket, TicketStatus
from utils import clock

#: SQL, of tickets: whether one counts. One that was used stays used when M-PESA takes its order's money back by itself,
#: and counts no more.
COUNTS = and_(Ticket.status != TicketStatus.VOID, Ticket.taken_back_at.is_(None))
#: SQL, of the same: since when a ticket counts no more; null while it does.
ENDED_AT = func.coalesce(Ticket.voided_at, Ticket.taken_back_at)

_total = func.sum(Ticket.price_kes)
#: SQL, of the same, whole shillings of the tickets at hand: of all of them, of those that ended, of those that count.
GROSS = cast(func.coalesce(_total, 0), BigInteger)
REFUNDED = cast(func.coalesce(_total.filter(not_(COUNTS)), 0), BigInteger)
NET = cast(func.coalesce(_total.filter(COUNTS), 0), BigInteger)


@dataclass(frozen=True)
class Period:
    """Days of Nairobi, both of them included; without one it has no bound there."""

    first: date | None = None
    last: date | None = None

    def has(self, instant: SQLColumnExpression[Any]) -> list[ColumnElement[bool]]:
        """SQL: what an instant must be to lie within."""
        bounds: list[ColumnElement[bool]] = [instant.is_not(None)]
        if self.first is not None:
            bounds.append(instant >= _midnight(self.first))
        if self.last is not None:
            bounds.append(instant < _midnight(self.last) + timedelta(days=1))
        return bounds


def _midnight(day: date) -> datetime:
    return clock.to_utc(datetime.combine(day, time(), clock.NAIROBI))
