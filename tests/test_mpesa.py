"""The client of Daraja against a scripted server: how a push ends, and how many went out."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daraja.process import Simulator
from tests.scripted_daraja import HANG, PUSH, QUERY, RESET, TOKEN, Reply, ScriptedDaraja
from tests.support import free_port, together
from utils import clock, mpesa_wire
from utils.mpesa import Accepted, Answer, Daraja, PushOutcome, Refused, Unknown
from utils.mpesa_reports import Outcome, read_query_answer

GOLDEN = Path(__file__).parent / "daraja" / "golden"


@pytest.fixture
def server() -> Iterator[ScriptedDaraja]:
    with ScriptedDaraja() as server:
        yield server


def push(client: Daraja, **changes: Any) -> PushOutcome:
    facts: dict[str, Any] = {
        "phone": "254708374149",
        "amount_kes": 1500,
        "reference": "ABCDEFGHJK",
        "description": "Ticksy",
        "callback_token": "0123456789abcdef0123456789abcdef",
    }
    return client.push(**facts | changes)


# ── The three outcomes ────────────────────────────────────────────────────────────────────────────────────────────

TOKEN_CODES = ["400.003.01", "401.001", "401.002.01", "401.003.01", "404.001.03"]
FINAL_CODES = ["400.002.02", "400.002.05", "400.008.01", "404.001.01", "404.001.04", "405.001"]
FINAL_CODES += ["500.001.1001", "500.003.03"]
#: What stands for a code where there is none.
WITHOUT_CODE = {"edge_blocked", "429", "no_product"}
ACCEPTED = Reply.json(MerchantRequestID="m", CheckoutRequestID="c", ResponseCode="0")


def test_the_table_of_refusals_is_the_one_tested_here() -> None:
    assert set(mpesa_wire.PUSH_REFUSALS) == {*TOKEN_CODES, *FINAL_CODES, *WITHOUT_CODE, "500.003.02"}


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("code", FINAL_CODES)
def test_an_error_code_that_says_not_executed_is_a_refusal(server: ScriptedDaraja, code: str, status: int) -> None:
    server.pushes = [Reply.error(code, status)]
    assert push(server.client()) == Refused(code)
    assert server.count(PUSH) == 1


@pytest.mark.parametrize("status", [200, 401, 404])
@pytest.mark.parametrize("code", TOKEN_CODES)
def test_a_push_refused_for_its_token_goes_out_once_more_with_a_new_one(
    server: ScriptedDaraja, code: str, status: int
) -> None:
    server.pushes = [Reply.error(code, status), ACCEPTED]
    assert push(server.client()) == Accepted(merchant_request_id="m", checkout_request_id="c")
    first, second = server.requests(PUSH)
    assert first.authorization != second.authorization
    assert first.body == second.body
    assert server.count(TOKEN) == 2


@pytest.mark.parametrize("code", TOKEN_CODES)
def test_a_push_refused_for_its_token_twice_is_refused(server: ScriptedDaraja, code: str) -> None:
    server.pushes = [Reply.error(code, 404)]
    assert push(server.client()) == Refused(code)
    assert (server.count(PUSH), server.count(TOKEN)) == (2, 2)


@pytest.mark.parametrize("status", [200, 429, 500])
def test_a_throttled_push_is_repeated_after_pauses_and_then_given_up(server: ScriptedDaraja, status: int) -> None:
    server.pushes = [Reply.error("500.003.02", status)]
    slept: list[float] = []
    assert push(server.client(sleep=slept.append)) == Refused("500.003.02")
    assert (server.count(PUSH), slept) == (3, [0.5, 1.5])


def test_a_throttled_push_may_come_through(server: ScriptedDaraja) -> None:
    server.pushes = [Reply.error("500.003.02"), ACCEPTED]
    assert isinstance(push(server.client()), Accepted)
    assert server.count(PUSH) == 2


@pytest.mark.parametrize(("asked", "slept"), [("2", [2, 2]), ("1", [1, 1.5]), ("0", [0.5, 1.5]), ("soon", [0.5, 1.5])])
def test_a_throttled_push_pauses_as_long_as_daraja_says(server: ScriptedDaraja, asked: str, slept: list[float]) -> None:
    server.pushes = [Reply(429, b"Too Many Requests", (("Retry-After", asked),))]
    pauses: list[float] = []
    assert push(server.client(sleep=pauses.append)) == Refused("429")
    assert (server.count(PUSH), pauses) == (3, slept)


def test_a_push_does_not_wait_for_a_long_pause(server: ScriptedDaraja) -> None:
    server.pushes = [Reply(429, b"Too Many Requests", (("Retry-After", "60"),))]
    assert push(server.client(sleep=_never)) == Refused("429")
    assert server.count(PUSH) == 1


def _never(_seconds: float) -> None:
    raise AssertionError("it waited")


def test_what_stops_at_the_edge_never_reached_mpesa(server: ScriptedDaraja) -> None:
    server.pushes = [Reply(403, b"<html>Forbidden</html>")]
    assert push(server.client()) == Refused("edge_blocked")
    assert server.count(PUSH) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply.json(401, errorCode="401.003.01", errorMessage="Invalid API call as no apiproduct match found"),
        Reply.json(401, fault={"faultstring": "Invalid API call as no apiproduct match found"}),
        Reply(401, b"Invalid API call as no apiproduct match found"),
    ],
    ids=["envelope", "other object", "text"],
)
def test_a_product_the_app_has_not_is_final_and_fetches_no_token(server: ScriptedDaraja, reply: Reply) -> None:
    server.pushes = [reply]
    assert push(server.client()) == Refused("no_product")
    assert (server.count(PUSH), server.count(TOKEN)) == (1, 1)


@pytest.mark.parametrize(
    "reply",
    [
        Reply.error("500.003.1001"),
        Reply.error("500.003.1001", 200),
        Reply.error("999.999.99"),
        Reply(200, b"<html>OK</html>"),
        Reply(500),
        Reply(503),
        Reply(403),
        Reply(403, b'{"message": "Forbidden"}'),
        Reply(429, b'{"message": "Too Many Requests"}'),
        Reply(401, b"Unauthorized"),
        Reply(200),
        Reply(200, b"{"),
        Reply(200, b"[]"),
        Reply(200, b'"0"'),
        Reply(200, b"\xff\xfe"),
        Reply.json(ResponseCode="0"),
        Reply.json(ResponseCode="0", MerchantRequestID="m", CheckoutRequestID=None),
        Reply.json(ResponseCode=None, MerchantRequestID="m", CheckoutRequestID="c"),
        Reply.json(302, Location="/"),
        RESET,
        HANG,
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:40]!r}",
)
def test_anything_else_is_unknown_and_never_pushed_again(server: ScriptedDaraja, reply: Reply) -> None:
    server.pushes = [reply]
    outcome = push(server.client(answer_seconds=0.3) if reply is HANG else server.client())
    assert isinstance(outcome, Unknown)
    assert server.count(PUSH) == 1


def test_an_unknown_outcome_after_a_refused_token_ends_it(server: ScriptedDaraja) -> None:
    server.pushes = [Reply.error("404.001.03", 404), RESET, ACCEPTED]
    assert isinstance(push(server.client()), Unknown)
    assert server.count(PUSH) == 2


@pytest.mark.parametrize(("code", "status"), [("1", 200), (1, 200), ("17", 400), ("C2B00011", 500)])
def test_a_response_code_other_than_0_is_a_refusal(server: ScriptedDaraja, code: Any, status: int) -> None:
    server.pushes = [Reply.json(status, ResponseCode=code, MerchantRequestID="m", CheckoutRequestID="c")]
    assert push(server.client()) == Refused(str(code))
    assert server.count(PUSH) == 1


@pytest.mark.parametrize("code", ["0", 0])
def test_the_published_acceptance_is_accepted(server: ScriptedDaraja, code: Any) -> None:
    golden = json.loads((GOLDEN / "push_accepted.json").read_text())
    server.pushes = [Reply.json(**golden | {"ResponseCode": code})]
    assert push(server.client()) == Accepted(
        merchant_request_id=golden["MerchantRequestID"], checkout_request_id=golden["CheckoutRequestID"]
    )


def test_a_push_that_cannot_connect_was_never_sent(server: ScriptedDaraja) -> None:
    client = server.client()
    assert isinstance(push(client), Accepted)
    client._wire.base_url = f"http://127.0.0.1:{free_port()}"
    assert push(client) == Refused("unreachable")
    client._wire.base_url = "http://no-such-host.invalid"
    assert push(client) == Refused("unreachable")


def test_a_connection_nobody_takes_was_never_sent(server: ScriptedDaraja) -> None:
    client = server.client(connect_seconds=0.2)
    assert isinstance(push(client), Accepted)
    with socket.socket() as full:
        # A queue for one that nobody empties: further connections wait for ever.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        client._wire.base_url = f"http://127.0.0.1:{full.getsockname()[1]}"
        assert push(client) == Refused("unreachable")
        for filler in fillers:
            filler.close()


# ── What goes out ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_push_says_what_the_published_sample_says(server: ScriptedDaraja) -> None:
    push(server.client())
    [seen] = server.requests(PUSH)
    assert seen.body.keys() == json.loads((GOLDEN / "push_request.json").read_text()).keys()
    assert seen.body["TransactionType"] == "CustomerPayBillOnline"
    assert seen.body["Amount"] == 1500
    assert seen.body["PartyA"] == seen.body["PhoneNumber"] == "254708374149"
    assert seen.body["PartyB"] == seen.body["BusinessShortCode"] == "174379"
    assert seen.body["CallBackURL"] == ("http://127.0.0.1:9/api/payment/callback/0123456789abcdef0123456789abcdef")
    assert seen.authorization == "Bearer token-1"


def test_reference_and_description_fit_their_fields(server: ScriptedDaraja) -> None:
    push(server.client(), reference="A" * 20, description="B" * 20)
    body = server.requests(PUSH)[0].body
    assert (body["AccountReference"], body["TransactionDesc"]) == ("A" * 12, "B" * 13)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_stamp_is_east_africa_time_wherever_the_server_is_and_the_same_in_the_password(
    new_york: None, server: ScriptedDaraja
) -> None:
    with clock.set_to(clock.datetime(2026, 12, 31, 22, 5, 9, tzinfo=clock.timezone.utc)):
        client = server.client()
        push(client)
        client.query("ws_CO_1")
    for seen in (*server.requests(PUSH), *server.requests(QUERY)):
        assert seen.body["Timestamp"] == "20270101010509"
        password = base64.b64decode(seen.body["Password"]).decode()
        assert password == "174379" + "simulator-passkey" + "20270101010509"


# ── Access tokens ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("golden", ["oauth", "oauth_number"])
def test_a_token_is_fetched_once_and_used_until_it_ends(server: ScriptedDaraja, golden: str) -> None:
    body = json.loads((GOLDEN / f"{golden}.json").read_text())
    server.tokens = [Reply.json(**body)]
    client = server.client()
    for _ in range(3):
        push(client)
    client.query("ws_CO_1")
    assert server.count(TOKEN) == 1
    assert {seen.authorization for seen in server.requests(PUSH)} == {f"Bearer {body['access_token']}"}
    credentials = base64.b64decode(server.requests(TOKEN)[0].authorization.removeprefix("Basic ")).decode()
    assert credentials == "simulator-consumer-key:simulator-consumer-secret"


@pytest.mark.parametrize(
    ("expires_in", "still_good_after", "ended_after"),
    [("3599", 3500, 3540), (3599, 3500, 3540), ("50", 40, 46), (None, 3500, 3540), ("soon", 3500, 3540)],
)
def test_a_token_is_renewed_a_little_before_it_ends(
    server: ScriptedDaraja,
    monkeypatch: pytest.MonkeyPatch,
    expires_in: Any,
    still_good_after: float,
    ended_after: float,
) -> None:
    server.tokens = [Reply.json(access_token="t", expires_in=expires_in)]
    client, start = server.client(), time.monotonic()
    for seconds, fetched in ((0, 1), (still_good_after, 1), (ended_after, 2)):
        monkeypatch.setattr(mpesa_wire, "time", _Monotonic(start + seconds))
        push(client)
        assert server.count(TOKEN) == fetched


class _Monotonic:
    """Time stands still at the given moment."""

    def __init__(self, moment: float) -> None:
        self.monotonic = lambda: moment


def test_threads_share_one_token(server: ScriptedDaraja) -> None:
    client = server.client()
    outcomes = together(*[lambda: push(client)] * 12)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert (server.count(TOKEN), server.count(PUSH)) == (1, 12)


def test_threads_refused_with_one_token_fetch_one_new_one(server: ScriptedDaraja) -> None:
    """A new token ends the one before: threads that each fetched one would end each other's."""
    client = server.client()
    push(client)
    old = server.requests(PUSH)[0].authorization
    # All are refused with the old token before the first of them fetches another.
    refused = together_before(6)
    server.before_answering = lambda seen: refused() if seen.path == PUSH and seen.authorization == old else None
    server.pushes = [Reply.error("404.001.03", 404)] * 6 + [ACCEPTED]
    outcomes = together(*[lambda: push(client)] * 6)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert (server.count(TOKEN), server.count(PUSH)) == (2, 1 + 6 + 6)


