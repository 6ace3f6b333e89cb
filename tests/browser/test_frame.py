"""The frame around the pages: sign-in, what assistive technology finds, the documentation."""

from pathlib import Path

import httpx
import pytest

from spec.access import Caller, Scope
from store import jobs, keys
from tests.browser.builders import ended, range_test, training
from tests.browser.charts import visit
from tests.browser.conftest import PATIENCE, Site, Watch, serving
from tests.factories import queued, spec, training_json

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

SWEEP = {"template": training_json(), "space": {"/schedule/max_lr": [0.05, 0.1]}}


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
        expect(page.locator("main .state").first).to_have_text("cancelled")
        page.evaluate("import('./drafts.js').then((it) => it.keepDraft('training', {}))")
        assert page.evaluate("sessionStorage.length") == 1
        page.route("**/v1/session", lambda route: route.abort())
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#who")).to_contain_text("Still signed in")
        page.unroute("**/v1/session")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("This service wants a key")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        for part in ("#who", "main"):
            expect(page.locator(part)).to_be_hidden()
        page.get_by_label("This service wants a key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("main .state").first).to_have_text("cancelled")
        with site.sessions.begin() as tx:
            keys.revoke(tx, issued.id)
        expect(page.locator("main")).to_be_hidden()  # what it shows is not for who comes next
        assert page.get_by_text("hers").locator("visible=true").count() == 0
        site.faults.remove("Failed to load resource: net::ERR_FAILED")
        assert all("401" in fault for fault in site.faults)
        site.faults.clear()
        page.goto("about:blank")  # ends its requests before the site does


def test_no_page_has_serious_faults_of_accessibility(site: Site, watched: Watch) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    ids = [range_test(site.sessions), training(site.sessions, iterations=500, finish=False)]
    sweep = httpx.post(f"{site.url}/v1/sweeps", json=SWEEP).json()["id"]
    ended(site.sessions, 0.5)
    pages = [
        f"sweeps/{sweep}",
        "jobs",
        *(f"jobs/{each}" for each in ids),
        f"compare?jobs={','.join(ids)}",
    ]
    found = []
    for scheme in ("light", "dark"):
        page = watched(site, color_scheme=scheme)
        for path in (*pages, "workers", "usage", "webhooks", "compare", "sweeps", "new", "nowhere"):
            visit(page, f"{site.url}/#/{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            for each in axe.run(page).response["violations"]:
                where = [node["html"][:120] for node in each["nodes"]]
                found.append((scheme, path, each["impact"], each["id"], where))
    assert [each for each in found if each[2] in {"serious", "critical"}] == []


def test_the_documentation_runs_under_its_own_policy(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/docs")
    page.get_by_role("button", name="GET /v1/schedules List").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".response-col_status").first).to_be_visible()
    expect(page.locator(".live-responses-table")).to_contain_text("triangular2")
