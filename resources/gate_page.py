"""The page that scans, for phones at a gate: files that browsers keep, so that it opens without a network."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from flask import Response, send_file

from config import ROOT
from models import User
from resources.base import PUBLIC, Resource, endpoint
from utils import http
from utils.errors import NotFound

_FOLDER = ROOT / "templates" / "gate"
#: What others have written, by the name at which it is served: `index.js` is how one of them calls a part of itself.
_VENDORED = {
    "qr.js": "vendor/qr/decode.js",
    "index.js": "vendor/qr/index.js",
    "ed25519.js": "vendor/ed25519/index.js",
    "idb.js": "vendor/idb/index.js",
}
_ASSETS = {path.name: path for path in sorted((_FOLDER / "assets").iterdir()) if path.is_file()} | {
    name: _FOLDER / place for name, place in _VENDORED.items()
}
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Scripts, styles and calls are this origin's alone. Each worker goes by what its own script came with.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self';"
    " media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class GatePage(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None) -> Response:
        """The page that scans tickets at a gate. It is the same for everybody: a pass stands behind `#`."""
        response = _send(_FOLDER / "page.html")
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
        return _govern(response)


class GateAsset(Resource):
    @endpoint(
        access=PUBLIC, returns=None, produces=("text/javascript", "text/css", "image/svg+xml"), errors=(NotFound,)
    )
    def get(self, _actor: User | None, asset: str) -> Response:
        """Scripts and styles of that page."""
        if asset not in _ASSETS:
            raise NotFound
        return _send(_ASSETS[asset])


def _send(file: Path) -> Response:
    """To be asked for again each time: parts of two versions do not fit together."""
    return _govern(send_file(file, mimetype=_TYPES[file.suffix], max_age=0))


def _govern(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@cache
def _worker() -> bytes:
    """The script, after the names of all that it keeps and a name for how that is now."""
    source = (_FOLDER / "worker.js").read_bytes()
    version = hashlib.sha256(source)
    for file in [_FOLDER / "page.html", *_ASSETS.values()]:
        version.update(hashlib.sha256(file.read_bytes()).digest())
    kept = json.dumps(["../gate", *(f"assets/{name}" for name in _ASSETS)])
    return f'const VERSION = "{version.hexdigest()[:16]}";\nconst FILES = {kept};\n'.encode() + source