def together_before(count: int) -> Callable[[], Any]:
    """Called by so many threads, it returns to all of them at once."""
    barrier = threading.Barrier(count)
    return lambda: barrier.wait(timeout=10)


def test_threads_that_wait_for_a_token_in_vain_wait_once(server: ScriptedDaraja) -> None:
    server.tokens = [HANG]
    client, start = server.client(answer_seconds=0.5), time.monotonic()
    assert set(together(*[lambda: push(client)] * 12)) == {Refused("no_token")}
    assert time.monotonic() - start < 4
    assert server.count(PUSH) == 0


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400),
        Reply(200, b"<html>"),
        Reply.json(expires_in="3599"),
        Reply.json(access_token=None),
        RESET,
        Reply(500),
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:40]!r}",
)
def test_without_a_token_nothing_is_pushed_and_the_next_push_tries_again(server: ScriptedDaraja, reply: Reply) -> None:
    server.tokens = [reply, Reply.json(access_token="t", expires_in="3599")]
    client = server.client()
    assert push(client) == Refused("no_token")
    assert server.count(PUSH) == 0
    assert isinstance(push(client), Accepted)


# ── Questions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_question_is_answered_as_it_came(server: ScriptedDaraja) -> None:
    server.queries = [Reply(500, b"<html>as it came</html>")]
    assert server.client().query("ws_CO_1") == Answer(500, b"<html>as it came</html>")
    body = server.requests(QUERY)[0].body
    assert body.keys() == {"BusinessShortCode", "Password", "Timestamp", "CheckoutRequestID"}
    assert body["CheckoutRequestID"] == "ws_CO_1"


