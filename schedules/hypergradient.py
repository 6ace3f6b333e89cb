"""Hypergradient descent: the rate itself is learned, from one gradient to the next."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.values import F64, Bound, PositiveRate, as_rate

HYPER_LR = {"sgd": 1e-3, "adam": 1e-7}
"""Optimizer family -> how fast the rate is learned: what the paper begins with."""


class Hypergradient(Schedule):
    """The rate follows the derivative of the loss with respect to the rate before.

    `h` is one dot product over all parameters; weight decay stays out of it.
    """

    title: ClassVar[str] = "Hypergradient descent"
    formula: ClassVar[str] = (
        "lr(0) = lr, lr(t) = max(0, lr(t-1) + hyper_lr*h), then the update with lr(t)\n"
        "h = grad(t) . u(t-1), u the direction of the update before:\n"
        "SGD: grad, with momentum its velocity (Nesterov: as it is applied)\n"
        "Adam: m/(1-b1^t) / (sqrt(v/(1-b2^t))+eps)"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1703.04782"
    stateful: ClassVar[bool] = True

    policy: Literal["hypergradient"] = "hypergradient"
    lr: Annotated[Bound, Field(description="the first learning rate")] = 1e-3
    hyper_lr: Annotated[
        PositiveRate | None,
        Field(
            description="how fast the rate is learned; null: 1e-3 for SGD, 1e-7 for the Adam family"
        ),
    ] = None

    def step_for(self, family: Literal["sgd", "adam"]) -> float:
        """How fast the rate is learned with an optimizer of the family."""
        return HYPER_LR[family] if self.hyper_lr is None else self.hyper_lr

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - the rate that it begins with
        return np.full(t.shape, as_rate(self.lr))
