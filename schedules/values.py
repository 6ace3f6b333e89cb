"""The numbers a schedule is made of: rates, counts of iterations, and references to be resolved."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

F64 = NDArray[np.float64]
"""A float64 array with one value per iteration."""

MAX_ITERATIONS = 1_000_000_000
MAX_RATE = 1e6


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Epochs(Value):
    """A count of iterations given in passes over the training set."""

    epochs: Annotated[float, Field(strict=True, gt=0, le=1e6)]

    def iterations(self, iterations_per_epoch: int) -> int:
        """The nearest whole number of iterations, at least one."""
        return max(1, round(self.epochs * iterations_per_epoch))


AUTO = "auto"
"""Names the range test that a job runs itself, under the policy `auto`."""


class FromRangeTest(Value):
    """The suggestion of a range test: a finished one by its job id, or `auto` for the job's own."""

    range_test: Annotated[str, Field(strict=True, pattern=r"^(job_[0-9a-z]{1,64}|auto)$")]


def number_or_object(value: object) -> Literal["number", "object"]:
    """The branch of a union that a value in JSON belongs to."""
    return "object" if isinstance(value, dict | BaseModel) else "number"


Iterations = Annotated[int, Field(strict=True, ge=1, le=MAX_ITERATIONS)]
"""A whole number of optimizer updates."""

Rate = Annotated[float, Field(strict=True, ge=0, le=MAX_RATE)]
"""A learning rate: finite and not negative."""

PositiveRate = Annotated[float, Field(strict=True, gt=0, le=MAX_RATE)]
"""A learning rate that is finite and above zero."""

Momentum = Annotated[float, Field(strict=True, ge=0, lt=1)]
"""The coefficient of the moving average of gradients (beta1 for the Adam family)."""

Count = Annotated[
    Annotated[Iterations, Tag("number")] | Annotated[Epochs, Tag("object")],
    Discriminator(number_or_object),
]
"""Iterations, as a number or as `{"epochs": x}`."""

Bound = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[FromRangeTest, Tag("object")],
    Discriminator(number_or_object),
]
"""A learning rate, as a number or as `{"range_test": "job_..."}`."""


class UnresolvedError(ValueError):
    """The schedule still names epochs or a range test; resolve it before evaluating it."""


def as_iterations(count: int | Epochs) -> int:
    """The number behind a resolved count."""
    if isinstance(count, Epochs):
        raise UnresolvedError(UnresolvedError.__doc__)
    return count


def as_rate(bound: float | FromRangeTest) -> float:
    """The number behind a resolved bound."""
    if isinstance(bound, FromRangeTest):
        raise UnresolvedError(UnresolvedError.__doc__)
    return bound
