"""What fastai's rules would suggest on the same losses, for comparison with other finders.

As `Learner.lr_find` has it: the loss is smoothed by a moving average with beta .98, the run ends
where that is above four times its best, and the rules see it without the first tenth of the
planned iterations and the last five, up to the first value that is not finite.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.divergence import finite_or_nan
from schedules.values import F64

BETA = 0.98
STOP = 4.0
LAST = 5
LR_DIFF, THRESHOLD = 15, 0.005


@dataclass(frozen=True)
class Compat:
    """Learning rates by fastai's rules, None where a rule has nothing to say."""

    valley: float | None = None
    slide: float | None = None
    minimum: float | None = None
    steep: float | None = None


def compat(lr: F64, losses: ArrayLike) -> Compat:
    """The four suggestions for one run up the ramp `lr`; `losses` may end early."""
    smoothed = moving_average(finite_or_nan(losses)[: lr.size])
    smoothed = smoothed[: _stop(smoothed)]
    seen = slice(lr.size // 10, max(smoothed.size - LAST, 0))
    rates, s = lr[: smoothed.size][seen], smoothed[seen]
    broken = np.flatnonzero(~np.isfinite(s))
    if broken.size:
        rates, s = rates[: broken[0]], s[: broken[0]]
    return Compat(valley(rates, s), slide(rates, s), minimum(rates, s), steep(rates, s))


def moving_average(losses: F64) -> F64:
    """`m = .98*m + .02*L` from 0, over `1 - .98^(i+1)` to make up for the 0.

    >>> moving_average(np.array([2.0, 2.0, 1.0])).round(4)
    array([2.    , 2.    , 1.6599])
    """
    means = accumulate(losses.tolist(), lambda m, loss: BETA * m + (1 - BETA) * loss, initial=0.0)
    averages: F64 = np.array(list(means)[1:]) / (1 - BETA ** np.arange(1, losses.size + 1))
    return averages


def _stop(smoothed: F64) -> int:
    """How many points fastai records; with negative losses one switches its stop off."""
    best = np.fmin.accumulate(smoothed)
    over = np.flatnonzero((best > 0) & (smoothed > STOP * best))
    return int(over[0]) + 1 if over.size else smoothed.size


def valley(lr: F64, s: F64) -> float | None:
    """Half-way through the longest decrease, give or take: a third and then a sixth of its length.

    With `start = max_end - length`, the index is `start + int(length/3) + int(length/6)`.
    """
    end, length = longest_decrease(s)
    if length < 2:  # noqa: PLR2004 - one point is no decrease
        return None
    return float(lr[end - length + int(length / 3) + int(length / 6)])


def longest_decrease(s: F64) -> tuple[int, int]:
    """Where the first of the longest strictly decreasing subsequences ends, and its length.

    >>> longest_decrease(np.array([5.0, 6.0, 3.0, 4.0, 2.0, 2.0]))
    (4, 3)
    """
    ends: list[float] = []  # for each length, the negated last value that is easiest to go on from
    last = 0
    for i, value in enumerate((-s).tolist()):
        length = bisect_left(ends, value)
        if length == len(ends):
            last = i
        ends[length : length + 1] = [value]
    return last, len(ends)


def slide(lr: F64, s: F64) -> float | None:
    """From the right, the last rate before the slopes 15 points apart differ by .005 or less."""
    if s.size <= LR_DIFF:
        return None
    slope = np.gradient(s)
    differ = np.abs(slope[LR_DIFF:] - slope[:-LR_DIFF]) > THRESHOLD
    steps = int(np.argmin(np.append(differ[::-1], False)))
    return float(lr[-1 - LR_DIFF - max(steps - 1, 0)])


def minimum(lr: F64, s: F64) -> float | None:
    """A tenth of the rate where the loss is lowest."""
    return float(lr[s.argmin()]) / 10 if s.size else None


def steep(lr: F64, s: F64) -> float | None:
    """Where the loss falls fastest from one point to the next, per `ln lr`."""
    return float(lr[np.argmin(np.diff(s) / np.diff(np.log(lr)))]) if s.size > 1 else None
