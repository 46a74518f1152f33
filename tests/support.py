"""Words that tests are written in."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import select

from models import (
    AccountStatus,
    Event,
    EventStatus,
    MessageChannel,
    MpesaMessage,
    Order,
    OrderStatus,
    Payment,
    Refund,
    RefundStatus,
    Role,
    Ticket,
    TicketType,
    TokenPurpose,
    User,
)
from services import (
    accounts,
    booking,
    events,
    ledger,
    moderation,
    one_time,
    orders,
    paybill,
    refunds,
    sessions,
    settlement,
    ticket_types,
)
from services.booking import Line
from services.sessions import Opened
from utils import clock
from utils.database import db, transaction
from utils.mpesa_reports import MoneyIn

PASSWORD = "maziwa-lala-2026"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def changed_settings(app: Flask, **changes: Any) -> Iterator[None]:
    """The app with other settings within the block."""
    before = app.extensions["settings"]
    app.extensions["settings"] = before.model_copy(update=changes)
    try:
        yield
    finally:
        app.extensions["settings"] = before


def together(*actions: Callable[[], Any]) -> list[Any]:
    """What the actions return, each run in a thread of its own, all let go at the same moment."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        start.wait(timeout=10)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [future.result(timeout=30) for future in [pool.submit(run, action) for action in actions]]


def bearer(app: Flask, user: User) -> dict[str, str]:
    """Headers of a request that `user` makes."""
    with app.app_context():
        return {"Authorization": f"Bearer {open_session(user).access_token}"}


def open_session(user: User) -> Opened:
    """A session of the user's, without a password."""
    with transaction():
        return sessions.start(user, user_agent="tests")


def mailed_secret(app: Flask, user: User, purpose: TokenPurpose, address: str | None = None) -> str:
    """The secret of a link that was mailed to the user."""
    with app.app_context(), transaction() as session:
        owner = session.get_one(User, user.id)
        return one_time.link(one_time.issue(purpose, owner, address or owner.email)).rsplit("/", 1)[1]


def success(amount_kes: float | None, receipt: str | None = "UKN7RT61SV", **ids: str) -> bytes:
    """A success callback as Safaricom posts it; what is None is left out."""
    items: list[dict[str, Any]] = [{"Name": "Balance"}]
    if amount_kes is not None:
        items.append({"Name": "Amount", "Value": float(amount_kes)})
    if receipt is not None:
        items.append({"Name": "MpesaReceiptNumber", "Value": receipt})
    items.append({"Name": "TransactionDate", "Value": 20261123213000})
    return _callback(0, {"CallbackMetadata": {"Item": items}}, ids)


def failure(code: int | str = 1032, **ids: str) -> bytes:
    """A failure callback as Safaricom posts it."""
    return _callback(code, {}, ids)


def failure_answer(code: int) -> bytes:
    """A query's answer that a prompt failed, as Safaricom gives it."""
    return json.dumps({"ResponseCode": "0", "ResultCode": str(code), "ResultDesc": "…"}).encode()


def _callback(code: int | str, more: dict[str, Any], ids: dict[str, str]) -> bytes:
    names = {"checkout": "CheckoutRequestID", "merchant": "MerchantRequestID"}
    result = {names[name]: value for name, value in ids.items()} | {"ResultCode": code, "ResultDesc": "…"} | more
    return json.dumps({"Body": {"stkCallback": result}}).encode()


_Row = TypeVar("_Row")


