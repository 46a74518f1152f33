"""One access token for all processes, whatever Daraja does to the token before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from flask import Flask

from services import access_tokens
from tests.daraja.process import Simulator, start_simulator
from tests.support import together
from utils import config_rules
from utils.mpesa import Accepted, Daraja, PushOutcome, Refused

CALLBACKS = "http://127.0.0.1:9/api/payment/callback"


@pytest.fixture
def strict() -> Iterator[Simulator]:
    """A Daraja where a new token ends the one before."""
    with start_simulator(SIM_SINGLE_TOKEN="1") as simulator:
        yield simulator


@pytest.fixture
def processes(app: Flask, strict: Simulator) -> list[Daraja]:
    """As many clients as processes: each has a memory of its own, and the database in common."""
    return [client(strict.url) for _ in range(4)]


def client(url: str) -> Daraja:
    return Daraja(
        base_url=url,
        consumer_key=config_rules.SIMULATED["MPESA_CONSUMER_KEY"],
        consumer_secret=config_rules.SIMULATED["MPESA_CONSUMER_SECRET"],
        shortcode=config_rules.SIMULATED["MPESA_SHORTCODE"],
        passkey=config_rules.SIMULATED["MPESA_PASSKEY"],
        callback_url=CALLBACKS,
        connect_seconds=2,
        answer_seconds=5,
        share_token=access_tokens.share,
    )


def push(app: Flask, process: Daraja, phone: int) -> PushOutcome:
    with app.app_context():
        return process.push(
            phone=str(phone), amount_kes=10, reference="ABC123", description="Ticksy", callback_token="0" * 32
        )


def test_processes_never_shut_each_other_out(app: Flask, strict: Simulator, processes: list[Daraja]) -> None:
    for round_ in range(3):
        phones = range(254710000000 + round_ * 1000, 254710000024 + round_ * 1000)
        outcomes = together(*[partial(push, app, processes[phone % len(processes)], phone) for phone in phones])
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        strict.expire_tokens()


def test_a_process_that_starts_later_uses_the_token_there_is(
    app: Flask, strict: Simulator, processes: list[Daraja]
) -> None:
    assert isinstance(push(app, processes[0], 254711000001), Accepted)
    assert isinstance(push(app, processes[1], 254711000002), Accepted)
    # Had the second fetched one, the first's would have ended; then it would have to fetch a third.
    with app.app_context():
        before = access_tokens._read(None)
    assert isinstance(push(app, processes[0], 254711000003), Accepted)
    with app.app_context():
        after = access_tokens._read(None)
    assert before is not None
    assert after is not None
    assert before.text == after.text


def test_a_process_that_died_while_fetching_holds_the_others_up_no_longer_than_its_lease(
    app: Flask, processes: list[Daraja]
) -> None:
    with app.app_context():
        assert access_tokens._take_task(lease_seconds=0.5)
        assert not access_tokens._take_task(lease_seconds=0.5)
    assert isinstance(push(app, processes[0], 254712000001), Accepted)


def test_when_daraja_gives_no_token_nobody_is_left_with_the_task(app: Flask) -> None:
    nowhere = client("http://127.0.0.1:9")
    assert push(app, nowhere, 254713000001) == Refused("no_token")
    with app.app_context():
        assert access_tokens._take_task(lease_seconds=0.1)
