"""What a notebook shows: everything escaped, curves, and jobs that change in place."""

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from stepsize import Client, Job
from stepsize.judgments import Importances, Judgment, Marginals, Pair, Pick, Ranking
from stepsize.notebook import curve_svg
from stepsize.progress import follow, in_notebook
from stepsize.series import Columns
from stepsize.sweep_values import Sweep
from tests.judged import IMPORTANCE, MARGINALS, PAIR, PICK, RANKING
from tests.recorded import Recorded, falling, range_test, training

EVIL = "<script>alert(1)</script>"


def shown(value: object) -> str:
    html: str = getattr(value, "_repr_html_")()  # noqa: B009 - as a notebook asks for it
    ET.fromstring(f"<div>{html}</div>")  # every tag is closed, every text escaped
    assert "<script" not in html
    return html


def client_of(job: dict[str, Any], *rows: Any) -> Client:
    server = Recorded()
    server.add(job, *[[each] for each in rows])
    return server.client()


@pytest.mark.parametrize("make", [training, range_test])
def test_a_job_is_a_table_and_a_curve(make: Any) -> None:
    html = shown(client_of(make("job_1", name=EVIL), falling(100)).job("job_1"))
    assert "&lt;script&gt;" in html
    assert "job_1" in html
    assert "succeeded" in html
    assert ("0.25" if make is training else "0.05") in html  # val_loss, or fixed_lr
    assert html.count("<svg") == 1


def test_a_job_whose_server_is_away_is_shown_without_its_curve() -> None:
    html = shown(Job.model_validate(training("job_1")))
    assert "job_1" in html
    assert "<svg" not in html


def test_why_a_job_failed_is_shown() -> None:
    error = {"reason": "crashed", "detail": EVIL}
    html = shown(Job.model_validate(training(state="failed", result=None, error=error)))
    assert "crashed: &lt;script&gt;" in html


def test_a_sweep_is_shown_with_its_best() -> None:
    best = {"job": "job_9", "parameters": {"/batch_size": 64, EVIL: EVIL}, "value": 0.1234567}
    sweep = Sweep(
        id="swp_1",
        state="running",
        promised=4,
        counts={"succeeded": 1, "queued": 3, "failed": 0},
        best=best,
    )
    html = shown(sweep)
    for told in ("swp_1", "1 of 4 jobs: 1 succeeded, 3 queued", "0.1235 by job_9", "/batch_size"):
        assert told in html


def test_a_sweep_says_which_budget_ended_it() -> None:
    asked: dict[str, Any] = {"budget": {"jobs": 4}}
    sweep = Sweep(id="swp_1", state="succeeded", promised=4, counts={"succeeded": 4}, spec=asked)
    assert "because its budget of 4 jobs is spent" in shown(sweep)
    ended = {"ending": "its budget of 5 s is spent"}
    assert "because its budget of 5 s is spent" in shown(sweep.model_copy(update=ended))
    fewer = sweep.model_copy(update={"counts": {"succeeded": 3}})
    assert "budget" not in shown(fewer)
    assert "budget" not in shown(sweep.model_copy(update={"spec": {}}))


JUDGED: dict[type[Judgment], tuple[dict[str, Any], int, str]] = {
    Ranking: (RANKING, 3, "The best is better than [all] by 0.47."),
    Importances: (IMPORTANCE, 4, "note: shares of 6 trials are mostly chance"),
    Marginals: (MARGINALS, 4, "max_lr"),
    Pair: (PAIR, 2, "mean val_accuracy: momentum down, max_lr across"),
    Pick: (PICK, 2, "/batch_size = 16 falls lowest."),
}


@pytest.mark.parametrize("kind", JUDGED, ids=lambda kind: kind.__name__)
def test_a_judgment_is_a_table_and_a_frame(kind: type[Judgment]) -> None:
    answer, rows, says = JUDGED[kind]
    found = kind.model_validate(answer)
    html = shown(found)
    assert says in html
    assert "<th>" in html
    frame = found.to_pandas()
    assert len(frame) == rows
    assert list(frame) == list(dict.fromkeys(name for row in found.rows for name in row))


def test_what_a_judgment_is_about_is_escaped() -> None:
    evil = {**RANKING["data"][0], "parameters": {f"/{EVIL}": EVIL, "/b": "[red]"}, "verdict": EVIL}
    html = shown(Ranking.model_validate({**RANKING, "data": [evil]}))
    assert html.count("&lt;script&gt;") == 2
    assert "[red]" in html


def test_columns_are_curves() -> None:
    html = shown(Columns({"iteration": np.arange(5000), EVIL: np.linspace(2, 1, 5000)}))
    assert "5,000 rows" in html
    assert len(html) < 8000  # of thousands of rows as many as there are pixels


def test_a_comparison_is_a_table() -> None:
    server = Recorded()
    server.add(training("job_1"), [falling(10)])
    server.add(training("job_2", name=EVIL, spec={"seed": 7}), [falling(10)])
    html = shown(server.client().compare(["job_1", "job_2"]))
    assert "<th>/seed</th>" in html
    assert html.count("<tr>") == 3


def test_a_curve_has_gaps_where_it_is_not_finite() -> None:
    y = np.array([3.0, 2.0, np.nan, 1.0, 0.5, np.inf])
    svg = curve_svg(np.geomspace(1e-3, 1, 6), y, log_x=True)
    assert svg.count("M") == 2
    assert svg.count("L") == 2
    assert curve_svg(np.arange(3), np.full(3, np.nan)) == ""


def test_in_a_notebook_a_job_is_drawn_in_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    told: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            told.append(html.data)

    def put(html: Any, *, display_id: bool) -> Handle:
        assert display_id
        told.append(html.data)
        return Handle()

    monkeypatch.setattr(display, "display", put)
    monkeypatch.setattr("stepsize.progress.in_notebook", lambda: True)
    running = training("job_1", state="running", progress={"iteration": 150, "iterations": 300})
    client = client_of(running, falling(300))
    watched = [client.job("job_1"), Job.model_validate(training("job_1"))]
    monkeypatch.setattr(client, "watch", lambda *_, **__: iter(watched))
    assert follow(client, "job_1").succeeded
    first, last = told
    assert "running · 150 of 300 · loss" in first
    assert "<svg" in first
    assert "width:50.0%" in first
    assert "succeeded" in last
    assert "width:100.0%" in last


def test_a_script_is_no_notebook() -> None:
    assert not in_notebook()
