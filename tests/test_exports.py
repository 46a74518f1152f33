"""Attendees as a file: what stands in it, read again with other programs, and who may have it."""

from __future__ import annotations

import csv
import gc
import io
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import openpyxl
import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from models import AccountStatus, AuditLog, Event, Role, Ticket, TicketStatus, TicketType, User
from services import exports
from services.exports import HEADER
from tests.support import Maker
from utils import clock, phone, signing, tables
from utils.database import db, transaction
from utils.security import hash_password

#: Names that hurt programs which read tables.
HOSTILE = [
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","Click")',
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    " =1+1",
    "\uff1d1+1",
    "\t=1+1",
    "Line\nbreak, comma; semicolon \"quotes\" 'single'",
    "'quoted",
    "Wanjikũ 🎉 ﷽",
    "\u202eelttaw\u202c محمد",
    "007",
    "1,5",
    "12E4",
    "http://evil.example/",
    "_x0041_",
    "{=1+1}",
    "<b>&amp;</b>",
    "O'Brien",
]


class World:
    """An event with tickets, and its organizer."""

    def __init__(self, make: Maker, client: FlaskClient) -> None:
        self.make, self.client = make, client
        self.organizer = make.organizer()
        self.event = make.event(self.organizer)
        self.regular = make.ticket_type(self.event, name="Regular", price=500, quantity=50)
        self.headers = make.headers(self.organizer)

    @property
    def path(self) -> str:
        return f"/events/{self.event.id}/attendees/export"

    def export(self, file_format: str = "csv", **more: Any) -> TestResponse:
        return self.client.get(f"{self.path}?format={file_format}", headers=self.headers, buffered=True, **more)

    def link(self, file_format: str = "csv") -> str:
        answer = self.client.post(f"{self.path}-link", json={"format": file_format}, headers=self.headers)
        assert answer.status_code == 201
        return str(answer.json["url"])

    def open(self, url: str, **headers: str) -> TestResponse:
        """As a browser does: without a token."""
        parts = urlsplit(url)
        return self.client.get(f"{parts.path}?{parts.query}", headers=headers, buffered=True)

    def change(self, kind: type[Any], row_id: int, **facts: Any) -> None:
        with self.make.app.app_context(), transaction() as session:
            row = session.get_one(kind, row_id)
            for name, value in facts.items():
                setattr(row, name, value)


@pytest.fixture
def world(make: Maker, client: FlaskClient) -> World:
    return World(make, client)


def read_csv(answer: TestResponse) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    assert answer.data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def read_xlsx(answer: TestResponse) -> list[list[Any]]:
    assert answer.status_code == 200, answer.text
    book = openpyxl.load_workbook(io.BytesIO(answer.data), rich_text=False)
    assert len(book.worksheets) == 1
    return [[cell.value for cell in row] for row in book.worksheets[0].iter_rows()]


def read_xlsx_types(answer: TestResponse) -> set[str]:
    sheet = openpyxl.load_workbook(io.BytesIO(answer.data)).worksheets[0]
    return {cell.data_type for row in sheet.iter_rows() for cell in row}


# ── What stands in it ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_csv_says_what_the_rows_say(world: World, make: Maker) -> None:
    vip = make.ticket_type(world.event, name="VIP", price=2500)
    order = make.paid_order(None, world.regular, quantity=2)
    other = make.paid_order(None, vip)
    late = make.tickets()[2]
    # Just before midnight in London, which is the next day in Nairobi.
    world.change(Ticket, late.id, checked_in_at=datetime(2031, 1, 31, 22, 5, 9, tzinfo=timezone.utc))
    header, *rows = read_csv(world.export())
    tickets = make.tickets()
    assert tuple(header) == HEADER
    assert [row[0] for row in rows] == [ticket.code for ticket in tickets]
    for row, ticket, bought in zip(rows, tickets, [order, order, other], strict=True):
        assert row[1:4] == [ticket.first_name, ticket.last_name, ticket.email]
        assert row[4] == f"'+{ticket.phone}"
        assert phone.parse(row[4].removeprefix("'")) == ticket.phone
        assert row[6] == str(ticket.price_kes)
        assert row[7:9] == [bought.reference, bought.receipt]
        assert row[9] == f"{ticket.issued_at.astimezone(clock.NAIROBI):%Y-%m-%d %H:%M:%S}"
    assert [row[5] for row in rows] == ["Regular", "Regular", "VIP"]
    assert [row[10:] for row in rows] == [["no", ""], ["no", ""], ["yes", "2031-02-01 01:05:09"]]


