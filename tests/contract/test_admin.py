"""Calls of admins, as the frontend makes them: dashboard, analytics, users, events to decide about, own profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models import EventStatus, User
from tests.contract.frontend import EVENT, PERSON, Browser, assert_reads, one_of, when
from tests.support import Maker

Browse = Callable[[User], Browser]


@pytest.fixture
def admin(make: Maker) -> User:
    return make.admin()


@pytest.fixture
def page(browser: Browse, admin: User) -> Browser:
    return browser(admin)


@pytest.fixture
def sales(make: Maker) -> None:
    """Five tickets sold for KES 4,500 at two events; an order nobody paid; an event that waits."""
    jazz = make.event(title="Jazz")
    make.paid_order(make.attendee(), make.ticket_type(jazz, name="VIP", price=1500), quantity=2)
    regular = make.ticket_type(jazz, name="Regular", price=500)
    make.paid_order(make.attendee(), regular)
    make.order(make.attendee(), regular, quantity=7)
    make.paid_order(make.attendee(), make.ticket_type(make.event(title="Run"), name="Regular", price=500), quantity=2)
    make.event(status=EventStatus.PENDING)


# ── 21 to 26: figures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_row_21_dashboard(page: Browser, sales: None) -> None:
    shown = page.read("/admin/dashboard")
    assert_reads(shown, {"summary": {"total_users": int, "active_events": int, "pending_events": int}})
    assert (shown["summary"]["active_events"], shown["summary"]["pending_events"]) == (2, 1)
    assert shown["summary"]["total_users"] == len(page.read("/admin/users"))


def test_row_22_ticket_sales_trends(page: Browser, sales: None) -> None:
    shown = page.read("/admin/analytics/ticket-sales-trends")
    assert_reads(shown, [{"month": str, "sales": int}])
    assert sum(one["sales"] for one in shown) == 5  # shown as "Total Tickets Sold"


def test_row_23_logs(page: Browser, sales: None) -> None:
    line = {
        "id": int,
        "user_id": int | None,
        "user_name": str | None,
        "action": str,
        "target_type": str,
        "target_id": int | str | None,
        "status": one_of("Success", "Failed"),
        "ip_address": str | None,
        "timestamp": when,
        "extra_data": str | dict | None,
    }
    assert_reads(page.read("/admin/logs"), [line])


def test_row_24_summary(page: Browser, sales: None) -> None:
    shown = page.read("/admin/analytics/summary")
    assert_reads(shown, {"total_revenue": int, "total_events": int})
    assert shown["total_revenue"] == 4500


def test_row_25_revenue_by_ticket_type(page: Browser, sales: None) -> None:
    shown = page.read("/admin/analytics/revenue-by-ticket-type")
    assert_reads(shown, [{"type": str, "revenue": int}])
    assert {one["type"]: one["revenue"] for one in shown} == {"VIP": 3000, "Regular": 1500}


def test_row_26_top_events_by_revenue(page: Browser, sales: None) -> None:
    shown = page.read("/admin/analytics/top-events-by-revenue")
    assert_reads(shown, [{"title": str, "revenue": int}])
    assert [(one["title"], one["revenue"]) for one in shown][:2] == [("Jazz", 3500), ("Run", 1000)]


@pytest.mark.parametrize(
    "address", ["ticket-sales-trends", "summary", "revenue-by-ticket-type", "top-events-by-revenue"]
)
def test_rows_22_to_26_before_the_first_sale(page: Browser, address: str) -> None:
    assert isinstance(page.read(f"/admin/analytics/{address}"), dict if address == "summary" else list)


def test_events_of_one_title_stay_two(page: Browser, make: Maker) -> None:
    for price in (300, 200):
        make.paid_order(make.attendee(), make.ticket_type(make.event(title="Jazz"), price=price))
    shown = page.read("/admin/analytics/top-events-by-revenue")
    assert [(one["title"], one["revenue"]) for one in shown] == [("Jazz", 300), ("Jazz", 200)]


# ── 27 to 29: users ───────────────────────────────────────────────────────────────────────────────────────────────

USER: dict[str, Any] = PERSON | {
    "id": int,
    "email": str,
    "phone": str,
    "role": one_of("attendee", "organizer", "admin"),
    "status": one_of("active", "banned"),
    "created_at": when,
}


def test_row_27_users(page: Browser, make: Maker) -> None:
    make.attendee()
    make.ban(make.organizer())
    listed = page.read("/admin/users")
    assert_reads(listed, [USER])
    assert sorted((one["role"], one["status"]) for one in listed) == [
        ("admin", "active"),
        ("attendee", "active"),
        ("organizer", "banned"),
    ]


def shown_user(page: Browser, user: User) -> dict[str, Any]:
    """As the user's page finds it: in the whole list."""
    return next(one for one in page.read("/admin/users") if one["id"] == user.id)


