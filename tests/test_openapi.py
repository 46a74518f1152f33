"""The API's description is right OpenAPI, complete, and about the API that runs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, TypeAdapter

import resources
from config import ROOT
from development import postman
from models import Role
from resources import openapi
from resources.base import LOGGED_IN, PUBLIC, Endpoint
from tests.test_access import every_endpoint

SERVER = "https://api.ticksy.example"
DOCUMENT = openapi.build(resources.URLS, server=SERVER)


def described(method: str, address: str) -> dict[str, Any]:
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", address)
    operation: dict[str, Any] = DOCUMENT["paths"][path][method.lower()]
    return operation


EVERY = [pytest.param(*one, id=f"{one[0]} {one[1]}") for one in every_endpoint()]


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert [str(fault) for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_describes_exactly_the_methods_of_the_url_table() -> None:
    told = {(method.upper(), path) for path, one in DOCUMENT["paths"].items() for method in one}
    known = {(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", address)) for method, address, _ in every_endpoint()}
    assert told == known


def test_it_is_served_with_the_address_of_this_server_and_kept(client: FlaskClient) -> None:
    answer = client.get("/openapi.json")
    assert answer.mimetype == "application/json"
    assert answer.json == openapi.build(resources.URLS, server=answer.json["servers"][0]["url"])
    assert answer.json["servers"] == [{"url": client.application.extensions["settings"].PUBLIC_URL}]
    assert answer.headers["Cache-Control"] == "no-cache"
    assert client.get("/openapi.json").headers["ETag"] == answer.headers["ETag"]


def test_names_of_operations_are_unique() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


def test_every_tag_says_what_it_is_about() -> None:
    assert all(tag["description"] for tag in DOCUMENT["tags"])


@pytest.mark.parametrize(("method", "address", "declared"), EVERY)
def test_an_operation_says_who_may_call_it_what_goes_in_and_what_comes_out(
    method: str, address: str, declared: Endpoint
) -> None:
    one = described(method, address)
    assert one["summary"].endswith(".")
    assert one["description"]
    assert {value["name"] for value in one["parameters"] if value["in"] == "path"} == set(
        re.findall(r"<(?:\w+:)?(\w+)>", address)
    )
    assert str(declared.status) in one["responses"]
    assert ("requestBody" in one) is (declared.body is not None or declared.takes_anything)
    assert ({"bearer": []} in one["security"] and {} not in one["security"]) is (declared.access is not PUBLIC)
    if declared.access is not PUBLIC:
        assert {"401", "403"} <= set(one["responses"])
    if declared.body is not None:
        assert {"400", "413", "415", "422"} <= set(one["responses"])
    if "<id:" in address:
        assert "404" in one["responses"]
    for error in declared.errors:
        assert f"`{error.code}`" in one["responses"][str(error.status)]["description"]


@pytest.mark.parametrize(("method", "address", "declared"), EVERY)
def test_every_refusal_has_the_one_shape(method: str, address: str, declared: Endpoint) -> None:
    for status, answer in described(method, address)["responses"].items():
        assert "X-Request-Id" in answer["headers"]
        if int(status) >= 400:
            content = answer["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorOut"}
            assert content["examples"]
        assert ("Retry-After" in answer["headers"]) or status not in ("429", "503")


@pytest.mark.parametrize(
    ("method", "address", "declared"),
    [one for one in EVERY if one.values[2].body is not None],  # type: ignore[union-attr]
)
def test_the_example_of_a_body_is_right(method: str, address: str, declared: Endpoint) -> None:
    """As the code itself reads it."""
    example = described(method, address)["requestBody"]["content"]["application/json"]["example"]
    assert isinstance(declared.body, type)
    assert issubclass(declared.body, BaseModel)
    declared.body.model_validate_json(json.dumps(example))


@pytest.mark.parametrize(
    ("method", "address", "declared"),
    [one for one in EVERY if one.values[2].returns is not None],  # type: ignore[union-attr]
)
def test_the_example_of_an_answer_has_its_fields(method: str, address: str, declared: Endpoint) -> None:
    content = described(method, address)["responses"][str(declared.status)]["content"]["application/json"]
    assert content["example"]
    assert TypeAdapter(Any).dump_json(content["example"])
    assert "null" not in json.dumps(content["example"]) or method == "GET"


def test_lists_name_their_headers_and_conditional_reads_their_304() -> None:
    one = described("GET", "/events")
    assert {"Link", "X-Total-Count", "ETag"} <= set(one["responses"]["200"]["headers"])
    assert "304" in one["responses"]
    assert "If-None-Match" in [value["name"] for value in one["parameters"]]
    assert "Idempotency-Key" in [value["name"] for value in described("POST", "/orders")["parameters"]]


def test_what_can_be_asked_for_as_a_file_is_described_as_one() -> None:
    asked = {
        path: operation["responses"]["200"]["content"]
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
        if any(
            one["name"] == "format" and "csv" in one["schema"].get("enum", [one["schema"].get("const")])
            for one in operation.get("parameters", [])
        )
    }
    assert {"/admin/logs", "/admin/reports"} <= asked.keys()
    assert all("text/csv" in content or "*/*" in content for content in asked.values())


def test_limits_are_told_in_the_words_of_json_schema() -> None:
    text = json.dumps(DOCUMENT)
    assert not re.search(r'"(ge|gt|le|lt)":', text)
    per_page = next(value for value in described("GET", "/events")["parameters"] if value["name"] == "per_page")
    assert per_page["schema"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 1000}


def test_nothing_that_is_not_answered_is_described() -> None:
    assert "is_under_review" not in DOCUMENT["components"]["schemas"]["PaymentOut"]["properties"]


def test_roles_are_named() -> None:
    assert described("GET", "/admin/pending")["description"] == "For admins."
    assert described("GET", "/my-events")["description"] == "For admins and organizers."
    assert frozenset(Role) == LOGGED_IN


# ── The page ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_loads_scripts_of_its_own_origin_alone(client: FlaskClient) -> None:
    page = client.get("/docs", buffered=True)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert page.mimetype == "text/html"
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert not re.search(r"https?://|<script>|onload|style=", page.text)


def test_everything_that_the_page_names_is_there(client: FlaskClient) -> None:
    named = re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs", buffered=True).text)
    assert len(named) == 4
    for name in named:
        answer = client.get(f"/{name}", buffered=True)
        assert answer.status_code == 200, name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["VERSION", "swagger-ui.js", "..%2F__init__.py", "index.css", "docs.html", "%00"])
def test_nothing_else_of_the_package_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/assets/{name}").status_code == 404
    assert (ROOT / "templates" / "docs.html").is_file()


# ── Postman ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_postman_files_are_what_is_made_now() -> None:
    """`python -m development.postman` makes them."""
    assert postman.COLLECTION.read_text() == postman.text_of(postman.collection())
    assert postman.ENVIRONMENT.read_text() == postman.text_of(postman.environment())


def test_the_collection_has_exactly_the_methods_of_the_url_table() -> None:
    [listed] = [one for one in postman.collection()["item"] if one["name"] == postman.REFERENCE]
    told = {request["name"] for folder in listed["item"] for request in folder["item"]}
    known = [(method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", address)) for method, address, _ in every_endpoint()]
    assert told == {f"{method} {path}" for method, path in known}


def test_the_log_in_stores_the_token_that_all_others_send() -> None:
    made = postman.collection()
    assert made["auth"]["bearer"][0]["value"] == "{{token}}"
    assert 'pm.environment.set("token"' in json.dumps(made).replace("\\", "")
    assert {one["key"] for one in postman.environment()["values"]} == set(postman.VALUES)
