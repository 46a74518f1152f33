"""What tests stand on: a real PostgreSQL, the real simulator as a process, and the app serving callbacks over HTTP.

Everything commits. Each xdist worker has a database, a simulator and an app of its own; after each test the tables are
emptied. No app context is held open around a test: a forgotten commit would stay unnoticed.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from psycopg2 import sql
from sqlalchemy.engine import make_url
from werkzeug.serving import make_server

import config
from app import create_app
from tests import log_scan
from tests.daraja.process import Simulator, start_simulator
from tests.support import Maker, free_port
from utils import logger, postgres
from utils.database import Base, db, normalise_url

#: Durability is not what tests are about; those that are start a server of their own.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400"}
TEMPLATE = "ticksy_template"
#: The folder that everything logged is kept in, to be looked through for secrets.
LOGS = "TICKSY_TEST_LOGS"
_FOUND = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """The controller, or the only process, starts the database server and makes the template."""
    if hasattr(config, "workerinput"):
        _keep_logs(Path(os.environ[LOGS]))
        return
    logs = Path(tempfile.mkdtemp(prefix="ticksy-logs-"))
    config.add_cleanup(lambda: shutil.rmtree(logs, ignore_errors=True))
    os.environ[LOGS] = str(logs)
    _keep_logs(logs)
    url = os.environ.get("TEST_DATABASE_URL")
    if not url:
        folder = Path(tempfile.mkdtemp(prefix="ticksy-tests-"))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        server = postgres.start(folder / "data", database="postgres", options=FAST, die_with_parent=True)
        config.add_cleanup(server.stop)
        url = os.environ["TEST_DATABASE_URL"] = server.url
    _create_database(url, TEMPLATE)
    app = create_app(_settings(_url_of(url, TEMPLATE)))
    with app.app_context():
        upgrade()
        db.engine.dispose()


def _keep_logs(folder: Path) -> None:
    """Whatever this process logs is written to a file, too, as in production."""
    kept = logging.FileHandler(folder / f"{os.getpid()}.log", delay=True)
    kept.setFormatter(logger.formatter(is_json=True))
    configure = logger.configure

    def configure_and_keep(level: str, **how: Any) -> None:
        configure(level, **how)
        root = logging.getLogger()
        root.addHandler(kept)
        root.setLevel("INFO")

    logger.configure = configure_and_keep


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a run whose logs have a secret in them."""
    if hasattr(session.config, "workerinput"):
        return
    found = list(log_scan.find_secrets(Path(os.environ[LOGS])))
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    session.config.stash[_FOUND] = found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if LOGS not in os.environ:
        return
    found = config.stash.get(_FOUND, [])
    lines = log_scan.count_lines(Path(os.environ[LOGS]))
    terminalreporter.write_line(f"{len(found)} secrets in {lines} lines of logs", red=bool(found))
    for sentence in found[:20]:
        terminalreporter.write_line(f"  {sentence}")


def _create_database(url: str, name: str, template: str = "template0") -> None:
    connection = psycopg2.connect(make_url(normalise_url(url)).set(drivername="postgresql").render_as_string(False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    connection.close()


def _url_of(url: str, name: str) -> str:
    return make_url(normalise_url(url)).set(database=name).render_as_string(hide_password=False)


def _settings(database_url: str, **more: str) -> config.Settings:
    return config.load(
        {
            "FLASK_ENV": "testing",
            "DATABASE_URL": database_url,
            "SECRET_KEY": "only-for-tests-0123456789-abcdefghij",
            "BCRYPT_ROUNDS": "4",
            "LOG_LEVEL": "WARNING",
            "MPESA_ANSWER_SECONDS": "2",
            # The pace is tested where it is what the test is about.
            "MPESA_MAX_PUSHES_PER_SECOND": "0",
            # So are the limits of what may be tried: here all requests come from one address.
            "RATELIMIT_ENABLED": "false",
            # Those who walk all addresses read streams to their end.
            "STREAM_MINUTES": "0.005",
            # And so is how often one buyer may ask for a prompt.
            "PROMPTS_PER_BUYER_AND_HOUR": "1000",
        }
        | more
    )


@pytest.fixture(scope="session")
def database_url(worker_id: str) -> str:
    """A migrated, empty database of this test process's own."""
    url = os.environ["TEST_DATABASE_URL"]
    name = f"ticksy_{worker_id}"
    _create_database(url, name, TEMPLATE)
    return _url_of(url, name)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """Safaricom's stand-in, fifty times faster than life."""
    handle = start_simulator(SIM_SPEED="50")
    yield handle
    handle.stop()


@pytest.fixture(scope="session")
def settings(database_url: str, simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> config.Settings:
    port = free_port()
    return _settings(
        database_url,
        PORT=str(port),
        MPESA_BASE_URL=simulator.url,
        UPLOAD_DIR=str(tmp_path_factory.mktemp("uploads")),
        QUERY_PAUSES_SECONDS="0.2",
    )


@pytest.fixture(scope="session")
def app(settings: config.Settings) -> Iterator[Flask]:
    """The app. It also listens on its port, so that the simulator's callbacks reach it as Safaricom's would."""
    app = create_app(settings)
    server = make_server("127.0.0.1", settings.PORT, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield app
    server.shutdown()
    thread.join()
    server.server_close()
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def make(app: Flask) -> Maker:
    """Makes people, events, tickets and orders, through the services."""
    return Maker(app)


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "simulator" in request.fixturenames:
        request.getfixturevalue("simulator").reset()
    if "database_url" in request.fixturenames:
        empty_tables(request.getfixturevalue("database_url"))


def empty_tables(database_url: str) -> None:
    """What still runs in the background may hold a lock for a moment: then it is tried again.

    Rows are deleted: to truncate makes new files for every table and index, which takes a hundred times as long.
    """
    connection = cleaner(database_url)
    for attempt in range(10):
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_EMPTY)
            return
        except psycopg2.OperationalError:  # a lock not to be had, or a deadlock
            if attempt == 9:
                raise


@cache
def cleaner(database_url: str) -> psycopg2.extensions.connection:
    """A connection for as long as the process lives. As a replica it checks no references, so any order will do."""
    url = make_url(database_url).set(drivername="postgresql")
    connection = psycopg2.connect(url.render_as_string(hide_password=False))
    with connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica; SET lock_timeout = '2s'")
    return connection


_TABLES = [sql.Identifier(table.name) for table in Base.metadata.sorted_tables]
#: The lock waits for who is writing, as truncating would, so that nothing is written after it.
_EMPTY = sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE; {}; {}").format(
    sql.SQL(", ").join(_TABLES),
    sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in _TABLES),
    sql.SQL(
        "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)"
        " FROM pg_sequences WHERE last_value IS NOT NULL"
    ),
)
