"""What a ticket's holder gets: facts, codes, pages and sheets; and what everybody else does not."""

from __future__ import annotations

import io
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from models import Event, Ticket, TicketKey, User
from services import holders, ticket_keys
from tests.gates import SCANS, new_nonce
from tests.held_tickets import cancel, change, draw, evening, give_back, page_of, read_pdf, scan, use
from tests.support import Maker
from tests.test_queries import recorded
from utils import clock, ticket_token
from utils.clock import NAIROBI
from utils.database import db

FILES = ("qr.svg", "qr.png", "ticket.pdf")


@pytest.fixture
def buyer(make: Maker) -> User:
    return make.attendee(first_name="Wanjikũ", last_name="Mwangi")


@pytest.fixture
def as_buyer(make: Maker, buyer: User) -> dict[str, str]:
    return make.headers(buyer)


@pytest.fixture
def event(make: Maker) -> Event:
    return evening(make)


@pytest.fixture
def ticket(make: Maker, buyer: User, event: Event) -> Ticket:
    [ticket] = make.paid_order(buyer, make.ticket_type(event, name="VIP")).tickets
    return ticket


Look = Callable[..., TestResponse]


@pytest.fixture
def look(client: FlaskClient, as_buyer: dict[str, str], ticket: Ticket) -> Look:
    """What the buyer is answered about the ticket."""
    return lambda below="": client.get(f"/tickets/{ticket.code}{below}", headers=as_buyer)


# ── By login ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_buyer_is_told_all_of_the_ticket(make: Maker, look: Look, ticket: Ticket, event: Event) -> None:
    told = look().json
    public_url = make.app.extensions["settings"].PUBLIC_URL
    page = public_url + page_of(make, ticket)
    assert {name: value for name, value in told.items() if name not in ("event", "token")} == {
        "id": ticket.id,
        "ticket_code": ticket.code,
        "type": "VIP",
        "status": "valid",
        "attendee_first_name": "Wanjikũ",
        "attendee_last_name": "Mwangi",
        "checked_in_at": None,
        "order_id": make.read_order(ticket.order_id).reference,
        "received_at": None,
        "refund_agreed_at": None,
        "map_url": "https://www.google.com/maps/search/?api=1&query=Alchemist%2C%20Nairobi",
        "links": {
            "page": page,
            "qr_svg": f"{page}/qr.svg",
            "qr_png": f"{page}/qr.png",
            "pdf": f"{page}/ticket.pdf",
        },
    }
    assert (told["event"]["title"], told["event"]["start_time"]) == (event.title, "2035-06-02T18:00:00+03:00")
    with make.app.app_context():
        facts = ticket_token.verify(told["token"], ticket_keys.public_keys(event.id))
    assert (facts.ticket_id, facts.rotation) == (ticket.id, 1)


def test_a_code_is_found_however_it_is_typed(client: FlaskClient, as_buyer: dict[str, str], ticket: Ticket) -> None:
    plain = ticket.code.replace("-", "")
    for typed in (
        ticket.code,
        plain,
        plain.lower(),
        plain.replace("0", "O").replace("1", "l"),
        plain[:5] + "-" + plain[5:],
    ):
        assert client.get(f"/tickets/{typed}", headers=as_buyer).json["ticket_code"] == ticket.code


@pytest.mark.parametrize("below", ["", *(f"/{name}" for name in FILES)])
def test_a_code_opens_nothing_to_anybody_else(
    client: FlaskClient, make: Maker, ticket: Ticket, event: Event, below: str
) -> None:
    with make.app.app_context():
        organizer = db.session.get_one(User, event.organizer_id)
    for stranger in (organizer, make.admin(), make.attendee()):
        answer = client.get(f"/tickets/{ticket.code}{below}", headers=make.headers(stranger))
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert client.get(f"/tickets/{ticket.code}{below}").status_code == 401
    assert make.rows(TicketKey) == []


@pytest.mark.parametrize("code", ["0000-0000-0000", "000000000000", "----------------", "check-check1", "0" * 20])
def test_a_code_that_no_ticket_has_is_404(client: FlaskClient, as_buyer: dict[str, str], code: str) -> None:
    assert client.get(f"/tickets/{code}", headers=as_buyer).status_code == 404


def test_my_tickets_name_the_page_of_each(
    client: FlaskClient, make: Maker, as_buyer: dict[str, str], look: Look
) -> None:
    [listed] = client.get("/my-tickets", headers=as_buyer).json
    assert listed["page_url"] == look().json["links"]["page"]
    assert "rotation" not in listed


