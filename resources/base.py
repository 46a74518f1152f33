"""The one way a URL works: who may call it, what goes in, what comes out, all declared on the method.

class MyTicketList(Resource):
    @endpoint(access=LOGGED_IN, query=Page, returns=list[TicketOut])
    def get(self, actor, query):
        "One's own tickets, newest first."
        return admission.list_tickets(actor=actor)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, ClassVar, TypeVar, get_origin

import flask_restful
from flask import Response, request
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Select

from config import settings
from models import Role, User
from schemas.common import Page as PageQuery
from services import crowd, gate_passes, idempotency, sessions
from services.gate_passes import Gatekeeper
from services.idempotency import Taken
from utils import http, ready, refusals, tokens, turns
from utils.errors import Forbidden, TicksyError, Unauthenticated
from utils.pagination import Page, paginate
from utils.tokens import Claims


class Without(Enum):
    """Callers without an account."""

    #: `Authorization: Gate <secret>`. The method's actor may be a GatePass then.
    GATE_PASS = "holders of a gate pass"


#: Who may call a method; PUBLIC is open to nobody in particular.
Access = frozenset[Role | Without] | None
PUBLIC: Access = None
LOGGED_IN: Access = frozenset(Role)
ORGANIZERS: Access = frozenset({Role.ORGANIZER, Role.ADMIN})
AT_THE_GATE: Access = frozenset({Role.ORGANIZER, Role.ADMIN, Without.GATE_PASS})
ADMINS: Access = frozenset({Role.ADMIN})

JSON_MAX_BYTES = 256 * 1024


@dataclass(frozen=True)
class Endpoint:
    """What a method declares about itself."""

    access: Access
    #: Shape of the body and of the query string; given to the method as `body` and `query`.
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    #: Shape of the answer: a model or a list of one. A Select is paged into it, as a `query` that is a Page asks; a
    #: Page that a service made itself is answered with the same headers.
    returns: Any
    status: int
    #: The most its body may weigh.
    max_bytes: int
    #: Takes a form with a file called `image`, read with `http.read_file`.
    takes_image: bool
    #: A request that carries an `Idempotency-Key` is done once; who repeats it gets the first answer. The method is
    #: given `taken`: the key, for the service that does the work to write into it that it is done, or None.
    idempotent: bool
    #: Its answer has an `ETag`; who sends that back in `If-None-Match` is told 304 while nothing has changed.
    conditional: bool
    #: Conditional, and the same for whoever asks, who is not even looked at: kept for CATALOGUE_CACHE_SECONDS.
    is_for_everyone: bool
    #: Very many may ask for it at once: of those, some are told to come again, before anything is done for them.
    is_rushed: bool
    #: For the API's description: other statuses of success, media types of a Response that is not JSON, whether the
    #: method reads the body itself, and what it refuses beyond that which the rest of the declaration implies.
    other_statuses: tuple[int, ...]
    produces: tuple[str, ...]
    takes_anything: bool
    errors: tuple[type[TicksyError], ...]


_Method = TypeVar("_Method", bound=Callable[..., Any])


def endpoint(
    *,
    access: Access,
    returns: Any,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    status: int = 200,
    max_bytes: int = JSON_MAX_BYTES,
    takes_image: bool = False,
    idempotent: bool = False,
    conditional: bool = False,
    is_for_everyone: bool = False,
    is_rushed: bool = False,
    other_statuses: tuple[int, ...] = (),
    produces: tuple[str, ...] = (),
    takes_anything: bool = False,
    errors: tuple[type[TicksyError], ...] = (),
) -> Callable[[_Method], _Method]:
    """Declare a Resource's method. It is called with `actor` (None for nobody), the URL's values, `body`, `query`."""

    def declare(method: _Method) -> _Method:
        method.endpoint = Endpoint(  # type: ignore[attr-defined]
            access=access,
            body=body,
            query=query,
            returns=returns,
            status=status,
            max_bytes=max_bytes,
            takes_image=takes_image,
            idempotent=idempotent,
            conditional=conditional,
            is_for_everyone=is_for_everyone,
            is_rushed=is_rushed,
            other_statuses=other_statuses,
            produces=produces,
            takes_anything=takes_anything,
            errors=errors,
        )
        return method

    return declare


class Resource(flask_restful.Resource):
    """Runs what `endpoint` declares. Methods return what a service returned, or (that, status), or a Response."""

    #: What answers of 429 and 503 carry beside their message.
    while_busy: ClassVar[dict[str, Any]] = {}
    #: Whether requests are answered however many their address sends, and without waiting for a turn.
    is_never_flooded: ClassVar[bool] = False

    def dispatch_request(self, *args: Any, **values: Any) -> Response:
        verb = "get" if request.method == "HEAD" else request.method.lower()
        method = getattr(self, verb)
        declared: Endpoint = method.endpoint
        request.max_content_length = declared.max_bytes
        if declared.is_for_everyone:
            with turns.take_turn():
                return _answer_everyone(method, args, values)
        if declared.is_rushed and crowd.is_crowded(settings.WEB_THREADS):
            refusals.keep(request.environ, route=http.route())
            raise crowd.Crowded
        if declared.takes_image:
            request.max_content_length += int(settings.IMAGE_MAX_MB * 1024 * 1024)
        secret = read_gate_secret(declared.access)
        claims = read_token(declared.access) if secret is None else None
        if declared.idempotent:
            http.read_body()  # kept as it came, which a form that is parsed is not
        # Off the wire before a database connection is taken: a slow sender holds nobody up but itself.
        http.receive(may_be_form=declared.body is not None)
        with (
            crowd.room_for_others() if declared.is_rushed else nullcontext(),
            nullcontext() if self.is_never_flooded else turns.take_turn(is_buyer=declared.is_rushed),
        ):
            return self._dispatch(method, secret, claims, args, values)

    def _dispatch(
        self, method: Callable[..., Any], secret: str | None, claims: Claims | None, args: Any, values: dict[str, Any]
    ) -> Response:
        declared: Endpoint = method.endpoint  # type: ignore[attr-defined]
        if secret is not None:
            return _answer(method, gate_passes.authenticate(secret), args, values)
        actor = current_actor(claims, declared.access)
        if not declared.idempotent:
            return _answer(method, actor, args, values)
        key = request.headers.get("Idempotency-Key")
        if key is None or actor is None:
            return _answer(method, actor, args, values | {"taken": None})
        return _answer_once(actor, key, lambda taken: _answer(method, actor, args, values | {"taken": taken}))


def _answer_everyone(method: Callable[..., Any], args: Any, values: dict[str, Any]) -> Response:
    response = http.add_tag(_answer(method, None, args, values), is_for_everyone=True)
    is_kept = ready.keep(request.environ, seconds=settings.CATALOGUE_CACHE_SECONDS or 0, route=http.route())
    return response if is_kept else http.answer_if_new(response)


def _answer(method: Callable[..., Any], actor: Gatekeeper | None, args: Any, values: dict[str, Any]) -> Response:
    declared: Endpoint = method.endpoint  # type: ignore[attr-defined]
    if declared.query is not None:
        values["query"] = http.read_query(declared.query)
    if declared.body is not None:
        values["body"] = http.read(declared.body)
    result, status = method(actor, *args, **values), declared.status
    if isinstance(result, tuple):
        result, status = result
    if isinstance(result, Response):
        return result
    if isinstance(result, Select):
        asked: PageQuery = values["query"]
        result = paginate(result, number=asked.page, size=asked.per_page)
    if isinstance(result, Page):
        response = _answer_page(result, declared.returns)
    else:
        response = http.answer_json(_serialise(result, declared.returns), status)
    is_tagged_here = declared.conditional and not declared.is_for_everyone
    return http.make_conditional(response) if is_tagged_here else response


def _answer_once(actor: User, key: str, work: Callable[[Taken], Response]) -> Response:
    """Do the work, or repeat what was answered when it was done. Errors of rules are answers like any other.

    Of work that was done by somebody who was killed before the answer, the method is asked what to show now.
    """
    request_hash = idempotency.hash_request(request.method, request.path, http.read_body())
    taken = idempotency.take(actor=actor, key=key, request_hash=request_hash)
    if isinstance(taken, idempotency.Answer):
        response = http.answer_json(taken.body, taken.status)
        response.headers["Idempotency-Replayed"] = "true"
        return response
    answer = None
    try:
        try:
            response = work(taken)
        except TicksyError as error:
            response = http.answer_error(error)
        answer = idempotency.Answer(response.status_code, response.get_data())
    finally:
        idempotency.finish(taken, answer)
    if taken.done_order_id is not None:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def read_gate_secret(access: Access) -> str | None:
    """The secret of the request's gate pass, where one may be used. Elsewhere a pass is no token at all."""
    return tokens.read_gate_secret() if access is not None and Without.GATE_PASS in access else None


