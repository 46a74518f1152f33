"""The catalogue's pages, kept for a moment as ready bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from resources.base import PUBLIC
from tests.support import Maker, changed_settings
from tests.test_access import every_endpoint
from tests.test_queries import recorded
from utils import ready
from utils.ready import ReadyAnswers


@pytest.fixture
def keeping(app: Flask) -> Iterator[None]:
    with changed_settings(app, CATALOGUE_CACHE_SECONDS=60):
        yield
    del app.extensions["ready_answers"]


@pytest.mark.usefixtures("keeping")
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


@pytest.mark.usefixtures("keeping")
def test_who_has_it_is_told_304(client: FlaskClient, make: Maker) -> None:
    make.event()
    tag = client.get("/events").headers["ETag"]
    again = client.get("/events", headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)


@pytest.mark.usefixtures("keeping")
def test_every_search_is_kept_for_itself_and_errors_are_not_kept(client: FlaskClient, make: Maker) -> None:
    make.event(title="Jazz in the park")
    assert [len(client.get(f"/events?q={word}").json) for word in ("jazz", "rugby", "jazz")] == [1, 0, 1]
    assert client.get("/events?page=0").status_code == 422
    assert "/events?page=0" not in client.application.extensions["ready_answers"]._kept


@pytest.mark.usefixtures("keeping")
def test_nobody_gets_another_page_for_being_somebody(client: FlaskClient, make: Maker) -> None:
    organizer = make.organizer()
    make.event(organizer)
    tokens = [make.headers(make.admin()), make.headers(organizer), {"Authorization": "Bearer nonsense"}, {}]
    assert len({client.get("/events", headers=headers).data for headers in tokens}) == 1


def test_only_what_is_public_is_kept() -> None:
    kept = [one for _, _, one in every_endpoint() if one.is_for_everyone]
    assert kept
    assert all(one.access is PUBLIC and one.conditional for one in kept)


def test_while_one_works_it_out_anew_the_others_are_shown_the_old_one(app: Flask) -> None:
    answers, at_work, may_end = ReadyAnswers(), threading.Event(), threading.Event()

    def work() -> Response:
        at_work.set()
        assert may_end.wait(10)
        return Response("new")

    with app.app_context():
        answers.answer("/events", seconds=0, make=lambda: Response("old"))
        worker = threading.Thread(target=lambda: answers.answer("/events", seconds=60, make=work))
        worker.start()
        assert at_work.wait(10)
        meanwhile = answers.answer("/events", seconds=60, make=lambda: Response("never"))
        may_end.set()
        worker.join()
        assert meanwhile.data == b"old"
        assert answers.answer("/events", seconds=60, make=lambda: Response("never")).data == b"new"


def test_no_more_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_MOST", 3)
    answers = ReadyAnswers()
    for number in range(20):
        answers.answer(f"/events?page={number}", seconds=60, make=lambda: Response("page"))
    assert len(answers._kept) <= 3
