"""Daraja's own addresses."""

from __future__ import annotations

import time
from typing import NamedTuple

from flask import Blueprint, Response, g, request

from daraja_simulator import checks, credential, messages, wire
from daraja_simulator.post import TIMEOUT_SECONDS
from daraja_simulator.prompts import Prompt
from daraja_simulator.wire import Json, Refusal
from daraja_simulator.world import world

daraja = Blueprint("daraja", __name__)


class Api(NamedTuple):
    name: str
    paths: tuple[str, ...]
    #: What a bad access token is told: three codes are in use, and Pull has its own.
    token_error: tuple[int, str, str]


_STK = (404, "404.001.03", "Invalid Access Token")
_MONEY = (401, "401.002.01", "Error Occurred - Invalid Access Token - {token}")
_OTHER = (400, "400.003.01", "Invalid Access Token")
PUSH = Api("push", ("/mpesa/stkpush/v1/processrequest",), _STK)
QUERY = Api("query", ("/mpesa/stkpushquery/v1/query",), _STK)
REGISTER = Api("c2b register", ("/mpesa/c2b/v2/registerurl", "/mpesa/c2b/v1/registerurl"), _OTHER)
SIMULATE = Api("c2b simulate", ("/mpesa/c2b/v2/simulate", "/mpesa/c2b/v1/simulate"), _OTHER)
PULL_REGISTER = Api("pull register", ("/pulltransactions/v1/register",), (401, "401.001", "Invalid Access Token"))
PULL = Api("pull", ("/pulltransactions/v1/query",), (401, "401.001", "Invalid Access Token"))
ERRANDS = {
    path: api
    for api in (
        Api("b2c", ("/mpesa/b2c/v3/paymentrequest", "/mpesa/b2c/v1/paymentrequest"), _MONEY),
        Api("reversal", ("/mpesa/reversal/v1/request",), _STK),
        Api("status", ("/mpesa/transactionstatus/v1/query",), _OTHER),
        Api("balance", ("/mpesa/accountbalance/v1/query",), _MONEY),
    )
    for path in api.paths
}


@daraja.before_request
def meet_fault() -> None:
    """What was asked for, or happens by chance, before any API sees the request."""
    fault = world.chance.of_call(request.path)
    if fault is None:
        return
    if fault.kind == "slow":
        time.sleep(world.clock.scaled(fault.delay).total_seconds())
    elif fault.kind == "expire":
        world.network.expire_tokens()
    elif fault.kind in wire.LOSSES:
        g.loss = fault.kind
    else:
        raise wire.refusal(fault.kind)


@daraja.after_request
def lose_answer(answer: Response) -> Response:
    loss = g.pop("loss", None)
    return wire.lose(answer, loss) if loss and answer.status_code == 200 else answer


@daraja.get("/oauth/v1/generate")
def generate_token() -> Json | tuple[str, int]:
    given, settings = request.authorization, world.settings
    if given is None or (given.username, given.password) != (
        settings.MPESA_CONSUMER_KEY,
        settings.MPESA_CONSUMER_SECRET,
    ):
        return "", 400
    if request.args.get("grant_type") != "client_credentials":
        raise Refusal(400, "400.008.02", "Invalid grant type passed")
    seconds = settings.SIM_TOKEN_SECONDS
    expires_in = seconds if settings.SIM_EXPIRES_IN == "number" else str(seconds)
    return {"access_token": world.network.issue_token(), "expires_in": expires_in}


@daraja.post(PUSH.paths[0])
def push() -> Json:
    fields = _read(PUSH)
    checks.check_merchant(fields, world.settings)
    checks.check_stamp(fields, world.clock.now())
    prompt = world.network.push(fields)
    _dawdle(prompt)
    g.loss = prompt.scenario.answer.loss or g.get("loss")
    return messages.acceptance(prompt)


@daraja.post(QUERY.paths[0])
def query() -> tuple[Json, int]:
    # The age of the stamp is left alone, so that one can ask about a prompt after moving the clock.
    fields = _read(QUERY)
    checks.check_merchant(fields, world.settings)
    status, body = world.network.query(fields["CheckoutRequestID"])
    return body, status


def take_errand() -> Json:
    api, settings = ERRANDS[request.path], world.settings
    fields = _read(api)
    secret = fields.pop("SecurityCredential")
    name = fields.get("InitiatorName") or fields.get("Initiator")
    is_authorised = name == settings.MPESA_INITIATOR_NAME and credential.opens(
        secret, world.key, settings.MPESA_INITIATOR_PASSWORD
    )
    return world.errands.take(api.name, request.path, fields, is_authorised=is_authorised)


def register_c2b() -> Json:
    fields = _read(REGISTER)
    return world.paybill.register(fields, version=2 if "/v2/" in request.path else 1)


def simulate_c2b() -> Json:
    fields = _read(SIMULATE)
    world.paybill.pay(fields["Msisdn"], int(fields["Amount"]), fields["BillRefNumber"])
    description = "Accept the service request successfully."
    return {
        "OriginatorCoversationID": world.draws.request_id(),
        "ResponseCode": "0",
        "ResponseDescription": description,
    }


@daraja.post(PULL_REGISTER.paths[0])
def register_pull() -> Json:
    return world.paybill.register_pull(_read(PULL_REGISTER))


@daraja.post(PULL.paths[0])
def pull() -> Json:
    fields = _read(PULL)
    start, end = checks.pull_moment(fields["StartDate"]), checks.pull_moment(fields["EndDate"])
    return world.paybill.pull(start, end, int(fields["OffSetValue"]))


for _path in ERRANDS:
    daraja.add_url_rule(_path, view_func=take_errand, methods=["POST"])
for _version in (0, 1):
    daraja.add_url_rule(REGISTER.paths[_version], view_func=register_c2b, methods=["POST"])
    daraja.add_url_rule(SIMULATE.paths[_version], view_func=simulate_c2b, methods=["POST"])


def _read(api: Api) -> dict[str, str]:
    """The request's fields, once token, JSON, fields and shortcode have passed in this order. Raises Refusal."""
    given = request.authorization
    token = given.token if given is not None and given.type == "bearer" else None
    if not world.network.is_token_good(token):
        status, code, message = api.token_error
        raise Refusal(status, code, message.format(token=token))
    # What is not sent as JSON counts as empty, hence the portal's advice about "Invalid BusinessShortCode".
    body = messages.read_object(request.get_data()) if request.is_json else {}
    if body is None:
        raise Refusal(400, "400.002.05", "Invalid Request Payload")
    fields = checks.check_fields(body, api.name)
    checks.check_shop(fields, api.name, world.settings)
    return fields


def _dawdle(prompt: Prompt) -> None:
    """Hold the answer back as scripted, no longer than the client stays."""
    answer = prompt.scenario.answer
    if answer.delay_seconds:
        wire.wait_for_client(world.clock.scaled(answer.delay_seconds).total_seconds())
    if answer.is_after_callback:
        world.post.wait_until_posted(prompt.checkout_request_id, 2 * TIMEOUT_SECONDS)
