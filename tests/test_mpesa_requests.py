"""Reversals, payouts, questions and lists against a scripted Daraja: what goes out, how often, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_daraja import (
    HANG,
    PAYOUT,
    PULL,
    REGISTER_C2B,
    REGISTER_PULL,
    RESET,
    REVERSAL,
    STATUS,
    TOKEN,
    Reply,
    ScriptedDaraja,
    page,
    taken,
)
from tests.support import free_port
from utils.mpesa import Answer, Daraja, Refused, RequestOutcome, Taken, Unknown
from utils.mpesa_reports import read_pull_page
from utils.mpesa_wire import REFUSALS, AccessToken, Refusal

GOLDEN = Path(__file__).parent / "golden"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server() -> Iterator[ScriptedDaraja]:
    with ScriptedDaraja() as server:
        yield server


def reverse(client: Daraja) -> RequestOutcome:
    return client.reverse(receipt="NLJ7RT61SV", amount_kes=1500, result_token=SECRET, remarks="Refund")


def pay_out(client: Daraja) -> RequestOutcome:
    return client.pay_out(
        originator_conversation_id="5118-111210482-1",
        phone="254708374149",
        amount_kes=500,
        result_token=SECRET,
        remarks="Refund",
    )


def ask_status(client: Daraja) -> RequestOutcome:
    return client.ask_status(receipt="NLJ7RT61SV", result_token=SECRET)


Ask = Callable[[Daraja], RequestOutcome]
MOVING = [pytest.param(reverse, REVERSAL, id="reversal"), pytest.param(pay_out, PAYOUT, id="payout")]
ALL = [*MOVING, pytest.param(ask_status, STATUS, id="status")]
BY_REFUSAL = {kind: sorted(code for code, of in REFUSALS.items() if of is kind) for kind in Refusal}

# ── What came of it ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", ["0", 0])
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_the_published_acknowledgement_is_taken(server: ScriptedDaraja, ask: Ask, path: str, code: Any) -> None:
    golden = json.loads((GOLDEN / "taken.json").read_text())
    server.others[path] = [Reply.json(**golden | {"ResponseCode": code})]
    assert ask(server.client()) == Taken(golden["ConversationID"], golden["OriginatorConversationID"])
    assert server.count(path) == 1


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("code", [code for code in BY_REFUSAL[Refusal.FINAL] if code != "no_product"])
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_an_error_code_that_says_not_executed_is_a_refusal(
    server: ScriptedDaraja, ask: Ask, path: str, code: str, status: int
) -> None:
    server.others[path] = [Reply.error(code, status)]
    assert ask(server.client()) == Refused(code)
    assert server.count(path) == 1


@pytest.mark.parametrize("code", BY_REFUSAL[Refusal.TOKEN])
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_a_request_refused_for_its_token_goes_out_once_more(
    server: ScriptedDaraja, ask: Ask, path: str, code: str
) -> None:
    server.others[path] = [Reply.error(code, 401), taken("AG_1")]
    assert isinstance(ask(server.client()), Taken)
    first, second = server.requests(path)
    assert first.body == second.body
    assert first.authorization != second.authorization
    server.others[path] = [Reply.error(code, 401)]
    assert ask(server.client()) == Refused(code)
    assert server.count(path) == 4


@pytest.mark.parametrize(("ask", "path"), MOVING)
def test_what_moves_money_never_waits_out_throttling(server: ScriptedDaraja, ask: Ask, path: str) -> None:
    server.others[path] = [Reply.error("500.003.02")]
    assert ask(server.client()) == Refused("500.003.02")
    assert server.count(path) == 1


def test_a_question_waits_out_throttling(server: ScriptedDaraja) -> None:
    server.others[STATUS] = [Reply.error("500.003.02"), Reply.error("500.003.02"), taken("AG_1")]
    assert ask_status(server.client()) == Taken("AG_1", "daraja-AG_1")
    server.others[STATUS] = [Reply.error("500.003.02")]
    assert ask_status(server.client()) == Refused("500.003.02")
    assert server.count(STATUS) == 6


def test_a_payout_with_an_id_taken_before_may_have_been_made(server: ScriptedDaraja) -> None:
    server.others[PAYOUT] = [Reply.error("500.002.1001")]
    assert pay_out(server.client()) == Unknown("duplicate")
    assert server.count(PAYOUT) == 1


@pytest.mark.parametrize("code", ["1", 1, "17"])
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_a_response_code_other_than_0_is_a_refusal(server: ScriptedDaraja, ask: Ask, path: str, code: Any) -> None:
    server.others[path] = [Reply.json(ResponseCode=code, ConversationID="AG_1", OriginatorConversationID="o")]
    assert ask(server.client()) == Refused(str(code))


@pytest.mark.parametrize(
    "reply",
    [
        # Of a push these are refusals: there a wrong guess costs a second prompt, here a second payout.
        Reply.error("500.001.1001"),
        Reply(403, b"<html>Forbidden</html>"),
        Reply(429, b"Too Many Requests"),
        Reply.error("500.003.1001"),
        Reply.error("500.003.1001", 200),
        Reply.error("999.999.99"),
        Reply(200, b"<html>OK</html>"),
        Reply(200),
        Reply(500),
        Reply(503),
        Reply(200, b"[]"),
        Reply(200, b"\xff\xfe"),
        Reply.json(ResponseCode="0"),
        Reply.json(ResponseCode="0", ConversationID=None),
        Reply.json(ResponseCode=None, ConversationID="AG_1"),
        Reply.json(302, Location="/"),
        RESET,
        HANG,
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:40]!r}",
)
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_anything_else_is_unknown_and_never_sent_again(
    server: ScriptedDaraja, ask: Ask, path: str, reply: Reply
) -> None:
    server.others[path] = [reply]
    outcome = ask(server.client(answer_seconds=0.3) if reply is HANG else server.client())
    assert isinstance(outcome, Unknown)
    assert server.count(path) == 1


@pytest.mark.parametrize(("ask", "path"), ALL)
def test_what_was_never_sent_is_refused(server: ScriptedDaraja, ask: Ask, path: str) -> None:
    client = server.client()
    server.others[path] = [taken("AG_1")]
    assert isinstance(ask(client), Taken)
    client._wire.base_url = f"http://127.0.0.1:{free_port()}"
    assert ask(client) == Refused("unreachable")
    server.tokens = [Reply(400)]
    assert ask(server.client()) == Refused("no_token")
    assert server.count(path) == 1


def _no_file() -> str:
    raise FileNotFoundError


def _no_certificate() -> str:
    raise ValueError("The certificate's key is not RSA.")


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"initiator_name": ""}, "no_initiator"),
        ({"security_credential": None}, "no_initiator"),
        ({"security_credential": _no_file}, "no_certificate"),
        ({"security_credential": _no_certificate}, "no_certificate"),
    ],
)
@pytest.mark.parametrize(("ask", "path"), ALL)
def test_without_an_initiator_nothing_goes_out(
    server: ScriptedDaraja, ask: Ask, path: str, facts: dict[str, Any], code: str
) -> None:
    assert ask(server.client(**facts)) == Refused(code)
    assert server.seen == []


# ── What goes out ─────────────────────────────────────────────────────────────────────────────────────────────────

RESULTS = {
    "SecurityCredential": "credential",
    "ResultURL": f"http://127.0.0.1:9/api/payment/result/{SECRET}",
    "QueueTimeOutURL": f"http://127.0.0.1:9/api/payment/timeout/{SECRET}",
}


def sent(server: ScriptedDaraja, ask: Callable[[Daraja], object], path: str) -> dict[str, Any]:
    """The body of the request that `ask` makes."""
    ask(server.client())
    [seen] = server.requests(path)
    return seen.body


def test_a_reversal_names_its_payment(server: ScriptedDaraja) -> None:
    assert sent(server, reverse, REVERSAL) == RESULTS | {
        "Initiator": "simulator-initiator",
        "CommandID": "TransactionReversal",
        "TransactionID": "NLJ7RT61SV",
        "Amount": 1500,
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
        "Remarks": "Refund",
        "Occasion": "Refund",
    }


def test_a_payout_has_our_own_id(server: ScriptedDaraja) -> None:
    assert sent(server, pay_out, PAYOUT) == RESULTS | {
        "OriginatorConversationID": "5118-111210482-1",
        "InitiatorName": "simulator-initiator",
        "CommandID": "BusinessPayment",
        "Amount": 500,
        "PartyA": "174379",
        "PartyB": "254708374149",
        "Remarks": "Refund",
        "Occassion": "Refund",
    }


@pytest.mark.parametrize(
    ("about", "names"),
    [
        ({"receipt": "NLJ7RT61SV"}, {"TransactionID"}),
        ({"originator_conversation_id": "1-2-3"}, {"OriginalConversationID", "OriginatorConversationID"}),
    ],
    ids=["receipt", "conversation"],
)
def test_a_question_names_a_receipt_or_a_conversation(
    server: ScriptedDaraja, about: dict[str, str], names: set[str]
) -> None:
    body = sent(server, lambda client: client.ask_status(**about, result_token=SECRET), STATUS)
    assert body == RESULTS | dict.fromkeys(names, *about.values()) | {
        "Initiator": "simulator-initiator",
        "CommandID": "TransactionStatusQuery",
        "PartyA": "174379",
        "IdentifierType": "4",
        "Remarks": "Status",
        "Occasion": "Status",
    }


def test_a_till_is_pushed_for_with_the_number_of_its_head_office(server: ScriptedDaraja) -> None:
    client = server.client(transaction_type="CustomerBuyGoodsOnline", party_b="654321")
    client.push(phone="254708374149", amount_kes=1, reference="ABC", description="Ticksy", callback_token=SECRET)
    [seen] = [seen for seen in server.seen if "PartyB" in seen.body]
    assert (seen.body["TransactionType"], seen.body["PartyB"]) == ("CustomerBuyGoodsOnline", "654321")
    assert seen.body["BusinessShortCode"] == "174379"


def test_a_list_is_asked_for_in_east_africa_time(server: ScriptedDaraja) -> None:
    server.others[PULL] = [page()]
    start, end = (datetime(2026, 12, 31, hour, 59, 1, tzinfo=timezone.utc) for hour in (20, 21))
    assert sent(server, lambda client: client.pull(start=start, end=end, offset=100), PULL) == {
        "ShortCode": "174379",
        "StartDate": "2026-12-31 23:59:01",
        "EndDate": "2027-01-01 00:59:01",
        "OffSetValue": "100",
    }


def pull(client: Daraja) -> Answer | None:
    now = datetime.now(timezone.utc)
    return client.pull(start=now, end=now, offset=0)


def test_a_list_is_answered_as_it_came(server: ScriptedDaraja) -> None:
    body = (GOLDEN / "pull_page.json").read_bytes()
    server.others[PULL] = [Reply(200, body)]
    assert pull(server.client()) == Answer(200, body)


def test_a_list_waits_out_throttling_and_a_refused_token(server: ScriptedDaraja) -> None:
    server.others[PULL] = [Reply.error("500.003.02"), Reply.error("400.003.01", 400), page()]
    answer = pull(server.client())
    assert answer is not None
    assert read_pull_page(answer.body) == []
    assert (server.count(PULL), server.count(TOKEN)) == (3, 2)


@pytest.mark.parametrize("reply", [RESET, HANG])
def test_a_list_nobody_answers_is_none(server: ScriptedDaraja, reply: Reply) -> None:
    server.others[PULL] = [reply]
    assert pull(server.client(answer_seconds=0.3)) is None


def test_addresses_are_registered(server: ScriptedDaraja) -> None:
    def register(client: Daraja) -> None:
        client.register_c2b(confirmation_url="https://t.ke/c", validation_url="https://t.ke/v")
        client.register_pull(nominated_number="254712345678", callback_url="https://t.ke/p")

    assert sent(server, register, REGISTER_C2B) == {
        "ShortCode": "174379",
        "ResponseType": "Completed",
        "ConfirmationURL": "https://t.ke/c",
        "ValidationURL": "https://t.ke/v",
    }
    assert server.requests(REGISTER_PULL)[0].body == {
        "ShortCode": "174379",
        "RequestType": "Pull",
        "NominatedNumber": "254712345678",
        "CallBackURL": "https://t.ke/p",
    }


def test_what_happens_when_validation_is_silent_can_be_chosen(server: ScriptedDaraja) -> None:
    server.client().register_c2b(confirmation_url="c", validation_url="v", response_type="Cancelled")
    assert server.requests(REGISTER_C2B)[0].body["ResponseType"] == "Cancelled"


# ── Whether key and secret are right ──────────────────────────────────────────────────────────────────────────────


def test_access_is_checked_with_a_new_token_which_is_then_used(server: ScriptedDaraja) -> None:
    client = server.client()
    ask_status(client)
    assert client.check_access()
    ask_status(client)
    assert server.count(TOKEN) == 2
    first, second = server.requests(STATUS)
    assert first.authorization != second.authorization


def test_a_token_that_others_share_proves_nothing(server: ScriptedDaraja) -> None:
    shared = AccessToken("of-an-hour-ago", 3000)

    def share(fetch: Callable[[], AccessToken], refused: str | None) -> AccessToken:
        return shared if refused != shared.text else fetch()

    client = server.client(share_token=share)
    server.tokens = [Reply(400)]
    assert not client.check_access()
    server.tokens = []
    assert client.check_access()
