"""A range test first, then the training under what it suggests."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schedules.hypergradient import Hypergradient
from schedules.one_cycle import OneCycle
from schedules.piecewise import ClosedForm, Piecewise
from schedules.plateau import Plateau
from schedules.ramp import Ramp
from schedules.schedule import Schedule, Suggested
from schedules.values import AUTO, F64, FromRangeTest

Direct = ClosedForm | Piecewise | Plateau | Hypergradient
"""Every policy that a training can begin with at once."""


class Auto(Schedule):
    """The job runs a range test, and then trains under the schedule inside with its suggestion.

    The rates that the range test is to give are written `{"range_test": "auto"}`.
    """

    title: ClassVar[str] = "Automatic"
    formula: ClassVar[str] = (
        'lr(t) = the schedule inside, where {"range_test": "auto"} is what the range test suggests'
    )
    source: ClassVar[str] = "https://arxiv.org/abs/1506.01186"
    stateful: ClassVar[bool] = True
    cyclical: ClassVar[bool] = True

    policy: Literal["auto"] = "auto"
    schedule: Annotated[
        Direct, Field(discriminator="policy", description="what the job trains under")
    ] = OneCycle(max_lr=FromRangeTest(range_test=AUTO))
    range: Annotated[Ramp, Field(description="the ramp of the range test")] = Ramp()
    repeats: Annotated[
        int, Field(strict=True, ge=1, le=64, description="runs of the range test")
    ] = 3

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup is not None:
            raise PydanticCustomError(
                "auto", "must be a field of the schedule inside", {"field": "warmup"}
            )
        if not any(each.range_test == AUTO for each in self.references()):
            raise PydanticCustomError(
                "auto",
                'must take a rate from {"range_test": "auto"}; it needs no policy auto otherwise',
                {"field": "schedule"},
            )
        return self

    @property
    def has_cycles(self) -> bool:
        """Whether the schedule inside has cycles."""
        return self.schedule.has_cycles

    def warnings(self, iterations: int) -> list[str]:
        """What is odd about the training."""
        return self.schedule.warnings(iterations)

    def following(self, suggestion: Mapping[Suggested, float]) -> Direct:
        """The schedule inside, with the rates that the job's own range test suggests.

        Raises:
            pydantic.ValidationError: the rates do not make a schedule.
        """
        references = [each for each in self.schedule.references() if each.range_test == AUTO]
        return self.schedule.with_rates(
            {each.pointer: suggestion[each.suggested] for each in references}
        )

    def _cycle_end(self, n: int, iterations: int | None) -> int | None:
        return self.schedule.cycle_end(n, iterations=iterations)

    def _lr_at(self, t: F64, iterations: int) -> F64:
        return self.schedule.lr_at(t, iterations=iterations)

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:
        return self.schedule.momentum_at(t, iterations=iterations)


def only_inside_auto(schedule: Direct | Auto) -> Direct | Auto:
    """Refuses rates from `{"range_test": "auto"}` under any other policy."""
    stray = [] if isinstance(schedule, Auto) else schedule.references()
    for each in stray:
        if each.range_test == AUTO:
            raise PydanticCustomError(
                "auto",
                'must be a number or a job here; "auto" is for the schedule inside policy auto',
                {"field": each.pointer.removeprefix("/").split("/")},
            )
    return schedule
