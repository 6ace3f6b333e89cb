"""A range test the way Smith reads it: from where the accuracy rises to where it stops to."""

from dataclasses import dataclass

import numpy as np

from schedules.analysis.curve import Curve, curve_of, persistence
from schedules.analysis.landmarks import (
    below_for_good,
    first_descent,
    first_run,
    ragged,
    steepest,
)
from schedules.values import F64

GAINED = 0.9
"""Share of all it gains at which the accuracy counts as slow."""

LOST = 0.1
"""Share of all it gained whose loss, for good, counts as falling."""


@dataclass(frozen=True)
class Accuracy:
    """Learning rates on the curve of the accuracy, None where it has no such place.

    After Smith, arXiv 1506.01186 section 3.3: `base_lr` is where the accuracy begins to rise,
    `max_lr` where it first slows, turns ragged or begins to fall.

    Attributes:
        lr_rises: from here on the accuracy rises.
        lr_slows: it has gained nine tenths of all that it gains.
        lr_ragged: it scatters three times as much as on its way up.
        lr_falls: it has lost a tenth of what it gained.
    """

    lr_rises: float | None = None
    lr_slows: float | None = None
    lr_ragged: float | None = None
    lr_falls: float | None = None
    base_lr: float | None = None
    max_lr: float | None = None


def read_accuracy(lr: F64, error: F64) -> Accuracy:
    """The places on a pooled curve of `1 - accuracy`, which is normalised as losses are."""
    curve = curve_of(lr, error)
    if curve is None:
        return Accuracy()
    low = int(curve.smooth.argmin())
    start = first_descent(curve, low)
    places = {
        "lr_rises": start,
        "lr_slows": below_for_good(curve, low, 1 - GAINED),
        "lr_ragged": ragged(curve, start, steepest(curve, start, low), low),
        "lr_falls": fall(curve, low),
    }
    rates = {name: None if i is None else float(lr[i]) for name, i in places.items()}
    ends = [rates[name] for name in ("lr_slows", "lr_ragged", "lr_falls")]
    max_lr = min((rate for rate in ends if rate is not None), default=None)
    return Accuracy(**rates, base_lr=rates["lr_rises"], max_lr=max_lr)


def fall(curve: Curve, low: int) -> int | None:
    """First point past the best where a tenth, or more than noise explains, is lost for 3 %."""
    needed = persistence(curve.lr.size)
    lost = curve.smooth[low:] >= max(LOST, 3 * curve.error)
    return first_run(np.append(lost, np.full(needed * curve.gone, True)), needed, low)
