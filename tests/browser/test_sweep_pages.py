"""The page of a sweep: brushes, heat maps, overlaid range tests, and what cannot be read."""

import json
import re
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from sqlalchemy import update

from store.tables import jobs, sweeps
from tests.browser.builders import climbed, ended, range_test, training
from tests.browser.charts import figure, headings, painted, visit
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import range_test_json, training_json

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

PEAK = "/schedule/max_lr"
MOMENTUM = "/optimizer/params/momentum"
GRID = {
    "name": "grid",
    "template": training_json(),
    "space": {PEAK: [0.05, 0.1, 0.2], MOMENTUM: [0.8, 0.9]},
}
LOSSES = (0.6, 0.5, 0.3, 0.2, 0.4, None)
"""In the order in which the grid is run: the peak changes slowest."""


def submitted(site: Site, spec: dict[str, Any]) -> str:
    answer = httpx.post(f"{site.url}/v1/sweeps", json=spec)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def grid(site: Site) -> str:
    sweep = submitted(site, GRID)
    for loss in LOSSES:
        ended(site.sessions, loss)
    return sweep


def ramps(site: Site) -> str:
    space = {MOMENTUM: [0.8, 0.9]}
    sweep = submitted(site, {"name": "ramps", "template": range_test_json(), "space": space})
    for edge, low in ((0.1, 0.3), (0.5, 0.2)):
        result = {"status": "ok", "landmarks": {"lr_edge": edge}, "range": {"end": 10.0}}
        result |= {"suggestion": {"base_lr": edge / 16, "max_lr": edge / 4, "fixed_lr": None}}
        climbed(site.sessions, {**result, "lowest": [low], "iterations": 100, "seconds": 2.0})
    return sweep


def stopped(site: Site) -> str:
    space = {PEAK: [0.05, 0.1, 0.2]}
    template = training_json(
        schedule={"policy": "triangular", "base_lr": 0.01, "step_size": 10}, length={"cycles": 9}
    )
    stopping = {"name": "asha"}
    sweep = submitted(site, {"template": template, "space": space, "stopping": stopping})
    ended(site.sessions, 0.5)
    why = "stopped after 1 cycle: 0.9 is number 3 of 3, and the best 1 goes on"
    ended(site.sessions, 0.9, stopped={"iteration": 20, "why": why})
    return sweep


def recipe(site: Site) -> str:
    template = training_json()
    del template["schedule"]
    find = {"name": "coarse_to_fine", "low": 0.01, "high": 0.1}
    fixed = {"policy": "constant", "lr": 0.1}
    spec = {"kind": "recipe", "template": template, "find": find, "schedules": [fixed, fixed]}
    spec["schedules"] = [fixed, {"policy": "cosine", "lr": 0.1}]
    return submitted(site, spec)


def foreign(site: Site) -> tuple[str, str]:
    """A sweep and its job as a version to come has stored them."""
    sweep = submitted(site, {**GRID, "name": None})
    job = ended(site.sessions, 0.5)
    with site.sessions.begin() as tx:
        mine = sweeps.c.id == sweep
        tx.execute(update(sweeps).where(mine).values(spec={"kind": "of tomorrow"}))
        tx.execute(update(jobs).where(jobs.c.id == job).values(spec={"kind": "of tomorrow"}))
    return sweep, job


def test_a_brush_narrows_the_results_and_is_in_the_address(site: Site, watched: Watch) -> None:
    sweep = grid(site)
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps/{sweep}")
    results = page.get_by_role("region", name="Results").locator("tbody tr")
    expect(results).to_have_count(6)
    chart = figure(page, "Parameters and objective")
    expect(chart.locator("path.line")).to_have_count(5)  # one has no value
    expect(chart.get_by_text("5 of 5 jobs.")).to_be_visible()
    axis = chart.get_by_role("slider", name="val_loss")
    chart.scroll_into_view_if_needed()
    grip = axis.locator(".grip").bounding_box()
    assert grip is not None
    x, top, tall = grip["x"] + grip["width"] / 2, grip["y"], grip["height"]
    page.mouse.move(x, top + tall - 1)
    page.mouse.down()
    page.mouse.move(x, top + 0.6 * tall, steps=4)
    page.mouse.up()  # 0.2 to 0.36
    expect(results.get_by_role("rowheader")).to_have_text(["#3", "#2"])
    expect(page.get_by_text("2 of 6, as chosen above.")).to_be_visible()
    expect(chart.locator("path.line.out")).to_have_count(3)
    kept = json.loads(unquote(page.url.split("keep=")[1]))
    assert kept[""] == pytest.approx([0, 0.4], abs=0.02)
    page.reload()
    expect(results).to_have_count(2)
    momentum = chart.get_by_role("slider", name="momentum")
    momentum.press("ArrowUp")
    expect(results.get_by_role("rowheader")).to_have_text(["#3"])
    momentum.press("Escape")
    axis.press("Escape")
    expect(results).to_have_count(6)
    expect(page).to_have_url(f"{site.url}/#/sweeps/{sweep}")


