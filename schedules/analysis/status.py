"""What came of a range test, in a word, and what to do next, in a sentence."""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.curve import (
    FEWEST,
    NOISY,
    OUTLIER,
    Curve,
    persistence,
    reaches,
    started_at,
    trend,
)
from schedules.analysis.landmarks import edge, first_run
from schedules.analysis.smoothing import noise
from schedules.values import F64

FEWEST_PLANNED = 20
EARLY = 0.25
"""Share of the ramp in which a rise means that the ramp began too high."""

RISEN_AT_END = 3.0
RISEN = 5.0
"""By how many times its noise a loss must have risen to count as risen."""


class Status(StrEnum):
    """What came of a range test. Only with `ok` is there a suggestion."""

    OK = "ok"
    """The loss fell and came back: there is an edge."""
    NO_DESCENT = "no_descent"
    """It never fell by more than noise explains, whatever came later."""
    NO_EDGE_IN_RANGE = "no_edge_in_range"
    """It fell, and was still low where the ramp ended. The other landmarks stand."""
    DIVERGED_AT_START = "diverged_at_start"
    """It rose in the first quarter, before it fell."""
    TOO_NOISY = "too_noisy"
    """It fell, but noise hides where it came back."""
    INSUFFICIENT_POINTS = "insufficient_points"
    """Fewer than 20 points were planned, or 10 recorded."""
    NONFINITE = "nonfinite"
    """It was not finite to begin with, so no rate is to blame."""


ADVICE = {
    Status.NO_DESCENT: "If the loss is flat to the end of the ramp, raise the end; if it leaps up"
    " at once, lower the start; else give the ramp more iterations, and see whether the model"
    " learns at any rate.",
    Status.NO_EDGE_IN_RANGE: "Raise the end of the ramp; if no rate is too high for this model,"
    " choose by training at a few of them.",
    Status.DIVERGED_AT_START: "Lower the start of the ramp a hundredfold: its first rates were too"
    " high already.",
    Status.TOO_NOISY: "If the loss has only begun to fall where the ramp ends, raise the end; else"
    " use more repeats, more iterations or larger batches, or have the loss of a probe batch"
    " read.",
    Status.INSUFFICIENT_POINTS: "Give the ramp more iterations, 40 for each factor of ten, and"
    " where the validation loss is read, evaluate more often.",
    Status.NONFINITE: "Look for values in the data, weights or precision that are not finite: the"
    " loss was so at the lowest rate.",
}
"""What to do next, by every status but `ok`."""


def status_of(lr: F64, loss: F64, curve: Curve | None) -> Status:
    """The status of a pooled curve, and of its normalised form where it has one."""
    unread = unreadable(loss, lr)
    if unread is not None:
        return unread
    if curve is None:
        return Status.DIVERGED_AT_START if rises_early(loss, lr) else Status.NO_DESCENT
    if curve.y[0] < 1 - max(0.5, OUTLIER * curve.noise):
        return Status.DIVERGED_AT_START  # the height it fell from, it had risen to at once
    if curve.error > NOISY:
        return Status.TOO_NOISY
    return Status.NO_EDGE_IN_RANGE if edge(curve) is None else Status.OK


def unreadable(loss: F64, lr: F64) -> Status | None:
    """The status of a pooled curve with too few points to look at, else None."""
    points = reaches(loss)
    if lr.size < FEWEST_PLANNED or loss.size == 0:
        return Status.INSUFFICIENT_POINTS
    if np.isnan(started_at(loss, lr)):
        return Status.NONFINITE
    if points >= FEWEST:
        return None
    return Status.DIVERGED_AT_START if points < loss.size else Status.INSUFFICIENT_POINTS


def has_risen(losses: ArrayLike) -> bool:
    """Whether one repeat ends above where it began, by more than three times its noise."""
    loss = np.asarray(losses, dtype=np.float64)
    if loss.size < FEWEST or not np.isfinite(loss).all():
        return True
    ends = persistence(loss.size)
    rise = np.median(loss[-ends:]) - np.median(loss[:ends])
    return bool(rise > RISEN_AT_END * noise(loss))


def rises_early(loss: F64, lr: F64) -> bool:
    """Whether the loss is gone, or for 3 % above its beginning by 5 sd, in the first quarter."""
    points = reaches(loss)
    finite = loss[:points][np.isfinite(loss[:points])]
    usual = trend(loss[:points], lr.size)
    above = usual > min(started_at(loss, lr), usual[0]) + RISEN * noise(finite)
    rise = first_run(above, persistence(lr.size), 0)
    if rise is None and points < loss.size:
        rise = points
    return rise is not None and rise <= EARLY * lr.size
