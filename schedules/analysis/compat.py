"""What other learning-rate finders would suggest on the same series, for comparison.

The rules are fastai's (`valley`, `slide`, `minimum`, `steep`), on the loss smoothed as fastai
does it: an exponential moving average with beta .98, corrected for its start, of which the first
tenth and the last five points are dropped and the rest is cut at the first NaN.
"""

from bisect import bisect_left

import numpy as np

from schedules.values import F64

BETA = 0.98
FEWEST = 3
LR_DIFF, THRESHOLD = 15, 0.005  # fastai's defaults for `slide`


def suggestions(lr: F64, losses: F64) -> dict[str, float | None]:
    """Each rule's learning rate, None where the rule has no answer.

    Args:
        lr: shape (n,).
        losses: raw losses of one run, shape (n,) or shorter.
    """
    n = len(losses)
    smoothed = moving_average(np.asarray(losses, np.float64))
    kept = slice(n // 10, max(n - 5, 0))
    s, rates = smoothed[kept], lr[:n][kept]
    bad = np.flatnonzero(~np.isfinite(s))
    if len(bad):
        s, rates = s[: bad[0]], rates[: bad[0]]
    if len(s) < FEWEST:
        return dict.fromkeys(("valley", "slide", "minimum", "steep"))
    return {
        "valley": _valley(rates, s),
        "slide": _slide(rates, s),
        "minimum": float(rates[s.argmin()]) / 10,
        "steep": _steep(rates, s),
    }


def moving_average(losses: F64, beta: float = BETA) -> F64:
    """Bias-corrected exponential moving average; NaN from the first NaN on. Shape (n,)."""
    out = np.empty(len(losses))
    mean = 0.0
    for i, loss in enumerate(losses.tolist()):
        mean = beta * mean + (1 - beta) * loss
        out[i] = mean / (1 - beta ** (i + 1))
    return out


def _steep(lr: F64, s: F64) -> float:
    slopes = np.diff(s) / np.diff(np.log(lr))
    return float(lr[slopes.argmin()])


def _valley(lr: F64, s: F64) -> float:
    """Two thirds into the longest strictly decreasing subsequence: one third plus one sixth."""
    end, length = _longest_decrease(s)
    start = end - length
    section = length / 3
    return float(lr[min(start + int(section) + int(section / 2), len(lr) - 1)])


def _longest_decrease(s: F64) -> tuple[int, int]:
    """Where the longest strictly decreasing subsequence ends, and how many points it has."""
    tails: list[float] = []  # of a decrease of each length, the negated end that goes on best
    end = 0
    for i, value in enumerate((-s).tolist()):
        length = bisect_left(tails, value)
        if length == len(tails):
            tails.append(value)
            end = i
        else:
            tails[length] = value
    return end, len(tails)


def _slide(lr: F64, s: F64) -> float | None:
    right, left = -1, -1 - LR_DIFF
    if len(s) < -left:
        return None
    gradient = np.gradient(s)
    found = float(lr[left])
    while left >= -len(s) and abs(gradient[right] - gradient[left]) > THRESHOLD:
        found = float(lr[left])
        right, left = right - 1, left - 1
    return found
