"""Requests to Daraja whose results are posted later: take them, post the results, ask what became of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from models import MpesaMessage, Refund
from services import payouts, settlement
from tests.scripted_daraja import PAYOUT, REVERSAL, STATUS, Reply, ScriptedDaraja, Seen, result_of, taken
from tests.waiting import wait_until
from utils import clock
from utils.database import db, transaction

#: More than any test sends.
_MANY = 50


class Safaricom:
    """A scripted Daraja that takes every reversal, payout and question, and says how it went when it is told to."""

    def __init__(self, app: Flask, daraja: ScriptedDaraja) -> None:
        self.app, self.daraja = app, daraja
        for number, path in enumerate((REVERSAL, PAYOUT, STATUS)):
            daraja.others[path] = [taken(f"AG_{number}_{turn}") for turn in range(_MANY)]

    def answer_next(self, path: str, reply: Reply) -> None:
        """Answer the next request at `path` so, and the ones after it as ever."""
        self.daraja.others[path].insert(0, reply)

    def sent(self, path: str) -> list[dict[str, Any]]:
        """The bodies of the requests at `path`."""
        return [seen.body for seen in self.daraja.requests(path)]

    def conversation(self, path: str) -> str:
        """The id with which the last request at `path` was taken."""
        return f"AG_{(REVERSAL, PAYOUT, STATUS).index(path)}_{_MANY - len(self.daraja.others[path]) - 1}"

    def post(self, path: str, body: dict[str, Any], *, where: str = "ResultURL") -> TestResponse:
        """Post a body about the last request at `path`, and wait until it has been thought about."""
        answer = self.app.test_client().post(address_of(self.sent(path)[-1], where), json=body)
        wait_until(self.settled)
        return answer

    def tell(self, path: str, code: int | str = 0, **parameters: Any) -> None:
        """Post the result of the last request at `path`."""
        answer = self.post(path, result_of(self.conversation(path), code, **parameters))
        assert (answer.status_code, answer.json) == (200, {"ResultCode": 0, "ResultDesc": "Accepted"})

    def settled(self) -> bool:
        """Whether every message has been thought about, with the worker's help."""
        with self.app.app_context():
            settlement.settle_waiting_messages()
            # What came by Paybill waits for an answer of its own.
            is_waiting = MpesaMessage.settled_at.is_(None) & MpesaMessage.next_try_at.is_(None)
            # Our own side of the last request may still be being written down.
            is_early = MpesaMessage.verdict.startswith("TooEarly")
            return db.session.scalar(select(MpesaMessage.id).where(is_waiting | is_early).limit(1)) is None

    def work(self) -> int:
        """The worker's look at refunds, all of them due."""
        with self.app.app_context():
            with transaction() as session:
                session.execute(update(Refund).where(Refund.next_look_at.is_not(None)).values(next_look_at=clock.now()))
            return payouts.look_after_refunds()


def address_of(sent: dict[str, Any], where: str = "ResultURL") -> str:
    """Where a request wants its result."""
    return urlsplit(sent[where]).path


def post_before_the_answer(safaricom: Safaricom, path: str, conversation_id: str) -> None:
    """Have the result of the next request at `path` posted before that request is answered."""
    safaricom.answer_next(path, taken(conversation_id))

    def post(seen: Seen) -> None:
        if seen.path == path:
            safaricom.app.test_client().post(address_of(seen.body), json=result_of(conversation_id))
            wait_until(lambda: _is_judged(safaricom.app))

    safaricom.daraja.before_answering = post


def _is_judged(app: Flask) -> bool:
    with app.app_context():
        return db.session.scalar(select(MpesaMessage.id).where(MpesaMessage.settled_at.is_(None)).limit(1)) is None
