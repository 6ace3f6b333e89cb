"""What a client asks for: many jobs that differ in some fields, and how they are judged."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from schedules.ramp import MIN_START
from schedules.values import MAX_ITERATIONS, MAX_RATE, Value
from spec.lengths import Interval
from spec.spaces import MOST_JOBS, Constraint, Dimension, Pointer
from spec.values import Text

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

    @field_validator("high")
    @classmethod
    def _climbs(cls, high: float, info: ValidationInfo) -> float:
        if high < info.data.get("low", 0.0):
            raise PydanticCustomError("range", "must be >= low")
        return high


Sampler = Annotated[Grid | Random | Quasi | Tpe | CmaEs | CoarseToFine, Field(discriminator="name")]
"""How configurations are chosen."""


Direction = Literal["minimize", "maximize"]


class Objective(Value):
    """What the jobs are judged by."""

    metric: Annotated[
        str,
        StringConstraints(strict=True, pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40}){0,3}$"),
        Field(description="in a job's result: val_loss, val_accuracy, best.val_loss, ..."),
    ] = "val_loss"
    direction: Direction = "minimize"

    def value_in(self, result: Mapping[str, JsonValue] | None) -> float | None:
        """What a result is judged by; None where it has no such number, as after diverging."""
        at: JsonValue | Mapping[str, JsonValue] = result
        for name in self.metric.split("."):
            if not isinstance(at, Mapping):
                return None
            at = at.get(name)
        return number(at)


def number(value: object) -> float | None:
    """A number of a result; None where it is something else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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
    stopping: Annotated[
        Stopping | None, Field(description="ends jobs early; unset: all run to their end")
    ] = None

    @field_validator("stopping")
    @classmethod
    def _has_cycles(cls, stopping: Stopping | None, info: ValidationInfo) -> Stopping | None:
        if stopping is not None and info.data.get("template", {}).get("kind") == "range_test":
            raise PydanticCustomError("stopping", "range tests have no cycles to compare")
        return stopping

    @field_validator("sampler")
    @classmethod
    def _varies_something(cls, sampler: Sampler, info: ValidationInfo) -> Sampler:
        if info.data.get("space") == {} and not isinstance(sampler, CoarseToFine):
            raise PydanticCustomError("sampler", "has nothing to vary: the space is empty")
        return sampler
