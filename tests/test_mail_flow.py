"""Every message of a purchase, from the server through the worker to the mail catcher, while the worker is killed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from config import ROOT, Settings
from models import Notification, NotificationKind
from services import delivery
from tests import live
from tests.daraja.process import Simulator
from tests.live import Live
from tests.mail_relay import HALFWAY, UNANSWERED, UNGREETED, Relay
from tests.mail_server import SENDER
from tests.support import PASSWORD, Maker, free_port
from tests.waiting import wait_until
from utils import launch
from utils.database import transaction

PAYS, CANCELS = "254700000000", "254700000001"
BUYER, STRANGER, ORGANIZER, NEW = (f"{name}@example.co.ke" for name in ("njeri", "kamau", "akinyi", "wanjiku"))
_PATIENCE = 90
#: It takes a second or two where little else runs.
wait_for = partial(wait_until, seconds=_PATIENCE)


class Stage:
    """Server, worker, simulator and catcher, and what people do."""

    def __init__(self, app: Flask, running: Live, relay: Relay, catcher_url: str) -> None:
        self.app, self.running, self.relay, self._catcher_url = app, running, relay, catcher_url

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        answer = requests.request(method, self.running.url + path, headers=headers, json=body, timeout=30)
        assert answer.ok, (path, answer.text)
        return answer.json()

    def sign_up(self, email: str, phone: str, name: str, role: str) -> dict[str, str]:
        facts = {"first_name": name, "last_name": "Mwangi", "email": email, "phone": phone, "role": role}
        opened = self.ask("POST", "/signup", **facts, password=PASSWORD)
        return {"Authorization": f"Bearer {opened['access_token']}"}

    def buy(self, headers: dict[str, str], ticket_type: int, count: int, phone: str = PAYS) -> Any:
        """An order whose prompt has been answered."""
        cart = [{"ticket_id": ticket_type, "quantity": count}]
        order = self.ask("POST", "/orders", headers, tickets=cart, phone=phone)
        status = "paid" if phone == PAYS else "failed"
        path = f"/orders/{order['orderId']}"
        return wait_for(lambda: (found := self.ask("GET", path, headers))["status"] == status and found)

    def offer(self, headers: dict[str, str], title: str, price: int) -> tuple[int, int]:
        """Ids of a new event, which an admin has yet to approve, and of what is on sale for it."""
        facts = {"title": title, "description": "Six bands.", "location": "Alchemist, Nairobi", "category": "Music"}
        times = {"start_time": "2031-01-01T18:00", "end_time": "2031-01-01T23:00"}
        event = self.ask("POST", "/events", headers, **facts, **times)["id"]
        path = f"/events/{event}/tickets"
        return event, self.ask("POST", path, headers, type="Regular", price=price, quantity=10)["id"]

    def is_catching(self) -> bool:
        try:
            return self.caught() == []
        except requests.ConnectionError:
            return False

    def caught(self) -> list[dict[str, Any]]:
        """Oldest first."""
        messages: list[dict[str, Any]] = requests.get(self._catcher_url + "/messages.json", timeout=10).json()
        return messages[::-1]

    def link(self, to: str, subject: str) -> str:
        """In the last message like that, once it is there; without our own address."""
        self.settle()
        found = [one["text"] for one in self.caught() if one["to"] == to and subject in one["subject"]]
        [path] = re.findall(re.escape(self.running.url) + r"(/\S+)", found[-1])
        return str(path)

    def secret(self, to: str, subject: str) -> str:
        return self.link(to, subject).rsplit("/", 1)[1]

    def receive(self, to: str, subject: str) -> None:
        wait_for(lambda: any(one["to"] == to and subject in one["subject"] for one in self.caught()))

    def settle(self) -> None:
        """Until nothing is left to send."""
        wait_for(lambda: self.query("SELECT count(*) FROM notifications WHERE state = 'queued'") == 0)

    def stop_next(self, at: str) -> None:
        """What is to be sent from now on gets no further."""
        self.settle()
        self.relay.stop_at = at

    def kill_worker(self) -> None:
        """Kill it over what was to be stopped, or idle, and start another when five minutes are over."""
        if self.relay.stop_at is None:
            self.settle()
        else:
            assert self.relay.stopped.wait(_PATIENCE), self.relay.stop_at
        self.running.kill_last()
        wait_for(lambda: not self.relay.open)
        self.relay.stop_at = None
        self.relay.stopped.clear()
        self.query(f"UPDATE notifications SET next_try_at = next_try_at - interval '{delivery.LEASE_SECONDS} s'")
        self.running.start("worker")

    def query(self, statement: str) -> Any:
        with self.app.app_context(), transaction() as session:
            result: Any = session.execute(text(statement))
            return result.scalar() if result.returns_rows else None


@pytest.fixture
def stage(app: Flask, settings: Settings, simulator: Simulator, tmp_path: Path) -> Iterator[Stage]:
    smtp_port, page_port = free_port(), free_port()
    arguments = ["-m", "development.mail_catcher", str(tmp_path / "mail"), str(smtp_port), str(page_port)]
    catcher = subprocess.Popen(launch.command(sys.executable, *arguments), cwd=ROOT)
    relay = Relay(smtp_port)
    try:
        mail = {"MAIL_URL": f"smtp://127.0.0.1:{relay.port}", "MAIL_FROM": SENDER}
        haste = {"WEB_WORKERS": "1", "WORKER_PAUSE_SECONDS": "0.1", "PROMPTS_PER_ORDER": "1"}
        others = {"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": simulator.url}
        running = live.start(mail | haste | others)
        stage = Stage(app, running, relay, f"http://127.0.0.1:{page_port}")
        wait_for(stage.is_catching)
        yield stage
        running.stop()
    finally:
        relay.close()
        catcher.terminate()
        catcher.wait(10)


def test_every_message_of_a_purchase_arrives_once_though_the_worker_is_killed_again_and_again(
    stage: Stage, make: Maker
) -> None:
    jazz, beach = "Nairobi Jazz Night", "Mombasa Beach Day"
    admin = make.headers(make.admin())

    # Accounts and an event, at first with its organizer's address unproven. Killed before the catcher says a word.
    stage.stop_next(UNGREETED)
    organizer = stage.sign_up(ORGANIZER, "0711200201", "Akinyi", "organizer")
    stage.kill_worker()
    stage.ask("POST", "/verify-email", token=stage.secret(ORGANIZER, "Is this your e-mail address?"))
    buyer = stage.sign_up(BUYER, "0711200202", "Njeri", "attendee")
    event, regular = stage.offer(organizer, jazz, 500)
    stage.ask("PATCH", f"/admin/{event}", admin, status="rejected", reason="What is it about?")
    stage.ask("PUT", f"/events/{event}", organizer, description="Six bands and two stages.")
    stage.ask("PATCH", f"/admin/{event}", admin, status="approved")

    # An order is paid, another one is not. Killed with half a message, a PDF in it, at the catcher.
    stage.stop_next(HALFWAY)
    order = stage.buy(buyer, regular, 3)
    stage.kill_worker()
    stage.buy(buyer, regular, 1, phone=CANCELS)

    # One ticket goes to somebody without an account, one to somebody with one, who agrees to its refund.
    first, second, third = order["tickets"]
    for ticket, to, headers in ((first, STRANGER, None), (second, ORGANIZER, organizer)):
        stage.ask("POST", f"/tickets/{ticket['ticket_code']}/transfer", buyer, email=to)
        link = stage.link(to, "gives you a ticket")
        stage.ask("POST", f"{link}/acceptance", headers, first_name="Kamau", last_name="Njoroge")
    [received] = stage.ask("GET", "/my-tickets", organizer)
    stage.ask("POST", f"/tickets/{received['ticket_code']}/refund-agreement", organizer)

    # Killed when the catcher has taken messages and the worker has not been told so.
    stage.stop_next(UNANSWERED)
    stage.ask("POST", f"/orders/{order['id']}/refund", organizer, tickets=[second["id"]])
    stage.kill_worker()
    stage.receive(BUYER, "has been paid back")
    stage.ask("POST", f"/tickets/{third['ticket_code']}/reissue", buyer)

    # The event moves to another place, comes nearer, and is over.
    stage.ask("PUT", f"/events/{event}", organizer, location="KICC, Nairobi")
    stage.ask("PATCH", f"/admin/{event}", admin, status="approved")
    stage.query("UPDATE tickets SET issued_at = now() - interval '2 days'")
    for away, subject in (("20 hours", "Soon: "), ("-30 hours", "How was ")):
        begin = f"now() + interval '{away}'"
        stage.query(f"UPDATE events SET starts_at = {begin}, ends_at = {begin} + interval '4 hours'")
        stage.kill_worker()  # one that starts looks at once for who is to be reminded, or asked
        stage.receive(BUYER, subject)

    # Another event is called off. Once more messages are taken, and nobody is told so.
    event, regular = stage.offer(organizer, beach, 700)
    stage.ask("PATCH", f"/admin/{event}", admin, status="approved")
    stage.buy(buyer, regular, 1)
    stage.stop_next(UNANSWERED)
    stage.ask("POST", f"/events/{event}/cancel", organizer)
    stage.kill_worker()
    stage.receive(BUYER, "KES 700 has been paid back")

    # A forgotten password, and another address.
    stage.ask("POST", "/password/forgot", email=BUYER)
    stage.receive(BUYER, "A new password")
    stage.ask("POST", "/password/reset", token=stage.secret(BUYER, "A new password"), password="kahawa-chungu-41")
    stage.ask("POST", "/profile/me/email", organizer, email=NEW, password=PASSWORD)
    stage.ask("POST", "/email/confirm", token=stage.secret(NEW, "Is this your new"))
    stage.settle()

    caught = stage.caught()
    copies = Counter(one["message_id"] for one in caught)
    assert copies == {name: 1 + stage.relay.unanswered.count(name) for name in copies}
    assert len(stage.relay.unanswered) >= 2
    assert max(copies.values()) == 2
    messages = {one["message_id"]: (one["to"], re.sub(r", \w{3} \d.*", "", one["subject"])) for one in caught}
    assert Counter(messages.values()) == Counter(
        [
            (ORGANIZER, "Is this your e-mail address?"),
            (BUYER, "Is this your e-mail address?"),
            (ORGANIZER, f"{jazz} was not approved"),
            *[(ORGANIZER, f"{jazz} is published")] * 2,
            (BUYER, f"Your 3 tickets for {jazz}"),
            (BUYER, f"No payment, no tickets: {jazz}"),
            (STRANGER, f"Njeri Mwangi gives you a ticket for {jazz}"),
            (ORGANIZER, f"Njeri Mwangi gives you a ticket for {jazz}"),
            *[(BUYER, f"Your ticket for {jazz} has been accepted")] * 2,
            (STRANGER, f"Your ticket for {jazz}"),
            (ORGANIZER, f"Your ticket for {jazz}"),
            (BUYER, "KES 500 is on its way back to you"),
            (BUYER, "KES 500 has been paid back to you"),
            (ORGANIZER, f"Your ticket for {jazz} is no longer valid"),
            (BUYER, f"Your new ticket for {jazz}"),
            (BUYER, f"Changed: {jazz}"),
            (STRANGER, f"Changed: {jazz}"),
            (BUYER, f"Soon: {jazz}"),
            (BUYER, f"How was {jazz}?"),
            (ORGANIZER, f"{beach} is published"),
            (BUYER, f"Your ticket for {beach}"),
            (BUYER, f"Cancelled: {beach}"),
            (BUYER, "KES 700 is on its way back to you"),
            (BUYER, "KES 700 has been paid back to you"),
            (BUYER, "A new password for Ticksy"),
            (BUYER, "Your password has been changed"),
            (NEW, "Is this your new e-mail address?"),
            (ORGANIZER, "Your e-mail address has been changed"),
        ]
    )
    assert {one.kind for one in make.rows(Notification)} == set(NotificationKind)
    [files] = [one["files"] for one in caught if one["subject"] == f"Your 3 tickets for {jazz}"]
    assert files == [f"tickets-{order['order_id']}.pdf", "event.ics"]
