"""The API's description, OpenAPI 3.1, out of the declarations that the code itself runs on."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from models import Role
from resources.base import PUBLIC, Access, Endpoint, Resource, Without, name_callers
from schemas.common import Page
from schemas.examples import EXAMPLES
from utils import errors, json_schema
from utils.references import BIGGEST_ID

METHODS = ("get", "post", "put", "patch", "delete")
INTRODUCTION = """
Event ticketing for Kenya: organizers publish events, an admin approves them, attendees buy tickets with M-PESA.

Errors are always `{"message": "<a sentence>", "code": "<stable_word>"}`, with `errors` listing the fields when the
input is wrong. Money is whole shillings. Times are ISO 8601 in Nairobi (`+03:00`); one that is sent without a zone is
Nairobi's. Lists are bare arrays, in pages, with `X-Total-Count` and `Link` headers. Numbers may be sent as text, as
forms do. A method that an address does not have is 405. `HEAD` works wherever `GET` does.
"""
_REFERENCE = "#/components/schemas/{model}"
_SUCCESSES = {200: "Done", 201: "Created", 202: "Accepted; it is done in a moment"}
_CONVERTED = {
    "code": {"type": "string", "pattern": "^[0-9A-Za-z-]{12,20}$", "examples": ["TK7P-4M2Q-9XWD"]},
    "id": {"type": "integer", "minimum": 1, "maximum": BIGGEST_ID, "examples": [1]},
    "secret": {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": ["0f4c1c7b5f0e4a8e9d9b1f2a3c4d5e6f"]},
}
_HEADERS = {
    "X-Request-Id": ("The request's name in our log: quote it when you ask us.", {"type": "string"}),
    "X-Total-Count": ("Rows in all.", {"type": "integer", "minimum": 0}),
    "Link": ("The other pages, RFC 8288: `first`, `prev`, `next`, `last`.", {"type": "string"}),
    "ETag": ("The answer's strong tag, for `If-None-Match`.", {"type": "string"}),
    "Retry-After": ("Seconds after which asking again makes sense.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("How to log in.", {"type": "string", "const": "Bearer"}),
    "Idempotency-Replayed": ("`true` where this is the answer of an earlier request.", {"type": "string"}),
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "An `ETag` that you have: 304 while nothing has changed.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text of yours. The same request with the same key is done once, and answered alike.",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$", "examples": ["cart-7f3a"]},
}


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    #: (converter, name) of the values in it.
    values: list[tuple[str, str]]
    function: Any
    tag: str

    @property
    def endpoint(self) -> Endpoint:
        declared: Endpoint = self.function.endpoint
        return declared

    @property
    def is_list(self) -> bool:
        query = self.endpoint.query
        return query is not None and issubclass(query, Page) and self.method == "get"


class _Schemas(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def build(urls: Sequence[tuple[type[Resource], list[str]]], *, server: str) -> dict[str, Any]:
    """The document of these addresses, served at `server`."""
    operations = list(_operations(urls))
    shapes, components = _shapes(operations)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = _describe(one, shapes, components)
    tags = {one.tag: inspect.getdoc(sys.modules[one.function.__module__]) for one in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ticksy", "version": "1.0.0", "description": INTRODUCTION.strip()},
        "servers": [{"url": server}],
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in _HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "gate": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Gate <secret>`, with the secret of a gate pass",
                },
            },
        },
    }


def _operations(urls: Sequence[tuple[type[Resource], list[str]]]) -> Iterator[Operation]:
    for resource, addresses in urls:
        for address in addresses:
            for method in METHODS:
                if hasattr(resource, method):
                    values = [(kind or "string", name) for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", address)]
                    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", address)
                    tag = resource.__module__.rpartition(".")[2].replace("_", " ")
                    yield Operation(method, path, values, getattr(resource, method), tag)


def _shapes(operations: list[Operation]) -> tuple[dict[Any, JsonSchemaValue], dict[str, Any]]:
    """The schema of each body, query and answer, and the components that they refer to."""
    inputs: dict[Any, Any] = {("error", "serialization"): TypeAdapter(ErrorOut)}
    for one in operations:
        declared = one.endpoint
        inputs |= {(shape, "validation"): TypeAdapter(shape) for shape in (declared.body, declared.query) if shape}
        inputs[_name(declared.returns), "serialization"] = TypeAdapter(declared.returns)
    schemas, definitions = TypeAdapter.json_schemas(
        [(key, mode, adapter) for (key, mode), adapter in inputs.items()],
        ref_template=_REFERENCE,
        schema_generator=_Schemas,
    )
    components = json_schema.tidy(definitions.get("$defs", {}))
    return {key: json_schema.tidy(schema) for (key, _), schema in schemas.items()}, components


def _name(returns: Any) -> str:
    """Of an annotation; they can be equal without being the same."""
    return f"returns {returns!r}"


class FieldErrorOut(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class ErrorOut(BaseModel):
    """Every error, whatever its status."""

    #: A sentence for a person.
    message: str
    #: A stable word for programs.
    code: str
    errors: list[FieldErrorOut] | None = None


def _describe(one: Operation, shapes: dict[Any, JsonSchemaValue], components: dict[str, Any]) -> dict[str, Any]:
    declared = one.endpoint
    described: dict[str, Any] = {
        "operationId": one.method + "".join(word.capitalize() for word in re.split(r"[\W_]+", one.path)),
        "tags": [one.tag],
        "summary": " ".join((inspect.getdoc(one.function) or "").split()),
        "description": _who_may(declared.access),
        "security": _security(one),
        "parameters": list(_parameters(one, shapes, components)),
        "responses": _successes(one, shapes, components) | _refusals(one),
    }
    if declared.body is not None:
        described["requestBody"] = _body(declared, shapes[declared.body], components)
    elif declared.takes_anything:
        described["requestBody"] = {"content": {"application/json": {"schema": {}}}}
    return described


def _who_may(access: Access) -> str:
    if access is None:
        return "Open to all."
    if access == frozenset(Role):
        return "For everybody who is logged in."
    return f"For {name_callers(access)}."


def _security(one: Operation) -> list[dict[str, list[str]]]:
    access = one.endpoint.access
    if access is not None:
        ways = ["bearer", "gate"] if Without.GATE_PASS in access else ["bearer"]
        return [{way: []} for way in ways]
    # A method that names its actor answers some of them differently.
    return [{}, {"bearer": []}] if "actor" in inspect.signature(one.function).parameters else []


def _parameters(
    one: Operation, shapes: dict[Any, JsonSchemaValue], components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for kind, name in one.values:
        schema = _CONVERTED.get(kind, {"type": "string"})
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if one.endpoint.query is not None:
        shape = json_schema.resolve(shapes[one.endpoint.query], components)
        for name, schema in shape.get("properties", {}).items():
            needed = name in shape.get("required", [])
            yield {"name": name, "in": "query", "required": needed, "schema": json_schema.without_null(schema)}
    if one.endpoint.idempotent:
        yield _IDEMPOTENCY_KEY
    if one.endpoint.conditional:
        yield _IF_NONE_MATCH


def _body(declared: Endpoint, shape: JsonSchemaValue, components: dict[str, Any]) -> dict[str, Any]:
    example = json_schema.example(shape, components, EXAMPLES)
    content: dict[str, Any] = {"application/json": {"schema": shape, "example": example}}
    if declared.takes_image:
        image = {"type": "string", "format": "binary", "description": "A JPEG, PNG or WebP picture"}
        form = json_schema.resolve(shape, components)
        form = form | {"properties": form["properties"] | {"image": image}}
        content["multipart/form-data"] = {"schema": form}
    is_needed = bool(json_schema.resolve(shape, components).get("required"))
    return {"required": is_needed, "content": content}


def _successes(one: Operation, shapes: dict[Any, JsonSchemaValue], components: dict[str, Any]) -> dict[str, Any]:
    declared = one.endpoint
    schema = shapes[_name(declared.returns)]
    content: dict[str, Any] = {kind: {} for kind in declared.produces}
    if declared.returns is None:
        content = content or {"*/*": {}}
    else:
        content["application/json"] = {"schema": schema, "example": json_schema.example(schema, components, EXAMPLES)}
    names = ["X-Request-Id"]
    names += ["X-Total-Count", "Link"] if one.is_list else []
    names += ["ETag"] if declared.conditional else []
    names += ["Idempotency-Replayed"] if declared.idempotent else []
    answers: dict[str, Any] = {
        str(status): {"description": _SUCCESSES.get(status, "Done"), "headers": _headers(*names), "content": content}
        for status in (declared.status, *declared.other_statuses)
    }
    if declared.conditional:
        answers["304"] = {"description": "Nothing has changed", "headers": _headers("X-Request-Id", "ETag")}
    return answers


def _refusals(one: Operation) -> dict[str, Any]:
    told: dict[int, list[type[errors.TicksyError]]] = {}
    for error in _possible(one):
        same = told.setdefault(error.status, [])
        if error not in same:
            same.append(error)
    refusals = {str(status): _refusal(status, same) for status, same in sorted(told.items())}
    if "text/html" in one.endpoint.produces:  # a page says itself what is wrong, to who looks at it
        for refusal in refusals.values():
            refusal["content"]["text/html"] = {}
    return refusals


def _possible(one: Operation) -> Iterator[type[errors.TicksyError]]:
    declared = one.endpoint
    yield from declared.errors
    if declared.access is not PUBLIC:
        yield from (errors.Unauthenticated, errors.Forbidden)
        if one.method != "get":
            yield errors.Conflict
    if declared.body is not None:
        yield from (errors.Malformed, errors.WrongType)
    if declared.body is not None or declared.takes_anything:
        yield errors.TooLarge
    if declared.body is not None or declared.query is not None or declared.idempotent:
        yield errors.Invalid
    if one.values:
        yield errors.NotFound
    yield errors.Unavailable


def _refusal(status: int, same: list[type[errors.TicksyError]]) -> dict[str, Any]:
    names = ["X-Request-Id"]
    names += ["WWW-Authenticate"] if status == 401 else []
    names += ["Retry-After"] if any(error.retry_after for error in same) or status in (429, 503) else []
    examples = {error.code: {"value": {"message": error.message, "code": error.code}} for error in same}
    return {
        "description": "; ".join(f"`{error.code}`: {error.message.rstrip('.')}" for error in same),
        "headers": _headers(*names),
        "content": {
            "application/json": {"schema": {"$ref": _REFERENCE.format(model="ErrorOut")}, "examples": examples}
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
