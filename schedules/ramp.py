"""The learning-rate ramp of a range test."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schedules.values import F64, MAX_RATE, Epochs, Value, as_iterations, number_or_object

MAX_RAMP = 1_000_000


class Ramp(Value):
    """A learning rate that climbs from `start` to `end` in `iterations` updates.

    exponential: `lr(t) = start * (end/start)^(t/(iterations-1))`;
    linear: `lr(t) = start + (end-start) * t/(iterations-1)`.
    Source: Smith, arXiv 1506.01186 section 3.3 (linear), and the log-axis form in use since.
    """

    start: Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)] = 1e-7
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
        progress = np.clip(t, 0, last) / last
        if self.ramp == "linear":
            return self.start + (self.end - self.start) * progress
        return self.start * (self.end / self.start) ** progress
