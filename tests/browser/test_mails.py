"""E-mails and the page that ends them, on a phone, in light and in dark."""

from __future__ import annotations

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect

from models import Notification, NotificationKind, User
from services import letters
from tests.mailed import account_facts
from tests.support import Maker
from tests.test_mail import EVENT, FACTS
from tests.test_preferences import address

pytestmark = pytest.mark.browser

#: The least difference between a text and what it stands on, in words of all sizes (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const light = (css) => {
    const [r, g, b] = css.match(/[0-9.]+/g).slice(0, 3).map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const css = getComputedStyle(one).backgroundColor;
      if (css !== "rgba(0, 0, 0, 0)") return css;
    }
    return "rgb(255, 255, 255)";
  };
  let least = 21;
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim())) continue;
    if (!node.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    least = Math.min(least, (a + 0.05) / (b + 0.05));
  }
  return least;
}"""
LONG = EVENT | {"title": "A" * 120, "location": "https://" + "b" * 200}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", NotificationKind, ids=lambda kind: kind.value)
def test_every_e_mail_fits_a_phone_and_can_be_read(
    app: Flask, browser: Browser, kind: NotificationKind, scheme: str
) -> None:
    for event in (EVENT, LONG):
        facts = {"first_name": "Njeri"} | FACTS | account_facts(app) | {"event": event}
        message = Notification(kind=kind, facts=facts, user_id=1)
        with app.app_context():
            html = letters.render(message).html
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.set_content(html)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate(CONTRAST) >= 4.5
        assert asked == []
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_of_the_page_ends_these_e_mails(app: Flask, browser: Browser, make: Maker, scheme: str) -> None:
    user = make.attendee()
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(app.extensions["settings"].PUBLIC_URL + address(app, user))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CONTRAST) >= 4.5
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text("You will not get these any more")
    assert make.rows(User)[0].muted_notifications == ["event_reminder"]
    # A browser asks for an icon by itself, and this page is not to have any.
    assert [one for one in complaints if "favicon" not in one and "404" not in one] == []
    page.close()
