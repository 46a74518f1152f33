"""/__sim__: look at the simulator and steer it. Nothing like it exists at Safaricom."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from flask import Blueprint, request

from daraja_simulator import paybill
from daraja_simulator.chance import CALL_KINDS, DELIVERY_KINDS, PROFILES
from daraja_simulator.checks import is_loopback_url
from daraja_simulator.messages import read_object
from daraja_simulator.network import SCRIPT_FIELDS, Mistake
from daraja_simulator.post import TIMEOUT_SECONDS, post_once
from daraja_simulator.prompts import Prompt, parse_phone
from daraja_simulator.wire import Json
from daraja_simulator.world import world

MOST_AHEAD_SECONDS = timedelta(days=3650).total_seconds()
MOST_KES = 1_000_000_000

control = Blueprint("control", __name__, url_prefix="/__sim__")


@control.errorhandler(Mistake)
def answer_mistake(mistake: Mistake) -> tuple[Json, int]:
    return {"message": str(mistake)}, 400


@control.get("/state")
def show_state() -> Json:
    """Every prompt since the last reset, oldest first, and how much is still to happen."""
    prompts = [_describe(prompt) for prompt in world.network.prompts()]
    return {"profile": world.chance.profile, "planned": world.agenda.planned(), "prompts": prompts}


@control.get("/ledger")
def show_ledger() -> Json:
    """Every transaction, oldest first; the wallets whose money has moved; the shop's account."""
    with world.store.transaction():
        return {
            "transactions": world.bank.transactions(),
            "wallets": world.bank.wallets(),
            "shop_balance": world.bank.shop_balance,
        }


@control.post("/reset")
def reset() -> Json:
    world.reset()
    return {}


@control.post("/answer/<checkout_request_id>")
def answer(checkout_request_id: str) -> Json:
    """`{"outcome": "pay" | "wrong_pin" | "cancel" | "ignore", "pin": "1234"}`; the PIN may be left out."""
    given = _given()
    pin = given.get("pin")
    choice = str(given.get("outcome"))
    return _describe(world.network.answer(checkout_request_id, choice, None if pin is None else str(pin)))


@control.get("/clock")
def show_clock() -> Json:
    return {"now": world.clock.now().isoformat(), "offset_seconds": world.clock.offset_seconds}


@control.post("/clock")
def advance_clock() -> Json:
    """`{"advance_seconds": 900}`, whatever SIM_SPEED is. What becomes due by it happens at once."""
    seconds = _number(_given(), "advance_seconds", most=MOST_AHEAD_SECONDS - world.clock.offset_seconds)
    world.advance(seconds)
    return show_clock()


@control.get("/deliveries")
def show_deliveries() -> Json:
    """Every attempt to post something since the last reset, with what came of it."""
    return {"deliveries": world.post.deliveries()}


@control.post("/tokens/expire")
def expire_tokens() -> Json:
    world.network.expire_tokens()
    return {}


@control.post("/script")
def script() -> Json:
    """`{"phone": "0712345678", "row": "023"}`: the next push to this phone goes as one to 254700000023.

    Instead of the phone, `"reference"` names its AccountReference, and `"next": 3` means the next three pushes.
    """
    given = _given()
    named = [field for field in SCRIPT_FIELDS if field in given]
    if len(named) != 1:
        raise Mistake("Name one of phone, reference and next.")
    field, row = named[0], str(given.get("row"))
    if field == "next":
        count = int(_number(given, "next", least=1, most=100_000))
        world.network.script("next", "", row, count)
        return {"next": count, "row": row}
    value = _phone(given) if field == "phone" else str(given[field])
    world.network.script(field, value, row)
    return {field: value, "row": row}


@control.post("/fault")
def fault() -> Json:
    """`{"path": "/mpesa/reversal", "kind": "reset", "count": 1, "delay": 0}`: what happens to the next requests
    to that path or below, or to what is posted because of them.
    """
    given = _given()
    path, kind = str(given.get("path")), str(given.get("kind"))
    if kind not in CALL_KINDS + DELIVERY_KINDS:
        raise Mistake(f"The kind must be one of {', '.join(CALL_KINDS + DELIVERY_KINDS)}.")
    if not path.startswith("/"):
        raise Mistake("The path must be one of Daraja's, or its beginning.")
    count = int(_number(given, "count", least=1, most=1_000_000, otherwise=1))
    delay = _number(given, "delay", most=MOST_AHEAD_SECONDS, otherwise=0)
    world.chance.ask_for(path, kind, count, delay)
    return {"path": path, "kind": kind, "count": count, "delay": delay}


@control.post("/forge")
def forge() -> Json:
    """`{"url", "body"}`: post it as a stranger would, without Safaricom's headers. The merchant's answer."""
    given = _given()
    url, body = str(given.get("url")), given.get("body")
    if not is_loopback_url(url):
        raise Mistake("The url must be of this machine.")
    content = body if isinstance(body, str) else json.dumps(body)
    told, error = post_once(url, content, {"Content-Type": "application/json"}, TIMEOUT_SECONDS)
    return {
        "status": None if told is None else told.status_code,
        "body": None if told is None else told.text,
        "error": error,
    }


@control.post("/c2b/pay")
def pay_bill() -> Json:
    """`{"phone", "amount", "reference"}`: somebody pays by hand. The receipt, if money moved."""
    given = _given()
    amount = int(_number(given, "amount", least=1, most=MOST_KES))
    receipt, code = world.paybill.pay(_phone(given), amount, str(given.get("reference")))
    return {"receipt": receipt, "result_code": code, "message": paybill.describe(code)}


@control.post("/reverse")
def reverse() -> Json:
    """`{"receipt"}`: Safaricom takes a payment back by itself, and tells nobody."""
    receipt = world.errands.reverse_by_itself(str(_given().get("receipt")))
    if receipt is None:
        raise Mistake("There is no such payment to the shop that could be taken back.")
    return {"receipt": receipt}


@control.post("/b2c/pay")
def pay_out() -> Json:
    """`{"phone", "amount"}`: the shop sends money by hand, in M-PESA's portal, and tells nobody."""
    given = _given()
    receipt = world.errands.pay_out_by_hand(_phone(given), int(_number(given, "amount", least=1, most=MOST_KES)))
    if receipt is None:
        raise Mistake("The shop has not got so much money.")
    return {"receipt": receipt}


@control.post("/profile")
def choose_profile() -> Json:
    """`{"name": "calm" | "realistic"}`, from now on until a reset."""
    name = str(_given().get("name"))
    if name not in PROFILES:
        raise Mistake(f"The name must be one of {', '.join(PROFILES)}.")
    world.store.note("profile", name)
    return {"name": name}


def _given() -> Json:
    body = read_object(request.get_data())
    if body is None:
        raise Mistake("The body must be a JSON object.")
    return body


def _number(given: Json, name: str, *, least: float = 0, most: float, otherwise: float | None = None) -> float:
    value: Any = given.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mistake(f"{name} must be a number.")
    # Also false for NaN.
    if not least <= value <= most:
        raise Mistake(f"{name} must be from {least:.0f} to {most:.0f}.")
    return value


def _phone(given: Json) -> str:
    try:
        return parse_phone(str(given.get("phone")))
    except ValueError as error:
        raise Mistake(str(error)) from None


def _describe(prompt: Prompt) -> Json:
    described = prompt.dump() | {"scenario": prompt.scenario.title, "status": prompt.status}
    return described | {"result_code": described.pop("result")}
