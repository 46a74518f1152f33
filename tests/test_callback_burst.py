"""Safaricom posts once: of many callbacks at the same time none is lost, and none waits for what is being settled."""

from __future__ import annotations

import statistics
import time

import requests

from config import Settings
from models import OrderStatus
from tests import live
from tests.daraja.process import Simulator
from tests.support import Maker, new_receipt, success, together
from tests.waiting import wait_until

CALLBACKS = 200
#: At the median, while settling runs. Alone on a machine it is a few milliseconds; this holds on a busy one too.
MOST_SECONDS = 0.5


def test_a_burst_of_callbacks_loses_none(settings: Settings, simulator: Simulator, make: Maker) -> None:
    ticket_type = make.on_sale(quantity=CALLBACKS)
    placed = [make.order(make.attendee(), ticket_type) for _ in range(CALLBACKS)]
    running = live.start({"DATABASE_URL": settings.DATABASE_URL, "MPESA_BASE_URL": simulator.url})
    took: list[float] = []

    def post(number: int) -> int:
        order, token = placed[number]
        address = f"{running.url}/api/payment/callback/{token}"
        began = time.perf_counter()
        status = requests.post(address, data=success(order.total_kes, new_receipt()), timeout=30).status_code
        took.append(time.perf_counter() - began)
        return status

    try:
        answers = together(*(lambda first=first: [post(n) for n in range(first, CALLBACKS, 20)] for first in range(20)))
        assert {status for one in answers for status in one} == {200}
        wait_until(lambda: all(make.status(order.id) is OrderStatus.PAID for order, _ in placed), seconds=60)
    finally:
        running.stop()
    assert len(make.messages()) == CALLBACKS
    assert len(make.tickets()) == CALLBACKS == make.read_ticket_type(ticket_type.id).sold
    print(f"\nmedian {statistics.median(took) * 1000:.0f} ms")  # noqa: T201
    assert statistics.median(took) < MOST_SECONDS
