"""Tables as files: read again they are what they were, and harm no spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from flask import Flask, Response
from sqlalchemy import select

from models import Role, User
from tests.support import Maker
from utils.database import db, stream
from utils.tables import csv_response


def table(response: Response) -> list[list[str]]:
    data = b"".join(response.response)  # type: ignore[arg-type]
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


Cell = Callable[[object], str]


@pytest.fixture
def cell(app: Flask) -> Cell:
    """What a reader finds in a file with this one cell."""

    def read(value: object) -> str:
        with app.app_context():
            return table(csv_response("x", ["a"], [[value]]))[1][0]

    return read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("Wanjirũ, \"the\" 'first'", "Wanjirũ, \"the\" 'first'"),
        ("two\nlines", "two\nlines"),
        ("", ""),
        (None, ""),
        (0, "0"),
        (-250, "-250"),
        (4.25, "4.25"),
        (True, "yes"),
        (False, "no"),
        (Role.ORGANIZER, "organizer"),
        (datetime(2026, 11, 23, 21, 30, tzinfo=timezone.utc), "2026-11-24 00:30:00"),
        ("1984", "'1984"),
        ("ABCD-0123-4567", "ABCD-0123-4567"),
        (254712345678, "254712345678"),
    ],
)
def test_a_cell_is_read_again_as_it_was(cell: Cell, value: object, read: str) -> None:
    assert cell(value) == read


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_a_text_is_no_formula(cell: Cell, start: str) -> None:
    text = start + 'HYPERLINK("http://evil")'
    assert cell(text) == "'" + text


@pytest.mark.parametrize("number", ["254712345678", "0712345678", "00"])
def test_a_number_in_a_text_stays_a_text(cell: Cell, number: str) -> None:
    assert cell(number) == "'" + number


def connections_in_use(app: Flask) -> int:
    with app.app_context():
        return db.engine.pool.checkedout()  # type: ignore[attr-defined, no-any-return]


def test_rows_come_outside_of_the_request_over_a_connection_that_is_given_back(app: Flask, make: Maker) -> None:
    for _ in range(3):
        make.attendee()
    with app.app_context():
        rows = stream(select(User.id).order_by(User.id), at_once=1)
    assert connections_in_use(app) == 0
    next(rows)
    assert connections_in_use(app) == 1
    assert len(list(rows)) == 2
    assert connections_in_use(app) == 0


def test_a_reader_who_goes_away_gives_the_connection_back(app: Flask, make: Maker) -> None:
    for _ in range(3):
        make.attendee()
    with app.app_context():
        response = csv_response("x", ["id"], ([user.id, "x" * 70_000] for (user,) in stream(select(User), at_once=1)))
    chunks = iter(response.response)
    next(chunks)
    next(chunks)
    assert connections_in_use(app) == 1
    response.close()
    assert connections_in_use(app) == 0
