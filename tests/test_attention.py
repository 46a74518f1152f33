"""What admins are shown of money that somebody must look after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import OrderStatus
from services import pushes
from tests.support import Maker, failure, success
from utils import clock

Listed = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def listed(client: FlaskClient, make: Maker) -> Listed:
    """The orders an admin is shown, with these parameters."""
    headers = make.headers(make.admin())

    def ask(**query: str) -> list[dict[str, Any]]:
        answer = client.get("/admin/orders", query_string=query, headers=headers)
        assert answer.status_code == 200
        return list(answer.json)

    return ask


def test_orders_that_go_well_or_just_end_need_no_attention(make: Maker, listed: Listed) -> None:
    make.paid_order()
    make.order()
    _, token = make.order()
    make.deliver(token, failure())
    assert listed(needs_attention="true") == []
    assert len(listed()) == 3


def test_quarantined_money_is_listed_with_its_receipt_and_the_reason(make: Maker, listed: Listed) -> None:
    order, token = make.order()
    make.deliver(token, success(499, "UKN7RT61SV"))
    [shown] = listed(needs_attention="true")
    [payment] = shown["payments"]
    assert (shown["id"], payment["status"], payment["receipt"]) == (order.id, "quarantined", "UKN7RT61SV")
    assert payment["note"] == "the amount is KES 499.0, not 500"


def test_the_buyer_is_not_told_the_admins_note(client: FlaskClient, make: Maker) -> None:
    buyer = make.attendee()
    order, token = make.order(buyer)
    make.deliver(token, success(499))
    assert "note" not in client.get(f"/orders/{order.id}", headers=make.headers(buyer)).json["payments"][0]


def test_a_refund_due_is_listed(make: Maker, listed: Listed) -> None:
    order, token = make.order()
    with clock.set_to(clock.ahead(days=8)):
        make.deliver(token, success(500))
    assert make.status(order.id) is OrderStatus.REFUND_DUE
    assert [one["refund_reason"] for one in listed(needs_attention="true")] == ["event_over"]


def test_a_success_that_cannot_be_asked_about_is_listed_until_it_is_settled(make: Maker, listed: Listed) -> None:
    order, token = make.order()
    make.deliver(token, success(None, None))
    assert [one["id"] for one in listed(needs_attention="true")] == [order.id]
    make.deliver(token, success(500))
    assert make.status(order.id) is OrderStatus.PAID
    assert listed(needs_attention="true") == []


def test_a_payment_nobody_heard_of_for_a_day_is_listed(app: Flask, make: Maker, listed: Listed) -> None:
    order, _ = make.order()
    with app.app_context(), clock.set_to(clock.ahead(minutes=5)):
        assert pushes.mark_lost_prompts() == 1
    assert listed(needs_attention="true") == []
    with clock.set_to(clock.ahead(hours=25)):
        # The admin's session has ended by then as well.
        headers = make.headers(make.admin())
        answer = app.test_client().get("/admin/orders?needs_attention=true", headers=headers)
    assert [one["id"] for one in answer.json or []] == [order.id]


@pytest.mark.parametrize(("status", "count"), [("pending", 1), ("expired", 1), ("paid", 1), ("cancelled", 0)])
def test_orders_are_filtered_by_the_status_they_are_shown_with(
    make: Maker, listed: Listed, status: str, count: int
) -> None:
    make.order()
    make.paid_order()
    with clock.set_to(clock.ago(hours=1)):
        make.order()  # its time is over, though nobody has written so
    assert [one["status"] for one in listed(status=status)] == [status] * count
