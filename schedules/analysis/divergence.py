"""Tells when a climbing learning rate has made a loss leave for good."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schedules.analysis.smoothing import MAD_TO_SD
from schedules.values import F64

HEAD = 0.08
"""Share of a run whose median is the loss it began with."""

USUAL_HEAD = 0.2
"""Share of a run whose spread is usual; nothing finite counts as diverged before its end."""

UNUSUAL = 20.0
"""How many times the usual spread a loss may rise that has not fallen yet."""

PERSISTENCE = 0.03
ROUNDING = 4 * float(np.finfo(np.float32).eps)
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


def head_length(planned: int) -> int:
    """How many losses say where a run of `planned` iterations began."""
    return max(5, round(HEAD * planned))


def usual_length(planned: int) -> int:
    """How many losses say how a run of `planned` iterations spreads."""
    return max(head_length(planned), round(USUAL_HEAD * planned))


def finite_or_nan(losses: ArrayLike) -> F64:
    """As float64, with NaN for what no finite float32 can hold."""
    y = np.asarray(losses, dtype=np.float64).ravel()
    return np.where(np.abs(y) <= LARGEST, y, np.nan)


def rounding(*losses: float) -> float:
    """How far differences between float32 values of this size may be due to rounding alone."""
    return max(ROUNDING * max(map(abs, losses)), SMALLEST)


def divergence(losses: ArrayLike, *, planned: int) -> int | None:
    """How many losses to keep of a run that has diverged; None while it has not.

    A loss is *bad* where it is not finite or above `L0 + max(20*sigma, L0 - Lmin)`: L0 is the
    median of the first 8 % of `planned`, sigma the spread (MAD) of the first 20 %, Lmin the lowest
    that two losses in a row have been so far. A run has diverged once a loss is bad and 3 % of
    `planned` (at least 5) were bad among the last twice as many. Every loss is judged by those
    before it, so the answer does not depend on how many follow. Scale and offset of the losses do
    not matter; as long as they are all but equal, there is no limit.

    20 sigma are far, but cost little, since what diverges grows fast; 3 sigma of a few first
    losses would end healthy runs, whose loss may rise before it falls.

    >>> falls = [2.0] * 8 + [1.9, 1.5, 1.0, 99.0, 1.0, 1.1]  # and has one spike
    >>> divergence(falls, planned=20) is None
    True
    >>> divergence(falls + [9.0, 9.0, 99.0, 1.0, 1e3, 1e4, 1e5], planned=20)
    19
    """
    y = finite_or_nan(losses)
    needed = max(5, round(PERSISTENCE * planned))
    bad = _bad(y, planned)
    so_far = np.concatenate([np.zeros(2 * needed, dtype=np.int64), np.cumsum(bad)])
    recent = so_far[2 * needed :] - so_far[: y.size]
    confirmed = np.flatnonzero(bad & (recent >= needed))
    return int(confirmed[0]) + 1 if confirmed.size else None


def _bad(y: F64, planned: int) -> NDArray[np.bool_]:
    bad = np.isnan(y)
    head, measured = head_length(planned), usual_length(planned)
    began, known = (y[:n][~bad[:n]] for n in (head, measured))
    if y.size <= measured or began.size == 0:
        return bad
    start = float(np.median(began))
    spread = MAD_TO_SD * float(np.median(np.abs(known - np.median(known))))
    pairs = np.maximum(y[1:], y[:-1])  # one lucky batch is no minimum
    lowest = np.fmin.accumulate(np.concatenate([[start], pairs]))
    margin = np.maximum(start - lowest, UNUSUAL * spread)
    limit = start + np.where(margin > rounding(start), margin, np.inf)
    bad[measured:] |= y[measured:] > limit[measured:]
    return bad
