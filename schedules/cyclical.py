"""Cyclical learning rates: Leslie Smith, arXiv 1506.01186.

`cycle = floor(1 + t/(2*step_size))`, `x = |t/step_size - 2*cycle + 1|` and
`lr = base_lr + (max_lr - base_lr) * w(x) * g`, where the window `w` gives a cycle its shape and
the gain `g` is what sets the policies apart.
"""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schedules.schedule import Schedule
from schedules.values import (
    F64,
    Bound,
    Count,
    Gamma,
    Momentum,
    as_iterations,
    as_rate,
    check_momenta,
)

Window = Literal["triangular", "welch", "hann"]


def cycle_and_phase(t: F64, step_size: int) -> tuple[F64, F64]:
    """The cycle each iteration is in (1, 2, ...) and its phase x.

    x is 1 where a cycle begins and ends, and 0 at its peak.

    >>> cycle_and_phase(np.array([0.0, 1000.0, 5000.0]), 1000)
    (array([1., 1., 3.]), array([1., 0., 0.]))
    """
    cycle = 1 + t // (2 * step_size)
    return cycle, np.abs(t / step_size - 2 * cycle + 1)


def window(name: Window, x: F64) -> F64:
    """The shape of one cycle: 0 at phase x = 1, 1 at x = 0.

    >>> window("welch", np.array([0.5])), window("hann", np.array([0.5]))
    (array([0.75]), array([0.5]))
    """
    match name:
        case "triangular":
            return np.maximum(0.0, 1 - x)
        case "welch":
            return 1 - x**2
        case "hann":
            return (1 + np.cos(np.pi * x)) / 2


def _formula(gain: str, lr: str = "base_lr + (max_lr-base_lr)*w(x)*g") -> str:
    return (
        "cycle = floor(1 + t/(2*step_size)), x = |t/step_size - 2*cycle + 1|\n"
        "w(x): triangular max(0, 1-x), welch 1-x^2, hann (1+cos(pi*x))/2\n"
        f"g = {gain}\n"
        f"lr(t) = {lr}\n"
        "momentum(t) = max_momentum - (max_momentum-base_momentum)*w(x)*g"
    )


class Cyclical(Schedule):
    """What the cyclical policies share: bounds, step size, window, and inverse momentum."""

    source: ClassVar[str] = "https://arxiv.org/abs/1506.01186"
    cyclical: ClassVar[bool] = True

    base_lr: Annotated[Bound, Field(description="the learning rate a cycle begins and ends at")]
    max_lr: Annotated[Bound, Field(description="the learning rate at the peak of a cycle")]
    step_size: Annotated[Count, Field(description="half a cycle, in iterations or epochs")]
    window: Annotated[Window, Field(description="the shape of a cycle")] = "triangular"
    base_momentum: Annotated[
        Momentum | None,
        Field(description="momentum where the learning rate peaks; unset: not cycled"),
    ] = None
    max_momentum: Annotated[
        Momentum | None,
        Field(description="momentum where a cycle begins and ends; unset: not cycled"),
    ] = None

    @field_validator("max_lr")
    @classmethod
    def _ordered(cls, value: object, info: ValidationInfo) -> object:
        base = info.data.get("base_lr")
        if isinstance(value, float) and isinstance(base, float) and value < base:
            raise PydanticCustomError("bounds", "must be >= base_lr")
        return value

    @model_validator(mode="after")
    def _both_momenta(self) -> Self:
        check_momenta(self.base_momentum, self.max_momentum)
        return self

    def _cycle_end(self, n: int, iterations: int | None) -> int:  # noqa: ARG002 - as _lr_at
        return 2 * n * as_iterations(self.step_size)

    @abstractmethod
    def gain(self, t: F64, cycle: F64) -> F64 | float:
        """What scales the amplitude of the cycle `t` is in."""

    def _lr_at(self, t: F64, iterations: int) -> F64:  # noqa: ARG002 - cycles do not know the end
        base, top = as_rate(self.base_lr), as_rate(self.max_lr)
        return base + (top - base) * self._height(t)

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:  # noqa: ARG002 - as above
        if self.base_momentum is None or self.max_momentum is None:
            return None
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self._height(t)

    def _height(self, t: F64) -> F64:
        cycle, x = cycle_and_phase(t, as_iterations(self.step_size))
        return window(self.window, x) * self.gain(t, cycle)


class Triangular(Cyclical):
    """Every cycle climbs to the same peak."""

    title: ClassVar[str] = "Triangular"
    formula: ClassVar[str] = _formula("1")

    policy: Literal["triangular"] = "triangular"

    def gain(self, t: F64, cycle: F64) -> float:  # noqa: ARG002 - the same for all cycles
        """Always 1."""
        return 1.0


class Triangular2(Cyclical):
    """The amplitude is halved after every cycle."""

    title: ClassVar[str] = "Triangular2"
    formula: ClassVar[str] = _formula("1/2^(cycle-1)")

    policy: Literal["triangular2"] = "triangular2"

    def gain(self, t: F64, cycle: F64) -> F64:  # noqa: ARG002 - a matter of the cycle alone
        """1, 1/2, 1/4, ... for cycle 1, 2, 3, ..."""
        return np.exp2(1 - cycle)


class ExpRange(Cyclical):
    """The amplitude, or both bounds, decay by `gamma` at every iteration.

    The paper's words decay each boundary (`decay: both`); the author's first code and torch
    decay the amplitude only, which is the default here.
    """

    title: ClassVar[str] = "Exponential range"
    formula: ClassVar[str] = _formula(
        "gamma^t",
        "base_lr + (max_lr-base_lr)*w(x)*g, "
        "or with decay 'both': (base_lr + (max_lr-base_lr)*w(x))*g",
    )

    policy: Literal["exp_range"] = "exp_range"
    gamma: Annotated[Gamma, Field(description="the factor of each iteration")]
    decay: Annotated[
        Literal["amplitude", "both"],
        Field(description="what decays: the amplitude, or both bounds"),
    ] = "amplitude"

    def gain(self, t: F64, cycle: F64) -> F64:  # noqa: ARG002 - a matter of the iteration alone
        """gamma^t."""
        return self.gamma**t

    def _lr_at(self, t: F64, iterations: int) -> F64:
        if self.decay == "amplitude":
            return super()._lr_at(t, iterations)
        base, top = as_rate(self.base_lr), as_rate(self.max_lr)
        _, x = cycle_and_phase(t, as_iterations(self.step_size))
        return self.gamma**t * (base + (top - base) * window(self.window, x))
