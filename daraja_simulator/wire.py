"""How Daraja says no, and how a yes gets lost on its way: one row of data each."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Iterator
from random import SystemRandom
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from daraja_simulator.prompts import request_id
from daraja_simulator.scenarios import LOCKED, RESULTS

Json = dict[str, Any]

NO_PRODUCT = "Error Occurred - Invalid Access Token - Invalid API call as no apiproduct match found"
_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
#: HTTP status, then errorCode and errorMessage, or what is answered without an envelope.
REFUSALS: dict[str, tuple[int, str, str] | tuple[int, str]] = {
    "500": (500, "500.003.1001", "Internal Server Error"),
    "spike": (500, "500.003.02", "Error Occurred: Spike Arrest Violation"),
    "busy": (500, "500.003.02", "System is busy. Please try again in few minutes."),
    "quota": (500, "500.003.03", "Quota Violation"),
    "locked": (500, "500.001.1001", str(RESULTS[LOCKED])),
    # No information at all, in answer to a query.
    "silence": (500, "500.001.1001", "The transaction is being processed"),
    "token": (404, "404.001.03", "Invalid Access Token"),
    "no_product": (401, "401.003.01", NO_PRODUCT),
    "429": (429, "Too Many Requests"),
    "html": (403, _PAGE.format("403 Forbidden")),
    "soft": (200, '{"ResponseCode":"1","ResponseDescription":"Rejected","CustomerMessage":"Rejected"}'),
}
#: What may become of the answer to a request that is carried out. "hang" is never answered, "reset" breaks off.
LOSSES = ("hang", "reset", "html_accepted", "500_accepted")
#: Real seconds whatever the speed, since a client's patience is real too. Ends when the client hangs up.
HANG_SECONDS = 60
RETRY_AFTER_SECONDS = 2


class Refusal(Exception):
    """Answered as Daraja's error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"requestId": request_id(SystemRandom()), "errorCode": code, "errorMessage": message}


def refusal(kind: str) -> Exception:
    """To be raised, for one of REFUSALS."""
    status, *rest = REFUSALS[kind]
    if len(rest) == 2:
        return Refusal(status, *rest)
    content = rest[0]
    mimetype = {"<": "text/html", "{": "application/json"}.get(content[0], "text/plain")
    answer = Response(content, status, mimetype=mimetype)
    if status == 429:
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return HTTPException(response=answer)


def lose(answer: Response, loss: str) -> Response:
    """What arrives of the answer, for one of LOSSES."""
    if loss == "hang":
        wait_for_client(HANG_SECONDS)
        return answer
    if loss == "reset":
        return Response(_break_off(request.environ["werkzeug.socket"]))
    if loss == "html_accepted":
        return Response(_PAGE.format("Service"), 200, mimetype="text/html")
    error = Refusal(500, "500.003.1001", "Internal Server Error")
    return Response(json.dumps(error.body), error.status, mimetype="application/json")


def wait_for_client(seconds: float) -> None:
    """No longer than the client stays."""
    # The request has been read, so its connection has news only when the client hangs up.
    select.select([request.environ["werkzeug.socket"]], [], [], seconds)


def _break_off(connection: socket.socket) -> Iterator[bytes]:
    # Closing without lingering sends a reset. Detached, since the server's own files would hold it open.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())
    raise ConnectionResetError
    yield b""
