"""`python -m development.postman`: write postman/ out of the API's description and the hand-written flows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import resources
from development.postman_flows import FLOWS, bearer
from resources import openapi

FOLDER = Path(__file__).resolve().parent.parent / "postman"
COLLECTION, ENVIRONMENT = FOLDER / "Ticksy.postman_collection.json", FOLDER / "Ticksy.postman_environment.json"
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
REFERENCE = "All requests"
#: What `make run` serves, and its demo accounts.
VALUES = {
    "baseUrl": "http://127.0.0.1:5000",
    "simulatorUrl": "http://127.0.0.1:5001",
    "adminEmail": "admin@ticksy.co.ke",
    "adminPassword": "demo-pass-2026",
    "token": "",
}
_STORE_TOKEN = 'if (pm.response.code === 200) pm.environment.set("token", pm.response.json().access_token);'
#: Addresses that log in, with whom to log in as.
_LOG_IN = {"/login": {"email": "{{adminEmail}}", "password": "{{adminPassword}}"}}


def collection() -> dict[str, Any]:
    document = openapi.build(resources.URLS, server=VALUES["baseUrl"])
    flows = [{"name": name, "description": text, "item": steps} for name, text, steps in FLOWS]
    return {
        "info": {
            "name": "Ticksy",
            "description": "The flows work against `make run` as they are. Of the list of all requests, `POST /login`"
            " stores the token that the others send.",
            "schema": SCHEMA,
        },
        "auth": bearer("token"),
        "variable": [{"key": name, "value": value} for name, value in VALUES.items()],
        "item": [*flows, {"name": REFERENCE, "item": _folders(document)}],
    }


def environment() -> dict[str, Any]:
    values = [
        {"key": name, "value": value, "type": "secret" if name in ("adminPassword", "token") else "default"}
        for name, value in VALUES.items()
    ]
    return {"name": "Ticksy on this machine", "values": values, "_postman_variable_scope": "environment"}


def _folders(document: dict[str, Any]) -> list[dict[str, Any]]:
    folders: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            folders[operation["tags"][0]].append(_request(method.upper(), path, operation))
    texts = {tag["name"]: tag["description"] for tag in document["tags"]}
    return [{"name": name, "description": texts[name], "item": items} for name, items in folders.items()]


def _request(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": method,
        "description": f"{operation['summary']}\n\n{operation['description']}",
        "header": [],
        "url": _url(path, operation),
    }
    if path in _LOG_IN:
        request["body"] = _json(_LOG_IN[path])
    elif "requestBody" in operation:
        request["body"] = _json(operation["requestBody"]["content"]["application/json"].get("example", {}))
    statuses = sorted(int(status) for status in operation["responses"])
    script = [f'pm.test("is answered as described", () => pm.expect({statuses}).to.include(pm.response.code));']
    script += [_STORE_TOKEN] if path in _LOG_IN else []
    return {
        "name": f"{method} {path}",
        "request": request,
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": script}}],
    }


def _json(body: Any) -> dict[str, Any]:
    return {"mode": "raw", "raw": json.dumps(body, indent=2), "options": {"raw": {"language": "json"}}}


def _url(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the query are listed, and switched off."""
    given = {one["name"]: one for one in operation["parameters"]}
    parts = re.sub(r"\{(\w+)\}", r":\1", path).strip("/").split("/")
    query = [
        {"key": name, "value": "", "disabled": True, "description": one["schema"].get("description", "")}
        for name, one in given.items()
        if one["in"] == "query"
    ]
    # Postman knows no variable that is only a part of a step of the path.
    parts = [re.sub(r":(\w+)(?=\.)", lambda found: _example(given[found[1]]), part) for part in parts]
    named = {part[1:] for part in parts if part.startswith(":")}
    variables = [{"key": name, "value": _example(one)} for name, one in given.items() if name in named]
    url: dict[str, Any] = {"raw": "{{baseUrl}}/" + "/".join(parts), "host": ["{{baseUrl}}"], "path": parts}
    return url | ({"query": query} if query else {}) | ({"variable": variables} if variables else {})


def _example(parameter: dict[str, Any]) -> str:
    return str(parameter["schema"].get("examples", ["start.js"])[0])


def text_of(made: dict[str, Any]) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    COLLECTION.write_text(text_of(collection()))
    ENVIRONMENT.write_text(text_of(environment()))
    print(f"Wrote {COLLECTION.name} and {ENVIRONMENT.name}.")


if __name__ == "__main__":
    main()
