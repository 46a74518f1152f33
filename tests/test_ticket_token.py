"""What a QR code holds: the form of a token, who can make one, and the keys of events."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from config import ROOT
from models import Event, Ticket, TicketKey
from services import ticket_keys
from tests.support import Maker, changed_settings, together
from utils import qr, ticket_token
from utils.database import db, transaction
from utils.ticket_token import BadSignature, Facts, NotAToken

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = [KEY.public_key()]
PAGE = (ROOT / "docs" / "tickets.md").read_text()
#: (event, ticket, type, from, until, rotation, token) of each row.
VECTORS = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
TOKEN: str = VECTORS[0][-1]


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


IDS = st.integers(0, 2**48 - 1)
MOMENTS = st.integers(0, 2**32 - 1).map(at)
FACTS = st.builds(Facts, IDS, IDS, IDS, MOMENTS, MOMENTS, st.integers(0, 2**16 - 1))


# ── Form and signature ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_about_tokens_has_vectors_and_the_key_they_were_made_with() -> None:
    assert len(VECTORS) == 3
    assert KEY.public_key().public_bytes_raw().hex() in PAGE


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"rotation {row[5]}")
def test_the_same_facts_and_key_make_the_token_on_the_page(row: tuple[str, ...]) -> None:
    event, ticket, ticket_type, valid_from, valid_until, rotation = map(int, row[:-1])
    facts = Facts(event, ticket, ticket_type, at(valid_from), at(valid_until), rotation)
    assert ticket_token.sign(facts, KEY) == row[-1]
    assert ticket_token.read(row[-1]) == ticket_token.verify(row[-1], KEYS) == facts


@given(FACTS)
def test_a_token_says_what_was_signed_whatever_it_is(facts: Facts) -> None:
    token = ticket_token.sign(facts, KEY)
    assert re.fullmatch("[A-Z2-7]{149}", token)
    assert ticket_token.verify(token, KEYS) == facts


@given(FACTS, st.data())
def test_a_token_with_any_bit_of_its_bytes_flipped_is_refused(facts: Facts, data: st.DataObject) -> None:
    whole = bytearray(base64.b32decode(ticket_token.sign(facts, KEY) + "==="))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    forged = base64.b32encode(whole).decode().rstrip("=")
    with pytest.raises((NotAToken, BadSignature)):
        ticket_token.verify(forged, KEYS)


@pytest.mark.parametrize("bit", range(8))
def test_a_token_with_any_bit_of_its_text_flipped_is_refused(bit: int) -> None:
    for place, letter in enumerate(TOKEN):
        forged = TOKEN[:place] + chr(ord(letter) ^ (1 << bit)) + TOKEN[place + 1 :]
        with pytest.raises((NotAToken, BadSignature)):
            ticket_token.verify(forged, KEYS)


@given(st.text(max_size=200) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=149, max_size=149))
def test_what_nobody_signed_is_refused_and_breaks_nothing(words: str) -> None:
    with pytest.raises((NotAToken, BadSignature)):
        ticket_token.verify(words, KEYS)


_AS_LONG = [TOKEN[:9] + other + TOKEN[10:] for other in "_1890!= é"] + [f"{one}{TOKEN[1:]}" for one in "+- "]


@pytest.mark.parametrize(
    "spelling", ["", TOKEN.lower(), TOKEN + "===", f" {TOKEN}", TOKEN[:-1], TOKEN + "A", TOKEN * 2, *_AS_LONG]
)
def test_a_token_has_one_spelling(spelling: str) -> None:
    with pytest.raises(NotAToken):
        ticket_token.read(spelling)


def test_the_last_character_has_a_bit_to_spare_that_cannot_be_used() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    other = letters[letters.index(TOKEN[-1]) ^ 1]
    assert base64.b32decode(TOKEN[:-1] + other + "===") == base64.b32decode(TOKEN + "===")
    with pytest.raises(NotAToken):
        ticket_token.read(TOKEN[:-1] + other)


def test_a_token_of_another_version_is_not_read() -> None:
    whole = base64.b32decode(TOKEN + "===")
    later = bytes([2]) + whole[1:]
    with pytest.raises(NotAToken):
        ticket_token.read(base64.b32encode(later).decode().rstrip("="))


def test_a_signature_for_anything_else_is_none_for_a_ticket() -> None:
    facts = base64.b32decode(TOKEN + "===")[:29]
    with pytest.raises(BadSignature):
        ticket_token.verify(base64.b32encode(facts + KEY.sign(facts)).decode().rstrip("="), KEYS)


def test_any_of_several_keys_will_do_and_without_keys_none_does() -> None:
    others = [Ed25519PrivateKey.generate().public_key() for _ in range(2)]
    assert ticket_token.verify(TOKEN, [*others, *KEYS]).ticket_id == 4211
    for keys in (others, []):
        with pytest.raises(BadSignature):
            ticket_token.verify(TOKEN, keys)


def test_a_token_fits_a_code_of_version_6_in_its_smallest_mode() -> None:
    code = qr.make(TOKEN)
    assert (code.designator, code.mode) == ("6-M", "alphanumeric")


# ── Keys of events ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ticket(make: Maker) -> Ticket:
    [ticket] = make.paid_order().tickets
    return ticket


def event_of(make: Maker, ticket: Ticket) -> Event:
    return next(event for event in make.rows(Event) if event.id == ticket.ticket_type.event_id)


def token_of(make: Maker, ticket: Ticket) -> str:
    event = event_of(make, ticket)
    with make.app.app_context():
        return ticket_keys.make_token(ticket, event)


def keys_of(make: Maker, event_id: int) -> list[Ed25519PublicKey]:
    with make.app.app_context():
        return ticket_keys.public_keys(event_id)


def test_a_ticket_says_its_event_type_rotation_and_window(make: Maker, ticket: Ticket) -> None:
    event = event_of(make, ticket)
    facts = ticket_token.verify(token_of(make, ticket), keys_of(make, event.id))
    assert facts == Facts(
        event_id=event.id,
        ticket_id=ticket.id,
        ticket_type_id=ticket.ticket_type_id,
        valid_from=(event.starts_at - timedelta(hours=12)).replace(microsecond=0),
        valid_until=(event.ends_at + timedelta(hours=6)).replace(microsecond=0),
        rotation=1,
    )


def test_an_event_far_beyond_what_a_token_can_tell_has_tickets_all_the_same(make: Maker) -> None:
    starts_at = datetime(2199, 12, 31, 18, tzinfo=timezone.utc)
    event = make.event(starts_at=starts_at, ends_at=starts_at + timedelta(hours=5, minutes=59))
    [ticket] = make.paid_order(ticket_type=make.ticket_type(event)).tickets
    assert ticket_token.read(token_of(make, ticket)).valid_until == ticket_token.LAST_INSTANT


def test_the_key_of_another_event_signs_nothing_for_this_one(make: Maker, ticket: Ticket) -> None:
    [other] = make.paid_order().tickets
    token_of(make, ticket)
    with pytest.raises(BadSignature):
        ticket_token.verify(token_of(make, other), keys_of(make, ticket.ticket_type.event_id))


def test_a_token_of_an_older_rotation_can_still_be_read(make: Maker, ticket: Ticket) -> None:
    old = token_of(make, ticket)
    with make.app.app_context(), transaction() as session:
        session.get_one(Ticket, ticket.id).rotation = 2
    ticket.rotation = 2
    keys = keys_of(make, ticket.ticket_type.event_id)
    assert [ticket_token.verify(one, keys).rotation for one in (old, token_of(make, ticket))] == [1, 2]


def test_shown_by_many_at_once_an_event_gets_one_pair(make: Maker, ticket: Ticket) -> None:
    tokens = together(*[lambda: token_of(make, ticket)] * 6)
    assert len(set(tokens)) == 1  # Ed25519 signs the same alike
    assert len(make.rows(TicketKey)) == 1


def test_after_a_new_secret_key_old_tokens_verify_and_new_ones_have_another_pair(
    app: Flask, make: Maker, ticket: Ticket
) -> None:
    old = token_of(make, ticket)
    with changed_settings(app, SECRET_KEY="another-secret-of-the-right-length-0123456789"):
        new = token_of(make, ticket)
        assert token_of(make, ticket) == new
        keys = keys_of(make, ticket.ticket_type.event_id)
    assert (len(keys), old == new) == (2, False)
    for token in (old, new):
        assert ticket_token.verify(token, keys).ticket_id == ticket.id
    assert ticket_token.verify(new, keys[:1]) == ticket_token.verify(old, keys[1:])


def test_back_under_the_first_secret_key_a_third_pair_is_made_and_all_verify(
    app: Flask, make: Maker, ticket: Ticket
) -> None:
    tokens = [token_of(make, ticket)]
    with changed_settings(app, SECRET_KEY="another-secret-of-the-right-length-0123456789"):
        tokens.append(token_of(make, ticket))
    tokens.append(token_of(make, ticket))
    keys = keys_of(make, ticket.ticket_type.event_id)
    assert {ticket_token.verify(token, keys).ticket_id for token in tokens} == {ticket.id}


def test_the_private_key_is_nowhere_in_the_database(make: Maker, ticket: Ticket) -> None:
    token_of(make, ticket)
    with make.app.app_context():
        private = ticket_keys.signing_key(ticket.ticket_type.event_id).private_bytes_raw()
        tables = db.session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        # Binary columns print as hexadecimal.
        rows = [row for table in tables for row in db.session.scalars(text(f'SELECT t::text FROM "{table}" t'))]
    assert any(make.rows(TicketKey)[0].public_key.hex() in row for row in rows)
    for written in (private.hex(), base64.b64encode(private).decode(), base64.b32encode(private).decode()):
        assert not any(written in row for row in rows)


def test_a_sealed_key_put_beside_another_public_key_is_not_opened(make: Maker, ticket: Ticket) -> None:
    token_of(make, ticket)
    with make.app.app_context(), transaction() as session:
        session.get_one(TicketKey, 1).public_key = KEYS[0].public_bytes_raw()
    token = token_of(make, ticket)
    keys = keys_of(make, ticket.ticket_type.event_id)
    assert len(keys) == 2
    assert ticket_token.verify(token, keys[:1]).ticket_id == ticket.id
