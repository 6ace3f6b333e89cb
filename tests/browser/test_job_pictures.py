"""The pictures of range tests and trainings: curves, bands, exact values, axes, zoom."""

import re

import numpy as np
import pytest

from spec.jobs import JOB_SPEC
from spec.values import JobId
from store import jobs, leases
from store.chunks import Chunk
from store.leases import Progress
from tests.browser.builders import SUGGESTION, range_test, training
from tests.browser.charts import figure, headings, painted, rows, ticks
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import LEASE, claimed, training_json

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

BY_RATE = "Training loss against learning rate"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_range_test_shows_its_curves_and_suggestion(
    site: Site, watched: Watch, scheme: str
) -> None:
    job_id = range_test(site.sessions)
    page = watched(site, color_scheme=scheme, viewport={"width": 360, "height": 740})
    page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_text("between 0.0421 and 0.1684, or keep it at 0.0842")).to_be_visible()
    expect(page.locator("svg text.band")).to_have_text("suggested: 0.0421 to 0.1684")
    expect(page.locator("svg text.mark")).to_have_text(["edge of stability"])
    assert page.locator("svg rect.suggested").bounding_box()["width"] > 10
    chart = figure(page, BY_RATE)
    expect(page.get_by_text("stopped: it diverges")).to_be_visible()
    assert painted(chart) > 0.02
    assert headings(chart) == ["learning rate", "loss of repeat 1", "loss of repeat 2"]
    # what blew up does not flatten the rest: the descent fills half of the picture
    assert 2.5 <= max(ticks(chart)) <= 4
    expect(page.get_by_role("link", name="Train with this")).to_have_attribute(
        "href", f"#/new?from={job_id}"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_crosshair_reads_exact_values_by_keyboard_and_pointer(
    site: Site, watched: Watch
) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{range_test(site.sessions)}")
    plot = page.get_by_role("img")
    readings = page.locator(".legend b")
    expect(readings).to_have_count(4)  # the rate, two repeats, their median
    plot.focus()
    page.keyboard.press("Home")
    expect(readings.nth(0)).to_have_text("1e-5")
    expect(readings.nth(1)).to_have_text("2.29999828")
    expect(readings.nth(2)).to_have_text("2.30999827")
    page.keyboard.press("End")
    expect(readings).to_have_text(["10", "not finite", "", "not finite"])
    page.keyboard.press("Escape")
    expect(readings).to_have_text(["", "", "", ""])
    plot.hover(position={"x": 400, "y": 100})
    expect(readings.first).to_have_text(re.compile(r"^\d\.\d+e?"))
    cells = rows(figure(page, BY_RATE))
    assert len(cells) == 100
    assert cells[-1][1] == "not finite"


def test_other_finders_are_shown_on_request(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{range_test(site.sessions)}")
    marks = page.locator("svg text.mark")
    expect(marks).to_have_text(["edge of stability"])
    page.get_by_label("other finders").check()
    expect(marks).to_have_text(["valley", "edge of stability"])
    expect(page).to_have_url(re.compile(r"\?peers=1$"))
    page.reload()
    expect(page.get_by_label("other finders")).to_be_checked()


def test_a_training_shows_loss_accuracy_and_rate_as_they_grow(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=500, finish=False)
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_text("500 of 2,000 iterations.")).to_be_visible()
    for title in ("Loss", "Accuracy", "Learning rate"):
        expect(figure(page, title)).to_be_visible()
        assert painted(figure(page, title)) > 0.001
    lease = leases.Lease(JobId(job_id), 1, "w1")
    more = {"loss": np.full(1500, 0.1, "f4"), "lr": np.full(1500, 0.02)}
    with site.sessions.begin() as tx:
        leases.record(tx, [Progress(lease, 2000, [Chunk("train", 0, 500, more)])], extend=LEASE)
    expect(page.get_by_text("2,000 of 2,000 iterations.")).to_be_visible()
    expect(page.get_by_text("of 2,000 iterations: the extremes of each 8")).to_be_visible()
    page.get_by_role("img").first.hover(position={"x": 300, "y": 50})
    expect(page.locator(".legend b").last).to_have_text(re.compile(r"^0\.0"))  # linked
    page.get_by_label("log loss").check()
    expect(figure(page, "Loss").locator("svg text", has_text=re.compile("^0.1$"))).to_be_attached()
    expect(page.locator(".key")).to_contain_text("cycle ends")


def test_a_zoom_is_in_the_address_and_has_every_row(site: Site, watched: Watch) -> None:
    job_id = training(site.sessions, iterations=2000)
    page = watched(site)
    page.goto(f"{site.url}/#/jobs/{job_id}")
    expect(page.get_by_text("of 2,000 iterations: the extremes of each")).to_be_visible()
    plot = figure(page, "Loss").locator(".plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, middle, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"\?zoom=\d+~\d+$"))
    start, stop = map(int, re.search(r"zoom=(\d+)~(\d+)", page.url).groups())
    expect(page.get_by_text("the extremes of each")).to_be_hidden()
    places = [cells[0] for cells in rows(figure(page, "Loss"))]
    assert set(map(str, range(start, stop + 1))) <= set(places)
    page.reload()
    expect(page.get_by_text("the extremes of each")).to_be_hidden()
    page.get_by_label("Against").select_option("epoch")
    expect(figure(page, "Loss").locator("svg text.name")).to_have_text("epoch")
    page.get_by_role("button", name="Whole picture").click()
    expect(page.get_by_text("of 2,000 iterations: the extremes of each")).to_be_visible()
    figure(page, "Loss").locator(".plot").press("+")
    expect(page).to_have_url(re.compile("zoom="))
    figure(page, "Loss").locator(".plot").press("0")
    expect(page).not_to_have_url(re.compile("zoom="))


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
    page.goto(f"{site.url}/#/jobs/{lease.job_id}")
    by_rate = figure(page, "Training loss against learning rate")
    expect(by_rate).to_be_visible()
    assert headings(by_rate) == ["learning rate", *(f"loss of repeat {n}" for n in (1, 2, 3))]
    expect(figure(page, "Training accuracy against learning rate")).to_be_visible()
    expect(figure(page, "Loss")).to_be_hidden()

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
    expect(figure(page, "Learning rate")).to_be_visible()
    expect(page.get_by_text("Note: it stops <early>.")).to_be_visible()
    expect(page.get_by_text("The average of the last 3 snapshots: 95 %.")).to_be_visible()
    page.get_by_text("Result in full").click()
    expect(page.get_by_text("snapshots.0.val_accuracy")).to_be_visible()
    expect(page.locator(".key")).to_have_text("snapshot")
