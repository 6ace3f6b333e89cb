"""The four rules of fastai's `Learner.lr_find`, in single precision as there.

The loss is smoothed by a moving average with beta .98, the run ends where that is above four
times its best, and the rules see it without the first tenth of the planned iterations and the
last five, up to the first value that is not a number.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from schedules.values import F64

F32 = NDArray[np.float32]

BETA = 0.98
STOP = 4.0
LAST = 5
LR_DIFF, THRESHOLD = 15, 0.005


def seen(lr: F64, losses: F32) -> tuple[F64, F32]:
    """What fastai shows to its rules of one run up the ramp `lr`: rates and smoothed losses."""
    smoothed = moving_average(losses)
    if not np.any(losses < 0):  # the stop would be immediate; `stop_div=False` is for these
        smoothed = smoothed[: _stop(smoothed)]
    shown = slice(lr.size // 10, max(smoothed.size - LAST, 0))
    rates, s = lr[: smoothed.size][shown], smoothed[shown]
    end = int(np.argmax(np.append(np.isnan(s), True)))
    return rates[:end], s[:end]


def moving_average(losses: F32) -> F32:
    """`m = .98*m + .02*L` from 0, over `1 - .98^(i+1)` to make up for the 0.

    >>> moving_average(np.array([2.0, 2.0, 1.0], np.float32)).round(4)
    array([2.    , 2.    , 1.6599], dtype=float32)
    """
    kept = float(np.float32(BETA) - np.float32(1))
    mean, means = np.float32(0), []
    for loss in losses:
        mean = np.float32(kept * float(mean - loss) + float(mean))  # as torch.lerp rounds
        means.append(mean)
    from_zero = (1 - BETA ** np.arange(1, losses.size + 1)).astype(np.float32)
    return np.divide(means, from_zero, dtype=np.float32)


def _stop(smoothed: F32) -> int:
    """How many points fastai records."""
    over = np.flatnonzero(smoothed > STOP * np.fmin.accumulate(smoothed))
    return int(over[0]) + 1 if over.size else smoothed.size


def valley(lr: F64, s: F32) -> float | None:
    """Half-way through the longest decrease, give or take: a third and then a sixth of its length.

    With `start = max_end - length`, the index is `start + int(length/3) + int(length/6)`.
    """
    if s.size == 0:
        return None
    end, length = longest_decrease(s)
    if length == 1:
        return float(lr[0])
    return float(lr[end - length + int(length / 3) + int(length / 3 / 2)])


def longest_decrease(s: F32) -> tuple[int, int]:
    """Where the first of the longest strictly decreasing subsequences ends, and its length.

    >>> longest_decrease(np.array([5.0, 6.0, 3.0, 4.0, 2.0, 2.0], np.float32))
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


def slide(lr: F64, s: F32) -> float | None:
    """From the right, the last rate before the slopes 15 points apart differ by .005 or less."""
    if s.size <= LR_DIFF:
        return None
    slope = np.gradient(s)
    differ = np.abs(slope[LR_DIFF:] - slope[:-LR_DIFF]) > THRESHOLD
    steps = int(np.argmin(np.append(differ[::-1], False)))
    return float(lr[-1 - LR_DIFF - max(steps - 1, 0)])


def minimum(lr: F64, s: F32) -> float | None:
    """A tenth of the rate where the loss is lowest."""
    return float(lr[s.argmin()]) / 10 if s.size else None


def steep(lr: F64, s: F32) -> float | None:
    """Where the loss falls fastest from one point to the next, per `ln lr`."""
    if s.size < 2:  # noqa: PLR2004 - one point has no slope
        return None
    # so that rounding, which decides where the loss is flat, is as torch's
    log = np.log(lr.astype(np.float32).astype(np.float64)).astype(np.float32)
    return float(lr[np.argmin(np.diff(s) / np.diff(log))])
