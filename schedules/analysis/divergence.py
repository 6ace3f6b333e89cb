"""When a run has left for good: the same answer whatever the loss's scale and offset."""

import numpy as np
from numpy.typing import NDArray

from schedules.analysis.smoothing import noise, rolling_median
from schedules.values import F64

HEAD = 0.05
"""Share of the planned run whose median is the loss it began with."""

PERSISTENT = 0.03
"""Share of the planned run that a loss must stay away to count as gone."""

DESCENT = 3.0
"""By how many times the noise a loss must have fallen for its fall to be a measure."""

FAR = 50.0
"""Before that, how many times the noise above its beginning a loss counts as gone."""

FEWEST = 20
"""Losses that an estimate of their noise needs, if the first tenth of the run has fewer."""

MEMORY = 5
"""Losses whose median the best so far is taken from: one lucky batch is no minimum."""


def head(planned: int) -> int:
    """How many of the first losses tell where a run begins."""
    return max(5, round(HEAD * planned))


def persistence(planned: int) -> int:
    """How many losses must be out of bounds before a run counts as diverged."""
    return max(3, round(PERSISTENT * planned))


def divergence(losses: NDArray[np.floating], *, planned: int) -> int | None:
    """How many losses to keep of a run that has diverged; None while it has not.

    A loss is out of bounds when it is not finite or lies above `L0 + (L0 - Lmin)`: L0 is the
    median of the first 5 % of losses, Lmin the lowest median of five so far. Before any descent
    there is no `L0 - Lmin` to go by, and the limit is 50 times the noise of the first 10 %: the
    loss of a network may well rise a little before it falls.

    The run has diverged where as many losses as 3 % of `planned` have been out of bounds within
    the last half as many again. Only earlier losses decide, so the answer does not depend on how
    many come at a time; adding to or scaling all losses does not change it.

    Args:
        losses: shape (n,), as recorded so far.
        planned: how many there will be.
    """
    y = np.asarray(losses, np.float64)
    needed = persistence(planned)
    out = out_of_bounds(y, planned=planned)
    count = np.cumsum(out)
    window = needed + needed // 2
    recent = count - np.concatenate([np.zeros(min(window, len(y)), int), count[:-window]])
    gone = np.flatnonzero(out & (recent >= needed))
    return int(gone[0]) + 1 if len(gone) else None


def out_of_bounds(y: F64, *, planned: int) -> NDArray[np.bool_]:
    """Which losses are not finite or too high, each judged by those before it. Shape (n,)."""
    finite = np.isfinite(y)
    first = y[: head(planned)]
    known = first[np.isfinite(first)]
    if len(y) < max(FEWEST, 2 * head(planned)) or len(known) == 0:
        return ~finite
    early = y[: max(FEWEST, 2 * head(planned))]
    begin, sigma = float(np.median(known)), noise(early[np.isfinite(early)])
    # a loss that is not finite is no minimum, nor are its neighbours thrown off by it
    medians = rolling_median(np.where(finite, y, np.maximum(begin, known.max())), MEMORY)
    lowest = np.minimum.accumulate(np.minimum(medians, begin))
    drop = begin - lowest
    limit = begin + np.where(drop > DESCENT * sigma, drop, FAR * sigma)
    judged = np.arange(len(y)) >= len(early)
    with np.errstate(invalid="ignore"):
        return ~finite | (judged & (y > limit))
