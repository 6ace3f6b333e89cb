"""Brings the repeats of a range test together as one normalised, smoothed curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.divergence import (
    divergence,
    finite_or_nan,
    head_length,
    rounding,
    usual_length,
)
from schedules.analysis.smoothing import (
    averaging,
    bandwidth,
    local_linear,
    median_filter,
    noise,
    widest,
    without_spikes,
)
from schedules.values import F64

CELLS = 1000
"""A cell is a tenth of the narrowest kernel: finer than what it can resolve."""

FEWEST = 10
"""Points that make a curve."""

CAP = 1.5
"""Normalised losses above it say no more than that the run is off."""

NOISY = 0.06
"""Standard error of a smooth curve past which a regained quarter is no longer sure to be one."""

CLEAR = 5.0
OUTLIER = 4.0
MEDIAN_TO_MEAN = 1.25
"""How many times the standard error of the mean that of the median is."""


@dataclass(frozen=True)
class Curve:
    """A range test as one curve: 1 where the loss began, 0 where it was lowest.

    Attributes:
        lr: rates of the whole ramp, shape (planned,).
        y: normalised losses, at most about 1.5, until most repeats are gone, shape (n,).
        smooth: the same without noise, shape (n,).
        noise: standard deviation of the points of `y`.
        error: standard error of the points of `smooth`.
        half_width: the bandwidth that smoothed it.
        gone: whether the repeats diverged at the end, rather than the ramp.
    """

    lr: F64
    y: F64
    smooth: F64
    noise: float
    error: float
    half_width: float
    gone: bool


def persistence(planned: int) -> int:
    """How many points of a smoothed curve make a trend: 3 % of it."""
    return max(3, round(0.03 * planned))


def gone_from(loss: ArrayLike, lr: F64, *, diverged: bool) -> int | None:
    """From which point of the ramp on a repeat counts as gone; None where it just ends.

    That is where it has diverged, or its end where it was stopped for that (`diverged`) or its
    last loss was not finite.
    """
    y = finite_or_nan(loss)[: lr.size]
    stop = divergence(y, planned=lr.size, head=head_length(lr))
    ended = diverged or bool(np.isnan(y[-1:]).any())
    return y.size if stop is None and ended else stop


def cells(lr: F64, series: Sequence[ArrayLike], gone: Sequence[int | None]) -> tuple[F64, F64]:
    """The ramp in at most 1000 cells: the rate of each, and each repeat's median in it.

    Values are infinite where they were not finite, and from where a repeat is gone; they are NaN
    where a repeat just ended. Shapes (planned,) and (repeats, planned).
    """
    table = np.full((len(series), lr.size), np.nan)
    for row, values, stop in zip(table, series, gone, strict=True):
        y = finite_or_nan(values)[: lr.size]
        row[: y.size] = np.where(np.isnan(y), np.inf, y)
        if stop is not None:
            row[stop:] = np.inf
    size = max(1, -(-lr.size // CELLS))
    whole = lr.size // size * size
    grouped = table[:, :whole].reshape(len(series), whole // size, size)
    return lr[size // 2 : whole : size], np.median(grouped, axis=2)


def pooled(losses: F64) -> F64:
    """Pointwise median over repeats, as far as at least half of them reach.

    A repeat that has diverged counts as infinite rather than not at all: those that outlive it
    must not make the curve come down again.

    >>> pooled(np.array([[3.0, 1.0, np.inf], [3.0, 2.0, 1.0], [4.0, 1.0, 2.0], [4.0, 2.0, 3.0]]))
    array([3.5, 1.5, 2.5])
    """
    ordered = np.sort(losses, axis=0)  # NaN last
    present = len(losses) - np.isnan(losses).sum(axis=0)
    end = int(np.argmin(np.append(2 * present >= max(1, len(losses)), False)))
    present, column = present[:end], np.arange(end)
    middle: F64 = (ordered[(present - 1) // 2, column] + ordered[present // 2, column]) / 2
    return middle


def started_at(loss: F64, lr: F64) -> float:
    """L0: the median of the first losses of a pooled curve; NaN where none of them is finite."""
    head = loss[: head_length(lr)]
    finite = head[np.isfinite(head)]
    return float(np.median(finite)) if finite.size else float("nan")


def trend(loss: F64, planned: int) -> F64:
    """A first smooth curve, by running medians over 3 %."""
    return median_filter(loss, persistence(planned) // 2 * 2 + 1)


def curve_of(lr: F64, loss: F64, half_width: float | None = None) -> Curve | None:
    """A pooled curve normalised as `(L - Lmin) / (L0 - Lmin)`, or None where it never falls.

    L0 is the median of the first losses; Lmin is the minimum of running medians at first, so that
    the losses can be capped, and of the smooth curve in the end.
    """
    planned, end = lr.size, reaches(loss)
    if end < FEWEST:
        return None
    start, lowest = started_at(loss, lr), float(np.min(trend(loss[:end], planned)))
    if not start - lowest > rounding(start, lowest):
        return None
    with np.errstate(over="ignore"):  # what overflows is capped
        y = (loss[:end] - lowest) / (start - lowest)
    y = np.minimum(y, cap_of(y, planned))
    calm = without_spikes(y)
    half_width = bandwidth(calm, planned, error=NOISY) if half_width is None else half_width
    smooth, _ = local_linear(calm, half_width)
    bottom, low = float(smooth.min()), int(smooth.argmin())
    if low < head_length(lr) or bottom >= 1 or not falls(calm, lr):
        return None
    y, smooth = (y - bottom) / (1 - bottom), (smooth - bottom) / (1 - bottom)
    sigma = noise(y)
    error = sigma * averaging(half_width)
    return Curve(lr, y, smooth, sigma, error, half_width, gone=end < loss.size)


def cap_of(y: F64, planned: int) -> float:
    """1.5, or more where the noise of the beginning needs it: cut off, it would seem a descent."""
    usual = y[: usual_length(planned)]
    return max(CAP, 1 + OUTLIER * noise(usual[np.isfinite(usual)]))


def falls(y: F64, lr: F64) -> bool:
    """Whether a curve that begins at 1 gets five standard errors lower, at the widest smoothing."""
    half_width = widest(lr.size)
    of_start = MEDIAN_TO_MEAN / np.sqrt(head_length(lr))
    error = noise(y) * np.hypot(averaging(half_width), of_start)
    return bool(1 - local_linear(y, half_width)[0].min() > CLEAR * error)


def reaches(loss: F64) -> int:
    """How many points of a pooled curve there are until it is infinite for good."""
    finite = np.flatnonzero(np.isfinite(loss))
    return int(finite[-1]) + 1 if finite.size else 0
