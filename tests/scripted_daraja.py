"""Daraja by script: a small HTTP server that answers each push and each question as a test tells it to."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flask import Flask

from utils import clock
from utils.mpesa import Daraja

PUSH, QUERY, TOKEN = "/mpesa/stkpush/v1/processrequest", "/mpesa/stkpushquery/v1/query", "/oauth/v1/generate"
PULL, STATUS = "/pulltransactions/v1/query", "/mpesa/transactionstatus/v1/query"
REVERSAL, PAYOUT = "/mpesa/reversal/v1/request", "/mpesa/b2c/v3/paymentrequest"
REGISTER_C2B, REGISTER_PULL = "/mpesa/c2b/v2/registerurl", "/pulltransactions/v1/register"


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def json(cls, status: int = 200, **body: Any) -> Reply:
        return cls(status, json.dumps(body).encode())

    @classmethod
    def error(cls, code: str, status: int = 500) -> Reply:
        """Daraja's error envelope."""
        return cls.json(status, requestId="1c5b-4ba8-815c-ac45c57a3db01495926", errorCode=code, errorMessage="No")


#: Cut the connection once the request has been read.
RESET = Reply(-1)
#: Say nothing until the client gives up.
HANG = Reply(-2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: Many connect at once.
    request_queue_size = 128


@dataclass(frozen=True)
class Seen:
    path: str
    authorization: str
    body: dict[str, Any]


class ScriptedDaraja:
    """Accepts every push, with ids of its own, and knows nothing of any payment, until told otherwise."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        #: The answers to pushes and questions, in turn; the last one is given again and again.
        self.pushes: list[Reply] = []
        self.queries: list[Reply] = [Reply.error("500.001.1001")]
        self.tokens: list[Reply] = []
        #: The same for all other addresses; where there is none, there is nothing.
        self.others: dict[str, list[Reply]] = {}
        #: Called with each request before it is answered.
        self.before_answering: Callable[[Seen], None] = lambda seen: None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ScriptedDaraja:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def client(self, **changes: Any) -> Daraja:
        """Ticksy's client, looking here, quick to give up and without pauses."""
        facts: dict[str, Any] = {
            "base_url": self.url,
            "consumer_key": "simulator-consumer-key",
            "consumer_secret": "simulator-consumer-secret",
            "shortcode": "174379",
            "passkey": "simulator-passkey",
            "callback_url": "http://127.0.0.1:9/api/payment/callback",
            "initiator_name": "simulator-initiator",
            "security_credential": lambda: "credential",
            "connect_seconds": 1,
            "answer_seconds": 5,
            "sleep": lambda seconds: None,
        }
        return Daraja(**facts | changes)

    def count(self, path: str) -> int:
        return len(self.requests(path))

    def requests(self, path: str) -> list[Seen]:
        with self._lock:
            return [seen for seen in self.seen if seen.path == path]

    def _answer(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            number = next(self._numbers)
        self.before_answering(seen)
        with self._lock:
            script = (self.others | {PUSH: self.pushes, QUERY: self.queries, TOKEN: self.tokens}).get(seen.path)
            if script:
                return script.pop(0) if len(script) > 1 else script[0]
        if seen.path == TOKEN:
            return Reply.json(access_token=f"token-{number}", expires_in="3599")
        return accepted(number) if seen.path == PUSH else Reply.error("404.001.01", 404)

    def _handler(daraja) -> type[BaseHTTPRequestHandler]:  # noqa: N805, `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._handle(b"")

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # who asked was killed half way: nothing was asked
                    self.close_connection = True
                    return
                self._handle(body)

            def _handle(self, body: bytes) -> None:
                path = self.path.partition("?")[0]
                reply = daraja._answer(Seen(path, self.headers.get("Authorization", ""), json.loads(body or b"{}")))
                if reply is HANG:
                    daraja._stopped.wait(30)
                if reply in (RESET, HANG):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # Only the last of the socket's files closes it.
                    self.rfile.close()
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def accepted(number: int) -> Reply:
    return Reply.json(
        MerchantRequestID=f"merchant-{number}",
        CheckoutRequestID=f"ws_CO_{number}",
        ResponseCode="0",
        ResponseDescription="Success. Request accepted for processing",
        CustomerMessage="Success. Request accepted for processing",
    )


def taken(conversation_id: str) -> Reply:
    """The answer to a request whose result is posted later."""
    return Reply.json(
        ConversationID=conversation_id,
        OriginatorConversationID=f"daraja-{conversation_id}",
        ResponseCode="0",
        ResponseDescription="Accept the service request successfully.",
    )


def result_of(conversation_id: str, code: int | str = 0, **parameters: Any) -> dict[str, Any]:
    """A result as Safaricom posts it; one of a failure has no parameters."""
    listed = [{"Key": name, "Value": value} for name, value in parameters.items()]
    more = {"ResultParameters": {"ResultParameter": listed}} if listed else {}
    return {
        "Result": {
            "ResultType": 0,
            "ResultCode": code,
            "ResultDesc": "What M-PESA says",
            "OriginatorConversationID": f"daraja-{conversation_id}",
            "ConversationID": conversation_id,
            "TransactionID": "SG632NMUAB",
            **more,
        }
    }


def query_result(code: str, checkout_request_id: str) -> Reply:
    """The answer to a question about a prompt that ended with `code`."""
    return Reply.json(
        ResponseCode="0", CheckoutRequestID=checkout_request_id, ResultCode=code, ResultDesc="What M-PESA says"
    )


def listed(
    receipt: str,
    amount: float,
    reference: str,
    *,
    at: datetime | None = None,
    kind: str = "c2b-pay-bill-debit",
) -> dict[str, Any]:
    """A row of M-PESA's list of transactions."""
    return {
        "transactionId": receipt,
        "trxDate": (at or clock.now()).astimezone(clock.NAIROBI).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "msisdn": "254712345678",
        "sender": "UAT2",
        "transactiontype": kind,
        "billreference": reference,
        "amount": str(amount),
        "organizationname": "Ticksy",
    }


def page(*rows: dict[str, Any]) -> Reply:
    """A page of that list; one past its end without rows."""
    if not rows:
        return Reply.json(ResponseRefID="26178-42530161-2", ResponseCode="1001", ResponseMessage="No data", Response=[])
    return Reply.json(
        ResponseRefID="26178-42530161-2", ResponseCode="1000", ResponseMessage="Success", Response=[list(rows)]
    )


@contextmanager
def scripted_daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    """The app with a scripted Daraja in the simulator's place."""
    before = app.extensions["daraja"]
    settings = app.extensions["settings"]
    with ScriptedDaraja() as daraja:
        app.extensions["daraja"] = daraja.client(callback_url=settings.CALLBACK_URL)
        try:
            yield daraja
        finally:
            app.extensions["daraja"] = before
