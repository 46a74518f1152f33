"""Every number that plays a part, from the order over HTTP to what is left of it: order, payments, places, money."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import update

import tasks
from daraja_simulator.chance import CONFIRMATION, PUSH
from daraja_simulator.scenarios import ROWS as SIMULATED
from daraja_simulator.scenarios import SCENARIOS, SCRIPTED_NUMBERS
from models import (
    MessageChannel,
    MpesaLine,
    Order,
    OrderStatus,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    TicketStatus,
)
from services import paybill, payouts, pulls, queries, settlement
from tests.daraja.process import Simulator
from tests.support import Maker, cart
from tests.waiting import wait_until
from utils import clock
from utils.database import transaction
from utils.mpesa import daraja
from utils.mpesa_setup import c2b_addresses

#: What a phone starts with.
WALLET_KES = 500_000
PRICE_KES, TOTAL_KES = 500, 1000
#: What is posted about money in; results of our own requests are not counted.
TOLD = ("callback", "confirmation")
#: Longer than any test takes, even at the simulator's speed; ends when its clock is moved on.
LATE_SECONDS = 1800


class End(NamedTuple):
    """What became of an order."""

    order: OrderStatus
    #: Oldest first. What follows is of the last one.
    payments: tuple[PaymentStatus, ...]
    code: str | None
    through: MessageChannel | None
    has_receipt: bool
    #: What its poller is told: paid is "0", over "1032", and nothing while nobody knows.
    polled: str | None
    #: Sold and held.
    places: tuple[int, int]
    tickets: int
    refunds: tuple[RefundStatus, ...] = ()


class Purchase:
    """The last two tickets, at 500 each, bought over HTTP from a number that plays a part."""

    def __init__(self, app: Flask, make: Maker, simulator: Simulator, number: str) -> None:
        self.app, self.make, self.simulator = app, make, simulator
        self.client = app.test_client()
        self.phone = SCRIPTED_NUMBERS + number
        self.ticket_type = make.on_sale(price=PRICE_KES, quantity=2)
        self.headers = make.headers(make.attendee())
        self.order_id = 0

    def place(self) -> tuple[int, str | None]:
        """Order them: the status, and the code of the error if it is one."""
        body = cart((self.ticket_type, 2), phone=self.phone)
        answer = self.client.post("/orders", json=body, headers=self.headers)
        [shown] = self.client.get("/orders", headers=self.headers).json
        self.order_id = shown["id"]
        return answer.status_code, answer.json.get("code")

    def ask_as_admin(self, path: str, **body: Any) -> tuple[int, str | None]:
        answer = self.client.post(path, json=body, headers=self.make.headers(self.make.admin()))
        return answer.status_code, answer.json.get("code")

    # ── How it stands ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def order(self) -> Order:
        return self.make.read_order(self.order_id)

    @property
    def places(self) -> tuple[int, int]:
        row = self.make.read_ticket_type(self.ticket_type.id)
        return row.sold, row.held

    def poll(self, order: Order) -> str | None:
        return self.client.get(f"/payments/check/{order.poll_id}").json["data"].get("ResultCode")

    def end(self) -> End:
        shown, order = self.client.get(f"/orders/{self.order_id}", headers=self.headers).json, self.order
        last = order.payments[-1]
        return End(
            order=OrderStatus(shown["status"]),
            payments=tuple(one.status for one in order.payments),
            code=last.result_code,
            through=last.paid_through,
            has_receipt=last.receipt is not None,
            polled=self.poll(order),
            places=self.places,
            tickets=sum(ticket["status"] == "valid" for ticket in shown["tickets"]),
            refunds=tuple(one.status for one in order.refunds),
        )

    def is_over_at_safaricom(self, posts: int) -> bool:
        """Whether the prompt has ended, and all that is to be posted about it was taken."""
        told = [one["status"] for one in self.simulator.deliveries() if one["kind"] in TOLD]
        assert set(told) <= {200}
        return len(told) == posts and self.is_answered()

    def is_answered(self) -> bool:
        return all(prompt["status"] != "waiting" for prompt in self.simulator.prompts())

    def is_thought_about(self) -> bool:
        return all(message.settled_at for message in self.make.messages())

    def come_to(self, end: Any, read: Callable[[], Any], work: Callable[[Purchase], object]) -> None:
        """Let the worker work until it is so, and say how it is if it never gets there."""
        seen: object = None

        def is_there() -> bool:
            nonlocal seen
            self.settle()
            work(self)
            seen = read() if self.is_thought_about() else "a message has not been settled"
            return seen == end

        with suppress(AssertionError):
            wait_until(is_there)
        assert seen == end

    def check_money(self) -> None:
        """What the customer's wallet lost is what we have, and each ticket has its money and its place."""
        order = self.order
        lost = WALLET_KES - self.simulator.wallets().get(self.phone, WALLET_KES)
        came = [one for one in order.payments if one.status in (PaymentStatus.PAID, PaymentStatus.QUARANTINED)]
        sent_back = sum(refund.amount_kes for refund in order.refunds if refund.status is RefundStatus.DONE)
        assert lost == sum(one.amount_kes for one in came) - sent_back == self.simulator.shop_balance()
        assert [one.receipt for one in came] == [one["receipt"] for one in self.simulator.ledger() if is_income(one)]
        valid = [ticket for ticket in self.make.tickets() if ticket.status is TicketStatus.VALID]
        assert len(valid) == self.places[0]
        assert sum(ticket.price_kes for ticket in valid if ticket.order_id == order.id) <= lost

    # ── What the worker does ──────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        with self.app.app_context():
            settlement.settle_waiting_messages()

    def ask(self) -> None:
        """Ask about every payment that is to be asked about, whenever it was due."""
        with self.app.app_context():
            with transaction() as session:
                is_asked_about = Payment.next_query_at.is_not(None)
                session.execute(update(Payment).where(is_asked_about).values(next_query_at=clock.now()))
            queries.query_due_payments()

    def ask_again(self) -> None:
        """Ask even about what is settled."""
        with self.app.app_context(), transaction() as session:
            has_id = Payment.checkout_request_id.is_not(None)
            session.execute(update(Payment).where(has_id).values(next_query_at=clock.now()))
        self.ask()

    def pull(self) -> None:
        """Read M-PESA's list up to a quarter of an hour from now, when it shows even the late."""
        with self.app.app_context(), clock.set_to(clock.ahead(minutes=16)):
            with transaction() as session:
                session.execute(update(MpesaLine).values(next_pull_at=None))
            pulls.pull_transactions()
            assert pulls.read_pulled_until() == clock.now()

    def confirm(self) -> None:
        with self.app.app_context():
            paybill.ask_about_confirmations()

    def refund(self) -> None:
        with self.app.app_context():
            payouts.look_after_refunds()