def test_the_xlsx_says_the_same_with_numbers_and_dates(world: World, make: Maker) -> None:
    order = make.paid_order(None, world.regular)
    ticket = make.tickets()[0]
    world.change(Ticket, ticket.id, checked_in_at=datetime(2031, 1, 31, 22, 5, 9, tzinfo=timezone.utc))
    answer = world.export("xlsx")
    header, row = read_xlsx(answer)
    assert tuple(header) == HEADER
    assert row[:5] == [ticket.code, ticket.first_name, ticket.last_name, ticket.email, f"+{ticket.phone}"]
    assert row[5:9] == ["Regular", 500, order.reference, order.receipt]
    bought_at = ticket.issued_at.astimezone(clock.NAIROBI).replace(tzinfo=None)
    assert abs(row[9] - bought_at) <= timedelta(seconds=1)
    assert row[10:] == ["yes", datetime(2031, 2, 1, 1, 5, 9)]  # noqa: DTZ001  # Excel knows no zones
    assert read_xlsx_types(answer) - {"s", "inlineStr"} == {"n", "d"}


def test_hostile_names_come_back_as_they_are_and_run_nowhere(world: World, make: Maker) -> None:
    make.paid_order(None, world.make.ticket_type(world.event, name="Many", price=0, quantity=99), quantity=1)
    for name in HOSTILE:
        make.order(None, make.ticket_type(world.event, name=f"Type {HOSTILE.index(name)}", price=0))
        world.change(Ticket, make.tickets()[-1].id, first_name=name, last_name=name)
    _, _, *rows = read_csv(world.export())
    assert [row[1].removeprefix("'") if row[1] != "O'Brien" else row[1] for row in rows] == HOSTILE
    for row in rows:
        for cell in row[1:3]:
            assert not re.match(r"\s*[=+\-@\uff1d]|\t|\r", cell), cell
    answer = world.export("xlsx")
    _, _, *rows = read_xlsx(answer)
    # `_x0041_` would be an A to Excel; openpyxl does not undo what keeps it from that.
    assert [row[1].replace("_x005F_", "_") for row in rows] == HOSTILE
    assert "f" not in read_xlsx_types(answer)
    assert b"http://evil" not in b"".join(part for part in links_of(answer))


def links_of(answer: TestResponse) -> Iterator[bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.data)) as book:
        yield from (book.read(name) for name in book.namelist() if name.endswith(".rels"))


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1", "'=1"),
        ("-5", "'-5"),
        (-5, "-5"),
        (1_000, "1000"),
        ("1000", "'1000"),
        ("", ""),
        (None, ""),
        (True, "yes"),
        ("\rx", "'\rx"),
        ("Mary-Anne", "Mary-Anne"),
        ("'=1", "''=1"),
        ("100%", "'100%"),
    ],
)
def test_a_cell_of_csv(app: Flask, cell: object, written: str) -> None:
    with app.test_request_context():
        body = tables.csv_response("x", ["a", "b"], [(cell, "last")]).get_data()
    assert list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))) == [["a", "b"], [written, "last"]]


def test_tickets_that_were_given_back_do_not_appear(world: World, make: Maker) -> None:
    make.paid_order(None, world.regular, quantity=2)
    gone, stays = make.tickets()
    world.change(Ticket, gone.id, status=TicketStatus.VOID, voided_at=clock.now())
    assert [row[0] for row in read_csv(world.export())[1:]] == [stays.code]
    assert [row[0] for row in read_xlsx(world.export("xlsx"))[1:]] == [stays.code]


def test_of_another_event_nothing_appears(world: World, make: Maker) -> None:
    make.paid_order()
    assert len(read_csv(world.export())) == 1
    assert len(read_xlsx(world.export("xlsx"))) == 1


