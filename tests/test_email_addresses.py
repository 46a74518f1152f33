"""E-mail addresses: confirmed, changed with a confirmation, and taken back by whoever reads the old one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import AuditLog, EventStatus, NotificationKind, TokenPurpose, User
from tests.mailed import ask_for_reset, links, mail_set_up, secret_of, told
from tests.support import PASSWORD, Maker, changed_settings, mailed_secret, together
from tests.test_two_factor import set_up
from utils import clock

NEW = "achieng.new@example.co.ke"


@pytest.fixture(autouse=True)
def _mail(app: Flask) -> Iterator[None]:
    with mail_set_up(app):
        yield


def sign_up(client: FlaskClient, **changed: Any) -> dict[str, Any]:
    person = {"first_name": "Achieng", "last_name": "Odhiambo", "email": "achieng@example.co.ke", "phone": "0712345678"}
    answer = client.post("/signup", json=person | {"password": PASSWORD} | changed)
    assert answer.status_code == 201
    return dict(answer.json)


def bears(opened: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {opened['access_token']}"}


def my_email(client: FlaskClient, headers: dict[str, str]) -> Any:
    return client.get("/profile/me/email", headers=headers).json


def change(client: FlaskClient, headers: dict[str, str], email: str = NEW, **changed: Any) -> TestResponse:
    return client.post("/profile/me/email", json={"email": email, "password": PASSWORD} | changed, headers=headers)


def confirm(client: FlaskClient, link: str) -> TestResponse:
    return client.post("/email/confirm", json={"token": secret_of(link)})


def log_in(client: FlaskClient, email: str, password: str = PASSWORD) -> int:
    return client.post("/login", json={"email": email, "password": password}).status_code


# ── Confirming ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_signs_up_is_asked_whether_the_address_is_theirs(client: FlaskClient, make: Maker) -> None:
    headers = bears(sign_up(client))
    assert my_email(client, headers) == {"email": "achieng@example.co.ke", "is_verified": False}
    [link] = links(make, NotificationKind.VERIFY_EMAIL)
    assert client.get(link).status_code == 200
    assert my_email(client, headers)["is_verified"] is False
    assert "Your e-mail address is confirmed" in client.post(link).text
    assert my_email(client, headers)["is_verified"] is True
    assert client.post(link).status_code == 404
    assert make.rows(AuditLog)[-1].action == "email_verified"


def test_nobody_is_asked_where_no_e_mail_is_sent(app: Flask, client: FlaskClient, make: Maker) -> None:
    with changed_settings(app, MAIL_URL=""):
        headers = bears(sign_up(client))
        assert client.post("/verify-email/again", headers=headers).json["code"] == "mail_off"
    assert told(make, NotificationKind.VERIFY_EMAIL) == []


def test_the_link_is_sent_again_until_it_is_used(client: FlaskClient, make: Maker) -> None:
    headers = bears(sign_up(client))
    assert client.post("/verify-email/again", headers=headers).status_code == 202
    first, second = links(make, NotificationKind.VERIFY_EMAIL)
    assert client.post("/verify-email", json={"token": secret_of(first)}).json["code"] == "link_invalid"
    assert client.post("/verify-email", json={"token": secret_of(second)}).status_code == 200
    assert client.post("/verify-email/again", headers=headers).json["code"] == "already_verified"


def test_a_link_confirms_its_owners_address_alone(client: FlaskClient, make: Maker) -> None:
    sign_up(client)
    other = bears(sign_up(client, email="other@example.co.ke", phone="0733345678"))
    client.post("/verify-email", json={"token": secret_of(links(make, NotificationKind.VERIFY_EMAIL)[0])})
    assert my_email(client, other)["is_verified"] is False


def test_a_link_to_an_address_that_was_given_up_confirms_nothing(app: Flask, client: FlaskClient, make: Maker) -> None:
    headers = bears(sign_up(client))
    link = links(make, NotificationKind.VERIFY_EMAIL)[0]
    with changed_settings(app, MAIL_URL=""):
        client.put("/profile/me", json={"email": NEW}, headers=headers)
    assert client.post("/verify-email", json={"token": secret_of(link)}).status_code == 404
    assert my_email(client, headers) == {"email": NEW, "is_verified": False}


def test_a_reset_by_e_mail_confirms_the_address_as_well(client: FlaskClient, make: Maker) -> None:
    sign_up(client)
    link = ask_for_reset(make, "achieng@example.co.ke")
    client.post("/password/reset", json={"token": secret_of(link), "password": "kahawa-chungu-41"})
    assert make.rows(User)[-1].email_verified_at is not None


# ── An organizer's, before an event is approved ───────────────────────────────────────────────────────────────────


def approve(client: FlaskClient, make: Maker, event_id: int, status: str = "approved") -> TestResponse:
    body = {"status": status} | ({"reason": "No"} if status == "rejected" else {})
    return client.patch(f"/admin/approve/{event_id}", json=body, headers=make.headers(make.admin()))


def test_an_event_waits_for_its_organizers_confirmation(app: Flask, client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer(is_verified=False)
    event = make.event(organizer, status=EventStatus.PENDING)  # submitting is open to all
    with changed_settings(app, REQUIRE_VERIFIED_EMAIL=True):
        with clock.set_to(clock.ahead(hours=2)):
            for _ in range(2):
                answer = approve(client, make, event.id)
                assert (answer.status_code, answer.json["code"]) == (409, "organizer_unverified")
        # At sign-up, and once more when it was needed.
        link = links(make, NotificationKind.VERIFY_EMAIL)[-1]
        assert len(told(make, NotificationKind.VERIFY_EMAIL)) == 2
        client.post(link)
        assert approve(client, make, event.id).json["status"] == "approved"


def test_rejecting_needs_no_confirmation(app: Flask, client: FlaskClient, make: Maker) -> None:
    event = make.event(make.organizer(is_verified=False), status=EventStatus.PENDING)
    with changed_settings(app, REQUIRE_VERIFIED_EMAIL=True):
        assert approve(client, make, event.id, "rejected").json["status"] == "rejected"


def test_it_is_not_asked_for_unless_it_is_required(client: FlaskClient, make: Maker) -> None:
    event = make.event(make.organizer(is_verified=False), status=EventStatus.PENDING)
    assert approve(client, make, event.id).json["status"] == "approved"


# ── Another address ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_address_is_the_accounts_once_it_is_confirmed_there(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    assert change(client, headers).status_code == 202
    assert my_email(client, headers)["email"] == user.email
    [asked] = told(make, NotificationKind.EMAIL_CHANGE)
    assert asked.address == NEW
    [link] = links(make, NotificationKind.EMAIL_CHANGE)
    assert client.get(link).status_code == 200
    assert my_email(client, headers)["email"] == user.email
    assert "is changed" in client.post(link).text
    assert my_email(client, headers) == {"email": NEW, "is_verified": True}
    assert (log_in(client, user.email), log_in(client, NEW)) == (401, 200)
    [announced] = told(make, NotificationKind.EMAIL_CHANGED)
    assert announced.address == user.email
    assert [line.action for line in make.rows(AuditLog)][-3:] == ["email_change_asked", "email_changed", "logged_in"]


def test_it_needs_the_password(client: FlaskClient, make: Maker) -> None:
    """Whoever got hold of a token cannot take the account with it."""
    headers = make.headers(make.attendee())
    assert change(client, headers, password="uji-na-mandazi-2025").json["code"] == "wrong_password"
    answer = client.put("/profile/me", json={"first_name": "X", "email": NEW}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, "email_needs_password")
    profile = client.get("/profile/me", headers=headers).json
    assert (profile["email"] != NEW, profile["first_name"]) == (True, "Njeri")
    assert told(make, NotificationKind.EMAIL_CHANGE) == []


def test_the_profile_is_saved_with_the_address_that_it_has(client: FlaskClient, make: Maker) -> None:
    """As the frontend does, which sends all four fields."""
    user = make.attendee()
    facts = {"first_name": "Zawadi", "last_name": "K", "email": user.email.upper(), "phone": "0733111222"}
    assert client.put("/profile/me", json=facts, headers=make.headers(user)).status_code == 200


def test_without_e_mail_an_address_is_believed(app: Flask, client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    headers = make.headers(user)
    with changed_settings(app, MAIL_URL=""):
        assert change(client, headers).json == {"message": "Your address is changed."}
        assert my_email(client, headers) == {"email": NEW, "is_verified": False}


def test_an_address_that_is_taken_or_ones_own_is_refused(client: FlaskClient, make: Maker) -> None:
    user, other = make.attendee(), make.attendee()
    assert change(client, make.headers(user), other.email).json["code"] == "email_taken"
    assert change(client, make.headers(user), user.email.upper()).json["code"] == "same_address"


def test_of_two_who_confirm_the_same_address_one_gets_it(app: Flask, client: FlaskClient, make: Maker) -> None:
    for _ in range(2):
        assert change(client, make.headers(make.attendee())).status_code == 202
    both = links(make, NotificationKind.EMAIL_CHANGE)
    answers = together(*(lambda link=link: confirm(app.test_client(), link) for link in both))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert {answer.json.get("code") for answer in answers} == {None, "email_taken"}


def test_a_change_that_was_asked_for_ends_with_a_new_password(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    change(client, make.headers(user))
    body = {"current_password": PASSWORD, "password": "kahawa-chungu-41"}
    client.put("/profile/me/password", json=body, headers=make.headers(user))
    assert confirm(client, links(make, NotificationKind.EMAIL_CHANGE)[0]).status_code == 404


def test_a_second_change_replaces_the_first(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.attendee())
    change(client, headers)
    change(client, headers, "third@example.co.ke")
    first, second = links(make, NotificationKind.EMAIL_CHANGE)
    assert (confirm(client, first).status_code, confirm(client, second).status_code) == (404, 200)


def test_a_link_to_the_old_address_resets_nothing_after_the_change(client: FlaskClient, make: Maker) -> None:
    user = make.attendee()
    reset = ask_for_reset(make, user.email)
    change(client, make.headers(user))
    confirm(client, links(make, NotificationKind.EMAIL_CHANGE)[0])
    body = {"token": secret_of(reset), "password": "kahawa-chungu-41"}
    assert client.post("/password/reset", json=body).status_code == 404


@pytest.mark.parametrize("purpose", [one for one in TokenPurpose if one is not TokenPurpose.CHANGE_EMAIL])
def test_a_link_for_something_else_changes_no_address(
    app: Flask, client: FlaskClient, make: Maker, purpose: Any
) -> None:
    secret = mailed_secret(app, make.attendee(), purpose, NEW)
    assert client.post("/email/confirm", json={"token": secret}).status_code == 404


# ── Taken back ────────────────────────────────────────────────────────────────────────────────────────────────────


def stolen(client: FlaskClient, make: Maker) -> tuple[User, str]:
    """An account whose address a thief has changed, who knows the password; and the link that its owner got."""
    user = make.attendee()
    change(client, make.headers(user), "thief@example.co.ke")
    assert confirm(client, links(make, NotificationKind.EMAIL_CHANGE)[-1]).status_code == 200
    return user, links(make, NotificationKind.EMAIL_CHANGED)[-1]


def test_who_reads_the_old_address_takes_the_account_back(client: FlaskClient, make: Maker) -> None:
    user, undo = stolen(client, make)
    thief = client.post("/login", json={"email": "thief@example.co.ke", "password": PASSWORD}).json
    assert client.get(undo).status_code == 200
    assert "has its old address back" in client.post(undo).text
    assert client.get("/profile/me", headers=bears(thief)).json["code"] == "session_ended"
    assert (log_in(client, "thief@example.co.ke"), log_in(client, user.email)) == (401, 401)
    [reset] = links(make, NotificationKind.PASSWORD_RESET)
    assert told(make, NotificationKind.PASSWORD_RESET)[0].address == user.email
    assert client.post(reset, data={"password": "kahawa-chungu-41"}).status_code == 200
    assert log_in(client, user.email, "kahawa-chungu-41") == 200
    assert client.post(undo).status_code == 404


def test_a_second_change_does_not_take_the_first_ones_undoing_away(client: FlaskClient, make: Maker) -> None:
    user, undo = stolen(client, make)
    thief = client.post("/login", json={"email": "thief@example.co.ke", "password": PASSWORD}).json
    change(client, bears(thief), "thief2@example.co.ke")
    confirm(client, links(make, NotificationKind.EMAIL_CHANGE)[-1])
    thiefs_undo = links(make, NotificationKind.EMAIL_CHANGED)[-1]
    assert client.post(undo).status_code == 200
    assert client.post(thiefs_undo).status_code == 404
    assert make.rows(User)[0].email == user.email


def test_what_the_thief_set_up_is_off_and_what_the_owner_had_stays(client: FlaskClient, make: Maker) -> None:
    for is_thiefs in (True, False):
        user = make.attendee()
        headers = make.headers(user)
        if not is_thiefs:
            with clock.set_to(clock.ago(days=2)):
                code = set_up(client, headers).recovery_codes[0]
            change(client, headers, "t@example.co.ke", code=code)
        else:
            change(client, headers, "t@example.co.ke")
        confirm(client, links(make, NotificationKind.EMAIL_CHANGE)[-1])
        undo = links(make, NotificationKind.EMAIL_CHANGED)[-1]
        if is_thiefs:
            set_up(client, headers)
        assert client.post(undo).status_code == 200
        standing = client.get("/profile/me/two-factor", headers=make.headers(user)).json
        assert standing["is_on"] is not is_thiefs


def test_it_can_be_taken_back_for_seven_days(client: FlaskClient, make: Maker) -> None:
    _, undo = stolen(client, make)
    with clock.set_to(clock.ahead(days=7, seconds=1)):
        assert client.post(undo).status_code == 404
    with clock.set_to(clock.ahead(days=6)):
        assert client.post(undo).status_code == 200


def test_an_old_address_that_somebody_else_has_by_now_stays_theirs(client: FlaskClient, make: Maker) -> None:
    user, undo = stolen(client, make)
    make.attendee(email=user.email)
    page = client.post(undo)
    assert (page.status_code, page.mimetype) == (409, "text/html")
    assert "There is an account with this e-mail address already." in page.text
    assert client.post("/email/undo", json={"token": secret_of(undo)}).json["code"] == "email_taken"
