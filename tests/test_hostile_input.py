"""Bad input of any shape, at every address that takes any: a 4xx with a sentence, and not a row is written.

The cases are made from the shapes themselves: a new field of a new resource is attacked without a new line here.
"""

from __future__ import annotations

import io
import json
import socket
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import BaseModel
from sqlalchemy import text
from werkzeug.test import TestResponse

from models import User
from resources.base import Endpoint
from tests.support import Maker
from tests.test_access import every_endpoint, the_world
from utils.database import Base, db

JSON = "application/json"
TAKE_A_BODY = [(method, address, one) for method, address, one in every_endpoint() if one.body is not None]
TAKE_A_QUERY = [(method, address, one) for method, address, one in every_endpoint() if one.query is not None]
TAKE_ANYTHING = ["/api/payment/callback", "/payments/callback"]


def named(cases: list[tuple[str, str, Endpoint]]) -> list[Any]:
    return [pytest.param(*case, id=f"{case[0]} {case[1]}") for case in cases]


# ── The world the attacks are made on ─────────────────────────────────────────────────────────────────────────────


def _caller_of(method: str, address: str) -> str:
    """Who is answered with success for what is right."""
    if method == "PUT" and "review" in address:
        return "other attendee"
    is_own = "order" in address or "review" in address or address.startswith(("/payments", "/tickets/<"))
    return "attendee" if is_own else "admin"


class Target:
    """One address, called by an admin who may do everything, or by the attendee who owns the order."""

    def __init__(self, client: FlaskClient, make: Maker, method: str, address: str) -> None:
        world = the_world(make)
        caller = world.callers[_caller_of(method, address)]
        assert isinstance(caller, User)
        self.client, self.method, self.address = client, method, world.fill(address)
        self.headers = make.headers(caller)
        self.body = world.body(method, address) or {}

    def send(self, **sent: Any) -> TestResponse:
        address = sent.pop("address", self.address)
        return self.client.open(address, method=self.method, headers=self.headers, buffered=True, **sent)

    def send_json(self, body: bytes | str) -> TestResponse:
        return self.send(data=body, content_type=JSON)


def count_rows(app: Flask) -> dict[str, int]:
    """Rows of every table, and what would change without a new row."""
    with app.app_context():
        counts = {
            table.name: db.session.scalar(text(f'SELECT count(*) FROM "{table.name}"'))
            for table in Base.metadata.sorted_tables
        }
        counts["files"] = len(list(app.extensions["settings"].UPLOAD_DIR.iterdir()))
        return counts


def assert_is_refused(answer: TestResponse, told: object) -> None:
    assert 400 <= answer.status_code < 500, (told, answer.status_code)
    assert answer.mimetype == JSON, told
    assert isinstance(answer.json["message"], str), told
    assert answer.json["message"].strip()[-1:] == ".", (told, answer.json)
    assert isinstance(answer.json["code"], str), told
    assert len(answer.data) < 20_000, told


# ── What is sent ──────────────────────────────────────────────────────────────────────────────────────────────────

#: JSON texts that no field of any of our requests takes.
NEVER_RIGHT = {
    "an object": '{"a": 1}',
    "a list in a list": "[[[]]]",
    "an array of nothing": "[null, true]",
    "infinity": "1e400",
    "minus infinity": "-1e400",
    "not a number": "NaN",
    "a NUL": r'"a\u0000b"',
    "an escape": r'"a\u001bb"',
    "a delete": r'"a\u007fb"',
    "a control of Latin-1": r'"a\u0085b"',
    "half a surrogate": r'"\ud800"',
    "half a surrogate, at the end": r'"abc\udfff"',
    "100,000 letters": '"' + "a" * 100_000 + '"',
    "100,000 digits": '"' + "9" * 100_000 + '"',
    "an integer of 10,000 digits": "9" * 10_000,
}
#: And those that are wrong for a field of this kind.
NEVER_TEXT = {"true": "true", "an integer": "7", "a float": "1.5"}
NEVER_WHOLE = {
    "true": "true",
    "false": "false",
    "a float": "1.5",
    "minus one": "-1",
    "a huge one": str(10**30),
    "just past a bigint": str(2**63),
    "a negative huge one": str(-(10**30)),
    "words": '"ten"',
    "an expression": '"1e3"',
    "a hexadecimal": '"0x10"',
}
#: Fields that take text nobody keeps: a password is only hashed, the frontend's repetition is not read.
ANY_CHARACTERS = {"password", "current_password", "ticket_type"}
KEPT_AS_IT_IS = {"a NUL", "an escape", "a delete", "a control of Latin-1"}


