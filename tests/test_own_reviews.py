"""One's own review: changed, taken back; and what all of them come to on their event."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from models import AuditLog, Event, Review, Ticket, TicketStatus, TicketType, User
from tests.support import Maker
from utils import clock
from utils.database import transaction

ADDRESSES = ["/events/{}/review", "/events/{}/reviews"]


@pytest.fixture
def ticket_type(make: Maker) -> TicketType:
    """Of an event that starts in an hour."""
    return make.ticket_type(make.event(starts_at=clock.ahead(hours=1)))


@pytest.fixture
def holder(make: Maker, ticket_type: TicketType) -> User:
    user = make.attendee()
    make.paid_order(user, ticket_type)
    return user


@pytest.fixture
def written(client: FlaskClient, make: Maker, ticket_type: TicketType, holder: User) -> Any:
    """The event's id; the holder has reviewed it, and it is an hour after its start."""
    with clock.set_to(clock.ahead(hours=2)):
        body = {"rating": 5, "comment": "Asante sana!"}
        answer = client.post(f"/events/{ticket_type.event_id}/review", json=body, headers=make.headers(holder))
        assert answer.status_code == 201
        yield ticket_type.event_id


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("body", "rating", "comment"),
    [
        ({"rating": 2, "comment": "Too loud."}, 2, "Too loud."),
        ({"rating": "3"}, 3, "Asante sana!"),
        ({"comment": "Poa"}, 5, "Poa"),
        ({"comment": None}, 5, None),
        ({"rating": 4, "comment": ""}, 4, None),
        ({}, 5, "Asante sana!"),
    ],
)
def test_its_writer_changes_a_review_at_both_addresses(
    client: FlaskClient,
    make: Maker,
    holder: User,
    written: int,
    address: str,
    body: dict[str, Any],
    rating: int,
    comment: str | None,
) -> None:
    [before] = client.get(f"/events/{written}/reviews").json
    answer = client.put(address.format(written), json=body, headers=make.headers(holder))
    assert (answer.status_code, answer.json) == (200, before | {"rating": rating, "comment": comment})
    assert client.get(f"/events/{written}/reviews").json == [answer.json]


@pytest.mark.parametrize("body", [{"rating": 0}, {"rating": 6}, {"rating": 999}, {"rating": True}, {"attendee_id": 1}])
def test_a_change_keeps_to_the_same_limits(
    client: FlaskClient, make: Maker, holder: User, written: int, body: dict[str, Any]
) -> None:
    answer = client.put(f"/events/{written}/review", json=body, headers=make.headers(holder))
    assert answer.status_code == 422
    assert [review["rating"] for review in client.get(f"/events/{written}/reviews").json] == [5]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_review_that_is_taken_back_may_be_written_again(
    client: FlaskClient, make: Maker, holder: User, written: int, address: str
) -> None:
    headers = make.headers(holder)
    assert client.delete(address.format(written), headers=headers).status_code == 200
    assert client.get(f"/events/{written}/reviews").json == []
    again = client.delete(address.format(written), headers=headers)
    assert (again.status_code, again.json["code"]) == (404, "no_review")
    assert client.post(address.format(written), json={"rating": 1}, headers=headers).status_code == 201


def test_nobody_touches_somebody_elses(client: FlaskClient, make: Maker, written: int) -> None:
    for user in (make.attendee(), make.organizer(), make.admin()):
        headers = make.headers(user)
        assert client.put(f"/events/{written}/review", json={"rating": 1}, headers=headers).status_code == 404
        assert client.delete(f"/events/{written}/review", headers=headers).status_code == 404
    assert client.put(f"/events/{written}/review", json={"rating": 1}).status_code == 401
    assert client.delete(f"/events/{written}/review").status_code == 401
    assert [review["rating"] for review in client.get(f"/events/{written}/reviews").json] == [5]


