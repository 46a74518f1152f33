"""E-mail: what the worker hands to a mail server, and what it does when that says no or nothing."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

import config
import tasks
from models import LINK_NOTIFICATIONS, Alert, Event, Notification, NotificationKind, NotificationState, User
from services import delivery, events, letters, notifications, preferences
from services.notifications import Message
from tests.mail_server import SENDER, MailServer, mail_server
from tests.mailed import account_facts
from tests.support import Maker, changed_settings, free_port, new_receipt, success, together
from tests.waiting import wait_until
from utils import clock, mail
from utils.database import db, transaction
from utils.delivery import Refused

SEND, REMIND = (
    next(task for task in tasks.TASKS if task.name == name) for name in ("send e-mails", "remind ticket holders")
)
#: The server would rather have TLS before it is told a password.
CLEAR = pytest.mark.filterwarnings("ignore:Requiring AUTH")
EVENT: dict[str, Any] = {
    "id": 1,
    "title": "Nairobi Jazz Night",
    "location": "Alchemist, Nairobi",
    "starts_at": "2030-12-31T18:00:00+03:00",
    "ends_at": "2030-12-31T23:00:00+03:00",
}
FACTS: dict[str, Any] = {
    "event": EVENT,
    "order": "7K3M9QW2XA",
    "tickets": [{"code": "TK7P-4M2Q-9XWD", "type": "VIP"}],
    "paid_kes": 1500,
    "receipt": "SG632NMUAB",
    "amount_kes": 1500,
    "reason": "sold_out",
    "was_at": "2030-12-30T18:00:00+03:00",
    "was_in": "Uhuru Gardens",
    "sender": "Akinyi Oduor",
    "receiver": "Kamau Njoroge",
    "transfer": 12,
    "ticket": [4711, 2],
    "type": "VIP",
    "types": ["VIP", "Regular"],
    "is_reversed": True,
}


@pytest.fixture
def server(app: Flask) -> Iterator[MailServer]:
    with mail_server(app) as server:
        yield server


def tell(
    make: Maker,
    kind: NotificationKind = NotificationKind.ORDER_PAID,
    *,
    count: int = 1,
    user: User | None = None,
    **facts: Any,
) -> User:
    """Queue messages to one person."""
    user = user or make.attendee(first_name="Njeri")
    with make.app.app_context(), transaction():
        notifications.queue(kind, [Message(user, f"order {one}", FACTS | facts) for one in range(count)])
    return user


def states(make: Maker) -> list[str]:
    return [one.state.value for one in make.rows(Notification)]


# ── Sending ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paid_order_arrives_as_an_e_mail_with_its_codes(app: Flask, make: Maker, server: MailServer) -> None:
    buyer = make.attendee(first_name="Njeri")
    order = make.paid_order(buyer, make.on_sale(name="VIP"), quantity=2)
    tasks.run_once(app, SEND)
    [mine] = [one for one in server.received if one.to == [buyer.email]]
    assert (mine.message["From"], mine.message["To"]) == (SENDER, buyer.email)
    assert mine.message["Subject"] == "Your 2 tickets for Nairobi Jazz Night"
    assert mine.message["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in mine.message
    for part in (mine.part("plain"), mine.part("html")):
        for ticket in make.tickets():
            assert ticket.code in part
        for fact in ("Hello Njeri", "VIP", "Alchemist, Nairobi", "KES 1,000", order.reference, str(order.receipt)):
            assert fact in part
        assert f"/attendee/{buyer.id}/profile" in part
    message = make.rows(Notification)[-1]
    assert (message.state, message.tries, message.next_try_at, message.error) == (NotificationState.SENT, 1, None, None)
    assert message.sent_at is not None
    assert tasks.run_once(app, SEND) == 0


def test_the_same_callback_twice_sends_one_mail(app: Flask, make: Maker, server: MailServer) -> None:
    order, token = make.order()
    body = success(order.total_kes, new_receipt())
    for _ in range(2):
        make.deliver(token, body)
        tasks.run_once(app, SEND)
    assert [one.message["Subject"] for one in server.received].count("Your ticket for Nairobi Jazz Night") == 1


def test_many_go_through_one_connection(app: Flask, make: Maker, server: MailServer, monkeypatch: Any) -> None:
    connections = []
    real = mail.Mailer._connect
    monkeypatch.setattr(mail.Mailer, "_connect", lambda mailer: connections.append(1) or real(mailer))
    tell(make, count=20)
    assert tasks.run_once(app, SEND) == 20
    assert (len(server.received), len(connections)) == (20, 1)
    assert len({one.message["Message-ID"] for one in server.received}) == 20


def test_nobody_is_called_while_there_is_nothing_to_send(app: Flask, make: Maker) -> None:
    with changed_settings(app, MAIL_URL=f"smtp://127.0.0.1:{free_port()}", MAIL_FROM=SENDER):
        assert tasks.run_once(app, SEND) == 0


def test_no_connection_to_the_database_is_held_meanwhile(
    app: Flask, make: Maker, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(make)
    busy: list[int] = []
    real = mail.Mailer.send

    def look(mailer: mail.Mailer, letter: mail.Mail) -> None:
        busy.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
        real(mailer, letter)

    monkeypatch.setattr(mail.Mailer, "send", look)
    assert tasks.run_once(app, SEND) == 1
    assert busy == [0]


@CLEAR
def test_with_a_user_and_a_password_it_logs_in(app: Flask, make: Maker) -> None:
    with mail_server(app, auth_required=True) as server:
        tell(make)
        address = app.extensions["settings"].MAIL_URL.removeprefix("smtp://")
        with changed_settings(app, MAIL_URL=f"smtp://ticksy:p%40ss%2Fword@{address}"):
            tasks.run_once(app, SEND)
    assert len(server.received) == 1


# ── Being refused ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_that_does_not_exist_is_given_up_and_holds_up_no_other(
    app: Flask, make: Maker, server: MailServer
) -> None:
    gone, other = tell(make), tell(make)
    server.replies[f"RCPT {gone.email}"] = "550 5.1.1 No such user"
    assert tasks.run_once(app, SEND) == 2
    lost, arrived = make.rows(Notification)
    assert (lost.state, lost.tries, lost.error) == (NotificationState.FAILED, 1, "550 5.1.1 No such user")
    assert (arrived.state, server.received[0].to) == (NotificationState.SENT, [other.email])
    [alert] = make.rows(Alert)
    assert (alert.kind, "No such user" in alert.message) == ("notification_failed", True)


def test_many_that_are_given_up_are_one_alert(app: Flask, make: Maker, server: MailServer) -> None:
    server.replies["DATA"] = "554 Not wanted"
    tell(make, count=5)
    tasks.run_once(app, SEND)
    assert states(make) == ["failed"] * 5
    assert len(make.rows(Alert)) == 1


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("RCPT", "450 4.2.1 Come back later"),
        ("DATA", "451 4.3.0 Out of breath"),
        ("RCPT", "550 5.7.1 We do not relay for you"),
        ("MAIL", "553 5.1.8 We do not know you"),
    ],
)
def test_what_may_be_put_right_is_tried_again(
    app: Flask, make: Maker, server: MailServer, command: str, reply: str
) -> None:
    server.replies[command] = reply
    tell(make)
    tasks.run_once(app, SEND)
    [message] = make.rows(Notification)
    assert (message.state, message.tries, message.error) == (NotificationState.QUEUED, 1, reply)
    assert tasks.run_once(app, SEND) == 0
    server.replies.clear()
    with clock.set_to(clock.ahead(seconds=61)):
        assert tasks.run_once(app, SEND) == 1
    assert (states(make), make.rows(Alert)) == (["sent"], [])


def test_pauses_grow_for_a_day_and_then_it_has_failed(app: Flask, make: Maker) -> None:
    first = clock.now()
    with changed_settings(app, MAIL_URL=f"smtp://127.0.0.1:{free_port()}", MAIL_FROM=SENDER):
        tell(make)
        tried = [first]
        while (message := make.rows(Notification)[0]).state is NotificationState.QUEUED:
            assert message.next_try_at is not None
            with clock.set_to(max(message.next_try_at, first)):
                tried.append(clock.now())
                tasks.run_once(app, SEND)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried[1:])]
    assert pauses == sorted(pauses)
    assert timedelta(hours=23) < tried[-1] - tried[1] < timedelta(hours=25)
    assert (message.state, message.error) == (
        NotificationState.FAILED,
        "the mail server cannot be used: ConnectionRefusedError",
    )
    assert [alert.kind for alert in make.rows(Alert)] == ["notification_failed"]


def test_a_server_that_is_away_costs_one_message_of_a_run_its_try(app: Flask, make: Maker) -> None:
    with changed_settings(app, MAIL_URL=f"smtp://127.0.0.1:{free_port()}", MAIL_FROM=SENDER):
        tell(make, count=3)
        assert tasks.run_once(app, SEND) == 0  # so that the worker rests
    assert [one.tries for one in make.rows(Notification)] == [1, 0, 0]


@CLEAR
@pytest.mark.parametrize("with_user", [True, False])
def test_no_secret_is_in_the_log_or_in_the_table(
    app: Flask, make: Maker, caplog: pytest.LogCaptureFixture, with_user: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    with mail_server(app, auth_required=True) as server:
        tell(make)
        address = app.extensions["settings"].MAIL_URL.removeprefix("smtp://")
        who = "ticksy:very-secret@" if with_user else ""
        with changed_settings(app, MAIL_URL=f"smtp://{who}{address}"):
            tasks.run_once(app, SEND)
    assert (server.received, states(make)) == ([], ["queued"])
    [message] = make.rows(Notification)
    assert message.error
    assert "very-secret" not in caplog.text + message.error
    assert "very-secret" not in repr(app.extensions["settings"])


def test_a_password_is_not_sent_where_the_server_knows_no_tls(app: Flask, make: Maker) -> None:
    with mail_server(app) as server:
        tell(make)
        url = app.extensions["settings"].MAIL_URL
        with changed_settings(app, MAIL_URL=url.replace("smtp://", "smtp://ticksy:secret@") + "?starttls"):
            tasks.run_once(app, SEND)
    [message] = make.rows(Notification)
    assert (server.received, message.error) == ([], "the mail server cannot be used: SMTPNotSupportedError")


def test_a_server_that_hangs_up_after_the_message_has_it(
    app: Flask, make: Maker, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(_smtp: smtplib.SMTP) -> None:
        raise smtplib.SMTPServerDisconnected

    monkeypatch.setattr(smtplib.SMTP, "quit", hang_up)
    tell(make)
    tasks.run_once(app, SEND)
    assert states(make) == ["sent"]


def test_one_that_cannot_be_written_holds_up_no_other(app: Flask, make: Maker, server: MailServer) -> None:
    user = make.attendee()
    with app.app_context(), transaction():
        notifications.queue(NotificationKind.ORDER_PAID, [Message(user, "order 0", {})])
    tell(make)
    assert tasks.run_once(app, SEND) == 2
    assert [(one.state.value, one.error) for one in make.rows(Notification)] == [("queued", "KeyError"), ("sent", None)]


# ── Several workers, and dead ones ────────────────────────────────────────────────────────────────────────────────


def test_several_workers_send_each_message_once(app: Flask, make: Maker, server: MailServer) -> None:
    tell(make, count=40)
    together(*[lambda: tasks.run_once(app, SEND)] * 4)
    assert states(make) == ["sent"] * 40
    assert len(server.received) == 40
    assert len({one.message["Message-ID"] for one in server.received}) == 40


def test_a_message_that_is_on_its_way_is_nobody_elses(app: Flask, make: Maker, server: MailServer) -> None:
    tell(make)
    server.free.clear()

    def second() -> int:
        wait_until(lambda: server.came)
        try:
            return tasks.run_once(app, SEND)
        finally:
            server.free.set()

    assert together(lambda: tasks.run_once(app, SEND), second) == [1, 0]
    assert (len(server.came), states(make)) == (1, ["sent"])


def test_a_message_whose_worker_was_killed_is_sent_by_another_under_its_own_id(
    app: Flask, settings: config.Settings, make: Maker, server: MailServer
) -> None:
    tell(make)
    server.free.clear()
    names = ("FLASK_ENV", "DATABASE_URL", "SECRET_KEY", "MPESA_BASE_URL")
    given = {name: str(getattr(settings, name)) for name in names} | {"WORKER_PAUSE_SECONDS": "0.1"}
    given |= {name: getattr(app.extensions["settings"], name) for name in ("MAIL_URL", "MAIL_FROM")}
    command = [sys.executable, "-m", "flask", "--app", "app:create_app", "worker"]
    environment = {"PATH": os.environ["PATH"]} | given
    with subprocess.Popen(command, cwd=config.ROOT, env=environment, stderr=subprocess.DEVNULL) as worker:
        wait_until(lambda: server.came)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    server.free.set()
    [message] = make.rows(Notification)
    assert (message.state, message.tries) == (NotificationState.QUEUED, 1)
    assert tasks.run_once(app, SEND) == 0
    with clock.set_to(clock.ahead(seconds=delivery.LEASE_SECONDS + 1)):
        assert tasks.run_once(app, SEND) == 1
    assert states(make) == ["sent"]
    first, second = (one.message["Message-ID"] for one in server.came)
    assert first == second


def test_who_was_thought_dead_writes_nothing_down_any_more(app: Flask, make: Maker, server: MailServer) -> None:
    tell(make)
    with app.app_context():
        slow = delivery._take(delivery.NotificationChannel.EMAIL)
        assert slow is not None
        lease = slow.next_try_at
        with clock.set_to(clock.ahead(seconds=delivery.LEASE_SECONDS + 1)):
            assert tasks.run_once(app, SEND) == 1
        delivery._put_off(slow, lease, "too slow")
    assert states(make) == ["sent"]


# ── What need not be told any more ────────────────────────────────────────────────────────────────────────────────


def remind(app: Flask, make: Maker) -> tuple[User, Event]:
    """A reminder in the outbox, its reader and its event, a day before that."""
    holder = make.attendee()
    event = make.paid_order(holder).event
    with clock.set_to(event.starts_at - timedelta(hours=23)):
        tasks.run_once(app, REMIND)
    return holder, event


def last(make: Maker) -> Notification:
    return make.rows(Notification)[-1]


def test_a_reminder_arrives_with_a_click_that_ends_them(app: Flask, make: Maker, server: MailServer) -> None:
    holder, event = remind(app, make)
    with clock.set_to(event.starts_at - timedelta(hours=22)):
        tasks.run_once(app, SEND)
    mine = server.received[-1]
    assert mine.message["Subject"].startswith("Soon: Nairobi Jazz Night")
    url = re.fullmatch("<(.*)>", mine.message["List-Unsubscribe"])
    assert url is not None
    assert mine.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert url[1] in mine.part("plain")
    assert url[1] in mine.part("html")
    answer = app.test_client().post(
        url[1].removeprefix(app.extensions["settings"].PUBLIC_URL), data={"List-Unsubscribe": "One-Click"}
    )
    assert answer.status_code == 200
    assert make.rows(User)[holder.id - 1].muted_notifications == ["event_reminder"]


def test_a_reminder_is_dropped_if_it_is_not_wanted_any_more(app: Flask, make: Maker, server: MailServer) -> None:
    holder, event = remind(app, make)
    with app.app_context():
        preferences.change_preferences(actor=db.session.get_one(User, holder.id), changes={"event_reminder": False})
    with clock.set_to(event.starts_at - timedelta(hours=22)):
        tasks.run_once(app, SEND)
    assert (last(make).state, last(make).error) == (NotificationState.DROPPED, "no longer wanted")
    assert holder.email not in [one.to[0] for one in server.received if "Soon" in one.message["Subject"]]


def test_a_reminder_is_dropped_if_its_event_is_off(app: Flask, make: Maker, server: MailServer) -> None:
    _, event = remind(app, make)
    reminder = last(make).id
    with app.app_context():
        events.cancel_event(actor=make.admin(), event_id=event.id)
    with clock.set_to(event.starts_at - timedelta(hours=22)):
        tasks.run_once(app, SEND)
    dropped = next(one for one in make.rows(Notification) if one.id == reminder)
    assert (dropped.state, dropped.error) == (NotificationState.DROPPED, "the event is no longer on")


def test_a_reminder_is_dropped_once_its_event_has_begun(app: Flask, make: Maker, server: MailServer) -> None:
    _, event = remind(app, make)
    with clock.set_to(event.starts_at):
        tasks.run_once(app, SEND)
    assert last(make).state is NotificationState.DROPPED


# ── What is in them ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", NotificationKind, ids=lambda kind: kind.value)
def test_every_kind_has_its_words(app: Flask, make: Maker, kind: NotificationKind) -> None:
    facts = {"first_name": "Njeri"} | FACTS | account_facts(app)
    with app.app_context():
        letter = letters.render(Notification(kind=kind, facts=facts, user_id=1))
    is_about_an_account = kind in LINK_NOTIFICATIONS | {NotificationKind.PASSWORD_CHANGED}
    assert ("Nairobi Jazz Night" in letter.text) is not is_about_an_account
    assert ("/password/reset/0f4c1c7b" in letter.text) is (kind in LINK_NOTIFICATIONS)
    assert (letter.unsubscribe_url is None) is ("Do not send me these" not in letter.html)
    for text in (letter.subject, letter.text, letter.html):
        assert not re.search(r"None|\{|\}\}|Undefined", re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL))
    assert re.search(r"src=|url\(|<script|<link|<img", letter.html) is None
    assert max(len(line) for line in letter.text.splitlines()) < 220


HOSTILE = [
    "Njeri\r\nBcc: everybody@example.co.ke",
    "</td><script>alert(1)</script>",
    'Njeri" onmouseover="x',
    "{{ 4321 * 1234 }} {0}",
    "Njeri \u202egnp.exe",
    "Win now at evil.example.com",
    "https://evil.example.com",
    "👩🏾‍🎤" * 40,
    "x" * 80,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_people_and_events_cannot_do_any_harm(app: Flask, make: Maker, server: MailServer, name: str) -> None:
    user = make.attendee(first_name=name)
    tell(make, user=user, event=EVENT | {"title": name, "location": name}, tickets=[{"code": "A", "type": name}])
    tasks.run_once(app, SEND)
    [mine] = server.received
    assert mine.to == [user.email]
    assert (mine.message["To"], mine.message["Bcc"]) == (user.email, None)
    assert set(mine.message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert "\u202e" not in mine.message["Subject"]
    assert all(len(line) <= 998 for line in mine.source.splitlines())
    html = mine.part("html")
    assert "<script" not in html
    assert '" onmouseover="' not in html
    assert "5332114" not in html.split("Hello")[1].split("</p>")[0]
    # A greeting is for names; what else somebody calls themselves may be meant for whoever reads it.
    assert "Hello," in html


@pytest.mark.parametrize("name", ["Njeri", "Wanjikũ", "Anne-Marie", "Ng'ang'a", "Mary Wambui", "أمينة"])
def test_people_are_greeted_by_their_names(app: Flask, name: str) -> None:
    message = Notification(kind=NotificationKind.ORDER_PAID, facts={"first_name": name} | FACTS, user_id=1)
    with app.app_context():
        assert f"Hello {name}," in letters.render(message).text


@pytest.mark.parametrize("title", ["Fête de la Musique " * 8, "日本の夜", "Jazz 🎷 and more " * 6, "Plain " * 30])
def test_long_titles_in_any_writing_are_cut_after_a_word_in_the_subject_alone(
    app: Flask, make: Maker, server: MailServer, title: str
) -> None:
    tell(make, NotificationKind.REFUND_DONE)
    tell(make, event=EVENT | {"title": title})
    tasks.run_once(app, SEND)
    subject = server.received[1].message["Subject"]
    told = " ".join(title.split())
    assert subject.startswith("Your ticket for ")
    named = subject.removeprefix("Your ticket for ")
    assert named == told or (60 < len(named) <= 90 and told.startswith(named.removesuffix("…") + " "))
    assert told in server.received[1].part("plain")


@pytest.mark.parametrize("address", ["a@b.co.ke\nBcc: c@d.ke", "a@b.co.ke, c@d.ke", "Njeri <a@b.co.ke>", "nobody", ""])
def test_what_is_no_address_is_refused_for_good(address: str) -> None:
    with pytest.raises(Refused):
        mail.write(mail.Mail(address, "s", "t", "h", "n"), sender=SENDER)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", mail.MailServer("mail.example.com", 25, "plain")),
        ("smtp://mail.example.com?starttls", mail.MailServer("mail.example.com", 587, "starttls")),
        ("smtps://u%40x:p%3A@mail.example.com:2465", mail.MailServer("mail.example.com", 2465, "tls", "u@x", "p:")),
    ],
)
def test_addresses_of_mail_servers_are_read(url: str, server: mail.MailServer) -> None:
    assert mail.parse_url(url) == server
    assert server.password == "" or server.password not in repr(server)
