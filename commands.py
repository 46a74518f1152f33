"""`flask …` commands: parse, call a service, print."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from pydantic import TypeAdapter, ValidationError

import seed as demo
import tasks
from config import settings
from models import Role
from schemas.accounts import NewAdmin
from services import accounts
from utils.errors import TicksyError


def register(app: Flask) -> None:
    for command in (serve, worker, create_admin, seed):
        app.cli.add_command(command)


@click.command()
@with_appcontext
def serve() -> None:
    """Serve the API, with the server of production."""
    host = "127.0.0.1" if settings.is_local else "0.0.0.0"  # noqa: S104  # production sits behind a proxy
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "app:create_app"]
    command += ["--host", host, "--port", str(settings.PORT), "--no-ws", "--respawn-failed-workers"]
    command += ["--workers", str(settings.WEB_WORKERS), "--blocking-threads", str(settings.WEB_THREADS)]
    command += ["--backpressure", str(settings.WEB_THREADS * 4), "--log-level", "error"]
    # A worker that is told to stop while it starts does not hear it, and would be waited for without end.
    command += ["--workers-kill-timeout", str(settings.STOP_SECONDS)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  # becomes the server, so that signals reach it


@click.command()
@with_appcontext
def worker() -> None:
    """Settle, ask and tidy up in the background until stopped."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    tasks.run_forever(app, pause_seconds=settings.WORKER_PAUSE_SECONDS, stop=stop)


@click.command()
@with_appcontext
@click.option("--email", required=True)
@click.option("--phone", required=True)
@click.option("--first-name", required=True)
@click.option("--last-name", required=True)
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True)
def create_admin(**given: str) -> None:
    """Open an account for an admin."""
    try:
        facts = TypeAdapter(NewAdmin).validate_python(given)
        user = accounts.sign_up(**facts.model_dump(), role=Role.ADMIN)
    except ValidationError as error:
        raise click.ClickException("; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())) from None
    except TicksyError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"{user.email} is an admin now.")


@click.command()
@with_appcontext
@click.option("--if-empty", is_flag=True, help="Do nothing when there are accounts already.")
def seed(if_empty: bool) -> None:
    """Fill an empty database with demo data. Development and testing only."""
    if not settings.is_local:
        raise click.ClickException("Demo data never goes where people are real.")
    if demo.is_empty():
        logging.getLogger("services").setLevel(logging.WARNING)
        demo.fill()
        click.echo("Filled the database with demo data.")
    elif not if_empty:
        raise click.ClickException("The database is not empty: demo data would mix with what is there.")
