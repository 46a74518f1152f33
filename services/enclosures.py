"""What goes with an e-mail as files: the tickets of an order that was paid, and its date for a calendar."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from models import Notification, NotificationKind, Order
from services import calendars, holders
from utils.database import db
from utils.errors import TicksyError
from utils.mail import File

log = logging.getLogger(__name__)


def enclose(message: Notification) -> list[File]:
    """The files of this message, as things are now. Of an order whose tickets are no good any more there are none, and
    of one with more tickets than go into one file (`holders.MOST_SHEETS`) only the date."""
    if message.kind is not NotificationKind.ORDER_PAID:
        return []
    own = select(Order).where(Order.reference == message.facts["order"], Order.buyer_id == message.user_id)
    order = db.session.scalar(own.options(joinedload(Order.buyer)))
    if order is None:
        return []
    files = []
    try:
        sheets = holders.print_order(actor=order.buyer, order_id=order.id)
        files.append(File(f"tickets-{order.reference}.pdf", "application/pdf", sheets.pdf))
    except holders.TooManyTickets:
        pass
    except TicksyError:
        return []
    except Exception:  # the codes in the message are what matters: it goes without its files
        log.exception("the tickets of order %s could not be printed", order.reference)
        return []
    date = calendars.write_event(actor=order.buyer, event_id=order.event_id)
    return [*files, File("event.ics", "text/calendar", date.body)]
