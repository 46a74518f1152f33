"""Every change anybody makes has its line in the audit log, in the change's own transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from models import AuditLog, EventStatus, Order, OrderStatus
from services import booking, events
from services.booking import Line
from tasks import expire_orders
from tests.support import Maker, failure
from tests.test_access import CALLERS, TABLE, the_world
from utils import clock

#: Addresses that are posted to and leave no line, and why.
WITHOUT_A_LINE = {
    ("POST", "/refresh"): "changes nothing but until when a session lasts",
    ("DELETE", "/events/<id:event_id>/save"): "nothing was saved",
    ("POST", "/events/<id:event_id>/attendees/export-link"): "changes nothing: the download it allows has its line",
    ("PATCH", "/organizer/checkout/<id:ticket_id>"): "nobody was in",
    ("POST", "/checkin/scans"): "kept among the scans, which say who made them",
    ("POST", "/checkin/scans/<id:scan_id>/undo"): "the same",
    ("POST", "/api/payment/callback/<secret:token>"): "kept in the inbox, to the letter",
    ("POST", "/api/payment/callback"): "changes nothing: it only makes us ask M-PESA",
    ("POST", "/payments/callback"): "the same",
    ("POST", "/api/payment/result/<secret:result_token>"): "kept in the inbox",
    ("POST", "/api/payment/timeout/<secret:result_token>"): "kept in the inbox",
    ("POST", "/api/payment/c2b/<secret:secret>/validation"): "changes nothing: it is a question",
    ("POST", "/api/payment/c2b/<secret:secret>/confirmation"): "kept in the inbox",
}
#: Whoever has the address of a ticket's page acts for its holder, whoever that is.
BY_ADDRESS = {("POST", "/t/<signed:ticket_address>/manage")}
#: Those that somebody may make in the table's world; one's own review is none of them.
_BY = ("attendee", "organizer", "admin", "nobody")
CHANGES = [
    one
    for one, answers in TABLE.items()
    if one[0] != "GET" and any(answers[CALLERS.index(caller)] < 300 for caller in _BY)
]


def actions(make: Maker) -> list[str]:
    return [line.action for line in make.rows(AuditLog)]


@pytest.mark.parametrize(("method", "address"), CHANGES)
def test_every_change_leaves_a_line_that_says_who_made_it(
    client: FlaskClient, make: Maker, method: str, address: str
) -> None:
    answers = dict(zip(CALLERS, TABLE[method, address], strict=True))
    caller = next(one for one in _BY if answers[one] < 300)
    world = the_world(make)
    before = max(line.id for line in make.rows(AuditLog))
    assert world.call(client, caller, method, address).status_code == answers[caller]
    lines = [line for line in make.rows(AuditLog) if line.id > before]
    if (method, address) in WITHOUT_A_LINE:
        assert lines == []
        return
    user = world.callers[caller]
    by = {line.user_id for line in lines}
    assert by
    if (method, address) in BY_ADDRESS:
        assert by == {None}
        return
    # Who signs up is somebody only by then.
    assert (user.id in by) if user and address != "/signup" else (None not in by)
    assert {line.ip_address for line in lines} == {"127.0.0.1"}


def test_a_change_that_is_refused_leaves_no_line(client: FlaskClient, make: Maker) -> None:
    admin, event = make.admin(), make.event(status=EventStatus.CANCELLED)
    before = len(actions(make))
    for method, path, body in (
        ("PATCH", f"/admin/{event.id}", {"status": "approved"}),
        ("PATCH", f"/admin/users/{admin.id}/role", {"role": "attendee"}),
        ("PUT", "/profile/me", {"email": "no address"}),
    ):
        assert client.open(path, method=method, json=body, headers=make.headers(admin)).status_code >= 400
    assert len(actions(make)) == before


def test_each_order_that_expires_has_a_line_of_ticksys_own(make: Maker) -> None:
    ticket_type = make.on_sale()
    with clock.set_to(clock.ago(hours=1)):
        orders = [make.order(make.attendee(), ticket_type)[0] for _ in range(3)]
    with make.app.app_context():
        assert expire_orders() == 3
    lines = [line for line in make.rows(AuditLog) if line.action == "order_expired"]
    assert {line.target_id for line in lines} == {order.id for order in orders}
    assert {(line.user_id, line.target_type) for line in lines} == {(None, "order")}


def test_each_order_that_ends_with_its_event_has_a_line(make: Maker) -> None:
    organizer = make.organizer()
    ticket_type = make.ticket_type(make.event(organizer))
    orders = [make.order(make.attendee(), ticket_type)[0] for _ in range(2)]
    with make.app.app_context():
        events.cancel_event(actor=organizer, event_id=ticket_type.event_id)
    lines = [line for line in make.rows(AuditLog) if line.action == "order_cancelled"]
    assert {line.target_id for line in lines} == {order.id for order in orders}
    assert {line.user_id for line in lines} == {organizer.id}
    assert {order.status for order in make.rows(Order)} == {OrderStatus.CANCELLED}


def test_other_names_for_an_open_order_leave_a_line_and_the_same_names_none(make: Maker) -> None:
    buyer, ticket_type = make.attendee(), make.on_sale()

    def order(first_name: str) -> None:
        line = Line(ticket_type.id, 1, [{"first_name": first_name}])
        with make.app.app_context():
            booking.place_order(actor=buyer, phone=buyer.phone, lines=[line])

    order("Wanjiru")
    order("Wanjiru")
    assert "order_attendees_changed" not in actions(make)
    order("Akinyi")
    assert actions(make).count("order_attendees_changed") == 1
    assert len(make.rows(Order)) == 1


def test_a_further_prompt_leaves_a_line_with_its_payment(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    with clock.set_to(clock.now() - timedelta(minutes=3)):
        order, token = make.order(buyer)
    make.deliver(token, failure())
    assert client.post(f"/orders/{order.id}/pay", headers=make.headers(buyer)).status_code == 200
    [line] = [line for line in make.rows(AuditLog) if line.action == "order_prompted_again"]
    assert line.details == {"payment": make.payments(order.id)[-1].id}
    assert (line.user_id, line.target_id) == (buyer.id, order.id)
