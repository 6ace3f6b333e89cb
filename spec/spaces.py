"""The fields that jobs of a sweep differ in, and the values that each may have."""

import math
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schedules.values import Value

MOST_JOBS = 10_000
"""Jobs of one sweep."""

FARTHEST = 9
"""Standard deviations from the mean that nothing drawn in double precision is beyond."""

MOST_DEVIATIONS = 5
"""How far from the mean a bound may cut: beyond it hardly anything is left to draw."""

LARGEST_LOG = 34.5
"""Of MAX_NUMBER."""

POINTER = r"^(/([^/~\x00-\x1f\x7f]|~[01])+)+$"

Pointer = Annotated[str, StringConstraints(strict=True, pattern=POINTER, max_length=200)]
"""A JSON pointer (RFC 6901) to a field of a job spec."""

MAX_NUMBER = 1e15
"""Beyond it, whole numbers are no longer exact."""

Number = Annotated[float, Field(strict=True, ge=-MAX_NUMBER, le=MAX_NUMBER)]

Conditions = dict[Pointer, Annotated[tuple[JsonValue, ...], Field(min_length=1, max_length=100)]]


class _Dimension(Value):
    """One field that differs between the jobs."""

    when: Annotated[
        Conditions,
        Field(
            max_length=8,
            description="pointer -> values: varied only where those fields, of the template or"
            " varied themselves, have one of these; else the field stays as the template has it",
        ),
    ] = Field(default_factory=dict)


class Choice(_Dimension):
    """One of some values, of any kind: numbers, names, whole schedules."""

    values: Annotated[tuple[JsonValue, ...], Field(min_length=1, max_length=1000)]


class Range(_Dimension):
    """A number between two others, both included."""

    low: Number
    high: Number
    log: Annotated[bool, Field(strict=True, description="even in its logarithm")] = False
    integer: Annotated[bool, Field(strict=True)] = False
    step: Annotated[
        Number | None, Field(gt=0, description="values are so far apart, from `low` on")
    ] = None
    points: Annotated[
        int | None, Field(strict=True, ge=1, le=1000, description="of a grid, ends included")
    ] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "Range":
        def wrong(field: str, message: str) -> PydanticCustomError:
            return PydanticCustomError("range", message, {"field": field})

        if self.high < self.low:
            raise wrong("high", "high must be >= low")
        if self.log and self.low <= 0:
            raise wrong("low", "low must be > 0 where log is true")
        if self.points is not None and self.step is not None:
            raise wrong("points", "points and step exclude each other")
        if self.log and self.step is not None:
            raise wrong("step", "step and log exclude each other; give points")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise wrong("low", "low and high must be whole where integer is true")
        if self.integer and self.step is not None and not self.step.is_integer():
            raise wrong("step", "step must be whole where integer is true")
        if self.step is not None and (self.high - self.low) / self.step >= MOST_JOBS:
            raise wrong("step", f"step makes more than {MOST_JOBS} values")
        return self


class Normal(_Dimension):
    """A number drawn from a normal distribution, or the exponential of one."""

    distribution: Literal["normal", "lognormal"]
    mean: Number
    sd: Annotated[
        Number, Field(gt=0, description="standard deviation; of the logarithm, for lognormal")
    ]
    low: Annotated[Number | None, Field(description="drawn again below it")] = None
    high: Annotated[Number | None, Field(description="drawn again above it")] = None

    @model_validator(mode="after")
    def _makes_sense(self) -> "Normal":
        def wrong(field: str, message: str) -> PydanticCustomError:
            return PydanticCustomError("distribution", message, {"field": field})

        if self.distribution == "lognormal" and abs(self.mean) + FARTHEST * self.sd > LARGEST_LOG:
            raise wrong("mean", "mean and sd are of the logarithm: these make endless numbers")
        if self.high is not None and self.low is not None and self.high < self.low:
            raise wrong("high", "high must be >= low")
        first, last = self.standardized(self.low, -math.inf), self.standardized(self.high, math.inf)
        if first > MOST_DEVIATIONS or last < -MOST_DEVIATIONS:
            raise wrong(
                "low" if first > 0 else "high",
                f"must be within {MOST_DEVIATIONS} standard deviations of the mean",
            )
        return self

    def standardized(self, bound: float | None, unbounded: float) -> float:
        """How many standard deviations a bound is above the mean."""
        if bound is None:
            return unbounded
        if self.distribution == "lognormal":
            bound = math.log(bound) if bound > 0 else -math.inf
        return (bound - self.mean) / self.sd


def _kind(value: object) -> str | None:
    if isinstance(value, _Dimension):
        return {Choice: "choice", Range: "range", Normal: "distribution"}[type(value)]
    if isinstance(value, list):
        return "choice"
    if isinstance(value, dict):
        for key, kind in (("values", "choice"), ("distribution", "distribution"), ("low", "range")):
            if key in value:
                return kind
    return None


def _listed(value: object) -> object:
    return {"values": value} if isinstance(value, list) else value


_Values = Annotated[list[JsonValue], Field(min_length=1, max_length=1000)]

Dimension = Annotated[
    Annotated[
        Choice, BeforeValidator(_listed, json_schema_input_type=Choice | _Values), Tag("choice")
    ]
    | Annotated[Range, Tag("range")]
    | Annotated[Normal, Tag("distribution")],
    Discriminator(
        _kind,
        custom_error_type="dimension",
        custom_error_message="must be a list of values, {low, high}, or {distribution, mean, sd}",
    ),
]

COMPARED = ("<", "<=", ">", ">=", "==", "!=")

_OPERAND = (
    r"((/([^/~\s\x00-\x1f\x7f]|~[01])+)+|[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?)"
)

Constraint = Annotated[
    str,
    StringConstraints(
        strict=True, pattern=rf"^{_OPERAND} ({'|'.join(COMPARED)}) {_OPERAND}$", max_length=500
    ),
]
"""A comparison of two fields, or of one with a number."""
