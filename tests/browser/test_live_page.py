"""A page that follows what is left, as browsers do it: with an EventSource, from the frontend's origin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

import config
from tests import live
from tests.browser.frontend import open_page
from tests.live import Live
from tests.support import Maker
from tests.test_live_availability import environment

pytestmark = pytest.mark.browser

SOON_MS = 1_000
PAGE = """
<p id="left"></p><p id="errors">0</p>
<script>
const source = new EventSource("ADDRESS");
source.onmessage = (event) => {
  document.getElementById("left").textContent = JSON.parse(event.data).ticket_types[0].available;
};
source.onerror = () => { document.getElementById("errors").textContent++; };
</script>
"""


@pytest.fixture(scope="module")
def server(settings: config.Settings) -> Iterator[Live]:
    running = live.start(environment(settings))
    yield running
    running.stop()


def test_a_page_shows_a_sale_within_a_second(server: Live, make: Maker, page: Page, complaints: list[str]) -> None:
    regular = make.on_sale(price=0, quantity=100)
    open_page(page, PAGE.replace("ADDRESS", f"{server.url}/events/{regular.event_id}/availability/stream"))
    left = page.locator("#left")
    expect(left).to_have_text("100")
    for remaining in (98, 96, 94):
        make.order(make.attendee(), regular, quantity=2)
        expect(left).to_have_text(str(remaining), timeout=SOON_MS)
    expect(page.locator("#errors")).to_have_text("0")
    assert complaints == []
