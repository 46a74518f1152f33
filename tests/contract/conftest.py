"""Somebody's browser, with the frontend in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from models import User
from tests.contract.frontend import Browser


@pytest.fixture
def visitor(client: FlaskClient) -> Browser:
    """Of somebody who has not logged in."""
    return Browser(client)


@pytest.fixture
def browser(client: FlaskClient) -> Callable[[User], Browser]:
    """Of somebody who has, through the login page."""
    return lambda user: Browser(client).log_in(user)