def kinds_of(annotation: Any) -> set[type]:
    """The types at the bottom of an annotation: {str, NoneType} of `Annotated[str, …] | None`."""
    parts = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return kinds_of(parts[0])
    if origin is typing.Literal:
        return {str}
    if origin is list or not parts:
        return {origin or annotation}
    return set().union(*(kinds_of(part) for part in parts))


def paths_of(shape: type[BaseModel], value: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], set[type]]]:
    """Where every field is within a body, those of models in lists included."""
    for name, field in shape.model_fields.items():
        key = field.alias or name
        kinds = kinds_of(field.annotation)
        yield (key,), kinds
        if list in kinds:
            inner = item_of(field.annotation)
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                yield (key, 0), kinds_of(inner)
                continue
            for path, kind in paths_of(inner, value[key][0]):
                yield (key, 0, *path), kind


def item_of(annotation: Any) -> Any:
    """What a list holds, whatever stands around it."""
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0]
    return next((item for part in typing.get_args(annotation) if (item := item_of(part)) is not None), None)


def with_json_at(body: Any, path: tuple[str | int, ...], raw: str) -> str:
    """The body as JSON with the text `raw` in place of one field's value."""
    marker = "«here»"
    copy = json.loads(json.dumps(body))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = marker
    return json.dumps(copy, ensure_ascii=False).replace(f'"{marker}"', raw)


def wrong_values(field: str, kinds: set[type]) -> Iterator[tuple[str, str]]:
    for told, raw in NEVER_RIGHT.items():
        if not (field in ANY_CHARACTERS and told in KEPT_AS_IT_IS):
            yield told, raw
    if str in kinds:
        yield from NEVER_TEXT.items()
    if int in kinds:
        yield from NEVER_WHOLE.items()
    if type(None) not in kinds:
        yield "null", "null"


