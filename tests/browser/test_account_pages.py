"""The pages that links in e-mails lead to, on a phone, in light and in dark."""

from __future__ import annotations

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from models import TokenPurpose
from services import one_time
from tests.browser.test_mails import CONTRAST
from tests.support import Maker, mailed_secret

pytestmark = pytest.mark.browser

PAGES = [
    (TokenPurpose.VERIFY_EMAIL, "Thank you"),
    (TokenPurpose.RESET_PASSWORD, "Your new password is set"),
    (TokenPurpose.CHANGE_EMAIL, "Your e-mail address is changed"),
    (TokenPurpose.UNDO_EMAIL_CHANGE, "Your account has its old address back"),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("purpose", "done"), PAGES)
def test_a_link_is_used_by_its_page_once(
    app: Flask, browser: Browser, make: Maker, scheme: str, purpose: TokenPurpose, done: str
) -> None:
    user = make.attendee()
    new = "another@example.co.ke" if purpose is TokenPurpose.CHANGE_EMAIL else None
    secret = mailed_secret(app, user, purpose, new)
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    url = f"{app.extensions['settings'].PUBLIC_URL}{one_time.PAGES[purpose]}/{secret}"
    page.goto(url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CONTRAST) >= 4.5
    if purpose is TokenPurpose.RESET_PASSWORD:
        page.get_by_label("New password").fill("password")
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_have_text("This password is too easy to guess. Please choose another one.")
        assert page.evaluate(CONTRAST) >= 4.5
        page.get_by_label("New password").fill("kahawa-chungu-41")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text(done)
    page.goto(url)
    expect(page.get_by_role("heading")).to_have_text("This link does not work")
    assert page.evaluate(CONTRAST) >= 4.5
    # A browser asks for an icon by itself; what failed on purpose is told as well.
    assert [one for one in complaints if not any(word in one for word in ("favicon", "404", "422"))] == []
    page.close()
