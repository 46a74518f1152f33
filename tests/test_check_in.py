"""Checking in: once for each ticket, by whoever runs the event."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from models import AuditLog, Order, Ticket, TicketStatus, User
from services import check_in, events, ledger, locks
from tests.support import Maker, together
from utils import clock
from utils.database import db, transaction

IN, OUT = "/organizer/checkin", "/organizer/checkout"


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


@pytest.fixture
def ticket(make: Maker, organizer: User) -> Ticket:
    make.paid_order(make.attendee(first_name="Akinyi", last_name="Oduor"), make.ticket_type(make.event(organizer)))
    return make.tickets()[-1]


@pytest.fixture
def as_organizer(make: Maker, organizer: User) -> dict[str, str]:
    return make.headers(organizer)


def lines(make: Maker) -> list[tuple[str, int | None, int]]:
    """Audit lines about admission: what, by whom, about which ticket."""
    return [
        (line.action, line.user_id, line.target_id)
        for line in make.rows(AuditLog)
        if line.action.startswith("ticket_checked")
    ]


def test_a_ticket_is_checked_in_as_the_page_does_it_without_body_or_type(
    client: FlaskClient, make: Maker, organizer: User, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    answer = client.patch(f"{IN}/{ticket.id}", headers=as_organizer)
    assert answer.status_code == 200
    assert (answer.json["message"], answer.json["changed"]) == ("Akinyi Oduor is checked in.", True)
    assert answer.json["ticket"]["checked_in"] is True
    [used] = make.tickets()
    assert (used.status, answer.json["ticket"]["checked_in_at"]) == (
        TicketStatus.USED,
        clock.to_nairobi(used.checked_in_at),
    )
    assert lines(make) == [("ticket_checked_in", organizer.id, ticket.id)]


@pytest.mark.parametrize(
    "sent",
    [{"json": {}}, {"data": "", "content_type": "application/x-www-form-urlencoded"}, {"data": "", "content_type": ""}],
)
def test_an_empty_body_of_any_kind_will_do(
    client: FlaskClient, ticket: Ticket, as_organizer: dict[str, str], sent: dict[str, Any]
) -> None:
    assert client.patch(f"{IN}/{ticket.id}", headers=as_organizer, **sent).status_code == 200


def test_checking_in_twice_is_200_and_says_when_it_was(
    client: FlaskClient, make: Maker, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    first = client.patch(f"{IN}/{ticket.id}", headers=as_organizer).json
    with clock.set_to(clock.ahead(minutes=5)):
        again = client.patch(f"{IN}/{ticket.id}", headers=as_organizer)
    assert (again.status_code, again.json["changed"]) == (200, False)
    assert again.json["message"].startswith("Akinyi Oduor was checked in already, on ")
    assert again.json["ticket"]["checked_in_at"] == first["ticket"]["checked_in_at"]
    assert len(lines(make)) == 1


def test_a_check_in_can_be_undone_and_done_again(
    client: FlaskClient, make: Maker, organizer: User, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    answer = client.patch(f"{OUT}/{ticket.id}", headers=as_organizer)
    assert (answer.status_code, answer.json["changed"]) == (200, False)
    assert answer.json["message"] == "Akinyi Oduor is not checked in."
    client.patch(f"{IN}/{ticket.id}", headers=as_organizer)
    answer = client.patch(f"{OUT}/{ticket.id}", headers=as_organizer)
    assert (answer.json["changed"], answer.json["ticket"]["checked_in"]) == (True, False)
    assert (make.tickets()[0].status, make.tickets()[0].checked_in_at) == (TicketStatus.VALID, None)
    assert client.patch(f"{IN}/{ticket.id}", headers=as_organizer).json["changed"] is True
    assert [action for action, *_ in lines(make)] == ["ticket_checked_in", "ticket_checked_out", "ticket_checked_in"]


@pytest.mark.parametrize("address", [IN, OUT])
def test_a_ticket_whose_money_went_back_lets_nobody_in(
    client: FlaskClient, make: Maker, ticket: Ticket, as_organizer: dict[str, str], address: str
) -> None:
    client.post(f"/orders/{ticket.order_id}/refund", json={}, headers=as_organizer)
    answer = client.patch(f"{address}/{ticket.id}", headers=as_organizer)
    assert (answer.status_code, answer.json["code"]) == (409, "ticket_void")
    assert (make.tickets()[0].status, lines(make)) == (TicketStatus.VOID, [])


def test_a_cancelled_event_lets_nobody_in(
    client: FlaskClient, make: Maker, organizer: User, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    with make.app.app_context():
        event_id = db.session.get_one(Order, ticket.order_id).event_id
        events.cancel_event(actor=organizer, event_id=event_id)
    answer = client.patch(f"{IN}/{ticket.id}", headers=as_organizer)
    assert (answer.status_code, answer.json["code"]) == (409, "event_cancelled")


def test_an_event_that_waits_for_an_admin_again_still_lets_people_in(
    client: FlaskClient, make: Maker, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    event_id = make.read_order(ticket.order_id).event_id
    assert client.put(f"/events/{event_id}", json={"title": "B"}, headers=as_organizer).json["status"] == "pending"
    assert client.patch(f"{IN}/{ticket.id}", headers=as_organizer).status_code == 200


def test_only_who_runs_the_event_checks_in(client: FlaskClient, make: Maker, ticket: Ticket) -> None:
    for address in (IN, OUT):
        for user, status in ((make.organizer(), 404), (make.attendee(), 403), (make.admin(), 200)):
            answer = client.patch(f"{address}/{ticket.id}", headers=make.headers(user))
            assert answer.status_code == status
    assert client.patch(f"{IN}/999999", headers=make.headers(make.admin())).status_code == 404


def test_of_twenty_at_once_one_checks_in(make: Maker, organizer: User, ticket: Ticket) -> None:
    def enter() -> bool:
        with make.app.app_context():
            return check_in.check_in(actor=organizer, ticket_id=ticket.id).is_changed

    assert sorted(together(*[enter] * 20)) == [False] * 19 + [True]
    assert len(lines(make)) == 1
    assert make.tickets()[0].status is TicketStatus.USED


def test_checking_in_and_giving_the_money_back_at_once_never_do_both(make: Maker, organizer: User) -> None:
    """A used ticket is not refunded, a refunded one not used; each round, one of the two is first."""
    for _ in range(6):
        order = make.paid_order(make.attendee(), make.ticket_type(make.event(organizer)))
        ticket_id = order.tickets[0].id
        headers = make.headers(organizer)

        def call(method: str, path: str, headers: dict[str, str] = headers) -> int:
            return make.app.test_client().open(path, method=method, json={}, headers=headers).status_code

        entered, refunded = together(
            lambda ticket_id=ticket_id: call("PATCH", f"{IN}/{ticket_id}"),
            lambda order_id=order.id: call("POST", f"/orders/{order_id}/refund"),
        )
        assert sorted([entered, refunded]) == [200, 409]
        ticket = make.tickets()[-1]
        assert ticket.status is (TicketStatus.USED if entered == 200 else TicketStatus.VOID)


def test_a_ticket_used_while_its_money_is_taken_back_stays_used(make: Maker, organizer: User, ticket: Ticket) -> None:
    """M-PESA's reversal ends unused tickets alone: it waits for the gate to say which that is."""
    with make.app.app_context():
        with transaction() as session:
            session.execute(text("SELECT id FROM tickets WHERE id = :id FOR NO KEY UPDATE"), {"id": ticket.id})

            def take_back() -> None:
                with make.app.app_context(), transaction():
                    order = locks.lock_order(ticket.order_id)
                    ledger.take_back(order, order.payments[0], channel=make.messages()[0].channel)

            thread = threading.Thread(target=take_back)
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
            check_in.check_in(actor=organizer, ticket_id=ticket.id)
        thread.join(10)
    assert make.tickets()[0].status is TicketStatus.USED


