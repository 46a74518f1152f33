"""What a GET costs: as many statements for twenty rows as for one, and never a write."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_origin

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event

from models import EventStatus, NotificationKind, Ticket, TicketType, User
from resources import URLS
from schemas.common import Nothing, Page
from services import (
    alerts,
    booking,
    claims,
    consents,
    gate_passes,
    notifications,
    possession,
    preferences,
    reviews,
    saved_events,
    transfers,
)
from services.booking import Line
from services.notifications import Message
from tests.pictures import picture, upload
from tests.support import Maker, changed_settings, failure, mailed_secret, new_receipt, open_session, success
from tests.test_access import MAILED
from utils import clock, ticket_address
from utils.database import db, transaction

MOST_STATEMENTS = 8
MANY = 20

#: Every address that answers to GET, with what it declares about it.
GETS = {
    address: resource.get.endpoint  # type: ignore[attr-defined]
    for resource, addresses in URLS
    for address in addresses
    if hasattr(resource, "get")
}
#: Those that are paged. The others have as many rows as they are asked for.
LISTS = [
    address
    for address, endpoint in GETS.items()
    if get_origin(endpoint.returns) is list and issubclass(endpoint.query or Nothing, Page)
]


@contextmanager
def recorded(make: Maker) -> Iterator[list[str]]:
    """SQL that this thread sends within the block."""
    statements: list[str] = []
    me = threading.get_ident()

    def record(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if threading.get_ident() == me:
            statements.append(statement)

    with make.app.app_context():
        engine = db.engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sqlalchemy_event.remove(engine, "before_cursor_execute", record)


# ── As many for twenty as for one ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Scene:
    """Who asks for what."""

    user: User
    path: str


def published(make: Maker, status: EventStatus, count: int, organizer: User | None = None) -> None:
    for _ in range(count):
        event = make.event(organizer, status=status)
        make.ticket_type(event, name="VIP", price=900)
        if status is EventStatus.APPROVED:
            guest = make.attendee()
            make.paid_order(guest, make.ticket_type(event))
            with make.app.app_context(), clock.set_to(event.starts_at):
                reviews.write_review(actor=guest, event_id=event.id, rating=4, comment=None)


def my_events(make: Maker, count: int) -> Scene:
    organizer = make.organizer()
    published(make, EventStatus.APPROVED, count, organizer)
    return Scene(organizer, "/my-events")


def catalogue(make: Maker, count: int) -> Scene:
    published(make, EventStatus.APPROVED, count)
    return Scene(make.attendee(), "/events")


def pending(make: Maker, count: int) -> Scene:
    published(make, EventStatus.PENDING, count)
    return Scene(make.admin(), "/admin/pending")


def types_of_event(make: Maker, count: int) -> Scene:
    event = make.event()
    for number in range(count):
        make.paid_order(make.attendee(), make.ticket_type(event, name=f"Block {number}"))
    return Scene(make.attendee(), f"/events/{event.id}/tickets")


def reviews_of_event(make: Maker, count: int) -> Scene:
    event = make.event()
    ticket_type = make.ticket_type(event, quantity=count)
    for _ in range(count):
        attendee = make.attendee()
        make.paid_order(attendee, ticket_type)
        with make.app.app_context(), clock.set_to(event.ends_at):
            reviews.write_review(actor=attendee, event_id=event.id, rating=5, comment="Poa")
    return Scene(make.attendee(), f"/events/{event.id}/reviews")


_phones = itertools.count(254_110_000_000)


def buy(make: Maker, buyer: User, ticket_type: TicketType) -> None:
    """Pay for one ticket at the second try, from a phone nobody has used: each takes only so many prompts an hour."""
    order, token = make.order(buyer, ticket_type, phone=str(next(_phones)))
    make.deliver(token, failure())
    with make.app.app_context(), clock.set_to(clock.ahead(seconds=121)):
        prompt = booking.place_order(actor=buyer, phone=order.phone, lines=[Line(ticket_type.id, 1)]).prompt
    assert prompt is not None
    make.deliver(prompt.token, success(order.total_kes, new_receipt()))


def my_orders(make: Maker, count: int) -> Scene:
    buyer = make.attendee()
    for _ in range(count):
        buy(make, buyer, make.on_sale())
    return Scene(buyer, "/orders")


def all_orders(make: Maker, count: int) -> Scene:
    for _ in range(count):
        make.paid_order()
    return Scene(make.admin(), "/admin/orders")


def all_payments(make: Maker, count: int) -> Scene:
    return Scene(all_orders(make, count).user, "/admin/payments")


def suspense(make: Maker, count: int) -> Scene:
    for _ in range(count):
        make.suspense()
    return Scene(make.admin(), "/admin/suspense")


def all_refunds(make: Maker, count: int) -> Scene:
    for _ in range(count):
        make.failed_refund()
    return Scene(make.admin(), "/admin/refunds")


def all_claims(make: Maker, count: int) -> Scene:
    for _ in range(count):
        buyer = make.attendee()
        order, _token = make.order(buyer)
        with make.app.app_context():
            claims.claim_payment(actor=buyer, order_id=order.id, receipt=new_receipt())
    return Scene(make.admin(), "/admin/claims")


def all_alerts(make: Maker, count: int) -> Scene:
    with make.app.app_context(), transaction():
        for _ in range(count):
            alerts.raise_alert("claim_open", "A buyer says that an order is paid.")
    return Scene(make.admin(), "/admin/alerts")


def all_notifications(make: Maker, count: int) -> Scene:
    reader = make.attendee()
    with make.app.app_context(), changed_settings(make.app, MAIL_URL="smtp://127.0.0.1"), transaction():
        messages = [Message(reader, f"order {number}", {}) for number in range(count)]
        notifications.queue(NotificationKind.ORDER_PAID, messages)
    return Scene(make.admin(), "/admin/notifications")


def users(make: Maker, count: int) -> Scene:
    for _ in range(count):
        make.organizer()
    return Scene(make.admin(), "/admin/users?role=organizer")


def log_lines(make: Maker, count: int) -> Scene:
    published(make, EventStatus.PENDING, count)
    return Scene(make.admin(), "/admin/logs?action=event_created")


def own_consents(make: Maker, count: int) -> Scene:
    user = make.attendee()
    with make.app.app_context(), transaction():
        for _ in range(count - 1):  # one was given by signing up
            consents.record(user, "event_reminder", is_given=True)
    return Scene(user, "/profile/me/consents")


def my_tickets(make: Maker, count: int) -> Scene:
    return Scene(my_orders(make, count).user, "/my-tickets")


def upcoming(make: Maker, count: int) -> Scene:
    return Scene(my_orders(make, count).user, "/profile/my-upcoming-events")


def saved(make: Maker, count: int) -> Scene:
    user = make.attendee()
    for _ in range(count):
        event = make.event()
        with make.app.app_context():
            saved_events.save_event(actor=user, event_id=event.id)
    return Scene(user, "/my-saved-events")


def past(make: Maker, count: int) -> Scene:
    with clock.set_to(clock.ago(days=30)):
        return Scene(my_orders(make, count).user, "/profile/my-past-events")


def organizer_stats(make: Maker, count: int) -> Scene:
    return Scene(my_events(make, count).user, "/organizer/stats")


def gate_passes_of_event(make: Maker, count: int) -> Scene:
    organizer = make.organizer()
    event = make.event(organizer)
    for _ in range(count):
        with make.app.app_context():
            gate_passes.make_pass(actor=organizer, event_id=event.id, name="Juma", gates=[], expires_at=None)
    return Scene(organizer, f"/organizer/events/{event.id}/gate-passes")


def transfers_of_event(make: Maker, count: int) -> Scene:
    organizer = make.organizer()
    ticket_type = make.ticket_type(make.event(organizer), quantity=count)
    for _ in range(count):
        buyer = make.attendee()
        [ticket] = make.paid_order(buyer, ticket_type).tickets
        offer(make, buyer, ticket)
    return Scene(organizer, f"/organizer/events/{ticket_type.event_id}/transfers")


def my_sessions(make: Maker, count: int) -> Scene:
    user = make.attendee()
    with make.app.app_context():
        for _ in range(count - 1):  # besides the one that asks
            open_session(user)
    return Scene(user, "/profile/me/sessions")


SCENES: dict[str, Callable[[Maker, int], Scene]] = {
    "/events": catalogue,
    "/my-events": my_events,
    "/events/<id:event_id>/tickets": types_of_event,
    "/events/<id:event_id>/reviews": reviews_of_event,
    "/events/<id:event_id>/review": reviews_of_event,
    "/orders": my_orders,
    "/my-tickets": my_tickets,
    "/my-saved-events": saved,
    "/profile/me/sessions": my_sessions,
    "/profile/my-upcoming-events": upcoming,
    "/attendee/upcoming-events": upcoming,
    "/attendee/past-events": past,
    "/profile/my-past-events": past,
    "/profile/me/consents": own_consents,
    "/organizer/stats": organizer_stats,
    "/organizer/events/<id:event_id>/transfers": transfers_of_event,
    "/organizer/events/<id:event_id>/gate-passes": gate_passes_of_event,
    "/admin/pending": pending,
    "/admin/users": users,
    "/admin/logs": log_lines,
    "/admin/orders": all_orders,
    "/admin/payments": all_payments,
    "/admin/suspense": suspense,
    "/admin/refunds": all_refunds,
    "/admin/claims": all_claims,
    "/admin/alerts": all_alerts,
    "/admin/notifications": all_notifications,
}


@pytest.mark.parametrize("address", LISTS)
def test_a_list_costs_as_many_statements_for_twenty_rows_as_for_one(
    client: FlaskClient, make: Maker, address: str
) -> None:
    # A list without a scene: please give it one.
    scene = SCENES[address]
    one = cost(client, make, scene(make, 1), rows=1)
    # On top of the row that is there already, where the list is everybody's.
    is_everybodys = scene in (catalogue, pending) or address.startswith("/admin/")
    many = cost(client, make, scene(make, MANY), rows=MANY + (1 if is_everybodys else 0))
    assert len(many) == len(one), "\n\n".join(many)
    assert len(many) <= MOST_STATEMENTS


def cost(client: FlaskClient, make: Maker, scene: Scene, *, rows: int) -> list[str]:
    headers = make.headers(scene.user)
    with recorded(make) as statements:
        answer = client.get(scene.path, headers=headers)
    assert (answer.status_code, len(answer.json)) == (200, rows)
    assert statements
    return statements


def test_an_event_costs_as_much_with_twenty_ticket_types_as_with_one(client: FlaskClient, make: Maker) -> None:
    costs = []
    for count in (1, MANY):
        path = types_of_event(make, count).path.removesuffix("/tickets")
        with recorded(make) as statements:
            assert len(client.get(path).json["tickets"]) == count
        costs.append(len(statements))
    assert costs[0] == costs[1] <= MOST_STATEMENTS


@pytest.mark.parametrize("address", ["/orders/{order}", "/profile/my-upcoming-events/{event}"])
def test_an_order_costs_as_much_with_ten_tickets_as_with_one(client: FlaskClient, make: Maker, address: str) -> None:
    costs = []
    for count in (1, 10):
        buyer = make.attendee()
        order = make.paid_order(buyer, quantity=count)
        headers = make.headers(buyer)
        with recorded(make) as statements:
            answer = client.get(address.format(order=order.id, event=order.event_id), headers=headers)
        assert len(answer.json["tickets"]) == count
        costs.append(len(statements))
    assert costs[0] == costs[1] <= MOST_STATEMENTS


def test_many_orders_for_an_event_cost_as_much_as_one(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    ticket_type = make.on_sale(quantity=MANY)
    headers, costs = make.headers(buyer), []
    for count in (1, 9):
        for _ in range(count):
            buy(make, buyer, ticket_type)
        with recorded(make) as statements:
            client.get(f"/profile/my-upcoming-events/{ticket_type.event_id}", headers=headers)
        costs.append(len(statements))
    assert costs[0] == costs[1] <= MOST_STATEMENTS


# ── A GET never writes ────────────────────────────────────────────────────────────────────────────────────────────

WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|COPY|LOCK|FOR\s+(NO\s+KEY\s+)?(UPDATE|SHARE))\b", re.I)


def unsubscribe_token(make: Maker, user: User) -> str:
    with make.app.app_context():
        url = preferences.unsubscribe_url(user_id=user.id, kind=NotificationKind.EVENT_REMINDER)
    return url.rsplit("/", 1)[1]


def offer(make: Maker, holder: User, ticket: Ticket) -> str:
    """The secret part of the address that accepts the ticket."""
    with make.app.app_context(), changed_settings(make.app, MAIL_URL="smtp://127.0.0.1:9"):
        own = possession.by_login(holder, ticket.code)
        transfer = transfers.offer(own, email="kamau@example.co.ke", phone=None)
        return ticket_address.make_offer(transfer.id)


@pytest.fixture
def open_and_over(client: FlaskClient, make: Maker) -> dict[str, Any]:
    """What stands for each part of an address: an admin's tickets for an event that is over and one that is not,
    and an order whose hold has ended."""
    admin = make.admin()
    event = make.event(admin)
    ticket_type: TicketType = make.ticket_type(event)
    form = {"image": upload(picture())}
    headers = make.headers(admin)
    url = client.put(f"/events/{event.id}", data=form, headers=headers).json["image_url"]
    client.patch(f"/admin/{event.id}", json={"status": "approved"}, headers=headers)
    with clock.set_to(clock.ago(days=30)):
        over = make.paid_order(admin).event_id
    with clock.set_to(clock.ago(hours=1)):
        unpaid, _ = make.order(admin, ticket_type, quantity=2)
    paid = make.paid_order(admin, ticket_type)
    # The first time that a ticket of an event is shown, the key is made that it is signed with.
    links = client.get(f"/tickets/{paid.tickets[0].code}", headers=headers).json["links"]
    return {
        "headers": headers,
        "event_id": event.id,
        "over": over,
        "ticket_type_id": ticket_type.id,
        "order_id": unpaid.id,
        "paid": paid.id,
        "ticket_code": paid.tickets[0].code,
        "ticket_address": links["page"].rsplit("/", 1)[1],
        "poll_id": unpaid.poll_id,
        "payment_id": unpaid.payments[0].id,
        "user_id": admin.id,
        "offer_address": offer(make, admin, paid.tickets[0]),
        "name": url.rsplit("/", 1)[1].removesuffix(".webp"),
        "asset": "start.js",
        "choice": unsubscribe_token(make, admin),
        "address": client.get("/profile/me/calendar", headers=headers).json["url"].rsplit("/", 1)[1][: -len(".ics")],
        "token": re.sub(
            r".*/|\?.*", "", client.post(f"/events/{event.id}/attendees/export-link", headers=headers).json["url"]
        ),
    }


@pytest.mark.parametrize("address", GETS)
def test_a_get_never_writes(client: FlaskClient, make: Maker, open_and_over: dict[str, Any], address: str) -> None:
    values = open_and_over | ({"event_id": open_and_over["over"]} if "past" in address else {})
    if purpose := MAILED.get(address.rpartition("/")[0]):
        values["mailed"] = mailed_secret(make.app, make.attendee(), purpose)
    values |= {"order_id": open_and_over["paid"]} if "tickets.pdf" in address else {}
    values |= {"asset": "page.js"} if address.startswith("/gate/") else {}
    path = re.sub(r"<\w+:(\w+)>", lambda part: str(values[part[1]]), address)
    query = {"code": values["ticket_code"]} if address == "/tickets/check" else {}
    query |= {"event_id": values["event_id"]} if address == "/checkin/manifest" else {}
    with recorded(make) as statements:
        answer = client.get(path, headers=values["headers"], query_string=query, buffered=True)
    assert answer.status_code == 200, answer.text
    writes = [statement for statement in statements if WRITES.search(statement)]
    if "/export" in address:  # who took data of people away is written down
        assert len(writes) == 1
        assert writes.pop().startswith("INSERT INTO audit_log")
    assert writes == []
