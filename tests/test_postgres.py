"""The embedded PostgreSQL, started for real in a folder of each test's own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest

from tests.waiting import wait_until
from utils import postgres, postgres_programs
from utils.postgres import EmbeddedPostgres, PostgresUnavailable

#: Nothing here depends on surviving a power cut.
QUICK = {"fsync": "off"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder to be; whatever still runs on it after the test is ended."""
    data_dir = tmp_path / "data"
    yield data_dir
    for pid in running_on(data_dir):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(folder: Path, **more: Any) -> EmbeddedPostgres:
    return postgres.start(folder, database="ticksy", options=QUICK, **more)


def connect(server: EmbeddedPostgres, **changes: Any) -> Any:
    parts = urlsplit(server.url)
    given: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.path[1:],
        "connect_timeout": 5,
    }
    return closing(psycopg2.connect(**(given | changes)))


def ask(server: EmbeddedPostgres, *statements: str) -> Any:
    with connect(server) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        connection.commit()
    return row and row[0]


def postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def running_on(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(folder):
                found.append(process.pid)
    return found


def test_a_new_folder_becomes_a_database_one_can_use(folder: Path) -> None:
    with start(folder) as server:
        assert server.started_here
        assert server.port < 32_768
        assert ask(server, "SELECT current_database()") == "ticksy"
        assert ask(server, "SHOW server_encoding") == "UTF8"
        assert ask(server, "SHOW fsync") == "off"


def test_a_database_that_is_missing_is_made_and_one_that_is_there_is_kept(folder: Path) -> None:
    with start(folder) as server:
        ask(server, "CREATE TABLE kept ()")
        other = postgres.start(folder, database='with "quotes"')
        again = start(folder)
        assert ask(again, "SELECT count(*) FROM kept") == 0
        assert other.url != again.url


def test_a_running_server_is_adopted_and_left_running(folder: Path) -> None:
    with start(folder) as first:
        second = start(folder)
        assert second.url == first.url
        assert not second.started_here
        second.stop()
        assert ask(first, "SELECT 1") == 1


def test_stopping_ends_every_process_and_may_be_repeated(folder: Path) -> None:
    server = start(folder)
    with connect(server):
        server.stop()
    assert running_on(folder) == []
    assert not (folder / "postmaster.pid").exists()
    server.stop()


def test_rows_survive_kill_9_of_the_postmaster(folder: Path) -> None:
    server = start(folder)
    ask(server, "CREATE TABLE rows AS SELECT generate_series(1, 1000) AS row")
    os.kill(postmaster(folder), signal.SIGKILL)
    with start(folder) as again:
        assert again.started_here
        assert ask(again, "SELECT count(*) FROM rows") == 1000
    server.stop()


def test_a_zombie_is_not_taken_for_a_server(folder: Path) -> None:
    """Nobody has waited for the killed postmaster yet, so its pid is still in use."""
    server = start(folder)
    pid = postmaster(folder)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    with start(folder) as again:
        assert again.started_here
    server.stop()


@pytest.mark.parametrize("first_line", ["another process", "nobody", "nothing"])
def test_a_pid_file_left_behind_does_not_keep_it_from_starting(folder: Path, first_line: str) -> None:
    server = start(folder)
    pid_file = folder / "postmaster.pid"
    left_behind = pid_file.read_text().split("\n", 1)[1]
    server.stop()
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pid = {"another process": f"{sleeper.pid}\n", "nobody": "4194303\n", "nothing": ""}[first_line]
        pid_file.write_text(pid + left_behind if pid else "")
        with start(folder) as again:
            assert again.started_here
        assert sleeper.poll() is None
    finally:
        sleeper.communicate()


def test_a_server_that_is_shutting_down_is_waited_out(folder: Path) -> None:
    server = start(folder)
    os.kill(postmaster(folder), signal.SIGINT)
    with start(folder) as again:
        assert again.started_here
        assert ask(again, "SELECT 1") == 1
    server.stop()


def _start_and_report(folder: Path, barrier: Any, reports: Any) -> None:
    barrier.wait(30)
    server = start(folder)
    reports.put((server.started_here, server.url))
    barrier.wait(30)  # nobody stops before everybody has started
    server.stop()


def test_of_two_starters_at_once_one_starts_and_one_adopts(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, reports = context.Barrier(2), context.Queue()
    starters = [
        context.Process(target=_start_and_report, args=(folder, barrier, reports), daemon=True) for _ in range(2)
    ]
    for starter in starters:
        starter.start()
    seen = [reports.get(timeout=60) for _ in starters]
    for starter in starters:
        starter.join(30)
    assert sorted(started_here for started_here, _ in seen) == [False, True]
    assert seen[0][1] == seen[1][1]
    assert running_on(folder) == []


def test_a_half_made_folder_is_thrown_away(folder: Path) -> None:
    draft = folder.with_name("data.init")
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18\n")
    with start(folder) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_port_that_is_taken_is_exchanged_for_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = postgres._free_port()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        offers = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(offers))
        with start(folder) as server:
            assert server.port == free


@pytest.mark.parametrize("password", ["", "guessed"])
def test_nobody_gets_in_without_the_password(folder: Path, password: str) -> None:
    with start(folder) as server, pytest.raises(psycopg2.OperationalError, match="password"):
        connect(server, password=password)


def test_the_password_is_for_the_owner_alone_and_never_shown(folder: Path) -> None:
    with start(folder) as server:
        assert (folder / "ticksy.password").stat().st_mode & 0o077 == 0
        assert urlsplit(server.url).password not in repr(server)


def test_it_listens_on_loopback_alone(folder: Path) -> None:
    with start(folder) as server:
        main = psutil.Process(postmaster(folder))
        listening = [one.laddr for one in main.net_connections("all") if one.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", server.port)]
        assert ask(server, "SHOW unix_socket_directories") == ""


def test_it_has_a_session_of_its_own_which_ctrl_c_does_not_reach(folder: Path) -> None:
    with start(folder):
        assert os.getsid(postmaster(folder)) == postmaster(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_it_ends_with_its_parent_if_asked_to(folder: Path) -> None:
    servers: list[EmbeddedPostgres] = []
    parent = threading.Thread(target=lambda: servers.append(start(folder, die_with_parent=True)))
    parent.start()
    parent.join()
    wait_until(lambda: running_on(folder) == [])
    servers[0].stop()
    assert "received fast shutdown request" in folder.with_name("data.log").read_text()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(PostgresUnavailable, match=r"(?s)ended at once.*no_such_setting"):
        postgres.start(folder, database="ticksy", options={"no_such_setting": "1"})


def test_a_folder_of_something_else_is_refused_and_kept(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(PostgresUnavailable):
        start(folder)
    assert (folder / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_where_namespaces_are_forbidden_root_becomes_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the programs nor pytest's folder can be reached by nobody, so both go elsewhere."""
    shared = Path("/var/tmp") / f"ticksy-test-{os.getpid()}"
    monkeypatch.setattr(postgres_programs, "_works", lambda _: False)
    monkeypatch.setattr(postgres_programs, "_SHARED", shared)
    shared.mkdir(mode=0o755)
    try:
        with start(folder) as server:
            assert ask(server, "SELECT 1") == 1
            assert not start(folder).started_here
            [data] = shared.glob("*/data")
            assert psutil.Process(postmaster(data)).uids().effective == 65534
    finally:
        shutil.rmtree(shared)
