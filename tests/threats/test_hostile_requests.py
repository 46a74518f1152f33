"""Account takeover, by way of others: their browsers, their spreadsheets, our files, statements and logs."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from typing import Any

import openpyxl
from flask import request
from flask_jwt_extended import create_access_token
from sqlalchemy import text

from models import EventStatus, User
from schemas import events as shapes
from services import catalogue
from tests.held_tickets import change
from tests.pictures import picture, upload
from tests.support import PASSWORD
from tests.test_events import FORM
from tests.threats.field import Field, attack
from utils import clock, images, logger, tables
from utils.database import db
from utils.pagination import Page

# ── Browsers ──────────────────────────────────────────────────────────────────────────────────────────────────────

CSRF = "Another page acts in a user's name (CSRF)"


def _read_cookies(field: Field) -> None:
    more = {"JWT_TOKEN_LOCATION": ["headers", "cookies"], "JWT_COOKIE_CSRF_PROTECT": False}
    for name, value in more.items():
        field.monkeypatch.setitem(field.app.config, name, value)


@attack(CSRF, without=_read_cookies)
def test_what_a_browser_sends_by_itself_proves_nothing(field: Field) -> bool:
    token = field.make.headers(field.make.attendee())["Authorization"].split()[1]
    field.client.set_cookie("access_token_cookie", token)
    try:
        return field.client.post("/logout-all", data={}, headers={"Origin": "https://evil.example"}).status_code == 200
    finally:
        field.client.delete_cookie("access_token_cookie")


@attack(CSRF, without=lambda field: field.set(CORS_ORIGINS=["*"]))
def test_no_other_page_may_set_the_header(field: Field) -> bool:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    told = field.start().options("/orders", headers={"Origin": "https://evil.example"} | asked).headers
    return told.get("Access-Control-Allow-Origin") in ("*", "https://evil.example")


class _AsTheHostSays:
    @property
    def PUBLIC_URL(self) -> str:  # noqa: N802
        return request.host_url.rstrip("/")


@attack(
    "Sending people elsewhere by a Host header",
    without=lambda field: field.replace(shapes, "settings", _AsTheHostSays()),
)
def test_a_host_header_is_in_no_address(field: Field) -> bool:
    event = field.make.event()
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    return "evil.example" in field.client.get(f"/events/{event.id}", headers=headers).text


# ── Words that are commands ───────────────────────────────────────────────────────────────────────────────────────

COMMANDS = "Files and words that are commands: SQL, formulas, paths"


def _paste_words_into_sql(field: Field) -> None:
    def search(asked: catalogue.Search, **_page: int) -> Page:
        found = db.session.execute(text(f"SELECT title FROM events WHERE title LIKE '%{asked.words}%'")).scalars().all()
        return Page([LISTED._replace(title=title) for title in found], 1, 100, len(found))

    field.replace(catalogue, "search_events", search)


LISTED = catalogue.Listed(
    *(1, "", "", "", clock.now(), clock.now(), "", None, None, "approved", clock.now(), None, 0, None, 0),
    catalogue.Organizer(1, "", ""),
)


@attack(COMMANDS, without=_paste_words_into_sql)
def test_a_search_is_no_statement(field: Field) -> bool:
    field.make.event(status=EventStatus.PENDING, title="Not yet for anybody")
    answer = field.client.get("/events", query_string={"q": "' OR title LIKE '%"})
    assert answer.status_code == 200
    return "Not yet for anybody" in answer.text


FORMULA = '=HYPERLINK("http://evil.example","Click")'


def _export(field: Field, kind: str) -> bytes:
    event = field.make.event()
    order, _ = field.make.order(ticket_type=field.make.ticket_type(event, price=0))
    change(field.make, order.tickets[0], first_name=FORMULA)
    [organizer] = [one for one in field.make.rows(User) if one.id == event.organizer_id]
    answer = field.get(f"/events/{event.id}/attendees/export?format={kind}", organizer)
    assert answer.status_code == 200
    return answer.data


@attack(COMMANDS, without=lambda field: field.replace(tables, "_csv_cell", lambda cell: cell))
def test_a_name_is_no_formula_in_csv(field: Field) -> bool:
    rows = csv.reader(io.StringIO(_export(field, "csv").decode("utf-8-sig"), newline=""))
    return any(cell.startswith("=") for row in rows for cell in row)


def _write_what_it_looks_like(field: Field) -> None:
    def write(sheet: Any, row: int, column: int, cell: Any, _moment: object) -> None:
        if isinstance(cell, str):
            sheet.write(row, column, cell)

    field.replace(tables, "_write_cell", write)


@attack(COMMANDS, without=_write_what_it_looks_like)
def test_a_name_is_no_formula_in_xlsx(field: Field) -> bool:
    sheet = openpyxl.load_workbook(io.BytesIO(_export(field, "xlsx"))).worksheets[0]
    return any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)


def _keep_the_name_of_a_file(field: Field) -> None:
    field.replace(images, "new_secret", lambda: request.files["image"].filename)


@attack(COMMANDS, without=_keep_the_name_of_a_file)
def test_a_name_of_a_file_is_no_path(field: Field) -> bool:
    outside = field.app.extensions["settings"].UPLOAD_DIR.parent / "planted.webp"
    headers, form = field.make.headers(field.make.organizer()), FORM | {"image": upload(picture(), "../planted")}
    field.client.post("/events", data=form, headers=headers, content_type="multipart/form-data")
    field.stack.callback(outside.unlink, missing_ok=True)
    return bool(outside.exists())


# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _secrets(field: Field) -> Sequence[str]:
    user = field.make.attendee()
    order, callback_token = field.make.order(user)
    with field.app.test_request_context():
        access_token = create_access_token(identity="1")
    free, _ = field.make.order(user, field.make.on_sale(price=0))
    return (
        *(access_token, callback_token, order.poll_id, free.tickets[0].code),
        *(user.phone, user.password_hash, field.app.extensions["settings"].SECRET_KEY),
    )


@attack("Reading secrets in logs", without=lambda field: field.replace(logger, "redact", lambda words: words))
def test_no_secret_is_read_in_logs(field: Field) -> bool:
    write, secrets = logger.formatter(is_json=True).format, _secrets(field)

    def line_of(secret: str) -> str:
        return write(logging.LogRecord("a.library", logging.ERROR, __file__, 1, "failed: %s", (secret,), None))

    named = write(logging.LogRecord("a.library", logging.ERROR, __file__, 1, f"password={PASSWORD}", (), None))
    return PASSWORD in named or any(secret in line_of(secret) for secret in secrets)
