"""Reviews: by those who held a ticket, once, after the start."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from models import TicketType, User
from tests.support import Maker
from utils import clock

ADDRESSES = ["/events/{}/review", "/events/{}/reviews"]
REVIEW = {"rating": 5, "comment": "Asante sana!"}


@pytest.fixture
def ticket_type(make: Maker) -> TicketType:
    """Of an event that starts tomorrow."""
    return make.ticket_type(make.event(starts_at=clock.ahead(days=1)))


@pytest.fixture
def holder(make: Maker, ticket_type: TicketType) -> User:
    user = make.attendee()
    make.paid_order(user, ticket_type)
    return user


@pytest.fixture
def started(ticket_type: TicketType, holder: User) -> Any:
    """Everything in the test happens an hour after the event's start."""
    with clock.set_to(clock.ahead(days=1, hours=1)):
        yield ticket_type.event_id


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_ticket_holder_reviews_at_both_addresses(
    client: FlaskClient, make: Maker, holder: User, started: int, address: str
) -> None:
    answer = client.post(address.format(started), json=REVIEW, headers=make.headers(holder))
    assert answer.status_code == 201
    assert answer.json == {
        "id": answer.json["id"],
        "rating": 5,
        "comment": "Asante sana!",
        "created_at": clock.to_nairobi(clock.now()),
        "attendee": {"id": holder.id, "first_name": holder.first_name, "last_name": holder.last_name},
    }
    for everywhere in ADDRESSES:
        assert client.get(everywhere.format(started)).json == [answer.json]


def test_newest_reviews_come_first(client: FlaskClient, make: Maker, ticket_type: TicketType, holder: User) -> None:
    other = make.attendee()
    make.paid_order(other, ticket_type)
    with clock.set_to(clock.ahead(days=1, hours=1)):
        for user, rating in ((holder, 4), (other, 2)):
            address = f"/events/{ticket_type.event_id}/review"
            client.post(address, json={"rating": rating}, headers=make.headers(user))
        listed = client.get(f"/events/{ticket_type.event_id}/reviews")
    assert [review["rating"] for review in listed.json] == [2, 4]
    assert listed.headers["X-Total-Count"] == "2"


@pytest.mark.parametrize("body", [{"rating": 1}, {"rating": "3"}, {"rating": 4, "comment": ""}, {"rating": 5.0}])
def test_a_comment_is_not_needed(
    client: FlaskClient, make: Maker, holder: User, started: int, body: dict[str, Any]
) -> None:
    answer = client.post(f"/events/{started}/review", json=body, headers=make.headers(holder))
    assert (answer.status_code, answer.json["comment"]) == (201, None)


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"rating": 0}, {"rating": 6}, {"rating": 999}, {"rating": -1}, {"rating": 4.5}, {"rating": True}),
        *({"rating": None}, {"rating": "five"}, {"rating": 5, "comment": "x" * 2001}, {"rating": 5, "comment": 5}),
        *({"rating": 5, "attendee_id": 1}, {"rating": 5, "comment": "a\x00b"}, []),
    ],
)
def test_a_rating_is_one_to_five(client: FlaskClient, make: Maker, holder: User, started: int, body: object) -> None:
    answer = client.post(f"/events/{started}/review", json=body, headers=make.headers(holder))
    assert answer.status_code == 422
    assert client.get(f"/events/{started}/reviews").json == []


def test_only_people_with_a_ticket_review(
    client: FlaskClient, make: Maker, ticket_type: TicketType, started: int
) -> None:
    with_unpaid_order = make.attendee()
    with clock.set_to(clock.ago(hours=2)):
        make.order(with_unpaid_order, ticket_type)
    address = f"/events/{started}/review"
    assert client.post(address, json=REVIEW).status_code == 401
    for user in (make.attendee(), with_unpaid_order, make.organizer(), make.admin()):
        answer = client.post(address, json=REVIEW, headers=make.headers(user))
        assert (answer.status_code, answer.json["code"]) == (403, "no_ticket")


def test_nobody_reviews_before_the_start(
    client: FlaskClient, make: Maker, ticket_type: TicketType, holder: User
) -> None:
    answer = client.post(f"/events/{ticket_type.event_id}/review", json=REVIEW, headers=make.headers(holder))
    assert (answer.status_code, answer.json["code"]) == (409, "event_not_started")


def test_an_event_one_may_not_see_cannot_be_reviewed(client: FlaskClient, make: Maker, started: int) -> None:
    with clock.set_to(clock.ago(hours=2)):
        decision = {"status": "rejected"}
        client.patch(f"/admin/{started}", json=decision, headers=make.headers(make.admin()))
    headers = make.headers(make.attendee())
    assert client.post(f"/events/{started}/review", json=REVIEW, headers=headers).status_code == 404
    assert client.post("/events/4711/review", json=REVIEW, headers=headers).status_code == 404


def test_a_second_review_is_refused_at_either_address(
    client: FlaskClient, make: Maker, holder: User, started: int
) -> None:
    headers = make.headers(holder)
    client.post(f"/events/{started}/review", json=REVIEW, headers=headers)
    for address in ADDRESSES:
        answer = client.post(address.format(started), json={"rating": 1}, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (409, "already_reviewed")
    assert [review["rating"] for review in client.get(f"/events/{started}/reviews").json] == [5]


@pytest.mark.parametrize("round_", range(3))
def test_two_reviews_at_once_make_one(
    client: FlaskClient, make: Maker, holder: User, ticket_type: TicketType, round_: int
) -> None:
    headers, gate = make.headers(holder), threading.Barrier(2)
    moment = clock.ahead(days=1, hours=1)
    statuses: list[int] = []

    def write() -> None:
        # Each thread has a clock of its own.
        with clock.set_to(moment):
            gate.wait(timeout=10)
            address = f"/events/{ticket_type.event_id}/review"
            statuses.append(make.app.test_client().post(address, json=REVIEW, headers=headers).status_code)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409]
    assert len(client.get(f"/events/{ticket_type.event_id}/reviews").json) == 1
