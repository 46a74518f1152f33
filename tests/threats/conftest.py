from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services import inbox
from tests.support import Maker
from tests.threats.field import FEW, Field
from utils.callers import SAFARICOM


@pytest.fixture
def field(app: Flask, client: FlaskClient, make: Maker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    with ExitStack() as stack:
        field = Field(app, client, make, monkeypatch, stack)
        # What tests deliver themselves is Safaricom's.
        field.set(MPESA_CALLBACK_ADDRESSES=[*SAFARICOM, "127.0.0.1"])
        field.set(RATELIMIT_ENABLED=True, CLAIMS_PER_DAY=FEW)
        field.set(PROMPTS_PER_BUYER_AND_HOUR=FEW, PROMPTS_PER_PHONE_AND_HOUR=FEW)
        for purpose, times in (("login", FEW), ("login_elsewhere", 2 * FEW), ("payment_check", FEW)):
            field.limit(purpose, times)
        field.replace(inbox, "_HINTS_PER_PAYMENT", FEW)
        yield field
