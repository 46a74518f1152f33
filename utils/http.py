"""Adapts Flask: reading bodies, answering errors, sending lists."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from flask import Flask, Request, Response, current_app, g, json, request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import NotFound as NoRoute
from werkzeug.formparser import FormDataParser
from werkzeug.routing import BaseConverter, IntegerConverter

from utils import browser_rules, errors, logger, ready
from utils.errors import FieldError, TicksyError
from utils.references import BIGGEST_ID

log = logging.getLogger("ticksy.http")

#: PostgreSQL's codes for "too busy", not "wrong": lock not available, deadlock, query cancelled, serialization
#: failure, too many connections, shutting down.
_BUSY = frozenset({"55P03", "40P01", "57014", "40001", "53300", "57P01", "57P03"})
_CODES = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "wrong_type",
}
_SENTENCES = {
    400: "The request could not be read.",
    404: "There is nothing at this address.",
    405: "This address does not answer to that method.",
    413: "The request is too big.",
    415: "Please send JSON or a form.",
}

#: As much as tells a phone from a laptop.
USER_AGENT_LENGTH = 120

_Shape = TypeVar("_Shape", bound=BaseModel)


class SecretConverter(BaseConverter):
    """`<secret:token>`: what `utils.security.new_secret` makes."""

    regex = "[0-9a-f]{32}"


class SignedConverter(BaseConverter):
    """`<signed:token>`: what `utils.signing.sign` makes."""

    regex = "[A-Za-z0-9_.-]{20,600}"


class CodeConverter(BaseConverter):
    """`<code:ticket_code>`: a ticket's code, more or less as it is printed."""

    regex = "[0-9A-Za-z-]{12,20}"


class IdConverter(IntegerConverter):
    """`<id:event_id>`: an integer that fits a bigint; anything longer is no address of ours."""

    regex = "[0-9]{1,19}"

    def __init__(self, url_map: Any) -> None:
        super().__init__(url_map, min=1, max=BIGGEST_ID)


class StrictRequest(Request):
    """Refuses a form that is broken; Flask would take it for an empty one."""

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read(shape: type[_Shape]) -> _Shape:
    """The body as `shape`, from JSON or a form. An empty body is an empty object.

    Raises Malformed, TooLarge, WrongType, Invalid.
    """
    if _is_form():
        return check(shape, request.form.to_dict())
    body = read_body()
    if not body:
        return check(shape, {})
    if request.mimetype != "application/json":
        raise errors.WrongType
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None


def receive(*, may_be_form: bool) -> None:
    """Wait for the whole body and keep it. Raises Malformed for a broken form, TooLarge."""
    if not (may_be_form and _is_form()):
        read_body()
        return
    try:
        _ = request.form
    except ValueError:
        raise errors.Malformed("The form is broken or cut off.") from None


def _is_form() -> bool:
    return request.mimetype in ("multipart/form-data", "application/x-www-form-urlencoded")


def read_body() -> bytes:
    """The body as it came. Raises TooLarge."""
    body = request.get_data()
    # A body that comes in chunks of untold number is cut at the limit, not refused by Werkzeug.
    if request.content_length is None and len(body) >= (request.max_content_length or 0):
        raise errors.TooLarge
    return body


def read_file(name: str) -> bytes | None:
    """An uploaded file's bytes; None when no file was chosen."""
    upload = request.files.get(name)
    return (upload.read() or None) if upload else None


def user_agent() -> str | None:
    """What the program says it is, cut short and in plain letters; None when it says nothing."""
    told = "".join(char for char in request.headers.get("User-Agent", "") if " " <= char <= "~").strip()
    return told[:USER_AGENT_LENGTH] or None


def read_query(shape: type[_Shape]) -> _Shape:
    """The query string as `shape`. Raises Invalid, also for a name that is given twice."""
    given = request.args.to_dict(flat=False)
    twice: list[FieldError] = [
        {"field": name[:200], "message": f"{name[:200]} is given more than once."}
        for name, values in given.items()
        if len(values) > 1
    ]
    if twice:
        raise errors.Invalid(twice[0]["message"], errors=twice[:20])
    return check(shape, request.args.to_dict())