@pytest.mark.parametrize("reply", [RESET, HANG])
def test_a_question_nobody_answers_is_none(server: ScriptedDaraja, reply: Reply) -> None:
    server.queries = [reply]
    assert server.client(answer_seconds=0.3).query("ws_CO_1") is None


@pytest.mark.parametrize("code", TOKEN_CODES)
def test_a_question_refused_for_its_token_is_asked_once_more(server: ScriptedDaraja, code: str) -> None:
    server.queries = [Reply.error(code, 404)]
    answer = server.client().query("ws_CO_1")
    assert answer is not None
    assert read_query_answer(answer.body).outcome is Outcome.WAITING
    assert (server.count(QUERY), server.count(TOKEN)) == (2, 2)


# ── The simulator ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_simulator_accepts_what_the_client_sends(simulator: Simulator, server: ScriptedDaraja) -> None:
    client = server.client(base_url=simulator.url)
    outcome = push(client, phone="254700000020")
    assert isinstance(outcome, Accepted)
    [prompt] = simulator.prompts()
    assert prompt["checkout_request_id"] == outcome.checkout_request_id
    simulator.expire_tokens()
    answer = client.query(outcome.checkout_request_id)
    assert answer is not None
    report = read_query_answer(answer.body)
    assert (answer.status, report.outcome, report.code) == (200, Outcome.WAITING, "4999")
