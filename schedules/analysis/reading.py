"""Reads a range test: a status, and where it is ok, the rates to train with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.accuracy import Accuracy, read_accuracy
from schedules.analysis.compat import Compat, compat
from schedules.analysis.curve import cells, curve_of, gone_from, pooled
from schedules.analysis.landmarks import Landmarks, landmarks
from schedules.analysis.status import ADVICE, Status, status_of
from schedules.analysis.suggestion import DIVISORS, Family, Suggestion, suggest
from schedules.values import F64

Loss = Literal["batch", "probe", "validation"]
"""What was measured: each batch before its update, or something else after an update."""

RESAMPLES = 100
SEED = 0
SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Analysis:
    """The outcome of a range test.

    Attributes:
        interval: where 90 % of the `max_lr` lie that resampled repeats lead to; None with one.
        accuracy: Smith's reading of the accuracy; None where none was given.
    """

    status: Status
    suggestion: Suggestion | None = None
    interval: tuple[float, float] | None = None
    landmarks: Landmarks = field(default_factory=Landmarks)
    accuracy: Accuracy | None = None
    compat: Compat = field(default_factory=Compat)

    def result(self) -> dict[str, Any]:
        """As a job's result shows it; safe to write as JSON."""
        return {
            "status": self.status.value,
            "advice": ADVICE.get(self.status),
            "suggestion": None if self.suggestion is None else asdict(self.suggestion),
            "interval": None if self.interval is None else {"max_lr": list(self.interval)},
            "landmarks": asdict(self.landmarks),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "compat": asdict(self.compat),
        }


def analyse(
    lr: F64,
    losses: Sequence[ArrayLike],
    *,
    family: Family,
    loss: Loss = "batch",
    accuracies: Sequence[ArrayLike] = (),
    diverged: Sequence[bool] = (),
) -> Analysis:
    """Read a range test. Whatever the losses are, the answer is a status, never an exception.

    A loss that was computed before its update says nothing of the rate of that update: it is what
    the rate before it has led to, and is read as belonging to that one.

    Args:
        lr: the rates of the whole ramp, or of those iterations that were measured; positive and
            ascending, shape (n,).
        losses: one series per repeat, shorter than `lr` where it stopped early.
        family: how far below the edge the optimizer has to stay.
        loss: what the losses are, and so the rates that they belong to.
        accuracies: one series per repeat, measured with the losses.
        diverged: which repeats were stopped since they had diverged; without it, and besides,
            this is judged by the losses.
    """
    peers = compat(lr, losses[0]) if losses else Compat()
    flags = diverged or [False] * len(losses)
    gone = [gone_from(y, lr, diverged=flag) for y, flag in zip(losses, flags, strict=True)]
    measured = None
    if accuracies:
        errors = [1 - np.asarray(each, dtype=np.float64) for each in accuracies]
        rates, table = cells(lr if loss == "validation" else before(lr), errors, gone)
        measured = read_accuracy(rates, pooled(table))

    rates, table = cells(before(lr) if loss == "batch" else lr, losses, gone)
    pool = pooled(table)
    curve = curve_of(rates, pool)
    status = status_of(rates, pool, curve)
    if curve is None or status not in {Status.OK, Status.NO_EDGE_IN_RANGE, Status.TOO_NOISY}:
        return Analysis(status, accuracy=measured, compat=peers)
    marks = landmarks(curve)
    if status is not Status.OK or marks.lr_edge is None:
        return Analysis(status, landmarks=marks, accuracy=measured, compat=peers)
    suggestion = suggest(marks.lr_edge, marks.lr_start or 0.0, family)
    divisor = DIVISORS[family]["peak"]
    interval = interval_of(rates, table, curve.half_width, divisor, suggestion.max_lr)
    return Analysis(status, suggestion, interval, marks, measured, peers)


def before(lr: F64) -> F64:
    """The rate of the update before each, on a ramp that had begun one earlier.

    >>> before(np.array([0.1, 0.2, 0.4]))
    array([0.05, 0.1 , 0.2 ])
    """
    if lr.size < 2:  # noqa: PLR2004 - a ramp has two
        return lr
    return np.append(max(lr[0] * (lr[0] / lr[1]), SMALLEST), lr[:-1])


def interval_of(
    lr: F64,
    table: F64,
    half_width: float,
    divisor: float,
    max_lr: float,
) -> tuple[float, float] | None:
    """The 5 and 95 % quantiles of `log10 max_lr` over resampled repeats; None with one repeat.

    A resample without an edge counts as one at the end of the ramp.
    """
    repeats = len(table)
    if repeats == 1:
        return None
    drawn = np.random.default_rng(SEED).integers(repeats, size=(RESAMPLES, repeats))
    # few repeats make few different resamples
    samples, times = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    curves = [curve_of(lr, pooled(table[sample]), half_width) for sample in samples]
    edges = [(curve and landmarks(curve).lr_edge) or lr[-1] for curve in curves]
    low, high = 10 ** np.quantile(np.repeat(np.log10(edges), times), [0.05, 0.95]) / divisor
    return min(float(low), max_lr), max(float(high), max_lr)
