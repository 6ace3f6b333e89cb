"""The pictures: what is on them, and when there is none."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from matplotlib.figure import Figure

from schedules.analysis import Status
from stepsize import Client, Job, StepsizeError
from stepsize.plots import figure, save
from stepsize.values import STATUSES

PARTS = {
    "model": {"name": "mlp"},
    "data": {"name": "digits"},
    "optimizer": {"name": "adam"},
    "batch_size": 32,
}
LR = np.geomspace(1e-5, 10, 300)
RESULT = {
    "status": "ok",
    "suggestion": {"base_lr": 0.002, "max_lr": 0.008},
    "landmarks": {"lr_start": 1e-4, "lr_steep": 2e-3, "lr_min": 0.02, "lr_edge": None},
}
TESTED = Job(
    id="job_1",
    kind="range_test",
    state="succeeded",
    name="digits",
    spec={**PARTS, "repeats": 2, "range": {"ramp": "exponential", "iterations": 300}},
    result=RESULT,
)
TRAINED = Job(
    id="job_2",
    kind="training",
    state="succeeded",
    spec=PARTS,
    result={"diverged_at": 40},
)


def loss(n: int) -> list[float | None]:
    """Falls, and rises steeply at the end; its last value is not finite."""
    curve: list[float | None] = list(2.3 - 2 * LR[:n] ** 0.2 + LR[:n] ** 4)
    return [*curve[:-1], None]


Columns = Callable[[Mapping[str, str]], dict[str, Any]]


def client_of(columns: Columns) -> Client:
    def handle(request: httpx.Request) -> httpx.Response:
        found = columns(request.url.params)
        n = len(found["iteration"])
        meta = {"job": "job_1", "total_points": n, "returned": n, "next_start": n, "complete": True}
        return httpx.Response(200, json={**meta, "columns": found})

    return Client("http://stepsize.test", http_transport=httpx.MockTransport(handle))


def rows(n: int) -> dict[str, Any]:
    return {"iteration": list(range(n)), "loss": loss(n) if n else [], "lr": LR[:n].tolist()}


def test_a_range_test_shows_every_repeat_the_suggestion_and_the_landmarks() -> None:
    client = client_of(lambda query: rows(300 if query["repeat"] == "0" else 250))
    (ax,) = figure(client, TESTED).axes
    assert ax.get_xscale() == "log"
    assert "learning rate" in ax.get_xlabel()
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["repeat 1"].get_xdata(), LR)
    np.testing.assert_allclose(lines["repeat 2"].get_xdata(), LR[:250])
    crosses = [
        line for line in ax.get_lines() if line.get_marker() == "X" and len(line.get_xdata())
    ]
    assert [cross.get_xdata()[0] for cross in crosses] == [LR[249]]  # the one that stopped early
    (band,) = ax.patches
    assert band.get_x() == 0.002
    assert band.get_width() == pytest.approx(0.006)
    assert {text.get_text() for text in ax.texts} == {"descent begins", "minimum"}
    assert ax.get_ylim()[1] < 5  # and not the 10^4 that the loss has risen to


def test_a_status_that_suggests_nothing_is_on_the_picture_with_what_to_do() -> None:
    result = {"status": "no_edge_in_range", "advice": "Raise the end.", "suggestion": None}
    job = TESTED.model_copy(update={"result": result})
    (ax,) = figure(client_of(lambda _: rows(300)), job).axes
    assert "no upper limit was found" in ax.get_title("left")
    assert "Raise the end." in ax.get_title("left")
    assert not ax.patches


def test_interval_checks_and_agreement_are_on_the_picture() -> None:
    result = {
        **RESULT,
        "interval": {"max_lr": [0.005, 0.01]},
        "agreement": "medium",
        "checks": {"curvature": {"lr": 0.1}, "line_search": {"lr": None}},
        "diverged": [False, True],
    }
    job = TESTED.model_copy(update={"result": result})
    (ax,) = figure(client_of(lambda _: rows(300)), job).axes
    assert sorted(patch.get_x() for patch in ax.patches) == [0.002, 0.005]
    assert "agreement of edge and checks: medium" in ax.get_title("left")
    assert {text.get_text() for text in ax.texts} == {
        "descent begins",
        "minimum",
        "limit by curvature",
    }
    crosses = [
        line for line in ax.get_lines() if line.get_marker() == "X" and len(line.get_xdata())
    ]
    assert len(crosses) == 1  # all rows are there, and yet it was stopped


def test_accuracy_has_a_panel_of_its_own_with_the_bounds_read_from_it() -> None:
    spec = {**TESTED.spec, "record": ["accuracy"]}
    result = {**RESULT, "accuracy": {"base_lr": 1e-3, "max_lr": 0.01}}
    client = client_of(lambda _: rows(300) | {"accuracy": [0.5] * 300})
    _, accuracy = figure(client, TESTED.model_copy(update={"spec": spec, "result": result})).axes
    np.testing.assert_allclose(accuracy.get_lines()[0].get_ydata(), 50)
    (band,) = accuracy.patches
    assert band.get_x() == 1e-3
    assert "learning rate" in accuracy.get_xlabel()


def test_the_loss_that_was_read_is_the_one_that_is_drawn() -> None:
    asked: list[str] = []

    def columns(query: Mapping[str, str]) -> dict[str, Any]:
        asked.append(query["names"])
        if query["names"] == "val_loss":
            return {"iteration": [100, 200], "val_loss": [1.0, 0.5]}
        return rows(300) | {"probe_loss": loss(300)}

    client = client_of(columns)
    for kind in ("probe", "validation"):
        job = TESTED.model_copy(update={"spec": {**TESTED.spec, "loss": kind, "repeats": 1}})
        (ax,) = figure(client, job).axes
        assert kind in ax.get_ylabel()
    assert list(dict.fromkeys(asked)) == ["probe_loss,lr", "loss,lr", "val_loss"]
    points = next(line for line in ax.get_lines() if line.get_marker() == ".")
    np.testing.assert_allclose(points.get_xdata(), LR[[99, 199]])


def test_every_status_but_ok_is_explained() -> None:
    assert STATUSES.keys() == {status.value for status in Status} - {"ok"}


def test_a_training_shows_loss_accuracy_and_learning_rate(tmp_path: Path) -> None:
    def columns(query: Mapping[str, str]) -> dict[str, Any]:
        if query["names"] == "val_loss,val_accuracy":
            return {"iteration": [50, 100], "val_loss": [0.5, 0.4], "val_accuracy": [0.8, 0.9]}
        return rows(100)

    losses, accuracy, rate = figure(client_of(columns), TRAINED).axes
    assert [line.get_label() for line in losses.get_lines()][:2] == [
        "training (per batch)",
        "validation",
    ]
    np.testing.assert_allclose(accuracy.get_lines()[0].get_ydata(), [80, 90])
    np.testing.assert_allclose(rate.get_lines()[0].get_ydata(), LR[:100])
    assert rate.get_lines()[1].get_xdata()[0] == 40  # where it diverged
    assert "iteration" in rate.get_xlabel()


@pytest.mark.parametrize(
    ("name", "begins"), [("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a", b"\x89PNG")]
)
def test_a_file_is_what_its_ending_says(tmp_path: Path, name: str, begins: bytes) -> None:
    save(Figure(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_draws_a_png_into_a_new_folder(tmp_path: Path) -> None:
    client = client_of(lambda _: rows(300))
    picture = figure(client, TESTED)
    path = tmp_path / "new" / "curve.png"
    save(picture, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    shown = getattr(picture, "_repr_png_")()  # noqa: B009 - as a notebook asks for it
    assert shown.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        (TESTED, "recorded nothing to draw"),
        (TRAINED, "recorded nothing to draw"),
        (TESTED.model_copy(update={"state": "running"}), "wait until it has finished"),
    ],
)
def test_says_why_there_is_nothing_to_draw(job: Job, complaint: str) -> None:
    with pytest.raises(StepsizeError, match=complaint):
        figure(client_of(lambda _: rows(0)), job)
