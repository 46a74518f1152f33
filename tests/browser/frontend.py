"""Pages as the frontend serves them: from its own origin, with scripts that call the API."""

from __future__ import annotations

from playwright.sync_api import Page, Route

from config import FRONTEND

ORIGIN = FRONTEND[0]


def open_page(page: Page, html: str) -> None:
    """Show `html` as if the frontend had served it; the requests it makes to the API are real."""

    def serve(route: Route) -> None:
        route.fulfill(content_type="text/html; charset=utf-8", body=f"<!doctype html><title>Ticksy</title>{html}")

    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/")
