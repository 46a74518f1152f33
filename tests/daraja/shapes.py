"""Holding a body against one that Safaricom published."""

from __future__ import annotations

from typing import Any


def shape(value: Any) -> Any:
    """Its keys and types, all the way down; items of metadata by their names, whatever their order."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        named = [(one.get("Name") or one.get("Key") or "", shape(one)) for one in value if isinstance(one, dict)]
        return sorted(named, key=lambda item: item[0]) if named else [shape(one) for one in value]
    return type(value)


def parameters(result: Any) -> dict[str, Any]:
    """Of a posted Result; of a key that repeats, the first."""
    items = result["Result"]["ResultParameters"]["ResultParameter"]
    return {item["Key"]: item.get("Value") for item in reversed(items)}
