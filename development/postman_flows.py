"""What the Postman collection tells besides the list of all requests: whole stories, with assertions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

#: Stores what was answered: {variable: where it stands in the answer's JSON, as JavaScript says it}.
Kept = dict[str, str]

_NAMES = """
const tail = String(Date.now()).slice(-7);
pm.environment.set("run", tail);
pm.environment.set("buyerPhone", "25471" + tail);
pm.environment.set("eventStart", new Date(Date.now() + 30 * 864e5).toISOString());
pm.environment.set("eventEnd", new Date(Date.now() + 30 * 864e5 + 4 * 36e5).toISOString());
"""
#: Asks the same again, twice a second, until `found` is set; for fifteen seconds.
_ASK_AGAIN = """
const tries = Number(pm.variables.get("tries") || 0) + 1;
pm.environment.set("tries", found || tries > 30 ? 0 : tries);
if (!found && tries <= 30) {
    setTimeout(() => {}, 500);
    pm.execution.setNextRequest(pm.info.requestName);
} else {
    pm.test(told, () => pm.expect(Boolean(found)).to.equal(true));
}
"""
_FIND_PROMPT = (
    """
const prompts = pm.response.json().prompts.filter((one) => one.phone === pm.environment.get("buyerPhone"));
const found = prompts.length ? prompts[prompts.length - 1].checkout_request_id : null;
const told = "the prompt is on the phone";
if (found) pm.environment.set("promptId", found);
"""
    + _ASK_AGAIN
)
_POLL = (
    """
