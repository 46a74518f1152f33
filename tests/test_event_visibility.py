"""Who sees an event, its ticket types and reviews, state by state; above all while it is pending again."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from models import Event, OrderStatus, User
from tests.support import Maker, cart, new_receipt, success


@pytest.fixture
def organizer(make: Maker) -> User:
    return make.organizer()


# ── Pending again ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pending_again(client: FlaskClient, make: Maker, organizer: User) -> tuple[Event, User]:
    """An event edited after it had sold a ticket, and who holds that ticket."""
    event = make.event(organizer)
    holder = make.attendee()
    make.paid_order(holder, make.ticket_type(event))
    client.put(f"/events/{event.id}", json={"location": "Elsewhere"}, headers=make.headers(organizer))
    return event, holder


@pytest.mark.parametrize("part", ["", "/tickets", "/reviews"])
def test_strangers_do_not_see_an_event_that_is_pending_again(
    client: FlaskClient, make: Maker, pending_again: tuple[Event, User], part: str
) -> None:
    event, _ = pending_again
    assert client.get("/events").json == []
    assert client.get(f"/events/{event.id}{part}").status_code == 404
    assert client.get(f"/events/{event.id}{part}", headers=make.headers(make.attendee())).status_code == 404


@pytest.mark.parametrize(
    "address",
    ["/events/{}", "/events/{}/tickets", "/events/{}/reviews", "/profile/my-upcoming-events/{}"],
)
def test_ticket_holders_keep_seeing_an_event_that_is_pending_again(
    client: FlaskClient, make: Maker, pending_again: tuple[Event, User], address: str
) -> None:
    event, holder = pending_again
    assert client.get(address.format(event.id), headers=make.headers(holder)).status_code == 200
    [listed] = client.get("/profile/my-upcoming-events", headers=make.headers(holder)).json
    assert (listed["id"], listed["status"]) == (event.id, "pending")


def test_nobody_buys_while_an_event_is_pending_again(
    client: FlaskClient, make: Maker, pending_again: tuple[Event, User]
) -> None:
    event, holder = pending_again
    [shown] = client.get(f"/events/{event.id}/tickets", headers=make.headers(holder)).json
    assert shown["on_sale"] is False
    one = make.read_ticket_type(shown["id"])
    answer = client.post("/orders", json=cart((one, 1)), headers=make.headers(make.attendee()))
    assert (answer.status_code, answer.json["code"]) == (409, "not_on_sale")


def test_open_orders_are_still_paid_while_an_event_is_pending_again(client: FlaskClient, make: Maker) -> None:
    event = make.event()
    order, token = make.order(make.attendee(), make.ticket_type(event))
    bring_to(client, make, event, "pending")
    make.deliver(token, success(order.total_kes, new_receipt()))
    assert make.status(order.id) is OrderStatus.PAID
    assert len(make.tickets()) == 1


# ── Who sees what ─────────────────────────────────────────────────────────────────────────────────────────────────

SEES = {
    "pending": {"owner", "admin", "ticket holder"},
    "approved": {"nobody", "attendee", "other organizer", "owner", "admin", "ticket holder"},
    "rejected": {"owner", "admin", "ticket holder"},
    "cancelled": {"owner", "admin", "ticket holder"},
}


@pytest.mark.parametrize("status", SEES)
@pytest.mark.parametrize("who", ["nobody", "attendee", "other organizer", "owner", "admin", "ticket holder"])
def test_event_ticket_types_and_reviews_are_seen_by_those_who_may(
    client: FlaskClient, make: Maker, organizer: User, who: str, status: str
) -> None:
    event = make.event(organizer)
    holder = make.attendee()
    make.paid_order(holder, make.ticket_type(event))
    bring_to(client, make, event, status)
    viewers = {
        "attendee": make.attendee,
        "other organizer": make.organizer,
        "owner": lambda: organizer,
        "admin": make.admin,
        "ticket holder": lambda: holder,
    }
    headers = make.headers(viewers[who]()) if who in viewers else {}
    expected = 200 if who in SEES[status] else 404
    for part in ("", "/tickets", "/reviews", "/review"):
        assert client.get(f"/events/{event.id}{part}", headers=headers).status_code == expected


def bring_to(client: FlaskClient, make: Maker, event: Event, status: str) -> None:
    """An approved event into any state, as its people would."""
    owner = make.headers(event.organizer)
    if status == "pending":
        client.put(f"/events/{event.id}", json={"title": "Another"}, headers=owner)
    elif status == "rejected":
        decision = {"status": "rejected", "reason": "No licence."}
        client.patch(f"/admin/{event.id}", json=decision, headers=make.headers(make.admin()))
    elif status == "cancelled":
        client.post(f"/events/{event.id}/cancel", headers=owner)
    assert client.get(f"/events/{event.id}", headers=owner).json["status"] == status


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer rubbish"}, {"Authorization": "Bearer null"}])
def test_a_bad_token_is_nobody_to_the_catalogue(client: FlaskClient, make: Maker, headers: dict[str, str]) -> None:
    event = make.event()
    assert len(client.get("/events", headers=headers).json) == 1
    assert client.get(f"/events/{event.id}", headers=headers).status_code == 200
    assert client.get("/my-events", headers=headers).status_code == 401
