"""A ticket on a phone, in the light and in the dark, scanned off the screen."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import config
from models import Ticket
from services import ticket_keys
from tests.held_tickets import evening, page_of, scan
from tests.support import Maker
from utils import ticket_token

pytestmark = pytest.mark.browser


@pytest.fixture
def ticket(make: Maker) -> Ticket:
    holder = make.attendee(first_name="Wanjikũ", last_name="Mwangi")
    [ticket] = make.paid_order(holder, make.ticket_type(evening(make), name="VIP")).tickets
    return ticket


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A small screen in one of the two looks, whose owner lets no page run anything."""
    context = browser.new_context(
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        color_scheme=request.param,
        java_script_enabled=False,
    )
    page = context.new_page()
    yield page
    context.close()


def test_the_code_is_scanned_off_the_first_screen(
    settings: config.Settings, make: Maker, phone: Page, ticket: Ticket
) -> None:
    asked: list[str] = []
    phone.on("request", lambda request: asked.append(request.url))
    phone.goto(settings.PUBLIC_URL + page_of(make, ticket))
    screen = Image.open(io.BytesIO(phone.screenshot()))
    with make.app.app_context():
        keys = ticket_keys.public_keys(ticket.ticket_type.event_id)
    assert ticket_token.verify(scan(screen), keys).ticket_id == ticket.id
    assert asked == [phone.url]


def test_nothing_is_wider_than_the_screen(settings: config.Settings, make: Maker, phone: Page) -> None:
    event = make.event(title="W" * 150, location="https://" + "x" * 150)
    holder = make.attendee(first_name="W" * 80, last_name="I" * 80)
    [ticket] = make.paid_order(holder, make.ticket_type(event, name="V" * 60)).tickets
    phone.goto(settings.PUBLIC_URL + page_of(make, ticket))
    # Without scripts the page cannot be asked: a picture of all of it is as wide as its widest part.
    assert Image.open(io.BytesIO(phone.screenshot(full_page=True))).width == 720


def test_its_pdf_is_a_click_away(settings: config.Settings, make: Maker, phone: Page, ticket: Ticket) -> None:
    phone.goto(settings.PUBLIC_URL + page_of(make, ticket))
    link = phone.get_by_role("link", name="PDF").get_attribute("href")
    answer = phone.request.get(f"{settings.PUBLIC_URL}/t/{link}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pdf")
