"""Statements that are written once."""

from __future__ import annotations

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import Text, func, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from models import Event, EventStatus, User
from tests.support import Maker
from utils import prepared
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


def test_a_connection_plans_a_statement_once_and_anew_after_a_minute(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = text("SELECT prepare_time, statement FROM pg_prepared_statements WHERE statement LIKE '%users.email = $1%'")
    with app.app_context():
        db.engine.dispose()
        NAMED.rows(email="nobody")
        NAMED.rows(email="nobody")
        [first] = db.session.execute(plans).all()
        monkeypatch.setattr(prepared, "_PLAN_SECONDS", 0)
        NAMED.rows(email="nobody")
        [second] = db.session.execute(plans).all()
    assert "(TEXT) AS SELECT users.id" in first.statement
    assert second.prepare_time > first.prepare_time


def test_a_statement_that_is_one_of_many_leaves_no_plan_behind(app: Flask) -> None:
    one_of_many = Prepared(select(User.id).where(User.phone == given("phone")), is_planned_once=False)
    with app.app_context():
        db.engine.dispose()
        assert one_of_many.rows(phone="254700000000") == []
        found = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%users.phone%'")
        assert db.session.scalar(found) == 0


def test_a_plan_outlives_the_transaction_it_was_made_in(app: Flask, make: Maker) -> None:
    email = make.attendee().email
    with app.app_context():
        db.engine.dispose()
        with transaction() as session:
            RENAME.row(email=email, to="Wambui")
            session.rollback()
        with transaction():
            RENAME.row(email=email, to="Wambui")
        assert NAMED.rows(email=email)[0][1] == "Wambui"


def test_what_looks_like_a_place_or_a_sign_is_text(app: Flask, make: Maker) -> None:
    email = make.attendee().email
    odd = Prepared(select(User.id, literal_column("'100 % $1'")).where(User.email.like(given("like"))))
    with app.app_context():
        assert odd.rows(like=f"{email[:5]}%")[0][1] == "100 % $1"


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
