"""The table of jobs: what it lists, how it is filtered, what it teaches, what a lost line does."""

import re

import pytest

from store import moves, pages
from tests.browser.builders import range_test, training
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import queued

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>"
NAMES = "tbody th a"


def test_an_empty_list_teaches(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    expect(page.locator("#cli")).to_contain_text(f"STEPSIZE_URL={site.url} stepsize range-test")
    body = page.locator("#curl").inner_text().split(" -d ")[1].strip("'")
    json = {"Content-Type": "application/json"}
    assert page.request.post(f"{site.url}/v1/jobs", data=body, headers=json).status == 201
    expect(page.locator(NAMES)).to_have_text(["mlp on digits"])  # it appears by itself
    expect(page.get_by_text("No jobs yet")).to_be_hidden()


def test_jobs_are_listed_newest_first_and_kept_fresh(site: Site, watched: Watch) -> None:
    range_test(site.sessions, name="first", tags={"study": "a"})
    training(site.sessions, iterations=500, finish=False)
    queued(site.sessions, name="last")
    page = watched(site)
    page.goto(site.url)
    expect(page.locator(NAMES)).to_have_text(["last", "mlp on digits", "first"])
    expect(page.locator("tbody .state")).to_have_text(["queued", "running", "succeeded"])
    expect(page.locator(".figure")).to_have_text(["", "loss 0.5359", "lr 0.042 to 0.17"])
    expect(page.locator("tbody tr").last).to_contain_text("study:a")
    expect(
        page.get_by_role("row", name="mlp on digits").get_by_text("25 % of 2,000")
    ).to_be_visible()
    assert page.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 0.25
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, 99, 24).data.some(Boolean)"
    assert [each.evaluate(drawn) for each in page.locator(".spark").all()] == [False, True, True]
    with site.sessions.begin() as tx:
        moves.cancel(tx, pages.find(tx, limit=1)[0].id)
    expect(page.locator("tbody .state").first).to_have_text("cancelled")


def test_filters_are_in_the_address(site: Site, watched: Watch) -> None:
    range_test(site.sessions, name="ramp one", tags={"study": "a"})
    training(site.sessions, iterations=100)
    queued(site.sessions, name="waiting one")
    page = watched(site)
    page.goto(site.url)
    names = page.locator(NAMES)
    expect(names).to_have_count(3)
    page.get_by_label("Kind").select_option("training")
    expect(names).to_have_count(2)
    page.get_by_label("State").select_option("queued")
    expect(names).to_have_text(["waiting one"])
    expect(page).to_have_url(f"{site.url}/#/jobs?kind=training&state=queued")
    page.reload()
    expect(names).to_have_text(["waiting one"])
    expect(page.get_by_label("State")).to_have_value("queued")
    page.get_by_role("button", name="Clear filters").click()
    expect(names).to_have_count(3)
    page.locator("body").press("/")
    page.keyboard.type("ONE")
    expect(names).to_have_text(["waiting one", "ramp one"])
    page.get_by_label("Tag").fill("study:a")
    expect(names).to_have_text(["ramp one"])
    page.get_by_label("Tag").fill("study:b")
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()


def test_chosen_jobs_are_compared(site: Site, watched: Watch) -> None:
    ids = [training(site.sessions, iterations=100) for _ in range(3)]
    page = watched(site)
    page.goto(site.url)
    boxes = page.get_by_role("checkbox")
    expect(boxes).to_have_count(3)
    boxes.nth(0).check()
    boxes.nth(2).check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page).to_have_url(f"{site.url}/#/compare?jobs={ids[2]},{ids[0]}")


def test_names_are_text(site: Site, watched: Watch) -> None:
    job_id = range_test(site.sessions, name=HOSTILE, tags={"a": HOSTILE})
    page = watched(site)
    page.goto(site.url)
    expect(page.locator(NAMES)).to_have_text(HOSTILE)
    page.goto(f"{site.url}/#/compare?jobs={job_id}")
    expect(page.locator(NAMES)).to_have_text(HOSTILE)
    page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator("svg rect.band").first).to_be_visible()
    expect(page.locator("body img, main script")).to_have_count(0)
    expect(page).to_have_title(re.compile(r"^<img"))


def test_a_lost_connection_is_shown_and_heals(site: Site, watched: Watch) -> None:
    queued(site.sessions)
    page = watched(site)
    page.goto(site.url)
    expect(page.locator(NAMES)).to_have_count(1)
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("Connection lost")
    queued(site.sessions)
    page.context.set_offline(False)
    expect(page.locator(NAMES)).to_have_count(2)
    expect(page.locator("#notice")).to_be_empty()
    assert site.faults
    assert all("ERR_INTERNET_DISCONNECTED" in fault for fault in site.faults)
    site.faults.clear()
