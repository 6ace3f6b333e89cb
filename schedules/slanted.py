"""The slanted triangle: a short climb, and a long way down."""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.values import F64, Bound, as_rate


class SlantedTriangular(Schedule):
    """A short climb and a long way down, for fine-tuning (ULMFiT).

    Where `N*cut_frac` is no whole number the published formula falls below its own end, even
    below zero; here the way down ends at `max_lr/ratio`.
    """

    title: ClassVar[str] = "Slanted triangular"
    formula: ClassVar[str] = (
        "cut = max(1, floor(N*cut_frac))\n"
        "t < cut: p = t/cut\n"
        "t >= cut: p = max(0, 1 - (t-cut)/(cut*(1/cut_frac-1)))\n"
        "lr(t) = max_lr*(1+p*(ratio-1))/ratio"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1801.06146"

    policy: Literal["slanted_triangular"] = "slanted_triangular"
    max_lr: Annotated[Bound, Field(description="the learning rate at the peak")]
    cut_frac: Annotated[
        float, Field(strict=True, gt=0, lt=1, description="the share of the run that climbs")
    ] = 0.1
    ratio: Annotated[
        float, Field(strict=True, ge=1, le=1e12, description="max_lr / the lowest learning rate")
    ] = 32.0

    def _lr_at(self, t: F64, iterations: int) -> F64:
        # 100*0.29 is 28.999999999999996 in binary
        cut = max(1, math.floor(round(iterations * self.cut_frac, 9)))
        way_down = max(1.0, cut * (1 / self.cut_frac - 1))  # t is whole: less than 1 is as good
        p = np.where(t < cut, t / cut, np.maximum(0, 1 - (t - cut) / way_down))
        return as_rate(self.max_lr) * (1 + p * (self.ratio - 1)) / self.ratio
