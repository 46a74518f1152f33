"""/phone: a page that shows prompts as a phone would, to pay, cancel or ignore them by hand, or pay the Paybill."""

from __future__ import annotations

from datetime import datetime

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from daraja_simulator.network import PIN
from daraja_simulator.prompts import MERCHANT, parse_phone, transaction_sms
from daraja_simulator.scenarios import ROWS, SCENARIOS, SCRIPTED_NUMBERS
from daraja_simulator.wire import Json
from daraja_simulator.world import world

virtual_phone = Blueprint("virtual_phone", __name__, url_prefix="/phone")


@virtual_phone.errorhandler(ValueError)
def answer_bad_number(error: ValueError) -> tuple[str, int]:
    return _chooser(str(error)), 400


@virtual_phone.get("")
def choose() -> Response | str:
    """The numbers with an open prompt, the scripted ones, and a field for any other."""
    if "number" in request.args:
        return redirect(url_for(".show", number=parse_phone(request.args["number"])))
    return _chooser()


@virtual_phone.get("/<number>")
def show(number: str) -> str:
    phone = parse_phone(number)
    world.network.watch(phone)
    shop = {"shortcode": world.settings.MPESA_SHORTCODE, "merchant": MERCHANT}
    return render_template("phone.html", phone=phone, pin=PIN, **shop)


@virtual_phone.get("/<number>/screen")
def screen(number: str) -> Json:
    """What the page polls: the open prompt, if any, the balance, and the messages, newest first."""
    phone = parse_phone(number)
    world.network.watch(phone)
    ringing, messages = None, []
    for prompt in world.network.prompts(phone):
        if prompt.ended_at is not None and prompt.status == "failed":
            messages.append((prompt.ended_at, prompt.sms, False))
        elif prompt.ended_at is None and not prompt.is_answered:
            ringing = {"checkout_request_id": prompt.checkout_request_id, "question": prompt.question}
    for moved in world.bank.transactions(phone):
        messages.append((datetime.fromisoformat(moved["at"]), transaction_sms(moved), True))
    messages.sort(key=lambda message: message[0], reverse=True)
    inbox = [{"text": text, "is_paid": is_paid} for _, text, is_paid in messages]
    return {"prompt": ringing, "balance": world.bank.balance(phone), "inbox": inbox}


def _chooser(fault: str = "") -> str:
    ringing = [prompt for prompt in world.network.prompts() if prompt.status == "waiting"]
    scripted = {SCRIPTED_NUMBERS + row: SCENARIOS[row].title for row in ROWS}
    return render_template("phones.html", ringing=ringing, scripted=scripted, fault=fault)
