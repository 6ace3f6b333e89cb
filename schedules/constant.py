"""The constant learning rate."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from schedules.schedule import Schedule, Suggested
from schedules.values import F64, Bound, as_rate


class Constant(Schedule):
    """One learning rate for the whole run."""

    title: ClassVar[str] = "Constant"
    formula: ClassVar[str] = "lr(t) = lr"
    source: ClassVar[str] = "the baseline of every comparison"

    suggested: ClassVar[Mapping[str, Suggested]] = {"lr": "fixed_lr"}

    policy: Literal["constant"] = "constant"
    lr: Bound

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - the same at every iteration
        return np.full(t.shape, as_rate(self.lr))
