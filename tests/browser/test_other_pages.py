"""The pages of comparisons and of workers, and the functions that all charts share."""

import re
from datetime import UTC, datetime

import pytest

from store import workers
from tests.browser.builders import range_test, training
from tests.browser.charts import figure, headings, painted
from tests.browser.conftest import PATIENCE, Site, Watch

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)


def test_jobs_are_compared_in_one_picture(site: Site, watched: Watch) -> None:
    sizes = (16, 32, 64)
    ids = [
        training(site.sessions, iterations=400, name=f"at {size}", batch_size=size)
        for size in sizes
    ]
    page = watched(site)
    page.goto(f"{site.url}/#/compare?jobs={','.join(ids)}&colour=/batch_size")
    chart = figure(page, "Comparison")
    expect(chart.locator(".swatch")).to_have_count(3)
    curves = [f"at {size} {job[-4:]}" for size, job in zip(sizes, ids, strict=True)]
    assert headings(chart) == ["iteration", *curves]
    assert painted(chart) > 0.003
    table = page.get_by_role("region", name="Settings that differ")
    assert table.get_by_role("columnheader").all_text_contents()[2] == "/batch_size"
    expect(table.get_by_role("row")).to_have_count(4)
    expect(page.get_by_label("colours")).to_have_value("/batch_size")
    metric = page.get_by_role("combobox", name="Compare", exact=True)
    page.get_by_label("against").select_option("epoch")
    expect(chart.locator("svg text.name")).to_have_text("epoch")
    metric.select_option("val_accuracy")
    expect(page).to_have_url(re.compile(r"x=epoch.*y=val_accuracy"))
    expect(chart.locator("tbody tr")).to_have_count(2)
    page.reload()
    expect(metric).to_have_value("val_accuracy")
    page.get_by_role("button", name="Take at 32 out").click()
    expect(table.get_by_role("row")).to_have_count(3)


def test_a_comparison_of_nothing_teaches_and_of_deleted_jobs_says_so(
    site: Site, watched: Watch
) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/compare")
    expect(page.get_by_text("Choose jobs to compare")).to_be_visible()
    ramp = range_test(site.sessions, name="ramp")
    page.goto(f"{site.url}/#/compare?jobs={ramp},job_0&x=lr")
    expect(page.get_by_role("alert").first).to_have_text(re.compile("Not there any more.*job_0"))
    expect(figure(page, "Comparison").locator("svg text.name")).to_have_text("learning rate")
    page.goto("about:blank")
    assert [fault for fault in site.faults if "404" not in fault] == []
    site.faults.clear()


def test_workers_are_listed_with_what_they_do(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/workers")
    expect(page.get_by_text("No worker has been here.")).to_be_visible()
    job_id = training(site.sessions, iterations=500, finish=False, name="mine")
    with site.sessions.begin() as tx:
        for name, state, job in (("w1", "busy", job_id), ("w2", "idle", None)):
            workers.report(
                tx,
                name=name,
                device="cuda:0",
                state=state,
                job_id=job,
                queues=["default"],
                versions={"torch": "2"},
                started_at=datetime.now(UTC),
            )
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("cuda:0")
    expect(rows.first).to_contain_text("iterations/s")
    expect(page.locator("tbody .state")).to_have_text(["busy", "idle"])
    page.get_by_role("link", name="mine").click()
    expect(page).to_have_url(f"{site.url}/#/jobs/{job_id}")


CALL = "async ([module, name, given]) => (await import(module))[name](...given)"


def test_smooth_curves_neither_lag_nor_cover_gaps(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)

    def smoothed(y: list[float | None], width: float) -> list[float | None]:
        given = [list(range(len(y))), y, width]
        found: list[float | None] = page.evaluate(
            CALL, ["./charts/smoothing.js", "smoothed", given]
        )
        return found

    line = [2.0 * each for each in range(9)]
    assert smoothed(line, 3) == pytest.approx(line)  # a straight line stays where it is
    assert smoothed([1, None, 3], 1) == [1, None, 3]
    spike = smoothed([0.0] * 4 + [9.0] + [0.0] * 4, 1)
    assert spike[4] == max(filter(None, spike)) == 3
    assert sum(filter(None, spike)) == pytest.approx(9)


def test_a_run_that_diverges_does_not_flatten_the_others(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)
    measured = """async ([curves, log]) =>
      (await import("./charts/scales.js")).lossLimits(curves, () => 2, log)"""
    falling = [2.0, 2.0, 1.0, 0.5]
    assert page.evaluate(measured, [[falling], False])["cut"] is None
    found = page.evaluate(measured, [[falling, falling, [600.0, 700.0, 900.0]], False])
    assert found["limits"][1] < 4
    assert found["cut"] == 900
    assert page.evaluate(measured, [[[], [None]], False]) == {"limits": [0, 1], "cut": None}
    assert page.evaluate(measured, [[[0.0, 1.0, 0.01]], True])["limits"][0] > 0


def test_cycles_end_where_the_schedule_says(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)

    def ends(stop: int, **schedule: object) -> list[int]:
        given = ["./pages/marks.js", "cycleEnds", [schedule, stop]]
        found: list[int] = page.evaluate(CALL, given)
        return found

    assert ends(1000, policy="triangular2", step_size=100) == [200, 400, 600, 800, 1000]
    assert ends(1000, policy="sgdr", t_0=100, t_mult=2, warmup=10) == [110, 310, 710]
    assert ends(90, policy="snapshot", cycles=3) == [30, 60, 90]
    assert ends(90, policy="constant") == []


def test_addresses_say_what_they_say(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(site.url)
    parsed = """async (hash) => {
      const {page, id, view} = (await import("./address.js")).parse(hash);
      return [page, id, Object.fromEntries(view)];
    }"""
    assert page.evaluate(parsed, "") == ["jobs", None, {}]
    assert page.evaluate(parsed, "#job_0a") == ["jobs", "job_0a", {}]
    assert page.evaluate(parsed, "#/jobs/job_1?x=epoch") == ["jobs", "job_1", {"x": "epoch"}]
    assert page.evaluate(parsed, "#/jobs/a/b")[0] is None
    made = page.evaluate(
        CALL, ["./address.js", "href", ["compare", None, {"jobs": "a,b", "x": ""}]]
    )
    assert made == "#/compare?jobs=a,b"
