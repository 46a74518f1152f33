"""Kinds of columns that the tables share."""

from __future__ import annotations

import enum

from sqlalchemy import Enum


def one_of(kind: type[enum.Enum]) -> Enum:
    """Text in the column, checked by the database, an enum in Python."""
    name = "".join("_" + char.lower() if char.isupper() else char for char in kind.__name__).lstrip("_")
    return Enum(
        kind,
        name=f"known_{name}",
        native_enum=False,
        length=20,
        create_constraint=True,
        values_callable=lambda members: [member.value for member in members],
    )
