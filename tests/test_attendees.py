"""The attendee list of an event, as its organizer's pages read it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from models import Event, User
from tests.support import Maker
from tests.test_queries import MANY, MOST_STATEMENTS, recorded


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


@pytest.fixture
def event(make: Maker, organizer: User) -> Event:
    """Three attendees: two VIPs of one order, one Regular."""
    event = make.event(organizer)
    akinyi = make.attendee(first_name="Akinyi", last_name="Oduor", email="akinyi@example.com", phone="254712345678")
    make.paid_order(akinyi, make.ticket_type(event, name="VIP"), quantity=2)
    otieno = make.attendee(first_name="Otieno", last_name="O'Brien_100%", email="otieno@example.com")
    make.paid_order(otieno, make.ticket_type(event, name="Regular"))
    make.paid_order()
    return event


def listed(client: FlaskClient, make: Maker, user: User, event: Event, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/organizer/events/{event.id}/attendees", query_string=query, headers=make.headers(user))
    assert (answer.status_code, answer.json.keys()) == (200, {"attendees"})
    return answer.json["attendees"]


def test_the_list_has_what_the_pages_read(client: FlaskClient, make: Maker, organizer: User, event: Event) -> None:
    first, *_ = listed(client, make, organizer, event)
    ticket = make.tickets()[0]
    assert first == {
        "id": ticket.id,
        "ticket_code": ticket.code,
        "attendee_first_name": "Akinyi",
        "attendee_last_name": "Oduor",
        "attendee_email": "akinyi@example.com",
        "attendee_phone": "254712345678",
        "checked_in": False,
        "checked_in_at": None,
        "ticket_type": "VIP",
    }


def test_without_page_it_is_the_whole_event(client: FlaskClient, make: Maker, organizer: User) -> None:
    event = make.event(organizer)
    ticket_type = make.ticket_type(event, price=0, quantity=200)
    for _ in range(15):
        make.order(make.attendee(), ticket_type, quantity=10)
    assert len(listed(client, make, organizer, event)) == 150


def test_with_page_it_is_paged(client: FlaskClient, make: Maker, organizer: User, event: Event) -> None:
    address = f"/organizer/events/{event.id}/attendees?per_page=2"
    headers = make.headers(organizer)
    first = client.get(address + "&page=1&ticket_type=vip", headers=headers)
    assert (len(first.json["attendees"]), first.headers["X-Total-Count"]) == (2, "2")
    first = client.get(address + "&page=1", headers=headers)
    assert (len(first.json["attendees"]), first.headers["X-Total-Count"]) == (2, "3")
    assert 'page=2&per_page=2>; rel="next"' in first.headers["Link"]
    second = client.get(address + "&page=2", headers=headers)
    assert len(second.json["attendees"]) == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "akin"}, ["Akinyi", "Akinyi"]),
        ({"q": "akinyi odu"}, ["Akinyi", "Akinyi"]),
        ({"q": "OTIENO@"}, ["Otieno"]),
        ({"q": "0712 345"}, ["Akinyi", "Akinyi"]),
        ({"q": "+254712"}, ["Akinyi", "Akinyi"]),
        ({"q": "100%"}, ["Otieno"]),
        ({"q": "_100"}, ["Otieno"]),
        ({"q": "'"}, ["Otieno"]),
        ({"q": "%"}, ["Otieno"]),
        ({"q": "nobody"}, []),
        ({"q": ""}, ["Akinyi", "Akinyi", "Otieno"]),
        ({"ticket_type": "vip"}, ["Akinyi", "Akinyi"]),
        ({"ticket_type": "Gold"}, []),
        ({"ticket_type": "VIP", "q": "otieno"}, []),
    ],
)
def test_it_is_filtered(
    client: FlaskClient, make: Maker, organizer: User, event: Event, query: dict[str, str], names: list[str]
) -> None:
    assert [one["attendee_first_name"] for one in listed(client, make, organizer, event, **query)] == names


def test_a_code_is_found_however_it_is_typed(client: FlaskClient, make: Maker, organizer: User, event: Event) -> None:
    code = make.tickets()[1].code
    for typed in (code, code.lower(), code.replace("-", ""), code[:9], code.replace("-", " ")):
        assert [one["ticket_code"] for one in listed(client, make, organizer, event, q=typed)] == [code]


def test_it_tells_who_is_in(client: FlaskClient, make: Maker, organizer: User, event: Event) -> None:
    ticket = make.tickets()[1]
    client.patch(f"/organizer/checkin/{ticket.id}", headers=make.headers(organizer))
    assert [one["checked_in"] for one in listed(client, make, organizer, event)] == [False, True, False]
    for checked_in, count in (("true", 1), ("false", 2)):
        assert len(listed(client, make, organizer, event, checked_in=checked_in)) == count


def test_void_tickets_do_not_appear(client: FlaskClient, make: Maker, organizer: User, event: Event) -> None:
    ticket = make.tickets()[0]
    body, headers = {"tickets": [ticket.id]}, make.headers(organizer)
    assert client.post(f"/orders/{ticket.order_id}/refund", json=body, headers=headers).status_code == 200
    assert ticket.id not in [one["id"] for one in listed(client, make, organizer, event)]


def test_somebody_elses_event_is_404_and_an_admin_sees_every_one(
    client: FlaskClient, make: Maker, event: Event
) -> None:
    address = f"/organizer/events/{event.id}/attendees"
    assert client.get(address, headers=make.headers(make.organizer())).status_code == 404
    assert client.get("/organizer/events/999999/attendees", headers=make.headers(make.organizer())).status_code == 404
    assert len(listed(client, make, make.admin(), event)) == 3


@pytest.mark.parametrize("query", ["page=0", "page=x", "checked_in=7", "per_page=1001", "nobody=1", "q=%00"])
def test_wrong_filters_are_refused(client: FlaskClient, make: Maker, organizer: User, event: Event, query: str) -> None:
    answer = client.get(f"/organizer/events/{event.id}/attendees?{query}", headers=make.headers(organizer))
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")


@pytest.mark.parametrize("page", ["", "?page=1"])
def test_it_costs_as_many_statements_for_twenty_as_for_one(
    client: FlaskClient, make: Maker, organizer: User, page: str
) -> None:
    costs = []
    for count in (1, MANY):
        event = make.event(organizer)
        ticket_type = make.ticket_type(event, price=0, quantity=MANY)
        for _ in range(count):
            make.order(make.attendee(), ticket_type)
        headers = make.headers(organizer)
        with recorded(make) as statements:
            answer = client.get(f"/organizer/events/{event.id}/attendees{page}", headers=headers)
        assert len(answer.json["attendees"]) == count
        costs.append(len(statements))
    assert costs[0] == costs[1] <= MOST_STATEMENTS
