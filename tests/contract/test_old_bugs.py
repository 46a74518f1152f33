"""Forty bugs of an earlier backend, by their numbers: each has a test that shows that Ticksy does not have it.

Those that a test elsewhere shows already are in SHOWN_ELSEWHERE; the others have one here that begins with the number.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import resources
from config import Settings
from models import Event, EventStatus, OrderStatus, User
from tests.contract.frontend import Browser
from tests.pictures import upload
from tests.scripted_daraja import PUSH, QUERY, TOKEN, Reply, scripted_daraja
from tests.support import Maker, cart, failure, new_receipt, success
from utils import clock

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests"

Browse = Callable[[User], Browser]

SHOWN_ELSEWHERE: dict[int, list[str]] = {
    3: ["test_payments.py::test_the_same_success_again_changes_nothing"],
    4: ["test_payments.py::test_a_failure_after_success_changes_nothing"],
    5: ["contract/test_fixes.py::test_an_order_that_was_paid_is_paid_its_tickets_issued_its_places_sold"],
    11: [
        "test_payments.py::test_late_money_for_places_that_are_gone_is_due_back",
        "test_availability.py::test_a_hold_takes_places_and_a_cancelled_order_gives_them_back",
    ],
    16: ["contract/test_admin.py::test_they_are_for_admins"],
    17: [
        "contract/test_admin.py::test_row_22_ticket_sales_trends",
        "contract/test_admin.py::test_row_24_summary",
        "contract/test_admin.py::test_row_25_revenue_by_ticket_type",
        "contract/test_admin.py::test_events_of_one_title_stay_two",
    ],
    18: ["contract/test_fixes.py::test_a_token_that_is_missing_bad_or_old_is_401"],
    19: ["test_accounts.py::test_a_ban_acts_at_once_whatever_token_is_held"],
    20: ["contract/test_admin.py::test_no_admin_bans_or_demotes_themselves"],
    21: [
        "test_config.py::test_unset_means_production_and_every_fault_is_named_at_once",
        "test_access.py::test_the_app_under_test_handles_errors_as_in_production",
    ],
    25: [
        "test_reviews.py::test_only_people_with_a_ticket_review",
        "test_reviews.py::test_nobody_reviews_before_the_start",
        "test_reviews.py::test_a_rating_is_one_to_five",
        "test_reviews.py::test_two_reviews_at_once_make_one",
    ],
    26: ["test_access.py::test_an_unpublished_event_exists_for_its_owner_and_admins_alone"],
    29: [
        "contract/test_organizer.py::test_row_18_attendees",
        "contract/test_organizer.py::test_row_18_pages_are_given_to_who_asks_for_them",
        "contract/test_organizer.py::test_rows_19_and_20_check_in_and_undo_without_a_body",
    ],
    30: ["test_tickets.py::test_every_ticket_has_a_code_of_its_own_that_people_can_type"],
    33: ["contract/test_rules.py::test_every_error_is_one_sentence_under_message"],
    38: ["test_queries.py::test_a_get_never_writes", "test_architecture.py::test_only_the_transaction_commits"],
    40: [
        "test_saved_events.py::test_saving_many_times_at_once_saves_once",
        "test_reviews.py::test_two_reviews_at_once_make_one",
        "test_accounts.py::test_of_two_who_sign_up_at_once_one_is_told_it_is_taken",
    ],
}


def test_every_bug_has_its_test() -> None:
    here = {int(number) for number in re.findall(r"^def test_(\d\d)_", Path(__file__).read_text(), re.MULTILINE)}
    assert here | SHOWN_ELSEWHERE.keys() == set(range(1, 41))
    for named in SHOWN_ELSEWHERE.values():
        for one in named:
            path, name = one.split("::")
            assert f"\ndef {name}(" in (TESTS / path).read_text(), one


@pytest.fixture
def buyer(make: Maker) -> User:
    return make.attendee()


# ── Paying ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_01_nobody_marks_an_order_paid(app: Flask, browser: Browse, make: Maker, buyer: User) -> None:
    page, paid = browser(buyer), make.paid_order(buyer, quantity=2)
    with clock.set_to(clock.ago(minutes=3)):
        order, token = make.order(buyer)
    make.deliver(token, failure())
    with scripted_daraja(app):
        for one in (order, paid):
            page.axios("PATCH", f"/orders/{one.id}/pay")
            page.axios("POST", f"/orders/{one.id}/pay")
            page.axios("POST", "/payments", json={"order_id": one.id})
            for method in ("PUT", "PATCH"):
                assert page.axios(method, f"/orders/{one.id}", json={"status": "paid"}).status_code == 405
    assert make.status(order.id) is OrderStatus.PENDING
    assert make.read_order(paid.id).receipt == paid.receipt
    assert {ticket.order_id for ticket in make.tickets()} == {paid.id}


@pytest.mark.parametrize("address", ["/payments/callback", "/api/payment/callback"])
def test_02_a_forged_callback_gives_no_ticket(
    app: Flask, client: FlaskClient, make: Maker, buyer: User, address: str
) -> None:
    """With any of the ids that an answer of ours shows its buyer."""
    headers = make.headers(buyer)
    with scripted_daraja(app):
        told = client.post("/orders", json=cart((make.on_sale(), 1)), headers=headers).json
        ids = {told["checkoutRequestID"], str(told["orderId"]), told["order"]["order_id"]}
        ids |= {str(payment["id"]) for payment in told["order"]["payments"]}
        for one in ids:
            client.post(address, data=success(500, new_receipt(), checkout=one, merchant=one))
            client.post(f"{address}/{one}", data=success(500, new_receipt(), checkout=one))
        assert client.get(f"/orders/{told['orderId']}", headers=headers).json["status"] == "pending"
    assert make.tickets() == []


def test_06_another_prompt_loses_neither_the_reference_nor_the_first_prompts_money(
    app: Flask, client: FlaskClient, make: Maker, buyer: User
) -> None:
    with clock.set_to(clock.ago(minutes=3)):
        order, token = make.order(buyer)
    make.deliver(token, failure())
    with scripted_daraja(app):
        again = client.post(f"/orders/{order.id}/pay", headers=make.headers(buyer))
    assert again.json["order"]["order_id"] == order.reference
    make.deliver(token, success(order.total_kes, new_receipt()))
    assert make.status(order.id) is OrderStatus.PAID
    assert len(make.tickets()) == 1


def test_07_a_prompt_is_sent_for_ones_own_order_alone_and_called_so_when_it_was_sent(
    app: Flask, browser: Browse, visitor: Browser, make: Maker, buyer: User
) -> None:
    with clock.set_to(clock.ago(minutes=3)):
        order, token = make.order(buyer)
    make.deliver(token, failure())
    body = {"order_id": order.reference, "phone": order.phone}
    with scripted_daraja(app) as daraja:
        assert visitor.axios("POST", "/payments", json=body).status_code == 401
        assert browser(make.attendee()).axios("POST", "/payments", json=body).status_code == 404
        elsewhere = body | {"phone": "254799000222"}
        assert browser(buyer).axios("POST", "/payments", json=elsewhere).status_code == 409
        assert daraja.count(PUSH) == 0
        daraja.pushes = [Reply.error("400.002.02", 400)]
        assert browser(buyer).axios("POST", "/payments", json=body).status_code == 503


def test_08_polling_asks_nobody_else(app: Flask, visitor: Browser, make: Maker) -> None:
    order, _ = make.order()
    with scripted_daraja(app) as daraja:
        for _ in range(5):
            assert visitor.fetch(f"/payments/check/{order.poll_id}").json == {"data": {}}
        assert [daraja.count(address) for address in (PUSH, QUERY, TOKEN)] == [0, 0, 0]


def test_10_no_more_is_ordered_than_there_is(browser: Browse, make: Maker, buyer: User) -> None:
    ticket_type = make.on_sale(quantity=2, max_per_order=100)
    answer = browser(buyer).axios("POST", "/orders", json=cart((ticket_type, 50)))
    assert (answer.status_code, answer.json["code"]) == (409, "sold_out")
    row = make.read_ticket_type(ticket_type.id)
    assert (row.sold, row.held) == (0, 0)


@pytest.mark.parametrize("status", [EventStatus.PENDING, EventStatus.REJECTED, EventStatus.CANCELLED, None])
def test_12_only_what_is_published_and_to_come_is_sold_one_event_at_a_time(
    browser: Browse, make: Maker, buyer: User, status: EventStatus | None
) -> None:
    page = browser(buyer)
    if status is None:
        over = make.ticket_type(make.event(starts_at=clock.ahead(hours=1)))
        with clock.set_to(clock.ahead(hours=2)):
            assert page.axios("POST", "/orders", json=cart((over, 1))).status_code == 409
        two_events = cart((make.on_sale(), 1), (make.on_sale(), 1))
        assert page.axios("POST", "/orders", json=two_events).status_code == 422
    else:
        event = make.event(status=EventStatus.APPROVED if status is EventStatus.CANCELLED else status)
        ticket_type = make.ticket_type(event)
        if status is EventStatus.CANCELLED:
            page.client.post(f"/events/{event.id}/cancel", headers=make.headers(make.admin()))
        assert page.axios("POST", "/orders", json=cart((ticket_type, 1))).status_code == 409


@pytest.mark.parametrize("quantity", [0, -1, "0", 1.5, None, "two", [], 10**30])
def test_13_a_quantity_is_a_number_of_tickets(browser: Browse, make: Maker, buyer: User, quantity: Any) -> None:
    body = {"phone": buyer.phone, "tickets": [{"ticket_id": make.on_sale().id, "quantity": quantity}]}
    page = browser(buyer)
    assert page.axios("POST", "/orders", json=body).status_code == 422
    assert page.axios("POST", "/orders", json={"phone": buyer.phone, "tickets": [{}]}).status_code == 422
    assert page.read("/orders") == []


def test_14_a_prompt_that_was_refused_leaves_no_place_taken_for_good(
    app: Flask, browser: Browse, make: Maker, buyer: User
) -> None:
    page, ticket_type = browser(buyer), make.on_sale(quantity=2)
    with scripted_daraja(app) as daraja:
        daraja.pushes = [Reply.error("400.002.02", 400)]
        answer = page.axios("POST", "/orders", json=cart((ticket_type, 2)))
    assert answer.status_code == 503
    assert "400.002.02" not in answer.text
    with clock.set_to(clock.ahead(minutes=11)):
        assert page.read("/orders")[0]["status"] == "expired"
        assert page.read(f"/events/{ticket_type.event_id}/tickets")[0]["available"] == 2


def test_15_money_is_whole_shillings_all_the_way(app: Flask, browser: Browse, make: Maker, buyer: User) -> None:
    page, ticket_type = browser(buyer), make.on_sale(price=333)
    with scripted_daraja(app) as daraja:
        told = page.axios("POST", "/orders", json=cart((ticket_type, 3)))
        [push] = daraja.requests(PUSH)
    assert push.body["Amount"] in (999, "999")
    assert '"total_amount":999,' in told.text
    event = make.event(page_owner := make.organizer())
    for price in ("99.50", 99.5, "1e2"):
        body = {"type": "REG", "price": price, "quantity": "5"}
        assert browser(page_owner).axios("POST", f"/events/{event.id}/tickets", json=body).status_code == 422


# ── Events and ticket types ───────────────────────────────────────────────────────────────────────────────────────


def test_09_its_organizer_deletes_an_event(browser: Browse, make: Maker) -> None:
    organizer = make.organizer()
    event = make.event(organizer, status=EventStatus.REJECTED)
    assert browser(make.organizer()).axios("DELETE", f"/events/{event.id}").status_code == 404
    page = browser(organizer)
    assert page.axios("DELETE", f"/events/{event.id}").status_code == 200
    assert page.read("/my-events") == []


def test_23_an_event_that_was_changed_is_neither_public_nor_on_sale_until_it_is_approved(
    browser: Browse, visitor: Browser, make: Maker, buyer: User
) -> None:
    organizer = make.organizer()
    ticket_type = make.ticket_type(event := make.event(organizer))
    browser(organizer).axios("PUT", f"/events/{event.id}", form={"title": "Something else"})
    assert visitor.read("/events") == []
    assert visitor.axios("GET", f"/events/{event.id}").status_code == 404
    assert browser(buyer).axios("POST", "/orders", json=cart((ticket_type, 1))).status_code == 409


def test_24_whether_an_event_is_published_is_kept_once() -> None:
    assert "status" in Event.__table__.columns
    assert not [column for column in Event.__table__.columns if "approved" in column.name]


@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": "2030-01-01T12:00", "end_time": "2030-01-01T11:00"},
        {"start_time": "2030-01-01T12:00", "end_time": "2030-01-01T12:00"},
        {"start_time": "2020-01-01T12:00", "end_time": "2020-01-01T13:00"},
        {"start_time": "soon"},
        {"end_time": "2030-02-30T12:00"},
        {"image": upload(b"<?php echo 1;", "a.php")},
    ],
)
def test_27_a_faulty_event_is_refused_with_a_sentence_of_ours(
    browser: Browse, make: Maker, changes: dict[str, Any]
) -> None:
    form = {"title": "Run", "description": "Ten.", "location": "Kisumu", "category": "Sport", "tags": ""}
    times = {"start_time": "2030-01-01T08:00", "end_time": "2030-01-01T12:00"}
    answer = browser(make.organizer()).axios("POST", "/events", form=form | times | changes)
    assert 400 <= answer.status_code < 500
    assert not re.search("isoformat|Error|Traceback|None", answer.text)


@pytest.mark.parametrize(
    "changes", [{"price": -1}, {"quantity": -1}, {"price": "nan"}, {"price": "inf"}, {"type": " "}]
)
def test_28_a_ticket_type_is_checked_unique_and_can_be_changed_and_taken_back(
    browser: Browse, make: Maker, changes: dict[str, Any]
) -> None:
    organizer = make.organizer()
    page, address = browser(organizer), f"/events/{make.event(organizer).id}/tickets"
    body = {"type": "REG", "price": "500", "quantity": "5"}
    assert page.axios("POST", address, json=body | changes).status_code == 422
    made = page.axios("POST", address, json=body).json
    assert page.axios("POST", address, json=body | {"type": "reg"}).status_code == 409
    assert page.axios("PATCH", f"{address}/{made['id']}", json=changes).status_code == 422
    assert page.axios("PATCH", f"{address}/{made['id']}", json={"price": "700"}).json["price"] == 700
    assert page.axios("DELETE", f"{address}/{made['id']}").status_code == 200


# ── People ────────────────────────────────────────────────────────────────────────────────────────────────────────

PERSON = {"first_name": "A", "last_name": "B", "role": "attendee", "email": "a@example.co.ke", "phone": "0712345678"}


def test_22_no_token_is_logged(app: Flask, browser: Browse, buyer: User, caplog: pytest.LogCaptureFixture) -> None:
    page = browser(buyer)
    assert page.user is not None
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("ticksy.http").info("something is logged")
        page.read("/profile/me")
    assert caplog.records
    logged = " ".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert page.user["access_token"] not in logged
    assert page.user["access_token"].split(".")[2] not in logged


@pytest.mark.parametrize(
    "changes", [{"password": "1"}, {"password": "password123"}, {"phone": "call me"}, {"phone": ""}]
)
def test_31_passwords_have_rules_and_phones_are_phones(visitor: Browser, changes: dict[str, str]) -> None:
    body = PERSON | {"password": "ugali-na-samaki"} | changes
    assert visitor.axios("POST", "/signup", json=body).status_code == 422


@pytest.mark.parametrize(
    "email", ["a@example.co.ke junk", "a@example.co.ke\n", "a@example.co.ke>", "x a@example.co.ke"]
)
def test_32_nothing_stands_around_an_address(visitor: Browser, email: str) -> None:
    answer = visitor.axios("POST", "/signup", json=PERSON | {"email": email, "password": "ugali-na-samaki"})
    if email.strip() == PERSON["email"]:  # blanks are forgiven, and not kept
        assert answer.json["user"]["email"] == PERSON["email"]
    else:
        assert answer.status_code == 422


def test_37_who_calls_themselves_an_organizer_publishes_nothing_alone(
    browser: Browse, visitor: Browser, make: Maker
) -> None:
    signed_up = visitor.axios("POST", "/signup", json=PERSON | {"role": "organizer", "password": "ugali-na-samaki"})
    page = Browser(visitor.client)
    page.user = {"access_token": signed_up.json["access_token"]}
    form = {"title": "Run", "description": "Ten.", "location": "Kisumu", "category": "Sport", "tags": ""}
    times = {"start_time": "2030-01-01T08:00", "end_time": "2030-01-01T12:00"}
    event = page.axios("POST", "/events", form=form | times).json
    assert visitor.read("/events") == []
    assert page.axios("PATCH", f"/admin/{event['id']}", json={"status": "approved"}).status_code == 403
    assert visitor.axios("POST", "/signup", json=PERSON | {"role": "admin", "password": "x"}).status_code == 422


# ── How it is made ────────────────────────────────────────────────────────────────────────────────────────────────


def test_34_settings_have_the_names_of_the_readme() -> None:
    example = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    readme = (ROOT / "README.md").read_text()
    told = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", readme.split("## Configuration")[1].split("## Deploy")[0]))
    assert {"DATABASE_URL", "MPESA_CONSUMER_KEY", "MPESA_PASSKEY", "MPESA_BASE_URL", "CALLBACK_URL"} <= told
    assert told <= example == set(Settings.model_fields)
    assert not example & {"DATABASE_URI", "CONSUMER_KEY", "CONSUMER_SECRET", "SAF_PASS_KEY"}
    for path in (ROOT / "utils").glob("mpesa*.py"):
        assert "safaricom.co.ke" not in path.read_text(), path


def test_35_callbacks_come_to_us_and_every_module_is_used(settings: Settings) -> None:
    served = {address for _, addresses in resources.URLS for address in addresses}
    assert settings.CALLBACK_URL.startswith("http")
    assert "/" + settings.CALLBACK_URL.split("/", 3)[3] in served
    sources = {
        path: path.read_text()
        for folder in ("resources", "schemas", "services", "models", "utils", ".")
        for path in (ROOT / folder).glob("*.py")
    }
    for path in sources:
        if path.parent != ROOT and path.stem != "__init__":
            module = re.compile(rf"\b{path.parent.name}\.{path.stem}\b|import \(?[^)]*?\b{path.stem}\b", re.DOTALL)
            assert any(module.search(text) for other, text in sources.items() if other != path), path


def test_36_no_request_to_daraja_waits_for_ever() -> None:
    """That it gives up in time: test_mpesa.py, with a Daraja that says nothing."""
    calls = [
        (path.name, node)
        for path in [*(ROOT / "utils").glob("*.py"), *(ROOT / "services").glob("*.py")]
        if "import requests" in path.read_text()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "post", "request", "put")
        and re.search(r"http|requests|session", ast.unparse(node.func.value))
    ]
    assert calls
    for name, call in calls:
        assert "timeout" in [keyword.arg for keyword in call.keywords], (name, ast.unparse(call))


def test_39_the_lock_is_of_this_pipfile_and_of_one_python() -> None:
    pipfile = (ROOT / "Pipfile").read_text()
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    wanted = re.findall(r'^"?([a-z0-9_.-]+)"? = ', pipfile.split("[packages]")[1], re.MULTILINE)
    locked = {name.lower() for part in ("default", "develop") for name in lock[part]}
    assert {name.lower().replace("_", "-") for name in wanted} <= locked
    # No Python is promised that some locked package does not run on.
    lowest = re.search(r'target-version = "py3(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert lowest is not None
    for part in ("default", "develop"):
        for name, facts in lock[part].items():
            needs = re.search(r"python_version >= '3\.(\d+)'", facts.get("markers", ""))
            assert needs is None or int(needs[1]) <= int(lowest[1]), name