def test_a_used_ticket_counts_as_before_everywhere_else(
    client: FlaskClient, make: Maker, ticket: Ticket, as_organizer: dict[str, str]
) -> None:
    order = make.read_order(ticket.order_id)
    ticket_type = make.read_ticket_type(ticket.ticket_type_id)
    client.patch(f"{IN}/{ticket.id}", headers=as_organizer)
    assert make.read_ticket_type(ticket_type.id).sold == ticket_type.sold == 1
    with make.app.app_context():
        user = db.session.get_one(User, order.buyer_id)
    buyer = make.headers(user)
    assert [one["id"] for one in client.get("/profile/my-upcoming-events", headers=buyer).json] == [order.event_id]
    seen = client.get(f"/profile/my-upcoming-events/{order.event_id}", headers=buyer).json
    assert [one["status"] for one in seen["tickets"]] == ["used"]
    with clock.set_to(clock.ahead(days=30)):
        assert len(client.get("/profile/my-past-events", headers=buyer).json) == 1
        answer = client.post(f"/events/{order.event_id}/reviews", json={"rating": 5}, headers=buyer)
        assert answer.status_code == 201
    refused = client.post(f"/orders/{order.id}/refund", json={}, headers=as_organizer)
    assert (refused.status_code, refused.json["code"]) == (409, "already_used")
