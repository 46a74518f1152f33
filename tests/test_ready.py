"""The catalogue's pages, kept for a moment as ready bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import Client

from resources.base import PUBLIC
from tests.support import Maker, changed_settings
from tests.test_access import every_endpoint
from tests.test_queries import recorded
from tests.test_utils import log_as_the_app_does
from utils import ready
from utils.ready import ReadyAnswers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@pytest.fixture
def keeping(app: Flask) -> Iterator[None]:
    with changed_settings(app, CATALOGUE_CACHE_SECONDS=60):
        yield
    app.extensions["ready_answers"].clear()


pytestmark = pytest.mark.usefixtures("keeping")


def test_what_was_worked_out_a_moment_ago_is_not_asked_for_again(client: FlaskClient, make: Maker) -> None:
    make.event()
    first = client.get("/events")
    make.event()
    with recorded(make) as statements:
        again = client.get("/events")
    assert statements == []
    assert (again.status_code, again.data, again.headers["ETag"]) == (200, first.data, first.headers["ETag"])
    assert again.headers["X-Total-Count"] == "1"
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]


def test_who_has_it_is_told_304(client: FlaskClient, make: Maker) -> None:
    make.event()
    tag = client.get("/events").headers["ETag"]
    again = client.get("/events", headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)


def test_every_search_is_kept_for_itself_and_errors_are_not_kept(client: FlaskClient, make: Maker) -> None:
    make.event(title="Jazz in the park")
    assert [len(client.get(f"/events?q={word}").json) for word in ("jazz", "rugby", "jazz")] == [1, 0, 1]
    assert client.get("/events?page=0").status_code == 422
    assert client.get("/events?page=0").status_code == 422


def test_nobody_gets_another_page_for_being_somebody(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    make.event(organizer)
    tokens = [make.headers(make.admin()), make.headers(organizer), {"Authorization": "Bearer nonsense"}, {}]
    assert len({client.get("/events", headers=headers).data for headers in tokens}) == 1


def test_only_what_is_public_is_kept() -> None:
    kept = [one for _, _, one in every_endpoint() if one.is_for_everyone]
    assert kept
    assert all(one.access is PUBLIC and one.conditional for one in kept)


class Kitchen:
    """Answers that are worked out as a test says, kept for 60 seconds unless it says otherwise."""

    def __init__(self) -> None:
        self.answers = ReadyAnswers(self._serve, lambda *_: None)
        self.seconds, self.work = 60.0, lambda: b"page"

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = self.work()
        assert ready.keep(environ, seconds=self.seconds, route="/events")
        start_response("200 OK", [("ETag", '"tag"'), ("X-Request-Id", "0")])
        return [body]

    def ask(self, address: str = "/events") -> bytes:
        return Client(self.answers).get(address).data


def test_while_one_works_it_out_anew_the_others_are_shown_the_old_one() -> None:
    kitchen, at_work, may_end = Kitchen(), threading.Event(), threading.Event()

    def work_long() -> bytes:
        at_work.set()
        assert may_end.wait(10)
        return b"new"

    kitchen.seconds, kitchen.work = 0.001, lambda: b"old"
    assert kitchen.ask() == b"old"
    time.sleep(0.002)
    kitchen.seconds, kitchen.work = 60, work_long
    worker = threading.Thread(target=kitchen.ask)
    worker.start()
    assert at_work.wait(10)
    kitchen.work = lambda: b"never"
    assert kitchen.ask() == b"old"
    may_end.set()
    worker.join()
    assert kitchen.ask() == b"new"


def test_who_fails_to_work_it_out_anew_leaves_that_to_the_next() -> None:
    def fail() -> bytes:
        raise ZeroDivisionError

    kitchen = Kitchen()
    kitchen.seconds = 0.001
    kitchen.ask()
    time.sleep(0.002)
    kitchen.work = fail
    with pytest.raises(ZeroDivisionError):
        kitchen.ask()
    kitchen.work = lambda: b"new"
    assert kitchen.ask() == b"new"


def test_no_more_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_MOST", 3)
    kitchen = Kitchen()
    for number in range(20):
        kitchen.ask(f"/events?page={number}")
    assert 0 < len(kitchen.answers._kept) <= 3


def test_each_origin_has_the_answer_that_cors_gives_it(app: Flask, client: FlaskClient, make: Maker) -> None:
    make.event()
    [ours, *_] = app.extensions["settings"].CORS_ORIGINS
    for origin in (ours, "https://evil.example", ours):
        answer = client.get("/events", headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == (ours if origin == ours else None)
    assert "Access-Control-Allow-Origin" not in client.get("/events").headers


def test_an_answer_has_the_same_headers_from_memory(client: FlaskClient, make: Maker) -> None:
    make.event()
    first, again = client.get("/events"), client.get("/events")
    named = [{name: value for name, value in one.headers if name != "X-Request-Id"} for one in (first, again)]
    assert named[0] == named[1]
    assert named[0]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_that_is_known_is_not_told_again(client: FlaskClient, make: Maker, method: str) -> None:
    make.event()
    tag = client.get("/events").headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.open("/events", method=method, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers.get("Content-Type")) == (304, b"", None)
    assert client.open("/events", method=method, headers={"If-None-Match": '"other"'}).status_code == 200


def test_what_comes_from_memory_is_in_the_log(client: FlaskClient, make: Maker) -> None:
    make.event()
    tag = client.get("/events").headers["ETag"]
    with log_as_the_app_does() as log:
        client.get("/events", headers={"If-None-Match": tag})
        client.get("/events")
    known, whole = log.getvalue().splitlines()
    assert "status=304" in known
    assert "status=200" in whole
    assert "route=/events" in whole
