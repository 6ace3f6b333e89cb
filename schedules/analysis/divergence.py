"""Tells when a climbing learning rate has made a loss leave for good."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schedules.analysis.smoothing import MAD_TO_SD
from schedules.values import F64

HEAD = 0.08
"""Share of a ramp, in log lr, where the median of the losses is what the run began with."""

FEWEST_HEAD = 5

USUAL_HEAD = 0.2
"""Share of a run whose spread is usual; nothing finite counts as diverged before its end."""

UNUSUAL = 20.0
"""How many times the usual spread a loss may rise that has not fallen yet."""

PERSISTENCE = 0.03
ROUNDING = 4 * float(np.finfo(np.float32).eps)
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


def head_length(lr: F64) -> int:
    """How many losses say where a run up the ramp `lr` began: those of 8 % of its way in log lr.

    On a linear ramp these are the fewest there may be: it is far up at once.

    >>> head_length(np.geomspace(1e-7, 10, 300)), head_length(np.linspace(1e-3, 1, 300))
    (24, 5)
    """
    if lr.size == 0:
        return FEWEST_HEAD
    way = np.log(lr / lr[0])
    share = float(np.interp(HEAD * way[-1], way, np.linspace(0, 1, lr.size)))
    return max(FEWEST_HEAD, round(share * lr.size))


def usual_length(planned: int) -> int:
    """How many losses say how a run of `planned` iterations spreads."""
    return max(FEWEST_HEAD, round(USUAL_HEAD * planned))


def finite_or_nan(losses: ArrayLike) -> F64:
    """As float64, with NaN for what no finite float32 can hold."""
    y = np.asarray(losses, dtype=np.float64).ravel()
    return np.where(np.abs(y) <= LARGEST, y, np.nan)


def rounding(*losses: float) -> float:
    """How far differences between float32 values of this size may be due to rounding alone."""
    return max(ROUNDING * max(map(abs, losses)), SMALLEST)


def divergence(losses: ArrayLike, *, planned: int, head: int | None = None) -> int | None:
    """How many losses to keep of a run that has diverged; None while it has not.

    A loss is *bad* where it is not finite or above `L0 + max(20*sigma, L0 - Lmin)`: L0 is the
    median of the first `head`, sigma the spread (MAD) of the first 20 % of `planned`, Lmin the
    lowest that two losses in a row have been so far. A run has diverged once a loss is bad and 3 %
    of `planned` (at least 5) were bad among the last twice as many. Every loss is judged by those
    before it, so the answer does not depend on how many follow. Scale and offset of the losses do
    not matter; as long as they are all but equal, there is no limit.

    20 sigma are far, but cost little, since what diverges grows fast; 3 sigma of a few first
    losses would end healthy runs, whose loss may rise before it falls.

    `head` is the `head_length` of the ramp; without it, that of an exponential one.

    >>> falls = [2.0] * 8 + [1.9, 1.5, 1.0, 99.0, 1.0, 1.1]  # and has one spike
    >>> divergence(falls, planned=20) is None
    True
    >>> divergence(falls + [9.0, 9.0, 99.0, 1.0, 1e3, 1e4, 1e5], planned=20)
    19
    """
    y = finite_or_nan(losses)
    needed = max(5, round(PERSISTENCE * planned))
    began = max(FEWEST_HEAD, round(HEAD * planned)) if head is None else head
    bad = _bad(y, began, usual_length(planned))
    so_far = np.concatenate([np.zeros(2 * needed, dtype=np.int64), np.cumsum(bad)])
    recent = so_far[2 * needed :] - so_far[: y.size]
    confirmed = np.flatnonzero(bad & (recent >= needed))
    return int(confirmed[0]) + 1 if confirmed.size else None


def _bad(y: F64, head: int, measured: int) -> NDArray[np.bool_]:
    bad = np.isnan(y)
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
