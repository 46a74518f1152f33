"""Daraja's own addresses: access token, STK push, STK query."""

from __future__ import annotations

import select

from flask import Blueprint, request

from daraja_simulator import checks, messages
from daraja_simulator.messages import Json, Refusal
from daraja_simulator.network import CALLBACK_TIMEOUT_SECONDS, network
from daraja_simulator.prompts import Prompt
from daraja_simulator.scenarios import OVER_LIMIT_PUSH

MOST_KES = 250_000

daraja = Blueprint("daraja", __name__)


@daraja.get("/oauth/v1/generate")
def generate_token() -> Json | tuple[str, int]:
    given, settings = request.authorization, network.settings
    if given is None or (given.username, given.password) != (
        settings.MPESA_CONSUMER_KEY,
        settings.MPESA_CONSUMER_SECRET,
    ):
        return "", 400
    if request.args.get("grant_type") != "client_credentials":
        raise Refusal(400, "400.008.02", "Invalid grant type passed")
    # A string, as on the older portal. The newer one shows a number.
    return {"access_token": network.issue_token(), "expires_in": str(settings.SIM_TOKEN_SECONDS)}


@daraja.post("/mpesa/stkpush/v1/processrequest")
def push() -> Json:
    fields = _read(checks.PUSH_FIELDS, checks.OPTIONAL_PUSH_FIELDS)
    now, phone, amount = network.clock.now(), fields["PhoneNumber"], int(fields["Amount"])
    checks.check_stamp(fields, now)
    scenario = OVER_LIMIT_PUSH if amount > MOST_KES else network.next_scenario(phone)
    if scenario.answer.error is not None:
        raise Refusal(*scenario.answer.error)
    prompt = Prompt(
        phone=phone,
        amount=amount,
        reference=fields["AccountReference"],
        description=fields["TransactionDesc"],
        callback_url=fields["CallBackURL"],
        pushed_at=now,
        scenario=scenario,
    )
    network.show(prompt)
    _dawdle(prompt)
    return messages.acceptance(prompt)


@daraja.post("/mpesa/stkpushquery/v1/query")
def query() -> tuple[Json, int]:
    # The age of the stamp is left alone, so that one can ask about a prompt after moving the clock.
    fields = _read(checks.QUERY_FIELDS, {})
    status, body = network.query(fields["CheckoutRequestID"])
    return body, status


def _read(required: dict[str, checks.Rule], optional: dict[str, checks.Rule]) -> dict[str, str]:
    """The request's fields, once token, JSON, fields and credentials have passed in this order.

    Raises Refusal.
    """
    given = request.authorization
    if given is None or given.type != "bearer" or not network.is_token_good(given.token):
        raise Refusal(404, "404.001.03", "Invalid Access Token")
    # What is not sent as JSON counts as empty, hence the portal's advice about "Invalid BusinessShortCode".
    body = messages.read_object(request.get_data()) if request.is_json else {}
    if body is None:
        raise Refusal(400, "400.002.05", "Invalid Request Payload")
    fields = checks.check_fields(body, required, optional)
    checks.check_merchant(fields, network.settings)
    return fields


def _dawdle(prompt: Prompt) -> None:
    """Hold the answer back as scripted, no longer than the client stays."""
    answer = prompt.scenario.answer
    seconds = network.clock.scaled(answer.delay_seconds).total_seconds() + answer.hang_seconds
    if seconds:
        # The request has been read, so its connection has news only when the client hangs up.
        select.select([request.environ["werkzeug.socket"]], [], [], seconds)
    if answer.is_after_callback:
        prompt.told.wait(2 * CALLBACK_TIMEOUT_SECONDS)