def test_every_change_leaves_a_line_and_no_change_none(
    client: FlaskClient, make: Maker, holder: User, written: int
) -> None:
    headers, address = make.headers(holder), f"/events/{written}/review"
    client.put(address, json={"rating": 5}, headers=headers)
    client.put(address, json={"rating": 4}, headers=headers)
    client.delete(address, headers=headers)
    [review] = {line.target_id for line in make.rows(AuditLog) if line.target_type == "review"}
    lines = [(line.action, line.details.get("changed")) for line in make.rows(AuditLog) if line.target_id == review]
    assert [line for line in lines if line[0].startswith("review")] == [
        ("review_written", None),
        ("review_changed", ["rating"]),
        ("review_deleted", None),
    ]
    assert make.rows(Review) == []


# ── Whose say counts ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "answered"), [(TicketStatus.VALID, 201), (TicketStatus.USED, 201), (TicketStatus.VOID, 403)]
)
def test_a_valid_or_used_ticket_gives_a_say_and_a_void_one_none(
    client: FlaskClient, make: Maker, ticket_type: TicketType, holder: User, status: TicketStatus, answered: int
) -> None:
    with make.app.app_context(), transaction() as session:
        ticket = session.scalars(select(Ticket)).one()
        ticket.status = status
        ticket.voided_at = clock.now() if status is TicketStatus.VOID else None
    with clock.set_to(clock.ahead(hours=2)):
        address = f"/events/{ticket_type.event_id}/review"
        assert client.post(address, json={"rating": 4}, headers=make.headers(holder)).status_code == answered


def test_who_got_the_money_back_still_takes_back_what_they_wrote(
    client: FlaskClient, make: Maker, holder: User, written: int
) -> None:
    with make.app.app_context(), transaction() as session:
        ticket = session.scalars(select(Ticket)).one()
        ticket.status, ticket.voided_at = TicketStatus.VOID, clock.now()
    address, headers = f"/events/{written}/review", make.headers(holder)
    assert client.put(address, json={"rating": 1}, headers=headers).status_code == 200
    assert client.delete(address, headers=headers).status_code == 200
    assert client.post(address, json={"rating": 1}, headers=headers).status_code == 403


# ── On the event ──────────────────────────────────────────────────────────────────────────────────────────────────


def rate(make: Maker, event: Event, ratings: list[int]) -> None:
    ticket_type = make.ticket_type(event, name=f"For {len(ratings)}", quantity=len(ratings))
    for rating in ratings:
        guest = make.attendee()
        make.paid_order(guest, ticket_type)
        with clock.set_to(event.starts_at):
            address = f"/events/{event.id}/review"
            make.app.test_client().post(address, json={"rating": rating}, headers=make.headers(guest))


@pytest.mark.parametrize(
    ("ratings", "average"), [([], None), ([4], 4), ([5, 4], 4.5), ([5, 4, 4], 4.3), ([1, 1, 2, 5, 5, 5], 3.2)]
)
def test_events_show_average_and_number_of_their_reviews(
    client: FlaskClient, make: Maker, ratings: list[int], average: float | None
) -> None:
    owner = make.organizer()
    event = make.event(owner)
    rate(make, event, ratings)
    headers = make.headers(owner)
    for shown in (
        client.get("/events").json[0],
        client.get(f"/events/{event.id}").json,
        client.get("/my-events", headers=headers).json[0],
    ):
        assert (shown["rating"], shown["review_count"]) == (average, len(ratings))


def test_each_event_counts_its_own_reviews(client: FlaskClient, make: Maker) -> None:
    for title, ratings in (("A", [5]), ("B", []), ("C", [1, 2])):
        rate(make, make.event(title=title), ratings) if ratings else make.event(title=title)
    seen = {one["title"]: (one["rating"], one["review_count"]) for one in client.get("/events").json}
    assert seen == {"A": (5, 1), "B": (None, 0), "C": (1.5, 2)}
    # A page that is not the last counts what there is besides.
    assert client.get("/events?per_page=1").headers["X-Total-Count"] == "3"


def test_a_new_rating_counts_at_once(client: FlaskClient, make: Maker, holder: User, written: int) -> None:
    def shown() -> tuple[float | None, int]:
        event = client.get(f"/events/{written}").json
        return event["rating"], event["review_count"]

    assert shown() == (5, 1)
    client.put(f"/events/{written}/review", json={"rating": 2}, headers=make.headers(holder))
    assert shown() == (2, 1)
    client.delete(f"/events/{written}/review", headers=make.headers(holder))
    assert shown() == (None, 0)
