"""What a client asks for: many jobs that differ in some fields, and how they are judged."""

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

from schedules.values import MAX_ITERATIONS, Value
from spec.lengths import Interval
from spec.values import Text

MOST_JOBS = 10_000
"""Jobs of one sweep."""

Pointer = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^(/([^/~\x00-\x1f\x7f]|~[01])+)+$", max_length=200),
]
"""A JSON pointer (RFC 6901) to a field of a job spec."""

Number = Annotated[float, Field(allow_inf_nan=False)]

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
    step: Annotated[Number | None, Field(gt=0, description="from `low` on")] = None
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


_OPERAND = r"(/\S+|[-+0-9.eE]+)"

Constraint = Annotated[
    str,
    StringConstraints(
        strict=True, pattern=rf"^{_OPERAND} (<|<=|>|>=|==|!=) {_OPERAND}$", max_length=500
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
    """Orders of ten first, each for a short run; then finer grids around what descended.

    Every other field of the space is held at its template's value meanwhile, and varied with the
    best rates afterwards.
    """

    name: Literal["coarse_to_fine"]
    path: Annotated[
        Pointer | None, Field(description="the learning rate; unset: that of the schedule")
    ] = None
    low: Annotated[float, Field(strict=True, gt=0, le=1e6)] = 1e-7
    high: Annotated[float, Field(strict=True, gt=0, le=1e6)] = 1.0
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
    space: Annotated[dict[Pointer, Dimension], Field(min_length=1, max_length=32)]
    constraints: Annotated[
        tuple[Constraint, ...],
        Field(
            max_length=32, description="what must hold, as `/schedule/max_lr > /schedule/base_lr`"
        ),
    ] = ()
    sampler: Sampler = Grid(name="grid")
    objective: Objective = Objective()
    budget: Budget = Budget()
    stopping: Stopping | None = None
