"""The API's description, for programs and for people."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Response, current_app, send_from_directory

from config import ROOT
from models import User
from resources.base import PUBLIC, Resource, endpoint
from utils import http
from utils.errors import NotFound

_OURS = ROOT / "templates"
#: The program that shows it ships with a package: nothing is fetched from anywhere else.
_SWAGGER = Path(flask_swagger_ui.__file__).parent / "dist"
_ASSETS = {
    "start.js": (_OURS, "docs.js"),
    **{name: (_SWAGGER, name) for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")},
}
#: Scripts and calls are this origin's alone. Swagger UI sets styles of single elements, and has pictures in its CSS.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Description(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("application/json",), conditional=True)
    def get(self, _actor: User | None) -> Response:
        """This description, as OpenAPI 3.1."""
        body: bytes = current_app.extensions["api_description"]()
        return http.make_conditional(http.answer_json(body), is_for_everyone=True)


class DocsPage(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/html",))
    def get(self, _actor: User | None) -> Response:
        """This description for people, with every call to be tried."""
        response = send_from_directory(_OURS, "docs.html", max_age=0)
        response.headers["Content-Security-Policy"] = _POLICY
        return response


class DocsAsset(Resource):
    @endpoint(access=PUBLIC, returns=None, produces=("text/javascript", "text/css", "image/png"), errors=(NotFound,))
    def get(self, _actor: User | None, asset: str) -> Response:
        """Scripts and styles of that page."""
        if asset not in _ASSETS:
            raise NotFound
        return send_from_directory(*_ASSETS[asset], max_age=3_600)
