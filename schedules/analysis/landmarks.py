"""The places on a normalised range-test curve that have a meaning."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from schedules.analysis.smoothing import noise
from schedules.values import F64

LANDMARKS = ("lr_start", "lr_steep", "lr_min", "lr_edge", "lr_ragged")

REGAINED = 0.25
"""Share of the whole drop that the loss has regained at the edge."""

RAGGED = 3.0
"""How many times the usual scatter counts as ragged."""


@dataclass(frozen=True)
class Landmarks:
    """Learning rates; None where the curve has no such place.

    Attributes:
        lr_start: the loss begins to fall for good.
        lr_steep: it falls fastest per decade.
        lr_min: it is lowest.
        lr_edge: past the minimum it has regained a quarter of its drop, and stays above.
        lr_ragged: its scatter around the smoothed curve is three times the usual.
    """

    lr_start: float | None
    lr_steep: float | None
    lr_min: float | None
    lr_edge: float | None
    lr_ragged: float | None

    def as_dict(self) -> dict[str, float | None]:
        """By name."""
        return asdict(self)


def find(lr: F64, curve: F64, smoothed: F64) -> Landmarks:
    """The landmarks of a curve that begins at 1 and is 0 at its lowest; all shapes (n,)."""
    low = int(smoothed.argmin())
    sigma = noise(curve - smoothed)
    begin = start_of(smoothed, low, sigma)
    edge = edge_of(smoothed)
    ragged = ragged_at(curve - smoothed, begin or 0, low if edge is None else edge)

    def rate(index: int | None) -> float | None:
        return None if index is None else float(lr[index])

    steep = None
    if begin is not None and low - begin > 1:
        slopes = np.gradient(smoothed[begin : low + 1], np.log(lr[begin : low + 1]))
        steep = begin + int(slopes.argmin())
    return Landmarks(rate(begin), rate(steep), rate(low), rate(edge), rate(ragged))


def start_of(smoothed: F64, low: int, sigma: float) -> int | None:
    """First index from which the curve stays below `1 - max(.05, 3*sigma)` until its minimum."""
    high = np.flatnonzero(smoothed[: low + 1] >= smoothed[0] - max(0.05, min(3 * sigma, 0.5)))
    begin = int(high[-1]) + 1 if len(high) else 0
    return begin if begin <= low and low > 0 else None


def edge_of(smoothed: F64) -> int | None:
    """First index past the minimum that has regained a quarter of the drop, all later ones too."""
    low = int(smoothed.argmin())
    limit = smoothed[low] + REGAINED * (1 - smoothed[low])
    below = np.flatnonzero(smoothed < limit)
    edge = int(below[-1]) + 1 if len(below) else 0
    return edge if low < edge < len(smoothed) else None


def ragged_at(residual: F64, begin: int, stop: int) -> int | None:
    """First index of `[begin, stop)` where the residuals' scatter is RAGGED times the median's."""
    size = max(12, len(residual) // 20)
    if stop - begin < 2 * size:
        return None
    windows: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(residual, size)
    # a spike is not ragged: the median absolute residual does not see it
    scatter = np.median(np.abs(windows), axis=1)
    usual = float(np.median(scatter[begin : max(stop - size, begin + 1)]))
    wild = np.flatnonzero(scatter[begin : stop - size + 1] > RAGGED * usual)
    if usual <= 0 or len(wild) == 0:
        return None
    return begin + int(wild[0]) + size - 1
