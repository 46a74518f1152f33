"""A ticket that several people reach for at the same moment: whatever comes first, nobody is cheated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from models import OrderStatus, SupersededCode, Transfer, TransferStatus
from tests.gates import SCANS, new_nonce
from tests.passing_on import CHANNELS, Passing
from tests.support import Maker, changed_settings, together
from utils import clock

ROUNDS = range(4)


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


@pytest.fixture
def passing(client: FlaskClient, make: Maker) -> Passing:
    """With a link that waits to be used."""
    passing = Passing(client, make)
    assert passing.offer().status_code == 201
    return passing


def post(
    passing: Passing, path: str, body: dict[str, object], headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Its status, and the code of the refusal, if it is one."""
    answer = passing.make.app.test_client().post(path, json=body, headers=headers or {})
    return answer.status_code, (answer.json or {}).get("code", "")


NAMES: dict[str, object] = {"first_name": "Kamau", "last_name": "Njoroge"}


@pytest.mark.parametrize("_round", ROUNDS)
def test_a_link_used_by_many_at_once_gives_the_ticket_to_one(passing: Passing, make: Maker, _round: int) -> None:
    path = f"{passing.link()}/acceptance"
    headers = [make.headers(make.attendee()) for _ in range(5)]
    told = together(*[lambda one=one: post(passing, path, NAMES, one) for one in headers])
    assert Counter(told) == {(200, ""): 1, (409, "offer_accepted"): 4}
    assert (passing.now().rotation, len(make.rows(SupersededCode))) == (2, 1)


@pytest.mark.parametrize("_round", ROUNDS)
def test_accepting_and_withdrawing_at_once_is_one_or_the_other(passing: Passing, make: Maker, _round: int) -> None:
    link, headers = passing.link(), make.headers(passing.buyer)
    path = f"/tickets/{passing.ticket.code}/transfer"
    accepted, withdrawn = together(
        lambda: post(passing, f"{link}/acceptance", NAMES),
        lambda: make.app.test_client().delete(path, headers=headers).status_code,
    )
    [transfer] = make.rows(Transfer)
    if transfer.status is TransferStatus.ACCEPTED:
        assert (accepted, withdrawn, passing.now().rotation) == ((200, ""), 404, 2)
    else:
        assert (accepted, withdrawn, passing.now().rotation) == ((409, "offer_withdrawn"), 200, 1)


@pytest.mark.parametrize("_round", ROUNDS)
def test_accepting_and_refunding_at_once_is_one_or_the_other(passing: Passing, make: Maker, _round: int) -> None:
    link, headers = passing.link(), make.headers(passing.organizer)
    accepted, refunded = together(
        lambda: post(passing, f"{link}/acceptance", NAMES),
        lambda: post(passing, f"/orders/{passing.order.id}/refund", {}, headers),
    )
    now = passing.now()
    if accepted == (200, ""):
        assert refunded == (409, "passed_on")
        assert (passing.check(now.code), make.status(passing.order.id)) == ("valid", OrderStatus.PAID)
    else:
        assert (accepted, refunded) == ((409, "ticket_void"), (200, ""))
        assert (passing.check(now.code), now.rotation) == ("void", 1)


@pytest.mark.parametrize("_round", ROUNDS)
@pytest.mark.parametrize("shown", ["token", "code"])
def test_the_seller_at_the_gate_while_the_link_is_used_is_in_or_it_is_sold(
    client: FlaskClient, make: Maker, shown: str, _round: int
) -> None:
    passing = Passing(client, make, starts_at=clock.ahead(hours=2))  # the gates are open, and it may be passed on
    passing.offer()
    link, headers = passing.link(), make.headers(passing.organizer)
    seen = {"token": passing.as_buyer(f"/tickets/{passing.ticket.code}").json["token"], "code": passing.ticket.code}
    sent = {"event_id": passing.event.id, "nonce": new_nonce(), shown: seen[shown]}
    answer, accepted = together(
        lambda: make.app.test_client().post(SCANS, json=sent, headers=headers).json["results"][0]["result"],
        lambda: post(passing, f"{link}/acceptance", NAMES),
    )
    if accepted == (200, ""):
        assert (answer, passing.check(passing.now().code)) == ("superseded", "valid")
    else:
        assert (answer, accepted, passing.now().rotation) == ("ok", (409, "ticket_used"), 1)


@pytest.mark.parametrize("_round", ROUNDS)
def test_offered_twice_at_once_it_is_offered_once(client: FlaskClient, make: Maker, _round: int) -> None:
    passing = Passing(client, make)
    path, headers = f"/tickets/{passing.ticket.code}/transfer", make.headers(passing.buyer)
    told = together(*[lambda n=n: post(passing, path, {"email": f"k{n}@example.co.ke"}, headers) for n in range(4)])
    assert Counter(told) == {(201, ""): 1, (409, "offer_open"): 3}
    assert len(make.rows(Transfer)) == 1


@pytest.mark.parametrize("_round", ROUNDS)
def test_accepting_while_it_is_issued_anew_leaves_one_good_code(passing: Passing, make: Maker, _round: int) -> None:
    """The sender's reissue takes the offer back, unless it comes too late."""
    link, headers = passing.link(), make.headers(passing.buyer)
    accepted, reissued = together(
        lambda: post(passing, f"{link}/acceptance", NAMES),
        lambda: post(passing, f"/tickets/{passing.ticket.code}/reissue", {}, headers),
    )
    now = passing.now()
    assert (accepted, reissued) in [((200, ""), (404, "not_found")), ((409, "offer_withdrawn"), (200, ""))]
    assert (now.rotation, now.holder_id) == (2, None if accepted[0] == 200 else passing.buyer.id)
    assert (passing.check(passing.ticket.code), passing.check(now.code)) == ("superseded", "valid")
