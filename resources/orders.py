"""Orders: check out, pay, look up, let go."""

from __future__ import annotations

from sqlalchemy import Select

from models import Order, OrderStatus, PaymentStatus, User
from resources.base import LOGGED_IN, ORGANIZERS, Resource, endpoint
from schemas.common import Nothing, Page
from schemas.orders import CheckoutOut, NewOrder, NewPayment, NewRefund, OrderOut
from services import booking, orders, refunds
from services.booking import Checkout, Line, NotOnSale, OverLimit
from services.crowd import Crowded
from services.idempotency import InProgress, KeyReused, Taken
from services.prompts import (
    BuyerBusy,
    NoPromptsLeft,
    PaymentUnderReview,
    PhoneBusy,
    PromptCooldown,
    PromptPending,
    PushQueueFull,
)
from services.pushes import MpesaUnavailable
from services.refunds import AlreadyUsed, PassedOn
from services.stock import SoldOut
from utils.errors import NotFound

#: Why no prompt is sent, and why no order is placed.
_NO_PROMPT = (
    *(PromptPending, PaymentUnderReview, NoPromptsLeft, InProgress, KeyReused),
    *(PhoneBusy, BuyerBusy, PromptCooldown, PushQueueFull, MpesaUnavailable, Crowded),
)
_NO_ORDER = (NotFound, SoldOut, NotOnSale, OverLimit, *_NO_PROMPT)


class OrderList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[OrderOut])
    def get(self, actor: User, query: Page) -> Select[tuple[Order]]:
        """One's own orders, newest first."""
        return orders.list_orders(actor=actor)

    @endpoint(
        access=LOGGED_IN,
        body=NewOrder,
        returns=CheckoutOut,
        status=201,
        idempotent=True,
        other_statuses=(200,),
        is_rushed=True,
        errors=_NO_ORDER,
    )
    def post(self, actor: User, body: NewOrder, taken: Taken | None) -> tuple[CheckoutOut, int]:
        """Hold tickets and send an M-PESA prompt; free tickets are issued at once."""
        lines = [
            Line(
                ticket_type_id=line.ticket_id,
                quantity=line.quantity,
                attendees=[one.model_dump(include=_ATTENDEE, exclude_none=True) for one in line.attendees],
            )
            for line in body.tickets
        ]
        checkout = booking.check_out(actor=actor, phone=body.phone or actor.phone, lines=lines, taken=taken)
        return _show(checkout), 201 if checkout.is_new else 200


_ATTENDEE = {"first_name", "last_name", "email", "phone"}


class OrderDetail(Resource):
    @endpoint(access=LOGGED_IN, returns=OrderOut)
    def get(self, actor: User, order_id: int) -> OrderOut:
        """One order with its items, tickets and payments."""
        return _show_order(orders.get_order(actor=actor, order_id=order_id))

    @endpoint(access=LOGGED_IN, returns=OrderOut)
    def delete(self, actor: User, order_id: int) -> Order:
        """Give the held tickets of an open order back."""
        return booking.cancel_order(actor=actor, order_id=order_id)


class OrderRefund(Resource):
    @endpoint(access=ORGANIZERS, body=NewRefund, returns=OrderOut, errors=(AlreadyUsed, PassedOn))
    def post(self, actor: User, order_id: int, body: NewRefund) -> Order:
        """Give the money of some tickets back, or of all that are left; they end at once."""
        return refunds.refund_order(actor=actor, order_id=order_id, ticket_ids=body.tickets)


class OrderPayment(Resource):
    @endpoint(access=LOGGED_IN, body=Nothing, returns=CheckoutOut, idempotent=True, is_rushed=True, errors=_NO_PROMPT)
    def post(self, actor: User, order_id: int, body: Nothing, taken: Taken | None) -> CheckoutOut:
        """Send another prompt for an order that is still open."""
        return _show(booking.pay_order(actor=actor, order_id=order_id, taken=taken))

    @endpoint(access=LOGGED_IN, body=Nothing, returns=CheckoutOut, idempotent=True, is_rushed=True, errors=_NO_PROMPT)
    def patch(self, actor: User, order_id: int, body: Nothing, taken: Taken | None) -> CheckoutOut:
        """The same."""
        return _show(booking.pay_order(actor=actor, order_id=order_id, taken=taken))


class NamedOrderPayment(Resource):
    @endpoint(
        access=LOGGED_IN,
        body=NewPayment,
        returns=CheckoutOut,
        idempotent=True,
        is_rushed=True,
        errors=(NotFound, *_NO_PROMPT),
    )
    def post(self, actor: User, body: NewPayment, taken: Taken | None) -> CheckoutOut:
        """Send another prompt for an order that is still open and that the body names."""
        order_id = orders.find_own_order(actor=actor, name=body.order_id)
        return _show(booking.pay_order(actor=actor, order_id=order_id, phone=body.phone, taken=taken))


def _show_order(order: Order) -> OrderOut:
    return OrderOut.model_validate(order).model_copy(update={"queue_position": orders.queue_position(order)})


def _show(checkout: Checkout) -> CheckoutOut:
    order, shown = checkout.order, _show_order(checkout.order)
    sentence = _SENTENCES.get(order.status, "This order is closed.")
    if shown.queue_position is not None and order.status is OrderStatus.PENDING:
        sentence = (
            f"Your payment request is number {shown.queue_position} in the queue. Please keep your phone at hand: it"
            " will ask for your M-PESA PIN."
        )
    elif order.status is OrderStatus.PENDING and order.payments[-1].status in (
        PaymentStatus.FAILED,
        PaymentStatus.REFUSED,
    ):
        sentence = "The payment request failed. Your tickets are held until the order ends."
    return CheckoutOut(
        orderId=order.id,
        checkoutRequestID=order.poll_id,
        customerMessage=sentence,
        message=sentence,
        order=shown,
    )


_SENTENCES = {
    OrderStatus.PENDING: "Please enter your M-PESA PIN on your phone to pay for your tickets.",
    OrderStatus.PAID: "Your tickets are ready.",
    OrderStatus.REFUND_DUE: "Your payment arrived, but these tickets are gone: you will get your money back.",
}
