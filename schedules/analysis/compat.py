"""What other finders would suggest on the same losses, each with its own smoothing, stop and rule.

Compared with the finders themselves by `benchmarks/compat_parity.py`; they are as of fastai 2.8,
Lightning 2.6, torch-lr-finder 0.2.2 and ignite 0.5.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis import fastai, steepest
from schedules.values import F64


@dataclass(frozen=True)
class Compat:
    """Learning rates by other finders' rules, None where a rule has nothing to say.

    The first four are fastai's.
    """

    valley: float | None = None
    slide: float | None = None
    minimum: float | None = None
    steep: float | None = None
    torch_lr_finder: float | None = None
    lightning: float | None = None
    ignite: float | None = None


def compat(lr: F64, losses: ArrayLike) -> Compat:
    """All suggestions for one run up the ramp `lr`; `losses` may end early."""
    with np.errstate(all="ignore"):  # none of them looks whether its numbers are finite
        recorded = np.asarray(losses, dtype=np.float64).ravel()[: lr.size].astype(np.float32)
        seen = fastai.seen(lr, recorded)
        smoothed = steepest.moving_average(recorded)
        return Compat(
            valley=fastai.valley(*seen),
            slide=fastai.slide(*seen),
            minimum=fastai.minimum(*seen),
            steep=fastai.steep(*seen),
            torch_lr_finder=steepest.torch_lr_finder(lr, smoothed),
            lightning=steepest.lightning(lr, recorded),
            ignite=steepest.ignite(lr, smoothed),
        )
