"""A mail server on this machine: it takes messages over SMTP, or refuses them as a test wants it."""

from __future__ import annotations

import asyncio
import email
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from flask import Flask

from tests.support import changed_settings, free_port

SENDER = "Ticksy <tickets@ticksy.example.com>"


@dataclass(frozen=True)
class Received:
    to: list[str]
    message: EmailMessage
    #: As it came.
    source: bytes

    def part(self, kind: str) -> str:
        """Its text: `plain` or `html`."""
        body = self.message.get_body((kind,))
        assert body is not None
        return str(body.get_content())


class MailServer:
    """Takes everything, unless `replies` has another answer to MAIL, RCPT or DATA; answers DATA while it is `free`."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: dict[str, str] = {}
        #: What came whole, answered or not.
        self.came: list[Received] = []
        self.free = threading.Event()
        self.free.set()

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "MAIL" not in self.replies:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        reply = self.replies.get(f"RCPT {address}") or self.replies.get("RCPT", "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        source = envelope.original_content or b""
        message = email.message_from_bytes(source, policy=policy.default)
        assert isinstance(message, EmailMessage)
        received = Received(envelope.rcpt_tos, message, source)
        self.came.append(received)
        await asyncio.get_running_loop().run_in_executor(None, self.free.wait, 20)
        reply = self.replies.get("DATA", "250 OK")
        if reply.startswith("250"):
            self.received.append(received)
        return reply


def _log_in(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, secret: Any) -> AuthResult:
    is_right = isinstance(secret, LoginPassword) and (secret.login, secret.password) == (b"ticksy", b"p@ss/word")
    return AuthResult(success=is_right, handled=False)


@contextmanager
def mail_server(app: Flask, **options: Any) -> Iterator[MailServer]:
    """A server that is the app's. `options` are aiosmtpd's."""
    server = MailServer()
    port = free_port()
    controller = Controller(
        server, hostname="127.0.0.1", port=port, authenticator=_log_in, auth_require_tls=False, **options
    )
    controller.start()
    try:
        with changed_settings(app, MAIL_URL=f"smtp://127.0.0.1:{port}", MAIL_FROM=SENDER):
            yield server
    finally:
        server.free.set()
        controller.stop()
