"""Reads a range test: normalise, smooth, find the landmarks, suggest, and say how sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schedules.analysis.compat import suggestions
from schedules.analysis.divergence import divergence, head, out_of_bounds, persistence
from schedules.analysis.landmarks import LANDMARKS, Landmarks, find
from schedules.analysis.smoothing import local_linear, noise, smooth
from schedules.values import F64

Family = Literal["sgd", "adam"]
Status = Literal[
    "ok",
    "no_descent",
    "no_edge_in_range",
    "diverged_at_start",
    "too_noisy",
    "insufficient_points",
    "nonfinite",
]

MIN_POINTS = 20
MAX_BINS = 1000
"""A longer curve is averaged into so many bins: a thousandth of the range is fine enough."""

CAP = 1.5
"""Normalised losses above it say no more than that the run has left."""

DIVISOR = {"sgd": 2.0, "adam": 3.0}
"""How far below the edge the suggested peak lies."""

CLEAR = 4.0
"""A descent counts where the smoothed curve falls by so many standard errors."""

NOISE_LIMIT = 0.5
"""A curve whose noise is half its drop shows nothing."""

WIDTH = 0.02
"""Bandwidth, as a share of the curve, where none is chosen from the data."""

RESAMPLES = 64


@dataclass(frozen=True)
class Analysis:
    """The outcome of a range test; everything that a status rules out is None."""

    status: Status
    suggestion: dict[str, float] | None
    interval: dict[str, list[float]] | None
    landmarks: dict[str, float | None]
    compat: dict[str, float | None]
    agreement: None = None

    def result(self) -> dict[str, Any]:
        """As it stands in a job's result, safe to write as JSON."""
        return {
            "status": self.status,
            "suggestion": self.suggestion,
            "interval": self.interval,
            "agreement": self.agreement,
            "landmarks": self.landmarks,
            "compat": self.compat,
        }


def analyse(lr: F64, losses: Sequence[NDArray[np.floating]], *, family: Family) -> Analysis:
    """Reads a range test; answers with a status, never with an exception.

    Args:
        lr: the planned ramp, shape (n,), ascending.
        losses: one array per repeat, each as long as the repeat lasted.
        family: which divisor below the edge the optimizer needs.
    """
    runs = [np.asarray(run, np.float64)[: len(lr)] for run in losses]
    compat = _finite(suggestions(lr, runs[0])) if runs else {}
    rates, runs = _binned(lr, runs)
    planned = len(rates)
    early = _hopeless(planned, runs)
    if early is not None:
        return Analysis(early, None, None, dict.fromkeys(LANDMARKS), compat)
    stack = np.stack([normalised(run, planned=planned) for run in runs])
    curve = np.median(stack, axis=0)
    smoothed, width = smooth(curve)
    marks = find(rates, curve, smoothed)
    status = _status(runs, curve, smoothed, marks, planned=planned)
    if status != "ok" or marks.lr_edge is None:
        return Analysis(status, None, None, marks.as_dict(), compat)
    return Analysis(
        status,
        suggest(marks, family=family),
        _interval(rates, stack, width, family=family),
        marks.as_dict(),
        compat,
    )


def suggest(marks: Landmarks, *, family: Family) -> dict[str, float]:
    """Bounds for a cyclical schedule, and a rate to keep constant.

    `max_lr` is the edge (or the onset of ragged losses, where that comes first) over 2 for SGD
    and over 3 for the Adam family; `base_lr` is where the descent starts, kept within a quarter
    and a third of `max_lr`; a constant rate has no way down from its peak and takes half of it.
    """
    limits = [each for each in (marks.lr_edge, marks.lr_ragged) if each is not None]
    top = min(limits) / DIVISOR[family]
    begin = marks.lr_start if marks.lr_start is not None else 0.0
    return {
        "base_lr": float(np.clip(begin, top / 4, top / 3)),
        "max_lr": float(top),
        "fixed_lr": float(top / 2),
    }