def test_row_28_ban_and_unban(page: Browser, make: Maker) -> None:
    user = make.attendee()
    for status in ("banned", "banned", "active", "active"):
        assert page.axios("PATCH", f"/admin/users/{user.id}/status", json={"status": status}).status_code == 200
        assert shown_user(page, user)["status"] == status


def test_row_29_role(page: Browser, make: Maker) -> None:
    user = make.attendee()
    for role in ("organizer", "admin", "attendee"):
        assert page.axios("PATCH", f"/admin/users/{user.id}/role", json={"role": role}).status_code == 200
        assert shown_user(page, user)["role"] == role


def test_no_admin_bans_or_demotes_themselves(page: Browser, make: Maker, admin: User) -> None:
    for _ in range(2):  # the last one, then one of two
        assert page.axios("PATCH", f"/admin/users/{admin.id}/status", json={"status": "banned"}).status_code == 409
        assert page.axios("PATCH", f"/admin/users/{admin.id}/role", json={"role": "attendee"}).status_code == 409
        make.admin()
    assert (shown_user(page, admin)["role"], shown_user(page, admin)["status"]) == ("admin", "active")


# ── 30 and 31: events that wait ───────────────────────────────────────────────────────────────────────────────────


def test_row_30_pending_events(page: Browser, make: Maker) -> None:
    make.event()
    event = make.event(status=EventStatus.PENDING, tags=None)
    listed = page.read("/admin/pending")
    assert_reads(listed, [EVENT | {"organizer": PERSON}])
    assert [one["id"] for one in listed] == [event.id]


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_row_31_a_decision(page: Browser, make: Maker, status: str) -> None:
    event = make.event(status=EventStatus.PENDING)
    assert page.axios("PATCH", f"/admin/{event.id}", json={"status": status}).status_code == 200
    assert page.read("/admin/pending") == []
    assert [one["id"] for one in page.read("/events")] == ([event.id] if status == "approved" else [])


# ── 32 and 33: one's own profile ──────────────────────────────────────────────────────────────────────────────────

PROFILE = {"first_name": str, "last_name": str, "email": str, "phone": str}


def test_rows_32_and_33_profile(page: Browser, admin: User) -> None:
    shown = page.read("/profile/me")
    assert_reads(shown, PROFILE)
    assert shown["email"] == admin.email
    changed = {name: shown[name] for name in PROFILE} | {"first_name": "Zawadi", "phone": "0799 000 111"}
    assert page.axios("PUT", "/profile/me", json=changed).status_code == 200
    assert page.read("/profile/me") == shown | {"first_name": "Zawadi", "phone": "254799000111"}


@pytest.mark.parametrize("changes", [{"first_name": ""}, {"email": "nobody"}, {"phone": "12"}])
def test_row_33_a_refused_profile_shows_its_sentence(page: Browser, changes: dict[str, str]) -> None:
    body = {name: page.read("/profile/me")[name] for name in PROFILE} | changes
    assert page.axios("PUT", "/profile/me", json=body).status_code == 422


# ── Whose pages these are ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        *(("GET", f"/admin/{name}", None) for name in ("dashboard", "logs", "users", "pending", "reports")),
        ("GET", "/admin/analytics/ticket-sales-trends", None),
        ("GET", "/admin/analytics/summary", None),
        ("GET", "/admin/analytics/revenue-by-ticket-type", None),
        ("GET", "/admin/analytics/top-events-by-revenue", None),
        ("GET", "/admin/analytics/top-event-types", None),
        ("PATCH", "/admin/users/1/status", {"status": "banned"}),
        ("PATCH", "/admin/users/1/role", {"role": "admin"}),
        ("PATCH", "/admin/1", {"status": "approved"}),
        ("PATCH", "/admin/approve/1", {"status": "approved"}),
        ("GET", "/users/1", None),
    ],
)
def test_they_are_for_admins(
    browser: Browse, visitor: Browser, make: Maker, method: str, address: str, body: Any
) -> None:
    for user in (make.attendee(), make.organizer()):
        assert browser(user).axios(method, address, json=body).status_code == 403
    assert visitor.axios(method, address, json=body).status_code == 401
