"""Further names of what there is: another address or method, the same access and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import Order, OrderStatus, User
from tests.scripted_daraja import PUSH, ScriptedDaraja, scripted_daraja
from tests.support import Maker, failure
from utils import clock


@pytest.fixture
def daraja(app: Flask) -> Iterator[ScriptedDaraja]:
    """Accepts every push, and nobody ever answers a prompt."""
    with scripted_daraja(app) as daraja:
        yield daraja


@pytest.fixture
def buyer(make: Maker) -> User:
    return make.attendee()


@pytest.fixture
def order(make: Maker, buyer: User) -> Order:
    """Its prompt failed three minutes ago, so that another may follow."""
    with clock.set_to(clock.ago(minutes=3)):
        order, token = make.order(buyer)
    make.deliver(token, failure())
    return order


def names(order: Order) -> list[tuple[str, str, Any]]:
    """Every way to ask for another prompt."""
    return [
        ("POST", f"/orders/{order.id}/pay", None),
        ("PATCH", f"/orders/{order.id}/pay", None),
        ("POST", "/payments", {"order_id": order.id}),
        ("POST", "/payments", {"order_id": str(order.id), "phone": ""}),
        ("POST", "/payments", {"order_id": order.reference, "phone": order.phone}),
        ("POST", "/payments", {"order_id": order.reference.lower(), "phone": f"+{order.phone}"}),
    ]


def ask(client: FlaskClient, headers: dict[str, str], name: tuple[str, str, Any], **more: str) -> Any:
    method, address, body = name
    sent = {} if body is None else {"json": body}
    return client.open(address, method=method, headers=headers | more, **sent)


@pytest.mark.parametrize("which", range(6))
def test_each_name_sends_another_prompt(
    client: FlaskClient, make: Maker, daraja: ScriptedDaraja, buyer: User, order: Order, which: int
) -> None:
    answer = ask(client, make.headers(buyer), names(order)[which])
    assert (answer.status_code, answer.json["orderId"]) == (200, order.id)
    assert answer.json["checkoutRequestID"] == order.poll_id
    assert isinstance(answer.json["message"], str)
    assert daraja.count(PUSH) == 1
    assert make.status(order.id) is OrderStatus.PENDING


@pytest.mark.parametrize("which", range(6))
def test_no_name_marks_an_order_paid_or_is_for_anybody_but_its_buyer(
    client: FlaskClient, make: Maker, daraja: ScriptedDaraja, order: Order, which: int
) -> None:
    for other in (make.attendee(), make.organizer(), make.admin()):
        assert ask(client, make.headers(other), names(order)[which]).status_code == 404
    assert ask(client, {}, names(order)[which]).status_code == 401
    assert daraja.count(PUSH) == 0
    assert (make.status(order.id), make.tickets()) == (OrderStatus.PENDING, [])


def test_another_phone_is_refused_with_what_to_do_instead(
    client: FlaskClient, make: Maker, daraja: ScriptedDaraja, buyer: User, order: Order
) -> None:
    body = {"order_id": order.id, "phone": "254799000222"}
    answer = client.post("/payments", json=body, headers=make.headers(buyer))
    assert (answer.status_code, answer.json["code"]) == (409, "another_phone")
    assert "order the same tickets again" in answer.json["message"]
    assert daraja.count(PUSH) == 0


@pytest.mark.parametrize("body", [{}, {"order_id": None}, {"order_id": ""}, {"order_id": 1.5}, {"order_id": True}])
def test_a_payment_names_its_order(client: FlaskClient, make: Maker, buyer: User, body: dict[str, Any]) -> None:
    assert client.post("/payments", json=body, headers=make.headers(buyer)).status_code == 422


@pytest.mark.parametrize("name", [0, 4711, -1, "4711", "9" * 40, "NOSUCHONE0", "²"])
def test_what_names_no_order_of_ones_own_is_404(
    client: FlaskClient, make: Maker, buyer: User, order: Order, name: object
) -> None:
    answer = client.post("/payments", json={"order_id": name}, headers=make.headers(buyer))
    assert answer.status_code == 404


def test_a_paid_order_is_not_paid_again_by_any_name(
    client: FlaskClient, make: Maker, daraja: ScriptedDaraja, buyer: User
) -> None:
    order = make.paid_order(buyer)
    for name in names(order):
        answer = ask(client, make.headers(buyer), name)
        assert (answer.status_code, answer.json["code"]) == (409, "already_paid")
    assert daraja.count(PUSH) == 0


@pytest.mark.parametrize("which", range(6))
def test_each_name_takes_an_idempotency_key(
    client: FlaskClient, make: Maker, daraja: ScriptedDaraja, buyer: User, order: Order, which: int
) -> None:
    headers = make.headers(buyer) | {"Idempotency-Key": "one-tap"}
    first, second = (ask(client, headers, names(order)[which]) for _ in range(2))
    assert (first.json, second.headers["Idempotency-Replayed"]) == (second.json, "true")
    assert daraja.count(PUSH) == 1


@pytest.mark.parametrize("when", ["upcoming", "past"])
def test_ones_events_have_two_addresses(client: FlaskClient, make: Maker, buyer: User, when: str) -> None:
    with clock.set_to(clock.ago(days=30) if when == "past" else clock.now()):
        order = make.paid_order(buyer)
    headers = make.headers(buyer)
    one, other = (client.get(f"/{name}-events", headers=headers) for name in (f"profile/my-{when}", f"attendee/{when}"))
    assert [event["id"] for event in one.json] == [order.event_id]
    assert one.json == other.json
    assert {"id", "title", "start_time", "end_time", "location", "image_url"} <= one.json[0].keys()


@pytest.mark.parametrize(
    "address", ["/payments/callback", "/api/payment/callback", "/api/payment/callback/" + "0" * 32]
)
def test_nobody_reads_a_callback_address(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert "GET" not in answer.headers["Allow"]
