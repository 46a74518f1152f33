"""The page that scans, on phones whose cameras play films of tickets, with a network and without one."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

import config
from models import Scan, Ticket
from resources import gate_page
from services import manifests
from tests.browser.chromium import FLAGS, find
from tests.browser.conftest import listen
from tests.browser.film import Scene, flags, shoot
from tests.gates import Gate
from tests.support import Maker
from tests.test_ticket_token import KEY, VECTORS
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

#: Longer than a ticket has to be out of sight to be another scan.
AWAY = 5.0


@pytest.fixture
def gate(client: FlaskClient, make: Maker) -> Gate:
    return Gate(client, make, title="Lamu Dhow Night")


class Phone:
    """A phone at a gate, with the page open."""

    def __init__(self, context: BrowserContext, link: str, complaints: list[str]) -> None:
        self.context, self.page = context, context.new_page()
        self.page.set_default_timeout(20_000)
        listen(self.page, complaints)
        self.page.goto(link)

    def load(self) -> None:
        """All that it takes to do without a network. Cut before that, it would never have it."""
        expect(self.page.locator("#tickets")).to_contain_text("without a network too")
        self.page.evaluate("navigator.serviceWorker.ready.then(() => 0)")

    def start(self) -> Phone:
        self.load()
        self.page.get_by_role("button", name="Start").click()
        return self

    def type(self, code: str) -> None:
        self.page.get_by_role("button", name="Type a code").click()
        self.page.get_by_label("The code below the QR code").fill(code)
        self.page.get_by_role("button", name="Check").click()

    def shows(self, word: str, *texts: str) -> None:
        result = self.page.get_by_role("dialog", name=word, exact=True)
        expect(result).to_be_visible()
        for text in texts:
            expect(result).to_contain_text(text)

    def next(self) -> None:
        self.page.get_by_role("button", name="Next").click()

    def cut(self) -> None:
        self.context.set_offline(True)

    def reconnect(self) -> None:
        self.context.set_offline(False)

    def is_told(self, text: str) -> None:
        expect(self.page.locator("#network")).to_have_text(text)


@pytest.fixture
def link(settings: config.Settings, gate: Gate) -> str:
    return link_of(settings, gate.a_pass())


def link_of(settings: config.Settings, headers: dict[str, str]) -> str:
    return f"{settings.PUBLIC_URL}/gate#{headers['Authorization'].removeprefix('Gate ')}"


LOOK: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True}


@pytest.fixture
def open_phone(browser: Browser, link: str, complaints: list[str]) -> Iterator[Callable[..., Phone]]:
    """Phones without a camera, to type at."""
    contexts: list[BrowserContext] = []

    def open_one(address: str = link, **look: Any) -> Phone:
        contexts.append(browser.new_context(**LOOK | look))
        return Phone(contexts[-1], address, complaints)

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def film_phone(
    driver: Playwright, link: str, tmp_path: Path, complaints: list[str]
) -> Iterator[Callable[[Sequence[Scene]], Phone]]:
    """Phones whose cameras see what they are given."""
    browsers: list[Browser] = []

    def open_one(scenes: Sequence[Scene]) -> Phone:
        film = shoot(tmp_path / f"{len(browsers)}.y4m", scenes)
        browsers.append(driver.chromium.launch(executable_path=find(), headless=True, args=[*FLAGS, *flags(film)]))
        return Phone(browsers[-1].new_context(**LOOK, permissions=["camera"]), link, complaints)

    yield open_one
    for one in browsers:
        one.close()


def scans_of(make: Maker) -> list[str]:
    return [one.result.value for one in make.rows(Scan)]


def is_in(make: Maker, ticket: Ticket) -> bool:
    return next(one for one in make.tickets() if one.id == ticket.id).is_checked_in


# ── The camera ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ticket_before_the_camera_is_let_in_once_and_another_time_it_was_in_already(
    gate: Gate, make: Maker, film_phone: Callable[..., Phone], complaints: list[str]
) -> None:
    [ticket] = gate.tickets()
    phone = film_phone([(gate.token(ticket), 3.0), (None, AWAY)]).start()
    phone.shows("Let in", "Akinyi Oduor", "VIP", "may go in")
    assert is_in(make, ticket)
    phone.shows("Already in", "Akinyi Oduor was in already, since")
    # Some fifty pictures were read by then.
    assert scans_of(make) == ["ok", "already_in"]
    assert complaints == []


def test_a_forged_ticket_is_red_and_the_next_ticket_is_let_in_at_once(
    gate: Gate, make: Maker, film_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    token = gate.token(ticket)
    forged = token[:-5] + ("AAAAA" if token[-5:] != "AAAAA" else "QAAAA")
    phone = film_phone([(forged, 2.0), (token, 2.0), (None, AWAY)]).start()
    phone.shows("Forged", "forged or damaged")
    phone.shows("Let in", "Akinyi Oduor")
    assert scans_of(make)[:2] == ["bad_signature", "ok"]


def test_what_is_no_ticket_at_all_is_red(gate: Gate, film_phone: Callable[..., Phone]) -> None:
    phone = film_phone([("https://example.com/menu", 2.0)]).start()
    phone.shows("No ticket", "no ticket of this event")


def test_without_a_network_it_still_lets_in_and_tells_the_server_later(
    gate: Gate, make: Maker, film_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    token = gate.token(ticket)
    forged = token[:-5] + ("AAAAA" if token[-5:] != "AAAAA" else "QAAAA")
    phone = film_phone([(forged, 2.0), (token, 2.0), (None, AWAY)])
    phone.load()
    phone.cut()
    phone.start()
    phone.shows("Forged", "Checked without network")
    phone.shows("Let in", "VIP", "Checked without network")
    phone.is_told("No network · 2 to send")
    assert scans_of(make) == []
    phone.shows("Already in", "First in:")
    phone.reconnect()
    phone.is_told("Online")
    wait_until(lambda: is_in(make, ticket))
    [entry] = [one for one in make.rows(Scan) if one.result.value == "ok"]
    assert entry.received_at > entry.scanned_at
    assert "bad_signature" in scans_of(make)
    expect(phone.page.locator("#look")).to_be_hidden()


def test_undo_is_not_undone_by_the_ticket_that_is_still_before_the_camera(
    gate: Gate, make: Maker, film_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    phone = film_phone([(gate.token(ticket), 10.0)]).start()
    phone.shows("Let in")
    phone.page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(phone.page.locator("#last")).to_contain_text("Taken back: Akinyi Oduor")
    wait_until(lambda: not is_in(make, ticket))
    look_at(phone, "light", "camera")
    # The film begins anew: more than three seconds of it went by.
    seconds = phone.page.locator("#video").evaluate("(video) => video.currentTime")
    wait_until(lambda: phone.page.locator("#video").evaluate("(video) => video.currentTime") > seconds + 4)
    assert scans_of(make) == ["ok", "undone"]


# ── Typed codes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_typed_codes_are_looked_up_with_a_network_and_without(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    first, second = gate.tickets(2)
    phone = open_phone().start()
    phone.type(first.code.lower().replace("-", " "))
    phone.shows("Let in", "Akinyi Oduor")
    phone.next()
    phone.cut()
    phone.type(second.code.replace("-", ""))
    phone.shows("Let in", "Checked without network")
    phone.next()
    phone.type(first.code)
    phone.shows("Already in", "Checked without network")
    phone.next()
    phone.type("TK7P-4M2Q-9XWD")
    phone.shows("No ticket")
    phone.next()
    phone.is_told("No network · 3 to send")
    phone.reconnect()
    phone.is_told("Online")
    assert sorted(scans_of(make)) == ["already_in", "ok", "ok", "unknown"]


def test_a_ticket_sold_since_is_let_in_by_its_code_only_where_somebody_can_be_asked(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    phone = open_phone().start()
    phone.cut()
    [ticket] = gate.tickets()
    phone.type(ticket.code)
    phone.shows("No ticket", "Checked without network")
    phone.next()
    phone.reconnect()
    phone.is_told("Online")
    # Nobody went in with it, so the server takes it back at once, and a person is told.
    assert scans_of(make) == ["ok", "undone"]
    assert not is_in(make, ticket)
    phone.page.get_by_role("button", name="1 scan to look at").click()
    expect(phone.page.get_by_role("dialog", name="To look at")).to_contain_text("Refused without network, and good")
    phone.page.get_by_role("button", name="Done").click()
    expect(phone.page.locator("#look")).to_be_hidden()
    phone.type(ticket.code)
    phone.shows("Let in")


def test_a_reader_that_types_what_it_reads_is_understood(gate: Gate, open_phone: Callable[..., Phone]) -> None:
    [ticket] = gate.tickets()
    phone = open_phone().start()
    phone.type(gate.token(ticket))
    phone.shows("Let in", "Akinyi Oduor")


def test_a_ticket_that_was_issued_anew_is_let_in_as_the_new_one_alone(
    gate: Gate, link: str, open_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    old_token, old_code = gate.token(ticket), "TK7P-4M2Q-9XWD"

    def issue_anew(route: Any) -> None:
        told = route.fetch().json()
        told["tickets"] = [[row[0], 2, *row[2:]] for row in told["tickets"]]
        told["superseded"] = [[ticket.id, manifests.hash_code(gate.event.id, old_code)]]
        route.fulfill(json=told)

    phone = open_phone("about:blank")
    phone.page.route("**/checkin/manifest*", issue_anew)
    phone.page.goto(link)
    phone.start()
    phone.cut()
    for older in (old_token, old_code):
        phone.type(older)
        phone.shows("Replaced", "Checked without network")
        phone.next()
    phone.type(ticket.code)
    phone.shows("Let in", "Checked without network")


# ── Two phones, a lost answer, a reload ───────────────────────────────────────────────────────────────────────────


def test_two_phones_without_a_network_let_the_same_ticket_in_and_one_is_told(
    settings: config.Settings, gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    phones = [open_phone().start(), open_phone(link_of(settings, gate.a_pass())).start()]
    for phone in phones:
        phone.cut()
        phone.type(ticket.code)
        phone.shows("Let in", "Checked without network")
        phone.next()
    for phone in phones:
        phone.reconnect()
        phone.is_told("Online")
    assert [(one.result.value, one.is_conflict) for one in make.rows(Scan)] == [("ok", False), ("already_in", True)]
    expect(phones[0].page.locator("#look")).to_be_hidden()
    phones[1].page.reload()
    phones[1].start()
    phones[1].page.get_by_role("button", name="1 scan to look at").click()
    told = phones[1].page.get_by_role("dialog", name="To look at")
    expect(told).to_contain_text("Already in, and let in here without network")
    expect(told).to_contain_text("Akinyi Oduor was in already")


def test_a_reload_without_a_network_opens_the_page_and_keeps_what_waits(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    first, second = gate.tickets(2)
    phone = open_phone().start()
    phone.cut()
    phone.type(first.code)
    phone.shows("Let in")
    phone.page.reload()
    phone.is_told("No network · 1 to send")
    phone.start()
    phone.type(first.code)
    phone.shows("Already in", "First in:")
    phone.next()
    phone.type(second.code)
    phone.shows("Let in")
    phone.next()
    phone.is_told("No network · 3 to send")
    phone.reconnect()
    phone.is_told("Online")
    assert scans_of(make) == ["ok", "already_in", "ok"]


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_name(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    phone = open_phone().start()

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    phone.page.route("**/checkin/scans", lose, times=1)
    phone.type(ticket.code)
    phone.shows("Let in", "Checked without network")
    phone.next()
    phone.is_told("Online")
    assert scans_of(make) == ["ok"]
    expect(phone.page.locator("#look")).to_be_hidden()


def test_a_server_that_does_not_answer_in_time_is_not_waited_for(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    first, second = gate.tickets(2)
    phone = open_phone().start()
    phone.page.route("**/checkin/**", lambda route: None)  # never
    phone.type(first.code)
    phone.shows("Let in", "Checked without network")
    phone.next()
    phone.type(second.code)  # and not even asked again
    result = phone.page.get_by_role("dialog", name="Let in", exact=True)
    expect(result).to_be_visible(timeout=1_500)
    phone.page.unroute_all(behavior="ignoreErrors")


# ── Undo, out and in again ────────────────────────────────────────────────────────────────────────────────────────


def test_the_last_scan_is_taken_back_with_a_network_and_without(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    first, second = gate.tickets(2)
    phone = open_phone().start()
    phone.type(first.code)
    phone.shows("Let in")
    phone.page.get_by_role("dialog").get_by_role("button", name="Undo").click()
    expect(phone.page.locator("#last")).to_contain_text("Taken back: Akinyi Oduor")
    wait_until(lambda: not is_in(make, first))
    phone.cut()
    for _ in range(2):
        phone.type(second.code)
        phone.shows("Let in", "Checked without network")
        phone.next()
        phone.page.locator("#last-undo").click()
    phone.type(second.code)
    phone.shows("Let in")
    phone.next()
    phone.reconnect()
    phone.is_told("Online")
    assert scans_of(make) == ["ok", "undone", *["ok", "undone"] * 2, "ok"]
    assert is_in(make, second)
    expect(phone.page.locator("#look")).to_be_hidden()


def test_who_goes_out_may_come_in_again_where_the_event_allows_it(
    client: FlaskClient, make: Maker, settings: config.Settings, open_phone: Callable[..., Phone]
) -> None:
    gate = Gate(client, make, allows_reentry=True)
    [ticket] = gate.tickets()
    phone = open_phone(link_of(settings, gate.a_pass())).start()
    way = phone.page.get_by_role("group", name="Which way")
    for direction, word in [("Out", "Not in yet"), ("In", "Let in"), ("Out", "Let out"), ("In", "Let in")]:
        way.get_by_role("button", name=direction, exact=True).click()
        phone.type(ticket.code)
        phone.shows(word)
        phone.next()
    phone.cut()
    for direction, word in [("Out", "Let out"), ("Out", "Already out"), ("In", "Let in"), ("In", "Already in")]:
        way.get_by_role("button", name=direction, exact=True).click()
        phone.type(ticket.code)
        phone.shows(word, "Checked without network")
        phone.next()


# ── Passes and counts ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pass_that_is_taken_back_ends_the_page_which_keeps_what_it_must_still_tell(
    settings: config.Settings, gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    [first] = gate.tickets()
    phone = open_phone().start()
    phone.cut()
    phone.type(first.code)
    phone.shows("Let in")
    phone.next()
    [listed] = gate.client.get(f"/organizer/events/{gate.event.id}/gate-passes", headers=gate.headers).json
    gate.client.delete(f"/organizer/events/{gate.event.id}/gate-passes/{listed['id']}", headers=gate.headers)
    phone.reconnect()
    expect(phone.page.locator("#ended")).to_contain_text("has been taken back")
    expect(phone.page.locator("#untold")).to_contain_text("1 scan waits to be sent")
    kept = phone.page.evaluate(KEPT)
    assert (kept["tickets"], kept["queue"]) == (0, 1)
    assert set(kept["facts"]) <= {"device", "muted", "camera"}
    phone.page.get_by_label("Link of the gate pass").fill(link_of(settings, gate.a_pass()))
    phone.page.get_by_role("button", name="Open").click()
    phone.is_told("Online")
    wait_until(lambda: is_in(make, first))


#: How much the page keeps, and the names of its facts.
KEPT = """async () => {
  const { all, get } = await import("./gate/assets/store.js");
  const { openDB } = await import("./gate/assets/idb.js");
  const db = await openDB("ticksy-gate");
  const facts = await db.getAllKeys("facts");
  db.close();
  return { facts, tickets: (await all("tickets")).length, queue: (await all("queue")).length };
}"""


def test_a_newer_version_is_there_the_next_time(
    gate: Gate, open_phone: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    phone = open_phone().start()
    [before] = phone.page.evaluate("caches.keys()")
    newer = tmp_path / "words.js"
    newer.write_text(gate_page._ASSETS["words.js"].read_text().replace("No ticket", "Nothing at all"))
    monkeypatch.setitem(gate_page._ASSETS, "words.js", newer)
    gate_page._worker.cache_clear()
    try:
        phone.page.reload()  # shows what it has, and looks for something newer
        wait_until(lambda: before not in phone.page.evaluate("caches.keys()"))
    finally:
        gate_page._worker.cache_clear()
    phone.page.reload()
    phone.start()
    phone.cut()
    phone.type("nonsense")
    phone.shows("Nothing at all", "Checked without network")


def test_the_secret_leaves_the_address_bar_and_opens_the_page_next_time(
    settings: config.Settings, open_phone: Callable[..., Phone]
) -> None:
    phone = open_phone()
    expect(phone.page.locator("#pass-name")).to_have_text("Juma")
    assert phone.page.url == f"{settings.PUBLIC_URL}/gate"
    phone.page.reload()
    expect(phone.page.locator("#pass-name")).to_have_text("Juma")
    expect(phone.page.get_by_role("heading", level=1)).to_have_text("Lamu Dhow Night")


def test_without_a_pass_the_page_asks_for_one(settings: config.Settings, open_phone: Callable[..., Phone]) -> None:
    phone = open_phone(f"{settings.PUBLIC_URL}/gate")
    expect(phone.page.get_by_role("heading", name="Open a gate pass")).to_be_visible()
    phone.page.get_by_label("Link of the gate pass").fill("https://example.com")
    phone.page.get_by_role("button", name="Open").click()
    expect(phone.page.get_by_text("This is no link of a gate pass.")).to_be_visible()


def test_a_pass_for_several_gates_asks_which_one_this_is(
    settings: config.Settings, gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    [ticket] = gate.tickets()
    phone = open_phone(link_of(settings, gate.a_pass(gates=["North", "South"])))
    phone.page.get_by_label("Which gate is this?", exact=True).select_option("South")
    phone.start()
    phone.type(ticket.code)
    phone.shows("Let in")
    assert [one.gate for one in make.rows(Scan)] == ["South"]


def test_counts_are_shown_by_type_with_a_network_and_without(
    gate: Gate, make: Maker, open_phone: Callable[..., Phone]
) -> None:
    first, second, _ = gate.tickets(3)
    phone = open_phone().start()
    gate.scan(first)

    def shows(*numbers: int) -> None:
        phone.page.get_by_role("button", name="Counts").click()
        row = phone.page.get_by_role("dialog", name="Who is in").get_by_role("row", name="VIP")
        expect(row).to_have_text("VIP" + "".join(map(str, numbers)))
        phone.page.get_by_role("dialog", name="Who is in").get_by_role("button", name="Back").click()

    shows(1, 1, 3)
    phone.type(first.code)
    phone.shows("Already in")
    phone.next()
    phone.cut()
    phone.type(second.code)
    phone.shows("Let in")
    phone.next()
    shows(2, 2, 3)


# ── Everybody's hands and eyes ────────────────────────────────────────────────────────────────────────────────────


def test_all_of_it_works_with_a_keyboard_alone(gate: Gate, make: Maker, open_phone: Callable[..., Phone]) -> None:
    [ticket] = gate.tickets()
    phone = open_phone()
    expect(phone.page.locator("#tickets")).to_contain_text("without a network too")

    def go_to(name: str) -> None:
        for _ in range(30):
            phone.page.keyboard.press("Tab")
            focused = phone.page.evaluate("document.activeElement.textContent.trim()")
            if focused == name:
                return
        raise AssertionError(f"{name} cannot be reached")

    go_to("Start")
    phone.page.keyboard.press("Enter")
    go_to("Type a code")
    phone.page.keyboard.press("Enter")
    phone.page.keyboard.type(ticket.code)
    phone.page.keyboard.press("Enter")
    phone.shows("Let in")
    assert phone.page.evaluate("document.activeElement.id") == "result-next"
    phone.page.keyboard.press("Enter")
    expect(phone.page.get_by_role("dialog")).to_have_count(0)
    go_to("Undo")
    phone.page.keyboard.press("Enter")
    expect(phone.page.locator("#last")).to_contain_text("Taken back")
    wait_until(lambda: not is_in(make, ticket))


@pytest.mark.parametrize("look", ["light", "dark"])
def test_nothing_is_wider_than_the_screen_and_all_of_it_can_be_read(
    gate: Gate, open_phone: Callable[..., Phone], look: str
) -> None:
    first, second = gate.tickets(2)
    phone = open_phone(color_scheme=look)
    expect(phone.page.locator("#tickets")).to_contain_text("without a network too")
    look_at(phone, look, "ready")
    phone.start()
    look_at(phone, look, "scanning")
    phone.type(first.code)
    phone.shows("Let in")
    look_at(phone, look, "ok")
    phone.next()
    look_at(phone, look, "after-ok")
    phone.type(first.code)
    phone.shows("Already in")
    look_at(phone, look, "already-in")
    phone.next()
    token = gate.token(first)
    phone.type(token[:60] + "ABC" + token[63:])
    phone.shows("Forged")
    look_at(phone, look, "forged")
    phone.next()
    phone.cut()
    phone.type(second.code)
    phone.shows("Let in", "Checked without network")
    look_at(phone, look, "ok-offline")
    phone.next()
    gate.scan(second)
    look_at(phone, look, "pending")
    phone.page.get_by_role("button", name="Counts").click()
    look_at(phone, look, "counts")
    phone.page.get_by_role("dialog").get_by_role("button", name="Back").click()
    phone.reconnect()
    phone.page.get_by_role("button", name="1 scan to look at").click()
    look_at(phone, look, "conflicts")
    phone.page.get_by_role("dialog").get_by_role("button", name="Back").click()
    phone.page.get_by_role("button", name="Type a code").click()
    look_at(phone, look, "typing")


#: Texts whose colour stands out too little from what is behind them (WCAG 2.2, AA: 4.5, or 3 for large letters).
PALE = """() => {
  const read = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = read(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.checkVisibility() || one.disabled) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(read(style.color)), light(behind(one))].sort((x, y) => y - x);
    const wanted = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < wanted) pale.push(one.id || one.textContent);
  }
  return pale;
}"""


def look_at(phone: Phone, look: str, name: str) -> None:
    """SCREENSHOTS, where it is set, is a folder for pictures for people."""
    if folder := os.environ.get("SCREENSHOTS"):
        phone.page.wait_for_timeout(200)
        phone.page.screenshot(path=Path(folder) / f"{look}-{name}.png")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360, name
    assert phone.page.evaluate(PALE) == [], name


def test_every_control_has_a_name_and_is_big_enough_for_a_thumb(
    client: FlaskClient, make: Maker, settings: config.Settings, open_phone: Callable[..., Phone]
) -> None:
    gate = Gate(client, make, allows_reentry=True)
    phone = open_phone(link_of(settings, gate.a_pass(gates=["North", "South"])))
    phone.page.evaluate("for (const one of document.querySelectorAll('[hidden]')) one.hidden = false")
    faults = phone.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")].filter((one) => {
          const name = one.labels?.[0]?.textContent || one.getAttribute("aria-label") || one.textContent;
          const { height } = one.getBoundingClientRect();
          return !name.trim() && one.id !== "look" || height && height < 48;
        }).map((one) => one.id || one.outerHTML)"""
    )
    assert faults == []