def is_income(transaction: dict[str, Any]) -> bool:
    return transaction["kind"] == "stk"


def nothing(_bought: Purchase) -> None:
    """The callbacks alone do it."""


# ── What is arranged before the order ─────────────────────────────────────────────────────────────────────────────


def lost_callback(bought: Purchase) -> None:
    bought.simulator.fault(PUSH, "lost_callback")


def late_callback(bought: Purchase) -> None:
    bought.simulator.fault(PUSH, "late_callback", delay=LATE_SECONDS)


def open_paybill(bought: Purchase) -> None:
    confirmation_url, validation_url = paybill_addresses(bought.app)
    with bought.app.app_context():
        answer = daraja.register_c2b(confirmation_url=confirmation_url, validation_url=validation_url)
    assert answer is not None
    assert answer.status == 200


def late_confirmation(bought: Purchase) -> None:
    open_paybill(bought)
    bought.simulator.fault(CONFIRMATION, "late_callback", delay=LATE_SECONDS)


def confirmation_before_callback(bought: Purchase) -> None:
    open_paybill(bought)
    late_callback(bought)


def confirmation_alone(bought: Purchase) -> None:
    open_paybill(bought)
    lost_callback(bought)


def paybill_addresses(app: Flask) -> tuple[str, str]:
    """Of confirmations and of validations."""
    settings = app.extensions["settings"]
    validation_url, confirmation_url = c2b_addresses(settings.CALLBACK_URL, settings.MPESA_C2B_SECRET)
    return confirmation_url, validation_url