class Maker:
    """Makes what a test starts from, through the services, and reads back what came of it."""

    _numbers = itertools.count(1)

    def __init__(self, app: Flask) -> None:
        self.app = app

    # ── People

    def user(self, role: Role = Role.ATTENDEE, **facts: Any) -> User:
        number = next(self._numbers)
        facts = {
            "first_name": "Njeri",
            "last_name": f"Mwangi{number}",
            "email": f"person{number}@example.co.ke",
            "phone": f"2547{20_000_000 + number:08d}",
            "password": PASSWORD,
            "role": role,
            "is_verified": True,
        } | facts
        with self.app.app_context():
            return accounts.sign_up(**facts)

    def attendee(self, **facts: Any) -> User:
        return self.user(Role.ATTENDEE, **facts)

    def organizer(self, **facts: Any) -> User:
        return self.user(Role.ORGANIZER, **facts)

    def admin(self, **facts: Any) -> User:
        return self.user(Role.ADMIN, **facts)

    def ban(self, user: User) -> None:
        with self.app.app_context(), transaction() as session:
            session.get_one(User, user.id).status = AccountStatus.BANNED

    def headers(self, user: User) -> dict[str, str]:
        return bearer(self.app, user)

    # ── Catalogue

    def event(
        self,
        organizer: User | None = None,
        *,
        status: EventStatus = EventStatus.APPROVED,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        **facts: Any,
    ) -> Event:
        """An event in a week, approved; in the past when `starts_at` says so."""
        organizer = organizer or self.organizer()
        starts_at = starts_at or clock.ahead(days=7)
        facts = {
            "title": "Nairobi Jazz Night",
            "description": "Six bands and two stages.",
            "location": "Alchemist, Nairobi",
            "category": "Music",
            "tags": "jazz,live",
            "starts_at": starts_at,
            "ends_at": ends_at or starts_at + timedelta(hours=4),
        } | facts
        with self.app.app_context():
            with clock.set_to(min(clock.now(), starts_at - timedelta(days=30))):
                event = events.create_event(actor=organizer, facts=facts, image=None)
                if status in (EventStatus.APPROVED, EventStatus.REJECTED):
                    admin = self.admin()
                    is_approved = status is EventStatus.APPROVED
                    moderation.decide_event(actor=admin, event_id=event.id, is_approved=is_approved, reason="Why not")
            if status is EventStatus.CANCELLED:
                events.cancel_event(actor=organizer, event_id=event.id)
            return events.get_event(actor=organizer, event_id=event.id)

    def ticket_type(
        self, event: Event, *, name: str = "Regular", price: int = 500, quantity: int = 10, **facts: Any
    ) -> TicketType:
        """On sale for `event`."""
        facts = {"name": name, "price_kes": price, "quantity": quantity} | facts
        with self.app.app_context():
            organizer = db.session.get_one(User, event.organizer_id)
            return ticket_types.add_ticket_type(actor=organizer, event_id=event.id, facts=facts)

    def on_sale(self, **facts: Any) -> TicketType:
        """A ticket type of a new, approved event."""
        return self.ticket_type(self.event(), **facts)

    # ── Orders

    def order(
        self,
        buyer: User | None = None,
        ticket_type: TicketType | None = None,
        *,
        quantity: int = 1,
        phone: str | None = None,
    ) -> tuple[Order, str]:
        """An order whose prompt was never sent, and the secret of its callback address ("" if it is free)."""
        buyer = buyer or self.attendee()
        ticket_type = ticket_type or self.on_sale()
        return self.place(buyer, (ticket_type, quantity), phone=phone)

    def place(self, buyer: User, *cart: tuple[TicketType, int], phone: str | None = None) -> tuple[Order, str]:
        """As `order`, for several ticket types."""
        with self.app.app_context():
            lines = [Line(ticket_type_id=ticket_type.id, quantity=quantity) for ticket_type, quantity in cart]
            placed = booking.place_order(actor=buyer, phone=phone or buyer.phone, lines=lines)
            token = placed.prompt.token if placed.prompt else ""
        return self.read_order(placed.order_id), token

    def paid_order(
        self, buyer: User | None = None, ticket_type: TicketType | None = None, *, quantity: int = 1
    ) -> Order:
        """An order paid through the inbox."""
        order, token = self.order(buyer, ticket_type, quantity=quantity)
        if token:
            self.deliver(token, success(order.total_kes, new_receipt()))
        return self.read_order(order.id)

    def suspense(self, amount_kes: int = 500, *, reference: str = "KANISA") -> Payment:
        """Money that came by Paybill and names no order."""
        money = MoneyIn(new_receipt(), Decimal(amount_kes), reference, payer="254799000111")
        with self.app.app_context(), transaction():
            paybill.settle_money(money, channel=MessageChannel.PULL, received_at=clock.now())
            return db.session.scalars(select(Payment).where(Payment.receipt == money.receipt)).one()

    def failed_refund(self) -> Refund:
        """A refund of a whole order that M-PESA refused."""
        order = self.paid_order()
        with self.app.app_context():
            refunds.refund_order(actor=self.admin(), order_id=order.id, ticket_ids=None)
            with transaction() as session:
                refund = session.scalars(select(Refund).where(Refund.order_id == order.id)).one()
                refund.move_to(RefundStatus.SENT)
                ledger.fail_refund(refund, code="2001", reason="The initiator information is invalid.")
            return refund

    def deliver(self, token: str, body: bytes) -> str:
        """Put a callback into the inbox and settle it at once; returns the verdict."""
        with self.app.app_context():
            message_id = settlement.receive_callback(token=token, body=body, remote_address="127.0.0.1")
            settlement.settle_message(message_id)
            message = db.session.get_one(MpesaMessage, message_id, populate_existing=True)
            assert message.settled_at is not None
            return message.verdict or ""

    def settle_query(self, payment_id: int, body: bytes) -> None:
        """Settle what M-PESA answered to a question about a payment."""
        with self.app.app_context():
            with transaction():
                message_id = settlement.store(payment_id, MessageChannel.STK_QUERY, body, http_status=200)
            assert settlement.settle_message(message_id)

    # ── Reading back, from the database, never from memory

    def read_order(self, order_id: int) -> Order:
        """The order with event, items, payments and tickets."""
        with self.app.app_context():
            order = db.session.scalars(orders.whole_orders().where(Order.id == order_id)).one()
            db.session.expunge_all()
            return order

    def read_ticket_type(self, ticket_type_id: int) -> TicketType:
        with self.app.app_context():
            return db.session.scalars(select(TicketType).where(TicketType.id == ticket_type_id)).one()

    def payments(self, order_id: int) -> list[Payment]:
        return self.read_order(order_id).payments

    def tickets(self) -> list[Ticket]:
        with self.app.app_context():
            return list(db.session.scalars(select(Ticket).order_by(Ticket.id)))

    def status(self, order_id: int) -> OrderStatus:
        return self.read_order(order_id).status

    def rows(self, kind: type[_Row]) -> list[_Row]:
        """Everything there is of a kind, oldest first."""
        with self.app.app_context():
            return list(db.session.scalars(select(kind).order_by(kind.id)))  # type: ignore[attr-defined]

    def messages(self) -> list[MpesaMessage]:
        with self.app.app_context():
            return list(db.session.scalars(select(MpesaMessage).order_by(MpesaMessage.id)))


_receipts = itertools.count(1)


def new_receipt() -> str:
    """A receipt number nobody has used."""
    return f"UKN{next(_receipts):07d}"


def cart(*lines: tuple[TicketType, int], phone: str | None = None) -> dict[str, Any]:
    """The body of POST /orders as the frontend sends it: attendees as empty strings."""
    empty = {"first_name": "", "last_name": "", "email": "", "phone": ""}
    tickets = [
        {
            "ticket_id": one.id,
            "quantity": count,
            "attendees": [{"ticket_id": one.id, "ticket_type": one.name} | empty for _ in range(count)],
        }
        for one, count in lines
    ]
    return {"tickets": tickets} | ({"phone": phone} if phone else {})
