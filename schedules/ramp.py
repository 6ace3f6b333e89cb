"""The learning-rate ramp of a range test."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schedules.values import F64, MAX_RATE, Epochs, Value, as_iterations, number_or_object

MAX_RAMP = 1_000_000
MIN_START = 1e-30
"""Far below any rate that moves a weight in single precision; end / start stays finite."""
ROUNDED_UP = 1 + 1e-9
"""What a rate may be above its limit for rounding alone."""


class Ramp(Value):
    """A learning rate that climbs from `start` to `end` in `iterations` updates.

    exponential: `lr(t) = start * (end/start)^(t/(iterations-1))`;
    linear: `lr(t) = start + (end-start) * t/(iterations-1)`.
    Source: Smith, arXiv 1506.01186 section 3.3 (linear), and the log-axis form in use since.
    """

    start: Annotated[float, Field(strict=True, ge=MIN_START, le=MAX_RATE)] = 1e-7
    end: Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)] = 10.0
    iterations: Annotated[
        Annotated[int, Field(strict=True, ge=2, le=MAX_RAMP), Tag("number")]
        | Annotated[Epochs, Tag("object")],
        Discriminator(number_or_object),
    ] = 300
    ramp: Literal["exponential", "linear"] = "exponential"

    @field_validator("end")
    @classmethod
    def _climbs(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("start", 0.0):
            raise PydanticCustomError("range", "must be > start")
        return value

    def resolve(self, *, iterations_per_epoch: int) -> Self:
        """The same ramp with its length in iterations."""
        if not isinstance(self.iterations, Epochs):
            return self
        planned = self.iterations.iterations(iterations_per_epoch)
        return self.model_validate({**self.model_dump(), "iterations": planned})

    def lr_at(self, t: F64) -> F64:
        """Learning rate at iteration `t`, counted from 0 and clamped to the last."""
        last = as_iterations(self.iterations) - 1
        return self._lr_at(np.clip(t, 0, last))

    def rates(self, *, extended: int = 0) -> F64:
        """Every rate of the ramp, which has gone on `extended` times to ten times its end.

        An exponential ramp goes on at the same ratio from one iteration to the next, a linear one
        evenly in as many iterations again; neither takes more than these, or climbs beyond the
        highest rate there may be. What was there before stays the same to the last bit.
        """
        planned = as_iterations(self.iterations)
        rates = self.lr_at(np.arange(planned, dtype=np.float64))
        for _ in range(extended):
            end, more = min(10 * rates[-1], MAX_RATE), np.arange(1, planned + 1, dtype=np.float64)
            if self.ramp == "linear":
                further = rates[-1] + (end - rates[-1]) * more / planned
            else:
                with np.errstate(over="ignore"):
                    further = self._lr_at(rates.size - 1 + more)
            rates = np.append(rates, further[(further > rates[-1]) & (further <= end * ROUNDED_UP)])
        return rates

    def _lr_at(self, t: F64) -> F64:
        progress = t / (as_iterations(self.iterations) - 1)
        if self.ramp == "linear":
            return self.start + (self.end - self.start) * progress
        return self.start * (self.end / self.start) ** progress
