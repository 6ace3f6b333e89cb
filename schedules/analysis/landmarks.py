"""The places on the curve of a range test that mean something."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schedules.analysis.curve import Curve, persistence
from schedules.analysis.smoothing import MAD_TO_SD, local_linear, median_filter, widest

FALLEN = 0.05
REGAINED = 0.25
RAGGED = 3.0
RAGGED_AT_LEAST = 0.05


@dataclass(frozen=True)
class Landmarks:
    """Learning rates, None where the curve has no such place.

    Attributes:
        lr_start: from here on the loss falls.
        lr_steep: it falls fastest, per iteration.
        lr_min: it is lowest.
        lr_edge: it has regained a quarter of its drop.
        lr_ragged: it scatters three times as much as on its way down.
    """

    lr_start: float | None = None
    lr_steep: float | None = None
    lr_min: float | None = None
    lr_edge: float | None = None
    lr_ragged: float | None = None


def landmarks(curve: Curve) -> Landmarks:
    """All of them, each the rate of a point of the ramp."""
    low = int(curve.smooth.argmin())
    start = first_descent(curve, low)
    steep = steepest(curve, start, low)

    def rate(index: int | None) -> float | None:
        return None if index is None else float(curve.lr[index])

    return Landmarks(
        lr_start=rate(start),
        lr_steep=rate(steep),
        lr_min=rate(low),
        lr_edge=rate(edge(curve)),
        lr_ragged=rate(ragged(curve, start, steep, low)),
    )


def first_descent(curve: Curve, low: int) -> int:
    """Where the curve falls below `1 - max(.05, 3*error)`, to stay there until its minimum."""
    return below_for_good(curve, low, 1 - max(FALLEN, 3 * curve.error))


def below_for_good(curve: Curve, low: int, level: float) -> int:
    """First point from which on the curve is below `level` until its minimum."""
    above = np.flatnonzero(curve.smooth[:low] >= level)
    return int(above[-1]) + 1 if above.size else 0


def steepest(curve: Curve, start: int, low: int) -> int:
    """Where the curve falls fastest, per iteration, between `start` and its minimum.

    Slopes are noisier than levels: they are taken at the widest smoothing.
    """
    if low <= start:
        return start
    fit, _ = local_linear(curve.y, widest(curve.lr.size))
    way = slice(start, low + 1)
    return start + int(np.gradient(fit[way]).argmin())


def edge(curve: Curve) -> int | None:
    """First point past the minimum where the curve is back above .25, and stays for 3 %.

    A curve whose repeats are gone counts as above from then on.
    """
    low, needed = int(curve.smooth.argmin()), persistence(curve.lr.size)
    back = curve.smooth[low:] >= REGAINED
    return first_run(np.append(back, np.full(needed * curve.gone, True)), needed, low)


def ragged(curve: Curve, start: int, steep: int, low: int) -> int | None:
    """First point past the steepest where the scatter is three times the usual, for 3 %.

    Scatter is the running median of `|y - smooth|`, which a single spike does not move. Usual is
    its median on the way down, from `start` to `low`, or that of the noise all over, if larger.
    """
    needed = persistence(curve.lr.size)
    scatter = median_filter(np.abs(curve.y - curve.smooth), 2 * needed + 1)
    usual = max(float(np.median(scatter[start : low + 1])), curve.noise / MAD_TO_SD)
    return first_run(scatter[steep:] > max(RAGGED * usual, RAGGED_AT_LEAST), needed, steep)


def first_run(holds: NDArray[np.bool_], length: int, offset: int) -> int | None:
    """Where the first `length` truths in a row begin, counted from `offset`.

    >>> first_run(np.array([True, False, True, True]), 2, offset=10)
    12
    """
    if holds.size < length:
        return None
    complete = np.flatnonzero(np.convolve(holds, np.ones(length), mode="valid") == length)
    return offset + int(complete[0]) if complete.size else None
