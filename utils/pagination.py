"""Long answers in pages: the page in the body, the rest in the headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, func

from utils.database import db


@dataclass(frozen=True)
class Page:
    """A slice of a list."""

    rows: Sequence[Any]
    number: int
    size: int
    #: Rows in all.
    total: int

    def headers(self, path: str, query: dict[str, Any]) -> dict[str, str]:
        """`X-Total-Count` and `Link` (RFC 8288), relative to the host. `query` are the other parameters."""
        last = max(1, -(-self.total // self.size))
        wanted = {"first": 1, "prev": self.number - 1, "next": self.number + 1, "last": last}
        links = [
            f'<{path}?{urlencode({**query, "page": number, "per_page": self.size}, doseq=True)}>; rel="{name}"'
            for name, number in wanted.items()
            if 1 <= number <= last and number != self.number
        ]
        return {"X-Total-Count": str(self.total)} | ({"Link": ", ".join(links)} if links else {})


def paginate(query: Select[Any], *, number: int, size: int) -> Page:
    """Slice a query with a total order. Counts only where the slice does not tell the total itself."""
    rows = db.session.scalars(query.limit(size).offset((number - 1) * size)).unique().all()
    if 0 < len(rows) < size or (number == 1 and not rows):
        return Page(rows, number, size, (number - 1) * size + len(rows))
    bare = query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return Page(rows, number, size, db.session.scalar(bare) or 0)