def normalised(run: F64, *, planned: int) -> F64:
    """A run as `(L - Lmin) / (L0 - Lmin)`, capped, and padded with the cap once it has ended.

    L0 is the median of the first losses, Lmin the lowest of the smoothed ones. Shape (planned,).
    A run without any descent is all ones.
    """
    stop = divergence(run, planned=planned)
    gone = out_of_bounds(run, planned=planned)
    finite = np.where(np.isfinite(run), run, np.nan)
    begin = float(np.nanmedian(finite[: head(planned)]))
    inside = np.where(gone, np.nan, finite)
    if np.isnan(inside).all():
        return np.full(planned, CAP)
    # what is out of bounds must not pull the smoothed curve, above all not near its minimum
    ceiling = begin + max(0.5 * (begin - float(np.nanpercentile(inside, 5))), 0.0)
    flat = np.where(np.isfinite(run), np.minimum(finite, ceiling), ceiling)
    width = max(1.0, WIDTH * planned)
    lowest = float(local_linear(flat, width)[0][: stop or len(flat)].min())
    depth = begin - lowest
    if depth <= 0:
        return np.ones(planned)
    y = np.where(np.isfinite(run), (np.nan_to_num(finite) - lowest) / depth, CAP)
    padded = np.full(planned, CAP)
    padded[: len(y)] = np.minimum(y, CAP)
    return padded


def _hopeless(planned: int, runs: Sequence[F64]) -> Status | None:
    """The status of a test that cannot be read as a curve."""
    lengths = [len(run) for run in runs]
    if planned < MIN_POINTS or not runs or max(lengths) == 0:
        return "insufficient_points"
    if all(not np.isfinite(run[: head(planned)]).any() for run in runs):
        return "nonfinite"
    early = 2 * (head(planned) + persistence(planned))
    if np.median([divergence(run, planned=planned) or planned for run in runs]) <= early:
        return "diverged_at_start"
    if min(lengths) < MIN_POINTS:
        return "insufficient_points"
    return None


def _status(
    runs: Sequence[F64],
    curve: F64,
    smoothed: F64,
    marks: Landmarks,
    *,
    planned: int,
) -> Status:
    if not any(_descends(run, planned=planned) for run in runs):
        return "no_descent"
    residual = noise(curve - smoothed)
    if residual > NOISE_LIMIT or smoothed.max() - smoothed.min() < CLEAR * residual / np.sqrt(
        MIN_POINTS
    ):
        return "too_noisy"
    return "ok" if marks.lr_edge is not None else "no_edge_in_range"


def _descends(run: F64, *, planned: int) -> bool:
    """Whether the loss gets lower than chance explains."""
    finite = run[np.isfinite(run)]
    first = run[: head(planned)]
    first = first[np.isfinite(first)]
    if len(first) == 0 or len(finite) < MIN_POINTS:
        return False
    width = max(1.0, WIDTH * planned)
    fit, own = local_linear(finite, width)
    # the variance of a local fit is about the noise's times its own weight
    error = noise(finite) * float(np.sqrt(np.median(own) + 1 / len(first)))
    drop = float(np.median(first) - fit.min())
    return drop > max(CLEAR * error, 1e-9 * float(np.abs(finite).max()))


def _interval(
    rates: F64,
    stack: F64,
    width: float,
    *,
    family: Family,
) -> dict[str, list[float]] | None:
    """Where 90 % of the suggestions lie that other draws of the repeats would have led to."""
    repeats = len(stack)
    if repeats == 1:
        return None
    drawn = np.random.default_rng(0).integers(repeats, size=(RESAMPLES, repeats))
    draws, times = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    curves = np.median(stack[draws], axis=1)
    fits, _ = local_linear(curves, width)
    tops: list[float] = []
    for curve, fit, count in zip(curves, fits, times, strict=True):
        marks = find(rates, curve, fit)
        if marks.lr_edge is not None:
            tops += [suggest(marks, family=family)["max_lr"]] * int(count)
    if len(tops) < RESAMPLES // 2:
        return None
    low, high = 10 ** np.percentile(np.log10(tops), [5, 95])
    return {"max_lr": [float(low), float(high)]}


def _binned(lr: F64, runs: list[F64]) -> tuple[F64, list[F64]]:
    """A long test as MAX_BINS means; a bin is finite where any of its losses is."""
    if len(lr) <= MAX_BINS:
        return lr, runs
    starts = np.linspace(0, len(lr), MAX_BINS, endpoint=False).astype(int)
    return np.exp(_means(np.log(lr), starts)), [_means(run, starts) for run in runs]


def _means(values: F64, starts: NDArray[np.int_]) -> F64:
    starts = starts[starts < len(values)]
    if len(starts) == 0:
        return values
    finite = np.isfinite(values)
    total = np.add.reduceat(np.where(finite, values, 0.0), starts)
    count = np.add.reduceat(finite.astype(np.float64), starts)
    means: F64 = np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0)
    return means


def _finite(found: dict[str, float | None]) -> dict[str, float | None]:
    return {
        name: value if value is not None and np.isfinite(value) else None
        for name, value in found.items()
    }
