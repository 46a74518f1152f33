"""Whatever happens to orders and money, in whatever order: what must hold holds after every single step."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, update
from sqlalchemy.orm import selectinload

from models import (
    ORDER_MOVES,
    PAYMENT_MOVES,
    REFUND_MOVES,
    Event,
    EventStatus,
    MessageChannel,
    MpesaLine,
    MpesaRequest,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RequestKind,
    Ticket,
    TicketStatus,
    TicketType,
    User,
)
from services import booking, claims, events, locks, paybill, payouts, pulls, pushes, refunds, settlement, stock
from tests.conftest import empty_tables
from tests.support import Maker, changed_settings, failure, success
from utils import clock
from utils.database import db, transaction
from utils.errors import TicksyError
from utils.mpesa import Accepted, Refused, Taken, Unknown
from utils.mpesa_reports import MoneyIn

DICE = st.integers(min_value=0, max_value=1_000_000)
MOODS = st.sampled_from(["taken", "taken", "taken", "refused", "unknown"])
CODES = [0, 0, 0, 1, 1032, 1037, 7777, 4999]
#: Few enough that the same one comes up again for another payment.
RECEIPTS = [f"UKN00000{number:02d}" for number in range(12)]


class SilentDaraja:
    """Takes, refuses or loses every request, as told; says nothing by itself."""

    outcome = "taken"

    def push(self, **_: Any) -> object:
        outcome = self._outcome(None)
        return Accepted(uuid.uuid4().hex, f"ws_CO_{uuid.uuid4().hex}") if isinstance(outcome, Taken) else outcome

    def reverse(self, **_: Any) -> object:
        return self._outcome(None)

    def ask_status(self, **_: Any) -> object:
        return self._outcome(None)

    def pay_out(self, *, originator_conversation_id: str, **_: Any) -> object:
        return self._outcome(originator_conversation_id)

    def _outcome(self, ours: str | None) -> object:
        if self.outcome == "refused":
            return Refused("2001")
        if self.outcome == "unknown":
            return Unknown("ReadTimeout")
        return Taken(f"AG_{uuid.uuid4().hex}", ours or uuid.uuid4().hex)


def _reachable(moves: dict[Any, frozenset[Any]]) -> dict[Any, set[Any]]:
    reach = {start: {start, *ends} for start, ends in moves.items()}
    for _ in moves:
        for ends in reach.values():
            ends |= {end for middle in set(ends) for end in reach[middle]}
    return reach


REACHABLE = {Order: _reachable(ORDER_MOVES), Payment: _reachable(PAYMENT_MOVES), Refund: _reachable(REFUND_MOVES)}


class Shop(RuleBasedStateMachine):
    """Two small ticket types, some buyers, M-PESA in any mood, and people who refund, cancel and look."""

    app: Flask
    database_url: str

    def __init__(self) -> None:
        super().__init__()
        empty_tables(self.database_url)
        self.daraja = SilentDaraja()
        self.app.extensions["daraja"] = self.daraja
        self.context = self.app.app_context()
        self.context.push()
        make = Maker(self.app)
        self.types = [make.on_sale(name="One", price=300, quantity=3)]
        self.types.append(make.ticket_type(self.types[0].event, name="Two", price=200, quantity=2))
        self.buyers = [make.attendee() for _ in range(3)]
        self.admin = make.admin()
        self.seen: dict[tuple[type, int], Any] = {}
        self.order_more(0)

    def teardown(self) -> None:
        db.session.rollback()
        self.context.pop()

    # ── What buyers do ───────────────────────────────────────────────────────────────────────────────────

    @rule(dice=DICE, mood=MOODS)
    def order_more(self, dice: int, mood: str = "taken") -> None:
        self.daraja.outcome = mood
        buyer = self.buyers[dice % 3]
        types = [self.types, self.types[:1], self.types[1:]][dice // 3 % 3]
        lines = [booking.Line(one.id, [1, 1, 2][dice // 9 % 3]) for one in types]
        with suppress(TicksyError):
            # Of some the process dies before the push.
            order = booking.place_order if dice // 27 % 4 == 0 else booking.check_out
            order(actor=buyer, phone=buyer.phone, lines=lines)

    @rule(dice=DICE)
    def cancel(self, dice: int) -> None:
        order = self._order(dice)
        with suppress(TicksyError):
            booking.cancel_order(actor=db.session.get_one(User, order.buyer_id), order_id=order.id)

    @rule(dice=DICE, mood=MOODS)
    def prompt_again(self, dice: int, mood: str) -> None:
        self.daraja.outcome = mood
        order = self._order(dice)
        with suppress(TicksyError):
            booking.pay_order(actor=db.session.get_one(User, order.buyer_id), order_id=order.id)

    @rule(dice=DICE)
    def let_end(self, dice: int) -> None:
        with transaction() as session:
            ended = update(Order).where(Order.id == self._order(dice).id)
            session.execute(ended.values(expires_at=clock.ago(seconds=1)))

    @rule(dice=DICE)
    def claim(self, dice: int) -> None:
        order = self._order(dice)
        buyer = db.session.get_one(User, order.buyer_id)
        with suppress(TicksyError):
            claims.claim_payment(actor=buyer, order_id=order.id, receipt=RECEIPTS[dice // 7 % len(RECEIPTS)])

    @rule()
    def match_claims(self) -> None:
        claims.match_open_claims()

    @rule()
    def mark_lost_prompts(self) -> None:
        with clock.set_to(clock.ahead(minutes=10)):
            pushes.mark_lost_prompts()

    @rule()
    def tidy_up(self) -> None:
        with transaction():
            stock.release(stock.expire_ended_orders())

    # ── What M-PESA says ─────────────────────────────────────────────────────────────────────────────────

    @rule(dice=DICE, channel=st.sampled_from(["stk_callback", "stk_callback", "stk_query", "stk_hint"]))
    def message(self, dice: int, channel: str) -> None:
        payments = [one for one in self._order(dice).payments if one.phone is not None]
        if not payments:
            return
        payment = payments[dice // 7 % len(payments)]
        if payment.status is PaymentStatus.QUEUED:
            return  # nothing was sent, so nobody can speak of it
        kind = MessageChannel(channel)
        with transaction():
            message_id = settlement.store(payment.id, kind, self._body(kind, payment, dice // 50))
        assert settlement.settle_message(message_id)

    def _body(self, channel: MessageChannel, payment: Payment, dice: int) -> bytes:
        code = CODES[dice % len(CODES)]
        if channel is MessageChannel.STK_QUERY:
            return json.dumps({"ResultCode": str(code)}).encode()
        if code != 0:
            return failure(code)
        amount = [payment.amount_kes, payment.amount_kes, payment.amount_kes + 1, None][dice // 8 % 4]
        return success(amount, [None, *RECEIPTS][dice // 32 % (len(RECEIPTS) + 1)])

    @rule(dice=DICE, listed=st.sampled_from([MessageChannel.PULL, MessageChannel.C2B]))
    def money_by_itself(self, dice: int, listed: MessageChannel) -> None:
        order = self._order(dice)
        money = MoneyIn(
            receipt=RECEIPTS[dice // 3 % len(RECEIPTS)],
            amount=Decimal(order.total_kes + [0, 0, 0, 1][dice // 40 % 4]),
            reference=[order.reference, order.reference.lower(), "NOBODYS", None][dice // 160 % 4],
            at=clock.now(),
            payer="254700000001",
        )
        with transaction():
            paybill.settle_money(money, channel=listed, received_at=clock.now())

    @rule(hours=st.sampled_from([0, 1, 2]))
    def list_was_read(self, hours: int) -> None:
        """And showed nothing new: what it does not show was not paid."""
        with transaction() as session:
            session.merge(MpesaLine(id=1, pulled_until=clock.ahead(hours=hours), next_push_at=clock.now()))
        pulls.close_unheard()
        pulls.close_counted()

    @rule(dice=DICE)
    def reversed_by_safaricom(self, dice: int) -> None:
        with transaction():
            paybill.take_back(RECEIPTS[dice % len(RECEIPTS)], channel=MessageChannel.PULL)

    @rule(dice=DICE, mood=MOODS)
    def look_after_refunds(self, dice: int, mood: str) -> None:
        self.daraja.outcome = mood
        with clock.set_to(clock.ahead(seconds=[0, 20, 4000][dice % 3])):
            payouts.look_after_refunds()

    @rule(dice=DICE, code=st.sampled_from(["0", "0", "0", "1", "2001", "R000001", "12345"]), is_foreign=st.booleans())
    def result(self, dice: int, code: str, is_foreign: bool) -> None:
        requests = db.session.scalars(select(MpesaRequest).order_by(MpesaRequest.id)).all()
        if not requests:
            return
        request = requests[dice % len(requests)]
        told: dict[str, Any] = {
            "ResultCode": code,
            "ConversationID": "AG_foreign" if is_foreign and dice % 3 == 0 else request.conversation_id,
        }
        if request.kind is RequestKind.STATUS:
            status = ["Completed", "Reversed", "Declined"][dice // 9 % 3]
            told["ResultParameters"] = {"ResultParameter": [{"Key": "TransactionStatus", "Value": status}]}
        with transaction() as session:
            message_id = settlement.store(None, MessageChannel.RESULT, json.dumps({"Result": told}).encode())
            session.get_one(settlement.MpesaMessage, message_id).request_id = request.id
        assert settlement.settle_message(message_id)

    # ── What people do ───────────────────────────────────────────────────────────────────────────────────

    @rule(dice=DICE)
    def refund(self, dice: int) -> None:
        order = self._order(dice)
        tickets = db.session.scalars(select(Ticket.id).where(Ticket.order_id == order.id).order_by(Ticket.id)).all()
        chosen = None if dice % 2 or not tickets else [tickets[dice // 5 % len(tickets)]]
        with suppress(TicksyError):
            refunds.refund_order(actor=self.admin, order_id=order.id, ticket_ids=chosen)

    @rule(dice=DICE)
    def use_a_ticket(self, dice: int) -> None:
        valid = select(Ticket.id).where(Ticket.status == TicketStatus.VALID).order_by(Ticket.id)
        found = db.session.scalars(valid).all()
        if found and dice % 4 == 0:
            with transaction() as session:
                session.get_one(Ticket, found[dice // 4 % len(found)]).status = TicketStatus.USED

    @rule(dice=DICE)
    def decide_on_quarantined(self, dice: int) -> None:
        waiting = db.session.scalars(select(Payment.id).where(Payment.status == PaymentStatus.QUARANTINED)).all()
        if not waiting:
            return
        payment_id = waiting[dice % len(waiting)]
        with suppress(TicksyError):
            if dice // 9 % 2:
                refunds.refund_payment(actor=self.admin, payment_id=payment_id)
                return
            with transaction():
                order = locks.lock_order(self._order(dice).id)
                payment = db.session.get_one(Payment, payment_id, with_for_update=True)
                paybill.attach(order, payment, actor=self.admin)

    @rule(dice=DICE)
    def retry_refund(self, dice: int) -> None:
        found = db.session.scalars(select(Refund.id).order_by(Refund.id)).all()
        if found:
            with suppress(TicksyError):
                refunds.retry_refund(actor=self.admin, refund_id=found[dice % len(found)])

    @rule(dice=DICE)
    def cancel_event(self, dice: int) -> None:
        if dice % 25 == 0:
            events.cancel_event(actor=self.admin, event_id=self.types[0].event_id)

    @rule()
    def refund_cancelled_events(self) -> None:
        refunds.refund_cancelled_events()

    # ── What must hold ───────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def stock_adds_up(self) -> None:
        db.session.rollback()
        live = _count(Ticket.ticket_type_id, Ticket.status != TicketStatus.VOID)
        held = Counter[int]()
        open_orders = select(Order).where(Order.status == OrderStatus.PENDING).options(selectinload(Order.items))
        for order in db.session.scalars(open_orders):
            held.update(order.wanted)
        is_off = db.session.scalars(select(Event.status)).one() is EventStatus.CANCELLED
        for one in db.session.scalars(select(TicketType).execution_options(populate_existing=True)):
            assert one.sold + one.held <= one.quantity, "not one too many"
            assert one.held == held[one.id]
            assert one.sold == live.get(one.id, 0) or (is_off and one.sold > live.get(one.id, 0))
        db.session.rollback()

    @invariant()
    def money_adds_up(self) -> None:
        db.session.rollback()
        started = dict(
            db.session.execute(select(Refund.payment_id, func.sum(Refund.amount_kes)).group_by(Refund.payment_id))
            .tuples()
            .all()
        )
        worth = dict(
            db.session.execute(
                select(Ticket.order_id, func.sum(Ticket.price_kes))
                .where(Ticket.status != TicketStatus.VOID)
                .group_by(Ticket.order_id)
            )
            .tuples()
            .all()
        )
        orders = db.session.scalars(select(Order).options(selectinload(Order.payments)))
        for order in orders.all():
            for payment in order.payments:
                assert payment.refunded_kes == started.get(payment.id, 0) <= payment.amount_kes
            paid = [one for one in order.payments if one.status is PaymentStatus.PAID]
            left = sum(one.amount_kes - one.refunded_kes for one in paid)
            if any(one.status is PaymentStatus.REVERSED for one in order.payments):
                valid = select(Ticket.id).where(Ticket.order_id == order.id, Ticket.status == TicketStatus.VALID)
                assert left > 0 or db.session.scalar(valid.limit(1)) is None, "no ticket for money that was taken back"
            else:
                assert left == worth.get(order.id, 0), f"order {order.id} {order.status}"
        db.session.rollback()

    @invariant()
    def states_move_as_their_tables_say(self) -> None:
        for kind, reachable in REACHABLE.items():
            for row in db.session.execute(select(kind.id, kind.status)).all():  # type: ignore[attr-defined]
                before = self.seen.get((kind, row.id), row.status)
                assert row.status in reachable[before], f"{kind.__name__} {row.id}: {before} → {row.status}"
                self.seen[kind, row.id] = row.status
        db.session.rollback()

    def _order(self, dice: int) -> Order:
        db.session.rollback()
        orders = db.session.scalars(select(Order).order_by(Order.id).options(selectinload(Order.payments))).all()
        return orders[dice % len(orders)]


def _count(column: Any, *conditions: Any) -> dict[int, int]:
    return dict(db.session.execute(select(column, func.count()).where(*conditions).group_by(column)).tuples().all())


@pytest.fixture
def no_limits(app: Flask) -> Iterator[None]:
    was = app.extensions["daraja"]
    with changed_settings(
        app,
        OPEN_ORDERS_PER_EVENT=99,
        PROMPTS_PER_PHONE_AND_HOUR=999,
        PROMPTS_PER_BUYER_AND_HOUR=999,
        CLAIMS_PER_DAY=999,
        MPESA_MAX_PUSHES_PER_SECOND=0,
        PROMPT_SECONDS=0.001,
    ):
        yield
    app.extensions["daraja"] = was


@pytest.mark.usefixtures("no_limits")
def test_no_sequence_of_steps_breaks_what_must_hold(app: Flask, database_url: str) -> None:
    shop = type("ThisShop", (Shop,), {"app": app, "database_url": database_url})
    run_state_machine_as_test(
        shop,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
