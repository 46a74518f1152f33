"""The people: buyers who buy in every way there is, and an operator who does what an operator should."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import requests

#: A request that gets no answer is made again, as often as this, with pauses of this many seconds: a server that was
#: killed takes its time to start on a busy machine.
_TRIES, _PAUSE = 400, 0.25


@dataclass(frozen=True)
class Person:
    phone: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Offer:
    """A ticket type on sale."""

    ticket_type_id: int
    price_kes: int


def may_be_taken_back(reference: str) -> bool:
    """Whether Safaricom may reverse an order's payment by itself. Then no part of it is paid out: both would be theirs
    and our doing at once, and nobody could prevent that more goes back than came."""
    return reference[-1:].isdecimal()


class Gone(Exception):
    """Nobody answered for a long time."""


class Server:
    """Ticksy, or the simulator, as somebody sees it who tries again when it is down."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, path: str, *, timeout: float = 30, **how: Any) -> requests.Response:
        """The answer, however often it takes to get one that is neither 5xx nor 429. Raises Gone."""
        for _ in range(_TRIES):
            answer = self.ask_once(method, path, timeout=timeout, **how)
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                return answer
            time.sleep(_PAUSE)
        raise Gone(f"{method} {path}")

    def ask_once(self, method: str, path: str, *, timeout: float = 30, **how: Any) -> requests.Response | None:
        try:
            return requests.request(method, self._url + path, timeout=timeout, **how)
        except requests.RequestException:
            return None