def test_the_pieces_it_is_read_in_do_not_show(world: World, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement reads some; none is twice, none is missing, also where a piece is just full."""
    free = make.ticket_type(world.event, name="Free", price=0, quantity=20)
    for ticket_type in (world.regular, free):
        for _ in range(2):
            make.paid_order(None, ticket_type, quantity=3)
    codes = [ticket.code for ticket in make.tickets()]
    for size in (1, 3, 4, 6, 7):
        monkeypatch.setattr(exports, "_CHUNK", size)
        assert [row[0] for row in read_csv(world.export())[1:]] == codes


# ── How it comes ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("title", "plain", "whole"),
    [
        ("Nairobi Jazz Night", "Nairobi Jazz Night attendees", "Nairobi Jazz Night attendees"),
        ("Wanjikũ 🎉", "Wanjik attendees", "Wanjikũ 🎉 attendees"),
        ("../../etc/passwd", "etc passwd attendees", "etc passwd attendees"),
        ('a"; filename="evil.exe', "a ; filename= evil.exe attendees", "a ; filename= evil.exe attendees"),
        ("100% \\ off", "100 off attendees", "100% off attendees"),
        ("two\nlines", "two lines attendees", "two lines attendees"),
    ],
)
def test_the_file_is_named_for_the_event(world: World, title: str, plain: str, whole: str) -> None:
    world.change(Event, world.event.id, title=title)
    for file_format, kind in (
        ("csv", "text/csv; charset=utf-8"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ):
        answer = world.export(file_format)
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == "no-store"
        found = re.fullmatch(
            r"attachment; filename=\"([ -!#-~]*)\"; filename\*=UTF-8''([\w.%~-]+)",
            answer.headers["Content-Disposition"],
        )
        assert found is not None, answer.headers["Content-Disposition"]
        assert (found[1], unquote(found[2])) == (f"{plain}.{file_format}", f"{whole}.{file_format}")


def test_a_name_of_nothing_but_what_no_file_takes_still_is_one() -> None:
    assert tables.disposition('"/\\\r\n', "csv") == "attachment; filename=\"export.csv\"; filename*=UTF-8''export.csv"


def test_csv_is_what_comes_when_nothing_is_asked_for(world: World) -> None:
    assert world.client.get(world.path, headers=world.headers).mimetype == "text/csv"
    assert world.export("pdf").status_code == 422


def test_every_export_is_written_down(world: World, make: Maker) -> None:
    world.export("csv")
    world.open(world.link("xlsx"))
    lines = [line for line in make.rows(AuditLog) if line.action == "attendees_exported"]
    assert [(line.user_id, line.target_type, line.target_id) for line in lines] == [
        (world.organizer.id, "event", world.event.id)
    ] * 2
    assert [line.details for line in lines] == [
        {"format": "csv", "by_link": False},
        {"format": "xlsx", "by_link": True},
    ]


def test_an_export_that_is_refused_is_not(world: World, make: Maker) -> None:
    headers = make.headers(make.organizer())
    assert world.client.get(world.path, headers=headers).status_code == 404
    assert world.client.post(f"{world.path}-link", headers=headers).status_code == 404
    assert [line for line in make.rows(AuditLog) if line.action == "attendees_exported"] == []


def test_no_connection_is_held_between_the_pieces(world: World, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    make.paid_order(None, world.regular, quantity=5)
    monkeypatch.setattr(exports, "_CHUNK", 2)
    monkeypatch.setattr(tables, "_PIECE_BYTES", 1)
    with make.app.app_context():
        pool = db.engine.pool
    before = pool.checkedout()  # type: ignore[attr-defined]
    answer = world.client.get(world.path, headers=world.headers)
    pieces = iter(answer.iter_encoded())
    for _ in range(3):
        next(pieces)
        assert pool.checkedout() == before  # type: ignore[attr-defined]
    answer.close()
    assert pool.checkedout() == before  # type: ignore[attr-defined]


def test_rows_that_use_the_session_give_its_connection_back_when_the_client_leaves(app: Flask, make: Maker) -> None:
    for _ in range(5):
        make.attendee()
    with app.app_context():
        pool = db.engine.pool
    before, closed = pool.checkedout(), []  # type: ignore[attr-defined]

    def rows() -> Iterator[Sequence[object]]:
        try:
            for user in db.session.scalars(select(User).execution_options(yield_per=1)):
                yield (user.email * 10_000,)
        finally:
            closed.append(True)

    with app.test_request_context():
        response = tables.csv_response("people", ["E-mail"], rows())
    assert b"@example" in next(iter(response.response))  # type: ignore[arg-type]
    response.close()
    del response
    gc.collect()
    assert closed == [True]
    assert pool.checkedout() == before  # type: ignore[attr-defined]


def test_a_database_that_fails_at_once_is_an_error_not_half_a_file(
    world: World, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.paid_order(None, world.regular)

    monkeypatch.setattr(exports, "_attendees_after", lambda *_: text("SELECT pg_cancel_backend(pg_backend_pid())"))
    for file_format in ("csv", "xlsx"):
        answer = world.export(file_format)
        assert (answer.status_code, answer.json["code"]) == (503, "busy")


def test_the_temporary_files_are_gone_afterwards(
    world: World, make: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make.paid_order(None, world.regular)
    files = psutil.Process().num_fds()
    assert len(read_xlsx(world.export("xlsx"))) == 2
    monkeypatch.setattr(tables, "_write_cell", lambda *_: 1 / 0)
    assert world.export("xlsx").status_code == 500
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert psutil.Process().num_fds() <= files


def test_a_sheet_that_is_full_is_followed_by_another(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_SHEET_ROWS", 3)
    with app.test_request_context(), closing(tables.xlsx_response("x", ["n"], [(n,) for n in range(5)])) as answer:
        body = answer.get_data()
    sheets = openpyxl.load_workbook(io.BytesIO(body)).worksheets
    assert [[cell.value for (cell,) in sheet.iter_rows()] for sheet in sheets] == [["n", 0, 1], ["n", 2, 3], ["n", 4]]


# ── The address for a browser ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_the_link_gives_a_browser_the_file(world: World, make: Maker, file_format: str) -> None:
    make.paid_order(None, world.regular)
    url = world.link(file_format)
    assert url.startswith(make.app.extensions["settings"].PUBLIC_URL + "/events/")
    read = read_csv if file_format == "csv" else read_xlsx
    assert read(world.open(url)) == read(world.export(file_format))
    assert read(world.open(url, Authorization="Bearer nonsense"))
    assert read(world.open(url, **make.headers(make.attendee())))


def test_an_admin_may_have_it_as_well(world: World, make: Maker) -> None:
    world.headers = make.headers(make.admin())
    assert len(read_csv(world.export())) == len(read_csv(world.open(world.link()))) == 1


def test_the_link_works_for_five_minutes(world: World) -> None:
    answer = world.client.post(f"{world.path}-link", json={}, headers=world.headers).json
    left = datetime.fromisoformat(answer["expires_at"]) - clock.now()
    assert timedelta(seconds=290) < left <= timedelta(seconds=300)
    with clock.set_to(datetime.fromisoformat(answer["expires_at"]) - timedelta(seconds=1)):
        assert world.open(answer["url"]).status_code == 200
    with clock.set_to(datetime.fromisoformat(answer["expires_at"])):
        refused = world.open(answer["url"])
    assert (refused.status_code, refused.json["code"]) == (401, "link_expired")


def test_the_link_is_for_one_event_and_one_format(world: World, make: Maker) -> None:
    other = make.event(world.organizer)
    url = world.link("csv")
    for wrong in (
        url.replace(f"/events/{world.event.id}/", f"/events/{other.id}/"),
        url.replace("format=csv", "format=xlsx"),
    ):
        assert wrong != url
        refused = world.open(wrong)
        assert (refused.status_code, refused.json["code"]) == (401, "link_invalid")


def test_no_letter_of_the_link_can_be_another(world: World) -> None:
    url = world.link()
    start, end = url.index("export/") + len("export/"), url.index("?")
    for at in range(start, end):
        for letter in {"A", "B", "g", "-"} - {url[at]}:
            assert world.open(url[:at] + letter + url[at + 1 :]).status_code in (401, 404), at
    for wrong in (url[:start] + url[start:end][:-1] + url[end:], url[:end] + "A" + url[end:]):
        assert world.open(wrong).status_code == 401


def test_what_was_signed_for_another_purpose_is_no_link(world: World, app: Flask) -> None:
    with app.app_context():
        subject = (world.organizer.id, world.event.id, "csv", signing.fingerprint(world.organizer.password_hash))
        token = signing.sign("calendar", subject, expires_at=clock.ahead(minutes=5))
    assert world.open(f"http://x{world.path}/{token}?format=csv").status_code == 401


def _ban(world: World) -> None:
    world.change(User, world.organizer.id, status=AccountStatus.BANNED)


def _demote(world: World) -> None:
    world.change(User, world.organizer.id, role=Role.ATTENDEE)


def _give_away(world: World) -> None:
    world.change(Event, world.event.id, organizer_id=world.make.organizer().id)


def _change_password(world: World) -> None:
    with world.make.app.app_context():
        changed = hash_password("another-pass-2026")
    world.change(User, world.organizer.id, password_hash=changed)


def _delete(world: World) -> None:
    with world.make.app.app_context(), transaction() as session:
        session.delete(session.get_one(TicketType, world.regular.id))
        session.flush()
        session.delete(session.get_one(Event, world.event.id))


@pytest.mark.parametrize(
    ("happens", "status", "code"),
    [
        (_ban, 401, "account_banned"),
        (_demote, 403, "forbidden"),
        (_give_away, 404, "not_found"),
        (_change_password, 401, "link_invalid"),
        (_delete, 404, "not_found"),
    ],
)
def test_the_link_ends_with_what_its_maker_may_do(world: World, happens: Any, status: int, code: str) -> None:
    url = world.link()
    assert world.open(url).status_code == 200
    happens(world)
    refused = world.open(url)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert set(refused.json) == {"message", "code"}
