"""A finished job as a picture: the only user of matplotlib, which is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepsize.errors import StepsizeError
from stepsize.limits import loss_limits
from stepsize.values import STATUSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from stepsize.client import Client
    from stepsize.comparing import Along, Comparison
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
COMPARED = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
REPEATS = (BLUE, ORANGE, PURPLE, SKY)
POINTS = 4000
"""Rows of a view: about two for every pixel across."""

LOOK = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "font.size": 10,
    "legend.frameon": False,
}
ALONG = {"iteration": "iteration (optimizer update)", "epoch": "epoch", "time": "seconds"}
LANDMARKS = {
    "lr_start": "descent begins",
    "lr_min": "minimum",
    "lr_edge": "edge of stability",
    "lr_ragged": "ragged",
}
CHECKS = {"curvature": "limit by curvature", "line_search": "limit by line search"}
READ = {
    "batch": ("loss", "training loss (batch mean, before the update)"),
    "probe": ("probe_loss", "loss of the probe batch (after the update)"),
    "validation": ("loss", "loss (points: validation)"),
}
"""Series and axis by the loss that a range test is read by."""


def save(picture: Figure, path: str | Path) -> None:
    """Writes a picture as a file of its ending, PNG without; the folder is made if needed."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = file.suffix[1:].lower()
    known = picture.canvas.get_supported_filetypes()
    picture.savefig(file, dpi=150, format=kind if kind in known else "png")


def figure(client: Client, job: Job) -> Figure:
    """The picture itself: loss by learning rate, or the course of a training by iteration."""
    mpl = _matplotlib()
    if not job.finished:
        raise StepsizeError(f"{job.id} is {job.state}: wait until it has finished")
    with mpl.rc_context(LOOK):
        return _range_test(client, job) if job.kind == "range_test" else _training(client, job)


def overlaid(compared: Comparison, *, name: str, along: Along) -> Figure:
    """The curves of several jobs on common axes."""
    mpl = _matplotlib()
    curves = compared.curves(name, along=along, points=POINTS)
    drawn = [(x, y) for x, y in curves if len(y)]
    if not drawn:
        raise StepsizeError(f"none of these jobs has recorded a {name}")
    with mpl.rc_context(LOOK):
        from stepsize.picture import Picture  # noqa: PLC0415 - see the module

        picture = Picture(figsize=(8.5, 5.2), layout="constrained")
        ax = picture.subplots()
        for index, ((x, y), label) in enumerate(zip(curves, compared.labels(), strict=True)):
            color = COMPARED[index % len(COMPARED)]
            ax.plot(x, y, color=color, linewidth=1, alpha=0.85, label=label)
        if compared.are_range_tests:
            ax.set_xscale("log")
        if name.endswith("loss"):
            ax.set_ylim(*loss_limits([y for _, y in drawn]))
        ax.set_ylabel(name)
        ax.set_xlabel("learning rate" if compared.are_range_tests else ALONG[along])
        ax.margins(x=0.01)
        ax.legend(fontsize=9)
        return picture


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - heavy, and only for those who draw
    except ImportError as error:
        raise StepsizeError("drawing needs matplotlib: pip install 'stepsize[plot]'") from error
    return mpl


def _range_test(client: Client, job: Job) -> Figure:
    read, label = READ[job.spec.get("loss", "batch")]
    measured = "accuracy" in job.spec.get("record", ())
    names = (read, "lr", "accuracy") if measured else (read, "lr")
    repeats = [
        client.series(job, names, points=POINTS, repeat=repeat)
        for repeat in range(job.spec["repeats"])
    ]
    repeats = [series for series in repeats if len(series)]
    if not repeats:
        raise StepsizeError(f"{job.id} recorded nothing to draw")
    picture, axes = _panels(job, rows=1 + measured, height=7.0 if measured else 5.2)
    ax, result = axes[0], job.result or {}
    ax.set_xscale("log" if job.spec["range"]["ramp"] == "exponential" else "linear")
    low, high = loss_limits([series[read] for series in repeats])
    ax.set_ylim(low, high)
    stopped = _stopped(job, repeats)
    for index, series in enumerate(repeats):
        color = REPEATS[index % len(REPEATS)]
        name = f"repeat {index + 1}" if len(repeats) <= len(REPEATS) else None
        ax.plot(series.lr, series[read], color=color, linewidth=1, alpha=0.8, label=name)
        if job.spec.get("loss") == "validation":
            _validation(ax, client, job, index, series)
        if stopped[index]:
            ax.plot(series.lr[-1], high, "X", color=color, markersize=9, clip_on=False)
    if result.get("suggestion"):
        _suggestion(ax, job.suggestion, (result.get("interval") or {}).get("max_lr"))
    checks = {name: found.get("lr") for name, found in (result.get("checks") or {}).items()}
    _landmarks(ax, {**(result.get("landmarks") or {}), **checks})
    if any(stopped):
        ax.plot([], [], "X", color="0.4", label="stopped: it diverges")
    ax.set_ylabel(label)
    _say(ax, result, job.state)
    log = ax.get_xscale() == "log"
    ax.legend(loc="lower left" if log else "lower right", fontsize=9)  # where no curves are
    if measured:
        _accuracy(axes[1], repeats, result.get("accuracy") or {})
    axes[-1].set_xlabel("learning rate")
    return picture