#: Whole bodies that are right nowhere.
WRONG_BODIES: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", JSON),
    "null": (b"null", JSON),
    "true": (b"true", JSON),
    "a number": (b"1e400", JSON),
    "a word": (b'"x"', JSON),
    "10,000 brackets": (b"[" * 10_000 + b"]" * 10_000, JSON),
    "10,000 objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, JSON),
    "an unknown key": (b'{"nobody_knows_this": 1}', JSON),
    "an unknown key with a NUL": (b'{"a\\u0000": 1}', JSON),
    "a key of 100,000 letters": (b'{"' + b"k" * 100_000 + b'": 1}', JSON),
    "cut off": (b'{"title": "x', JSON),
    "two objects": (b"{}{}", JSON),
    "a comma too many": (b'{"a": 1,}', JSON),
    "single quotes": (b"{'a': 1}", JSON),
    "blanks": (b"   ", JSON),
    "broken UTF-8": (b'{"title": "\xff\xfe"}', JSON),
    "a surrogate in UTF-8": (b'{"title": "\xed\xa0\x80"}', JSON),
    "UTF-16": ('{"title": "x"}'.encode("utf-16"), JSON),
    "binary": (bytes(range(256)), JSON),
    "a megabyte": (b'{"title": "' + b"x" * 1_000_000 + b'"}', JSON),
    "plain text": (b"hello", "text/plain"),
    "XML": (b"<a/>", "application/xml"),
    "nearly JSON": (b"{}", "application/json-patch+json"),
    "a type that is none": (b"{}", "json"),
    "a type of 10,000 letters": (b"{}", "a/" + "b" * 10_000),
    "a form that is JSON": (b'{"a": 1}', "application/x-www-form-urlencoded"),
    "a form in broken UTF-8": (b"title=\xff", "application/x-www-form-urlencoded"),
    "a form with a NUL": (b"title=a%00b", "application/x-www-form-urlencoded"),
    "a form with 10,000 fields": (b"&".join(b"f%d=1" % n for n in range(10_000)), "application/x-www-form-urlencoded"),
    "multipart without a boundary": (b"--x\r\n\r\n--x--", "multipart/form-data"),
    "multipart with an odd boundary": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=caf\xe9"),
    "multipart with another boundary": (b"--y\r\n\r\n--y--\r\n", "multipart/form-data; boundary=x"),
    "multipart cut off": (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nHal',
        "multipart/form-data; boundary=x",
    ),
    "multipart cut off in its head": (b"--x\r\nContent-Disposition: form-d", "multipart/form-data; boundary=x"),
    "multipart without a head": (b"--x\r\n\r\nvalue\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    "multipart in broken UTF-8": (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\ncaf\xe9\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    ),
    "multipart with a NUL": (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\na\x00b\r\n--x--\r\n',
        "multipart/form-data; boundary=x",
    ),
    "multipart of 100 parts": (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\na\r\n' * 100 + b"--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
}


# ── Bodies ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_BODY))
def test_every_wrong_value_of_every_field_is_refused(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    assert endpoint.body is not None
    before = count_rows(app)
    for path, kinds in paths_of(endpoint.body, target.body):
        for told, raw in wrong_values(str(path[-1]), kinds):
            assert_is_refused(target.send_json(with_json_at(target.body, path, raw)), (path, told))
    assert count_rows(app) == before


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_BODY))
def test_every_wrong_body_is_refused(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    before = count_rows(app)
    for told, (body, content_type) in WRONG_BODIES.items():
        assert_is_refused(target.send(data=body, content_type=content_type), told)
    assert count_rows(app) == before


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_BODY))
def test_an_unknown_key_beside_the_right_ones_is_refused(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    before = count_rows(app)
    for key in ("id", "status ", "organizer_id", "__proto__", "sold", "role\u0000", "created_at"):
        assert_is_refused(target.send(json=target.body | {key: 1}), key)
    assert count_rows(app) == before


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_BODY))
def test_a_body_of_20_megabytes_is_413(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    before = count_rows(app)
    big = b"x" * 20_000_000
    file = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + big + b"\r\n--x--\r\n"
    for sent in (
        {"data": big, "content_type": JSON},
        {"data": b"title=" + big, "content_type": "application/x-www-form-urlencoded"},
        {"data": file, "content_type": "multipart/form-data; boundary=x"},
        {"input_stream": io.BytesIO(big), "content_type": JSON, "environ_overrides": {"wsgi.input_terminated": True}},
    ):
        answer = target.send(**sent)
        assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert count_rows(app) == before


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_BODY))
def test_a_body_shorter_than_announced_is_refused(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    before = count_rows(app)
    for length in ("99999", str(10**30)):
        for content_type in (JSON, "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
            sent = {"content_type": content_type, "environ_overrides": {"CONTENT_LENGTH": length}}
            assert_is_refused(target.send(data=b'{"title": 1', **sent), (length, content_type))
    assert count_rows(app) == before


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "²", "9" * 5_000], ids=lambda length: length[:9])
def test_a_length_that_is_no_number_is_no_body(client: FlaskClient, length: str) -> None:
    sent = {"data": b'{"email": 1}', "content_type": JSON, "environ_overrides": {"CONTENT_LENGTH": length}}
    answer = client.post("/login", **sent)
    assert [error["message"] for error in answer.json["errors"]] == ["email is missing.", "password is missing."]


@pytest.mark.parametrize("said_twice", ['{"email": 1, "email": "a"}', '{"password": "a", "password": {}}'])
def test_of_a_key_said_twice_none_escapes_the_rules(client: FlaskClient, said_twice: str) -> None:
    assert_is_refused(client.post("/login", data=said_twice, content_type=JSON), said_twice)


def test_a_role_said_twice_makes_no_admin(app: Flask, client: FlaskClient) -> None:
    person = json.dumps({"first_name": "A", "last_name": "B", "email": "a@example.co.ke", "phone": "0711222333"})
    for roles in ('"role": "attendee", "role": "admin"', '"role": "admin", "role": "admin"'):
        body = person[:-1] + f', "password": "maziwa-lala-2026", {roles}}}'
        assert_is_refused(client.post("/signup", data=body, content_type=JSON), roles)
    assert set(count_rows(app).values()) <= {0, count_rows(app)["files"]}


@pytest.mark.parametrize("written", [b"Caf\xe9", b"\xff\xfe", b"a\x00b", b"\xed\xa0\x80"])
def test_text_that_is_damaged_in_a_form_is_not_stored(
    app: Flask, client: FlaskClient, make: Maker, written: bytes
) -> None:
    target = Target(client, make, "PUT", "/events/<id:event_id>")
    before = count_rows(app)
    form = b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\n' + written + b"\r\n--x--\r\n"
    assert_is_refused(target.send(data=form, content_type="multipart/form-data; boundary=x"), written)
    assert count_rows(app) == before


# ── Pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "address"), [("POST", "/events"), ("PUT", "/events/<id:event_id>")])
@pytest.mark.parametrize(
    "image",
    [
        b"not a picture",
        b"\x00" * 1_000,
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 100,
        b"\xff\xd8\xff\xe0" + b"\xff" * 100,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"GIF89a" + b"\x01" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_picture_is_refused(
    app: Flask, client: FlaskClient, make: Maker, method: str, address: str, image: bytes
) -> None:
    target = Target(client, make, method, address)
    before = count_rows(app)
    answer = target.send(data=target.body | {"image": (io.BytesIO(image), "a.png")})
    assert_is_refused(answer, image)
    assert answer.json["code"] == "bad_image"
    assert count_rows(app) == before


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00.png", "x" * 10_000 + ".png", "", "é.png"])
def test_a_name_of_a_file_does_no_harm(client: FlaskClient, make: Maker, name: str) -> None:
    target = Target(client, make, "POST", "/events")
    answer = target.send(data=target.body | {"image": (io.BytesIO(b"not a picture"), name)})
    assert answer.status_code < 500


# ── What Safaricom is supposed to send ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", TAKE_ANYTHING)
def test_the_public_callback_address_takes_anything_and_keeps_none_of_it(
    app: Flask, client: FlaskClient, address: str
) -> None:
    before = count_rows(app)
    for told, (body, content_type) in WRONG_BODIES.items():
        answer = client.post(address, data=body, content_type=content_type)
        assert answer.status_code == (413 if told == "a megabyte" or len(body) > 64 * 1024 else 200), told
    for ids in ("null", "1e400", '{"a": []}', r'"\u0000"', r'"\ud800"', "true", '"' + "x" * 20_000 + '"'):
        body = f'{{"Body": {{"stkCallback": {{"CheckoutRequestID": {ids}, "ResultCode": {ids}}}}}}}'
        assert client.post(address, data=body, content_type=JSON).status_code == 200, ids
    assert count_rows(app) == before


def test_a_callback_without_a_payment_is_404_whatever_it_carries(app: Flask, client: FlaskClient) -> None:
    before = count_rows(app)
    for token in ("0" * 32, "0" * 31, "0" * 33, "G" * 32, "A" * 32, "%00" * 32, "..%2f" * 6):
        for told, (body, content_type) in WRONG_BODIES.items():
            answer = client.post(f"/api/payment/callback/{token}", data=body, content_type=content_type)
            assert answer.status_code == (404 if len(body) <= 64 * 1024 or token != "0" * 32 else 413), (token, told)
    assert count_rows(app) == before


def test_a_callback_of_any_shape_is_kept_and_harms_nothing(app: Flask, client: FlaskClient, make: Maker) -> None:
    order, token = make.order()
    for body, _ in WRONG_BODIES.values():
        if len(body) <= 64 * 1024:
            assert make.deliver(token, body)
    assert make.read_order(order.id).status is order.status


# ── Query strings ─────────────────────────────────────────────────────────────────────────────────────────────────

WRONG_PAGES = ["0", "-1", "abc", "", "%20", "1.5", "1e3", "true", "null", str(10**30), "9" * 5_000, "%00", "%FF", "[]"]
WRONG_DATES = ["abc", "0", "-1", "1e400", "2030", "2030-13-01", "0000-01-01", "99999-01-01", "2030-01-01T25:00"]


@pytest.mark.parametrize(("method", "address", "endpoint"), named(TAKE_A_QUERY))
def test_every_wrong_query_is_refused(
    client: FlaskClient, make: Maker, method: str, address: str, endpoint: Endpoint
) -> None:
    target = Target(client, make, method, address)
    wrong = [f"page={value}" for value in [*WRONG_PAGES, "1000001"]]
    wrong += [f"per_page={value}" for value in [*WRONG_PAGES, "1001", "100000"]]
    wrong += ["unknown=1", "page[]=1", "page=0&page=1", "%00=1", "%FF=1", "a" * 5_000 + "=1", "=", "page=1&x"]
    for query in wrong:
        assert_is_refused(target.send(address=f"{target.address}?{query}"), query)


@pytest.mark.parametrize(
    "query",
    [
        *(f"{name}={value}" for name in ("q", "category", "location") for value in ("%00", "a%1Bb", "x" * 5_000)),
        *(f"{name}={value}" for name in ("from", "to") for value in [*WRONG_DATES, "%00", "2030-01-01T00:00%00"]),
        *(
            f"max_price={value}"
            for value in ("-1", "abc", "1.5", "true", str(10**30), "1e400", "NaN", "%00", "1000001")
        ),
        *(f"sort={value}" for value in ("", "x", "%00", "id;drop table users")),
        "from_=2030-01-01",
    ],
)
def test_a_search_for_nonsense_is_refused(client: FlaskClient, query: str) -> None:
    assert_is_refused(client.get(f"/events?{query}"), query)


@pytest.mark.parametrize(
    "words",
    [
        "'", '"', "\\", "a & b", "a | !b", "(", "):*", ":*", "<->", "a:b", "a:*", "_", "%", "the", "it's", "a\tb",
        "🦒", "²", "ß", "İ", "\u202e", "\u0301", "nairobi \u200b jazz", "''''", "\\'", "$$", "--", "/*", "a" * 200,
        " ".join("ab"[n % 2] for n in range(199)), "%FF", "%ED%A0%80",
    ],
)  # fmt: skip
def test_any_words_may_be_searched_for(client: FlaskClient, make: Maker, words: str) -> None:
    for name in ("q", "category", "location"):
        answer = client.get("/events", query_string={name: words[:60]})
        assert (answer.status_code, answer.json) == (200, []), name
    if words.startswith("%"):
        assert client.get(f"/events?q={words}").status_code == 200


def test_a_percent_sign_is_no_wildcard(client: FlaskClient, make: Maker) -> None:
    make.event(location="100% Sport Club")
    make.event(location="Uhuru Gardens")
    assert len(client.get("/events", query_string={"location": "%"}).json) == 1
    assert len(client.get("/events", query_string={"location": "_"}).json) == 0


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────────────────────

NO_IDS = [
    "0",
    "-1",
    str(2**63),
    str(10**30),
    "9" * 5_000,
    "abc",
    "1.0",
    "%00",
    "1%00",
    "%2e%2e",
    "%FF",
    "1e3",
    "٣",
    "null",
]


@pytest.mark.parametrize("value", NO_IDS, ids=lambda value: value[:12])
def test_what_is_no_id_is_404_everywhere(client: FlaskClient, make: Maker, value: str) -> None:
    headers = make.headers(make.admin())
    for method, address, declared in every_endpoint():
        if "<" in address:
            start = address.index("<")
            # Of a code, or a signed address, it is found out only after the body was read.
            is_read_first = declared.body is not None and not address.startswith("<id:", start)
            wrong = address[:start] + value + address[address.index(">") + 1 :]
            wrong = wrong.replace("<id:ticket_type_id>", "1")
            answer = client.open(wrong, method=method, headers=headers)
            assert_is_refused(answer, (method, wrong))
            assert answer.status_code == 404 or (is_read_first and answer.status_code == 422), (method, wrong)


def test_the_largest_id_is_simply_not_there(client: FlaskClient, make: Maker) -> None:
    headers = make.headers(make.admin())
    for address in ("/events/{}", "/events/{}/tickets", "/events/{}/reviews", "/orders/{}", "/users/{}"):
        assert client.get(address.format(2**63 - 1), headers=headers).status_code == 404


@pytest.mark.parametrize("name", ["../app.py", "..%2f..%2fapp.py", "%00", "0" * 32 + ".png", "0" * 33, "A" * 32])
def test_no_file_but_a_picture_is_served(client: FlaskClient, name: str) -> None:
    for address in (f"/media/{name}", f"/media/{name}.webp"):
        assert client.get(address, buffered=True).status_code == 404


# ── Over a real socket ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
        b"POST /login HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 9\r\n\r\n--x",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET /\xff%00 HTTP/1.1\r\nHost: \xff\r\n\r\n",
    ],
)
def test_a_caller_who_hangs_up_leaves_the_app_at_work(app: Flask, client: FlaskClient, sent: bytes) -> None:
    port = app.extensions["settings"].PORT
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert b" 5" not in answer[:13]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 " in connection.recv(65_536)[:16]
