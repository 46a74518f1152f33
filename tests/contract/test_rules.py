"""What holds for every call of the frontend: errors, lists, tokens, times, words, and what a browser asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import AccountStatus, EventStatus, OrderStatus, Role, User
from tests.contract.frontend import ORIGIN, Browser
from tests.support import Maker, failure
from tests.test_access import bad_authorization
from utils import clock

Browse = Callable[[User], Browser]


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        ("POST", "/signup", {}),
        ("POST", "/signup", {"email": ["a"], "phone": {"b": 1}}),
        ("POST", "/login", {"email": None}),
        ("POST", "/login", None),
        ("GET", "/my-events", None),
        ("POST", "/events", {"title": ""}),
        ("POST", "/orders", {"phone": "1", "tickets": []}),
        ("PUT", "/profile/me", {"phone": "1"}),
        ("GET", "/admin/pending", None),
        ("GET", "/events/4711", None),
        ("GET", "/nowhere", None),
        ("PATCH", "/events", None),
    ],
)
def test_every_error_is_one_sentence_under_message(
    browser: Browse, visitor: Browser, make: Maker, method: str, address: str, body: Any
) -> None:
    """`Browser` looks at it: no page reads `error`, `errors` or `msg`, and an object would crash it."""
    for page in (visitor, browser(make.attendee())):
        assert page.axios(method, address, json=body).status_code < 500


BARE_LISTS = ["/events", "/orders", "/my-tickets", "/my-saved-events", "/my-events", "/admin/pending"]
BARE_LISTS += ["/profile/my-upcoming-events", "/profile/my-past-events", "/attendee/upcoming-events"]


@pytest.mark.parametrize("address", BARE_LISTS)
def test_lists_are_bare_arrays_with_or_without_rows(browser: Browse, make: Maker, address: str) -> None:
    assert browser(make.admin()).read(address) == []


def test_an_old_token_never_closes_a_public_page(app: Flask, visitor: Browser, make: Maker) -> None:
    """The frontend goes on sending it, and has no page for 401."""
    user, event = make.attendee(), make.event()
    visitor.user = {"access_token": bad_authorization(app, user)["expired"].removeprefix("Bearer ")}
    order, _ = make.order()
    for address in (
        *("/", "/events", f"/events/{event.id}", f"/events/{event.id}/tickets", f"/events/{event.id}/reviews"),
        f"/payments/check/{order.poll_id}",
    ):
        visitor.read(address)
    for address in ("/profile/me", "/orders", "/my-events", "/admin/pending"):
        assert visitor.axios("GET", address).status_code == 401


def test_no_answer_has_a_time_in_utc_or_without_zone(browser: Browse, make: Maker) -> None:
    user = make.admin()
    make.paid_order(user, make.ticket_type(make.event(user)))
    page = browser(user)
    for address in ("/events", "/my-events", "/orders", "/my-tickets", "/profile/my-upcoming-events", "/profile/me"):
        times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', page.axios("GET", address).text)
        assert times or address == "/profile/me"
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+03:00", one) for one in times), address


@pytest.mark.parametrize("tags", [None, "jazz", "jazz,live"])
def test_tags_are_text_or_null(visitor: Browser, make: Maker, tags: str | None) -> None:
    event = make.event(tags=tags)
    assert [visitor.read(address)["tags"] for address in (f"/events/{event.id}",)] == [tags]
    assert visitor.read("/events")[0]["tags"] == tags


def test_the_words_are_those_that_pages_compare_with() -> None:
    assert {role.value for role in Role} == {"attendee", "organizer", "admin"}
    assert {status.value for status in AccountStatus} >= {"active", "banned"}
    assert {status.value for status in EventStatus} >= {"pending", "approved", "rejected"}
    assert {status.value for status in OrderStatus} >= {"pending", "paid", "failed"}


def test_money_is_a_number(browser: Browse, make: Maker) -> None:
    order = make.paid_order(buyer := make.attendee())
    page = browser(buyer)
    assert page.read(f"/orders/{order.id}")["total_amount"] == 500
    assert '"total_amount":500,' in page.axios("GET", "/orders").text


# ── What a browser asks before ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("origin", [ORIGIN, "http://127.0.0.1:5173"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
@pytest.mark.parametrize("address", ["/events", "/orders", f"/payments/check/{0:032}", "/profile/me", "/admin/1"])
def test_preflights_are_answered_and_kept(client: FlaskClient, origin: str, method: str, address: str) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    answer = client.options(address, headers={"Origin": origin} | asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "content-type"} <= set(answer.headers["Access-Control-Allow-Headers"].lower().split(", "))
    assert int(answer.headers["Access-Control-Max-Age"]) >= 600
    assert "Access-Control-Allow-Credentials" not in answer.headers


# ── The poll's id is as good as a password ────────────────────────────────────────────────────────────────────────


def test_the_poll_tells_the_result_and_nothing_else(visitor: Browser, make: Maker) -> None:
    paid, (failed, token), (pending, _) = make.paid_order(), make.order(), make.order()
    make.deliver(token, failure())
    ids = {order.poll_id for order in (paid, failed, pending)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    for order, names in (
        (paid, {"ResultCode", "ResultDesc"}),
        (failed, {"ResultCode", "ResultDesc"}),
        (pending, set()),
    ):
        answer = visitor.fetch(f"/payments/check/{order.poll_id}").json
        assert answer.keys() == {"data"}
        assert answer["data"].keys() == names


def test_an_abandoned_order_ends_by_itself_and_its_places_are_free(visitor: Browser, make: Maker) -> None:
    ticket_type = make.on_sale(quantity=1)
    order, _ = make.order(make.attendee(), ticket_type)
    with clock.set_to(clock.ahead(minutes=11)):
        assert visitor.fetch(f"/payments/check/{order.poll_id}").json["data"]["ResultCode"] == "1032"
        assert visitor.read(f"/events/{ticket_type.event_id}/tickets")[0]["available"] == 1
