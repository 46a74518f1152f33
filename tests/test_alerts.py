"""What admins are told: in a list, in the log, and at an address of theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import tasks
from models import Alert, MessageChannel, Payment, PaymentMethod, PaymentStatus
from services import alerts, paybill
from tests.daraja.receiver import Receiver
from tests.support import Maker, changed_settings, failure, failure_answer, free_port, new_receipt, success, together
from utils import clock
from utils.database import transaction
from utils.mpesa_reports import MoneyIn

SEND, PASSWORD, SILENCE = (
    next(task for task in tasks.TASKS if task.name == name)
    for name in ("send alerts", "check the initiator's password", "check that callbacks come")
)
#: The answer to a question about a prompt that was paid.
PAID = b'{"ResponseCode": "0", "ResultCode": "0", "ResultDesc": "Paid"}'


def tell(app: Flask, kind: str = "claim_open", message: str = "Somebody says so.", **facts: Any) -> None:
    with app.app_context(), transaction():
        alerts.raise_alert(kind, message, **facts)


@contextmanager
def receiving(app: Flask) -> Iterator[Receiver]:
    """Somebody who takes alerts, and is their address."""
    with Receiver() as receiver, changed_settings(app, ALERT_URL=receiver.url):
        yield receiver


# ── Raising ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_alert_is_a_row_and_an_error_in_the_log(app: Flask, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    order = make.paid_order()
    tell(app, "refund_failed", "Refund 1 failed.", target=order)
    [alert] = make.rows(Alert)
    assert (alert.kind, alert.message, alert.target_type, alert.target_id) == (
        "refund_failed",
        "Refund 1 failed.",
        "order",
        order.id,
    )
    assert ("services.alerts", logging.ERROR, "alert refund_failed: Refund 1 failed.") in caplog.record_tuples


def test_an_alert_has_no_number_and_no_secret_in_it(app: Flask, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    secret = "0123456789abcdef" * 2
    tell(app, message=f"254712345678 or 0712345678 was sent to {secret}; the receipt is SG632NMUAB.")
    [alert] = make.rows(Alert)
    for text in (alert.message, caplog.text):
        assert "254712***678 or 0712***678 was sent to <secret>; the receipt is SG632NMUAB." in text
        assert secret not in text
        assert "12345678" not in text


def test_an_alert_leaves_with_the_transaction_that_raised_it(app: Flask, make: Maker) -> None:
    def fail() -> None:
        with app.app_context(), transaction():
            alerts.raise_alert("claim_open", "Somebody says so.")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert make.rows(Alert) == []


def test_one_of_a_kind_and_target_is_enough_for_a_while(app: Flask, make: Maker) -> None:
    first, second = make.paid_order(), make.paid_order()
    assert first.id == first.payments[0].id  # what they are about is told apart by more than its number
    for _ in range(2):
        for facts in ({}, {"target": first}, {"target": second}, {"target": first.payments[0]}):
            tell(app, once_per_hours=24, **facts)
        tell(app, "another", once_per_hours=24)
    assert len(make.rows(Alert)) == 5
    with clock.set_to(clock.ahead(hours=23, minutes=59)):
        tell(app, once_per_hours=24)
    assert len(make.rows(Alert)) == 5
    with clock.set_to(clock.ahead(hours=24, minutes=1)):
        tell(app, once_per_hours=24)
    assert len(make.rows(Alert)) == 6


def test_twice_in_one_transaction_is_once(app: Flask, make: Maker) -> None:
    with app.app_context(), transaction():
        for _ in range(2):
            alerts.raise_alert("pull_gap", "A gap.", once_per_hours=1)
    assert len(make.rows(Alert)) == 1


def test_of_many_at_once_one_is_raised(app: Flask, make: Maker) -> None:
    together(*[lambda: tell(app, once_per_hours=1)] * 8)
    assert len(make.rows(Alert)) == 1


def test_without_a_limit_each_is_raised(app: Flask, make: Maker) -> None:
    for _ in range(3):
        tell(app)
    assert len(make.rows(Alert)) == 3


# ── The list ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_admins_see_them_newest_first(app: Flask, client: FlaskClient, make: Maker) -> None:
    order = make.paid_order()
    tell(app, "one", "The first.")
    tell(app, "two", "The second.", target=order)
    answer = client.get("/admin/alerts", headers=make.headers(make.admin()))
    assert [alert["kind"] for alert in answer.json] == ["two", "one"]
    assert answer.json[0] == {
        "id": 2,
        "kind": "two",
        "message": "The second.",
        "target_type": "order",
        "target_id": order.id,
        "created_at": answer.json[0]["created_at"],
        "sent_at": None,
    }
    assert answer.json[0]["created_at"].endswith("+03:00")
    assert answer.headers["X-Total-Count"] == "2"


# ── Sending ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_alert_is_posted_once(app: Flask, client: FlaskClient, make: Maker) -> None:
    order = make.paid_order()
    with receiving(app) as receiver:
        tell(app, "refund_failed", "Refund 1 failed.", target=order)
        assert tasks.run_once(app, SEND) == 1
        assert tasks.run_once(app, SEND) == 0
    [alert] = make.rows(Alert)
    assert [one.body for one in receiver.received] == [
        {
            "kind": "refund_failed",
            "message": "Refund 1 failed.",
            "target_type": "order",
            "target_id": order.id,
            "created_at": clock.to_nairobi(alert.created_at),
        }
    ]
    assert receiver.received[0].headers["Content-Type"] == "application/json"
    assert alert.sent_at is not None
    assert (alert.tries, alert.next_try_at) == (1, None)
    assert client.get("/admin/alerts", headers=make.headers(make.admin())).json[0]["sent_at"]


def test_many_are_posted_in_the_order_they_came(app: Flask, make: Maker) -> None:
    with receiving(app) as receiver:
        for number in range(25):
            tell(app, f"kind_{number}")
        while tasks.run_once(app, SEND):
            pass
    assert [one.body["kind"] for one in receiver.received] == [f"kind_{number}" for number in range(25)]


def test_several_workers_post_each_once(app: Flask, make: Maker) -> None:
    with receiving(app) as receiver:
        for number in range(12):
            tell(app, f"kind_{number}")
        together(*[lambda: tasks.run_once(app, SEND)] * 4)
        tasks.run_once(app, SEND)
    assert sorted(one.body["kind"] for one in receiver.received) == sorted(f"kind_{number}" for number in range(12))


@pytest.mark.parametrize("status", [300, 302, 404, 429, 500, 503])
def test_what_is_not_taken_is_sent_again_later(app: Flask, make: Maker, status: int) -> None:
    with receiving(app) as receiver:
        receiver.status = status
        tell(app)
        assert tasks.run_once(app, SEND) == 0
        assert tasks.run_once(app, SEND) == 0
        assert len(receiver.received) == 1
        receiver.status = 204
        with clock.set_to(clock.ahead(seconds=61)):
            assert tasks.run_once(app, SEND) == 1
    assert len(receiver.received) == 2
    assert make.rows(Alert)[0].sent_at is not None


def test_the_pauses_grow_and_after_twenty_tries_it_is_given_up(app: Flask, make: Maker) -> None:
    pauses, now = [], clock.now()
    with changed_settings(app, ALERT_URL=f"http://127.0.0.1:{free_port()}/hook/very-secret"):
        tell(app)
        while (next_at := make.rows(Alert)[0].next_try_at) is not None:
            now = max(now, next_at)
            with clock.set_to(now):
                assert tasks.run_once(app, SEND) == 0
            after = make.rows(Alert)[0].next_try_at
            pauses.append((after - now) if after else None)
    minutes = [None if pause is None else pause / timedelta(minutes=1) for pause in pauses]
    assert minutes == [1, 5, 30, *[60] * 16, None]
    assert (make.rows(Alert)[0].tries, make.rows(Alert)[0].sent_at) == (20, None)


def test_the_address_is_not_in_the_log(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with changed_settings(app, ALERT_URL=f"http://127.0.0.1:{free_port()}/hook/very-secret"):
        tell(app)
        tasks.run_once(app, SEND)
    assert "not delivered: ConnectionError" in caplog.text
    assert "very-secret" not in caplog.text


def test_one_that_does_not_arrive_holds_up_the_others_for_one_run_alone(app: Flask, make: Maker) -> None:
    with receiving(app) as receiver:
        tell(app, "first")
        tell(app, "second")
        receiver.status = 500
        assert tasks.run_once(app, SEND) == 0
        receiver.status = 200
        assert tasks.run_once(app, SEND) == 1
    assert [one.body["kind"] for one in receiver.received] == ["first", "second"]


def test_a_proxy_of_the_machine_is_not_used(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with receiving(app) as receiver:
        tell(app)
        assert tasks.run_once(app, SEND) == 1
    assert len(receiver.received) == 1


def test_no_connection_to_the_database_is_held_meanwhile(app: Flask, make: Maker) -> None:
    with receiving(app) as receiver, app.app_context():
        tell(app)
        busy: list[int] = []
        engine = alerts.db.engine
        real = alerts._post

        def look(alert: Alert) -> bool:
            busy.append(engine.pool.checkedout())  # type: ignore[attr-defined]
            return real(alert)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(alerts, "_post", look)
            assert tasks.run_once(app, SEND) == 1
    assert busy == [0]
    assert len(receiver.received) == 1


def test_without_an_address_it_stands_in_the_list_and_is_not_sent_when_there_is_one(app: Flask, make: Maker) -> None:
    tell(app)
    assert tasks.run_once(app, SEND) == 0
    with receiving(app) as receiver:
        assert tasks.run_once(app, SEND) == 0
    assert receiver.received == []
    [alert] = make.rows(Alert)
    assert (alert.tries, alert.sent_at, alert.next_try_at) == (0, None, None)


# ── The initiator's password ──────────────────────────────────────────────────────────────────────────────────────


def days_ago(days: int) -> date:
    return clock.now().astimezone(clock.NAIROBI).date() - timedelta(days=days)


@pytest.mark.parametrize(("set_on", "count"), [(None, 0), (-1, 0), (0, 0), (79, 0), (80, 1), (89, 1), (200, 1)])
def test_a_password_that_is_about_to_end_is_told_of(app: Flask, make: Maker, set_on: int | None, count: int) -> None:
    day = None if set_on is None else days_ago(set_on)
    with changed_settings(app, MPESA_INITIATOR_PASSWORD_SET_ON=day):
        tasks.run_once(app, PASSWORD)
    assert [alert.kind for alert in make.rows(Alert)] == ["initiator_password"] * count


def test_a_password_is_told_of_once_a_day(app: Flask, make: Maker) -> None:
    with changed_settings(app, MPESA_INITIATOR_PASSWORD_SET_ON=days_ago(81)):
        for _ in range(3):
            tasks.run_once(app, PASSWORD)
        assert len(make.rows(Alert)) == 1
        with clock.set_to(clock.ahead(hours=25)):
            tasks.run_once(app, PASSWORD)
    assert len(make.rows(Alert)) == 2


# ── Callbacks that do not come ────────────────────────────────────────────────────────────────────────────────────


def settle_by_asking(make: Maker, count: int) -> None:
    for _ in range(count):
        order, _token = make.order()
        make.settle_query(order.payments[0].id, PAID)
    assert make.rows(Payment)[-1].paid_through is MessageChannel.STK_QUERY


def kinds(make: Maker) -> list[str]:
    return [alert.kind for alert in make.rows(Alert)]


def test_three_payments_settled_by_asking_and_no_callback_are_told_of_once_an_hour(app: Flask, make: Maker) -> None:
    settle_by_asking(make, 2)
    tasks.run_once(app, SILENCE)
    assert kinds(make) == []
    settle_by_asking(make, 1)
    for _ in range(3):
        tasks.run_once(app, SILENCE)
    assert kinds(make) == ["silent_callbacks"]
    assert make.rows(Alert)[0].message.startswith("3 payments in 30 minutes, and not one callback")
    with clock.set_to(clock.ahead(minutes=61)):
        settle_by_asking(make, 3)
        tasks.run_once(app, SILENCE)
    assert kinds(make) == ["silent_callbacks"] * 2


def test_prompts_settled_by_what_was_told_of_the_paybill_count_too(app: Flask, make: Maker) -> None:
    for _ in range(3):
        order, _token = make.order()
        money = MoneyIn(new_receipt(), Decimal(order.total_kes), order.reference)
        with app.app_context(), transaction():
            paybill.settle_money(money, channel=MessageChannel.C2B, received_at=clock.now())
    assert {(one.method, one.paid_through) for one in make.rows(Payment)} == {
        (PaymentMethod.PROMPT, MessageChannel.C2B)
    }
    tasks.run_once(app, SILENCE)
    assert kinds(make) == ["silent_callbacks"]


def test_one_callback_breaks_the_silence(app: Flask, make: Maker) -> None:
    settle_by_asking(make, 5)
    _, token = make.order()
    make.deliver(token, failure())
    tasks.run_once(app, SILENCE)
    assert kinds(make) == []
    with clock.set_to(clock.ahead(minutes=29)):
        tasks.run_once(app, SILENCE)
    assert kinds(make) == []


def test_a_callback_of_long_ago_does_not(app: Flask, make: Maker) -> None:
    order, token = make.order()
    with clock.set_to(clock.ago(minutes=31)):
        make.deliver(token, success(order.total_kes, new_receipt()))
    settle_by_asking(make, 3)
    tasks.run_once(app, SILENCE)
    assert kinds(make) == ["silent_callbacks"]


def test_payments_of_long_ago_do_not_count(app: Flask, make: Maker) -> None:
    settle_by_asking(make, 3)
    with clock.set_to(clock.ahead(minutes=31)):
        tasks.run_once(app, SILENCE)
    assert kinds(make) == []


def test_money_paid_by_hand_has_no_callback_to_miss(app: Flask, make: Maker) -> None:
    for _ in range(4):
        order, _token = make.order()
        make.settle_query(order.payments[0].id, failure_answer(1032))
        make.suspense(order.total_kes, reference=order.reference)
    paid = [one for one in make.rows(Payment) if one.status is PaymentStatus.PAID]
    assert [(one.method, one.paid_through) for one in paid] == [(PaymentMethod.PAYBILL, MessageChannel.PULL)] * 4
    tasks.run_once(app, SILENCE)
    assert kinds(make) == []
