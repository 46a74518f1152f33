"""Orders: claim places, pay for them, let them go.

Promise two lives here and in `services.stock`: an order is written together with the places it holds, or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm.attributes import set_committed_value

from config import settings
from models import (
    EventStatus,
    Order,
    OrderItem,
    OrderStatus,
    PaymentStatus,
    TicketType,
    User,
)
from services import admission, audit, idempotency, locks, occasions, order_rows, orders, prompts, pushes, stock
from services.carts import Cart, describe, read_cart
from services.idempotency import Taken
from services.prompts import Prompt
from utils import clock, money
from utils.database import db, transaction
from utils.errors import Conflict, Invalid, NotFound
from utils.prepared import Prepared, given
from utils.security import new_code, new_secret

#: Ten Crockford characters, fifty bits; Daraja's AccountReference allows twelve.
_REFERENCE_LENGTH = 10


class NotOnSale(Conflict):
    code, message = "not_on_sale", "These tickets are not on sale."


class OverLimit(Conflict):
    code, message = "over_limit", "That is more than one order may have."


class AnotherPhone(Conflict):
    code = "another_phone"
    message = (
        "This order is paid from the number it was placed with. To pay from another one, order the same tickets again"
        " with that number."
    )


@dataclass(frozen=True)
class Line:
    """So many places of one ticket type. An attendee is `{first_name, last_name, email, phone}`, any of them empty."""

    ticket_type_id: int
    quantity: int
    attendees: Sequence[dict[str, str]] = ()


@dataclass(frozen=True)
class Placed:
    """An order that holds its places, and the prompt that has still to be sent; a free order needs none."""

    order_id: int
    prompt: Prompt | None
    #: The order with all that an answer shows of it, where it is new.
    order: Order | None = None

    @property
    def is_new(self) -> bool:
        return self.order is not None


@dataclass(frozen=True)
class Checkout:
    """What a buyer is told after asking for tickets."""

    order: Order
    is_new: bool


# ── Placing an order ──────────────────────────────────────────────────────────────────────────────────────────────


def check_out(*, actor: User, phone: str, lines: Sequence[Line], taken: Taken | None = None) -> Checkout:
    """Place an order and put its prompt on `phone` (stored form).

    When many pay at once the prompt waits in a queue. Raises what `place_order` raises, nothing being held then; and
    pushes.MpesaUnavailable, after which the order stands and can be paid with
    `pay_order`.
    """
    if taken is not None and taken.done_order_id is not None:
        return Checkout(orders.get_order(actor=actor, order_id=taken.done_order_id), is_new=False)
    placed = place_order(actor=actor, phone=phone, lines=lines, taken=taken)
    if placed.prompt is not None and not pushes.send_prompt(placed.prompt, at_once=placed.is_new):
        return Checkout(orders.get_order(actor=actor, order_id=placed.order_id), placed.is_new)
    order = placed.order
    if order is None:
        return Checkout(orders.get_order(actor=actor, order_id=placed.order_id), is_new=False)
    if placed.prompt is not None:
        order.payment(placed.prompt.payment_id).move_to(PaymentStatus.PROMPTED)
    return Checkout(order, is_new=True)


def place_order(*, actor: User, phone: str, lines: Sequence[Line], taken: Taken | None = None) -> Placed:
    """Hold places and write down the prompt that is to be sent; a free order is paid at once.

    The same cart again while its order is open is that order, with a new prompt only if the last one has failed.
    `taken` is the request's Idempotency-Key, if it has one. Raises NotFound, Invalid, NotOnSale, OverLimit,
    stock.SoldOut, Conflict, what `idempotency.note_order` raises, and of what `prompts.open_prompt` raises
    PaymentUnderReview, BuyerBusy, PhoneBusy, PromptCooldown and PushQueueFull.
    """
    wanted = Counter[int]()
    for line in lines:
        wanted[line.ticket_type_id] += line.quantity
    if stock.was_short(wanted):
        # Most who come late to an on-sale need no transaction to be told so.
        cart = read_cart(actor, phone, wanted)
        if cart.same_order_id is None:
            _check(cart, wanted)
    try:
        return _place(actor, phone, lines, wanted, taken)
    except stock.NoRoom:
        stock.free_ended(wanted)
    try:
        # Even if there was nothing to free: somebody else may be freeing it, whom this one then waits for.
        return _place(actor, phone, lines, wanted, taken)
    except stock.NoRoom:
        raise stock.SoldOut from None


def _place(actor: User, phone: str, lines: Sequence[Line], wanted: Counter[int], taken: Taken | None) -> Placed:
    """Raises stock.NoRoom, and then nothing has happened."""
    with transaction():
        # One order of a buyer at a time: a double tap waits here, then finds the first tap's order.
        _LOCK_BUYER.rows(buyer_id=actor.id)
        cart = read_cart(actor, phone, wanted)
        if cart.same_order_id is not None:
            order = locks.lock_order(cart.same_order_id)
            if order.is_open or order.status is OrderStatus.PAID:
                idempotency.note_order(taken, order.id)
                return Placed(order.id, _renew_order(order, actor, lines))
        return _create_order(actor, phone, lines, wanted, taken, cart)


def _create_order(
    actor: User, phone: str, lines: Sequence[Line], wanted: Counter[int], taken: Taken | None, cart: Cart
) -> Placed:
    total_kes = _check(cart, wanted)
    ticket_types = cart.ticket_types
    event = ticket_types[0].event
    now = clock.now()
    order = Order(
        buyer_id=actor.id,
        event_id=event.id,
        reference=new_code(_REFERENCE_LENGTH),
        poll_id=new_secret(),
        cart=describe(wanted),
        total_kes=total_kes,
        phone=phone,
        status=OrderStatus.PENDING,
        refund_reason=None,
        created_at=now,
        expires_at=now + timedelta(minutes=settings.HOLD_MINUTES),
        paid_at=None,
        cancelled_at=None,
        payments=[],
    )
    set_committed_value(order, "event", event)
    set_committed_value(order, "refunds", [])
    set_committed_value(order, "tickets", [])
    set_committed_value(
        order,
        "items",
        [_new_item(one, wanted[one.id], _attendees(actor, lines, one.id)) for one in ticket_types],
    )
    placing = audit.line(actor, "order_placed", Order, None, reference=order.reference, total_kes=total_kes)
    if total_kes > 0:
        payment, token = prompts.new_prompt(order)
        order_rows.write(order, lines=[placing], payment=payment)
        set_committed_value(order, "payments", [payment])
        idempotency.note_order(taken, order.id)
        stock.take(wanted, is_sold=False)
        return Placed(order.id, Prompt.of(order, payment, token, is_queued=payment.is_queued), order)
    order.move_to(OrderStatus.PAID)
    order.paid_at = clock.now()
    tickets = admission.make_tickets(order)
    types = {one.id: one for one in ticket_types}
    for ticket in tickets:
        set_committed_value(ticket, "ticket_type", types[ticket.ticket_type_id])
    set_committed_value(order, "tickets", tickets)
    order_rows.write(order, lines=[placing, audit.line(actor, "order_paid", Order, None)], tickets=tickets)
    idempotency.note_order(taken, order.id)
    occasions.tell_order_paid(order, tickets)
    db.session.flush()
    stock.take(wanted, is_sold=True)
    return Placed(order.id, None, order)


def _new_item(ticket_type: TicketType, quantity: int, attendees: list[dict[str, str]]) -> OrderItem:
    item = OrderItem(
        ticket_type_id=ticket_type.id,
        quantity=quantity,
        unit_price_kes=ticket_type.price_kes,
        attendees=attendees,
    )
    set_committed_value(item, "ticket_type", ticket_type)
    return item


def _renew_order(order: Order, actor: User, lines: Sequence[Line]) -> Prompt | None:
    """The order again, with the names as given this time; a new prompt only once the last has failed."""
    if order.status is OrderStatus.PAID:
        return None
    attendees = {item: _attendees(actor, lines, item.ticket_type_id) for item in order.items}
    if any(item.attendees != names for item, names in attendees.items()):
        for item, names in attendees.items():
            item.attendees = names
        audit.record(actor, "order_attendees_changed", order)
    if not order.payments or order.payments[-1].status not in (PaymentStatus.REFUSED, PaymentStatus.FAILED):
        return None
    try:
        return _prompt_again(order, actor)
    except prompts.NoPromptsLeft:
        return None


def _prompt_again(order: Order, actor: User) -> Prompt:
    if order.event.status is EventStatus.CANCELLED:
        raise NotOnSale("This event has been cancelled.")
    prompt = prompts.open_prompt(order)
    audit.record(actor, "order_prompted_again", order, payment=prompt.payment_id)
    return prompt


_LOCK_BUYER = Prepared(select(User.id).where(User.id == given("buyer_id")).with_for_update(key_share=True))


def _check(cart: Cart, wanted: Counter[int]) -> int:
    """What a new order of it costs, if there may be one. Raises NotFound, Invalid, NotOnSale, OverLimit, Conflict,
    stock.SoldOut."""
    _check_cart(cart.ticket_types, wanted)
    _check_sale(cart.ticket_types, wanted)
    total_kes = sum(one.price_kes * wanted[one.id] for one in cart.ticket_types)
    if total_kes > money.MPESA_LIMIT_KES:
        raise OverLimit(
            f"M-PESA carries at most {money.in_words(money.MPESA_LIMIT_KES)} at once. Please order fewer tickets.",
            code="amount_over_limit",
        )
    if cart.open_orders >= settings.OPEN_ORDERS_PER_EVENT:
        raise Conflict(
            "You have open orders for this event. Please pay or cancel one of them first.",
            code="too_many_open_orders",
        )
    stock.sold_out_if_hopeless(cart.ticket_types, wanted)
    return total_kes


def _check_cart(ticket_types: Sequence[TicketType], wanted: Counter[int]) -> None:
    if len(ticket_types) < len(wanted):
        raise NotFound("One of these ticket types does not exist.", code="ticket_type_not_found")
    if len({one.event_id for one in ticket_types}) > 1:
        raise Invalid("Please order tickets of one event at a time.", code="several_events")


def _check_sale(ticket_types: Sequence[TicketType], wanted: Counter[int]) -> None:
    for one in ticket_types:
        if not one.is_on_sale:
            raise NotOnSale(_why_not_on_sale(one))
        if wanted[one.id] > one.max_per_order:
            raise OverLimit(f"One order may have at most {one.max_per_order} {one.name} tickets.")
        if wanted[one.id] < one.min_per_order:
            raise OverLimit(f"Please order at least {one.min_per_order} {one.name} tickets.", code="under_minimum")


def _why_not_on_sale(ticket_type: TicketType) -> str:
    if ticket_type.event.status is EventStatus.CANCELLED:
        return "This event has been cancelled."
    if ticket_type.event.status is EventStatus.APPROVED and ticket_type.event.has_started:
        return "This event has started: its tickets are no longer sold."
    if ticket_type.event.status is not EventStatus.APPROVED:
        return NotOnSale.message  # the name is nobody's business yet
    return f"{ticket_type.name} tickets are not on sale at the moment."


def _attendees(buyer: User, lines: Sequence[Line], ticket_type_id: int) -> list[dict[str, str]]:
    """One for each place; what is left empty is filled with the buyer's own."""
    own = {
        "first_name": buyer.first_name,
        "last_name": buyer.last_name,
        "email": buyer.email,
        "phone": buyer.phone,
    }
    attendees = []
    for line in lines:
        if line.ticket_type_id == ticket_type_id:
            missing = line.quantity - len(line.attendees)
            for given in [*line.attendees, *([{}] * missing)]:
                attendees.append({name: given.get(name) or fallback for name, fallback in own.items()})
    return attendees


