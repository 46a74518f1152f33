"""Whether this process can do its work."""

from __future__ import annotations

from functools import cache

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from config import ROOT
from utils.database import db
from utils.errors import Unavailable


def check() -> None:
    """Raises Unavailable when the database is away or its schema is not the code's."""
    try:
        current = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError:
        raise Unavailable("The database does not answer, or is empty.", code="database_away") from None
    if current != newest_revision():
        raise Unavailable("The database's schema is not the code's: run `flask db upgrade`.", code="schema_outdated")


@cache
def newest_revision() -> str:
    """Each begins the name of its file. Alembic, which follows them from one to the next, takes a while to import."""
    return max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))
