"""Attacks, each made twice: as things are, where it has to fail, then without its defence, where it has to succeed.

The second shows that it is the defence that the first one fails at, and not a mistake of the attacker's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import DDL, text
from werkzeug.test import TestResponse

from app import create_app
from models import User
from services import limits
from services.limits import Limit
from tests.conftest import empty_tables
from tests.support import Maker, changed_settings
from utils.database import db, transaction

#: So often may be done here what is limited: attacks are short.
FEW = 3
#: How long threads wait for one another in seconds: those that a lock keeps apart, and those that nothing does.
_IN_VAIN, _UNTIL_ALL_ARE_THERE = 0.3, 15


@dataclass
class Field:
    """Where attacks are made, and how their defences are taken away."""

    app: Flask
    client: FlaskClient
    make: Maker
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack
    is_defended: bool = True

    def set(self, **settings: Any) -> None:
        self.stack.enter_context(changed_settings(self.app, **settings))

    def replace(self, where: Any, name: str, substitute: Any) -> None:
        self.monkeypatch.setattr(where, name, substitute)

    def limit(self, purpose: str, times: int) -> None:
        self.monkeypatch.setitem(limits.LIMITS, purpose, Limit(times, limits.LIMITS[purpose].seconds))

    def drop(self, index: str) -> None:
        """Without this index, and what it keeps out of the table, until the attack is over."""
        with self.app.app_context(), transaction() as session:
            [made] = session.scalars(text("SELECT indexdef FROM pg_indexes WHERE indexname = :name"), {"name": index})
            session.execute(DDL(f"DROP INDEX {index}"))
        self.stack.callback(self._create, made)

    def _create(self, index: str) -> None:
        empty_tables(self.app.config["SQLALCHEMY_DATABASE_URI"])
        with self.app.app_context(), transaction() as session:
            session.execute(DDL(index))

    def start(self, **settings: Any) -> FlaskClient:
        """Another process, as far as the attacker can tell."""
        app = create_app(self.app.extensions["settings"].model_copy(update=settings))
        self.stack.callback(_let_go, app)
        return app.test_client()

    def meet(self, where: Any, name: str, *, parties: int) -> None:
        """Have so many threads come to this function before any of them goes on, if nothing keeps them from it."""
        wait, function = self.meeting(parties), getattr(where, name)

        def wait_first(*args: Any, **named: Any) -> Any:
            wait()
            return function(*args, **named)

        self.replace(where, name, wait_first)

    def meeting(self, parties: int) -> Callable[[], None]:
        barrier, seconds = threading.Barrier(parties), _IN_VAIN if self.is_defended else _UNTIL_ALL_ARE_THERE

        def wait() -> None:
            with suppress(threading.BrokenBarrierError):
                barrier.wait(seconds)

        return wait

    def get(self, path: str, user: User) -> TestResponse:
        return self.client.get(path, headers=self.make.headers(user), buffered=True)


def _let_go(app: Flask) -> None:
    with app.app_context():
        db.engine.dispose()


#: Makes the attack and tells whether it succeeded.
Attack = Callable[[Field], bool]
#: Takes the defence away.
Removal = Callable[[Field], None]
#: The rows of the page that are attacked.
ATTACKED: set[str] = set()


def attack(row: str, *, without: Removal) -> Callable[[Attack], Callable[[Field], None]]:
    """Makes a test of an attack that stands in the table of `docs/security.md` as `row`."""

    def make_test(made: Attack) -> Callable[[Field], None]:
        ATTACKED.add(row)

        @wraps(made)
        def test(field: Field) -> None:
            assert not made(field), "the attack succeeds"
            field.is_defended = False
            without(field)
            assert made(field), "the attack fails at something else: it shows nothing of the defence"

        test.__annotations__ = {"field": Field}
        return test

    return make_test
