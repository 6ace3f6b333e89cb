"""The constant learning rate."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.values import F64, Bound, as_rate


class Constant(Schedule):
    """One learning rate for the whole run."""

    title: ClassVar[str] = "Constant"
    formula: ClassVar[str] = "lr(t) = lr"
    source: ClassVar[str] = "https://arxiv.org/abs/1606.04838"

    policy: Literal["constant"] = "constant"
    lr: Annotated[Bound, Field(description="the learning rate")]

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - the same at every iteration
        return np.full(t.shape, as_rate(self.lr))