# ── The verifier ──────────────────────────────────────────────────────────────────────────────────────────────────


READ = """async ([token, key]) => {
  const { parseToken, isSigned } = await import("./gate/assets/ticket.js");
  const parsed = parseToken(token);
  if (!parsed) return null;
  const { event, ticket, type, from, until, rotation } = parsed;
  return [event, ticket, type, from, until, rotation, await isSigned(parsed, [key])];
}"""


def test_the_page_reads_tokens_as_the_documents_say(settings: config.Settings, page: Page) -> None:
    page.goto(f"{settings.PUBLIC_URL}/gate")
    key = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    for *facts, token in VECTORS:
        assert page.evaluate(READ, [token, key]) == [*map(int, facts), True]
        for forged in (token[:60] + "ABC" + token[63:], token[:-1] + "A"):
            assert page.evaluate(READ, [forged, key])[-1] is False
        for nothing in (token.lower(), token[:-1], token + "A", token[:-1] + "R"):
            assert page.evaluate(READ, [nothing, key]) is None


def test_the_page_looks_codes_up_as_the_server_does(settings: config.Settings, page: Page) -> None:
    page.goto(f"{settings.PUBLIC_URL}/gate")
    hashed = """async (code) => (await import("./gate/assets/ticket.js")).hashCode(7, code)"""
    for code in ("TK7P-4M2Q-9XWD", "tk7p 4m2q 9xwd", "0OIL-1uvV-abcd"):
        assert page.evaluate(hashed, code) == manifests.hash_code(7, code)
