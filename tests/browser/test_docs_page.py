"""The API's description as people see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

import config
from tests.support import Maker

pytestmark = pytest.mark.browser


def open_operation(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/docs#/{name}")
    expect(page.locator(".opblock").first).to_be_visible()


def scroll_until(page: Page, is_there: Callable[[], bool]) -> None:
    """The page draws what is in sight, and the rest as one comes to it."""
    for _ in range(200):
        if is_there():
            return
        page.mouse.wheel(0, 500)
        page.wait_for_timeout(100)


def test_the_page_shows_every_operation_without_a_complaint(
    app: Flask, settings: config.Settings, page: Page, complaints: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{settings.PUBLIC_URL}/docs")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Ticksy")
    described = app.test_client().get("/openapi.json").json["paths"]
    wanted = sum(len(methods) for methods in described.values())
    seen: set[str | None] = set()

    def sees_all() -> bool:
        seen.update(one.get_attribute("id") for one in page.locator(".opblock").all())
        return len(seen) == wanted

    scroll_until(page, sees_all)
    assert len(seen) == wanted
    assert complaints == []
    assert all(url.startswith((settings.PUBLIC_URL, "data:", "blob:")) for url in asked), asked


def test_an_event_is_read_with_try_it_out(
    settings: config.Settings, make: Maker, page: Page, complaints: list[str]
) -> None:
    make.event(title="Lamu Dhow Night")
    open_operation(page, settings.PUBLIC_URL, "events/getEvents")
    operation = page.locator("#operations-events-getEvents")
    with page.expect_response(lambda answer: "/events" in answer.url) as told:
        operation.get_by_role("button", name="Execute").click()
    assert told.value.status == 200
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text("Lamu Dhow Night")
    assert complaints == []


def test_a_token_given_to_the_page_is_sent(settings: config.Settings, make: Maker, page: Page) -> None:
    organizer = make.organizer()
    page.goto(f"{settings.PUBLIC_URL}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#auth-bearer-value").fill(make.headers(organizer)["Authorization"].removeprefix("Bearer "))
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply").or_(
        page.locator(".auth-btn-wrapper .authorize")
    ).first.click()
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").first.click()
    operation = page.locator("#operations-profile-getProfileMe")
    scroll_until(page, lambda: operation.count() > 0)
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text(organizer.email)
