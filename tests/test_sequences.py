"""Whatever comes, in whatever order: what must hold for orders, money, places and tickets holds after each step."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.orm import selectinload

from models import MessageChannel, Order, OrderStatus, Payment, PaymentStatus, Ticket, TicketType, User
from services import booking, prompts, settlement, stock
from tests.support import Maker, changed_settings, failure, new_receipt, success
from utils import clock
from utils.database import db, transaction
from utils.errors import TicksyError

CODES = [0, 0, 0, 1, 1032, 1037, 2001, 7777, 4999, "SFC_IC0003", None]
#: States an order reaches by money alone. Nothing here refunds, so it stays there.
BY_MONEY = frozenset({OrderStatus.PAID, OrderStatus.REFUND_DUE})


class Shop:
    """Two small ticket types, some buyers, and dice that decide what happens next."""

    def __init__(self, make: Maker, dice: random.Random) -> None:
        self.dice = dice
        self.types = [make.on_sale(name="One", price=300, quantity=3)]
        self.types.append(make.ticket_type(self.types[0].event, name="Two", price=200, quantity=2))
        self.buyers = [make.attendee() for _ in range(3)]
        self.receipts = [new_receipt() for _ in range(2)]
        self.seen: dict[int, OrderStatus] = {}

    def step(self) -> None:
        steps = [self.order, self.order, self.message, self.message, self.message, self.message, self.message]
        steps += [self.cancel, self.prompt_again, self.let_end, self.tidy_up]
        try:
            self.dice.choice(steps)()
        except TicksyError:  # a rule said no, and nothing happened
            pass
        finally:
            db.session.rollback()

    def order(self) -> None:
        buyer = self.dice.choice(self.buyers)
        types = self.dice.choice([self.types, self.types[:1], self.types[1:]])
        lines = [booking.Line(one.id, self.dice.choice([1, 1, 2])) for one in types]
        booking.place_order(actor=buyer, phone=buyer.phone, lines=lines)

    def message(self) -> None:
        order = self._any_order()
        payment = self.dice.choice(order.payments)
        channel = self.dice.choice([MessageChannel.STK_CALLBACK, *MessageChannel])
        with transaction():
            message_id = settlement.store(payment.id, channel, self._body(channel, payment))
        assert settlement.settle_message(message_id)

    def _body(self, channel: MessageChannel, payment: Payment) -> bytes:
        code = self.dice.choice(CODES)
        ids = {"checkout": f"ws_CO_{self.dice.choice([payment.id, payment.id, 1])}"} if self.dice.random() < 0.5 else {}
        if code is None:
            return self.dice.choice([b"", b"{}", b"[1]", b"\xff"])
        if channel is MessageChannel.STK_QUERY:
            return json.dumps({"ResultCode": str(code), "CheckoutRequestID": ids.get("checkout")}).encode()
        if code != 0:
            return failure(code, **ids)
        amount = self.dice.choice([payment.amount_kes] * 4 + [payment.amount_kes + 1, None])
        return success(amount, self.dice.choice([None, *self.receipts, new_receipt(), new_receipt()]), **ids)

    def cancel(self) -> None:
        order = self._any_order()
        booking.cancel_order(actor=db.session.get_one(User, order.buyer_id), order_id=order.id)

    def prompt_again(self) -> None:
        order = self._any_order()
        with transaction(), clock.set_to(clock.ahead(seconds=self.dice.choice([0, 121]))):
            order = settlement.lock_order(order.id)
            if order.is_open:
                prompts.open_prompt(order)

    def let_end(self) -> None:
        with transaction() as session:
            session.execute(
                update(Order).where(Order.id == self._any_order().id).values(expires_at=clock.ago(seconds=1))
            )

    def tidy_up(self) -> None:
        with transaction():
            stock.release(stock.expire_ended_orders())

    def _any_order(self) -> Order:
        orders = db.session.scalars(select(Order).order_by(Order.id).options(selectinload(Order.payments))).all()
        if not orders:
            raise TicksyError
        return self.dice.choice(orders)

    def check(self) -> None:
        held, sold = Counter[int](), Counter[int]()
        tickets = _count(Ticket.order_id)
        orders = db.session.scalars(select(Order).options(selectinload(Order.items), selectinload(Order.payments)))
        for order in orders.all():
            paid = [one for one in order.payments if one.status is PaymentStatus.PAID]
            assert len(paid) == (order.status in BY_MONEY), "one payment, and only one, stands behind it"
            places = order.wanted if order.status is OrderStatus.PAID else {}
            assert tickets.get(order.id, 0) == sum(places.values()), "tickets for money, and no others"
            sold.update(places)
            if order.status is OrderStatus.PENDING:
                held.update(order.wanted)
            before = self.seen.get(order.id)
            assert before not in BY_MONEY or before is order.status, "money is never forgotten"
            self.seen[order.id] = order.status
        tickets = _count(Ticket.ticket_type_id)
        for one in db.session.scalars(select(TicketType)):
            assert (one.sold, one.held) == (sold[one.id], held[one.id])
            assert one.sold == tickets.get(one.id, 0)
            assert one.sold + one.held <= one.quantity, "not one too many"
        db.session.rollback()


def _count(column: Any) -> dict[int, int]:
    return dict(db.session.execute(select(column, func.count()).group_by(column)).tuples().all())


@pytest.fixture
def no_limits(app: Flask) -> Callable[[], Any]:
    return lambda: changed_settings(app, OPEN_ORDERS_PER_EVENT=99, PROMPTS_PER_PHONE_AND_HOUR=999)


@pytest.mark.parametrize("seed", range(80))
def test_no_sequence_of_steps_breaks_what_must_hold(
    app: Flask, make: Maker, no_limits: Callable[[], Any], seed: int
) -> None:
    shop = Shop(make, random.Random(seed))
    with no_limits(), app.app_context():
        shop.order()
        for _ in range(15):
            shop.step()
            shop.check()
