"""Reads a range test: a status, and where it is ok, the rates to train with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.compat import Compat, compat
from schedules.analysis.curve import (
    FEWEST,
    NOISY,
    OUTLIER,
    Curve,
    cells,
    curve_of,
    persistence,
    pooled,
    reaches,
    started_at,
    trend,
)
from schedules.analysis.landmarks import Landmarks, edge, first_run, landmarks
from schedules.analysis.smoothing import noise
from schedules.values import F64

Family = Literal["sgd", "adam"]

DIVISOR: dict[Family, float] = {"sgd": 2.0, "adam": 3.0}
"""How far below the edge to stay."""

FEWEST_PLANNED = 20
EARLY = 0.25
"""Share of the ramp in which a rise means that the ramp began too high."""

RISEN = 5.0
"""By how many times its noise a loss must have risen to count as risen."""

RESAMPLES = 100
SEED = 0


class Status(StrEnum):
    """What came of a range test. Only with `ok` is there a suggestion."""

    OK = "ok"
    """The loss fell and came back: there is an edge."""
    NO_DESCENT = "no_descent"
    """It never fell by more than noise explains, whatever came later."""
    NO_EDGE_IN_RANGE = "no_edge_in_range"
    """It fell, and was still low where the ramp ended: raise the end. The other landmarks stand."""
    DIVERGED_AT_START = "diverged_at_start"
    """It rose in the first quarter, before it fell: lower the start."""
    TOO_NOISY = "too_noisy"
    """It fell, but noise hides where it came back: more repeats, iterations or larger batches."""
    INSUFFICIENT_POINTS = "insufficient_points"
    """Fewer than 20 iterations were planned, or 10 recorded."""
    NONFINITE = "nonfinite"
    """It was not finite to begin with, so no rate is to blame: look at the model and the data."""


@dataclass(frozen=True)
class Suggestion:
    """Learning rates to train with: bounds of a cyclical schedule, and one to keep constant."""

    base_lr: float
    max_lr: float
    fixed_lr: float


@dataclass(frozen=True)
class Analysis:
    """The outcome of a range test.

    Attributes:
        interval: where 90 % of the `max_lr` lie that resampled repeats lead to; None with one.
    """

    status: Status
    suggestion: Suggestion | None = None
    interval: tuple[float, float] | None = None
    landmarks: Landmarks = field(default_factory=Landmarks)
    compat: Compat = field(default_factory=Compat)

    def result(self) -> dict[str, Any]:
        """As a job's result shows it; safe to write as JSON.

        `agreement` needs a second opinion, of the curvature or a line search, and is None.
        """
        return {
            "status": self.status.value,
            "suggestion": None if self.suggestion is None else asdict(self.suggestion),
            "interval": None if self.interval is None else {"max_lr": list(self.interval)},
            "agreement": None,
            "landmarks": asdict(self.landmarks),
            "compat": asdict(self.compat),
        }


def analyse(
    lr: F64,
    losses: Sequence[ArrayLike],
    *,
    family: Family,
) -> Analysis:
    """Read a range test. Whatever the losses are, the answer is a status, never an exception.

    Args:
        lr: the rates of the whole ramp, positive and ascending, shape (n,).
        losses: one series per repeat, shorter than `lr` where it stopped early.
        family: how far below the edge the optimizer has to stay.
    """
    peers = compat(lr, losses[0]) if losses else Compat()
    rates, table = cells(lr, losses)
    loss = pooled(table)
    curve = curve_of(rates, loss)
    status = status_of(rates, loss, curve)
    if curve is None or status not in {Status.OK, Status.NO_EDGE_IN_RANGE, Status.TOO_NOISY}:
        return Analysis(status, compat=peers)
    marks = landmarks(curve)
    if status is not Status.OK:
        return Analysis(status, landmarks=marks, compat=peers)
    divisor = DIVISOR[family]
    suggestion = suggest(marks, divisor)
    return Analysis(
        status,
        suggestion,
        interval_of(rates, table, curve.half_width, divisor, suggestion.max_lr),
        marks,
        peers,
    )


def suggest(marks: Landmarks, divisor: float) -> Suggestion:
    """`max_lr = min(edge, ragged) / divisor`; `base_lr = clamp(lr_start, max_lr/4, max_lr/3)`.

    `fixed_lr = max_lr / 2`: a constant rate never comes down to where noise settles, and wants
    to be lower than the peak of a schedule that does.
    """
    max_lr = limit(marks, otherwise=inf) / divisor
    base_lr = float(np.clip(marks.lr_start or 0.0, max_lr / 4, max_lr / 3))
    return Suggestion(base_lr=base_lr, max_lr=max_lr, fixed_lr=max_lr / 2)


def status_of(lr: F64, loss: F64, curve: Curve | None) -> Status:
    """The status of a pooled curve, and of its normalised form where it has one."""
    unread = unreadable(loss, lr.size)
    if unread is not None:
        return unread
    if curve is None:
        return Status.DIVERGED_AT_START if rises_early(loss, lr.size) else Status.NO_DESCENT
    if curve.y[0] < 1 - max(0.5, OUTLIER * curve.noise):
        return Status.DIVERGED_AT_START  # the height it fell from, it had risen to at once
    if curve.error > NOISY:
        return Status.TOO_NOISY
    return Status.NO_EDGE_IN_RANGE if edge(curve) is None else Status.OK


def unreadable(loss: F64, planned: int) -> Status | None:
    """The status of a pooled curve with too few points to look at, else None."""
    points = reaches(loss)
    if planned < FEWEST_PLANNED or loss.size == 0:
        return Status.INSUFFICIENT_POINTS
    if np.isnan(started_at(loss, planned)):
        return Status.NONFINITE
    if points >= FEWEST:
        return None
    return Status.DIVERGED_AT_START if points < loss.size else Status.INSUFFICIENT_POINTS


def rises_early(loss: F64, planned: int) -> bool:
    """Whether the loss is gone, or for 3 % above its beginning by 5 sd, in the first quarter."""
    points = reaches(loss)
    finite = loss[:points][np.isfinite(loss[:points])]
    usual = trend(loss[:points], planned)
    above = usual > min(started_at(loss, planned), usual[0]) + RISEN * noise(finite)
    rise = first_run(above, persistence(planned), 0)
    if rise is None and points < loss.size:
        rise = points
    return rise is not None and rise <= EARLY * planned


def limit(marks: Landmarks, *, otherwise: float) -> float:
    """The rate that a schedule must stay below: the edge, or where the loss turns ragged."""
    known = [rate for rate in (marks.lr_edge, marks.lr_ragged) if rate is not None]
    return min(known, default=otherwise)


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
    limits = [limit(landmarks(curve), otherwise=lr[-1]) if curve else lr[-1] for curve in curves]
    low, high = 10 ** np.quantile(np.repeat(np.log10(limits), times), [0.05, 0.95]) / divisor
    return min(float(low), max_lr), max(float(high), max_lr)
