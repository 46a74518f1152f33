"""The simulator as a Flask app."""

from __future__ import annotations

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from daraja_simulator.control import control
from daraja_simulator.daraja import daraja
from daraja_simulator.settings import Settings
from daraja_simulator.virtual_phone import virtual_phone
from daraja_simulator.wire import Json, Refusal
from daraja_simulator.world import World

MOST_BYTES = 64 * 1024
#: What Daraja's gateway says before any API sees the request.
GATEWAY_ERRORS = {404: ("404.001.01", "Resource not found"), 405: ("405.001", "Method Not Allowed")}


def create_app(settings: Settings) -> Flask:
    """A simulator that goes on where its ledger ends."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    # Safaricom's order of fields, not the alphabet's.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["world"] = World(settings)
    for blueprint in (daraja, control, virtual_phone):
        app.register_blueprint(blueprint)

    @app.errorhandler(Refusal)
    def answer_refusal(refusal: Refusal) -> tuple[Json, int]:
        return refusal.body, refusal.status

    @app.errorhandler(HTTPException)
    def answer_gateway_error(error: HTTPException) -> tuple[Json, int] | HTTPException:
        if error.code not in GATEWAY_ERRORS:
            return error
        return Refusal(error.code, *GATEWAY_ERRORS[error.code]).body, error.code

    @app.after_request
    def mark(response: Response) -> Response:
        response.headers["X-Simulated"] = "daraja"
        return response

    return app
