"""The dashboard as people meet it: lists, pictures, words, themes, keys, hostile names."""

import re
from pathlib import Path

import numpy as np
import pytest

from spec.access import Caller, Scope
from spec.jobs import JOB_SPEC
from spec.states import Reason
from spec.values import JobId
from store import checkpoints, claims, jobs, keys, leases, moves, pages
from store.chunks import Chunk
from store.database import Sessions
from store.jobs import Submission
from store.leases import Progress
from tests.browser.conftest import PATIENCE, Site, Watch, serving
from tests.factories import (
    LEASE,
    claimed,
    queued,
    range_test_json,
    record,
    rows,
    saved,
    spec,
    stored,
    training_json,
)

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>alert(1)</script>"
SUGGESTION = {"base_lr": 0.0421, "max_lr": 0.1684, "fixed_lr": 0.0842}


def range_test(sessions: Sessions, *, repeats: int = 2, **changes: object) -> str:
    """A finished range test whose last repeat blew up to infinity and stopped."""
    spec = JOB_SPEC.validate_python(range_test_json(repeats=repeats, **changes))
    with sessions.begin() as tx:
        jobs.add(tx, spec)
    lease = claimed(sessions)
    lr = np.geomspace(1e-5, 10, 100)
    loss = 0.6 + 1.7 / (1 + (lr / 0.01) ** 2) + np.expm1(np.minimum(lr**2, 80))
    with sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=repeats * 100, resolved={})
        for repeat in range(repeats):
            values = (loss + 0.01 * repeat).astype("f4")
            kept = slice(100) if repeat < repeats - 1 else slice(95)
            values[93:] = np.inf
            chunk = Chunk("train", repeat, 0, {"loss": values[kept], "lr": lr[kept]})
            leases.record(tx, [Progress(lease, 100 * repeat, [chunk])], extend=LEASE)
        result = {"status": "ok", "suggestion": SUGGESTION, "agreement": "high"}
        leases.succeed(tx, lease, {**result, "landmarks": {"lr_edge": 0.34, "lr_ragged": None}})
    return lease.job_id


