"""Tickets issued anew for a lost phone, and what who has no account does on the page of a ticket."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import AuditLog, NotificationKind, SupersededCode, Transfer, TransferStatus
from services import reissues
from tests.held_tickets import cancel, give_back, use
from tests.passing_on import CHANNELS, EMAIL, PHONE, Passing, link_in
from tests.support import Maker, changed_settings
from utils import clock


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


@pytest.fixture
def passing(client: FlaskClient, make: Maker) -> Passing:
    return Passing(client, make)


def reissue(passing: Passing, code: str | None = None) -> TestResponse:
    return passing.as_buyer(f"/tickets/{code or passing.now().code}/reissue", "POST")


# ── By login ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_issue_ends_the_old_one(passing: Passing) -> None:
    before, old_page = passing.as_buyer(f"/tickets/{passing.ticket.code}").json, passing.page()
    after = reissue(passing).json
    assert (after["id"], after["status"]) == (before["id"], "valid")
    assert after["ticket_code"] != before["ticket_code"]
    assert passing.check(before["ticket_code"]) == "superseded"
    assert passing.scan(token=before["token"])["result"] == "superseded"
    assert passing.scan(code=before["ticket_code"])["result"] == "superseded"
    assert "Replaced" in passing.client.get(old_page).text
    assert passing.scan(token=after["token"])["result"] == "ok"
    [message] = passing.sent(NotificationKind.TICKET_REISSUED)
    assert (message.user_id, message.address) == (passing.buyer.id, passing.buyer.email)
    assert link_in(message, passing.make) == passing.page()


def test_a_used_ticket_stays_used(passing: Passing, make: Maker) -> None:
    use(make, passing.ticket)
    assert reissue(passing).json["status"] == "used"
    assert passing.scan(code=passing.now().code)["result"] == "already_in"


def test_it_takes_back_what_was_offered(passing: Passing, make: Maker) -> None:
    passing.offer()
    link = passing.link()
    reissue(passing)
    assert passing.accept(link).json["code"] == "offer_withdrawn"
    assert [one.status for one in make.rows(Transfer)] == [TransferStatus.WITHDRAWN]


def test_it_is_done_ten_times_at_most(passing: Passing, make: Maker) -> None:
    for _ in range(reissues.MOST_ISSUES):
        assert reissue(passing).status_code == 200
    answer = reissue(passing)
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_issues")
    assert len(make.rows(SupersededCode)) == reissues.MOST_ISSUES


@pytest.mark.parametrize(
    ("end", "code"), [(give_back, "ticket_void"), (cancel, "event_cancelled"), (None, "event_over")]
)
def test_what_lets_nobody_in_is_not_issued_anew(
    passing: Passing, make: Maker, end: Callable[..., None] | None, code: str
) -> None:
    if end is not None:
        end(make, passing.ticket)
        assert reissue(passing).json["code"] == code
    else:
        with clock.set_to(passing.event.ends_at):
            assert reissue(passing).json["code"] == code
    assert passing.now().rotation == 1


# ── By the organizer ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_organizer_reissues_and_the_holder_alone_is_told(passing: Passing, make: Maker) -> None:
    passing.pass_on(phone=PHONE)
    path = f"/organizer/tickets/{passing.ticket.id}/reissue"
    answer = passing.client.post(path, headers=make.headers(passing.organizer))
    assert answer.status_code == 200
    assert answer.json.keys() == {"message"}
    [message] = passing.sent(NotificationKind.TICKET_REISSUED)
    assert message.address == PHONE
    assert link_in(message, make) == passing.page()
    assert [line.user_id for line in make.rows(AuditLog) if line.action == "ticket_reissued"] == [passing.organizer.id]
    assert passing.client.post(path, headers=make.headers(make.admin())).status_code == 200
    for stranger, status in ((make.organizer(), 404), (passing.buyer, 403)):
        assert passing.client.post(path, headers=make.headers(stranger)).status_code == status


def test_a_holder_who_could_not_be_told_keeps_the_ticket(app: Flask, passing: Passing, make: Maker) -> None:
    passing.pass_on(phone=PHONE)
    with changed_settings(app, SMS_URL=""):
        answer = passing.client.post(
            f"/organizer/tickets/{passing.ticket.id}/reissue", headers=make.headers(passing.organizer)
        )
        assert (answer.status_code, answer.json["code"]) == (409, "channel_off")
    assert passing.now().rotation == 2


# ── On the page of a ticket ───────────────────────────────────────────────────────────────────────────────────────


def act(passing: Passing, **form: str) -> TestResponse:
    return passing.client.post(f"{passing.page()}/manage", data=form)


def test_who_has_no_account_passes_on_by_the_page(passing: Passing, make: Maker) -> None:
    first = passing.pass_on(phone=PHONE)
    page = passing.page()
    assert f'{page.removeprefix("/t/")}/manage"' in passing.client.get(page).text
    shown = passing.client.get(f"{page}/manage")
    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert "form-action 'self'" in shown.headers["Content-Security-Policy"]
    done = act(passing, action="transfer", email="ben@example.co.ke")
    assert (done.status_code, "on its way to <strong>ben@example.co.ke" in done.text) == (200, True)
    assert "on its way to somebody already" in act(passing, action="transfer", phone="0712000111").text
    assert "not on its way to anybody any more" in act(passing, action="withdraw").text
    assert act(passing, action="withdraw").status_code == 404
    act(passing, action="transfer", phone="0712000111")
    assert passing.accept(first_name="Ben", last_name="Otieno").status_code == 200
    assert (passing.now().phone, passing.now().rotation) == ("254712000111", 3)
    assert passing.check(first.code) == "superseded"
    told = passing.sent(NotificationKind.TRANSFER_ACCEPTED)[-1]
    assert (told.user_id, told.address) == (None, PHONE)
    for answer in (
        passing.client.get(f"{page}/manage"),
        passing.client.post(f"{page}/manage", data={"action": "reissue"}),
    ):
        assert "issued anew" in answer.text
        assert "<form" not in answer.text
    assert [one.from_id for one in make.rows(Transfer)] == [passing.buyer.id, None, None]


def test_who_found_the_page_cannot_take_the_ticket_by_a_new_issue(passing: Passing) -> None:
    passing.pass_on(email=EMAIL)
    done = act(passing, action="reissue")
    assert done.status_code == 200
    assert "k***@example.co.ke" in done.text
    assert EMAIL not in done.text
    assert passing.page() not in done.text
    assert passing.now().code not in done.text
    [message] = passing.sent(NotificationKind.TICKET_REISSUED)
    assert (message.address, link_in(message, passing.make)) == (EMAIL, passing.page())


def test_who_has_an_account_logs_in(passing: Passing, make: Maker) -> None:
    for _ in range(2):
        page = passing.page()
        assert "/manage" not in passing.client.get(page).text
        assert "Please log in" in passing.client.get(f"{page}/manage").text
        for action in ("reissue", "withdraw", "agree_to_refund"):
            answer = act(passing, action=action)
            assert (answer.status_code, "please log in" in answer.text.lower()) == (403, True)
        assert act(passing, action="transfer", email=EMAIL).status_code == 403
        if passing.now().passed_on_at is None:
            passing.pass_on(by=make.attendee())


def test_who_has_no_account_agrees_to_a_refund_on_the_page(passing: Passing, make: Maker) -> None:
    passing.pass_on()
    assert "do not agree any more" in act(passing, action="agree_to_refund").text.lower()
    assert passing.now().refund_agreed_at is not None
    act(passing, action="refuse_refund")
    assert passing.now().refund_agreed_at is None
    act(passing, action="agree_to_refund")
    give_back(make, passing.ticket)
    assert "lets nobody in any more" in passing.client.get(f"{passing.page()}/manage").text


@pytest.mark.parametrize(
    "form", [{}, {"action": "steal"}, {"action": "transfer"}, {"action": "transfer", "phone": "1"}]
)
def test_a_form_that_is_wrong_is_refused(passing: Passing, form: dict[str, str]) -> None:
    passing.pass_on()
    assert act(passing, **form).status_code == 422
