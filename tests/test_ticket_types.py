"""Ticket types: what is on sale, how much of it is left, and what its organizer may change."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from models import Event, TicketType
from tests.support import Maker
from utils import clock

#: As the frontend's form sends it.
NEW = {"type": "VIP", "price": "500", "quantity": "5"}


@pytest.fixture
def event(make: Maker) -> Event:
    return make.event()


@pytest.fixture
def owner(make: Maker, event: Event) -> dict[str, str]:
    return make.headers(event.organizer)


@pytest.fixture
def address(event: Event) -> str:
    return f"/events/{event.id}/tickets"


# ── Adding ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_may_come_as_text(client: FlaskClient, address: str, owner: dict[str, str]) -> None:
    answer = client.post(address, json=NEW, headers=owner)
    assert answer.status_code == 201
    assert answer.json == {
        "id": answer.json["id"],
        "type": "VIP",
        "price": 500,
        "quantity": 5,
        "sold": 0,
        "available": 5,
        "on_sale": True,
        "sales_start": None,
        "sales_end": None,
        "min_per_order": 1,
        "max_per_order": 10,
    }
    assert client.get(address).json == [answer.json]


def test_they_are_listed_cheapest_first(client: FlaskClient, make: Maker, event: Event, address: str) -> None:
    for price in (900, 0, 300):
        make.ticket_type(event, name=f"At {price}", price=price)
    assert [one["price"] for one in client.get(address).json] == [0, 300, 900]


@pytest.mark.parametrize("name", ["vip", "VIP", " Vip "])
def test_a_name_is_unique_in_its_event_whatever_the_case(
    client: FlaskClient, make: Maker, address: str, owner: dict[str, str], name: str
) -> None:
    client.post(address, json=NEW, headers=owner)
    answer = client.post(address, json=NEW | {"type": name}, headers=owner)
    assert (answer.status_code, answer.json["code"]) == (409, "ticket_type_exists")
    assert len(client.get(address).json) == 1
    other = make.event()
    elsewhere = client.post(f"/events/{other.id}/tickets", json=NEW, headers=make.headers(other.organizer))
    assert elsewhere.status_code == 201


@pytest.mark.parametrize(
    "more",
    [
        {"price": 0},
        {"price": "0"},
        {"price": 250_000},
        {"price": 500.0},
        {"quantity": 1},
        {"quantity": 1_000_000},
        {"type": "Early Bird 🐦"},
        {"type": "x" * 60},
        {"min_per_order": "2", "max_per_order": "2"},
        {"sales_start": "", "sales_end": None},
        {"sales_start": "2030-01-01T10:00", "sales_end": "2030-01-01T10:01"},
    ],
)
def test_values_at_their_limits_are_taken(
    client: FlaskClient, address: str, owner: dict[str, str], more: dict[str, Any]
) -> None:
    assert client.post(address, json=NEW | more, headers=owner).status_code == 201


@pytest.mark.parametrize(
    "more",
    [
        {"price": -1},
        {"price": "-1"},
        {"price": 250_001},
        {"price": 99.5},
        {"price": "99.50"},
        {"price": "1e3"},
        {"price": "KES 500"},
        {"price": ""},
        {"price": None},
        {"price": True},
        {"price": [500]},
        {"price": 10**400},
        {"price": "9" * 5000},
        {"quantity": 0},
        {"quantity": -5},
        {"quantity": 1_000_001},
        {"quantity": 1.5},
        {"type": ""},
        {"type": "  "},
        {"type": "x" * 61},
        {"type": 5},
        {"type": "V\x00P"},
        {"min_per_order": 0},
        {"max_per_order": 0},
        {"max_per_order": 1_001},
        {"min_per_order": 3, "max_per_order": 2},
        {"min_per_order": 11},
        {"sales_start": "2030-01-02T10:00", "sales_end": "2030-01-01T10:00"},
        {"sales_start": "2030-01-01T10:00", "sales_end": "2030-01-01T10:00"},
        {"sales_start": "soon"},
        {"sold": 3},
        {"held": 3},
        {"id": 1},
    ],
)
def test_values_out_of_range_are_refused(
    client: FlaskClient, address: str, owner: dict[str, str], more: dict[str, Any]
) -> None:
    answer = client.post(address, json=NEW | more, headers=owner)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert isinstance(answer.json["message"], str)
    assert client.get(address).json == []


@pytest.mark.parametrize("field", NEW)
def test_each_field_is_needed(client: FlaskClient, address: str, owner: dict[str, str], field: str) -> None:
    body = {name: value for name, value in NEW.items() if name != field}
    answer = client.post(address, json=body, headers=owner)
    assert (answer.status_code, answer.json["message"]) == (422, f"{field} is missing.")


def test_only_owner_and_admins_write_them(client: FlaskClient, make: Maker, event: Event, address: str) -> None:
    one = f"{address}/{make.ticket_type(event).id}"
    for headers, status in (
        ({}, 401),
        (make.headers(make.attendee()), 403),
        (make.headers(make.organizer()), 404),
    ):
        assert client.post(address, json=NEW, headers=headers).status_code == status
        assert client.patch(one, json={"price": 1}, headers=headers).status_code == status
        assert client.delete(one, headers=headers).status_code == status
    as_admin = make.headers(make.admin())
    assert client.post(address, json=NEW, headers=as_admin).status_code == 201
    assert client.patch(one, json={"price": 1}, headers=as_admin).status_code == 200
    assert client.delete(one, headers=as_admin).status_code == 200


def test_a_ticket_type_is_reached_through_its_own_event_only(client: FlaskClient, make: Maker, event: Event) -> None:
    mine, theirs = make.event(event.organizer), make.ticket_type(event)
    headers = make.headers(event.organizer)
    address = f"/events/{mine.id}/tickets/{theirs.id}"
    assert client.patch(address, json={"price": 1}, headers=headers).status_code == 404
    assert client.delete(address, headers=headers).status_code == 404


# ── Changing ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def regular(make: Maker, event: Event) -> TicketType:
    """Ten places at 500."""
    return make.ticket_type(event)


def patch(client: FlaskClient, headers: dict[str, str], one: TicketType, **changes: Any) -> Any:
    return client.patch(f"/events/{one.event_id}/tickets/{one.id}", json=changes, headers=headers)


@pytest.mark.parametrize(
    ("field", "sent", "shown"),
    [
        ("type", "Last Call", "Last Call"),
        ("price", "750", 750),
        ("quantity", "12", 12),
        ("sales_start", "2030-01-01T10:00", "2030-01-01T10:00:00+03:00"),
        ("sales_end", "2030-01-01T10:00Z", "2030-01-01T13:00:00+03:00"),
        ("min_per_order", 2, 2),
        ("max_per_order", 20, 20),
    ],
)
def test_each_field_can_be_changed(
    client: FlaskClient, owner: dict[str, str], regular: TicketType, field: str, sent: Any, shown: Any
) -> None:
    before = client.get(f"/events/{regular.event_id}/tickets").json[0]
    answer = patch(client, owner, regular, **{field: sent})
    assert answer.status_code == 200
    after = before | {field: shown, "available": answer.json["available"], "on_sale": answer.json["on_sale"]}
    assert answer.json == after
    assert client.get(f"/events/{regular.event_id}/tickets").json == [after]


@pytest.mark.parametrize(
    "change",
    [
        {"price": -1},
        {"quantity": -1},
        {"min_per_order": 11},
        {"max_per_order": 0},
        {"type": ""},
        {"sales_start": "2030-01-02T00:00", "sales_end": "2030-01-01T00:00"},
        {"event_id": 1},
    ],
)
def test_a_change_out_of_range_changes_nothing(
    client: FlaskClient, owner: dict[str, str], regular: TicketType, change: dict[str, Any]
) -> None:
    before = client.get(f"/events/{regular.event_id}/tickets").json
    assert patch(client, owner, regular, **change).status_code == 422
    assert client.get(f"/events/{regular.event_id}/tickets").json == before


def test_a_name_cannot_be_changed_into_a_taken_one(
    client: FlaskClient, make: Maker, event: Event, owner: dict[str, str], regular: TicketType
) -> None:
    make.ticket_type(event, name="VIP")
    assert patch(client, owner, regular, type="vip").json["code"] == "ticket_type_exists"
    assert patch(client, owner, regular, type="REGULAR").status_code == 200


def test_a_sales_period_can_be_lifted_again(client: FlaskClient, owner: dict[str, str], regular: TicketType) -> None:
    patch(client, owner, regular, sales_start="2030-01-01T10:00", sales_end="2030-01-02T10:00")
    assert patch(client, owner, regular, sales_start=None, sales_end="").json["sales_start"] is None
    assert client.get(f"/events/{regular.event_id}/tickets").json[0]["sales_end"] is None


def test_the_quantity_is_never_less_than_sold_and_held(
    client: FlaskClient, make: Maker, owner: dict[str, str], regular: TicketType
) -> None:
    make.paid_order(make.attendee(), regular, quantity=2)
    make.order(make.attendee(), regular, quantity=3)
    answer = patch(client, owner, regular, quantity=4)
    assert (answer.status_code, answer.json["code"]) == (409, "quantity_too_low")
    assert answer.json["message"] == "5 tickets are sold or held: the quantity cannot be less."
    assert patch(client, owner, regular, quantity=5).json["available"] == 0


def test_holds_that_have_ended_do_not_keep_the_quantity_up(
    client: FlaskClient, make: Maker, owner: dict[str, str], regular: TicketType
) -> None:
    make.paid_order(make.attendee(), regular, quantity=2)
    make.order(make.attendee(), regular, quantity=3)
    with clock.set_to(clock.ahead(hours=1)):
        assert patch(client, owner, regular, quantity=1).status_code == 409
        answer = patch(client, owner, regular, quantity=2)
    assert (answer.status_code, answer.json["available"], answer.json["sold"]) == (200, 0, 2)


def test_a_new_price_is_for_new_orders(
    client: FlaskClient, make: Maker, owner: dict[str, str], regular: TicketType
) -> None:
    order, _ = make.order(make.attendee(), regular, quantity=2)
    patch(client, owner, regular, price=9_000)
    assert make.read_order(order.id).total_kes == 1000


def test_a_ticket_type_nobody_ordered_can_be_deleted(
    client: FlaskClient, owner: dict[str, str], address: str, regular: TicketType
) -> None:
    answer = client.delete(f"{address}/{regular.id}", headers=owner)
    assert (answer.status_code, answer.json) == (200, {"message": "The ticket type has been deleted."})
    assert client.get(address).json == []
    assert client.delete(f"{address}/{regular.id}", headers=owner).status_code == 404


@pytest.mark.parametrize("is_paid", [True, False], ids=["paid", "cancelled"])
def test_a_ticket_type_with_any_order_cannot_be_deleted(
    client: FlaskClient, make: Maker, owner: dict[str, str], address: str, regular: TicketType, is_paid: bool
) -> None:
    buyer = make.attendee()
    if is_paid:
        make.paid_order(buyer, regular)
    else:
        order, _ = make.order(buyer, regular)
        client.delete(f"/orders/{order.id}", headers=make.headers(buyer))
    answer = client.delete(f"{address}/{regular.id}", headers=owner)
    assert (answer.status_code, answer.json["code"]) == (409, "ticket_type_has_orders")
