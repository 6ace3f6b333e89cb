"""The page of a new job: a form made from schemas, the same as JSON, and what it would do."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from spec.access import ANYONE
from store import owners
from store.instants import now
from store.owners import Rule
from store.tables import usage
from tests.browser.builders import range_test, training
from tests.browser.charts import figure, painted, rows
from tests.browser.conftest import PATIENCE, Site, Watch

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)


def begin(page: Page, site: Site, query: str = "") -> Page:
    page.goto(f"{site.url}/#/new{query}")
    expect(page.get_by_role("button", name="Submit")).to_be_visible()
    return page


def box(page: Page | Locator, name: str) -> Locator:
    """A field for text or numbers, by the whole of its label."""
    return page.get_by_role("textbox", name=name, exact=True).or_(
        page.get_by_role("spinbutton", name=name, exact=True)
    )


def chooser(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("combobox", name=name, exact=True)


def written(page: Page) -> dict[str, Any]:
    """The request as the other view has it."""
    page.get_by_role("tab", name="JSON").click()
    found: dict[str, Any] = json.loads(page.get_by_label("Request, as JSON").input_value())
    page.get_by_role("tab", name="Form").click()
    return found


def submitted(page: Page, site: Site, route: str = "jobs") -> dict[str, Any]:
    page.get_by_role("button", name="Submit").click()
    expect(page).to_have_url(re.compile(rf"#/{route}/\w+$"))
    made: dict[str, Any] = page.request.get(
        f"{site.url}/v1/{route}/{page.url.rpartition('/')[2]}"
    ).json()
    return made


def test_a_range_test_is_submitted_from_its_fields(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site)
    box(page, "Name").fill("by hand")
    chooser(page, "Model").select_option("lenet")
    box(page, "Channels").fill("6, 16")
    chooser(page, "Optimizer").select_option("adamw")
    box(page, "Betas").fill("0.8, 0.99")
    page.get_by_label("Amsgrad").check()
    box(page, "Batch size").fill("64")
    box(page, "Start").fill("1e-6")
    chooser(page, "Ramp").select_option("linear")
    page.get_by_text("More settings", exact=True).click()
    box(page, "Max seconds").fill("600")
    page.get_by_role("group", name="Record").get_by_label("Grad norm").check()
    page.get_by_role("button", name="Add tag").click()
    tag = page.get_by_role("group", name="Tag 1")
    box(tag, "Tag").fill("study")
    box(tag, "Value").fill("a")
    spec = submitted(page, site)["spec"]
    assert spec["name"] == "by hand"
    assert spec["model"] == {"name": "lenet", "params": {"channels": [6, 16]}}
    assert spec["optimizer"] == {
        "name": "adamw",
        "params": {"betas": [0.8, 0.99], "amsgrad": True},
    }
    assert (spec["batch_size"], spec["max_seconds"]) == (64, 600)
    assert spec["range"] == {"start": 1e-6, "end": 10, "iterations": 300, "ramp": "linear"}
    assert (spec["record"], spec["tags"]) == (["grad_norm"], {"study": "a"})


def test_what_is_wrong_stands_beside_its_field(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    batch = box(page, "Batch size")
    batch.fill("0")
    batch.blur()
    expect(batch).to_have_attribute("aria-invalid", "true")
    expect(batch).to_have_accessible_description("must be at least 1")
    expect(page.get_by_role("alert")).to_have_count(0)
    box(page, "Hidden").fill("64, x")
    chooser(page, "Data").select_option("arrays")
    page.get_by_role("button", name="Submit").click()
    summary = page.get_by_role("alert")
    expect(summary.get_by_role("listitem")).to_have_text(
        [
            "Model, hidden, 1 must be a whole number",
            "Data, folder is required",
            "Batch size must be at least 1",
        ],
        use_inner_text=True,
    )
    hidden = box(page, "Hidden")
    expect(hidden).to_be_focused()
    assert [each for each in asked if each.startswith("POST")] == []
    expect(hidden).to_have_accessible_description(re.compile("value 2 must be a whole number"))
    summary.get_by_role("button", name="Data, folder").click()
    expect(box(page, "Folder")).to_be_focused()
    page.keyboard.type("mine")
    batch.fill("32")
    hidden.fill("64")
    expect(summary).to_have_count(0)
    expect(batch).not_to_have_attribute("aria-invalid", "true")


def test_what_the_service_refuses_stands_there_too(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site)
    momentum = box(page, "Momentum")
    momentum.fill("")
    page.get_by_label("Nesterov").check()
    page.get_by_role("button", name="Submit").click()
    expect(momentum).to_have_accessible_description(re.compile("must be > 0 with nesterov"))
    expect(momentum).to_be_focused()
    momentum.fill("0.5")
    expect(momentum).not_to_have_attribute("aria-invalid", "true")
    submitted(page, site)
    assert all("422" in fault for fault in site.faults)
    site.faults.clear()


def test_what_the_service_would_refuse_is_told_before_it_is_asked_to(
    site: Site, watched: Watch
) -> None:
    page = begin(watched(site), site)
    cost = page.locator(".cost")
    expect(cost).to_have_text("At most 2,700 iterations.")
    momentum = box(page, "Momentum")
    momentum.fill("")
    page.get_by_label("Nesterov").check()
    expect(momentum).to_have_accessible_description(re.compile("must be > 0 with nesterov"))
    expect(cost).to_have_text("The service would refuse this: one field to put right.")
    assert page.get_by_role("alert").locator("visible=true").count() == 0
    momentum.fill("0.5")
    expect(momentum).not_to_have_attribute("aria-invalid", "true")
    expect(cost).to_have_text("At most 2,700 iterations.")


def test_a_limit_that_has_been_reached_is_told_before_too(site: Site, watched: Watch) -> None:
    with site.sessions.begin() as tx:
        owners.put(tx, ANYONE.owner, Rule(max_points=0))
        counted = {"points": 0, "checkpoint_bytes": 0, "counted_at": now()}
        tx.execute(usage.insert().values(owner=ANYONE.owner, **counted))
    page = begin(watched(site), site)
    expect(page.locator(".cost")).to_contain_text("recorded iterations, and may have 0")
    box(page, "Name").fill("kept")
    page.get_by_role("button", name="Submit").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("Not ready to submit")
    expect(summary.get_by_role("listitem")).to_contain_text(["delete jobs"])
    expect(box(page, "Name")).to_have_value("kept")
    page.goto("about:blank")
    assert all("403" in fault for fault in site.faults)
    site.faults.clear()


def test_what_has_no_field_is_shown_in_the_json_as_it_is_now(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site, "?view=json")
    request = page.get_by_label("Request, as JSON")
    request.fill(json.dumps({**json.loads(request.input_value()), "strange": 1}))
    page.get_by_role("tab", name="Form").click()
    box(page, "Name").fill("by hand")
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Strange").click()
    assert json.loads(request.input_value())["name"] == "by hand"


def test_what_was_changed_outlasts_a_reload_until_it_is_submitted(
    site: Site, watched: Watch
) -> None:
    page = begin(watched(site), site, "?kind=training")
    over = page.get_by_role("button", name="Start over")
    expect(over).to_be_hidden()
    box(page, "Name").fill("half done")
    page.get_by_text("Recipe", exact=True).click()
    box(page, "Seeds").fill("7")
    page.reload()
    expect(box(page, "Seeds")).to_have_value("7")
    page.get_by_text("Training", exact=True).click()
    expect(box(page, "Name")).to_have_value("half done")
    page.reload()
    expect(box(page, "Name")).to_have_value("half done")
    page.once("dialog", lambda dialog: dialog.accept())
    over.click()
    expect(box(page, "Name")).to_have_value("")
    expect(over).to_be_hidden()
    expect(page.get_by_role("radio", name="Training")).to_be_focused()
    box(page, "Name").fill("again")
    assert submitted(page, site)["spec"]["name"] == "again"
    begin(page, site, "?kind=training")
    expect(box(page, "Name")).to_have_value("")


def test_each_job_has_its_own_draft_of_what_follows(site: Site, watched: Watch) -> None:
    ramps = [range_test(site.sessions, name=name) for name in ("one", "two")]
    page = watched(site)
    for ramp, size in zip(ramps, ("77", "88"), strict=True):
        begin(page, site, f"?from={ramp}")
        expect(chooser(page, "Max lr")).to_have_value(ramp)
        box(page, "Batch size").fill(size)
    page.reload()
    expect(box(page, "Batch size")).to_have_value("88")
    begin(page, site, f"?from={ramps[0]}")
    page.reload()
    expect(box(page, "Batch size")).to_have_value("77")
    expect(page.get_by_text("With what was found by one.")).to_be_visible()


def test_form_and_json_are_one_request(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site, "?kind=training")
    box(page, "Base lr").fill("0.01")
    spec = written(page)
    assert spec["schedule"]["base_lr"] == 0.01
    spec["schedule"]["window"] = "hann"
    spec["strange"] = {"kept": [1]}
    page.get_by_role("tab", name="JSON").press("Enter")
    request = page.get_by_label("Request, as JSON")
    request.fill('{\n  "kind": "training",\n  "name" "x"\n}')
    expect(request).to_have_accessible_description(
        'This is no JSON yet: line 3, column 10: expected : after the name, found "x"'
    )
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    page.get_by_role("tab", name="Form").click()
    expect(request).to_be_visible()
    request.fill(json.dumps(spec))
    page.get_by_role("tab", name="Form").click()
    expect(chooser(page, "Window")).to_have_value("hann")
    expect(page).to_have_url(f"{site.url}/#/new?kind=training")
    box(page, "Length").fill("7")
    assert written(page) == {**spec, "length": {"cycles": 7}}
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Strange").click()
    chosen = page.evaluate("getSelection().toString()")
    assert chosen.strip().startswith('"strange"')


def test_another_schedule_keeps_what_fits_and_is_drawn(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site, "?kind=training")
    chart = figure(page, "Learning rate")
    page.wait_for_function("() => document.querySelector('.legend .swatch')")
    assert painted(chart) > 0.001
    length = page.get_by_role("group", name="Schedule")
    chooser(page, "Length: unit").select_option("iterations")
    box(page, "Length").fill("200")
    chooser(page, "Schedule").select_option("Constant")
    expect(box(length, "Lr")).to_have_value("0.14")
    expect(chart.locator("details tbody tr")).to_have_count(0)
    page.wait_for_function("() => !document.querySelector('.preview .note').textContent")
    assert {row[-1] for row in rows(chart)} == {"0.14"}
    box(length, "Lr").fill("0.5")
    expect(chart.locator("tbody td").last).to_have_text("0.5")
    chooser(page, "Schedule").select_option("Triangular2")
    expect(box(length, "Base lr")).to_have_value("0.03")
    expect(box(length, "Max lr")).to_have_value("0.5")


def test_a_training_is_begun_with_what_a_range_test_found(site: Site, watched: Watch) -> None:
    ramp = range_test(site.sessions, name="ramp")
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{ramp}")
    page.get_by_role("link", name="Train with this").click()
    expect(chooser(page, "Max lr")).to_have_value(ramp)
    expect(chooser(page, "Max lr: unit")).to_have_text(re.compile("range test"))
    page.wait_for_function("() => document.querySelector('.legend .swatch')")
    assert painted(figure(page, "Learning rate")) > 0.001
    page.get_by_text("The same with curl").click()
    expect(page.get_by_text(f"curl {site.url}/v1/jobs")).to_be_visible()
    assert submitted(page, site)["spec"]["schedule"]["max_lr"] == {"range_test": ramp}
    expect(page.get_by_role("heading", level=1)).to_have_text("ramp, trained")


def test_jobs_are_continued_and_run_again(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=100, name="first")
    page = begin(watched(site), site, f"?from={job_id}")
    expect(page.get_by_text("Going on from first.")).to_be_visible()
    spec = written(page)
    assert (spec["from"], spec["length"]) == ({"job": job_id}, {"iterations": 3000})
    page.goto(f"{site.url}/#/jobs/{job_id}")
    page.get_by_role("link", name="Edit and run again").click()
    expect(box(page, "Name")).to_have_value("first")
    box(page, "Name").fill("second")
    again = submitted(page, site)["spec"]
    assert again == {**page.request.get(f"{site.url}/v1/jobs/{job_id}").json()["spec"],
                     "name": "second"}  # fmt: skip


def test_a_sweep_is_made_from_its_fields(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site, "?kind=training")
    box(page, "Base lr").fill("0.02")
    page.get_by_text("Sweep", exact=True).click()
    expect(page).to_have_url(f"{site.url}/#/new?kind=sweep")
    expect(box(page, "Base lr")).to_have_value("0.02")
    expect(page.get_by_text("5 jobs.")).to_be_visible()
    rates = page.get_by_role("group", name="Field 1")
    chooser(rates, "Value").select_option("Values")
    box(rates, "Values").fill("0.1, 0.2")
    page.get_by_role("button", name="Add field").click()
    other = page.get_by_role("group", name="Field 2")
    chooser(other, "Field").select_option("/optimizer/params/momentum")
    box(other, "Values").fill("0.8, 0.9, 0.95")
    expect(page.get_by_text("6 jobs.")).to_be_visible()
    box(page.get_by_role("group", name="Budget"), "Parallel").fill("2")
    spec = submitted(page, site, "sweeps")["spec"]
    assert {key: each["values"] for key, each in spec["space"].items()} == {
        "/schedule/max_lr": [0.1, 0.2],
        "/optimizer/params/momentum": [0.8, 0.9, 0.95],
    }
    assert spec["budget"]["parallel"] == 2
    page.get_by_role("link", name="Edit and run again").click()
    expect(box(page.get_by_role("group", name="Field 2"), "Values")).to_have_value("0.8, 0.9, 0.95")


def test_a_recipe_is_made_from_its_fields(site: Site, watched: Watch) -> None:
    page = begin(watched(site), site, "?kind=recipe")
    page.get_by_role("button", name="Remove Schedule 1").click()
    third = page.get_by_role("group", name="Schedule 3", exact=True).first
    chooser(third, "Schedule 3").select_option("Warm-up, stable, decay")
    box(page, "Seeds").fill("4, 5")
    spec = submitted(page, site, "sweeps")["spec"]
    named = [each["policy"] for each in spec["schedules"]]
    assert named == ["cosine", "sgdr", "wsd", "triangular2"]
    assert spec["seeds"] == [4, 5]


def test_whatever_the_catalogue_has_can_be_chosen(site: Site, watched: Watch) -> None:
    page = watched(site)

    def with_another(route: Any) -> None:
        answer = route.fetch()
        known = answer.json()
        size = {"type": "integer", "minimum": 1, "description": "how wide"}
        schema = {"type": "object", "properties": {"width": size}, "required": ["width"]}
        known["data"].append(
            {"name": "transformer", "description": "Attends.", "parameters": schema}
        )
        route.fulfill(response=answer, json=known)

    page.route("**/v1/models", with_another)
    begin(page, site)
    chooser(page, "Model").select_option("transformer")
    box(page, "Width").fill("8")
    assert written(page)["model"] == {"name": "transformer", "params": {"width": 8}}


def test_forms_are_found_by_assistive_technology(site: Site, watched: Watch) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    job_id = training(site.sessions, iterations=100, lr_groups={})
    found = []
    for scheme in ("light", "dark"):
        page = watched(site, color_scheme=scheme, viewport={"width": 390, "height": 800})
        for query in ("kind=range_test", "kind=sweep", "kind=recipe", "view=json",
                      f"like={job_id}"):  # fmt: skip
            begin(page, site, f"?{query}")
            page.reload()
            expect(page.get_by_role("button", name="Submit")).to_be_visible()
            if query == "kind=range_test":
                box(page, "Batch size").fill("0")
                page.get_by_role("button", name="Submit").click()
                expect(page.get_by_role("alert")).to_be_visible()
            page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
            page.wait_for_load_state("networkidle")
            for each in axe.run(page).response["violations"]:
                where = [node["html"][:120] for node in each["nodes"]]
                found.append((scheme, query, each["impact"], each["id"], where))
            assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert found == []
