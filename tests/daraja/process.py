"""Start the Daraja simulator as a process of its own, and steer it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "daraja_simulator"]
KEY, SECRET = "simulator-consumer-key", "simulator-consumer-secret"
SHORTCODE, PASSKEY = "174379", "simulator-passkey"
INITIATOR, INITIATOR_PASSWORD = "simulator-initiator", "simulator-initiator-password"
CERTIFICATE = ROOT / "instance" / "simulator" / "certificate.cer"


@cache
def security_credential(password: str = INITIATOR_PASSWORD, path: Path = CERTIFICATE) -> str:
    """The password, encrypted for the simulator's certificate."""
    key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return base64.b64encode(key.encrypt(password.encode(), padding.PKCS1v15())).decode()


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

    def kill(self) -> None:
        """Send SIGKILL. A later one on the same SIM_LEDGER, and SIMULATOR_PORT if wanted, goes on where it was."""
        self.http.close()
        self.process.kill()
        self.process.communicate()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

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

    def script(
        self, phone: str | None = None, row: str = "000", *, reference: str | None = None, following: int | None = None
    ) -> None:
        """The next push to `phone`, with `reference`, or the `following` ones, go as to 254700000<row>."""
        named = {"phone": phone, "reference": reference, "next": following}
        self._control("POST", "script", {name: value for name, value in named.items() if value} | {"row": row})

    def ledger(self) -> list[dict[str, Any]]:
        """Every transaction, oldest first."""
        return self._control("GET", "ledger")["transactions"]

    def wallets(self) -> dict[str, int]:
        """Of phones whose money has moved."""
        return self._control("GET", "ledger")["wallets"]

    def shop_balance(self) -> int:
        return self._control("GET", "ledger")["shop_balance"]

    def pay_bill(self, phone: str, amount: int, reference: str) -> str | None:
        """Somebody pays the Paybill by hand: the receipt, or None where no money moved."""
        body = {"phone": phone, "amount": amount, "reference": reference}
        return self._control("POST", "c2b/pay", body, timeout=20)["receipt"]

    def reverse(self, receipt: str) -> str:
        """Safaricom takes a payment back by itself, and tells nobody; the reversal's receipt."""
        return self._control("POST", "reverse", {"receipt": receipt})["receipt"]

    def fault(self, path: str, kind: str, *, count: int = 1, delay: float = 0) -> None:
        """Let it happen to the next requests to `path` or below, or to what is posted because of them."""
        self._control("POST", "fault", {"path": path, "kind": kind, "count": count, "delay": delay})

    def forge(self, url: str, body: Any) -> int | None:
        """An outsider posts something to the shop; the status it was answered."""
        return self._control("POST", "forge", {"url": url, "body": body}, timeout=20)["status"]

    def profile(self, name: str) -> None:
        """`calm` or `realistic`, until the next reset."""
        self._control("POST", "profile", {"name": name})

    def expire_tokens(self) -> None:
        self._control("POST", "tokens/expire")

    def _control(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 10
    ) -> dict[str, Any]:
        answer = self.http.request(method, f"{self.url}/__sim__/{path}", json=body, timeout=timeout)
        assert answer.ok, answer.text
        return answer.json()

    # ── As a merchant ────────────────────────────────────────────────────────────────────────────────────

    def token(self) -> str:
        """Asked for again, a few times, where the realistic profile lets the answer fail by chance."""
        url = f"{self.url}/oauth/v1/generate?grant_type=client_credentials"
        for _ in range(10):
            answer = self.http.get(url, auth=(KEY, SECRET), timeout=10)
            if answer.ok:
                return answer.json()["access_token"]
        raise AssertionError(answer.text)

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

    def b2c(self, phone: str, url: str, *, timeout: float = 10, **changes: Any) -> requests.Response:
        body = {
            "OriginatorConversationID": str(uuid4()),
            "InitiatorName": INITIATOR,
            "SecurityCredential": security_credential(),
            "CommandID": "BusinessPayment",
            "Amount": 1500,
            "PartyA": SHORTCODE,
            "PartyB": phone,
            "Remarks": "Refund",
            "QueueTimeOutURL": f"{url}/timeout",
            "ResultURL": f"{url}/result",
            "Occassion": "Refund",
        }
        return self.post("/mpesa/b2c/v3/paymentrequest", json=body | changes, timeout=timeout)

    def reversal(self, receipt: str, url: str, **changes: Any) -> requests.Response:
        body = self._errand("TransactionReversal", url) | {
            "TransactionID": receipt,
            "Amount": 1500,
            "ReceiverParty": SHORTCODE,
            "RecieverIdentifierType": "11",
            "Occasion": "Refund",
        }
        return self.post("/mpesa/reversal/v1/request", json=body | changes)

    def status(self, url: str, **about: Any) -> requests.Response:
        """By TransactionID, OriginalConversationID or OriginatorConversationID."""
        body = self._errand("TransactionStatusQuery", url) | {"PartyA": SHORTCODE, "IdentifierType": "4"}
        return self.post("/mpesa/transactionstatus/v1/query", json=body | about)

    def account_balance(self, url: str, **changes: Any) -> requests.Response:
        body = self._errand("AccountBalance", url) | {"PartyA": SHORTCODE, "IdentifierType": "4"}
        return self.post("/mpesa/accountbalance/v1/query", json=body | changes)

    def register_c2b(self, url: str, version: int = 2, **changes: Any) -> requests.Response:
        body = {
            "ShortCode": SHORTCODE,
            "ResponseType": "Completed",
            "ConfirmationURL": f"{url}/confirmation",
            "ValidationURL": f"{url}/validation",
        }
        return self.post(f"/mpesa/c2b/v{version}/registerurl", json=body | changes)

    def pull(self, offset: int = 0, **changes: Any) -> requests.Response:
        """The last hour, unless `changes` say otherwise."""
        body = {
            "ShortCode": SHORTCODE,
            "StartDate": f"{self.now() - timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "EndDate": f"{self.now():%Y-%m-%d %H:%M:%S}",
            "OffSetValue": str(offset),
        }
        return self.post("/pulltransactions/v1/query", json=body | changes)

    def _errand(self, command: str, url: str) -> dict[str, Any]:
        return {
            "Initiator": INITIATOR,
            "SecurityCredential": security_credential(),
            "CommandID": command,
            "ResultURL": f"{url}/result",
            "QueueTimeOutURL": f"{url}/timeout",
            "Remarks": "Refund",
        }

    def post(self, path: str, *, token: str | None = None, timeout: float = 10, **body: Any) -> requests.Response:
        """POST with a bearer token, a fresh one unless given."""
        headers = {"Authorization": f"Bearer {token or self.token()}"} | body.pop("headers", {})
        # Not through the shared session: tests post from several threads.
        return requests.post(self.url + path, headers=headers, timeout=timeout, **body)