const found = pm.response.json().data.ResultCode;
const told = "the payment is settled";
if (found) pm.test("it is paid", () => pm.expect(found).to.equal("0"));
"""
    + _ASK_AGAIN
)


def step(
    name: str,
    method: str,
    path: str,
    status: int,
    *,
    body: dict[str, Any] | None = None,
    bears: str | None = None,
    keeps: Kept | None = None,
    expects: Sequence[str] = (),
    headers: dict[str, str] | None = None,
    before: str = "",
    after: str = "",
    server: str = "baseUrl",
) -> dict[str, Any]:
    """One request, which bears the token of that variable.

    `expects` are what follows `pm.expect(` in JavaScript, where `answer` is the body.
    """
    script = [f'pm.test("{status}", () => pm.response.to.have.status({status}));']
    if keeps or expects:
        script.append("const answer = pm.response.json();")
    script += [f"pm.test({json.dumps(one)}, () => pm.expect({one});" for one in expects]
    script += [f'pm.environment.set("{variable}", answer{where});' for variable, where in (keeps or {}).items()]
    script += after.strip().splitlines()
    request: dict[str, Any] = {
        "method": method,
        "header": [{"key": key, "value": value} for key, value in (headers or {}).items()],
        "url": "{{" + server + "}}" + path,
        "auth": bearer(bears) if bears else {"type": "noauth"},
    }
    if body is not None:
        raw = json.dumps(body, indent=2).replace('"<', "").replace('>"', "")
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    events = [_event("test", script)]
    if before:
        events.insert(0, _event("prerequest", before.strip().splitlines()))
    return {"name": name, "request": request, "event": events}


def bearer(token: str) -> dict[str, Any]:
    value = "{{" + token + "}}"
    return {"type": "bearer", "bearer": [{"key": "token", "value": value, "type": "string"}]}


def _event(when: str, lines: list[str]) -> dict[str, Any]:
    return {"listen": when, "script": {"type": "text/javascript", "exec": lines}}


def _person(name: str, role: str, phone: str) -> dict[str, Any]:
    return {
        "first_name": name,
        "last_name": "Mwangi",
        "email": f"{name.lower()}{{{{run}}}}@example.co.ke",
        "phone": phone,
        "password": "maziwa-lala-2026",
        "role": role,
    }


_EVENT = {
    "title": "Lamu Dhow Night {{run}}",
    "description": "Six bands, one dhow.",
    "location": "Lamu Old Town",
    "category": "Music",
    "tags": "taarab,live",
    "start_time": "{{eventStart}}",
    "end_time": "{{eventEnd}}",
}
_CART = {"phone": "{{buyerPhone}}", "tickets": [{"ticket_id": "<{{ticketTypeId}}>", "quantity": 1}]}
_TOO_MANY = {"phone": "{{buyerPhone}}", "tickets": [{"ticket_id": "<{{ticketTypeId}}>", "quantity": 2}]}
_ADMIN = {"email": "{{adminEmail}}", "password": "{{adminPassword}}"}

PURCHASE = [
    step(
        "An organizer signs up", "POST", "/signup", 201, before=_NAMES, keeps={"organizerToken": ".access_token"},
        body=_person("Wanjiru", "organizer", "25472{{run}}"), expects=['answer.user.role).to.equal("organizer")'],
    ),
    step(
        "An attendee signs up", "POST", "/signup", 201, keeps={"attendeeToken": ".access_token"},
        body=_person("Njeri", "attendee", "{{buyerPhone}}"), expects=['answer.user.role).to.equal("attendee")'],
    ),
    step(
        "The organizer submits an event", "POST", "/events", 201, body=_EVENT, bears="organizerToken",
        keeps={"eventId": ".id"}, expects=['answer.status).to.equal("pending")'],
    ),
    step("Nobody sees it yet", "GET", "/events/{{eventId}}", 404, expects=['answer.code).to.equal("not_found")']),
    step("The admin logs in", "POST", "/login", 200, body=_ADMIN, keeps={"adminToken": ".access_token"}),
    step(
        "The admin approves it", "PATCH", "/admin/approve/{{eventId}}", 200, body={"status": "approved"},
        bears="adminToken", expects=['answer.status).to.equal("approved")'],
    ),
    step(
        "The organizer puts two tickets on sale", "POST", "/events/{{eventId}}/tickets", 201, bears="organizerToken",
        body={"type": "VIP", "price": 1500, "quantity": 2}, keeps={"ticketTypeId": ".id"},
        expects=["answer.available).to.equal(2)"],
    ),
    step(
        "Everybody sees it", "GET", "/events/{{eventId}}", 200,
        expects=["answer.tickets).to.have.length(1)", 'pm.response.headers.has("ETag")).to.equal(true)'],
    ),
    step(
        "The attendee orders one", "POST", "/orders", 201, body=_CART, bears="attendeeToken",
        headers={"Idempotency-Key": "first-{{run}}"}, keeps={"orderId": ".orderId", "pollId": ".checkoutRequestID"},
        expects=['answer.order.status).to.equal("pending")', "answer.order.total_amount).to.equal(1500)"],
    ),
    step(
        "The same order again is the same order", "POST", "/orders", 201, body=_CART, bears="attendeeToken",
        headers={"Idempotency-Key": "first-{{run}}"},
        expects=[
            'String(answer.orderId)).to.equal(String(pm.environment.get("orderId")))',
            'pm.response.headers.get("Idempotency-Replayed")).to.equal("true")',
        ],
    ),
    step("The phone rings", "GET", "/__sim__/state", 200, server="simulatorUrl", after=_FIND_PROMPT),
    step(
        "The attendee enters the PIN", "POST", "/__sim__/answer/{{promptId}}", 200, server="simulatorUrl",
        body={"outcome": "pay", "pin": "1234"},
    ),
    step("The payment is settled", "GET", "/payments/check/{{pollId}}", 200, after=_POLL),
    step(
        "The order is paid", "GET", "/orders/{{orderId}}", 200, bears="attendeeToken",
        keeps={"ticketCode": ".tickets[0].ticket_code"},
        expects=[
            'answer.status).to.equal("paid")',
            "answer.tickets).to.have.length(1)",
            "answer.mpesa_receipt).to.be.a('string')",
        ],
    ),
    step(
        "The attendee holds the ticket", "GET", "/my-tickets", 200, bears="attendeeToken",
        expects=['answer.map((one) => one.ticket_code)).to.include(pm.environment.get("ticketCode"))'],
    ),
]  # fmt: skip
REFUSALS = [
    step(
        "More than are left", "POST", "/orders", 409, body=_TOO_MANY, bears="attendeeToken",
        expects=['answer.code).to.equal("sold_out")', "answer.message).to.be.a('string')"],
    ),
    step(
        "A wrong password", "POST", "/login", 401, body={"email": "{{adminEmail}}", "password": "not this one"},
        expects=['answer.code).to.equal("wrong_credentials")'],
    ),
    step(
        "A stranger signs up", "POST", "/signup", 201, keeps={"strangerToken": ".access_token"},
        body=_person("Otieno", "attendee", "25474{{run}}"),
    ),
    step(
        "Somebody else's order", "GET", "/orders/{{orderId}}", 404, bears="strangerToken",
        expects=['answer.code).to.equal("not_found")'],
    ),
    step("No token", "GET", "/orders", 401, expects=['answer.code).to.equal("unauthenticated")']),
    step("Not a role's business", "GET", "/admin/orders", 403, bears="attendeeToken"),
    step(
        "Nonsense", "POST", "/signup", 422, body={"email": "nonsense"},
        expects=['answer.errors.map((one) => one.field)).to.include("email")'],
    ),
    step(
        "The same e-mail address twice", "POST", "/signup", 409, expects=['answer.code).to.equal("email_taken")'],
        body=_person("Njeri", "attendee", "25475{{run}}"),
    ),
]  # fmt: skip
_IS_LIST = ["answer).to.be.an('array')", 'pm.response.headers.has("X-Total-Count")).to.equal(true)']
ADMIN = [
    step("Pending events", "GET", "/admin/pending", 200, bears="adminToken", expects=_IS_LIST),
    step("Everybody's orders", "GET", "/admin/orders?per_page=5", 200, bears="adminToken", expects=_IS_LIST),
    step(
        "The payment of this order", "GET", "/admin/payments?order={{orderId}}", 200, bears="adminToken",
        keeps={"paymentId": "[0].id"}, expects=['answer[0].status).to.equal("paid")'],
    ),
    step(
        "Its whole story", "GET", "/admin/payments/{{paymentId}}", 200, bears="adminToken",
        expects=["answer.story).to.not.be.empty"],
    ),
    step("Money that waits for a person", "GET", "/admin/suspense", 200, bears="adminToken", expects=_IS_LIST),
    step("Yesterday's books", "GET", "/admin/reconciliation", 200, bears="adminToken"),
]  # fmt: skip

FLOWS: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("Buy a ticket", "From two sign-ups to a ticket, paid on the simulator. Run it as a whole.", PURCHASE),
    ("Refusals", "What Ticksy says no to, after the purchase above.", REFUSALS),
    ("Admin", "What admins look at, after the purchase above.", ADMIN),
]
