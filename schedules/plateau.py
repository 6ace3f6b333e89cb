"""Reduce on plateau: the rate falls when a metric has stopped improving."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from schedules.schedule import Schedule
from schedules.values import F64, Bound, Floor, as_rate


@dataclass(frozen=True)
class PlateauState:
    """What the rule remembers from one look at the metric to the next.

    Attributes:
        lr: the learning rate until the next look, without the factor of a warm-up.
        best: the best metric so far.
        bad: looks without improvement since the last one with it, or the last reduction.
        cooldown: looks that still do not count after a reduction.
    """

    lr: float
    best: float | None = None
    bad: int = 0
    cooldown: int = 0


class Plateau(Schedule):
    """The rate falls by `factor` when a metric has not improved for more than `patience` looks.

    A look is an evaluation, or the end of an epoch where a training has none. An improvement is
    one by more than `threshold` of the best value's size; a metric that is not finite never is one.
    """

    title: ClassVar[str] = "Reduce on plateau"
    formula: ClassVar[str] = (
        "after each look, with m the metric (lower is better; -m for val_accuracy):\n"
        "m < best - threshold*|best|, or the first: best = m, bad = 0; else bad = bad + 1\n"
        "cooldown > 0: cooldown = cooldown - 1, bad = 0\n"
        "bad > patience: lr = max(factor*lr, min_lr), bad = 0, cooldown as given"
    )
    source: ClassVar[str] = (
        "https://docs.pytorch.org/docs/stable/generated/"
        "torch.optim.lr_scheduler.ReduceLROnPlateau.html"
    )
    stateful: ClassVar[bool] = True

    policy: Literal["plateau"] = "plateau"
    lr: Annotated[Bound, Field(description="the first learning rate")]
    metric: Annotated[
        Literal["val_loss", "val_accuracy", "train_loss"], Field(description="what is looked at")
    ] = "val_loss"
    factor: Annotated[
        float, Field(strict=True, gt=0, lt=1, description="the factor of each reduction")
    ] = 0.1
    patience: Annotated[
        int,
        Field(strict=True, ge=0, le=1_000_000, description="looks without improvement to bear"),
    ] = 10
    threshold: Annotated[
        float,
        Field(strict=True, ge=0, le=1, description="what is an improvement, relative to the best"),
    ] = 1e-4
    cooldown: Annotated[
        int, Field(strict=True, ge=0, le=1_000_000, description="looks to skip after a reduction")
    ] = 0
    min_lr: Annotated[Floor, Field(description="the lowest learning rate")] = 0.0

    def begin(self) -> PlateauState:
        """The state before the first look."""
        return PlateauState(as_rate(self.lr))

    def after(self, state: PlateauState, metric: float) -> PlateauState:
        """The state after one more look."""
        if self._improves(metric, state.best):
            state = replace(state, best=metric, bad=0)
        else:
            state = replace(state, bad=state.bad + 1)
        if state.cooldown > 0:
            state = replace(state, bad=0, cooldown=state.cooldown - 1)
        if state.bad <= self.patience:
            return state
        lr = max(self.factor * state.lr, self.min_lr)
        return replace(state, lr=lr, bad=0, cooldown=self.cooldown)

    def _improves(self, metric: float, best: float | None) -> bool:
        if best is None or not math.isfinite(metric):
            return math.isfinite(metric)
        gain = metric - best if self.metric == "val_accuracy" else best - metric
        return gain > self.threshold * abs(best)

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - the rate that it begins with
        return np.full(t.shape, as_rate(self.lr))