# ── What happens after it ─────────────────────────────────────────────────────────────────────────────────────────


def late_post(bought: Purchase) -> None:
    """What was held back is posted."""
    wait_until(bought.is_answered)
    bought.simulator.advance(LATE_SECONDS)


def late_post_after_payment(bought: Purchase) -> None:
    wait_until(lambda: bought.order.status is OrderStatus.PAID)
    late_post(bought)


def end_hold(bought: Purchase) -> None:
    with bought.app.app_context(), transaction() as session:
        session.execute(update(Order).where(Order.id == bought.order_id).values(expires_at=clock.ago(seconds=1)))


def a_quarter_of_an_hour(bought: Purchase) -> None:
    """The hold ends, the worker writes it down, and then the prompt is answered."""
    end_hold(bought)
    with bought.app.app_context():
        tasks.expire_orders()
    assert (bought.order.status, bought.places, bought.poll(bought.order)) == (OrderStatus.EXPIRED, (0, 0), "1032")
    bought.simulator.advance(15 * 60)


def a_quarter_of_an_hour_in_which_somebody_buys_them(bought: Purchase) -> None:
    end_hold(bought)
    bought.make.paid_order(ticket_type=bought.ticket_type, quantity=2)
    bought.simulator.advance(15 * 60)


def end_of_the_access_token(bought: Purchase) -> None:
    """Somebody else has fetched another one."""
    bought.simulator.expire_tokens()


def word_from_the_paybill(bought: Purchase) -> None:
    """A confirmation of the payment, at the address that only we and Safaricom know."""
    [paid] = wait_until(bought.simulator.ledger)
    told = {"TransID": paid["receipt"], "TransAmount": f"{paid['amount']}.00", "BillRefNumber": paid["reference"]}
    assert bought.simulator.forge(paybill_addresses(bought.app)[0], told) == 200


def attachment(bought: Purchase) -> None:
    """A person decides, once M-PESA's list has told the true amount."""
    payment = wait_for_quarantine(bought)
    bought.pull()
    assert bought.ask_as_admin(f"/admin/payments/{payment.id}/attach", order=bought.order.reference) == (200, None)


def money_back(bought: Purchase) -> None:
    payment = wait_for_quarantine(bought)
    assert bought.ask_as_admin(f"/admin/payments/{payment.id}/refund") == (200, None)


def wait_for_quarantine(bought: Purchase) -> Payment:
    wait_until(lambda: bought.order.payments[0].status is PaymentStatus.QUARANTINED)
    return bought.order.payments[0]


# ── The rows ──────────────────────────────────────────────────────────────────────────────────────────────────────

CALLBACK, QUERY, LIST = MessageChannel.STK_CALLBACK, MessageChannel.STK_QUERY, MessageChannel.PULL
#: Places sold, with tickets.
PAID = End(OrderStatus.PAID, (PaymentStatus.PAID,), "0", CALLBACK, True, "0", (2, 0), 2)
ASKED = PAID._replace(through=QUERY, has_receipt=False)
LISTED = PAID._replace(through=LIST)
#: Nothing is known yet, and the places are held.
PROMPTED = End(OrderStatus.PENDING, (PaymentStatus.PROMPTED,), None, None, False, None, (0, 2), 0)
UNKNOWN = PROMPTED._replace(payments=(PaymentStatus.UNKNOWN,))
QUARANTINED = PROMPTED._replace(payments=(PaymentStatus.QUARANTINED,), through=CALLBACK, has_receipt=True)
#: The places were sold to somebody else meanwhile.
PAID_BACK = PAID._replace(order=OrderStatus.REFUNDED, polled="1032", tickets=0, refunds=(RefundStatus.DONE,))

