"""The numbers a schedule is made of: rates, counts of iterations, and references to be resolved."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

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


Gamma = Annotated[float, Field(strict=True, gt=0, le=1)]
"""A factor by which a rate decays."""


def _at_most_lr(value: float, info: ValidationInfo) -> float:
    lr = info.data.get("lr")
    if isinstance(lr, float) and value > lr:
        raise PydanticCustomError("bounds", "must be <= lr")
    return value


Floor = Annotated[Rate, AfterValidator(_at_most_lr)]
"""The learning rate that a schedule falls to from its `lr`."""


def _some(values: tuple[object, ...]) -> tuple[object, ...]:
    if not values:
        raise PydanticCustomError("too_short", "must not be empty")
    return values


SOME = (AfterValidator(_some), Field(json_schema_extra={"minItems": 1}))
"""For a tuple of at least one; `min_length` would also count out what is there and wrong."""


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


def check_momenta(base: float | None, highest: float | None) -> None:
    """Refuses `base_momentum` and `max_momentum` that are no pair, or the wrong way round."""
    if (base is None) != (highest is None):
        missing = "base_momentum" if base is None else "max_momentum"
        raise PydanticCustomError(
            "momenta", "must be given together with the other momentum bound", {"field": missing}
        )
    if base is not None and highest is not None and highest < base:
        raise PydanticCustomError("momenta", "must be >= base_momentum", {"field": "max_momentum"})