# ── An open order ─────────────────────────────────────────────────────────────────────────────────────────────────


def pay_order(*, actor: User, order_id: int, phone: str | None = None, taken: Taken | None = None) -> Checkout:
    """Put another prompt on the phone while the hold lasts. `taken` is the request's Idempotency-Key, if it has one.

    `phone` (stored form) is the number as the buyer remembers it: a prompt never goes to another than the order's.
    Raises NotFound, Conflict, AnotherPhone, and what `idempotency.note_order`, `prompts.open_prompt` and
    `pushes.send_prompt` raise.
    """
    if taken is not None and taken.done_order_id is not None:
        return Checkout(orders.get_order(actor=actor, order_id=taken.done_order_id), is_new=False)
    with transaction():
        order = _lock_own_order(actor, order_id)
        if order.status is OrderStatus.PAID:
            raise Conflict("This order is paid already.", code="already_paid")
        if not order.is_open:
            raise Conflict("This order is no longer open. Please order again.", code="order_not_open")
        if phone not in (None, order.phone):
            raise AnotherPhone
        idempotency.note_order(taken, order.id)
        prompt = _prompt_again(order, actor)
    pushes.send_prompt(prompt)
    return Checkout(orders.get_order(actor=actor, order_id=order_id), is_new=False)


def cancel_order(*, actor: User, order_id: int) -> Order:
    """Give the places of an open order back at once. Doing it twice is fine. Raises NotFound, Conflict."""
    with transaction():
        order = _lock_own_order(actor, order_id)
        if order.status is OrderStatus.PENDING:
            order.move_to(OrderStatus.CANCELLED)
            order.cancelled_at = clock.now()
            audit.record(actor, "order_cancelled", order)
            db.session.flush()
            stock.release(order.wanted)
        elif order.status is not OrderStatus.CANCELLED:
            raise Conflict("Only an order that is still open can be cancelled.", code="order_not_open")
    return orders.get_order(actor=actor, order_id=order_id)


def _lock_own_order(actor: User, order_id: int) -> Order:
    order = locks.lock_order(order_id)
    if order.buyer_id != actor.id:
        raise NotFound("There is no such order.")
    return order
