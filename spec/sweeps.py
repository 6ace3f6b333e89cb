"""What a client asks for: many jobs that differ in some fields, and how they are judged."""

import math
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schedules.ramp import MIN_START
from schedules.values import MAX_ITERATIONS, MAX_RATE, Value
from spec.lengths import Interval
from spec.values import Text

MOST_JOBS = 10_000
"""Jobs of one sweep."""

FARTHEST = 9
"""Standard deviations from the mean that nothing drawn in double precision is beyond."""

MOST_DEVIATIONS = 5
"""How far from the mean a bound may cut: beyond it hardly anything is left to draw."""

LARGEST_LOG = 34.5
"""Of MAX_NUMBER."""

Pointer = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^(/([^/~\x00-\x1f\x7f]|~[01])+)+$", max_length=200),
]
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


Dimension = Annotated[
    Annotated[Choice, BeforeValidator(_listed), Tag("choice")]
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

Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class Grid(Value):
    """Every combination; a range without `step` or `points` gets as many as the budget allows."""

    name: Literal["grid"]


class Random(Value):
    """Drawn independently."""

    name: Literal["random"]
    seed: Seed = 0


class Quasi(Value):
    """Drawn evenly: a scrambled Halton sequence, which leaves no gaps (Owen, arXiv 1706.02808)."""

    name: Literal["quasi_random"]
    seed: Seed = 0


class Tpe(Value):
    """Tree-structured Parzen estimators, which learn from the jobs that have ended (Optuna's)."""

    name: Literal["tpe"]
    seed: Seed = 0
    startup: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="jobs that are drawn at random first")
    ] = 10


class CmaEs(Value):
    """Covariance matrix adaptation, which learns from the jobs that have ended (Optuna's)."""

    name: Literal["cma_es"]
    seed: Seed = 0
    startup: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="jobs that are drawn at random first")
    ] = 1


class CoarseToFine(Value):
    """Orders of ten of the learning rate first, briefly; then finer grids around the best of them.

    The brief runs have a fixed rate, all later ones the template's schedule and length. Every
    other field of the space is held at the template's value meanwhile; at last their grid is run
    with the best rate.
    """

    name: Literal["coarse_to_fine"]
    path: Annotated[
        Pointer | None, Field(description="the learning rate; unset: that of the schedule")
    ] = None
    low: Annotated[float, Field(strict=True, ge=MIN_START, le=MAX_RATE)] = 1e-7
    high: Annotated[float, Field(strict=True, ge=MIN_START, le=MAX_RATE)] = 1.0
    iterations: Annotated[
        int, Field(strict=True, ge=1, le=MAX_ITERATIONS, description="of each short run")
    ] = 100
    rounds: Annotated[int, Field(strict=True, ge=1, le=5, description="of finer grids")] = 2
    points: Annotated[int, Field(strict=True, ge=2, le=20, description="of each finer grid")] = 5


Sampler = Annotated[Grid | Random | Quasi | Tpe | CmaEs | CoarseToFine, Field(discriminator="name")]
"""How configurations are chosen."""


class Objective(Value):
    """What the jobs are judged by."""

    metric: Annotated[
        str,
        StringConstraints(strict=True, pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40}){0,3}$"),
        Field(description="in a job's result: val_loss, val_accuracy, best.val_loss, ..."),
    ] = "val_loss"
    direction: Literal["minimize", "maximize"] = "minimize"


class Budget(Value):
    """What a sweep may spend; it never spends more."""

    jobs: Annotated[int | None, Field(strict=True, ge=1, le=MOST_JOBS)] = None
    iterations: Annotated[
        Count | None, Field(description="of all jobs; none is begun that would pass it")
    ] = None
    seconds: Annotated[
        float | None,
        Field(gt=0, le=366 * 86_400, description="from its start; then all is stopped"),
    ] = None
    parallel: Annotated[
        Count | None, Field(description="jobs that wait for a worker or run at one time")
    ] = None


class Stopping(Value):
    """Ends jobs early that do worse than others did at the same point, compared at cycle ends.

    Inside a cycle the loss rises and falls by design, and says nothing of where it ends.
    """

    name: Literal["median", "asha", "hyperband"]
    eta: Annotated[
        int, Field(strict=True, ge=2, le=10, description="asha: one in so many goes on")
    ] = 3
    grace: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="cycles that every job may run")
    ] = 1
    every: Annotated[
        Interval | None,
        Field(description="compare so often instead, for schedules that have no cycles"),
    ] = None


class SweepSpec(Value):
    """Jobs made of a template, which differ in the fields of a space."""

    kind: Literal["sweep"] = "sweep"
    name: Text | None = None
    template: Annotated[
        dict[str, JsonValue], Field(description="a job spec; what the space names may be left out")
    ]
    space: Annotated[
        dict[Pointer, Dimension],
        Field(max_length=32, description="may only be empty where the sampler is coarse_to_fine"),
    ]
    constraints: Annotated[
        tuple[Constraint, ...],
        Field(
            max_length=32, description="what must hold, as `/schedule/max_lr > /schedule/base_lr`"
        ),
    ] = ()
    sampler: Annotated[Sampler, Field(validate_default=True)] = Grid(name="grid")
    objective: Objective = Objective()
    budget: Budget = Budget()
    stopping: Stopping | None = None

    @field_validator("sampler")
    @classmethod
    def _varies_something(cls, sampler: Sampler, info: ValidationInfo) -> Sampler:
        if info.data.get("space") == {} and not isinstance(sampler, CoarseToFine):
            raise PydanticCustomError("sampler", "has nothing to vary: the space is empty")
        return sampler

    @field_validator("sampler")
    @classmethod
    def _climbs(cls, sampler: Sampler) -> Sampler:
        if isinstance(sampler, CoarseToFine) and sampler.high < sampler.low:
            raise PydanticCustomError("range", "high must be >= low", {"field": "high"})
        return sampler
