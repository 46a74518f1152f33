"""The database session and the only place that commits."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg2
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, Connection, DateTime, MetaData, Row, Select, Text, event
from sqlalchemy.exc import IntegrityError, InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, Session, SessionTransaction, registry
from sqlalchemy.pool import Pool

from utils.pool import ConnectionPool

#: PostgreSQL's own default names, so that a constraint is called the same wherever it was made.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "ck": "%(constraint_name)s",
}


class Base(DeclarativeBase):
    registry = registry(
        metadata=MetaData(naming_convention=NAMES),
        type_annotation_map={int: BigInteger, str: Text, datetime: DateTime(timezone=True)},
    )


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:
    Model = Base
else:
    Model = db.Model


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit at the end, roll back on any exception; inside another transaction, be part of it.

    After it the connection is back in the pool and loaded objects stay readable, so it is safe to go out to the
    network next.
    """
    session = db.session()
    if session.info.get("in_transaction"):
        yield session
        return
    session.info["in_transaction"], session.info["last"] = True, []
    try:
        yield session
        if session.info["last"]:
            session.flush()
            for work in session.info["last"]:
                work()
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.info["in_transaction"] = False
        del session.info["last"]


def do_last(work: Callable[[], None]) -> None:
    """Have it done when all else of the transaction has been written, right before the commit: it locks what others
    wait for. Raises KeyError outside of a transaction, where it would never be done."""
    db.session().info["last"].append(work)


def is_in_transaction() -> bool:
    """Whether what is written now is the caller's to commit."""
    return bool(db.session().info.get("in_transaction"))


def is_connected() -> bool:
    """Whether what comes next belongs on the session's connection: in a transaction, or while it has one anyway."""
    if not db.session.registry.has():
        return False
    known = db.session().info
    return bool(known.get("in_transaction") or known.get("is_connected"))


@event.listens_for(Session, "after_begin")
def _note_connection(session: Session, *_: object) -> None:
    session.info["is_connected"] = True


@event.listens_for(Session, "after_transaction_end")
def _note_end(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        session.info["is_connected"] = False


def lock(row: Base) -> None:
    """The row as it is now, held until the transaction ends; others may still add rows that refer to it."""
    db.session.refresh(row, with_for_update={"key_share": True})


def stream(query: Select[Any], *, at_once: int = 500) -> Iterator[Row[Any]]:
    """Rows through a server-side cursor, so many in memory at once; for answers without end.

    They come over a connection of their own, since the request's is gone by then. It is taken when the first row is
    asked for, and given back after the last one, or when the iterator is closed.
    """
    engine = db.engine

    def rows() -> Iterator[Row[Any]]:
        with Session(engine) as session:
            yield from session.execute(query, execution_options={"yield_per": at_once})

    return rows()


def connect_alone() -> Connection:
    """A connection that is nobody else's and not of the pool, in autocommit; whoever asked for it closes it."""
    connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()
    return connection


def violated(error: IntegrityError) -> str | None:
    """The name of the constraint that refused."""
    diagnostics: Any = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)


def engine_options(*, pool_size: int, lock_timeout_ms: int, statement_timeout_ms: int) -> dict[str, Any]:
    """Options for one process's pool. Nobody waits for a lock or a statement longer than told here (milliseconds)."""
    return {
        "poolclass": ConnectionPool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": 10,
        # What an error is about may be somebody's address or password hash: not for the log.
        "hide_parameters": True,
        "connect_args": {
            "application_name": "ticksy",
            "connect_timeout": 5,
            # Who only listens would not notice that the other side is gone.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "options": f"-c lock_timeout={lock_timeout_ms} -c statement_timeout={statement_timeout_ms}"
            " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC",
        },
    }


@event.listens_for(Pool, "checkout")
def _is_alive(connection: Any, _record: object, _proxy: object) -> None:
    """Notice that the server went away meanwhile, without asking it each time: its going is heard on the socket."""
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if not socket.poll(0):
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def normalise_url(url: str) -> str:
    """Name the driver: hosting providers hand out `postgres://`, and a bare `postgresql://` leaves the choice open."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg2://" + url[len(prefix) :]
    return url