def _stopped(job: Job, repeats: list[Series]) -> list[bool]:
    """Which repeats diverged; an older server does not say, but they are short."""
    known = (job.result or {}).get("diverged")
    if known is not None:
        return [bool(each) for each in known]
    planned = job.spec["range"]["iterations"]
    return [series.iteration[-1] + 1 < planned for series in repeats]


def _validation(ax: Axes, client: Client, job: Job, index: int, series: Series) -> None:
    """The validation losses of a repeat at the rates of the updates before them."""
    import numpy as np  # noqa: PLC0415 - see the module

    found = client.series(job, ("val_loss",), repeat=index)
    lr = np.interp(found.iteration - 1, series.iteration, series.lr)
    ax.plot(lr, found.val_loss, ".", color=REPEATS[index % len(REPEATS)], markersize=5)


def _say(ax: Axes, result: Mapping[str, Any], state: str) -> None:
    """Above the axes: what is wrong and what to do, or how well the checks agree."""
    status = result.get("status", state)
    if status != "ok":
        said = f"{STATUSES.get(status, status)}\n{result.get('advice') or ''}".strip()
        ax.set_title(said, color=RED, fontsize=9, loc="left")
    elif result.get("agreement"):
        said = f"agreement of edge and checks: {result['agreement']}"
        ax.set_title(said, color=GREEN, fontsize=9, loc="left")


def _accuracy(ax: Axes, repeats: list[Series], places: Mapping[str, float | None]) -> None:
    """Accuracy as Smith reads it: from where it rises to where it stops to."""
    for index, series in enumerate(repeats):
        color = REPEATS[index % len(REPEATS)]
        ax.plot(series.lr, 100 * series.accuracy, color=color, linewidth=0.7, alpha=0.8)
    low, high = places.get("base_lr"), places.get("max_lr")
    if low is not None and high is not None:
        label = f"rises (Smith's bounds): {low:.2g} to {high:.2g}"
        ax.axvspan(low, high, color=BLUE, alpha=0.1, linewidth=0, label=label)
        log = ax.get_xscale() == "log"
        ax.legend(loc="upper left" if log else "upper right", fontsize=9)
    ax.set_ylabel("accuracy\nof batches (%)")


def _suggestion(ax: Axes, best: Suggestion, interval: Sequence[float] | None) -> None:
    if interval is not None:
        label = f"90 % of max_lr:\n{interval[0]:.2g} to {interval[1]:.2g}"
        ax.axvspan(*interval, color=GREEN, alpha=0.12, linewidth=0, hatch="//", label=label)
    label = f"suggested cycle:\n{best.base_lr:.2g} to {best.max_lr:.2g}"
    ax.axvspan(best.base_lr, best.max_lr, color=GREEN, alpha=0.18, linewidth=0, label=label)
    for bound in (best.base_lr, best.max_lr):
        ax.axvline(bound, color=GREEN, linewidth=1)


def _landmarks(ax: Axes, landmarks: Mapping[str, float | None]) -> None:
    names = LANDMARKS | CHECKS
    known = {name: lr for name, lr in landmarks.items() if name in names and lr is not None}
    for place, name in enumerate(sorted(known, key=lambda name: known[name])):
        # on a linear ramp the first landmarks lie at the very left of the picture
        beyond = name not in {"lr_start", "lr_min"} or ax.get_xscale() == "linear"
        color = RED if name in {"lr_edge", "lr_ragged"} else "0.35"
        style = ":" if name in CHECKS else "--"
        ax.axvline(known[name], color=color, linewidth=1, linestyle=style)
        ax.annotate(
            names[name],
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
    from stepsize.picture import Picture  # noqa: PLC0415 - see the module

    picture = Picture(figsize=(8.5, height), layout="constrained")
    heights = [2.2, 1.2, 1.0]
    axes = picture.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights[:rows])
    parts = " · ".join(job.spec[field]["name"] for field in ("model", "data", "optimizer"))
    title = job.name or job.kind.replace("_", " ")
    picture.suptitle(f"{title}\n{parts} · batch {job.spec['batch_size']}", fontsize=11)
    return picture, list(axes[:, 0])
