"""The whole way over HTTP: from sign-up to a ticket paid by M-PESA."""

from __future__ import annotations

from flask.testing import FlaskClient

from models import OrderStatus
from tests.support import (
    Maker,
    cart,
)
from tests.waiting import wait_until

PAYS = "254700000000"


def test_from_sign_up_to_a_ticket_paid_by_mpesa(client: FlaskClient, make: Maker) -> None:
    organizer = client.post(
        "/signup",
        json={
            "first_name": "Wanjiru",
            "last_name": "Kamau",
            "email": "wanjiru@example.co.ke",
            "phone": "0711 200 200",
            "password": "chai-ya-tangawizi",
            "role": "organizer",
        },
    )
    assert organizer.status_code == 201
    as_organizer = {"Authorization": f"Bearer {organizer.json['access_token']}"}

    event = client.post(
        "/events",
        data={
            "title": "Nairobi Jazz Night",
            "description": "Six bands.",
            "location": "Alchemist",
            "start_time": "2030-01-01T18:00",
            "end_time": "2030-01-01T23:00",
            "category": "Music",
            "tags": "",
        },
        headers=as_organizer,
    )
    assert event.status_code == 201
    event_id = event.json["id"]
    assert client.get("/events").json == []

    as_admin = make.headers(make.admin())
    assert [one["id"] for one in client.get("/admin/pending", headers=as_admin).json] == [event_id]
    assert client.patch(f"/admin/{event_id}", json={"status": "approved"}, headers=as_admin).status_code == 200
    assert [one["id"] for one in client.get("/events").json] == [event_id]

    ticket_type = client.post(
        f"/events/{event_id}/tickets", json={"type": "VIP", "price": "1500", "quantity": "5"}, headers=as_organizer
    )
    assert ticket_type.status_code == 201

    attendee = make.attendee(first_name="Otieno", last_name="Ochieng")
    as_attendee = make.headers(attendee)
    one = make.read_ticket_type(ticket_type.json["id"])
    order = client.post("/orders", json=cart((one, 2), phone=PAYS), headers=as_attendee)
    assert order.status_code == 201
    assert order.json["order"]["status"] == "pending"
    assert order.json["order"]["total_amount"] == 3000
    assert client.get(f"/events/{event_id}/tickets").json[0]["available"] == 3

    poll = f"/payments/check/{order.json['checkoutRequestID']}"
    wait_until(lambda: client.get(poll).json["data"].get("ResultCode") == "0")

    paid = client.get(f"/orders/{order.json['orderId']}", headers=as_attendee).json
    assert paid["status"] == "paid"
    assert len(paid["mpesa_receipt"]) == 10
    codes = {ticket["ticket_code"] for ticket in client.get("/my-tickets", headers=as_attendee).json}
    assert len(codes) == 2
    assert codes == {ticket["ticket_code"] for ticket in paid["tickets"]}
    assert {ticket["attendee_first_name"] for ticket in paid["tickets"]} == {"Otieno"}
    assert make.status(order.json["orderId"]) is OrderStatus.PAID
    row = make.read_ticket_type(one.id)
    assert (row.sold, row.held) == (2, 0)
