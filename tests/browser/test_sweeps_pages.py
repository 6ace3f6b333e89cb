"""The pages of sweeps."""

import re

import pytest

from tests.browser.builders import ended
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import training_json

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

SWEEP = {
    "kind": "sweep",
    "name": "peaks",
    "template": training_json(),
    "space": {"/schedule/max_lr": [0.05, 0.1, 0.2]},
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
}


def test_a_sweep_is_listed_looked_at_and_cancelled(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps")
    expect(page.get_by_text("No sweeps yet.")).to_be_visible()
    assert page.request.post(f"{site.url}/v1/sweeps", data=SWEEP).status == 201
    page.get_by_role("link", name="peaks").click()
    expect(page.get_by_text("3 queued of 3.")).to_be_visible()
    results = page.get_by_role("region", name="Results")
    expect(results.get_by_role("row")).to_have_count(4)
    expect(results.get_by_role("columnheader").last).to_have_text("/schedule/max_lr")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    table = download.value.path().read_text().splitlines()
    assert len(table) == 4
    assert "/schedule/max_lr" in table[0]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("3 cancelled of 3.")).to_be_visible()
    page.goto(f"{site.url}/#/sweeps/swp_0")
    expect(page.get_by_role("heading", name="No such sweep")).to_be_visible()
    page.goto("about:blank")
    assert [fault for fault in site.faults if "404" not in fault] == []
    site.faults.clear()


RANKED = {
    "name": "ranked",
    "template": training_json(),
    "space": {"/schedule/max_lr": [0.05, 0.1], "/seed": [0, 1, 2]},
}


def test_configurations_are_ranked_over_their_seeds(site: Site, watched: Watch) -> None:
    page = watched(site)
    sweep = page.request.post(f"{site.url}/v1/sweeps", data=RANKED).json()
    page.goto(f"{site.url}/#/sweeps/{sweep['id']}")
    expect(page.get_by_text("6 queued of 6.")).to_be_visible()
    expect(page.get_by_role("heading", name="Which is best")).to_be_hidden()
    for value in (0.30, 0.31, 0.32, 0.20, 0.21, 0.225):
        ended(site.sessions, value)
    ranking = page.get_by_role("region", name="Ranking")
    expect(ranking.get_by_role("row")).to_have_count(3)
    first = ranking.get_by_role("row").nth(1)
    expect(first.get_by_role("rowheader")).to_have_text("max_lr 0.1")
    expect(first).to_contain_text("0.2117")
    expect(ranking.get_by_role("row").nth(2)).to_contain_text("p < 0.001 over 3 seeds")
    expect(page.get_by_text("max_lr 0.1: better than /schedule/max_lr = 0.05")).to_be_visible()
    first.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"#/compare\?jobs=job_\w+(,|%2C)job_\w+(,|%2C)job_\w+"))


def test_a_recipe_is_a_sweep_too(site: Site, watched: Watch) -> None:
    page = watched(site)
    template = training_json()
    del template["kind"], template["schedule"]
    recipe = {"kind": "recipe", "template": template}
    assert page.request.post(f"{site.url}/v1/sweeps", data=recipe).status == 201
    page.goto(f"{site.url}/#/sweeps")
    page.get_by_role("link", name="recipe, rates by range test over schedules").click()
    said = "recipe, rates by range test · minimize val_loss"
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_text("1 queued of 16.")).to_be_visible()