def test_values_over_two_parameters_are_a_heat_map(site: Site, watched: Watch) -> None:
    sweep = grid(site)
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps/{sweep}")
    shares = page.get_by_role("region", name="Importance")
    expect(shares.get_by_role("row")).to_have_count(3)
    expect(page.get_by_text("shares of 6 trials are mostly chance")).to_be_visible()
    page.get_by_label("Across").select_option(PEAK)
    page.get_by_label("down").select_option(MOMENTUM)
    pair = page.get_by_role("region", name="Over two parameters")
    expect(pair.get_by_role("columnheader")).to_have_text(
        ["momentum \\ max_lr", "0.05", "0.1", "0.2"]
    )
    cells = pair.locator("tbody td")
    expect(cells).to_have_text(["0.6", "0.3", "0.4", "0.5", "0.2", "diverged"])
    grounds = [each.evaluate("cell => getComputedStyle(cell).background") for each in cells.all()]
    assert len(set(grounds)) == 6  # each value has a colour, and none that diverged
    expect(cells.first).to_have_attribute("title", "1 trials")
    along = page.get_by_role("region", name="Along one parameter")
    expect(along.locator("tbody tr")).to_have_count(3)
    expect(along.locator("tbody tr").nth(2)).to_contain_text("0.4")
    assert "across=/schedule/max_lr" in unquote(page.url)
    page.get_by_label("Across").select_option(MOMENTUM)
    expect(along.locator("tbody tr")).to_have_count(2)
    page.reload()
    expect(page.get_by_label("Across")).to_have_value(MOMENTUM)
    expect(along.locator("tbody tr")).to_have_count(2)


def test_range_tests_lie_over_each_other_with_the_pick(site: Site, watched: Watch) -> None:
    sweep = ramps(site)
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps/{sweep}")
    expect(page.get_by_text("Train with momentum 0.9: ")).to_be_visible()
    chart = figure(page, "Loss against learning rate")
    expect(chart.locator(".swatch")).to_have_count(2)
    expect(chart.locator("svg text.mark")).to_have_text("suggested: 0.125")
    assert painted(chart) > 0.003
    assert len(headings(chart)) == 3
    settings = page.get_by_role("region", name="Settings")
    expect(settings.get_by_role("rowheader")).to_have_text(["momentum 0.9", "momentum 0.8"])
    expect(settings.locator("tbody tr").first).to_contain_text("0.125")
    expect(page.get_by_role("heading", name="Which is best")).to_be_hidden()
    settings.get_by_role("link", name="momentum 0.9").click()
    expect(page).to_have_url(re.compile(r"#/jobs/job_\w+$"))


def test_jobs_that_were_stopped_early_say_why(site: Site, watched: Watch) -> None:
    sweep = stopped(site)
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps/{sweep}")
    results = page.get_by_role("region", name="Results").locator("tbody tr")
    expect(results).to_have_count(3)
    expect(results.nth(0)).to_contain_text("0.5")
    expect(results.nth(1)).to_contain_text("stopped after 1 cycle: 0.9 is number 3 of 3")
    expect(page.get_by_text("1 stopped early: the value of each is of the point")).to_be_visible()
    expect(page.get_by_text("Not judged: 1 stopped early, 1 unfinished.")).to_be_visible()
    expect(page.get_by_text("Best job so far: val_loss 0.5 with max_lr 0.05.")).to_be_visible()


