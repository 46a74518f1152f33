"""No secret is logged: not in the logs of a whole purchase, nor in those of a whole run of the tests."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from models import Payment
from tests import live, log_scan
from tests.conftest import LOGS
from tests.daraja.process import Simulator
from tests.support import PASSWORD, Maker
from tests.waiting import wait_until

SECRETS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIiwiZXhwIjoxfQ.abc",
    "0123456789abcdef" * 2,
    "WzE3MzI0ODAwMDAsMV0." + "aB3-_" * 8 + "xyz",
    "254712345678",
    "+254712345678",
    "0112345678",
    "TK7P-4M2Q-9XWD",
    "A7" * 74,
    "$2b$12$abc",
    "only-for-tests-0123456789-abcdefghij",
    PASSWORD,
]


@pytest.mark.parametrize("secret", SECRETS)
def test_the_scan_finds_what_it_looks_for(tmp_path: Path, secret: str) -> None:
    (tmp_path / "1.log").write_text(f'{{"event": "all is well"}}\n{{"event": "here: {secret}"}}\n')
    found = list(log_scan.find_secrets(tmp_path))
    assert found
    assert all("1.log, line 2" in one for one in found)
    (tmp_path / "1.log").write_text('{"event": "sent to 254712***678", "request_id": "0712345678ab"}\n')
    assert list(log_scan.find_secrets(tmp_path)) == []


def test_a_whole_purchase_leaves_no_secret_in_any_log(database_url: str, simulator: Simulator, make: Maker) -> None:
    folder = Path(os.environ[LOGS])
    before = set(folder.glob("live-*.log"))
    event = make.event()
    ticket_type = make.ticket_type(event, price=500)
    server = live.start(
        {
            "DATABASE_URL": database_url,
            "MPESA_BASE_URL": simulator.url,
            "LOG_LEVEL": "DEBUG",
            "WEB_WORKERS": "1",
            "WEB_THREADS": "8",
            "WORKER_PAUSE_SECONDS": "0.2",
        }
    )
    try:
        secrets = buy(server.url, simulator, make, ticket_type.id)
    finally:
        server.stop()
    written = "\n".join(file.read_text() for file in sorted(set(folder.glob("live-*.log")) - before))
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    routes = {line.get("route") for line in lines}
    assert {"/login", "/orders", "/payments/check/<secret:poll_id>", "/t/<signed:ticket_address>"} <= routes
    assert "/api/payment/callback/<secret:token>" in routes
    assert all(line["request_id"] for line in lines if "route" in line)
    assert {name: secret for name, secret in secrets.items() if secret in written} == {}
    assert [line for line in log_scan.find_secrets(folder) if "live-" in line] == []


def buy(url: str, simulator: Simulator, make: Maker, ticket_type_id: int) -> dict[str, str]:
    """From signing up to the ticket's page, with some mistakes; returns all that nobody else may know."""
    person = {"first_name": "Njeri", "last_name": "Mwangi", "email": "njeri@example.co.ke", "phone": "0712000111"}

    def call(method: str, path: str, **sent: Any) -> requests.Response:
        return requests.request(method, url + path, timeout=20, **sent)

    assert call("POST", "/signup", json=person | {"password": PASSWORD}).status_code == 201
    wrong = "chapati-na-chai-2026"
    assert call("POST", "/login", json={"email": person["email"], "password": wrong}).status_code == 401
    told = call("POST", "/login", json={"email": person["email"], "password": PASSWORD}).json()
    headers = {"Authorization": f"Bearer {told['access_token']}"}
    attendee = {"first_name": "A", "last_name": "B", "email": "", "phone": "0733000222"}
    line = {"ticket_id": ticket_type_id, "quantity": 1, "attendees": [attendee]}
    order = call("POST", "/orders", json={"phone": "254712000111", "tickets": [line]}, headers=headers).json()
    poll = f"/payments/check/{order['checkoutRequestID']}"
    wait_until(lambda: call("GET", poll).json()["data"].get("ResultCode") == "0", seconds=60)
    [ticket] = call("GET", "/my-tickets", headers=headers).json()
    code = ticket["ticket_code"]
    shown = call("GET", f"/tickets/{code}", headers=headers).json()
    page = next(value for value in _texts(shown) if "/t/" in value)
    assert call("GET", page.removeprefix(url)).status_code == 200
    call("GET", f"/tickets/check?code={code}")
    feed = call("GET", "/profile/me/calendar", headers=headers).json()
    call("GET", next(value for value in _texts(feed) if "/calendar/" in value).removeprefix(url))
    call("GET", "/events?token=" + told["access_token"], headers=headers)
    call("GET", "/nowhere/" + told["access_token"])
    payment: Payment = make.payments(order["orderId"])[0]
    assert payment.receipt
    return {
        "password": PASSWORD,
        "wrong password": wrong,
        "access token": told["access_token"],
        "its signature": told["access_token"].rpartition(".")[2],
        "phone": "254712000111",
        "phone as typed": "0712000111",
        "attendee's phone": "733000222",
        "poll id": order["checkoutRequestID"],
        "ticket code": code,
        "ticket page": page.rpartition("/")[2],
        "signing key": "only-for-tests-0123456789-abcdefghij",
        "Daraja's secret": "simulator-consumer-secret",
        "passkey": "simulator-passkey",
        **{f"callback token {number}": token for number, token in enumerate(_callback_tokens(simulator))},
    }


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _callback_tokens(simulator: Simulator) -> list[str]:
    found = re.findall(r"/callback/([0-9a-f]{32})", json.dumps([simulator.prompts(), simulator.deliveries()]))
    assert found
    return sorted(set(found))
