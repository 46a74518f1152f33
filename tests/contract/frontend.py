"""The React frontend as its backend meets it: what it stores, what it sends with every call, what it reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import UnionType
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import User
from tests.support import PASSWORD

ORIGIN = "http://localhost:5173"


class Browser:
    """The app in somebody's browser. Once somebody has logged in, axios sends their token with every call, to public
    addresses too, and however old it is."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        #: `localStorage.user`.
        self.user: dict[str, Any] | None = None

    def log_in(self, user: User) -> Browser:
        answer = self.axios("POST", "/login", json={"email": user.email, "password": PASSWORD})
        assert answer.status_code == 200
        self.user = {"access_token": answer.json["access_token"], **answer.json["user"]}
        return self

    def axios(self, method: str, path: str, *, json: Any = None, form: Any = None) -> TestResponse:
        """A call with a JSON body, a multipart form, or neither body nor Content-Type."""
        headers = {"Accept": "application/json, text/plain, */*"}
        if self.user is not None:
            headers["Authorization"] = f"Bearer {self.user['access_token']}"
        sent: dict[str, Any] = {}
        if json is not None:
            sent = {"json": json}
        if form is not None:
            sent = {"data": form, "content_type": "multipart/form-data"}
        return self._send(method, path, headers, **sent)

    def fetch(self, path: str) -> TestResponse:
        """The checkout's poll: plain `fetch`, without a token, with the content type of a body it does not have."""
        return self._send("GET", path, {"Content-Type": "application/json"})

    def _send(self, method: str, path: str, headers: dict[str, str], **sent: Any) -> TestResponse:
        answer = self.client.open(path, method=method, headers={"Origin": ORIGIN} | headers, **sent)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, (method, path)
        assert answer.mimetype == "application/json", (method, path)
        if answer.status_code >= 400:  # rendered as it is: an object would crash the page
            assert isinstance(answer.json["message"], str), (method, path)
            assert answer.json["message"], (method, path)
        return answer

    def read(self, path: str) -> Any:
        """What a page gets to read there."""
        answer = self.axios("GET", path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json


# ── What pages read ───────────────────────────────────────────────────────────────────────────────────────────────

#: A type, a union of types, a check, a list of one shape, or names with their shapes.
Shape = type | UnionType | Callable[[Any], bool] | list[Any] | dict[str, Any]


def assert_reads(value: Any, shape: Shape, where: str = "answer") -> None:
    """The value has every name the page reads, with what it takes it for. More names do not hurt."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, below in shape.items():
            assert name in value, f"{where}.{name} is missing"
            assert_reads(value[name], below, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        assert value, f"{where} is empty"
        for number, one in enumerate(value):
            assert_reads(one, shape[0], f"{where}[{number}]")
    elif isinstance(shape, type | UnionType):
        assert isinstance(value, shape), (where, value)
        assert not isinstance(value, bool) or shape is bool, (where, value)
    else:
        assert shape(value), (where, value)


def when(value: Any) -> bool:
    """A time in Nairobi, split by a page at its T; with Z each edit would shift it by three hours."""
    return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+03:00", value))


def picture(value: Any) -> bool:
    """Used as it is in `<img src>`."""
    return value is None or (isinstance(value, str) and value.startswith("http"))


def one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: value in words


PERSON = {"first_name": str, "last_name": str}
#: Pages call `.toLowerCase()` of title and description and `.split(",")` of tags.
EVENT = {
    "id": int,
    "title": str,
    "description": str,
    "location": str,
    "start_time": when,
    "end_time": when,
    "category": str,
    "tags": str | None,
    "image_url": picture,
}
EVENT_STATUS = one_of("pending", "approved", "rejected")
