"""`make demo`: buy one ticket on a running Ticksy, over HTTP alone, and print what each step brought."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests
from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parent.parent
EMAIL, PASSWORD, PIN = "attendee@ticksy.co.ke", "demo-pass-2026", "1234"
#: How long to wait for what happens between Ticksy and M-PESA.
PATIENCE_SECONDS = 30

_Found = TypeVar("_Found")


class DemoFailed(Exception):
    """A step did not do what it should. The text is the whole story, for a person."""


class Server:
    """One side of the conversation."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between parts of one machine

    def log_in(self, token: str) -> None:
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, verb: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            answer = self._session.request(verb, self.address + path, json=body, timeout=30)
            content = answer.json()
        except requests.JSONDecodeError:
            raise DemoFailed(f"{verb} {self.address}{path} answered without JSON.") from None
        except requests.RequestException:
            raise DemoFailed(
                f"{self.name} does not answer on {self.address}. Start it with `make run` first."
            ) from None
        if not answer.ok:
            reason = content.get("message", content)
            raise DemoFailed(f"{verb} {path} answered {answer.status_code}: {reason}")
        return content


def main() -> int:
    load_dotenv(ROOT / ".env")
    port = os.environ.get("PORT") or "5000"
    simulator_port = os.environ.get("SIMULATOR_PORT") or int(port) + 1
    ticksy = Server("Ticksy", os.environ.get("PUBLIC_URL") or f"http://127.0.0.1:{port}")
    mpesa = Server("The simulator", os.environ.get("MPESA_BASE_URL") or f"http://127.0.0.1:{simulator_port}")
    try:
        buy_ticket(ticksy, mpesa)
    except DemoFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def buy_ticket(ticksy: Server, mpesa: Server) -> None:
    login = ticksy.post("/login", {"email": EMAIL, "password": PASSWORD})
    ticksy.log_in(login["access_token"])
    user = login["user"]
    tell("Logged in", f"{user['first_name']} {user['last_name']}, {EMAIL}")

    event, ticket_type = choose(ticksy)
    tell("Chose", f"{event['title']}: {ticket_type['type']} for KES {ticket_type['price']:,}")

    phone = f"25471{secrets.randbelow(10**7):07}"
    attendee = {
        "ticket_id": ticket_type["id"],
        "ticket_type": ticket_type["type"],
        "first_name": user["first_name"],
        "last_name": user["last_name"],
        "email": EMAIL,
        "phone": phone,
    }
    line = {"ticket_id": ticket_type["id"], "quantity": 1, "attendees": [attendee]}
    checkout = ticksy.post("/orders", {"phone": phone, "tickets": [line]})
    order = checkout["order"]
    tell("Ordered", f"{order['order_id']}, KES {order['total_amount']:,}, {order['status']}")

    prompt = eventually(f"No prompt arrived on {phone}.", lambda: newest_prompt(mpesa, phone))
    checkout_id = prompt["checkout_request_id"]
    tell("Phone rings", f"{phone}: pay KES {prompt['amount']:,} to {prompt['reference']}? ({checkout_id})")
    mpesa.post(f"/__sim__/answer/{checkout_id}", {"outcome": "pay", "pin": PIN})
    tell("Entered the PIN", PIN)

    delivery = eventually("The simulator posted no callback.", lambda: newest_delivery(mpesa, checkout_id))
    result = delivery["body"]["Body"]["stkCallback"]
    tell("Callback", f'"{result["ResultDesc"]}" Ticksy answered {delivery["status"] or delivery["error"]}')

    poll = f"/payments/check/{checkout['checkoutRequestID']}"
    paid = eventually("The payment was not settled.", lambda: settled(ticksy.get(poll)["data"]))
    if paid["ResultCode"] != "0":
        raise DemoFailed(f"The payment failed: {paid['ResultDesc']}")
    tell("Settled", f'GET /payments/check: ResultCode {paid["ResultCode"]}, "{paid["ResultDesc"]}"')

    order = ticksy.get(f"/orders/{checkout['orderId']}")
    tell("Order", f"{order['order_id']} is {order['status']}, receipt {order['mpesa_receipt']}")
    for ticket in order["tickets"]:
        holder = f"{ticket['attendee_first_name']} {ticket['attendee_last_name']}"
        tell("Ticket", f"{ticket['ticket_code']}, {ticket['type']}, for {holder}")
    if order["status"] != "paid" or len(order["tickets"]) != 1:
        raise DemoFailed("That should have been one ticket of a paid order.")


def choose(ticksy: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first event, with the first of its types, that can be bought for money now."""
    for event in ticksy.get("/events"):
        for ticket_type in ticksy.get(f"/events/{event['id']}/tickets"):
            is_for_one = ticket_type.get("min_per_order", 1) == 1
            if ticket_type["price"] and ticket_type["on_sale"] and ticket_type["available"] and is_for_one:
                return event, ticket_type
    raise DemoFailed("No event has a ticket on sale: is the demo data there (`flask seed`)?")


def newest_prompt(mpesa: Server, phone: str) -> dict[str, Any] | None:
    prompts = mpesa.get("/__sim__/state")["prompts"]
    return next((one for one in reversed(prompts) if one["phone"] == phone), None)


def newest_delivery(mpesa: Server, checkout_id: str) -> dict[str, Any] | None:
    deliveries = mpesa.get("/__sim__/deliveries")["deliveries"]
    return next((one for one in reversed(deliveries) if one["checkout_request_id"] == checkout_id), None)


def settled(outcome: dict[str, Any]) -> dict[str, Any] | None:
    return outcome if "ResultCode" in outcome else None


def eventually(otherwise: str, look: Callable[[], _Found | None]) -> _Found:
    """What `look` finds, looking again for as long as the demo's patience lasts."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        found = look()
        if found is not None:
            return found
        time.sleep(0.25)
    raise DemoFailed(otherwise)


def tell(step: str, what: str) -> None:
    print(f"{step:<16}{what}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
