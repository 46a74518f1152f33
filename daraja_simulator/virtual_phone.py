"""/phone: a page that shows prompts as a phone would, to pay, cancel or ignore them by hand."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from daraja_simulator.messages import Json
from daraja_simulator.network import PIN, network
from daraja_simulator.prompts import Prompt, parse_phone
from daraja_simulator.scenarios import SCENARIOS, SCRIPTED_NUMBERS

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
    network.watch(phone)
    return render_template("phone.html", phone=phone, pin=PIN)


@virtual_phone.get("/<number>/screen")
def screen(number: str) -> Json:
    """What the page polls: the open prompt, if any, and the messages, newest first."""
    phone = parse_phone(number)
    network.watch(phone)
    ringing, inbox = None, []
    for prompt in reversed(network.prompts(phone)):
        if prompt.sms:
            inbox.append({"text": prompt.sms, "is_paid": prompt.status == "paid"})
        elif not prompt.is_answered:
            ringing = {"checkout_request_id": prompt.checkout_request_id, "question": prompt.question}
    return {"prompt": ringing, "inbox": inbox}


def _chooser(fault: str = "") -> str:
    ringing: list[Prompt] = [prompt for prompt in network.prompts() if prompt.status == "waiting"]
    scripted = {SCRIPTED_NUMBERS + row: scenario.title for row, scenario in SCENARIOS.items()}
    return render_template("phones.html", ringing=ringing, scripted=scripted, fault=fault)
