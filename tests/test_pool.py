"""The connections that the threads of a process share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from utils.database import db
from utils.pool import ConnectionPool

PID = text("SELECT pg_backend_pid()")


@pytest.fixture
def engine(app: Flask) -> Iterator[Engine]:
    """With two connections at most, for which nobody waits longer than 0.2 seconds."""
    with app.app_context():
        made = create_engine(db.engine.url, poolclass=ConnectionPool, pool_size=2, max_overflow=0, pool_timeout=0.2)
    yield made
    made.dispose()


def test_the_connection_that_was_given_back_last_is_taken_first(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        pids = [one.scalar(PID) for one in (first, second)]
    assert len(set(pids)) == 2
    with engine.connect() as again:
        last = again.scalar(PID)
    for _ in range(3):
        with engine.connect() as again:
            assert again.scalar(PID) == last


def test_nobody_waits_longer_than_told_and_there_are_never_more(engine: Engine) -> None:
    with engine.connect(), engine.connect():
        began = time.monotonic()
        with pytest.raises(PoolTimeout):
            engine.connect()
        assert 0.15 < time.monotonic() - began < 5
        assert engine.pool.checkedout() == 2
    with engine.connect(), engine.connect():
        pass
    assert engine.pool.checkedout() == 0


def test_who_waits_is_given_the_one_that_becomes_free(engine: Engine) -> None:
    found: list[int] = []

    def ask() -> None:
        with engine.connect() as connection:
            found.append(connection.scalar(PID))
            time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30
    assert len(set(found)) <= 2


def test_a_connection_that_broke_leaves_its_place_to_another(engine: Engine) -> None:
    with engine.connect() as first:
        broken = first.scalar(PID)
        first.invalidate()
    with engine.connect() as one, engine.connect() as another:
        assert broken not in {one.scalar(PID), another.scalar(PID)}


def test_a_connection_that_cannot_be_made_takes_no_place(engine: Engine) -> None:
    nowhere = create_engine(
        engine.url.set(port=1), poolclass=ConnectionPool, pool_size=1, max_overflow=0, pool_timeout=0.2
    )
    for _ in range(3):
        with pytest.raises(Exception, match="refused"):
            nowhere.connect()
    assert nowhere.pool.checkedout() == 0
