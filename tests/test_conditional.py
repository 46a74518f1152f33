"""Conditional requests: who has an answer already is told 304 while nothing has changed."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import EventStatus, TicketType, User
from resources.base import PUBLIC
from tests.support import Maker
from tests.test_access import every_endpoint

READS = ["/events", "/events/{}", "/events/{}/tickets", "/events/{}/reviews", "/events/{}/review", "/openapi.json"]


@pytest.fixture
def on_sale(make: Maker) -> TicketType:
    return make.on_sale(price=0)


def ask(client: FlaskClient, address: str, tag: str, **headers: str) -> TestResponse:
    return client.get(address, headers={"If-None-Match": tag, **headers})


@pytest.mark.parametrize("address", READS)
def test_who_has_the_answer_is_told_304_without_a_body(client: FlaskClient, on_sale: TicketType, address: str) -> None:
    address = address.format(on_sale.event_id)
    first = client.get(address)
    tag = first.headers["ETag"]
    assert tag.startswith('"'), "strong"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = ask(client, address, given)
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == tag
        assert "Content-Type" not in again.headers
    assert ask(client, address, '"other"').data == first.data


@pytest.mark.parametrize("address", READS)
def test_head_answers_the_same_headers(client: FlaskClient, on_sale: TicketType, address: str) -> None:
    address = address.format(on_sale.event_id)
    full, head = client.get(address), client.head(address)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["ETag"] == full.headers["ETag"]
    assert head.headers["Content-Length"] == str(len(full.data))
    assert client.head(address, headers={"If-None-Match": full.headers["ETag"]}).status_code == 304


def test_a_sale_changes_the_tags_of_what_shows_it(client: FlaskClient, make: Maker, on_sale: TicketType) -> None:
    addresses = [f"/events/{on_sale.event_id}", f"/events/{on_sale.event_id}/tickets", "/events"]
    tags = [client.get(address).headers["ETag"] for address in addresses]
    make.order(None, on_sale)
    for address, tag in zip(addresses, tags, strict=True):
        assert ask(client, address, tag).status_code == 200, address


def test_a_page_of_the_same_rows_is_another_one_once_the_list_grows(client: FlaskClient, make: Maker) -> None:
    """Its links and its total have changed."""
    make.event()
    tag = client.get("/events?per_page=1").headers["ETag"]
    make.event()
    again = ask(client, "/events?per_page=1", tag)
    assert (again.status_code, again.headers["X-Total-Count"]) == (200, "2")


def test_the_catalogue_is_the_same_for_everybody(client: FlaskClient, make: Maker, on_sale: TicketType) -> None:
    answers = [
        client.get("/events", headers=headers) for headers in ({}, make.headers(make.admin()), {"Authorization": "x"})
    ]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-cache"}
    assert len({answer.get_data() for answer in answers}) == len({answer.headers["ETag"] for answer in answers}) == 1


@pytest.mark.parametrize("address", READS[1:5])
def test_an_answer_is_its_callers_alone_and_asked_for_again_each_time(
    client: FlaskClient, on_sale: TicketType, address: str
) -> None:
    headers = client.get(address.format(on_sale.event_id)).headers
    assert set(headers["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert "Authorization" in headers["Vary"]


def test_a_tag_from_one_role_opens_nothing_for_another(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    address = f"/events/{make.event(organizer).id}"
    own = client.get(address, headers=make.headers(organizer))
    assert "refund_until_hours" in own.json
    seen = ask(client, address, own.headers["ETag"])
    assert (seen.status_code, "refund_until_hours" in seen.json) == (200, False)
    hidden = f"/events/{make.event(organizer, status=EventStatus.PENDING).id}"
    tag = client.get(hidden, headers=make.headers(organizer)).headers["ETag"]
    assert ask(client, hidden, tag).status_code == 404


def test_errors_have_no_tag_and_are_not_kept(client: FlaskClient) -> None:
    answer = ask(client, "/events/1", "*")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    assert "ETag" not in answer.headers


def test_what_only_some_may_read_is_never_kept(client: FlaskClient, make: Maker) -> None:
    user: User = make.attendee()
    assert client.get("/profile/me", headers=make.headers(user)).headers["Cache-Control"] == "no-store"
    assert all(one.access is PUBLIC for _, _, one in every_endpoint() if one.conditional)
