"""Whatever goes wrong is told as {"message": a sentence, "code": a word}, with the right status and headers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import flask_restful
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

import config
from app import Api, create_app
from tests.support import Maker, free_port
from utils.database import db, transaction

ORIGIN = "http://localhost:5173"


def assert_is_told(answer: TestResponse, status: int, code: str) -> None:
    """The answer is an error as the frontend reads it."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    assert set(answer.json) <= {"message", "code", "errors", "data"}
    assert answer.json.get("data", {}) == {}  # for who polls a payment
    assert answer.json["code"] == code
    assert re.fullmatch(r"[A-Z].*\.|.*: .*\.|\w+ .*\.", answer.json["message"]), answer.json
    assert re.fullmatch(r"[0-9a-f]{12}", answer.headers["X-Request-Id"])


# ── What the caller did wrong ─────────────────────────────────────────────────────────────────────────────────────

JSON = "application/json"
REFUSED: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no JSON": ("POST", "/login", {"data": "{", "content_type": JSON}, 400, "malformed"),
    "JSON in another encoding": ("POST", "/login", {"data": b'{"\xff"}', "content_type": JSON}, 400, "malformed"),
    "no token": ("GET", "/orders", {}, 401, "unauthenticated"),
    "no such address": ("GET", "/nowhere", {}, 404, "not_found"),
    "no such address to write to": ("POST", "/nowhere/at/all", {"json": {}}, 404, "not_found"),
    "an id too many": ("GET", "/events/1/2", {}, 404, "not_found"),
    "a slash too many": ("GET", "/events//1", {}, 404, "not_found"),
    "a slash at the end": ("GET", "/events/", {}, 404, "not_found"),
    "no such event": ("GET", "/events/1", {}, 404, "not_found"),
    "no such picture": ("GET", f"/media/{'f' * 32}.webp", {}, 404, "not_found"),
    "no such payment": ("GET", f"/payments/check/{'f' * 32}", {}, 404, "not_found"),
    "another method": ("PUT", "/login", {"json": {}}, 405, "method_not_allowed"),
    "a method nobody knows": ("BREW", "/login", {}, 405, "method_not_allowed"),
    "too much JSON": ("POST", "/login", {"data": b" " * 300_000, "content_type": JSON}, 413, "too_large"),
    "too big a form": ("POST", "/login", {"data": {"email": "x" * 300_000}}, 413, "too_large"),
    "plain text": ("POST", "/login", {"data": "a", "content_type": "text/plain"}, 415, "wrong_type"),
    "no type at all": ("POST", "/login", {"data": "{}"}, 415, "wrong_type"),
    "nothing": ("POST", "/login", {}, 422, "invalid"),
    "a wrong shape": ("POST", "/login", {"json": {"email": 1}}, 422, "invalid"),
    "a parameter twice": ("GET", "/events?page=1&page=2", {}, 422, "invalid"),
    "a wrong query": ("GET", "/events?page=0", {}, 422, "invalid"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_refusal_is_a_sentence_and_a_word(client: FlaskClient, case: str) -> None:
    method, address, sent, status, code = REFUSED[case]
    assert_is_told(client.open(address, method=method, **sent), status, code)


def test_405_names_the_methods_there_are(client: FlaskClient) -> None:
    allowed = client.delete("/events").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "POST", "OPTIONS"}


def test_422_names_every_field_that_is_wrong(client: FlaskClient) -> None:
    answer = client.post("/signup", json={"first_name": "", "email": "nonsense", "role": "king", "crown": 1})
    assert_is_told(answer, 422, "invalid")
    told = {error["field"]: error["message"] for error in answer.json["errors"]}
    assert told == {
        "first_name": "first_name must not be empty.",
        "last_name": "last_name is missing.",
        "email": "Please give a valid e-mail address.",
        "phone": "phone is missing.",
        "password": "password is missing.",
        "role": "role: input should be 'attendee' or 'organizer'.",
        "crown": "crown is not a known field.",
    }
    assert answer.json["message"] in told.values()


def test_what_was_sent_is_not_repeated(client: FlaskClient) -> None:
    """Neither a password nor a megabyte comes back."""
    answer = client.post("/login", json={"email": 1, "password": ["kahawa-chungu-41"], "x" * 100_000: 1})
    assert "kahawa" not in answer.text
    assert len(answer.data) < 2_000


def test_the_errors_of_a_hundred_fields_are_cut_short(client: FlaskClient) -> None:
    answer = client.post("/login", json={f"field{number}": 1 for number in range(5_000)})
    assert len(answer.json["errors"]) == 20


def test_an_answer_to_head_has_the_status_of_get(client: FlaskClient) -> None:
    assert client.head("/events").status_code == 200
    assert client.head("/events/1").status_code == 404
    assert client.head("/login").status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example/x", "a b", "\x7f", "x" * 5_000, ""])
def test_the_host_header_reaches_no_answer(client: FlaskClient, host: str) -> None:
    for address in ("/events", "/events/1", "/nowhere", "/events//1"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code < 500
        assert "evil" not in answer.text + str(answer.headers)


def test_an_id_of_any_length_is_no_address(client: FlaskClient) -> None:
    for digits in ("9" * 20, "9" * 5_000, "٣", "²", "1_0", "+1", "1.0"):
        assert_is_told(client.get(f"/events/{digits}"), 404, "not_found")


def test_every_answer_has_an_id_of_its_own(client: FlaskClient) -> None:
    addresses = ["/", "/health", "/ready", "/events", "/nowhere", "/events/1", "/orders", "/events?page=x"]
    ids = [client.get(address).headers["X-Request-Id"] for address in addresses]
    assert len(set(ids)) == len(addresses)


def test_no_answer_is_kept_by_a_cache(client: FlaskClient) -> None:
    """But for the catalogue's, which are asked for again each time."""
    for address in ("/health", "/nowhere"):
        assert client.get(address).headers["Cache-Control"] == "no-store"


# ── What we did wrong ─────────────────────────────────────────────────────────────────────────────────────────────


class Failing(flask_restful.Resource):
    def get(self) -> None:
        raise RuntimeError("the secret is maziwa")


@pytest.fixture
def failing(settings: config.Settings) -> Iterator[FlaskClient]:
    """A client of an app with bugs: in a resource, in a plain view and in SQL."""
    app = create_app(settings)
    Api(app).add_resource(Failing, "/bug-in-resource")
    app.add_url_rule("/bug", "bug", lambda: 1 // 0)
    app.add_url_rule("/bug-in-sql", "bug in SQL", lambda: str(db.session.scalar(text("SELECT 1 / 0"))))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("address", ["/bug", "/bug-in-sql", "/bug-in-resource"])
def test_a_bug_is_500_without_detail_and_logged_with_its_request(
    failing: FlaskClient, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    with caplog.at_level(logging.ERROR, logger="ticksy.http"):
        answer = failing.get(address)
    assert_is_told(answer, 500, "internal_error")
    assert not re.search("maziwa|zero|Division|Runtime|SELECT|Traceback", answer.text)
    assert caplog.records[-1].exc_info is not None


def test_a_busy_row_is_503_and_soon_free_again(
    settings: config.Settings, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.LOCK_TIMEOUT_MS", 50)
    app = create_app(settings)
    client, user = app.test_client(), make.attendee()
    change = {"path": "/profile/me", "json": {"first_name": "Zawadi"}, "headers": make.headers(user)}
    with app.app_context():
        engine = db.engine
    with engine.begin() as elsewhere:
        elsewhere.execute(text("SELECT 1 FROM users WHERE id = :id FOR UPDATE"), {"id": user.id})
        answer = client.put(**change)
        assert_is_told(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
    assert client.put(**change).status_code == 200
    engine.dispose()


# ── The database away ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cut_off(settings: config.Settings) -> FlaskClient:
    """A client of an app whose database is not there."""
    away = f"postgresql+psycopg2://ticksy:secret@127.0.0.1:{free_port()}/ticksy"
    return create_app(settings.model_copy(update={"DATABASE_URL": away})).test_client()


@pytest.mark.parametrize(
    ("method", "address"),
    [("GET", "/events"), ("GET", "/events/1"), ("POST", "/login"), ("GET", f"/payments/check/{'f' * 32}")],
)
def test_without_a_database_the_answer_is_503_and_to_come_again(
    cut_off: FlaskClient, method: str, address: str
) -> None:
    body = {"email": "a@example.co.ke", "password": "x"} if method == "POST" else None
    answer = cut_off.open(address, method=method, **({"json": body} if body else {}))
    assert_is_told(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) > 0


def test_without_a_database_the_process_is_up_but_not_ready(cut_off: FlaskClient) -> None:
    assert cut_off.get("/health").status_code == 200
    answer = cut_off.get("/ready")
    assert_is_told(answer, 503, "database_away")
    assert int(answer.headers["Retry-After"]) > 0


def test_ready_means_that_the_schema_is_the_codes(app: Flask, client: FlaskClient) -> None:
    assert client.get("/ready").status_code == 200
    with app.app_context(), transaction() as session:
        real = session.scalar(text("SELECT version_num FROM alembic_version"))
        session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    try:
        assert_is_told(client.get("/ready"), 503, "schema_outdated")
    finally:
        with app.app_context(), transaction() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :real"), {"real": real})


# ── Browsers of other origins ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", ["/events", "/nowhere", "/orders", "/events?page=0", "/events/1"])
def test_the_frontend_may_read_every_answer_errors_too(client: FlaskClient, address: str) -> None:
    headers = client.get(address, headers={"Origin": ORIGIN}).headers
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = set(headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed == {
        "Link", "X-Total-Count", "X-Request-Id", "Retry-After", "ETag", "Idempotency-Replayed", "Content-Disposition",
    }  # fmt: skip
    assert "Origin" in ", ".join(headers.getlist("Vary"))


def test_the_frontend_may_read_what_a_bug_answers(failing: FlaskClient) -> None:
    assert failing.get("/bug", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_preflight_is_answered_and_kept_for_a_day(client: FlaskClient, method: str) -> None:
    sent = "authorization,content-type,idempotency-key"
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": sent}
    answer = client.options("/events/1", headers={"Origin": ORIGIN} | asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type, idempotency-key"
    assert answer.headers["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:5173.evil.example", "http://localhost:51733", "*"]
)
def test_other_origins_are_told_nothing(client: FlaskClient, origin: str) -> None:
    for answer in (
        client.get("/events", headers={"Origin": origin}),
        client.options("/events", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}),
    ):
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control")]


def test_no_origin_gets_no_headers_and_no_wildcard(client: FlaskClient) -> None:
    assert "Access-Control-Allow-Origin" not in client.get("/events").headers


def test_without_frontends_no_origin_is_allowed(settings: config.Settings) -> None:
    client = create_app(settings.model_copy(update={"CORS_ORIGINS": []})).test_client()
    for origin in (ORIGIN, "https://evil.example"):
        assert "Access-Control-Allow-Origin" not in client.get("/health", headers={"Origin": origin}).headers
