"""The page that scans, for phones at a gate: files that browsers keep, so that it opens without a network."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from flask import Response, send_from_directory

from config import ROOT
from models import User
from resources.base import PUBLIC, Resource, endpoint
from utils import http
from utils.errors import NotFound

_FOLDER = ROOT / "templates" / "gate"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Scripts, styles and calls are this origin's alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self';"
    " media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class GatePage(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None) -> Response:
        """The page that scans tickets at a gate. It is the same for everybody: what opens the gate stands behind `#`."""
        response = _send(_FOLDER, "page.html")
        response.headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=()"
        response.headers["X-Robots-Tag"] = "noindex"
        return response


class GateWorker(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/javascript",))
    def get(self, _actor: User | None) -> Response:
        """What opens that page without a network: a service worker. It is another one whenever the page is."""
        response = http.answer_file(_worker(), "text/javascript; charset=utf-8", cache="no-cache", disposition="inline")
        # The page is no part of the worker's folder, which is all that a worker serves otherwise.
        response.headers["Service-Worker-Allowed"] = "../gate"
        return response


class GateAsset(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=tuple(_TYPES.values()), errors=(NotFound,))
    def get(self, _actor: User | None, asset: str) -> Response:
        """Scripts and styles of that page."""
        if asset not in _assets():
            raise NotFound
        return _send(_FOLDER / "assets", asset)


def _send(folder: Path, name: str) -> Response:
    """To be asked for again each time: parts of two versions do not fit together."""
    response = send_from_directory(folder, name, max_age=0)
    if (known := _TYPES.get(Path(name).suffix)) is not None:
        response.headers["Content-Type"] = f"{known}; charset=utf-8"  # not what this machine takes it for
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@cache
def _assets() -> frozenset[str]:
    """Their names, as they stand in addresses."""
    folder = _FOLDER / "assets"
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in _TYPES)


@cache
def _worker() -> bytes:
    """The script, after the names of all that it keeps and a name for how that is now."""
    source = (_FOLDER / "worker.js").read_bytes()
    files = ["page.html", *(f"assets/{name}" for name in sorted(_assets()))]
    version = hashlib.sha256(source)
    for name in files:
        version.update(f"\0{name}\0".encode() + (_FOLDER / name).read_bytes())
    kept = ["../gate", *files[1:]]
    return f'const VERSION = "{version.hexdigest()[:16]}";\nconst FILES = {json.dumps(kept)};\n'.encode() + source
