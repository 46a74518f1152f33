"""Text messages: what fits into one, and Africa's Talking, which carries them."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import Flask

import tasks
from models import Alert, Notification, NotificationKind, NotificationState
from services import notifications, texts
from services.notifications import Message
from tests.support import Maker, changed_settings, free_port
from tests.test_mail import EVENT, FACTS
from utils import clock, sms
from utils.database import transaction
from utils.delivery import NotDelivered, Refused, ServiceDown

TEXTED = (NotificationKind.ORDER_PAID, NotificationKind.REFUND_DONE, NotificationKind.EVENT_CANCELLED)
SEND = next(task for task in tasks.TASKS if task.name == "send text messages")


class AfricasTalking:
    """As its page "Send SMS" describes it: a form in, JSON out, 401 in plain text for a wrong key."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        #: What it says of each recipient, or instead of that.
        self.code, self.status = 101, "Success"
        self.answer: tuple[int, Any] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"africastalking://ticksy:atsk%5Fsecret@127.0.0.1:{self._server.server_port}?from=TICKSY"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, form: dict[str, str], key: str) -> tuple[int, Any]:
        if key != "atsk_secret":
            return 401, "The supplied authentication is invalid"
        if self.answer is not None:
            return self.answer
        recipient = {
            "statusCode": self.code,
            "number": form["to"],
            "status": self.status,
            "cost": "KES 0.8000",
            "messageId": "ATXid_1",
        }
        return 201, {"SMSMessageData": {"Message": "Sent to 1/1 Total Cost: KES 0.8000", "Recipients": [recipient]}}

    def _handler(service) -> type[BaseHTTPRequestHandler]:  # noqa: N805, `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(raw).items()}
                assert self.path == "/version1/messaging"
                service.received.append(form)
                service.headers.append(dict(self.headers))
                status, body = service.reply(form, self.headers.get("apiKey", ""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def service() -> Iterator[AfricasTalking]:
    service = AfricasTalking()
    yield service
    service.stop()


@contextmanager
def carried_by(app: Flask, url: str) -> Iterator[None]:
    with changed_settings(app, SMS_URL=url):
        yield


def tell(make: Maker, count: int = 1) -> str:
    """Queue text messages to one person; returns the phone number."""
    user = make.attendee()
    with make.app.app_context(), transaction():
        notifications.queue(NotificationKind.ORDER_PAID, [Message(user, f"{one}", FACTS) for one in range(count)])
    return user.phone


# ── Carrying ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paid_order_arrives_as_one_message_with_its_code(app: Flask, make: Maker, service: AfricasTalking) -> None:
    with carried_by(app, service.url):
        order = make.paid_order()
        assert tasks.run_once(app, SEND) == 1
    [form] = service.received
    assert (form["username"], form["from"], form["to"]) == ("ticksy", "TICKSY", f"+{order.phone}")
    assert make.tickets()[0].code in form["message"]
    assert len(form["message"]) <= 160
    assert (service.headers[0]["apiKey"], service.headers[0]["Accept"]) == ("atsk_secret", "application/json")
    assert [one.state for one in make.rows(Notification)] == [NotificationState.SENT]


@pytest.mark.parametrize(
    ("code", "status", "state"),
    [
        (100, "Processed", "sent"),
        (102, "Queued", "sent"),
        (403, "InvalidPhoneNumber", "failed"),
        (406, "UserInBlacklist", "failed"),
        (407, "CouldNotRoute", "queued"),
        (405, "InsufficientBalance", "queued"),
        (502, "RejectedByGateway", "queued"),
        (999, "SomethingNew", "queued"),
    ],
)
def test_each_status_is_understood(
    app: Flask, make: Maker, service: AfricasTalking, code: int, status: str, state: str
) -> None:
    service.code, service.status = code, status
    with carried_by(app, service.url):
        tell(make)
        tasks.run_once(app, SEND)
    [message] = make.rows(Notification)
    assert message.state.value == state
    assert message.error == (None if state == "sent" else f"Africa's Talking: {status} ({code})")
    assert len(make.rows(Alert)) == (state == "failed")


def test_a_refusal_of_one_number_holds_up_no_other_and_an_empty_account_all_of_them(
    app: Flask, make: Maker, service: AfricasTalking
) -> None:
    with carried_by(app, service.url):
        tell(make, 3)
        service.code, service.status = 405, "InsufficientBalance"
        assert tasks.run_once(app, SEND) == 0
        assert [one.tries for one in make.rows(Notification)] == [1, 0, 0]
        service.code, service.status = 403, "InvalidPhoneNumber"
        assert tasks.run_once(app, SEND) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (500, "Internal error"),
        (302, ""),
        (201, "not JSON"),
        (201, {"SMSMessageData": {}}),
        (201, {"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}),
        (201, []),
    ],
)
def test_answers_that_say_nothing_of_the_recipient_are_tried_again(
    app: Flask, make: Maker, service: AfricasTalking, answer: tuple[int, Any]
) -> None:
    service.answer = answer
    with carried_by(app, service.url):
        tell(make)
        tasks.run_once(app, SEND)
        [message] = make.rows(Notification)
        assert (message.state, message.tries) == (NotificationState.QUEUED, 1)
        service.answer = None
        with clock.set_to(clock.ahead(seconds=61)):
            assert tasks.run_once(app, SEND) == 1
    assert make.rows(Notification)[0].state is NotificationState.SENT


def test_a_service_that_is_away_is_tried_again_and_the_key_is_nowhere(
    app: Flask, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with carried_by(app, f"africastalking://ticksy:very-secret@127.0.0.1:{free_port()}"):
        tell(make)
        tasks.run_once(app, SEND)
        assert "very-secret" not in repr(app.extensions["settings"])
    [message] = make.rows(Notification)
    assert (message.state, message.error) == (
        NotificationState.QUEUED,
        "Africa's Talking cannot be reached: ConnectionError",
    )
    assert "very-secret" not in caplog.text


def test_a_wrong_key_is_told_apart_from_a_wrong_number(service: AfricasTalking) -> None:
    with pytest.raises(ServiceDown, match="401"):
        sms.connect(service.url.replace("secret", "wrong")).send("254712345678", "Hello")
    service.code = 403
    with pytest.raises(Refused):
        sms.connect(service.url).send("254712345678", "Hello")
    service.code = 500
    with pytest.raises(NotDelivered):
        sms.connect(service.url).send("254712345678", "Hello")


def test_the_key_leaves_this_machine_encrypted_alone() -> None:
    texter = sms.connect("africastalking://ticksy:key@api.africastalking.com?from=TICKSY")
    assert isinstance(texter, sms.AfricasTalking)
    assert texter._address == "https://api.africastalking.com/version1/messaging"


@pytest.mark.parametrize(
    "url",
    ["https://api.africastalking.com", "africastalking://api.africastalking.com", "africastalking://a:b@x/y",
     "africastalking://a:b@x?to=y", "africastalking://a@x", "nonsense"],
)  # fmt: skip
def test_addresses_that_name_no_service_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|may"):
        sms.connect(url)


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


#: With typographic quotation marks and dashes, and characters that count twice.
QUOTED = "\u201cWanjikũ\u2019s\u201d \u2013 Ñandú €[]{} night "


@pytest.mark.parametrize("title", ["Jazz", "x" * 300, "日本の夜 🎷", QUOTED * 5, "{0} {} %s", "\n\t Two\r\nlines"])
@pytest.mark.parametrize("home", ["https://ticksy.co.ke", "https://" + "a-very-long-name." * 8 + "example.co.ke"])
def test_whatever_the_event_is_called_one_message_is_enough(app: Flask, title: str, home: str) -> None:
    for count, kind in itertools.product([1, 2, 9, 100], TEXTED):
        tickets = [{"code": f"TK7P-4M2Q-{number:04}", "type": "VIP"} for number in range(count)]
        facts = FACTS | {"event": EVENT | {"title": title}, "tickets": tickets}
        with app.app_context(), changed_settings(app, FRONTEND_URL=home):
            text = texts.write_text(Notification(kind=kind, facts=facts, user_id=123_456))
        assert sms.length(text) <= sms.LIMIT
        assert set(text) <= set(sms._BASIC + sms._EXTENDED) - set("\r\n")
        if kind is NotificationKind.ORDER_PAID:
            assert tickets[0]["code"] in text
        assert (f"{home}/attendee/123456/profile" in text) is (len(home) < 30)


def test_text_is_put_into_the_alphabet_of_phones() -> None:
    assert sms.plain("Café \u201cWanjikũ\u201d \u2013 ñ €5\u2026") == 'Café "Wanjiku" - ñ €5...'
    assert sms.plain("日本") == "??"
    assert (sms.length("€5"), sms.fit("abcdefgh", 5), sms.fit("abc", 5)) == (3, "abc..", "abc")
