"""What a page of the dashboard and its charts show, as a test can see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def visit(page: Page, address: str) -> None:
    """Opens a page anew, and waits until it shows all that there is."""
    page.goto("about:blank")
    page.goto(address)
    page.locator("main:not([aria-busy]):visible").wait_for()


def figure(page: Page, title: str) -> Locator:
    """The chart of this very title."""
    return page.get_by_role("figure", name=title, exact=True)


def headings(chart: Locator) -> list[str]:
    """Of the columns of its table: its x, and what each of its curves is called."""
    details = chart.locator("details")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    details.get_by_role("columnheader").first.wait_for()
    return details.get_by_role("columnheader").all_text_contents()


def rows(chart: Locator) -> list[list[str]]:
    """The cells of its table."""
    headings(chart)
    found: list[list[str]] = chart.locator("tbody").evaluate(
        "body => [...body.rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return found


def painted(chart: Locator) -> float:
    """The share of its field that curves cover."""
    share: float = chart.locator("canvas").evaluate(
        """canvas => {
          const {width, height} = canvas;
          const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
          let covered = 0;
          for (let at = 3; at < data.length; at += 4) covered += data[at] > 0;
          return covered / (width * height);
        }"""
    )
    return share


def ticks(chart: Locator) -> list[float]:
    """The numbers beside its vertical axis."""
    texts = chart.locator("svg").first.locator("text[text-anchor=end]").all_text_contents()
    return [float(text) for text in texts]
