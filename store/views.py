"""A series reduced to what a screen can show, without losing its extremes."""

import numpy as np
from numpy.typing import NDArray

from store.chunks import Column

MIN_POINTS = 4


def minmax(
    iteration: NDArray[np.int64], values: Column, points: int
) -> tuple[NDArray[np.intp], int]:
    """Picks at most `points` rows: each bucket's smallest and largest value, first and last row.

    Buckets are a power of two iterations wide and aligned to iteration 0, so that a view of a
    longer series keeps the rows of the shorter one's full buckets. A bucket without any finite
    value keeps its first row, so that a divergence shows.

    Args:
        iteration: ascending, shape (n,).
        values: the quantity whose extremes are kept, shape (n,).
        points: at least MIN_POINTS, and less than n.

    Returns:
        Indices of the rows, ascending, and the width of a bucket in iterations.
    """
    width = bucket(int(iteration[0]), int(iteration[-1]), points)
    return extremes(iteration, values, width), width


def bucket(first: int, last: int, points: int) -> int:
    """The narrowest width of buckets with which rows from `first` to `last` are few enough."""
    width = 1
    while 2 * (last // width - first // width + 1) + 2 > points:
        width *= 2
    return width


def extremes(iteration: NDArray[np.int64], values: Column, width: int) -> NDArray[np.intp]:
    """The rows that `minmax` picks with buckets of that width.

    Picking again from what was picked, with buckets as wide or wider, gives what picking from all
    rows gives: the first hit in a bucket is the first hit in the narrower one that it lies in.
    """
    starts = np.flatnonzero(np.diff(iteration // width, prepend=-1))
    sizes = np.diff(starts, append=len(values))
    finite = np.isfinite(values)
    picked = [np.array([0, len(values) - 1])]
    for extreme, worst in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        known = np.where(finite, values, worst)
        hits = np.flatnonzero(known == np.repeat(extreme.reduceat(known, starts), sizes))
        picked.append(hits[np.searchsorted(hits, starts)])  # the first hit in each bucket
    return np.unique(np.concatenate(picked))