def training(sessions: Sessions, *, iterations: int, finish: bool = True) -> str:
    """A training of 2000 iterations that has come this far."""
    job = queued(sessions, length={"iterations": 2000})
    lease = claimed(sessions)
    t = np.arange(iterations)
    loss = (2.3 * np.exp(-t / 300) + 0.1).astype("f4")
    train = Chunk("train", 0, 0, {"loss": loss, "lr": 0.01 + 1e-5 * t})
    at = np.array([iterations // 2, iterations])
    measured = {"iteration": at, "val_loss": loss[at - 1], "val_accuracy": np.array([0.8, 0.9])}
    with sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=2000, resolved={})
        validation = Chunk("validation", 0, int(at[0]), measured)
        leases.record(tx, [Progress(lease, iterations, [train, validation])], extend=LEASE)
        if finish:
            final = {"train_loss": 0.1, "val_loss": 0.11, "val_accuracy": 0.9, "diverged_at": None}
            leases.succeed(tx, lease, final)
    return job.id


def test_an_empty_list_teaches(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)
    expect(page.get_by_text("No jobs yet.")).to_be_visible()
    expect(page.locator("#cli")).to_contain_text(f"STEPSIZE_URL={site.url} stepsize range-test")
    body = page.locator("#curl").inner_text().split(" -d ")[1].strip("'")
    json = {"Content-Type": "application/json"}
    assert page.request.post(f"{site.url}/v1/jobs", data=body, headers=json).status == 201
    page.reload()
    expect(page.locator("#jobs li")).to_contain_text(["mlp on digits"])
    expect(page.get_by_text("No jobs yet.")).to_be_hidden()


def test_jobs_are_listed_newest_first_and_kept_fresh(site: Site, watched: Watch) -> None:
    range_test(site.sessions, name="first")
    training(site.sessions, iterations=500, finish=False)
    queued(site.sessions, name="last")
    page = watched(site)
    page.goto(site.url)
    expect(page.locator("#jobs b")).to_have_text(["last", "mlp on digits", "first"])
    expect(page.locator("#jobs .state")).to_have_text(["queued", "running", "succeeded"])
    expect(page.locator("#jobs .figure")).to_have_text(["", "loss 0.5359", "lr 0.042 to 0.17"])
    assert page.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") == 0.25
    with site.sessions.begin() as tx:
        moves.cancel(tx, pages.find(tx, limit=1)[0].id)
    expect(page.locator("#jobs .state").first).to_have_text("cancelled")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_range_test_shows_its_curves_and_suggestion(
    site: Site, watched: Watch, scheme: str
) -> None:
    job_id = range_test(site.sessions)
    page = watched(site, color_scheme=scheme, viewport={"width": 360, "height": 740})
    page.goto(f"{site.url}/#{job_id}")
    expect(page.get_by_text("between 0.0421 and 0.1684, or keep it at 0.0842")).to_be_visible()
    expect(page.locator("svg text.band")).to_have_text("suggested: 0.0421 to 0.1684")
    expect(page.locator("svg text.mark")).to_have_text(["edge of stability"])
    assert page.locator("svg rect.band").bounding_box()["width"] > 10
    curves = page.locator("svg path.curve:not(.strong)")
    expect(curves).to_have_count(2)
    assert curves.first.get_attribute("d").count("L") == 92
    expect(page.locator("svg path.curve.strong")).to_have_count(1)  # where one was stopped
    # what blew up does not flatten the rest: the descent fills half of the picture
    ticks = page.locator("svg text[text-anchor=end]:not(.band):not(.mark)").all_text_contents()
    assert 2.5 <= max(map(float, ticks)) <= 4
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_crosshair_reads_exact_values_by_keyboard_and_pointer(
    site: Site, watched: Watch
) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#{range_test(site.sessions)}")
    plot = page.get_by_role("img")
    readings = page.locator("output b")
    plot.focus()
    page.keyboard.press("Home")
    expect(readings).to_have_text(["1e-5", "2.29999828", "2.30999827"])
    page.keyboard.press("End")
    expect(readings).to_have_text(["10", "not finite", ""])
    page.keyboard.press("Escape")
    expect(readings).to_have_text(["", "", ""])
    plot.hover(position={"x": 400, "y": 100})
    expect(readings.first).to_have_text(re.compile(r"^\d\.\d+e?"))
    page.get_by_text("Data", exact=True).click()
    expect(page.get_by_role("row")).to_have_count(101)
    expect(page.get_by_role("row").last).to_contain_text("not finite")


def test_a_training_shows_loss_accuracy_and_rate_as_they_grow(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    page = watched(site)
    page.goto(f"{site.url}/#{job_id}")
    expect(page.get_by_text("500 of 2,000 iterations.")).to_be_visible()
    for title in ("Loss", "Accuracy", "Learning rate"):
        expect(page.get_by_role("figure", name=title).locator("path.curve").last).to_be_visible()
    lease = leases.Lease(job_id, 1, "w1")
    more = {"loss": np.full(1500, 0.1, "f4"), "lr": np.full(1500, 0.02)}
    with site.sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 2000, [Chunk("train", 0, 500, more)])], extend=LEASE)
    expect(page.get_by_text("2,000 of 2,000 iterations.")).to_be_visible()
    expect(page.get_by_text("of 2,000 iterations: the extremes of each 8")).to_be_visible()
    page.get_by_role("img").first.hover(position={"x": 300, "y": 50})
    expect(page.locator("output b").last).to_have_text(re.compile(r"^0\.0"))  # linked
    page.get_by_label("logarithmic").check()
    expect(page.get_by_role("figure", name="Loss").get_by_text("0.1", exact=True)).to_be_visible()


