"""The page of what was caught: a list, each message as a phone would show it, its text, its files and its source."""

from __future__ import annotations

import email
import logging
import mailbox
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path

from flask import Flask, Response, abort, jsonify, render_template

from utils import clock

#: Newest first; older ones stay in the folder.
SHOWN = 200
#: A message's page may show pictures and styles of its own, and nothing else: no script, no address but ours.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"


@dataclass(frozen=True)
class Caught:
    """One message, under the name of its file."""

    name: str
    message: EmailMessage
    at: datetime

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    @property
    def files(self) -> list[EmailMessage]:
        return list(self.message.iter_attachments())

    def _part(self, kind: str) -> str:
        body = self.message.get_body((kind,))
        return "" if body is None else str(body.get_content())


def create_app(folder: Path) -> Flask:
    """The page of the messages in `folder`, a Maildir that may not be there yet."""
    # A page for a developer's own eyes: what is asked of it is of no interest in a log.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    app = Flask(__name__, static_folder=None)

    @app.get("/")
    def show_all() -> str:
        return render_template("messages.html", messages=newest(folder))

    @app.get("/messages.json")
    def tell_all() -> Response:
        return jsonify([_in_json(one) for one in newest(folder)])

    @app.get("/<name>")
    def show(name: str) -> str:
        return render_template("message.html", one=_find(folder, name))

    @app.get("/<name>/html")
    def show_html(name: str) -> Response:
        return Response(_find(folder, name).html, headers={"Content-Security-Policy": _POLICY})

    @app.get("/<name>/source")
    def show_source(name: str) -> Response:
        return Response(_find(folder, name).message.as_bytes(), mimetype="text/plain")

    @app.get("/<name>/files/<int:number>")
    def give_file(name: str, number: int) -> Response:
        files = _find(folder, name).files
        if number >= len(files):
            abort(404)
        content = files[number].get_payload(decode=True)
        headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
        return Response(content, mimetype=files[number].get_content_type(), headers=headers)

    return app


def newest(folder: Path) -> list[Caught]:
    """The last SHOWN messages, newest first."""
    if not folder.exists():
        return []
    box = mailbox.Maildir(folder, create=False)
    # A file's name begins with the second it came, and goes on with what came first within it.
    found = [_read(box, name) for name in sorted(box.keys(), key=_order, reverse=True)[:SHOWN]]
    return [one for one in found if one is not None]


def _order(name: str) -> tuple[str, int, str]:
    second, _, rest = name.partition(".")
    return second, len(rest), rest


def _find(folder: Path, name: str) -> Caught:
    found = _read(mailbox.Maildir(folder, create=False), name) if folder.exists() else None
    if found is None:
        abort(404)
    return found


def _read(box: mailbox.Maildir, name: str) -> Caught | None:
    try:
        source = box.get_bytes(name)
    except KeyError:
        return None
    message = email.message_from_bytes(source, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return Caught(name, message, datetime.fromtimestamp(int(name.partition(".")[0]), clock.NAIROBI))


def _in_json(one: Caught) -> dict[str, object]:
    return {
        "name": one.name,
        "to": str(one.message["To"]),
        "subject": str(one.message["Subject"]),
        "message_id": str(one.message["Message-ID"]),
        "at": one.at.isoformat(),
        "text": one.text,
        "files": [part.get_filename() for part in one.files],
    }
