"""The export button: it asks for an address, and opens it as a plain link."""

from __future__ import annotations

import csv
from pathlib import Path

import openpyxl
import pytest
from playwright.sync_api import Page

import config
from tests.browser.frontend import open_page
from tests.support import Maker

pytestmark = pytest.mark.browser

PAGE = """
<button>Export</button>
<script>
document.querySelector("button").onclick = async () => {
  const answer = await fetch(ADDRESS, {
    method: "POST",
    headers: {"Content-Type": "application/json", "Authorization": TOKEN},
    body: JSON.stringify({format: FORMAT}),
  });
  const link = document.createElement("a");
  link.href = (await answer.json()).url;
  document.body.append(link);
  link.click();
};
</script>
"""


def read(path: Path) -> list[list[str]]:
    if path.suffix == ".csv":
        return list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    return [[str(value) for value in row] for row in openpyxl.load_workbook(path).active.values]  # type: ignore[union-attr]


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_clicking_export_downloads_the_file(
    settings: config.Settings, make: Maker, page: Page, complaints: list[str], tmp_path: Path, file_format: str
) -> None:
    organizer = make.organizer()
    regular = make.ticket_type(make.event(organizer), name="Regular", price=700)
    make.paid_order(make.attendee(first_name="Wanjikũ"), regular, quantity=2)
    facts = {
        "ADDRESS": f'"{settings.PUBLIC_URL}/events/{regular.event_id}/attendees/export-link"',
        "TOKEN": f'"{make.headers(organizer)["Authorization"]}"',
        "FORMAT": f'"{file_format}"',
    }
    html = PAGE
    for name, value in facts.items():
        html = html.replace(name, value)
    open_page(page, html)
    with page.expect_download() as started:
        page.get_by_role("button", name="Export").click()
    download = started.value
    assert download.failure() is None
    assert download.suggested_filename.endswith(f".{file_format}")
    saved = tmp_path / download.suggested_filename
    download.save_as(saved)
    header, *rows = read(saved)
    assert [row[header.index("First name")] for row in rows] == ["Wanjikũ"] * 2
    assert {row[header.index("Ticket type")] for row in rows} == {"Regular"}
    assert complaints == []