def test_a_page_follows_its_job_without_asking(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    lease = leases.Lease(JobId(job_id), 1, "w1")
    page = watched(site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    with page.expect_request(f"**/{job_id}/events?names="):
        page.goto(f"{site.url}/#{job_id}")
    expect(page.get_by_text("500 of 2,000 iterations.", exact=True)).to_be_visible()
    for _ in range(5):
        asked.clear()
        with page.expect_response("**/v1/jobs?limit=50"):
            pass  # the loop goes round
    assert set(asked) == {"/v1/jobs?limit=50"}
    record(site.sessions, lease, 600, rows(500, 600))
    expect(page.get_by_text("600 of 2,000 iterations.", exact=True)).to_be_visible()
    with site.sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    expect(page.locator("article .state")).to_have_text("failed")
    with page.expect_request(f"**/{job_id}/events?names="):
        page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()


def test_an_automatic_training_shows_its_range_test_too(site: Site, watched: Watch) -> None:
    schedule = {"policy": "auto", "range": {"start": 1e-5, "end": 10.0, "iterations": 100}}
    spec = training_json(schedule=schedule, length={"iterations": 300}, record=["accuracy"])
    with site.sessions.begin() as tx:
        jobs.add(tx, JOB_SPEC.validate_python(spec))
    lease = claimed(site.sessions)
    lr = np.geomspace(1e-5, 10, 100)
    loss = (0.6 + 1.7 / (1 + (lr / 0.01) ** 2)).astype("f4")
    up = {"range_loss": loss, "range_lr": lr, "range_accuracy": 1 - loss / 3}
    with site.sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=600, resolved={})
        for repeat in range(3):
            chunk = Chunk("range_test", repeat, 0, up)
            leases.record(tx, [Progress(lease, 100 * repeat, [chunk])], extend=LEASE)
    page = watched(site)
    page.goto(f"{site.url}/#{lease.job_id}")
    by_rate = page.get_by_role("figure", name="Training loss against learning rate")
    expect(by_rate.locator("path.curve")).to_have_count(3)
    accuracies = page.get_by_role("figure", name="Training accuracy against learning rate")
    expect(accuracies.locator("path.curve")).to_have_count(3)
    expect(page.get_by_role("figure", name="Loss", exact=True)).to_be_hidden()

    t = np.arange(300)
    curve = {"loss": np.full(300, 0.2, "f4"), "lr": 0.1 - 1e-4 * t, "accuracy": np.ones(300, "f4")}
    at = {"iteration": np.array([300]), "val_loss": np.array([0.2]), "val_accuracy": np.ones(1)}
    final = {"train_loss": 0.2, "val_loss": 0.2, "val_accuracy": 0.9, "diverged_at": None}
    final |= {"ensemble": {"members": 3, "val_loss": 0.1, "val_accuracy": 0.95}}
    final |= {"snapshots": [{"iteration": 300, "val_accuracy": 0.9, "curvature": None}]}
    found = {"status": "ok", "suggestion": SUGGESTION, "landmarks": {"lr_edge": 0.34}}
    with site.sessions.begin() as tx:
        leases.plan(tx, lease, start=0, iterations=600, resolved={"warnings": ["it stops <early>"]})
        rows = [Chunk("train", 0, 0, curve), Chunk("validation", 0, 300, at)]
        leases.record(tx, [Progress(lease, 600, rows)], extend=LEASE)
        leases.succeed(tx, lease, final | {"range_test": found})
    expect(by_rate.locator("text.band")).to_have_text("suggested: 0.0421 to 0.1684")
    expect(page.get_by_role("figure", name="Learning rate", exact=True)).to_be_visible()
    expect(page.get_by_text("Note: it stops <early>.")).to_be_visible()
    expect(page.get_by_text("The average of the last 3 snapshots: 95 %.")).to_be_visible()
    expect(page.get_by_text("snapshots.0.val_accuracy")).to_be_visible()


def test_a_failed_job_says_why_and_can_be_retried_and_cancelled(site: Site, watched: Watch) -> None:
    job = queued(site.sessions)
    with site.sessions.begin() as tx:
        _, lease = claims.claim(tx, worker="w1", queues=["default"], lease=LEASE)
        leases.fail(tx, lease, Reason.CODE, "no such layer <b>")
    page = watched(site)
    page.goto(site.url)
    page.get_by_role("link", name="mlp on digits").click()
    expect(page.get_by_role("alert").first).to_have_text("Failed (code): no such layer <b>")
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
    page.goto(f"{site.url}/#{job_id}")
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
    page.goto(f"{site.url}/#{child.id}")
    expect(page.get_by_text(f"Goes on from {job_id} at iteration 500.")).to_be_visible()
    page.get_by_role("link", name=job_id, exact=True).click()
    expect(page).to_have_url(f"{site.url}/#{job_id}")


def test_names_are_text(site: Site, watched: Watch) -> None:
    job_id = range_test(site.sessions, name=HOSTILE, tags={"a": HOSTILE})
    page = watched(site)
    page.goto(f"{site.url}/#{job_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.locator("#jobs b")).to_have_text(HOSTILE)
    expect(page.locator("svg rect.band")).to_be_visible()
    expect(page.locator("body img, article script")).to_have_count(0)
    assert page.title().startswith("<img")


def test_a_lost_connection_is_shown_and_heals(site: Site, watched: Watch) -> None:
    queued(site.sessions)
    page = watched(site)
    page.goto(site.url)
    expect(page.locator("#jobs li")).to_have_count(1)
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("Connection lost")
    queued(site.sessions)
    page.context.set_offline(False)
    expect(page.locator("#jobs li")).to_have_count(2)
    expect(page.locator("#notice")).to_be_empty()
    assert site.faults
    assert all("ERR_INTERNET_DISCONNECTED" in fault for fault in site.faults)
    site.faults.clear()


def test_a_job_that_is_not_there(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#job_0")
    expect(page.get_by_role("heading", name="No such job")).to_be_visible()
    assert [fault for fault in site.faults if "404" not in fault] == []
    site.faults.clear()


def test_a_browser_signs_in_with_a_key_that_scripts_cannot_read(
    tmp_path: Path, watched: Watch
) -> None:
    with serving(tmp_path, require_key=True) as site:
        with site.sessions.begin() as tx:
            scopes = {Scope.READ, Scope.WRITE}
            issued, key = keys.issue(tx, name="laptop", owner="ada", scopes=scopes)
            jobs.add(tx, spec(name="hers"), by=Caller(owner="ada"))
        queued(site.sessions, name="guarded")
        page = watched(site)
        page.goto(site.url)
        for given in ("wrong", key):
            page.get_by_label("This service wants a key").fill(given)
            page.get_by_role("button", name="Sign in").click()
            if given == "wrong":
                expect(page.get_by_role("alert")).to_have_text("The service refuses this key.")
        expect(page.get_by_text("hers")).to_be_visible()
        expect(page.locator("#key")).to_be_hidden()
        expect(page.locator("#who")).to_contain_text("laptop (ada)")
        assert page.get_by_text("guarded").count() == 0
        page.reload()
        page.get_by_text("hers").click()
        assert key not in page.evaluate("document.cookie + JSON.stringify({...localStorage})")
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("main .state")).to_have_text("cancelled")
        page.route("**/v1/session", lambda route: route.abort())
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#who")).to_contain_text("Still signed in")
        page.unroute("**/v1/session")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("This service wants a key")).to_be_visible()
        for part in ("#who", "nav", "main"):
            expect(page.locator(part)).to_be_hidden()
        page.get_by_label("This service wants a key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("main .state")).to_have_text("cancelled")
        with site.sessions.begin() as tx:
            keys.revoke(tx, issued.id)
        expect(page.locator("main")).to_be_hidden()  # what it shows is not for who comes next
        assert page.get_by_text("hers").locator("visible=true").count() == 0
        site.faults.remove("Failed to load resource: net::ERR_FAILED")
        assert all("401" in fault for fault in site.faults)
        site.faults.clear()
        page.goto("about:blank")  # ends its requests before the site does


def test_the_documentation_runs_under_its_own_policy(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/docs")
    page.get_by_role("button", name="GET /v1/schedules List").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".response-col_status").first).to_be_visible()
    expect(page.locator(".live-responses-table")).to_contain_text("triangular2")