@dataclass
class Crowd:
    """Buyers who share a list of offers. `buy` is one visit of one of them; it is safe in many threads."""

    ticksy: Server
    daraja: Server
    people: Sequence[Person]
    offers: Sequence[Offer]
    admin: Person
    #: What phones may do that do nothing ordinary, as the simulator numbers it.
    rows: Sequence[str]
    placed: set[int] = field(default_factory=set)
    #: 5xx other than an honest 503, by path: none is expected but from a server that is being killed.
    errors: list[str] = field(default_factory=list)

    def buy(self, dice: Random) -> None:
        """Order, perhaps twice at once; then pay, pay otherwise, give up, or ask for the money back."""
        buyer = dice.choice(self.people)
        if dice.random() < 0.4:
            script = {"phone": buyer.phone, "row": dice.choice(self.rows)}
            self.daraja.ask_once("POST", "/__sim__/script", json=script, timeout=5)
        order = self._order(buyer, dice)
        if order is None:
            return
        self.placed.add(order["id"])
        for act in dice.choices(_ACTS, weights=_WEIGHTS, k=dice.choice([1, 1, 2, 3])):
            act(self, buyer, order, dice)

    def _order(self, buyer: Person, dice: Random) -> dict[str, Any] | None:
        """The order, however often it takes to hear of it; None when it was refused."""
        cart = [
            {"ticket_id": offer.ticket_type_id, "quantity": dice.choice([1, 1, 2, 3])}
            for offer in dice.sample(list(self.offers), k=dice.choice([1, 1, 2]))
        ]
        # One event a cart: the second offer, if any, may be of another, which is a refusal like any other.
        request = {"headers": buyer.headers | {"Idempotency-Key": str(uuid.uuid4())}, "json": {"tickets": cart}}
        if dice.random() < 0.2:
            twin = threading.Thread(target=self.ticksy.ask_once, args=("POST", "/orders"), kwargs=request)
            twin.start()
        for _ in range(_TRIES):
            answer = self.ticksy.ask_once("POST", "/orders", **request)
            if answer is None:
                time.sleep(_PAUSE)
            elif answer.status_code in (200, 201):
                return answer.json()["order"]  # type: ignore[no-any-return]
            elif answer.json()["code"] == "mpesa_unavailable":
                return self._find_open(buyer)
            elif answer.status_code in (409, 422) and answer.json()["code"] != "request_in_progress":
                return None
            else:
                self._note(answer)
                time.sleep(_PAUSE)
        return None

    def _find_open(self, buyer: Person) -> dict[str, Any] | None:
        """The order that stands although its push was refused."""
        answer = self.ticksy.ask("GET", "/orders?per_page=3", headers=buyer.headers)
        return next((order for order in answer.json() if order["status"] == "pending"), None)

    def _note(self, answer: requests.Response) -> None:
        if answer.status_code >= 500 and answer.status_code != 503:
            self.errors.append(f"{answer.status_code} {answer.url}: {answer.text[:200]}")

    def _look(self, buyer: Person, order: dict[str, Any]) -> dict[str, Any]:
        return self.ticksy.ask("GET", f"/orders/{order['id']}", headers=buyer.headers).json()  # type: ignore[no-any-return]

    def _wait_until_decided(self, buyer: Person, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The order once it is no longer open, or after so many seconds."""
        give_up_at = time.monotonic() + seconds
        while (seen := self._look(buyer, order))["status"] == "pending" and time.monotonic() < give_up_at:
            time.sleep(_PAUSE)
        return seen

    # ── What somebody does with an order ─────────────────────────────────────────────────────────────────

    def wait(self, buyer: Person, order: dict[str, Any], _dice: Random) -> None:
        self._wait_until_decided(buyer, order, 3)

    def prompt_again(self, buyer: Person, order: dict[str, Any], dice: Random) -> None:
        """Until one of them is paid, or no more are to be had."""
        for _ in range(dice.choice([1, 3])):
            if self._wait_until_decided(buyer, order, 1)["status"] != "pending":
                return
            headers = buyer.headers | ({"Idempotency-Key": str(uuid.uuid4())} if dice.random() < 0.5 else {})
            self.ticksy.ask_once("POST", f"/orders/{order['id']}/pay", headers=headers, json={})

    def give_up(self, buyer: Person, order: dict[str, Any], _dice: Random) -> None:
        self.ticksy.ask_once("DELETE", f"/orders/{order['id']}", headers=buyer.headers)

    def pay_by_hand(self, buyer: Person, order: dict[str, Any], dice: Random) -> None:
        """The Paybill, sometimes with a slip of the finger; money may have moved without anybody hearing of it."""
        reference = dice.choice(
            [order["order_id"], order["order_id"].lower(), f"{order['order_id'][:5]} {order['order_id'][5:]}"]
        )
        reference = reference if dice.random() < 0.9 else "KANISA"
        amount = order["total_amount"] + (dice.random() < 0.1)
        paid = self.daraja.ask_once(
            "POST",
            "/__sim__/c2b/pay",
            json={"phone": buyer.phone, "amount": int(amount), "reference": reference},
            timeout=15,
        )
        if paid is not None and paid.ok and paid.json()["receipt"] and dice.random() < 0.5:
            claim = {"code": paid.json()["receipt"]}
            self.ticksy.ask_once("POST", f"/orders/{order['id']}/claim", headers=buyer.headers, json=claim)

    def claim_a_strangers(self, buyer: Person, order: dict[str, Any], _dice: Random) -> None:
        """With whatever code somebody else's SMS showed."""
        seen = self.daraja.ask_once("GET", "/__sim__/ledger", timeout=15)
        known = seen.json()["transactions"][-1:] if seen is not None and seen.ok else []
        for one in known:
            claim = {"code": one["receipt"]}
            self.ticksy.ask_once("POST", f"/orders/{order['id']}/claim", headers=buyer.headers, json=claim)

    def forge(self, buyer: Person, order: dict[str, Any], _dice: Random) -> None:
        """Tell Ticksy that it has been paid."""
        body = {"Body": {"stkCallback": {"CheckoutRequestID": f"ws_CO_{order['id']}", "ResultCode": 0}}}
        self.ticksy.ask_once("POST", "/api/payment/callback", json=body)
        confirmation = {"TransID": f"UKX{order['id']:07d}", "TransAmount": f"{order['total_amount']}.00"}
        confirmation |= {"BillRefNumber": order["order_id"], "MSISDN": buyer.phone}
        self.ticksy.ask_once("POST", f"/api/payment/c2b/{'0' * 32}/confirmation", json=confirmation)

    def ask_for_the_money(self, buyer: Person, order: dict[str, Any], dice: Random) -> None:
        """An admin gives it back: all of it, or one ticket's."""
        seen = self._wait_until_decided(buyer, order, 5)
        is_part = seen["tickets"] and not may_be_taken_back(seen["order_id"]) and dice.random() < 0.7
        chosen = {"tickets": [seen["tickets"][0]["id"]]} if is_part else {}
        for _ in range(dice.choice([1, 2])):
            self.ticksy.ask_once("POST", f"/orders/{order['id']}/refund", headers=self.admin.headers, json=chosen)


Act = Callable[[Crowd, Person, dict[str, Any], Random], None]
_ACTS: list[Act] = [
    Crowd.wait,
    Crowd.prompt_again,
    Crowd.pay_by_hand,
    Crowd.give_up,
    Crowd.ask_for_the_money,
    Crowd.claim_a_strangers,
    Crowd.forge,
]
_WEIGHTS = [40, 25, 12, 8, 10, 2, 3]


@dataclass
class Operator:
    """Whoever looks after what waits for a person."""

    ticksy: Server
    daraja: Server
    admin: Person
    sent_back: int = 0
    retried: int = 0
    sent_by_hand: int = 0

    def work_through(self) -> None:
        """Send money in suspense back, try refunds again that failed, and send by hand what Ticksy cannot."""
        for payment in self._list("/admin/suspense"):
            if payment["status"] == "quarantined":
                self.sent_back += self._do(f"/admin/payments/{payment['id']}/refund")
        for refund in self._list("/admin/refunds?status=refund_failed"):
            self.retried += self._do(f"/admin/refunds/{refund['id']}/retry")
        for refund in self._list("/admin/refunds?status=by_hand"):
            self.sent_by_hand += self._send_by_hand(refund)

    def _send_by_hand(self, refund: dict[str, Any]) -> bool:
        """To whoever paid, as M-PESA's portal shows them, and written down with M-PESA's receipt of it."""
        transactions = self.daraja.ask("GET", "/__sim__/ledger").json()["transactions"]
        payer = next(one["phone"] for one in transactions if one["receipt"] == refund["payment_receipt"])
        sent = {"phone": payer, "amount": refund["amount"]}
        receipt = self.daraja.ask("POST", "/__sim__/b2c/pay", json=sent).json()["receipt"]
        return self._do(f"/admin/refunds/{refund['id']}/by-hand", receipt=receipt)

    def _list(self, path: str) -> list[dict[str, Any]]:
        return self.ticksy.ask("GET", path, headers=self.admin.headers).json()  # type: ignore[no-any-return]

    def _do(self, path: str, **body: str) -> bool:
        return self.ticksy.ask("POST", path, headers=self.admin.headers, json=body).status_code == 200