ACCEPTED, UNAVAILABLE = (201, None), (503, "mpesa_unavailable")


def failed(code: str) -> End:
    """The prompt ended without money; the places stay held for another one."""
    return PROMPTED._replace(payments=(PaymentStatus.FAILED,), code=code, polled="1032")


def refused(code: str) -> End:
    """There never was a prompt; the places stay held for another one."""
    return failed(code)._replace(payments=(PaymentStatus.REFUSED,))


@dataclass(frozen=True)
class Row:
    number: str
    end: End
    #: What POST /orders is answered: the status, and the code of an error.
    answer: tuple[int, str | None] = ACCEPTED
    #: How often Safaricom posts something by itself.
    posts: int = 1
    worker: Callable[[Purchase], object] = nothing
    before: Callable[[Purchase], object] = nothing
    meanwhile: Callable[[Purchase], object] = nothing
    #: Once M-PESA's list has been read: unless said otherwise nothing is new but the receipts.
    listed: End | None = None
    #: Sets it apart from another row of the same number.
    note: str = ""

    def __str__(self) -> str:
        return f"{self.number} {SCENARIOS[self.number].title}" + f"; {self.note}" * bool(self.note)

    @property
    def last(self) -> End:
        is_paid = self.end.payments[-1] is PaymentStatus.PAID
        return self.listed or (self.end._replace(has_receipt=True) if is_paid else self.end)


ROWS = (
    Row("000", PAID),
    Row("001", failed("1032")),
    Row("002", failed("2001")),
    Row("003", failed("1")),
    Row("004", failed("1037")),
    Row("005", failed("1019")),
    Row("006", refused("500.001.1001"), UNAVAILABLE, posts=0),
    Row("007", failed("1001")),
    Row("008", failed("1025")),
    Row("009", failed("9999")),
    Row("010", failed("17")),
    Row("011", failed("4")),
    Row("012", failed("26")),
    Row("013", failed("8006")),
    Row("014", failed("2028")),
    Row("015", UNKNOWN._replace(code="7777"), worker=Purchase.ask),
    Row("020", PAID, meanwhile=a_quarter_of_an_hour),
    Row(
        "020",
        PAID_BACK,
        worker=Purchase.refund,
        meanwhile=a_quarter_of_an_hour_in_which_somebody_buys_them,
        note="the places are sold",
    ),
    Row("021", PAID, posts=2),
    Row("022", PAID, posts=5),
    Row("023", ASKED, posts=0, worker=Purchase.ask),
    Row("024", ASKED, posts=0, worker=Purchase.ask),
    Row(
        "024",
        PROMPTED,
        posts=0,
        meanwhile=end_of_the_access_token,
        listed=LISTED,
        note="nobody asks until the list is read",
    ),
    Row(
        "024",
        PAID._replace(through=MessageChannel.C2B),
        posts=0,
        worker=Purchase.confirm,
        meanwhile=word_from_the_paybill,
        note="a Paybill confirmation comes",
    ),
    Row("025", PAID),
    Row("026", PAID),
    Row(
        "026",
        failed("1037"),
        posts=0,
        worker=Purchase.ask,
        before=lost_callback,
        listed=LISTED._replace(payments=(PaymentStatus.FAILED, PaymentStatus.PAID)),
        note="the callback is lost",
    ),
    Row("027", PAID, posts=2),
    Row("028", QUARANTINED),
    Row("028", PAID._replace(through=MessageChannel.ADMIN), meanwhile=attachment, note="a person attaches it"),
    Row(
        "028",
        QUARANTINED._replace(refunds=(RefundStatus.DONE,)),
        worker=Purchase.refund,
        meanwhile=money_back,
        note="a person sends it back",
    ),
    # Daraja's answer to the push tells which callbacks are foreign.
    Row("029", failed("1037"), worker=Purchase.ask, before=late_callback, meanwhile=late_post),
    Row("030", PAID),
    # The receipt is that of the callback, believed since the query agrees.
    Row("031", PAID._replace(through=QUERY), worker=Purchase.ask),
    Row("032", ASKED, worker=Purchase.ask),
    Row(
        "033",
        PAID,
        posts=2,
        worker=Purchase.confirm,
        before=late_confirmation,
        meanwhile=late_post_after_payment,
        note="the callback first",
    ),
    Row(
        "033",
        PAID._replace(through=MessageChannel.C2B),
        posts=2,
        worker=Purchase.confirm,
        before=confirmation_before_callback,
        meanwhile=late_post_after_payment,
        note="the confirmation first",
    ),
    Row(
        "033",
        PAID._replace(through=MessageChannel.C2B),
        worker=Purchase.confirm,
        before=confirmation_alone,
        note="the callback is lost",
    ),
    # An internal error leaves open whether the phone rings, until the list shows that nobody paid.
    Row("040", UNKNOWN, posts=0, listed=failed("not_paid")),
    Row("041", PAID),
    Row("042", refused("429"), UNAVAILABLE, posts=0),
    Row("043", refused("edge_blocked"), UNAVAILABLE, posts=0),
    Row("044", PAID),
    Row("045", PAID),
    Row("045", UNKNOWN, posts=0, before=lost_callback, listed=LISTED, note="the callback is lost, too"),
    Row("046", refused("1"), UNAVAILABLE, posts=0),
    Row("047", PAID),
    Row("048", PAID),
    Row("049", refused("no_product"), UNAVAILABLE, posts=0),
)


