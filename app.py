"""Ticksy's application: extensions, error handling, the URL table, the command line. No logic."""

# ruff: noqa: E402
from __future__ import annotations

import gc

# What is imported stays: looking for garbage in it, again and again, would take a tenth of the start.
gc.disable()

import atexit
from collections.abc import Callable
from functools import partial
from typing import Any

import flask_restful
from flask import Flask, Request
from flask.sessions import SessionInterface
from flask_cors import CORS
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

import commands
import config
import models
import resources
from services import access_tokens, crowd
from utils import floods, http, logger, stopping
from utils.database import db, engine_options
from utils.mpesa import Daraja
from utils.mpesa_credential import credential_from_file
from utils.ready import ReadyAnswers
from utils.refusals import ReadyRefusals
from utils.security import bcrypt
from utils.tokens import jwt

gc.freeze()
gc.enable()

#: Longest wait for a row lock, and for any statement, in milliseconds.
LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS = 5_000, 30_000
#: Database connections for storing what Safaricom posts.
INBOX_POOL = 4


class Api(flask_restful.Api):
    """Leaves errors to the app's own handlers, which Flask-RESTful otherwise overrides outside of tests."""

    def error_router(self, original_handler: Callable[[Exception], Any], error: Exception) -> Any:
        return original_handler(error)


class NoSessions(SessionInterface):
    """Flask's own sessions are cookies, of which there are none."""

    def open_session(self, _app: Flask, _request: Request) -> None:
        return None


def create_app(settings: config.Settings | None = None) -> Flask:
    """A new app. Raises config.ConfigurationError, which ends the process, when the settings are wrong."""
    settings = settings or config.load()
    logger.configure(settings.LOG_LEVEL, is_json=settings.LOG_FORMAT == "json", secrets=settings.secrets)

    app = Flask(__name__, instance_path=str(config.INSTANCE), static_folder=None)
    app.extensions["settings"] = settings
    app.session_interface = NoSessions()
    app.extensions["ready_answers"] = ready_answers = ReadyAnswers(app.wsgi_app, http.log_request)
    app.wsgi_app = ReadyRefusals(  # type: ignore[method-assign]
        ready_answers,
        is_crowded=lambda: crowd.is_crowded(app.extensions["settings"].WEB_THREADS),
        come_again=crowd.come_again,
        log=http.log_refusals,
    )
    if settings.TRUSTED_PROXIES:
        # Exactly so many hops: what stands further left, anybody may have written.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.TRUSTED_PROXIES, x_proto=settings.TRUSTED_PROXIES)  # type: ignore[method-assign]
    database_url = settings.DATABASE_URL or _embedded_database()
    app.config.update(
        SECRET_KEY=settings.SECRET_KEY,
        SECRET_KEY_FALLBACKS=settings.SECRET_KEYS_OLD,
        SQLALCHEMY_DATABASE_URI=database_url,
        SQLALCHEMY_ENGINE_OPTIONS=_pool(settings.DATABASE_POOL),
        # What Safaricom posts comes once: its few connections are nobody else's.
        SQLALCHEMY_BINDS={"inbox": {"url": database_url, **_pool(INBOX_POOL)}},
        # Nothing that a browser sends by itself: so no other page can act in a user's name.
        JWT_TOKEN_LOCATION=["headers"],
        JWT_ACCESS_TOKEN_EXPIRES=settings.ACCESS_TOKEN_MINUTES * 60,
        BCRYPT_LOG_ROUNDS=settings.BCRYPT_ROUNDS,
        BCRYPT_HANDLE_LONG_PASSWORDS=True,
        MAX_FORM_MEMORY_SIZE=512 * 1024,
        MAX_FORM_PARTS=50,
    )
    app.extensions["daraja"] = Daraja(
        base_url=settings.MPESA_BASE_URL,
        consumer_key=settings.MPESA_CONSUMER_KEY,
        consumer_secret=settings.MPESA_CONSUMER_SECRET,
        shortcode=settings.MPESA_SHORTCODE,
        passkey=settings.MPESA_PASSKEY,
        callback_url=settings.CALLBACK_URL,
        transaction_type=settings.MPESA_TRANSACTION_TYPE,
        party_b=settings.MPESA_PARTY_B,
        initiator_name=settings.MPESA_INITIATOR_NAME,
        security_credential=_credential(settings),
        connect_seconds=settings.MPESA_CONNECT_SECONDS,
        answer_seconds=settings.MPESA_ANSWER_SECONDS,
        share_token=access_tokens.share,
    )

    db.init_app(app)
    Migrate(app, db, directory=str(config.ROOT / "migrations"))
    bcrypt.init_app(app)
    jwt.init_app(app)
    CORS(
        app,
        origins=settings.CORS_ORIGINS,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"],
        expose_headers=[
            "Link",
            "X-Total-Count",
            "X-Request-Id",
            "Retry-After",
            "ETag",
            "Idempotency-Replayed",
            "Content-Disposition",
        ],
        max_age=86_400,
        always_send=False,
    )
    http.init_app(app)
    if settings.RATELIMIT_ENABLED:
        floods.init_app(app, per_minute=settings.RATELIMIT_PER_MINUTE, redis_url=settings.REDIS_URL)
    resources.register(Api(app))
    commands.register(app)
    app.shell_context_processor(lambda: {"db": db, "models": models})
    return app


def create_served_app() -> Flask:
    """The app in a process of the server's, which is told to stop by a signal."""
    stopping.watch()
    return create_app()


def _pool(size: int) -> dict[str, Any]:
    return engine_options(pool_size=size, lock_timeout_ms=LOCK_TIMEOUT_MS, statement_timeout_ms=STATEMENT_TIMEOUT_MS)


def _credential(settings: config.Settings) -> Callable[[], str] | None:
    """Made when it is used: in development the simulator writes the certificate as it starts."""
    path = settings.MPESA_CERTIFICATE
    return partial(credential_from_file, settings.MPESA_INITIATOR_PASSWORD, path) if path else None


def _embedded_database() -> str:
    """The development database, started if it is not running, stopped with the process that started it."""
    from utils import postgres  # noqa: PLC0415  # production has its own

    server = postgres.start(config.INSTANCE / "postgres", database="ticksy", die_with_parent=True)
    atexit.register(server.stop)
    return server.url
