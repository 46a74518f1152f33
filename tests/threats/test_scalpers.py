"""Scalpers' bots: they want what there is before people get it, or that nobody gets it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select, update

from models import Order, TicketType, User
from services import booking, prompts, pushes, stock
from tests.scripted_daraja import accepted, scripted_daraja
from tests.support import together
from tests.threats.field import FEW, Field, attack
from utils import clock, floods
from utils.database import db
from utils.errors import TicksyError


def _order(field: Field, buyer: User, ticket_type: TicketType, **how: Any) -> bool:
    """Whether it holds, or got, its tickets."""
    try:
        field.make.order(buyer, ticket_type, **how)
    except TicksyError:
        return False
    return True


# ── Places ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_then_write(field: Field) -> None:
    """Places are counted, and taken when others have counted too. The CHECK behind it is satisfied."""
    meet = field.meeting(2)

    def take(wanted: Mapping[int, int], *, is_sold: bool) -> None:
        [(ticket_type_id, count)] = wanted.items()
        row = db.session.scalars(select(TicketType).where(TicketType.id == ticket_type_id)).one()
        values = {"sold": row.sold + count} if is_sold else {"held": row.held + count}
        if row.sold + row.held + count > row.quantity:
            raise stock.NoRoom
        meet()
        db.session.execute(update(TicketType).where(TicketType.id == ticket_type_id).values(**values))

    field.replace(stock, "take", take)


@attack("Buying more than there is", without=_read_then_write)
def test_of_two_at_once_one_gets_the_last_place(field: Field) -> bool:
    ticket_type = field.make.on_sale(price=0, quantity=1)
    buyers = [field.make.attendee() for _ in range(2)]
    field.meet(stock, "take", parties=2)  # both have seen that there is a place
    return together(*(partial(_order, field, buyer, ticket_type) for buyer in buyers)) == [True, True]


HOLD = "Holding an event's tickets with open orders"


@attack(HOLD, without=lambda field: field.set(OPEN_ORDERS_PER_EVENT=100))
def test_a_buyer_holds_with_two_open_orders(field: Field) -> bool:
    bot, event = field.make.attendee(), field.make.event()
    types = [field.make.ticket_type(event, name=f"Type {number}", price=100 + number) for number in range(3)]
    return all(_order(field, bot, one) for one in types)


@attack(HOLD, without=lambda field: field.set(HOLD_MINUTES=10_000))
def test_what_a_bot_holds_is_free_after_ten_minutes(field: Field) -> bool:
    ticket_type = field.make.on_sale(quantity=1)
    assert _order(field, field.make.attendee(), ticket_type)
    with clock.set_to(clock.ahead(minutes=10, seconds=1)):
        return not _order(field, field.make.attendee(), ticket_type)


@attack(HOLD, without=lambda field: field.replace(booking, "_check_sale", lambda *_: None))
def test_an_order_holds_no_more_than_the_organizer_lets_it(field: Field) -> bool:
    ticket_type = field.make.on_sale(quantity=50, max_per_order=4)
    return _order(field, field.make.attendee(), ticket_type, quantity=50)


def _prolong(field: Field) -> None:
    def extend_hold(order: Order, shown_at: Any) -> None:
        order.expires_at = max(order.expires_at, shown_at + timedelta(minutes=5))

    for module in (prompts, pushes):
        field.replace(module, "extend_hold", extend_hold)


@attack("Prolonging a hold for ever", without=_prolong)
def test_prompts_do_not_prolong_a_hold_for_ever(field: Field) -> bool:
    field.set(PROMPTS_PER_ORDER=99, PROMPTS_PER_BUYER_AND_HOUR=99, PROMPTS_PER_PHONE_AND_HOUR=99)
    buyer = field.make.attendee()
    (order, _), headers = field.make.order(buyer), field.make.headers(buyer)
    with scripted_daraja(field.app) as daraja:
        daraja.pushes = [accepted(10 * order.id + number) for number in range(5)]
        for minutes in (9, 11.5, 14, 16.5, 19):
            with clock.set_to(order.created_at + timedelta(minutes=minutes)):
                assert field.client.post(f"/orders/{order.id}/pay", headers=headers).status_code == 200
    with clock.set_to(order.created_at + timedelta(minutes=20, seconds=1)):
        return field.make.read_order(order.id).is_open


# ── Phones ────────────────────────────────────────────────────────────────────────────────────────────────────────

RING = "Ringing many strangers' phones"


@attack(RING, without=lambda field: field.set(PROMPTS_PER_BUYER_AND_HOUR=1_000))
def test_a_bot_does_not_ring_many_phones(field: Field) -> bool:
    bot = field.make.attendee()
    return all(_order(field, bot, field.make.on_sale(), phone=one.phone) for one in _strangers(field, FEW + 1))


@attack(RING, without=lambda field: field.set(PROMPTS_PER_PHONE_AND_HOUR=1_000))
def test_many_bots_do_not_ring_one_phone(field: Field) -> bool:
    event, [victim] = field.make.event(), _strangers(field, 1)
    types = [field.make.ticket_type(event, name=f"Type {number}", price=100 + number) for number in range(FEW + 1)]
    return all(
        _order(field, bot, one, phone=victim.phone) for bot, one in zip(_strangers(field, FEW + 1), types, strict=True)
    )


def _strangers(field: Field, count: int) -> list[User]:
    return [field.make.attendee() for _ in range(count)]


# ── Requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


@attack("A flood from one address", without=lambda field: field.replace(floods, "init_app", lambda *_, **__: None))
def test_a_flood_from_one_address_is_turned_away(field: Field) -> bool:
    client = field.start(RATELIMIT_PER_MINUTE=5)
    return {client.get("/").status_code for _ in range(20)} == {200}


@attack("Asking about one payment without end", without=lambda field: field.limit("payment_check", 10**9))
def test_one_payment_is_not_asked_about_without_end(field: Field) -> bool:
    order, _ = field.make.order()
    with clock.set_to(clock.now()):
        return {field.client.get(f"/payments/check/{order.poll_id}").status_code for _ in range(FEW + 1)} == {200}