@pytest.fixture(autouse=True)
def _hurry(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's pauses after a throttled push are somebody else's test."""
    monkeypatch.setattr(app.extensions["daraja"]._wire, "_sleep", lambda _seconds: None)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_order_ends_as_its_number_says(app: Flask, make: Maker, simulator: Simulator, row: Row) -> None:
    bought = Purchase(app, make, simulator, row.number)
    row.before(bought)
    assert bought.place() == row.answer
    row.meanwhile(bought)
    wait_until(lambda: bought.is_over_at_safaricom(row.posts))
    bought.come_to(row.end, bought.end, row.worker)

    bought.pull()
    bought.ask_again()
    bought.come_to(row.last, bought.end, row.worker)
    bought.check_money()
    for payment in bought.order.payments:
        is_unknown = payment.status is PaymentStatus.UNKNOWN
        assert (payment.next_query_at is None) == (not is_unknown), "nothing is left to ask about what is known"
        assert payment.result_text or is_unknown or payment.status is PaymentStatus.QUARANTINED
    if row.posts:
        assert bought.order.payments[0].checkout_request_id == simulator.prompts()[0]["checkout_request_id"]


@pytest.mark.parametrize("row", [row for row in ROWS if row.answer == UNAVAILABLE], ids=str)
def test_a_refused_push_may_be_tried_again_at_once_and_is_paid_once(
    app: Flask, make: Maker, simulator: Simulator, row: Row
) -> None:
    bought = Purchase(app, make, simulator, row.number)
    assert bought.place() == row.answer
    simulator.script(bought.phone, "000")
    again = bought.client.post(f"/orders/{bought.order_id}/pay", headers=bought.headers)
    assert again.status_code == 200
    wait_until(lambda: bought.is_over_at_safaricom(1))
    bought.come_to(PAID._replace(payments=(PaymentStatus.REFUSED, PaymentStatus.PAID)), bought.end, nothing)
    bought.check_money()


# ── Money back ────────────────────────────────────────────────────────────────────────────────────────────────────


class RefundEnd(NamedTuple):
    """What became of a refund, and of its order."""

    order: OrderStatus
    refund: RefundStatus
    code: str | None
    tickets: list[TicketStatus]
    #: Sold and held.
    places: tuple[int, int]
    polled: str | None
    #: What the customer got back, and how.
    sent: list[tuple[str, int]]


@dataclass(frozen=True)
class RefundRow:
    number: str
    refund: RefundStatus
    #: Why it failed.
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.number} {SCENARIOS[self.number].title}"

    def end(self, *, is_whole: bool) -> RefundEnd:
        """Whatever becomes of the money, the tickets are void and their places free from the beginning."""
        is_done = self.refund is RefundStatus.DONE
        if is_whole:
            order = OrderStatus.REFUNDED if is_done else OrderStatus.REFUND_DUE
            tickets, places, polled = [TicketStatus.VOID] * 2, (0, 0), "1032"
            sent = [("reversal", TOTAL_KES)]
        else:
            order = OrderStatus.PARTLY_REFUNDED
            tickets, places, polled = [TicketStatus.VOID, TicketStatus.VALID], (1, 0), "0"
            sent = [("b2c", PRICE_KES)]
        return RefundEnd(order, self.refund, self.code, tickets, places, polled, sent if is_done else [])


REFUND_ROWS = (
    RefundRow("070", RefundStatus.DONE),
    RefundRow("071", RefundStatus.FAILED, "1"),
    RefundRow("072", RefundStatus.FAILED, "2001"),
    RefundRow("073", RefundStatus.FAILED, "2040"),
    RefundRow("074", RefundStatus.DONE),
    RefundRow("075", RefundStatus.DONE),
)


def refund_end(bought: Purchase) -> RefundEnd:
    order = bought.order
    [refund] = bought.make.rows(Refund)
    sent = [(one["kind"], one["amount"]) for one in bought.simulator.ledger() if not is_income(one)]
    tickets, polled = [ticket.status for ticket in order.tickets], bought.poll(order)
    return RefundEnd(order.status, refund.status, refund.result_code, tickets, bought.places, polled, sent)


@pytest.mark.parametrize("is_whole", [True, False], ids=["the whole order", "one ticket of two"])
@pytest.mark.parametrize("row", REFUND_ROWS, ids=str)
def test_a_refund_ends_as_its_number_says_and_frees_each_place_once(
    app: Flask, make: Maker, simulator: Simulator, row: RefundRow, is_whole: bool
) -> None:
    bought = Purchase(app, make, simulator, row.number)
    assert bought.place() == ACCEPTED
    bought.come_to(PAID, bought.end, nothing)
    end, read = row.end(is_whole=is_whole), lambda: refund_end(bought)
    chosen = {} if is_whole else {"tickets": [bought.order.tickets[0].id]}
    assert bought.ask_as_admin(f"/orders/{bought.order_id}/refund", **chosen) == (200, None)
    assert bought.places == end.places
    bought.come_to(end, read, Purchase.refund)
    bought.check_money()

    # Asked for again, told again, read in the list, tried again: nothing more goes back, and no other place is free.
    code = "order_not_paid" if is_whole else "already_refunded"
    assert bought.ask_as_admin(f"/orders/{bought.order_id}/refund", **chosen) == (409, code)
    for post in simulator.deliveries():
        assert simulator.forge(post["url"], post["body"]) == 200
    bought.pull()
    bought.come_to(end, read, Purchase.refund)
    if row.refund is RefundStatus.FAILED:
        [refund] = make.rows(Refund)
        assert bought.ask_as_admin(f"/admin/refunds/{refund.id}/retry") == (200, None)
        bought.come_to(end, read, Purchase.refund)
    bought.check_money()


# ── No row is forgotten ───────────────────────────────────────────────────────────────────────────────────────────


def test_every_number_of_the_simulator_has_its_row_here() -> None:
    assert sorted({row.number for row in (*ROWS, *REFUND_ROWS)}) == sorted(SIMULATED)
