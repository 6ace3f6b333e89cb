"""What a client asks for: the learning rates first, then the schedules to compare under them."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, TypeAdapter, field_validator
from pydantic_core import PydanticCustomError

from schedules.values import Value
from spec.jobs import Ramping
from spec.sweeps import Budget, CoarseToFine, Objective, SweepSpec
from spec.values import Seed, Text

Partial = dict[str, JsonValue]
"""A schedule of which what follows from elsewhere may be left out."""

WHICH: tuple[Partial, ...] = tuple(
    {"policy": name} for name in ("constant", "cosine", "sgdr", "one_cycle", "triangular2")
)


class RangeTest(Ramping):
    """One range test, whose suggestion the schedules take."""

    name: Literal["range_test"]


Find = Annotated[RangeTest | CoarseToFine, Field(discriminator="name")]
"""How the learning rates are found."""


class RecipeBudget(Budget):
    """What a recipe may spend; how many jobs it has follows from it."""

    jobs: None = None


class RecipeSpec(Value):
    """Find the learning rates, then train under each schedule with several seeds, and compare."""

    kind: Literal["recipe"]
    name: Text | None = None
    template: Annotated[
        dict[str, JsonValue],
        Field(description="a training without a schedule, of so many iterations or epochs"),
    ]
    find: Annotated[Find, Field(description="how the learning rates are found")] = RangeTest(
        name="range_test"
    )
    schedules: Annotated[
        tuple[Partial, ...],
        Field(
            min_length=1,
            max_length=64,
            description="what to compare: base_lr, max_lr and lr that are left out are found;"
            " step_size, t_0 and cycles that are left out make three whole cycles",
        ),
    ] = WHICH
    seeds: Annotated[
        tuple[Seed, ...],
        Field(
            min_length=1,
            max_length=100,
            description="each schedule is trained with each; the rates are found with another",
        ),
    ] = (0, 1, 2)
    objective: Objective = Objective()
    budget: RecipeBudget = RecipeBudget()

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        for i, seed in enumerate(seeds):
            if seed in seeds[:i]:
                raise PydanticCustomError(
                    "twice", "{seed} is there twice", {"seed": seed, "field": str(i)}
                )
        return seeds


def _kind(value: object) -> str | None:
    kind = value.get("kind", "sweep") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) else None


AnySweep = Annotated[
    Annotated[SweepSpec, Tag("sweep")] | Annotated[RecipeSpec, Tag("recipe")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message="must be 'sweep' or 'recipe'",
        custom_error_context={"field": "kind"},
    ),
]
"""Whatever may be asked of sweeps, told apart by `kind`; a sweep where nothing is said."""

ANY_SWEEP: TypeAdapter[SweepSpec | RecipeSpec] = TypeAdapter(AnySweep)
"""Parses and validates it."""
