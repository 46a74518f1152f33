"""Admins look users up, ban them and change their roles."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from models import AccountStatus, AuditLog, Role, User
from tests.support import Maker, together

BANNED, ACTIVE = {"status": "banned"}, {"status": "active"}


def names(client: FlaskClient, make: Maker, admin: User, **query: Any) -> list[str]:
    answer = client.get("/admin/users", query_string=query, headers=make.headers(admin))
    assert answer.status_code == 200, answer.text
    return [user["first_name"] for user in answer.json]


# ── Looking up ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_is_listed_newest_first_with_what_the_admin_pages_read(client: FlaskClient, make: Maker) -> None:
    attendee, admin = make.attendee(first_name="Wanjiru"), make.admin(first_name="Amina")
    answer = client.get("/admin/users", headers=make.headers(admin))
    assert [user["first_name"] for user in answer.json] == ["Amina", "Wanjiru"]
    user = answer.json[1]
    assert user.pop("created_at").endswith("+03:00")
    assert user == {
        "id": attendee.id,
        "first_name": "Wanjiru",
        "last_name": attendee.last_name,
        "email": attendee.email,
        "phone": attendee.phone,
        "role": "attendee",
        "status": "active",
    }


@pytest.mark.parametrize(
    "words",
    ["wanj", "WANJIRU", "kamau", "wanjiru kamau", "kamau wan", "w.kamau@", "254711222333", "0711222", "+254711222333",
     "711222333", "  kamau  "],
)  # fmt: skip
def test_people_are_found_by_parts_of_name_address_and_number(client: FlaskClient, make: Maker, words: str) -> None:
    make.attendee(first_name="Wanjiru", last_name="Kamau", email="w.kamau@example.co.ke", phone="254711222333")
    make.attendee(first_name="Otieno", last_name="Ochieng", email="otieno@example.co.ke", phone="254722000000")
    assert names(client, make, make.admin(), q=words) == ["Wanjiru"]


@pytest.mark.parametrize("words", ["%", "_", "wanjiru otieno", "nobody", "\\", "'"])
def test_nobody_is_found_by_what_they_do_not_have(client: FlaskClient, make: Maker, words: str) -> None:
    make.attendee(first_name="Wanjiru")
    make.attendee(first_name="Otieno")
    assert names(client, make, make.admin(), q=words) == []


def test_users_are_filtered_by_role_and_status_and_paged(client: FlaskClient, make: Maker) -> None:
    make.attendee(first_name="A")
    banned, admin = make.organizer(first_name="B"), make.admin(first_name="C")
    make.ban(banned)
    assert names(client, make, admin, role="organizer") == ["B"]
    assert names(client, make, admin, status="banned") == ["B"]
    assert names(client, make, admin, status="active") == ["C", "A"]
    assert names(client, make, admin, role="attendee", status="banned") == []
    assert names(client, make, admin, role="", status="", q="") == ["C", "B", "A"]
    answer = client.get("/admin/users?page=2&per_page=2", headers=make.headers(admin))
    assert (len(answer.json), answer.headers["X-Total-Count"]) == (1, "3")


@pytest.mark.parametrize("query", ["role=king", "status=gone", "role=ADMIN", "q=%00", "q=" + "x" * 301, "id=1"])
def test_a_wrong_filter_is_refused(client: FlaskClient, make: Maker, query: str) -> None:
    assert client.get(f"/admin/users?{query}", headers=make.headers(make.admin())).status_code == 422


# ── Banning ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ban_and_its_end_act_on_the_very_next_request(client: FlaskClient, make: Maker) -> None:
    user, as_admin = make.attendee(), make.headers(make.admin())
    headers, url = make.headers(user), f"/admin/users/{user.id}/status"
    assert client.patch(url, json=BANNED, headers=as_admin).json["status"] == "banned"
    assert client.get("/profile/me", headers=headers).json["code"] == "account_banned"
    assert client.patch(url, json=ACTIVE, headers=as_admin).json["status"] == "active"
    assert client.get("/profile/me", headers=headers).json["code"] == "session_ended"
    assert client.get("/profile/me", headers=make.headers(user)).status_code == 200


def test_a_new_role_acts_on_the_very_next_request(client: FlaskClient, make: Maker) -> None:
    user, as_admin = make.attendee(), make.headers(make.admin())
    url = f"/admin/users/{user.id}/role"
    for role, may_publish, may_see_users in (("organizer", 200, 403), ("admin", 200, 200), ("attendee", 403, 403)):
        before = make.headers(user)
        assert client.patch(url, json={"role": role}, headers=as_admin).json["role"] == role
        assert client.get("/profile/me", headers=before).json["code"] == "session_ended"
        headers = make.headers(user)
        assert client.get("/my-events", headers=headers).status_code == may_publish
        assert client.get("/admin/users", headers=headers).status_code == may_see_users


def test_changes_are_told_in_the_audit_log_once_each(client: FlaskClient, make: Maker) -> None:
    user, admin = make.attendee(), make.admin()
    as_admin: dict[str, str] = {"role": "admin"}
    changes = [("status", BANNED), ("status", BANNED), ("status", ACTIVE), ("role", as_admin), ("role", as_admin)]
    for what, body in changes:
        url = f"/admin/users/{user.id}/{what}"
        assert client.patch(url, json=body, headers=make.headers(admin)).status_code == 200
    lines = [line for line in make.rows(AuditLog) if line.user_id == admin.id][1:]
    assert [(line.action, line.target_type, line.target_id) for line in lines] == [
        ("user_banned", "user", user.id),
        ("user_unbanned", "user", user.id),
        ("role_changed", "user", user.id),
    ]
    assert lines[2].details == {"was": "attendee", "role": "admin"}


@pytest.mark.parametrize("user_id", [4711, 2**63 - 1])
def test_there_is_nothing_to_change_of_nobody(client: FlaskClient, make: Maker, user_id: int) -> None:
    headers = make.headers(make.admin())
    assert client.patch(f"/admin/users/{user_id}/status", json=BANNED, headers=headers).status_code == 404
    assert client.patch(f"/admin/users/{user_id}/role", json={"role": "admin"}, headers=headers).status_code == 404


# ── There is always an admin ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize(
    ("what", "body"),
    [("status", BANNED), ("status", ACTIVE), ("role", {"role": "attendee"}), ("role", {"role": "admin"})],
)
def test_nobody_changes_their_own_account(
    client: FlaskClient, make: Maker, others: int, what: str, body: dict[str, str]
) -> None:
    admin = make.admin()
    for _ in range(others):
        make.admin()
    answer = client.patch(f"/admin/users/{admin.id}/{what}", json=body, headers=make.headers(admin))
    assert (answer.status_code, answer.json["code"]) == (409, "own_account")
    assert {user.role for user in make.rows(User)} == {Role.ADMIN}
    assert {user.status for user in make.rows(User)} == {AccountStatus.ACTIVE}


@pytest.mark.parametrize("first", [("status", BANNED), ("role", {"role": "attendee"})])
@pytest.mark.parametrize("second", [("status", BANNED), ("role", {"role": "organizer"})])
@pytest.mark.parametrize("_round", range(5))
def test_of_two_admins_who_end_each_other_at_once_exactly_one_wins(
    make: Maker, first: tuple[str, Any], second: tuple[str, Any], _round: int
) -> None:
    one, other = make.admin(), make.admin()
    make.admin(email="banned@example.co.ke")
    with_ban = next(user for user in make.rows(User) if user.email == "banned@example.co.ke")
    make.ban(with_ban)

    def end(actor: User, target: User, how: tuple[str, Any]) -> int:
        url = f"/admin/users/{target.id}/{how[0]}"
        return make.app.test_client().patch(url, json=how[1], headers=make.headers(actor)).status_code

    answers = together(lambda: end(one, other, first), lambda: end(other, one, second))
    assert sorted(answers)[0] == 200
    assert sorted(answers)[1] in (401, 403)
    left = [user for user in make.rows(User) if user.role is Role.ADMIN and user.status is AccountStatus.ACTIVE]
    assert [user.id for user in left] == [one.id if answers[0] == 200 else other.id]


def test_admins_in_a_ring_never_all_end(make: Maker) -> None:
    admins = [make.admin() for _ in range(6)]

    def end(number: int) -> int:
        target = admins[(number + 1) % len(admins)]
        headers = make.headers(admins[number])
        url = f"/admin/users/{target.id}/role"
        return make.app.test_client().patch(url, json={"role": "attendee"}, headers=headers).status_code

    answers = together(*(lambda number=number: end(number) for number in range(len(admins))))
    # 401: whose role was changed meanwhile is logged out as well.
    assert set(answers) <= {200, 401, 403}
    assert sum(user.role is Role.ADMIN for user in make.rows(User)) == len(admins) - answers.count(200) >= 1