# ── Codes and sheets ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["login", "page"])
def fetch(request: pytest.FixtureRequest, client: FlaskClient, make: Maker, look: Look, ticket: Ticket) -> Look:
    """A file of the ticket, by both ways to it."""
    if request.param == "login":
        return look
    return lambda below: client.get(page_of(make, ticket) + below)


def test_the_picture_of_the_code_holds_the_token(look: Look, fetch: Look) -> None:
    answer = fetch("/qr.png")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert scan(answer.data) == look().json["token"]
    picture = Image.open(io.BytesIO(answer.data)).convert("L")
    # 41 dots of version 6 and four of white on each side, ten pixels each.
    assert picture.size == (490, 490)
    assert picture.crop((0, 0, 490, 40)).getextrema() == picture.crop((0, 0, 40, 490)).getextrema() == (255, 255)


def test_the_drawing_of_the_code_has_the_same_dots_on_white(look: Look, fetch: Look) -> None:
    answer = fetch("/qr.svg")
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")
    assert 'viewBox="0 0 49 49"' in answer.text
    assert scan(draw(answer.text)) == look().json["token"]


def test_the_pdf_says_it_all_and_its_code_can_be_scanned(look: Look, fetch: Look, ticket: Ticket) -> None:
    answer = fetch("/ticket.pdf")
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.headers["Content-Disposition"].startswith(f'inline; filename="Nairobi Jazz Night {ticket.code}.pdf"')
    [(picture, words)] = read_pdf(answer.data)
    assert scan(picture) == look().json["token"]
    for said in (
        "Nairobi Jazz Night",
        "Alchemist, Nairobi",
        "Saturday, 2 June 2035",
        "18:00 to 22:00 (Nairobi)",
        "Wanjikũ Mwangi",
        "VIP",
        ticket.code,
        "Refunds are up to the organizer, until Saturday, 2 June 2035, 18:00.",
    ):
        assert said in words.replace("\r\n", "\n"), words
    assert b"https://www.google.com/maps/search/" in answer.data


def test_the_code_of_the_pdf_lets_its_holder_in_at_the_gate(
    client: FlaskClient, make: Maker, fetch: Look, event: Event, ticket: Ticket
) -> None:
    [(picture, _)] = read_pdf(fetch("/ticket.pdf").data)
    with make.app.app_context():
        organizer = db.session.get_one(User, event.organizer_id)
    sent = {"event_id": event.id, "token": scan(picture), "nonce": new_nonce()}
    with clock.set_to(event.starts_at):
        [told] = client.post(SCANS, json=sent, headers=make.headers(organizer)).json["results"]
    assert (told["result"], told["ticket_id"], told["holder"]) == ("ok", ticket.id, "Wanjikũ Mwangi")
    assert client.get("/tickets/check", query_string={"code": ticket.code}).json["status"] == "used"


def test_names_of_every_kind_make_a_sheet(client: FlaskClient, make: Maker) -> None:
    long = "The Great Lakes Festival of Music, Poetry, Dance and Food " * 3 + "🎷👩🏾‍🎤"
    for first, last, title in (
        ("محمد", "الأمين", "مهرجان نيروبي 2026"),
        ("Ngũgĩ", "wa Thiong\u2019o", "Ũhoro wa Mũgĩkũyũ"),
        ("北京", "ዳንኤል", "🎷🎷🎷"),
        ("W" * 80, "I" * 80, long[:200]),
        ("שרה", "Å\u0301ström", "a\u200fb\u202ec"),
    ):
        person = make.attendee(first_name=first, last_name=last)
        ticket_type = make.ticket_type(make.event(title=title, location="Ũ" * 150))
        [ticket] = make.paid_order(person, ticket_type).tickets
        answer = client.get(f"/tickets/{ticket.code}/ticket.pdf", headers=make.headers(person))
        assert answer.status_code == 200, title
        [(picture, words)] = read_pdf(answer.data)
        assert scan(picture)
        assert ticket.code in words


