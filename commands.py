"""`flask …` commands: parse, call a service, print."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from pydantic import TypeAdapter, ValidationError

import tasks
from config import settings
from models import Role
from schemas.accounts import NewAdmin
from services import accounts, doctor, statements, two_factor_setup
from utils import phone as phones
from utils.database import db
from utils.errors import TicksyError
from utils.mpesa import daraja
from utils.mpesa_setup import Registration, c2b_addresses, read_c2b_registration, read_pull_registration
from utils.statement import UnknownLayout, decode, read_statement


def register(app: Flask) -> None:
    for command in (serve, worker, create_admin, two_factor_off, seed, reconcile, mpesa):
        app.cli.add_command(command)


@click.command()
@with_appcontext
def serve() -> None:
    """Serve the API, with the server of production."""
    from utils import server  # noqa: PLC0415  # no other command serves

    doctor.warn_of_admins()
    db.engine.dispose()  # the server's processes are copies of this one, and none may have another's connection
    server.run(
        "app:create_served_app",
        host="127.0.0.1" if settings.is_local else "0.0.0.0",  # noqa: S104  # production sits behind a proxy
        port=settings.PORT,
        workers=settings.WEB_WORKERS,
        threads=settings.WEB_THREADS,
        stop_seconds=settings.STOP_SECONDS,
    )


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
        user = accounts.sign_up(**facts.model_dump(), role=Role.ADMIN, is_verified=True)
    except ValidationError as error:
        raise click.ClickException("; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())) from None
    except TicksyError as error:
        raise click.ClickException(error.message) from None
    click.echo(f"{user.email} is an admin now.")


@click.command()
@with_appcontext
@click.option("--email", required=True)
def two_factor_off(email: str) -> None:
    """Turn two-factor log-in off for somebody who lost the app and the recovery codes. Be sure who asks."""
    try:
        two_factor_setup.turn_off_for(email)
    except TicksyError as error:
        raise click.ClickException(error.message) from None
    click.echo("Two-factor log-in is off for this account.")


@click.command()
@with_appcontext
@click.option("--if-empty", is_flag=True, help="Do nothing when there are accounts already.")
def seed(if_empty: bool) -> None:
    """Fill an empty database with demo data. Development and testing only."""
    if not settings.is_local:
        raise click.ClickException("Demo data never goes where people are real.")
    import seed as demo  # noqa: PLC0415  # nothing of it where people are real

    if demo.is_empty():
        logging.getLogger("services").setLevel(logging.WARNING)
        demo.fill()
        click.echo("Filled the database with demo data.")
    elif not if_empty:
        raise click.ClickException("The database is not empty: demo data would mix with what is there.")


@click.command()
@with_appcontext
@click.argument("statement", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only list the differences.")
def reconcile(statement: Path, dry_run: bool) -> None:
    """List how M-PESA's statement (CSV) and our books differ, and settle what it tells that is new."""
    try:
        lines = read_statement(decode(statement.read_bytes()))
    except UnknownLayout as error:
        raise click.ClickException(str(error)) from None
    differences = statements.find_differences(lines)
    for difference in differences:
        click.echo(f"{difference.receipt or '-':<10}  {difference.text}")
    click.echo(f"{len(lines)} lines, {len(differences)} differences.")
    if dry_run:
        click.echo("Nothing was changed.")
    else:
        click.echo(f"{statements.take_in(lines)} lines were new and have been settled.")


# ── Safaricom ─────────────────────────────────────────────────────────────────────────────────────────────────────


@click.group()
def mpesa() -> None:
    """See to what is between Ticksy and Safaricom."""


@mpesa.command("doctor")
@with_appcontext
def examine() -> None:
    """Say in words what is wrong with the configuration, before money depends on it."""
    findings = doctor.examine()
    for finding in findings:
        click.echo(f"{finding.grade.value:<8}{finding.text}")
    faults = sum(finding.grade is doctor.Grade.FAULT for finding in findings)
    if faults:
        raise click.ClickException(f"{faults} faults. Do not go live before they are mended.")
    click.echo("No faults.")


_EXPLAINED = {
    Registration.DONE: "registered.",
    Registration.ALREADY: (
        "already registered. Safaricom keeps the first addresses it was given: if they were not these, delete them on"
        " its portal (Self services, URL management) and register again."
    ),
    Registration.REFUSED: "refused.",
    Registration.NO_ANSWER: "no answer from Daraja. Please try again.",
}


@mpesa.command("register")
@with_appcontext
@click.option("--phone", help="The shop's own number. Without it the list of transactions is not registered.")
def register_addresses(phone: str | None) -> None:
    """Tell Safaricom where to tell of Paybill payments, and to list our transactions."""
    try:
        number = phones.parse(phone) if phone is not None else None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    went = []
    if settings.MPESA_C2B_SECRET:
        validation, confirmation = c2b_addresses(settings.CALLBACK_URL, settings.MPESA_C2B_SECRET)
        answer = daraja.register_c2b(confirmation_url=confirmation, validation_url=validation)
        went.append(_tell("Paybill payments", *read_c2b_registration(answer)))
    else:
        click.echo("Paybill payments: MPESA_C2B_SECRET is empty, so there is nowhere to tell of them.")
    if number is None:
        click.echo("List of transactions: give --phone, the shop's own number, to have it registered.")
    else:
        answer = daraja.register_pull(nominated_number=number, callback_url=settings.CALLBACK_URL)
        went.append(_tell("List of transactions", *read_pull_registration(answer)))
    if not went or set(went) & {Registration.REFUSED, Registration.NO_ANSWER}:
        raise click.ClickException("Not everything is registered.")


def _tell(what: str, registration: Registration, words: str) -> Registration:
    said = "" if registration is Registration.NO_ANSWER else f" Safaricom said: {_without_secret(words)}"
    click.echo(f"{what}: {_EXPLAINED[registration]}{said}")
    return registration


def _without_secret(words: str) -> str:
    return words.replace(settings.MPESA_C2B_SECRET, "…") if settings.MPESA_C2B_SECRET else words
