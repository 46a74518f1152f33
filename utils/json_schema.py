"""Tidies what pydantic says in JSON Schema, and makes examples of it."""

from __future__ import annotations

from typing import Any

#: pydantic's names for limits it could not translate, since they stand behind a validator.
_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_BY_TYPE = {"string": "…", "integer": 1, "number": 1, "boolean": True, "null": None, "array": [], "object": {}}


def tidy(schema: Any) -> Any:
    """The same, with the limits under their names in JSON Schema."""
    if isinstance(schema, list):
        return [tidy(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_number = schema.get("type") in ("integer", "number")
    return {_LIMITS.get(name, name) if is_number else name: tidy(value) for name, value in schema.items()}


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """As a parameter of an address can be, which is left out where JSON would say null."""
    if "anyOf" not in schema:
        return schema
    kept = [one for one in schema["anyOf"] if one.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return {**(kept[0] if len(kept) == 1 else {"anyOf": kept}), **rest}


def resolve(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where it is a reference."""
    while "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    return schema


def example(schema: dict[str, Any], components: dict[str, Any], known: dict[str, Any], name: str = "") -> Any:
    """A value of it: of the `known` ones that of its name, as far as the type allows, or else its own example.

    A known one is called `name`, or `Schema.name` where one schema is meant.
    """
    schema = resolve(schema, components)
    if _is_of(known.get(name), schema.get("type")) and "enum" not in schema:
        return known[name]
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if choices:
        return known[name] if known.get(name) in choices else schema.get("default", choices[0])
    if "anyOf" in schema:
        return example(schema["anyOf"][0], components, known, name)
    if schema.get("type") == "object":
        title = schema.get("title")
        names = {key: f"{title}.{key}" if f"{title}.{key}" in known else key for key in schema.get("properties", {})}
        return {key: example(one, components, known, names[key]) for key, one in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [example(schema["items"], components, known, name)]
    value = known.get(name)
    if _is_of(value, schema.get("type")):
        return value
    return schema.get("default", _BY_TYPE.get(schema.get("type", "")))


def _is_of(value: Any, kind: str | None) -> bool:
    return (kind == "string" and isinstance(value, str)) or (kind == "integer" and type(value) is int)
