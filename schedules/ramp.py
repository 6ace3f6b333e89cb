"""The learning-rate ramp of a range test."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schedules.values import F64, MAX_RATE, Value


class Ramp(Value):
    """A learning rate that climbs from `start` to `end` in `iterations` updates.

    exponential: `lr(t) = start * (end/start)^(t/(iterations-1))`;
    linear: `lr(t) = start + (end-start) * t/(iterations-1)`.
    Source: Smith, arXiv 1506.01186 section 3.3 (linear), and the log-axis form in use since.
    """

    start: Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)] = 1e-7
    end: Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)] = 10.0
    iterations: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] = 300
    ramp: Literal["exponential", "linear"] = "exponential"

    @field_validator("end")
    @classmethod
    def _climbs(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("start", 0.0):
            raise PydanticCustomError("range", "must be > start")
        return value

    def lr_at(self, t: F64) -> F64:
        """Learning rate at iteration `t`, counted from 0 and clamped to the last."""
        progress = np.clip(t, 0, self.iterations - 1) / (self.iterations - 1)
        if self.ramp == "linear":
            return self.start + (self.end - self.start) * progress
        return self.start * (self.end / self.start) ** progress
