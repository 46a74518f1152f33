"""Start the Daraja simulator as a process of its own, and steer it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "daraja_simulator"]
KEY, SECRET = "simulator-consumer-key", "simulator-consumer-secret"
SHORTCODE, PASSKEY = "174379", "simulator-passkey"


def environment(**settings: object) -> dict[str, str]:
    """The environment of a simulator on a free port, with nothing of ours that would change it."""
    names = ("SIM", "MPESA", "FLASK")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    chosen = {"FLASK_ENV": "testing", "SIMULATOR_PORT": 0, "SIM_SPEED": 50} | settings
    return inherited | {name: str(value) for name, value in chosen.items()}


def start_simulator(**settings: object) -> Simulator:
    """Start one on a free port, fifty times as fast as life unless told otherwise, and wait until it serves."""
    process = subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    simulator = Simulator(process)
    if not simulator.url:
        _, complaint = process.communicate(timeout=5)
        raise RuntimeError(f"the simulator did not start: {complaint}")
    return simulator


class Simulator:
    """A running simulator. A context manager, too."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        # It prints its address when it is ready to serve, and nothing if it cannot.
        self.url = process.stdout.readline().partition(": ")[2].strip()
        self.phone_url = process.stdout.readline().partition(": ")[2].strip()
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM. Returns the exit code and what it wrote to stderr."""
        self.http.close()
        self.process.terminate()
        try:
            _, complaints = self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, complaints

    # ── The control plane ────────────────────────────────────────────────────────────────────────────────

    def prompts(self) -> list[dict[str, Any]]:
        return self._control("GET", "state")["prompts"]

    def prompt(self, checkout_request_id: str) -> dict[str, Any]:
        [found] = [one for one in self.prompts() if one["checkout_request_id"] == checkout_request_id]
        return found

    def deliveries(self) -> list[dict[str, Any]]:
        return self._control("GET", "deliveries")["deliveries"]

    def reset(self) -> None:
        self._control("POST", "reset")

    def answer(self, checkout_request_id: str, outcome: str, pin: str | None = None) -> dict[str, Any]:
        """As the person with the phone: `pay`, `wrong_pin`, `cancel` or `ignore`."""
        return self._control("POST", f"answer/{checkout_request_id}", {"outcome": outcome, "pin": pin})

    def now(self) -> datetime:
        return datetime.fromisoformat(self._control("GET", "clock")["now"])

    def advance(self, seconds: float) -> None:
        self._control("POST", "clock", {"advance_seconds": seconds})

    def script(self, phone: str, row: str) -> None:
        """The next push to `phone` goes as one to 254700000<row>."""
        self._control("POST", "script", {"phone": phone, "row": row})

    def expire_tokens(self) -> None:
        self._control("POST", "tokens/expire")

    def _control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.http.request(method, f"{self.url}/__sim__/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    # ── As a merchant ────────────────────────────────────────────────────────────────────────────────────

    def token(self) -> str:
        answer = self.http.get(
            f"{self.url}/oauth/v1/generate?grant_type=client_credentials", auth=(KEY, SECRET), timeout=10
        )
        return answer.json()["access_token"]

    def credentials(self, stamp: str | None = None) -> dict[str, Any]:
        stamp = stamp or f"{self.now():%Y%m%d%H%M%S}"
        password = base64.b64encode(f"{SHORTCODE}{PASSKEY}{stamp}".encode()).decode()
        return {"BusinessShortCode": SHORTCODE, "Password": password, "Timestamp": stamp}

    def push_body(self, phone: str, callback_url: str, **changes: Any) -> dict[str, Any]:
        """A push Daraja accepts, but for `changes`; a field changed to None is left out."""
        body = self.credentials(changes.pop("Timestamp", None)) | {
            "TransactionType": "CustomerPayBillOnline",
            "Amount": 1500,
            "PartyA": phone,
            "PartyB": SHORTCODE,
            "PhoneNumber": phone,
            "CallBackURL": callback_url,
            "AccountReference": "ABC123",
            "TransactionDesc": "Tickets",
        }
        return {name: value for name, value in (body | changes).items() if value is not None}

    def push(self, phone: str, callback_url: str, *, timeout: float = 10, **changes: Any) -> requests.Response:
        body = self.push_body(phone, callback_url, **changes)
        return self.post("/mpesa/stkpush/v1/processrequest", json=body, timeout=timeout)

    def query(self, checkout_request_id: str, **changes: Any) -> requests.Response:
        body = self.credentials() | {"CheckoutRequestID": checkout_request_id} | changes
        return self.post("/mpesa/stkpushquery/v1/query", json=body)

    def post(self, path: str, *, token: str | None = None, timeout: float = 10, **body: Any) -> requests.Response:
        """POST with a bearer token, a fresh one unless given."""
        headers = {"Authorization": f"Bearer {token or self.token()}"} | body.pop("headers", {})
        # Not through the shared session: tests post from several threads.
        return requests.post(self.url + path, headers=headers, timeout=timeout, **body)
