"""How low the loss of a range test came, without its noise."""

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis.curve import trend


def lowest_loss(loss: ArrayLike, planned: int) -> float | None:
    """How low one repeat's loss came on a ramp of `planned` iterations, without its noise.

    The minimum of running medians over 3 % of the ramp; None where none is finite.
    """
    y = np.asarray(loss, dtype=np.float64)[:planned]
    end = int(np.argmin(np.append(np.isfinite(y), False)))
    return float(np.min(trend(y[:end], planned))) if end else None