def test_an_order_is_one_file_with_a_page_for_each_ticket_that_is_good(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str]
) -> None:
    order = make.paid_order(buyer, quantity=4)
    tickets = make.tickets()
    use(make, tickets[1])
    give_back(make, tickets[2])
    answer = client.get(f"/orders/{order.id}/tickets.pdf", headers=as_buyer)
    assert answer.headers["Content-Disposition"].startswith(
        f'inline; filename="Nairobi Jazz Night {order.reference}.pdf"'
    )
    pages = read_pdf(answer.data)
    facts = [ticket_token.read(scan(picture)) for picture, _ in pages]
    assert [one.ticket_id for one in facts] == [tickets[0].id, tickets[1].id, tickets[3].id]
    assert all(ticket.code in words for ticket, (_, words) in zip([*tickets[:2], tickets[3]], pages, strict=True))


def test_an_order_without_a_good_ticket_has_no_file(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str], ticket: Ticket
) -> None:
    unpaid, _ = make.order(buyer, make.on_sale(price=700))
    assert client.get(f"/orders/{unpaid.id}/tickets.pdf", headers=as_buyer).json["code"] == "no_tickets"
    give_back(make, ticket)
    assert client.get(f"/orders/{ticket.order_id}/tickets.pdf", headers=as_buyer).json["code"] == "ticket_void"


def test_an_order_of_very_many_tickets_is_refused_before_anything_is_drawn(
    client: FlaskClient, make: Maker, buyer: User, as_buyer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "MOST_SHEETS", 2)
    order = make.paid_order(buyer, quantity=3)
    answer = client.get(f"/orders/{order.id}/tickets.pdf", headers=as_buyer)
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_tickets")


def test_an_order_of_ten_costs_as_many_statements_as_one_of_one(client: FlaskClient, make: Maker) -> None:
    costs = []
    for count in (1, 10):
        person = make.attendee()
        order = make.paid_order(person, quantity=count)
        headers = make.headers(person)
        client.get(f"/orders/{order.id}/tickets.pdf", headers=headers)  # makes the event's key
        with recorded(make) as statements:
            assert client.get(f"/orders/{order.id}/tickets.pdf", headers=headers).status_code == 200
        costs.append(len(statements))
    assert costs[0] == costs[1] <= 5


# ── What is not good any more ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("end", "code"), [(give_back, "ticket_void"), (cancel, "event_cancelled")])
def test_what_lets_nobody_in_says_so_and_has_neither_code_nor_sheet(
    client: FlaskClient, make: Maker, look: Look, ticket: Ticket, end: Callable[..., None], code: str
) -> None:
    page = page_of(make, ticket)
    end(make, ticket)
    told = look().json
    assert (told["status"], told["token"]) == (code.removeprefix("ticket_"), None)
    for name in FILES:
        for answer in (look(f"/{name}"), client.get(f"{page}/{name}")):
            assert (answer.status_code, answer.json["code"]) == (409, code)
    shown = client.get(page)
    assert shown.status_code == 200
    assert "<svg" not in shown.text
    assert "ticket.pdf" not in shown.text
    assert ("is cancelled" if code == "event_cancelled" else "Not valid any more") in shown.text


def test_a_used_ticket_says_since_when_and_keeps_its_code(
    client: FlaskClient, make: Maker, look: Look, ticket: Ticket
) -> None:
    use(make, ticket)
    assert look().json["status"] == "used"
    since = next(one for one in make.tickets() if one.id == ticket.id).checked_in_at
    assert since is not None
    shown = client.get(page_of(make, ticket)).text
    assert f"since {since.astimezone(NAIROBI):%H:%M}" in shown
    assert "<svg" in shown


def test_a_ticket_that_was_issued_anew_ends_its_address_and_shows_no_holder(
    client: FlaskClient, make: Maker, look: Look, ticket: Ticket
) -> None:
    old = page_of(make, ticket)
    before = look().json
    change(make, ticket, rotation=2, first_name="Otieno", last_name="Ouma")
    for name in FILES:
        answer = client.get(f"{old}/{name}")
        assert (answer.status_code, answer.json["code"]) == (409, "ticket_superseded")
    shown = client.get(old)
    assert shown.status_code == 200
    assert "Replaced" in shown.text
    for hidden in ("Otieno", "Ouma", ticket.code, "<svg", "VIP"):
        assert hidden not in shown.text
    after = look().json
    assert urlsplit(after["links"]["page"]).path == page_of(make, ticket, rotation=2) != old
    assert ticket_token.read(after["token"]).rotation == ticket_token.read(before["token"]).rotation + 1
    assert "Otieno Ouma" in client.get(page_of(make, ticket, rotation=2)).text