def check(shape: type[_Shape], values: Mapping[str, Any]) -> _Shape:
    """The values as `shape`. Raises Invalid."""
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> TicksyError:
    faults = error.errors(include_url=False, include_context=True, include_input=False)
    if any(fault["type"] == "json_invalid" for fault in faults):
        return errors.Malformed("The body is not valid JSON.")
    told: list[FieldError] = [{"field": _path(fault), "message": _sentence(fault)} for fault in faults[:20]]
    return errors.Invalid(told[0]["message"], errors=told)


def _path(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])[:200]


def _sentence(fault: ErrorDetails) -> str:
    """pydantic's English, turned into a sentence about the field."""
    field = _path(fault) or "The body"
    message = fault["msg"]
    match fault["type"]:
        case "sentence":
            return message
        case "missing":
            return f"{field} is missing."
        case "extra_forbidden":
            return f"{field} is not a known field."
        case "string_too_short" if fault.get("ctx", {}).get("min_length") == 1:
            return f"{field} must not be empty."
    return f"{field}: {message[0].lower()}{message[1:]}."


# ── Answering ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answer_json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, mimetype="application/json")


def answer_file(body: bytes, content_type: str, *, cache: str, disposition: str) -> Response:
    """A file that programs ask for again and again: 304 while it is the one they have (RFC 9110, 13)."""
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = cache
    response.headers["Content-Disposition"] = disposition
    response.add_etag()
    response.make_conditional(request)
    return response


def answer_secret(body: bytes | str, content_type: str, *, disposition: str | None = None) -> Response:
    """What whoever has the address may see, and nobody else should come across: kept, told and found nowhere."""
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    if disposition is not None:
        response.headers["Content-Disposition"] = disposition
    return response


def answer_form(page: str, status: int = 200) -> Response:
    """A page with a form that comes back to it, for who has its address. It loads nothing of anybody else's."""
    response = answer_secret(page, "text/html; charset=utf-8")
    response.status_code = status
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def answer_cacheable(body: bytes, *, max_age: int, is_public: bool) -> Response:
    """JSON with a strong ETag, or 304 to who has it. What is not public is kept by nobody."""
    response = answer_json(body)
    response.set_etag(_fingerprint(body))
    if is_public:
        response.cache_control.public, response.cache_control.max_age = True, max_age
    response.make_conditional(request)
    return response


def make_conditional(response: Response, *, is_for_everyone: bool = False) -> Response:
    """Give it an ETag, or make it 304 for who has it already. A strong tag: the same bytes, of the same page.

    It may be kept, but has to be asked for again each time; and unless it `is_for_everyone`, only by who was answered.
    """
    return answer_if_new(add_tag(response, is_for_everyone=is_for_everyone))


def add_tag(response: Response, *, is_for_everyone: bool) -> Response:
    """The first half of `make_conditional`."""
    told = [response.headers.get(name, "") for name in ("Link", "X-Total-Count")]
    tag = hashlib.sha256("\n".join(told).encode() + b"\n" + response.get_data()).hexdigest()[:32]
    response.set_etag(tag)
    response.cache_control.no_cache = True
    if not is_for_everyone:
        response.cache_control.private = True
        response.vary.add("Authorization")
    return response


def answer_if_new(response: Response) -> Response:
    """The second: 304 to who has what it is tagged as."""
    tag, _ = response.get_etag()
    if tag is not None and "If-None-Match" in request.headers and request.if_none_match.contains_weak(tag):
        response.status_code = 304
        response.set_data(b"")
    return response


