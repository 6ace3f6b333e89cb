"""From the landmarks of a range test to rates to train with, by what they are meant for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Family = Literal["sgd", "adam"]
Use = Literal["peak", "first"]
"""What a rate is for: the highest, climbed to, or the one that a run begins with, or keeps."""

DIVISORS: Mapping[Family, Mapping[Use, float]] = {
    "sgd": {"peak": 4.0, "first": 6.0},
    "adam": {"peak": 8.0, "first": 10.0},
}
"""How far below the edge to stay, from full trainings at a grid of rates
(docs/suggestion-quality.md).

The loss of a fresh model is more curved than that of one on its way, and a rate that never falls
never lets the noise settle.
"""

TORCH_DIVISOR = 25.0
"""From the peak of a one-cycle schedule to where it begins, as torch has it."""

SMITH_DIVISOR = 10.0
"""The same as in Smith, arXiv 1803.09820."""


@dataclass(frozen=True)
class Suggestion:
    """Learning rates to train with.

    Attributes:
        base_lr: lower bound of a cyclical schedule.
        max_lr: upper bound of it.
        fixed_lr: one to begin with, or to keep.
        schedules: schedules as a training takes them, but for counts of iterations.
    """

    base_lr: float
    max_lr: float
    fixed_lr: float
    schedules: Mapping[str, Mapping[str, Any]]


def suggest(edge: float, start: float, family: Family) -> Suggestion:
    """Each rate is the edge over its divisor; `base_lr = clamp(lr_start, max_lr/4, max_lr/3)`.

    Where the losses turn ragged does not count: that moves too much with the seed.
    """
    peak = edge / DIVISORS[family]["peak"]
    first = edge / DIVISORS[family]["first"]
    base_lr = float(np.clip(start, peak / 4, peak / 3))
    smith = {
        "div_factor": SMITH_DIVISOR,
        "pct_start": 0.45,
        "anneal_strategy": "linear",
        "three_phase": True,
    }
    return Suggestion(
        base_lr=base_lr,
        max_lr=peak,
        fixed_lr=first,
        schedules={
            "triangular": {"policy": "triangular", "base_lr": base_lr, "max_lr": peak},
            "one_cycle": {"policy": "one_cycle", "max_lr": peak, "div_factor": TORCH_DIVISOR},
            "one_cycle_smith": {"policy": "one_cycle", "max_lr": peak, **smith},
            "cosine": {"policy": "cosine", "lr": first},
            "constant": {"policy": "constant", "lr": first},
        },
    )
