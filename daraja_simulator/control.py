"""/__sim__: look at the simulator and steer it. Nothing like it exists at Safaricom."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from flask import Blueprint, request

from daraja_simulator.messages import Json, read_object
from daraja_simulator.network import Mistake, network
from daraja_simulator.prompts import Prompt, parse_phone

MOST_AHEAD_SECONDS = timedelta(days=3650).total_seconds()

control = Blueprint("control", __name__, url_prefix="/__sim__")


@control.errorhandler(Mistake)
def answer_mistake(mistake: Mistake) -> tuple[Json, int]:
    return {"message": str(mistake)}, 400


@control.get("/state")
def show_state() -> Json:
    """Every prompt since the last reset, oldest first."""
    return {"prompts": [_describe(prompt) for prompt in network.prompts()]}


@control.post("/reset")
def reset() -> Json:
    network.reset()
    return {}


@control.post("/answer/<checkout_request_id>")
def answer(checkout_request_id: str) -> Json:
    """`{"outcome": "pay" | "wrong_pin" | "cancel" | "ignore", "pin": "1234"}`; the PIN may be left out."""
    given = _given()
    pin = given.get("pin")
    return _describe(network.answer(checkout_request_id, str(given.get("outcome")), None if pin is None else str(pin)))


@control.get("/clock")
def show_clock() -> Json:
    return {"now": network.clock.now().isoformat(), "offset_seconds": network.clock.offset_seconds}


@control.post("/clock")
def advance_clock() -> Json:
    """`{"advance_seconds": 900}`, whatever SIM_SPEED is. What becomes due by it happens at once."""
    seconds = _given().get("advance_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Mistake("advance_seconds must be a number.")
    # Also false for NaN.
    if not 0 <= seconds <= MOST_AHEAD_SECONDS - network.clock.offset_seconds:
        raise Mistake("The clock goes forward only, and no more than ten years.")
    network.clock.advance(seconds)
    return show_clock()


@control.get("/deliveries")
def show_deliveries() -> Json:
    """Every attempt to post a callback since the last reset, with what came of it."""
    return {"deliveries": [asdict(one) for one in network.deliveries()]}


@control.post("/tokens/expire")
def expire_tokens() -> Json:
    network.expire_tokens()
    return {}


@control.post("/script")
def script() -> Json:
    """`{"phone": "0712345678", "row": "023"}`: the next push to this phone goes as one to 254700000023."""
    given = _given()
    try:
        phone = parse_phone(str(given.get("phone")))
    except ValueError as error:
        raise Mistake(str(error)) from None
    row = str(given.get("row"))
    network.script(phone, row)
    return {"phone": phone, "row": row}


def _given() -> Json:
    body = read_object(request.get_data())
    if body is None:
        raise Mistake("The body must be a JSON object.")
    return body


def _describe(prompt: Prompt) -> Json:
    return {
        "phone": prompt.phone,
        "amount": prompt.amount,
        "reference": prompt.reference,
        "description": prompt.description,
        "checkout_request_id": prompt.checkout_request_id,
        "merchant_request_id": prompt.merchant_request_id,
        "callback_url": prompt.callback_url,
        "scenario": prompt.scenario.title,
        "status": prompt.status,
        "result_code": prompt.result,
        "receipt": prompt.receipt,
        "pushed_at": prompt.pushed_at.isoformat(),
    }
