"""A finished job as a picture: the only user of matplotlib, which is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stepsize.errors import StepsizeError
from stepsize.values import STATUSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stepsize.client import Client
    from stepsize.series import Series
    from stepsize.values import Job, Suggestion

# Okabe and Ito's palette: told apart with any colour vision, and in print
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
REPEATS = (BLUE, ORANGE, PURPLE, SKY)
POINTS = 4000
"""Rows of a view: about two for every pixel across."""

LANDMARKS = {
    "lr_start": "descent begins",
    "lr_min": "minimum",
    "lr_edge": "edge of stability",
    "lr_ragged": "ragged",
}


def draw(client: Client, job: Job, path: Path) -> Path:
    """Writes the job's picture as a PNG file and returns its path.

    Raises:
        StepsizeError: the job has no series to draw, or matplotlib is not installed.
    """
    picture = figure(client, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150, format="png")
    return path


def figure(client: Client, job: Job) -> Figure:
    """The picture itself: loss by learning rate, or the course of a training by iteration."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - heavy, and only for those who draw
    except ImportError as error:
        raise StepsizeError("drawing needs matplotlib: pip install 'stepsize[plot]'") from error
    if not job.finished:
        raise StepsizeError(f"{job.id} is {job.state}: wait until it has finished")
    with mpl.rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.axisbelow": True,
            "font.size": 10,
            "legend.frameon": False,
        }
    ):
        return _range_test(client, job) if job.kind == "range_test" else _training(client, job)


def _range_test(client: Client, job: Job) -> Figure:
    repeats = [
        client.series(job, ("loss", "lr"), points=POINTS, repeat=repeat)
        for repeat in range(job.spec["repeats"])
    ]
    repeats = [series for series in repeats if len(series)]
    if not repeats:
        raise StepsizeError(f"{job.id} recorded nothing to draw")
    picture, (ax,) = _panels(job, rows=1, height=5.2)
    ramp = job.spec["range"]
    ax.set_xscale("log" if ramp["ramp"] == "exponential" else "linear")
    low, high = _loss_limits(repeats)
    ax.set_ylim(low, high)
    stopped = False
    for index, series in enumerate(repeats):
        color = REPEATS[index % len(REPEATS)]
        label = f"repeat {index + 1}" if len(repeats) <= len(REPEATS) else None
        ax.plot(series.lr, series.loss, color=color, linewidth=1, alpha=0.8, label=label)
        if series.iteration[-1] + 1 < ramp["iterations"]:
            ax.plot(series.lr[-1], high, "X", color=color, markersize=9, clip_on=False)
            stopped = True
    result = job.result or {}
    if result.get("suggestion"):
        _suggestion(ax, job.suggestion)
    _landmarks(ax, result.get("landmarks") or {})
    if stopped:
        ax.plot([], [], "X", color="0.4", label="stopped: it diverges")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("training loss (batch mean, before the update)")
    status = result.get("status", job.state)
    if status != "ok":
        ax.set_title(STATUSES.get(status, status), color=RED, fontsize=10, loc="left")
    ax.legend(loc="lower left", fontsize=9)
    return picture


def _loss_limits(repeats: list[Series]) -> tuple[float, float]:
    """The range that matters: where a run diverges, its loss would flatten all the rest."""
    import numpy as np  # noqa: PLC0415 - see the module

    first = max(float(np.nanmedian(s.loss[: max(len(s) // 10, 1)])) for s in repeats)
    lowest = min(float(np.nanmin(s.loss)) for s in repeats)
    highest = max(float(np.nanmax(s.loss)) for s in repeats)
    drop = max(first - lowest, 1e-12 + 0.1 * abs(first))
    return lowest - 0.08 * drop, min(highest, first + 0.6 * drop) + 0.12 * drop


def _suggestion(ax: Axes, best: Suggestion) -> None:
    label = f"suggested cycle:\n{best.base_lr:.2g} to {best.max_lr:.2g}"
    ax.axvspan(best.base_lr, best.max_lr, color=GREEN, alpha=0.18, linewidth=0, label=label)
    for bound in (best.base_lr, best.max_lr):
        ax.axvline(bound, color=GREEN, linewidth=1)


def _landmarks(ax: Axes, landmarks: Mapping[str, float | None]) -> None:
    known = {name: lr for name, lr in landmarks.items() if name in LANDMARKS and lr is not None}
    for place, name in enumerate(sorted(known, key=lambda name: known[name])):
        beyond = name in {"lr_edge", "lr_ragged"}
        color = RED if beyond else "0.35"
        ax.axvline(known[name], color=color, linewidth=1, linestyle="--")
        ax.annotate(
            LANDMARKS[name],
            (known[name], 1),
            xycoords=("data", "axes fraction"),
            # on steps, since landmarks may be close
            xytext=(4 if beyond else -4, -4 - 16 * place),
            textcoords="offset points",
            ha="left" if beyond else "right",
            va="top",
            fontsize=8,
            color=color,
            bbox={"boxstyle": "round,pad=0.15", "color": "white", "alpha": 0.8},
        )


def _training(client: Client, job: Job) -> Figure:
    train = client.series(job, ("loss", "lr"), points=POINTS)
    if not len(train):
        raise StepsizeError(f"{job.id} recorded nothing to draw")
    validation = client.series(job, ("val_loss", "val_accuracy"))
    picture, (loss, accuracy, rate) = _panels(job, rows=3, height=7.2)
    loss.plot(train.iteration, train.loss, color=SKY, linewidth=0.7, label="training (per batch)")
    loss.plot(
        validation.iteration,
        validation.val_loss,
        "o-",
        color=BLUE,
        markersize=4,
        label="validation",
    )
    loss.set_ylabel("loss")
    loss.legend(loc="upper right", fontsize=9)
    accuracy.plot(
        validation.iteration, 100 * validation.val_accuracy, "o-", color=RED, markersize=4
    )
    accuracy.set_ylabel("validation\naccuracy (%)")
    rate.plot(train.iteration, train.lr, color=GREEN, linewidth=1.3)
    rate.set_ylabel("learning rate")
    rate.set_ylim(bottom=0)
    rate.set_xlabel("iteration (optimizer update)")
    diverged = (job.result or {}).get("diverged_at")
    for ax in (loss, accuracy, rate):
        ax.margins(x=0.01)
        if diverged is not None:
            ax.axvline(diverged, color=RED, linestyle="--", linewidth=1)
    return picture


def _panels(job: Job, *, rows: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see the module

    picture = Figure(figsize=(8.5, height), layout="constrained")
    heights = [2.2, 1.2, 1.0] if rows > 1 else [1.0]
    axes = picture.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights)
    parts = " · ".join(job.spec[field]["name"] for field in ("model", "data", "optimizer"))
    title = job.name or job.kind.replace("_", " ")
    picture.suptitle(f"{title}\n{parts} · batch {job.spec['batch_size']}", fontsize=11)
    return picture, list(axes[:, 0])
