"""The pages of jobs as they are moved: followed live, paused, retried, deleted, gone on from."""

import pytest

from spec.jobs import JOB_SPEC
from spec.states import Reason
from spec.values import JobId
from store import checkpoints, claims, jobs, leases
from store.jobs import Submission
from tests.browser.builders import training
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import LEASE, queued, record, rows, saved, stored, training_json

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)


def test_a_page_follows_its_job_without_asking(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    lease = leases.Lease(JobId(job_id), 1, "w1")
    page = watched(site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    with page.expect_request(f"**/{job_id}/events?names="):
        page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_text("500 of 2,000 iterations.", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.wait_for_function(
        "from => performance.now() - from > 3000", arg=page.evaluate("performance.now()")
    )
    assert asked == []  # it is told
    record(site.sessions, lease, 600, rows(500, 600))
    expect(page.get_by_text("600 of 2,000 iterations.", exact=True)).to_be_visible()
    with site.sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    expect(page.locator("article .state")).to_have_text("failed")
    with page.expect_request(f"**/{job_id}/events?names="):
        page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()


def test_a_failed_job_says_why_and_can_be_retried_and_cancelled(site: Site, watched: Watch) -> None:
    job = queued(site.sessions)
    with site.sessions.begin() as tx:
        _, lease = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
        leases.fail(tx, lease, Reason.CODE, "no such layer <b>")
    page = watched(site)
    page.goto(site.url)
    page.get_by_role("link", name="mlp on digits").click()
    expect(page.locator("article").get_by_role("alert").first).to_have_text(
        "Failed (code): no such layer <b>"
    )
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("article .state")).to_have_text("cancelled")
    assert stored(site.sessions, job.id).state == "cancelled"


def test_a_job_is_paused_resumed_and_gone_on_from(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    lease = leases.Lease(job_id, 1, "w1")
    record(site.sessions, lease, 500, checkpoints=[saved(500)])
    page = watched(site, viewport={"width": 360, "height": 740})
    page.goto(f"{site.url}/#/jobs/{job_id}")
    pause, resume = (page.get_by_role("button", name=name) for name in ("Pause", "Resume"))
    pause.click()
    expect(page.get_by_text("Pausing, after 500 of 2,000 iterations.")).to_be_visible()
    resume.click()
    expect(page.get_by_text("500 of 2,000 iterations.", exact=True)).to_be_visible()
    pause.click()
    expect(resume).to_be_visible()
    with site.sessions.begin() as tx:
        leases.hand_back(tx, lease)
    expect(page.get_by_text("Paused, after 500 of 2,000 iterations.")).to_be_visible()
    expect(page.locator("article .state")).to_have_text("paused")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(pause).to_be_hidden()

    page.get_by_text("History", exact=True).click()
    attempts, changes = (page.get_by_role("region", name=name) for name in ("Attempts", "Changes"))
    expect(attempts.get_by_role("row").last).to_contain_text("paused")
    what = changes.locator("td:nth-child(3)")
    expect(what).to_have_text(["submit", "claim", "pause", "resume", "pause", "hand back"])
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    resume.click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    expect(what.last).to_have_text("resume")

    longer = JOB_SPEC.validate_python(training_json(length={"iterations": 3000}))
    with site.sessions.begin() as tx:
        child = jobs.add(tx, Submission(longer, origin=checkpoints.get(tx, job_id)))
    page.goto(f"{site.url}/#/jobs/{child.id}")
    expect(page.get_by_text(f"Goes on from {job_id} at iteration 500.")).to_be_visible()
    page.get_by_role("link", name=job_id, exact=True).click()
    expect(page).to_have_url(f"{site.url}/#/jobs/{job_id}")


def test_a_page_that_nobody_looks_at_listens_to_nothing(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    page = watched(site)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_response("**/events?names="):
        page.goto(f"{site.url}/#/jobs/{job_id}")
    with page.expect_event("requestfailed", lambda request: "/events" in request.url):
        page.evaluate(hide, True)  # the stream is closed
    with page.expect_request("**/events?names="):
        page.evaluate(hide, False)


def test_a_job_is_deleted_once_that_is_confirmed(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=100)
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{job_id}")
    delete = page.get_by_role("button", name="Delete")
    page.once("dialog", lambda dialog: dialog.dismiss())
    delete.click()
    assert stored(site.sessions, job_id).id == job_id
    page.once("dialog", lambda dialog: dialog.accept())
    delete.click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()
    assert [fault for fault in site.faults if "404" not in fault] == []
    site.faults.clear()


def test_old_addresses_of_jobs_still_lead_there(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=100)
    page = watched(site)
    page.goto(f"{site.url}/#{job_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("mlp on digits")
    page.goto(f"{site.url}/#/nowhere")
    expect(page.get_by_role("heading", name="No such page")).to_be_visible()
