"""The table of jobs and the comparison: told of their jobs by one stream, and without it."""

import re

import pytest

from spec.states import Reason
from spec.values import JobId
from store import leases
from tests.browser.builders import training
from tests.browser.charts import figure, rows
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import queued, record
from tests.factories import rows as made

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

LATER = "from => performance.now() - from > 3500"
NAMES = "tbody th a"


def running(site: Site, name: str) -> leases.Lease:
    return leases.Lease(
        JobId(training(site.sessions, iterations=500, finish=False, name=name)), 1, "w1"
    )


def test_the_table_is_told_of_its_jobs(site: Site, watched: Watch) -> None:
    lease, other = running(site, "one"), running(site, "two")
    queued(site.sessions, name="three")
    page = watched(site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    with page.expect_request("**/v1/events?jobs=*&names=") as stream:
        page.goto(site.url)
    assert {lease.job_id, other.job_id} < set(re.findall(r"job_\w+", stream.value.url))
    expect(page.locator("tbody .state")).to_have_text(["queued", "running", "running"])
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.wait_for_function(LATER, arg=page.evaluate("performance.now()"))
    assert set(asked) == {"/v1/jobs?limit=50"}  # whether there are others, now and then
    assert len(asked) <= 2
    record(site.sessions, lease, 1000, made(500, 1000))
    row = page.get_by_role("row", name="one")
    expect(row.get_by_text("50 % of 2,000")).to_be_visible()
    with site.sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    expect(page.locator("tbody .state")).to_have_text(["queued", "running", "failed"])
    queued(site.sessions, name="four")
    expect(page.locator(NAMES)).to_have_text(["four", "three", "two", "one"])


def test_a_table_whose_stream_is_refused_asks(site: Site, watched: Watch) -> None:
    lease = running(site, "one")
    page = watched(site)
    page.route("**/v1/events?*", lambda route: route.abort())
    page.goto(site.url)
    expect(page.get_by_text("25 % of 2,000")).to_be_visible()
    record(site.sessions, lease, 1000, made(500, 1000))
    expect(page.get_by_text("50 % of 2,000")).to_be_visible()
    assert all("ERR_FAILED" in fault for fault in site.faults)
    site.faults.clear()


def test_a_comparison_is_told_of_its_jobs(site: Site, watched: Watch) -> None:
    lease, other = running(site, "one"), running(site, "two")
    page = watched(site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    with page.expect_request("**/v1/events?jobs=*&names="):
        page.goto(f"{site.url}/#/compare?jobs={lease.job_id},{other.job_id}&smooth=0")
    chart = figure(page, "Comparison")
    assert rows(chart)[-1][0] == "499"
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.wait_for_function(LATER, arg=page.evaluate("performance.now()"))
    assert asked == []
    record(site.sessions, lease, 600, made(500, 600))
    expect(chart.locator("tbody tr").last.locator("td").first).to_have_text("599")
    with site.sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    expect(page.locator("tbody .state")).to_have_text(["failed", "running"])


@pytest.mark.parametrize("address", ["jobs", "compare?jobs={}"])
def test_a_lost_line_is_shown_and_heals(site: Site, watched: Watch, address: str) -> None:
    lease = running(site, "one")
    page = watched(site)
    with page.expect_request("**/v1/events?jobs=*&names="):
        page.goto(f"{site.url}/#/{address.format(lease.job_id)}")
    expect(page.get_by_role("link", name="one")).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("Connection lost")
    with site.sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    page.context.set_offline(False)
    expect(page.locator("main .state")).to_have_text("failed")
    expect(page.locator("#notice")).to_be_empty()
    known = ("ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED")
    assert all(any(each in fault for each in known) for fault in site.faults)
    site.faults.clear()


def test_ticked_jobs_are_in_the_address(site: Site, watched: Watch) -> None:
    ids = [training(site.sessions, iterations=100, name=name) for name in ("a", "b", "c")]
    page = watched(site)
    page.goto(site.url)
    for name in ("c", "a"):
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    expect(page).to_have_url(f"{site.url}/#/jobs?picked={ids[2]},{ids[0]}")
    address = page.url
    page.reload()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    page.get_by_label("Kind").select_option("range_test")
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()
    expect(page.get_by_role("link", name="Compare 2")).to_be_visible()  # hidden is not unticked
    other = watched(site)
    other.goto(address)
    expect(other.get_by_role("checkbox", name="Choose a")).to_be_checked()
    other.get_by_role("checkbox", name="Choose a").uncheck()
    expect(other).to_have_url(f"{site.url}/#/jobs?picked={ids[2]}")
    other.get_by_role("button", name="Untick all").click()
    expect(other).to_have_url(f"{site.url}/#/jobs")
    expect(other.get_by_role("checkbox", checked=True)).to_have_count(0)