def test_the_search_of_a_recipe_is_no_result(site: Site, watched: Watch) -> None:
    sweep = recipe(site)
    page = watched(site)
    page.goto(f"{site.url}/#/sweeps/{sweep}")
    results = page.get_by_role("region", name="Results").locator("tbody tr")
    expect(results).to_have_count(2)  # 0.01 and 0.1
    ended(site.sessions, 0.7)
    expect(results.first).to_contain_text("0.7 (finds the rates)")
    expect(results.first).to_contain_text("coarse")
    expect(page.get_by_role("columnheader", name="Step", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Which is best")).to_be_hidden()
    expect(page.get_by_text("Best job")).to_be_hidden()


def test_what_another_version_stored_is_shown_as_far_as_it_goes(site: Site, watched: Watch) -> None:
    sweep, job = foreign(site)
    page = watched(site)
    said = "Its specification is that of another version of stepsize"
    page.goto(f"{site.url}/#/sweeps")
    page.get_by_role("link", name=sweep).click()
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_text("5 queued, 1 succeeded of 6.")).to_be_visible()
    results = page.get_by_role("region", name="Results").locator("tbody tr")
    expect(results).to_have_count(6)
    results.get_by_role("link", name="#0").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(job)
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_text("At the end: validation accuracy 90 %")).to_be_visible()
    page.goto(f"{site.url}/#/jobs")
    expect(page.get_by_role("link", name=job)).to_be_visible()
    page.goto(f"{site.url}/#/compare?jobs={job}")
    expect(page.get_by_role("link", name=job)).to_be_visible()


def test_a_sweep_is_waited_for_rather_than_asked_for(site: Site, watched: Watch) -> None:
    sweep = submitted(site, GRID)
    page = watched(site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    waits = f"**/v1/sweeps/{sweep}"
    with page.expect_request(
        lambda request: request.url.endswith(sweep) and "wait=" in request.headers.get("prefer", "")
    ):
        page.goto(f"{site.url}/#/sweeps/{sweep}")
    expect(page.get_by_text("6 queued of 6.")).to_be_visible()
    asked.clear()
    page.wait_for_function(
        "from => performance.now() - from > 3500", arg=page.evaluate("performance.now()")
    )
    assert asked == []
    ended(site.sessions, 0.5)
    expect(page.get_by_text("5 queued, 1 succeeded of 6.")).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("Connection lost")
    ended(site.sessions, 0.5)
    page.context.set_offline(False)
    expect(page.get_by_text("4 queued, 2 succeeded of 6.")).to_be_visible()
    expect(page.locator("#notice")).to_be_empty()
    page.route(waits, lambda route: route.continue_())
    with page.expect_event("requestfailed", lambda request: request.url.endswith(sweep)):
        page.goto(f"{site.url}/#/jobs")  # nobody waits for it any more
    known = ("ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_CHANGED")
    assert all(any(each in fault for each in known) for fault in site.faults)
    site.faults.clear()


def every_page(site: Site) -> list[str]:
    """One of each kind, full of what there can be."""
    own = [range_test(site.sessions, name="a" * 80), training(site.sessions, iterations=500)]
    made = [grid(site), ramps(site), stopped(site), recipe(site)]
    sweep, job = foreign(site)
    addresses = [f"sweeps/{each}" for each in (*made, sweep)]
    brushed = f'{addresses[0]}?keep={{"":[0,0.4]}}'
    both = ",".join(own)
    return [*addresses, brushed, f"jobs?picked={both}", f"compare?jobs={both}", f"jobs/{job}",
            *(f"jobs/{each}" for each in own), "workers", "sweeps"]  # fmt: skip


def test_no_page_of_a_sweep_has_serious_faults_of_accessibility(site: Site, watched: Watch) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    pages = every_page(site)
    found = []
    for scheme in ("light", "dark"):
        page = watched(site, color_scheme=scheme)
        for path in pages:
            visit(page, f"{site.url}/#/{path}")
            for each in axe.run(page).response["violations"]:
                where = [node["html"][:120] for node in each["nodes"]]
                found.append((scheme, path, each["impact"], each["id"], where))
    assert [each for each in found if each[2] in {"serious", "critical"}] == []


def test_no_page_scrolls_sideways_on_a_phone(site: Site, watched: Watch) -> None:
    page = watched(site, viewport={"width": 390, "height": 800})
    for path in every_page(site):
        visit(page, f"{site.url}/#/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
