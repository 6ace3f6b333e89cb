"""The rules of the finders that suggest where the loss falls fastest: three readings of that."""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from schedules.values import F64

F32 = NDArray[np.float32]

SHARE, STOP = 0.05, 5.0
"""Of torch-lr-finder and ignite: the weight of a loss in their average, and what ends a test."""

BETA, LIGHTNING_STOP = 0.98, 4.0
FIRST, LAST = 10, 5


def torch_lr_finder(lr: F64, s: F64) -> float | None:
    """`plot(suggest_lr=True)`: without the first 10 and the last 5, steepest per iteration."""
    if s.size < FIRST + LAST + 2:
        return None
    return float(lr[FIRST + int(np.argmin(np.gradient(s[FIRST:-LAST])))])


def ignite(lr: F64, s: F64) -> float | None:
    """`lr_suggestion()`: before the minimum, steepest per iteration, in single precision."""
    single = s.astype(np.float32)
    falling = single[: int(np.argmin(single)) + 1] if single.size else single
    if falling.size < 3:  # noqa: PLR2004 - fewer have no inner point
        return None
    return float(lr[1 + int(np.argmin(0.5 * (falling[2:] - falling[:-2])))])


def lightning(lr: F64, losses: F32) -> float | None:
    """`suggestion()`, from 2.5.3 on: steepest per lr, where any noise of small rates is steep.

    Without the first 10 and the last point, and without what is not finite; before 2.5.3 it was
    steepest per iteration.
    """
    s = _lightning_average(losses)[FIRST:-1].astype(np.float32)
    rates = lr[FIRST:][: s.size]
    rates, s = rates[np.isfinite(s)], s[np.isfinite(s)]
    if s.size < 2:  # noqa: PLR2004 - one point has no slope
        return None
    return float(rates[int(np.argmin(np.gradient(s, rates.astype(np.float32))))])


def moving_average(losses: F32) -> F64:
    """What torch-lr-finder and ignite look at.

    `s = .05*L + .95*s` from the first loss on, up to one above five times the lowest so far.

    >>> moving_average(np.array([2.0, 1.0, 0.0], np.float32))
    array([2.    , 1.95  , 1.8525])
    """
    means = accumulate(losses.tolist(), lambda mean, loss: SHARE * loss + (1 - SHARE) * mean)
    s = np.array(list(means))
    return s[: _first(s > STOP * np.fmin.accumulate(s))]


def _lightning_average(losses: F32) -> F64:
    """As fastai's, but over `1 - .98^(i+2)`: the first value is about half the loss.

    It ends with one above four times the lowest before.
    """
    means = accumulate(losses.tolist(), lambda m, loss: BETA * m + (1 - BETA) * loss, initial=0.0)
    s: F64 = np.array(list(means)[1:]) / (1 - BETA ** np.arange(2, losses.size + 2))
    return s[: 1 + _first(s[1:] > LIGHTNING_STOP * np.fmin.accumulate(s)[:-1])]


def _first(over: NDArray[np.bool_]) -> int:
    """How many values there are up to the first that is over, or at all."""
    return int(np.argmax(np.append(over, True))) + 1
