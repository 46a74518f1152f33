"""The page that scans, as it is served. What it does is tried in a browser: `tests/browser/test_gate_page.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import ROOT
from resources import gate_page

FOLDER = ROOT / "templates" / "gate"
WORKER = "/gate/worker.js"


def policy_of(answer: TestResponse) -> dict[str, str]:
    parts = (part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    return dict(parts)  # type: ignore[arg-type]


def kept(client: FlaskClient) -> list[str]:
    """Paths of all that the worker keeps."""
    [files] = re.findall(r"^const FILES = (.*);$", client.get(WORKER).text, re.MULTILINE)
    return [f"/gate/{name}".replace("/gate/../", "/") for name in json.loads(files)]


def test_the_page_runs_scripts_of_its_own_origin_alone(client: FlaskClient) -> None:
    page = client.get("/gate", buffered=True)
    policy = policy_of(page)
    assert page.mimetype == "text/html"
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
    assert policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert not re.search(r"https?://|<script>| on\w+=|style=|<style", page.text)
    assert page.headers["Permissions-Policy"].startswith("camera=(self)")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Robots-Tag"] == "noindex"


@pytest.mark.parametrize("path", ["/gate", WORKER, "/gate/assets/page.js"])
def test_who_has_it_already_is_told_so_and_asks_each_time(client: FlaskClient, path: str) -> None:
    first = client.get(path, buffered=True)
    assert "no-cache" in first.headers["Cache-Control"]
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert (first.status_code, again.status_code) == (200, 304)


def test_everything_that_the_page_and_its_scripts_name_is_kept_by_the_worker(client: FlaskClient) -> None:
    files = kept(client)
    page = client.get("/gate", buffered=True).text
    assert {f"/{name}" for name in re.findall(r'(?:src|href)="([^"]+)"', page)} <= set(files)
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in files:
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200, path
        assert answer.mimetype == types.get(Path(path).suffix, "text/html"), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert policy_of(answer) == policy_of(client.get(WORKER)), path
        if path.endswith(".js"):
            named = re.findall(r'(?:from|import\.meta\.url|new URL\()\s*["\']\./?([\w.]+\.js)["\']', answer.text)
            assert {f"/gate/assets/{name}" for name in named} <= set(files), path


def test_the_worker_serves_the_page_and_is_another_one_whenever_a_file_is(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def version() -> Any:
        gate_page._worker.cache_clear()
        return re.findall(r'^const VERSION = "([0-9a-f]{16})";$', client.get(WORKER).text, re.MULTILINE)

    assert client.get(WORKER).headers["Service-Worker-Allowed"] == "../gate"
    before = version()
    assert version() == before
    changed = tmp_path / "words.js"
    changed.write_text("// other words")
    monkeypatch.setitem(gate_page._ASSETS, "words.js", changed)
    assert version() != before
    monkeypatch.undo()
    assert version() == before


@pytest.mark.parametrize("name", ["README.md", "vendor", "..%2Fpage.html", "worker.js", "LICENSE", "decode.ts", "%00"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/gate/assets/{name}").status_code == 404


def test_what_others_have_written_comes_with_its_licence_and_version() -> None:
    told = (FOLDER / "vendor" / "README.md").read_text()
    for folder in (FOLDER / "vendor").iterdir():
        if folder.is_dir():
            assert list(folder.glob("LICENSE*")), folder
            assert re.search(rf"^\| `{folder.name}` \| `[@\w/-]+` \| \d+\.\d+\.\d+ \|", told, re.MULTILINE)
