"""Tickets that end although their event goes on: whoever held one is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import NotificationChannel, NotificationKind
from services import letters, stock, texts
from tests.held_tickets import give_back
from tests.passing_on import CHANNELS, EMAIL, PHONE, Passing, take_back
from tests.support import Maker, changed_settings
from utils import clock


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


@pytest.fixture
def passing(client: FlaskClient, make: Maker) -> Passing:
    return Passing(client, make)


def test_who_held_a_ticket_whose_payment_was_taken_back_is_told_once(
    app: Flask, client: FlaskClient, make: Maker
) -> None:
    passing = Passing(client, make, quantity=4)
    receiver = make.attendee()
    first, second, third, _kept = passing.tickets
    passing.pass_on(ticket=first)
    passing.pass_on(ticket=second)
    passing.pass_on(ticket=third, by=receiver)
    for _ in range(2):
        take_back(passing)
    told = {one.address: one for one in passing.sent(NotificationKind.TICKET_ENDED)}
    assert {address: one.user_id for address, one in told.items()} == {
        EMAIL: None,
        receiver.email: receiver.id,
        passing.buyer.email: passing.buyer.id,
    }
    assert len(told) == len(passing.sent(NotificationKind.TICKET_ENDED))
    with app.app_context():
        to_stranger, to_buyer = (letters.render(told[one]) for one in (EMAIL, passing.buyer.email))
    assert to_stranger.subject == "Your 2 tickets for Nairobi Jazz Night are no longer valid"
    assert "Hello Kamau" in to_stranger.text
    assert "M-PESA has taken back what was paid" in to_stranger.text
    assert passing.order.reference not in to_stranger.text
    assert passing.order.reference in to_buyer.text


def test_who_has_a_ticket_by_number_alone_is_told_of_its_end_by_text(passing: Passing, app: Flask) -> None:
    passing.pass_on(phone=PHONE)
    take_back(passing)
    [message] = [one for one in passing.sent(NotificationKind.TICKET_ENDED) if one.user_id is None]
    assert (message.address, message.channel) == (PHONE, NotificationChannel.SMS)
    with app.app_context():
        said = texts.write_text(message)
    assert said == "Ticksy: your ticket for Nairobi Jazz Night is NO LONGER VALID: M-PESA took the payment back."


def test_a_ticket_that_ends_and_the_word_of_it_are_one_transaction(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = passing.pass_on()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(stock, "unsell", fail)  # what is done last
        with pytest.raises(RuntimeError, match="the power went"):
            take_back(passing)
    assert (passing.check(now.code), passing.sent(NotificationKind.TICKET_ENDED)) == ("valid", [])


def test_nobody_is_told_of_tickets_for_what_is_over(passing: Passing) -> None:
    passing.pass_on()
    with clock.set_to(passing.event.ends_at):
        take_back(passing)
    assert passing.sent(NotificationKind.TICKET_ENDED) == []


def test_who_agreed_to_a_refund_is_told_when_it_is_made(passing: Passing, make: Maker) -> None:
    receiver = make.attendee()
    now = passing.pass_on(by=receiver)
    path = f"/tickets/{now.code}/refund-agreement"
    assert passing.client.post(path, headers=make.headers(receiver)).status_code == 200
    give_back(make, passing.ticket)
    [message] = passing.sent(NotificationKind.TICKET_ENDED)
    assert (message.user_id, message.facts["is_reversed"]) == (receiver.id, False)