def answer_stream(bodies: Iterable[bytes | None], *, close: Callable[[], None]) -> Response:
    """Server-Sent Events: one for each body that differs from the last one, whose fingerprint is its id; for None a
    comment, a sign of life. Who comes again with `Last-Event-ID` is told only what is new. `close` is called at the
    end, whoever made it.
    """
    last_id = request.headers.get("Last-Event-ID")

    def write(known: str | None) -> Iterator[bytes]:
        for body in bodies:
            if body is None or (fingerprint := _fingerprint(body)) == known:
                yield b":\n\n"
                continue
            known = fingerprint
            yield b"id: %s\ndata: %s\n\n" % (known.encode(), body)

    response = Response(write(last_id), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # proxies would wait for more
    response.call_on_close(close)
    return response


def _fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def answer_error(error: TicksyError) -> Response:
    body: dict[str, Any] = {"message": error.message, "code": error.code}
    if error.errors:
        body["errors"] = error.errors
    if error.status in (429, 503):
        body |= declared_by_view("while_busy", {})
    response = answer_json(json.dumps(body).encode(), error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def declared_by_view(name: str, default: Any) -> Any:
    """An attribute of the class that answers at the request's address."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(getattr(view, "view_class", None), name, default)


def init_app(app: Flask) -> None:
    """Every error becomes `{"message", "code"}`; every request has an id, and a line in the log without secrets."""
    app.request_class = StrictRequest
    app.url_map.merge_slashes = False  # would redirect `//` to whatever the Host header says
    app.url_map.converters.update(code=CodeConverter, id=IdConverter, secret=SecretConverter, signed=SignedConverter)
    app.register_error_handler(TicksyError, answer_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(DBAPIError, _answer_database_error)
    app.register_error_handler(PoolTimeout, _answer_database_error)
    app.register_error_handler(Exception, _answer_bug)
    app.before_request(_begin)
    app.after_request(_end)


def _answer_http_exception(error: HTTPException) -> Response:
    original = getattr(error, "original_exception", None)
    if isinstance(original, HTTPException):  # raised before there was an address, such as an impossible Host header
        error = original
    status = error.code or 500
    if isinstance(error, NoRoute) and request.url_rule is not None:
        message = errors.NotFound.message
    else:
        message = _SENTENCES.get(status, error.description or error.name)
    response = answer_error(_Ready(status, _CODES.get(status, "http_error"), message))
    for name, value in error.get_headers():
        if name in ("Allow", "Location", "Retry-After"):
            response.headers[name] = value
    return response


class _Ready(TicksyError):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        super().__init__(message, code=code)


def _answer_database_error(error: Exception) -> Response:
    """Busy or away is 503; anything else is a bug."""
    code = getattr(getattr(error, "orig", None), "pgcode", None)
    is_away = isinstance(error, OperationalError) or getattr(error, "connection_invalidated", False)
    if code in _BUSY or isinstance(error, PoolTimeout) or (code is None and is_away):
        log.warning("database busy or away: %s %s", type(error).__name__, code)
        return answer_error(errors.Unavailable(code="busy"))
    return _answer_bug(error)


def _answer_bug(error: Exception) -> Response:
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return answer_error(TicksyError())


def _begin() -> None:
    g.started = time.perf_counter()
    logger.request_id.set(uuid.uuid4().hex[:12])
    logger.remote_address.set(request.remote_addr)


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = logger.request_id.get()
    browser_rules.apply(response, is_https=request.is_secure)
    if not ready.is_kept(request.environ):
        seconds = time.perf_counter() - g.get("started", time.perf_counter())
        log_request(request.method, route(), response.status_code, seconds, request.remote_addr)
    return response


def route() -> str:
    """The rule, not the path: paths carry secrets."""
    return request.url_rule.rule if request.url_rule else "(no such address)"


def log_request(method: str, rule: str, status: int, seconds: float, address: str | None) -> None:
    told = {"method": method, "route": rule, "status": status, "milliseconds": round(seconds * 1000)}
    log.info("request", extra=told | {"address": address})


def log_refusals(rule: str, status: int, requests: int) -> None:
    log.info("requests refused", extra={"method": "POST", "route": rule, "status": status, "requests": requests})
