"""What browsers are told about every answer, and that nothing but a token opens anything."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from config import ROOT
from models import Role, User
from resources.base import PUBLIC
from tests.pictures import picture
from tests.support import PASSWORD, Maker
from tests.test_access import every_endpoint, the_world
from utils.database import db

ORIGIN = {"Origin": "http://localhost:5173"}
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def assert_is_guarded(headers: Any, told: object) -> None:
    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS, told
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy, told
    if "pdf" not in headers.get("Content-Type", ""):
        assert "default-src 'none'" in policy, told


def test_every_answer_tells_browsers_the_rules_and_sets_no_cookie(client: FlaskClient, make: Maker) -> None:
    world, statuses = the_world(make), set()
    for caller in ("nobody", "attendee", "admin"):
        user = world.callers[caller]
        headers = make.headers(user) if isinstance(user, User) else {}
        for method, address, _ in every_endpoint():
            body = world.body(method, address)
            answer = client.open(world.fill(address), method=method, headers=headers, json=body, buffered=True)
            assert_is_guarded(answer.headers, (caller, method, address, answer.status_code))
            assert "Set-Cookie" not in answer.headers
            statuses.add(answer.status_code)
    assert {200, 201, 401, 403, 404} <= statuses


@pytest.mark.parametrize("path", ["/nowhere", "//", "/%00", "/login"])
def test_errors_tell_the_rules_too(client: FlaskClient, path: str) -> None:
    assert_is_guarded(client.get(path).headers, path)
    assert_is_guarded(client.options(path).headers, path)


def test_https_is_asked_for_where_it_is_spoken(client: FlaskClient) -> None:
    name = "Strict-Transport-Security"
    assert name not in client.get("/health").headers
    assert client.get("/health", base_url="https://api.ticksy.co.ke").headers[name] == "max-age=31536000"


def test_behind_a_proxy_https_is_what_the_proxy_says(app: Flask) -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.1.1.1"}
    settings = app.extensions["settings"]
    for proxies in (0, 1):
        behind = create_app(settings.model_copy(update={"TRUSTED_PROXIES": proxies}))
        answer = behind.test_client().get("/health", headers=told)
        assert ("Strict-Transport-Security" in answer.headers) is (proxies == 1)
        with behind.app_context():
            db.engine.dispose()


def test_the_frontend_reads_json_and_shows_pictures_of_another_origin(app: Flask, client: FlaskClient) -> None:
    answer = client.get("/events", headers=ORIGIN)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    name = "0" * 32
    (app.extensions["settings"].UPLOAD_DIR / f"{name}.webp").write_bytes(picture("WEBP"))
    shown = client.get(f"/media/{name}.webp", buffered=True)
    assert (shown.status_code, shown.headers["Cross-Origin-Resource-Policy"]) == (200, "cross-origin")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


# ── Forged requests: another page makes a browser send something ──────────────────────────────────────────────────


def test_a_browser_that_is_made_to_send_a_form_proves_nothing(client: FlaskClient, make: Maker) -> None:
    """Whatever it has kept of Ticksy's: without the header that only the frontend adds, it is nobody."""
    user = make.user(Role.ORGANIZER)
    token = client.post("/login", json={"email": user.email, "password": PASSWORD}).json["access_token"]
    for name in ("access_token", "access_token_cookie", "session", "Authorization"):
        client.set_cookie(name, token)
        client.set_cookie(name, f"Bearer {token}")
    tried = 0
    for method, address, declared in every_endpoint():
        if declared.access is not PUBLIC:
            path = _anywhere(address)
            for sent in ({}, {"query_string": {"jwt": token, "access_token": token}}, {"data": {"jwt": token}}):
                answer = client.open(path, method=method, **sent)
                assert answer.status_code == 401, (method, address)
                tried += 1
    assert tried > 100


def _anywhere(address: str) -> str:
    path = address
    for kind, value in (("id", "1"), ("code", "TK7P-4M2Q-9XWD"), ("secret", "0" * 32), ("signed", "a" * 40)):
        while f"<{kind}:" in path:
            start = path.index(f"<{kind}:")
            path = path[:start] + value + path[path.index(">", start) + 1 :]
    return path


def test_no_code_reads_or_sets_a_cookie() -> None:
    """As long as this holds, no page of somebody else's can act in a user's name, and no CSRF token is needed."""
    for folder in ("resources", "services", "utils", "app.py"):
        path = ROOT / folder
        for file in [path] if path.is_file() else sorted(path.glob("**/*.py")):
            assert not _cookies(file), file


def _cookies(file: Path) -> set[str]:
    names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
    return names & {"cookies", "set_cookie", "session_transaction", "set_access_cookies", "set_refresh_cookies"}


def test_tokens_are_looked_for_in_the_header_alone_and_browsers_send_no_credentials(app: Flask) -> None:
    assert app.config["JWT_TOKEN_LOCATION"] == ["headers"]
    answer = app.test_client().get("/events", headers=ORIGIN)
    assert "Access-Control-Allow-Credentials" not in answer.headers
