"""Accepting a ticket, and passing it on again, on a phone: in the light and in the dark, without scripts."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import config
from models import NotificationKind
from tests.browser.test_mails import CONTRAST
from tests.passing_on import CHANNELS, Passing, link_in
from tests.support import Maker, changed_settings

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _channels(app: Flask) -> Iterator[None]:
    with changed_settings(app, **CHANNELS):
        yield


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A small screen in one of the two looks. What a page wants to run that its policy forbids is an error."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=request.param)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert complaints == []


def looks_right(page: Page) -> None:
    assert Image.open(io.BytesIO(page.screenshot(full_page=True))).width == 360
    assert page.evaluate(CONTRAST) >= 4.5


def test_a_ticket_is_accepted_and_passed_on_again_by_hand(
    client: FlaskClient, settings: config.Settings, make: Maker, phone: Page
) -> None:
    passing = Passing(client, make, title="W" * 90)
    passing.offer(phone="0711222333")
    phone.goto(settings.PUBLIC_URL + passing.link())
    looks_right(phone)
    phone.get_by_label("Your first name").fill("Kamau")
    phone.get_by_label("Your last name").fill("Njoroge")
    phone.get_by_role("button", name="Accept the ticket").click()
    expect(phone.get_by_role("status")).to_have_text("The ticket is yours now.")
    looks_right(phone)
    phone.get_by_role("link", name="Open my ticket").click()
    expect(phone.get_by_text("Kamau Njoroge")).to_be_visible()
    phone.get_by_role("link", name="Pass it on").click()
    looks_right(phone)
    phone.get_by_label("Their e-mail address").fill("ben@example.co.ke")
    phone.get_by_role("button", name="Send by e-mail").click()
    expect(phone.get_by_role("status")).to_contain_text("on its way")
    phone.get_by_role("button", name="Take it back").click()
    expect(phone.get_by_role("status")).to_contain_text("not on its way")
    phone.get_by_role("button", name="Send me a new ticket").click()
    expect(phone.get_by_role("status")).to_contain_text("254711***333")
    looks_right(phone)
    [message] = passing.sent(NotificationKind.TICKET_REISSUED)
    phone.goto(settings.PUBLIC_URL + link_in(message, make))
    expect(phone.get_by_text("Kamau Njoroge")).to_be_visible()
