"""Learning rates that fall with the square root of time, as transformers are trained with."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.values import F64, Bound, Count, as_iterations, as_rate


class InverseSqrt(Schedule):
    """The rate falls with the square root of the iteration, and knows no end of the run."""

    title: ClassVar[str] = "Inverse square root"
    formula: ClassVar[str] = (
        "lr(t) = lr / sqrt((t+timescale)/timescale), t counted from the end of the warm-up\n"
        "with timescale = warmup = w: lr * sqrt(w/t), t counted from the start"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/2106.04560"

    policy: Literal["inverse_sqrt"] = "inverse_sqrt"
    lr: Annotated[Bound, Field(description="the highest learning rate")]
    timescale: Annotated[
        Count, Field(description="after three times as many the rate has halved; often = warmup")
    ]

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - it does not know the end
        timescale = as_iterations(self.timescale)
        return as_rate(self.lr) / np.sqrt((t + timescale) / timescale)


class Noam(Schedule):
    """Linear warm-up, then an inverse square root, scaled by the width of the model.

    Its `warmup` is its own: the formula holds for all of the run.
    """

    title: ClassVar[str] = "Noam"
    formula: ClassVar[str] = (
        "s = t+1\nlr(t) = factor * d_model^-0.5 * min(s^-0.5, s*warmup^-1.5)\n"
        "highest at s = warmup: factor / sqrt(d_model*warmup)"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1706.03762"

    policy: Literal["noam"] = "noam"
    warmup: Annotated[Count, Field(description="so many iterations up to the highest rate")]
    d_model: Annotated[
        int, Field(strict=True, ge=1, le=10_000_000, description="the model's width")
    ]
    factor: Annotated[float, Field(strict=True, gt=0, le=1e6, description="scales all rates")] = 1.0

    def warnings(self, iterations: int) -> list[str]:
        """Where the rate does nothing but climb."""
        warmup = as_iterations(self.warmup)
        if warmup < iterations:
            return []
        return [f"the run ends within its warm-up: {iterations} iterations, warmup {warmup}"]

    def _warmup(self) -> int:
        return 0

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - as above
        s, warmup = t + 1, float(as_iterations(self.warmup))
        lr: F64 = self.factor * self.d_model**-0.5 * np.minimum(s**-0.5, s * warmup**-1.5)
        return lr
