"""Statements that are written once."""

from __future__ import annotations

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import Text, func, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from models import Event, EventStatus, User
from tests.support import Maker
from utils.database import db, transaction
from utils.prepared import Prepared, given

NAMED = Prepared(select(User.id, User.first_name).where(User.email == given("email")))
RENAME = Prepared(
    update(User).where(User.email == given("email")).values(first_name=given("to")).returning(User.first_name)
)


def test_values_are_values_whatever_they_look_like(app: Flask, make: Maker) -> None:
    make.attendee()
    with app.app_context():
        for hostile in ("' OR 1=1 --", "%(email)s", "%s", "\\'; DROP TABLE users"):
            assert NAMED.rows(email=hostile) == []


def test_enums_and_facts_that_are_the_same_each_time_are_bound_too(app: Flask, make: Maker) -> None:
    make.event()
    pending = Prepared(select(Event.status).where(Event.status == EventStatus.APPROVED, Event.id > given("after")))
    with app.app_context():
        assert pending.row(after=0) == ("approved",)


def test_in_a_transaction_it_is_part_of_that(app: Flask, make: Maker) -> None:
    email = make.attendee().email
    with app.app_context():
        with transaction() as session:
            assert RENAME.row(email=email, to="Wambui") == ("Wambui",)
            session.rollback()
        assert NAMED.rows(email=email)[0][1] != "Wambui"


def test_while_the_session_reads_it_takes_no_second_connection(app: Flask, make: Maker) -> None:
    email = make.attendee().email
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        assert db.engine.pool.checkedout() == 1
        NAMED.rows(email=email)
        assert db.engine.pool.checkedout() == 1
        db.session.rollback()
        NAMED.rows(email=email)
        assert db.engine.pool.checkedout() == 0


def test_errors_are_those_of_sqlalchemy_and_the_connection_stays_good(app: Flask) -> None:
    broken = Prepared(select(func.to_tsquery("no such language", given("word", type_=Text()))))
    with app.app_context():
        with pytest.raises(DBAPIError):
            broken.rows(word="x")
        assert NAMED.rows(email="nobody") == []
        with db.engine.connect() as connection:
            assert connection.connection.dbapi_connection.autocommit is False


def test_a_connection_that_the_server_ended_is_noticed_before_it_is_used(app: Flask) -> None:
    backend = Prepared(select(func.pg_backend_pid()))
    with app.app_context():
        db.engine.dispose()
        (pid,) = backend.rows()[0]
        url = db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        other = psycopg2.connect(url)
        with other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        other.close()
        assert backend.rows()[0] != (pid,)


def test_a_connection_that_breaks_in_the_middle_is_an_error_once(app: Flask) -> None:
    suicide = Prepared(select(func.pg_terminate_backend(func.pg_backend_pid())))
    with app.app_context():
        with pytest.raises(OperationalError):
            suicide.rows()
        assert NAMED.rows(email="nobody") == []
