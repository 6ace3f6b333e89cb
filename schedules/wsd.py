"""Warm-up, stable, decay: a trapezoid."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag

from schedules.schedule import Schedule
from schedules.shapes import Fall, fall, progress
from schedules.values import (
    F64,
    Bound,
    Epochs,
    Floor,
    Iterations,
    Value,
    as_iterations,
    as_rate,
    number_or_object,
)


class Fraction(Value):
    """A share of the run."""

    fraction: Annotated[float, Field(strict=True, gt=0, le=1)]


def _unit(value: object) -> str:
    if isinstance(value, Fraction) or (isinstance(value, dict) and "fraction" in value):
        return "fraction"
    return number_or_object(value)


Decay = Annotated[
    Annotated[Iterations, Tag("number")]
    | Annotated[Epochs, Tag("object")]
    | Annotated[Fraction, Tag("fraction")],
    Discriminator(_unit),
]


class Wsd(Schedule):
    """The rate stays where it is, and falls at the end; `warmup` makes the trapezoid whole."""

    title: ClassVar[str] = "Warm-up, stable, decay"
    formula: ClassVar[str] = (
        "s = N - decay, or N - round(fraction*N)\n"
        "t < s: lr\n"
        "t >= s: end_lr + (lr-end_lr)*f(p), p = (t-s)/(N-1-s)\n"
        "f: linear 1-p, cosine (1+cos(pi*p))/2, 1-sqrt 1-sqrt(p)"
    )
    source: ClassVar[str] = "https://arxiv.org/abs/2405.18392"

    policy: Literal["wsd"] = "wsd"
    lr: Annotated[Bound, Field(description="the learning rate that it stays at")]
    decay: Annotated[
        Decay, Field(description="how long it falls: iterations, epochs, or a fraction of the run")
    ] = Fraction(fraction=0.2)
    shape: Annotated[Fall, Field(description="how it falls")] = "1-sqrt"
    end_lr: Annotated[Floor, Field(description="the last learning rate")] = 0.0

    def warnings(self, iterations: int) -> list[str]:
        """Also where nothing is stable."""
        found = super().warnings(iterations)
        run = max(1, iterations - self._warmup())
        if not isinstance(self.decay, Fraction) and as_iterations(self.decay) > run:
            found.append(
                f"the rate is never stable: it falls over {self.decay} iterations, and has {run}"
            )
        return found

    def _lr_at(self, t: F64, iterations: int) -> F64:
        if isinstance(self.decay, Fraction):
            length = max(1, round(self.decay.fraction * iterations))
        else:
            length = min(as_iterations(self.decay), iterations)
        p = progress(np.maximum(t - (iterations - length), 0), length)
        return self.end_lr + (as_rate(self.lr) - self.end_lr) * fall(self.shape, p)