def read_token(access: Access) -> Claims | None:
    """What the request's token says, if it has a good one. Raises Unauthenticated on routes that need it."""
    try:
        claims = tokens.read()
    except Unauthenticated:
        if access is not PUBLIC:
            raise
        return None
    if claims is None and access is not PUBLIC:
        raise Unauthenticated
    return claims


def current_actor(claims: Claims | None, access: Access) -> User | None:
    """The account as it is now; one that is banned, or has been logged out, is nobody on public routes.

    Raises Unauthenticated, Forbidden.
    """
    if claims is None:
        return None
    try:
        actor = sessions.authenticate(claims)
    except Unauthenticated:
        if access is not PUBLIC:
            raise
        return None
    if access is not None and actor.role not in access:
        raise Forbidden(f"Only {name_callers(access)} can do this.")
    return actor


def name_callers(access: frozenset[Role | Without]) -> str:
    names = sorted(one.value + "s" if isinstance(one, Role) else one.value for one in access)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _answer_page(page: Page, returns: Any) -> Response:
    """The bare array; or, where an object is declared, that object made of the page, whose list is its `rows`."""
    response = http.answer_json(_serialise(page.rows if get_origin(returns) is list else page, returns))
    others = {name: value for name, value in request.args.items() if name not in ("page", "per_page")}
    response.headers.update(page.headers(request.path, others))
    return response


def _serialise(result: Any, returns: Any) -> bytes:
    adapter = _adapter(returns)
    return adapter.dump_json(adapter.validate_python(result, from_attributes=True))


@cache
def _adapter(returns: Any) -> TypeAdapter[Any]:
    return TypeAdapter(returns)
